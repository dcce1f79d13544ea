//! What a client is told before it connects.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::client::Client;
use super::endpoint::{Address, Endpoint};
use super::inbox;
use super::message::Will;
use super::property::{Properties, Property};
use super::subscribe::Messages;
use super::{Authenticator, Overflow, ScramSha256, Tls, Version};
use crate::{Backoff, Error, Result};

/// Collects the settings of a client; [`connect`](Self::connect) makes it.
///
/// ```no_run
/// # async fn example() -> tercet_client::Result<()> {
/// use std::time::Duration;
/// use tercet_client::mqtt::{Builder, Will};
///
/// let client = Builder::new("mqtt://localhost")?
///     .client_id("sensor-7")
///     .keep_alive(Duration::from_secs(30))
///     .will(Will::new("sensor/7/state", "gone").retain(true))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Builder {
    pub(super) endpoint: Endpoint,
    pub(super) options: Options,
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) version: Version,
    pub(super) client_id: String,
    pub(super) clean_start: bool,
    /// Seconds; 0 for none.
    pub(super) keep_alive: u16,
    pub(super) username: Option<String>,
    pub(super) password: Option<Bytes>,
    pub(super) will: Option<Will>,
    pub(super) properties: Properties,
    pub(super) authenticator: Option<Arc<dyn Authenticator>>,
    /// User name and password are for SCRAM-SHA-256, not for CONNECT.
    scram: bool,
    pub(super) reconnect: Option<Backoff>,
    pub(super) connect_timeout: Duration,
    /// Most unacknowledged publishes; the broker's Receive Maximum may be lower.
    pub(super) inflight: Option<u16>,
    pub(super) tls: Tls,
    pub(super) bind: Option<IpAddr>,
    pub(super) nodelay: bool,
    pub(super) subscription_ids: bool,
    pub(super) alias_topics: bool,
}

impl Builder {
    /// Takes the broker, the credentials and settings from an address. Its query may hold `client_id`, `v` (`3.1`,
    /// `3.1.1`, `5`), `clean` (`true`, `false`) and `keepalive` (seconds).
    pub fn new(url: impl AsRef<str>) -> Result<Self> {
        Self::from_address(url.as_ref().parse()?)
    }

    /// As [`new`](Self::new) for a parsed address.
    pub fn from_address(address: Address) -> Result<Self> {
        let url = address.endpoint.to_string();
        let mut builder = Self { endpoint: address.endpoint, options: Options::default() };
        builder.options.username = address.username;
        builder.options.password = address.password.map(Bytes::from);
        for (name, value) in address.query {
            let invalid = |reason: String| Error::Url { url: url.clone(), reason };
            match name.as_str() {
                "client_id" | "clientid" => builder.options.client_id = value,
                "v" | "version" => {
                    builder.options.version = parse_version(&value)
                        .ok_or_else(|| invalid(format!("v={value} is not one of 3.1, 3.1.1, 5")))?;
                }
                "clean" => {
                    builder.options.clean_start = bool::from_str(&value)
                        .map_err(|_| invalid(format!("clean={value} is not one of true, false")))?;
                }
                "keepalive" => {
                    builder.options.keep_alive = value
                        .parse()
                        .map_err(|_| invalid(format!("keepalive={value} is not a number from 0 to 65535")))?;
                }
                other => {
                    return Err(invalid(format!(
                        "unknown setting \"{other}\"; known are client_id, v, clean, keepalive"
                    )));
                }
            }
        }
        Ok(builder)
    }

