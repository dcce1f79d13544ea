//! What a client is told before it begins.

use std::time::Duration;

use tercet_coap::block::BlockSize;

use super::address::Address;
use super::client::Client;
use super::error::{Error, Result};
use super::oscore::Oscore;
use crate::Backoff;
use crate::mqtt::Tls;

/// Collects the settings of a client; [`connect`](Self::connect) makes it.
///
/// ```no_run
/// # async fn example() -> tercet_client::coap::Result<()> {
/// use std::time::Duration;
/// use tercet_client::coap::Builder;
///
/// let client = Builder::new("coaps://greenhouse.example")?
///     .psk("sensor-7", "secret")
///     .timeout(Duration::from_secs(30))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Builder {
    pub(super) address: Address,
    pub(super) settings: Settings,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) ack_timeout: Duration,
    pub(super) max_retransmit: u8,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    /// Over datagrams.
    pub(super) block_size: BlockSize,
    pub(super) max_body: usize,
    /// Max-Message-Size that our CSM announces.
    pub(super) max_message: u32,
    pub(super) tls: Tls,
    pub(super) psk: Option<Psk>,
    pub(super) reconnect: Backoff,
    pub(super) uri_host: bool,
    pub(super) proxy: Option<String>,
    pub(super) oscore: Option<Oscore>,
}

/// A pre-shared key and the name under which the server knows it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Psk {
    pub(super) identity: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            max_retransmit: 4,
            timeout: Duration::from_secs(90),
            connect_timeout: Duration::from_secs(10),
            block_size: BlockSize::MAX,
            max_body: 16 * 1024 * 1024,
            max_message: 8 * 1024 * 1024 + 256,
            tls: Tls::default(),
            psk: None,
            reconnect: Backoff::default(),
            uri_host: true,
            proxy: None,
            oscore: None,
        }
    }
}

impl Builder {
    /// Takes the peer from an address: `coap://` (UDP), `coaps://` (DTLS), `coap+tcp://`, `coaps+tcp://`,
    /// `coap+ws://` or `coaps+ws://`, host and port. Path and query do not matter here.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn new(url: impl AsRef<str>) -> Result<Self> {
        Ok(Self { address: Address::parse(url.as_ref())?, settings: Settings::default() })
    }

    /// How long to wait for the first acknowledgement before a datagram is sent again, ACK_TIMEOUT (RFC 7252 §4.8);
    /// 2 s if not set. The wait is up to half longer at random, and doubles each time.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ack_timeout = timeout;
        self
    }

    /// How often a datagram is sent again, MAX_RETRANSMIT (RFC 7252 §4.8); 4 if not set.
    #[must_use]
    pub fn max_retransmit(mut self, times: u8) -> Self {
        self.settings.max_retransmit = times;
        self
    }

    /// How long a request may take altogether, with all its blocks; 90 s if not set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How long one attempt to connect may take, from name lookup to the end of the handshake; 10 s if not set.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// The block size over datagrams, in bytes: 16, 32, 64, 128, 256, 512 or 1024, which is the default. Other numbers
    /// are rounded down to one of these. A server may ask for less.
    #[must_use]
    pub fn block_size(mut self, bytes: usize) -> Self {
        self.settings.block_size = BlockSize::within(bytes);
        self
    }

    /// The largest body that is taken, in bytes; 16 MiB if not set.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// The largest message taken over TCP and WebSocket, in bytes, as announced to the peer (RFC 8323 §5.3.1); a
    /// little over 8 MiB if not set, at least 1,152.
    #[must_use]
    pub fn max_message(mut self, bytes: u32) -> Self {
        self.settings.max_message = bytes.max(1152);
        self
    }

    /// A pre-shared key for DTLS and the name under which the server knows it.
    #[must_use]
    pub fn psk(mut self, identity: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.settings.psk = Some(Psk { identity: identity.into(), key: key.into() });
        self
    }

    /// Certificates for TLS and DTLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.settings.tls = tls;
        self
    }

    /// How long observations wait between attempts to come back after the connection was lost.
    #[must_use]
    pub fn reconnect(mut self, backoff: Backoff) -> Self {
        self.settings.reconnect = backoff;
        self
    }

    /// Whether requests name the host where the address does not give it by number (Uri-Host, RFC 7252 §5.10.1); true
    /// if not set.
    #[must_use]
    pub fn uri_host(mut self, on: bool) -> Self {
        self.settings.uri_host = on;
        self
    }

    /// Makes the peer a forward proxy: requests are for the server at this address, such as `coap://far.example`
    /// (Proxy-Scheme and Uri-Host, RFC 7252 §5.10.2).
    #[must_use]
    pub fn through_proxy(mut self, server: impl Into<String>) -> Self {
        self.settings.proxy = Some(server.into());
        self
    }

    /// Protects all requests, and takes only protected answers, end to end (RFC 8613).
    #[must_use]
    pub fn oscore(mut self, context: Oscore) -> Self {
        self.settings.oscore = Some(context);
        self
    }

    /// Makes the client. Over TCP, WebSocket and DTLS this connects; over UDP it looks up the name only, as there is
    /// nothing to connect.
    ///
    /// # Errors
    /// Whatever kept the first attempt from succeeding.
    pub async fn connect(self) -> Result<Client> {
        Client::start(self).await
    }
}

/// Fails on an empty key, which everybody knows.
pub(super) fn check(settings: &Settings) -> Result<()> {
    match &settings.psk {
        Some(psk) if psk.key.is_empty() => Err(Error::Invalid("the pre-shared key is empty".into())),
        _ => Ok(()),
    }
}