    /// The broker's address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The protocol version; MQTT 5 if not set.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.options.version = version;
        self
    }

    /// The client identifier; empty lets the broker choose one (and needs a clean start).
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.options.client_id = id.into();
        self
    }

    /// Whether the broker forgets an earlier session of this client id; true if not set. After a reconnect the
    /// client continues its own session whatever is set here.
    #[must_use]
    pub fn clean_start(mut self, clean: bool) -> Self {
        self.options.clean_start = clean;
        self
    }

    /// The longest silence, rounded down to seconds and at most 65,535 of them; 60 s if not set, zero for no
    /// check.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.options.keep_alive = u16::try_from(interval.as_secs()).unwrap_or(u16::MAX);
        self
    }

    /// User name.
    #[must_use]
    pub fn username(mut self, name: impl Into<String>) -> Self {
        self.options.username = Some(name.into());
        self
    }

    /// Password.
    #[must_use]
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.options.password = Some(password.into());
        self
    }

    /// The message published when this client vanishes.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.options.will = Some(will);
        self
    }

    /// How long the session outlives the connection, in seconds (MQTT 5); `u32::MAX` for ever.
    #[must_use]
    pub fn session_expiry(self, seconds: u32) -> Self {
        self.property(Property::SessionExpiryInterval(seconds))
    }

    /// Adds a property to CONNECT (MQTT 5; not sent before).
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.options.properties.set(property);
        self
    }

    /// Enhanced authentication (MQTT 5): its method and answers to the broker's challenges.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.options.authenticator = Some(authenticator);
        self
    }

    /// Logs in by SCRAM-SHA-256 (MQTT 5): user name and password, set here or by the address, are not sent; each side
    /// proves to the other that it knows the password. The hashing takes some milliseconds, as many as the broker
    /// demands. Replaces any [`authenticator`](Self::authenticator).
    #[must_use]
    pub fn scram_sha_256(mut self) -> Self {
        self.options.scram = true;
        self
    }

    /// Whether and how to come back after the connection was lost; on with [`Backoff::default`] if not set. The
    /// first connection is never retried: [`connect`](Self::connect) tells its failure at once.
    #[must_use]
    pub fn reconnect(mut self, backoff: Option<Backoff>) -> Self {
        self.options.reconnect = backoff;
        self
    }

    /// How long one attempt to connect may take, from name lookup to CONNACK; 10 s if not set.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Most QoS 1 and 2 publishes that await an answer, 1 to 65,535; further ones wait. If not set, 1,024 with
    /// MQTT 5, where the broker's Receive Maximum lowers it, and 20 before, where a broker cannot say how many it
    /// takes: Mosquitto reorders and drops beyond 20.
    #[must_use]
    pub fn inflight(mut self, limit: u16) -> Self {
        self.options.inflight = Some(limit.max(1));
        self
    }

    /// TLS settings, used by `mqtts://` and `wss://`.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.options.tls = tls;
        self
    }

    /// The local address to connect from.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.options.bind = Some(address);
        self
    }

    /// Whether small packets are sent at once (TCP_NODELAY); true if not set.
    #[must_use]
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.options.nodelay = nodelay;
        self
    }

    /// Whether subscriptions carry identifiers of this library, so that a message is given exactly to the
    /// subscription it was sent for (MQTT 5, brokers that support it). True if not set; otherwise, and before
    /// MQTT 5, a message goes to every subscription whose filter matches.
    #[must_use]
    pub fn subscription_ids(mut self, on: bool) -> Self {
        self.options.subscription_ids = on;
        self
    }

    /// Whether topics that repeat are sent as aliases where the broker takes them (MQTT 5); true if not set.
    #[must_use]
    pub fn alias_topics(mut self, on: bool) -> Self {
        self.options.alias_topics = on;
        self
    }

    /// Connects; from then on a task of its own serves the connection.
    ///
    /// # Errors
    /// Whatever kept the first attempt from succeeding.
    pub async fn connect(self) -> Result<Client> {
        Client::start(self, None).await
    }

    /// As [`connect`](Self::connect), with a stream of the messages that no [`Subscription`](super::Subscription)
    /// claims: those of an earlier session, and of filters subscribed with
    /// [`into_inbox`](super::Subscribe::into_inbox).
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with_inbox(self, capacity: usize, overflow: Overflow) -> Result<(Client, Messages)> {
        let (sender, receiver) = inbox::inbox(capacity, overflow);
        let client = Client::start(self, Some(sender)).await?;
        Ok((client, Messages::new(receiver)))
    }
}

impl Options {
    /// Moves user name and password to where they are used.
    pub(super) fn settle_login(&mut self) -> Result<()> {
        if !self.scram {
            return Ok(());
        }
        if !self.version.is_v5() {
            return Err(Error::Invalid(format!("SCRAM-SHA-256 needs MQTT 5, not {}", self.version)));
        }
        let (Some(user), Some(password)) = (self.username.take(), self.password.take()) else {
            return Err(Error::Invalid("SCRAM-SHA-256 needs a user name and a password".into()));
        };
        self.authenticator = Some(Arc::new(ScramSha256::new(user, password)));
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::V5,
            client_id: String::new(),
            clean_start: true,
            keep_alive: 60,
            username: None,
            password: None,
            will: None,
            properties: Properties::new(),
            authenticator: None,
            scram: false,
            reconnect: Some(Backoff::default()),
            connect_timeout: Duration::from_secs(10),
            inflight: None,
            tls: Tls::default(),
            bind: None,
            nodelay: true,
            subscription_ids: true,
            alias_topics: true,
        }
    }
}

/// The version that a text such as `5`, `3.1.1`, `mqttv311` names.
pub fn parse_version(text: &str) -> Option<Version> {
    Some(match text.strip_prefix("mqttv").unwrap_or(text) {
        "3" | "31" | "3.1" => Version::V31,
        "4" | "311" | "3.1.1" => Version::V311,
        "5" | "5.0" => Version::V5,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_sets_what_its_query_says() {
        let builder = Builder::new("mqtt://me:pw@h?client_id=x&v=3.1.1&clean=false&keepalive=5").unwrap();
        let options = &builder.options;
        assert_eq!(options.client_id, "x");
        assert_eq!(options.version, Version::V311);
        assert!(!options.clean_start);
        assert_eq!(options.keep_alive, 5);
        assert_eq!(options.username.as_deref(), Some("me"));
        assert_eq!(options.password.as_deref(), Some(&b"pw"[..]));
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        for (url, part) in [
            ("mqtt://h?v=6", "v=6"),
            ("mqtt://h?clean=1", "clean=1"),
            ("mqtt://h?x=1", "\"x\""),
            ("mqtt://h?keepalive=-1", "keepalive"),
        ] {
            let Err(error) = Builder::new(url) else { panic!("{url} was taken") };
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
