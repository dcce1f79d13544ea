//! What `pub`, `sub`, `req` and `reply` were asked to do, whichever command line it came from.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tercet_client::mqtt::{Address, Endpoint, Properties, QoS, Scheme, Tls, Version, Will};

use super::template::Template;

/// Whose command line, words and exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Tercet,
    Mosquitto(Program),
}

/// A program of the Mosquitto clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Pub,
    Sub,
    Rr,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pub => "mosquitto_pub",
            Self::Sub => "mosquitto_sub",
            Self::Rr => "mosquitto_rr",
        }
    }
}

/// Everything about one run.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) dialect: Dialect,
    pub(super) connection: Connection,
    pub(super) talk: Talk,
    pub(super) job: Job,
}

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Talk {
    pub(super) quiet: bool,
    pub(super) debug: bool,
}

/// How to connect.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) url: Option<Address>,
    pub(super) unix: Option<PathBuf>,
    pub(super) websocket: bool,
    /// Something on the command line speaks of TLS.
    pub(super) use_tls: bool,
    pub(super) tls: Tls,
    pub(super) bind: Option<IpAddr>,
    pub(super) nodelay: bool,
    pub(super) client_id: Option<String>,
    pub(super) id_prefix: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    /// User name and password are proved by SCRAM-SHA-256, not sent.
    pub(super) scram: bool,
    pub(super) keep_alive: u16,
    pub(super) version: Version,
    pub(super) clean: bool,
    pub(super) session_expiry: Option<u32>,
    pub(super) will: Option<Will>,
    pub(super) inflight: Option<u16>,
    pub(super) connect_properties: Properties,
    pub(super) disconnect_properties: Properties,
    /// Come back when the connection is lost.
    pub(super) reconnect: bool,
}

impl Connection {
    pub(super) fn new(version: Version) -> Self {
        Self {
            host: None,
            port: None,
            url: None,
            unix: None,
            websocket: false,
            use_tls: false,
            tls: Tls::default(),
            bind: None,
            nodelay: true,
            client_id: None,
            id_prefix: None,
            username: None,
            password: None,
            scram: false,
            keep_alive: 60,
            version,
            clean: true,
            session_expiry: None,
            will: None,
            inflight: None,
            connect_properties: Properties::new(),
            disconnect_properties: Properties::new(),
            reconnect: false,
        }
    }

    /// The address that host, port, URL, socket and TLS flags together mean. Flags win over the URL.
    pub(super) fn address(&self) -> Address {
        let mut address = self.url.clone().unwrap_or_else(|| Address {
            endpoint: Endpoint::Host {
                scheme: Scheme::Mqtt,
                host: "localhost".into(),
                port: 0,
                path: String::new(),
            },
            username: None,
            password: None,
            path: String::new(),
            query: Vec::new(),
        });
        if let Some(path) = &self.unix {
            address.endpoint = Endpoint::Unix(path.clone());
        }
        if let Endpoint::Host { scheme, host, port, path } = &mut address.endpoint {
            if self.websocket {
                *scheme = if scheme.is_tls() { Scheme::Wss } else { Scheme::Ws };
                if path.is_empty() {
                    *path = "/mqtt".into();
                }
            }
            // Port 8883 means TLS to the Mosquitto clients only together with an authority; here too.
            if self.use_tls {
                let default = *port == 0 || *port == scheme.default_port();
                *scheme = scheme.with_tls();
                if default {
                    *port = scheme.default_port();
                }
            }
            if let Some(name) = &self.host {
                *host = name.clone();
            }
            *port = self.port.unwrap_or(if *port == 0 { scheme.default_port() } else { *port });
        }
        address
    }
}

/// What to do with the connection.
#[derive(Debug, Clone)]
pub(super) enum Job {
    Pub(PubJob),
    Sub(SubJob),
    Req(ReqJob),
    Reply(ReplyJob),
}

/// Where the payload comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payload {
    Text(Vec<u8>),
    File(PathBuf),
    /// All of stdin is one message.
    Stdin,
    /// Each line of stdin is a message.
    Lines,
    Null,
}

#[derive(Debug, Clone)]
pub(super) struct PubJob {
    pub(super) topic: String,
    pub(super) payload: Payload,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: Properties,
    pub(super) repeat: u64,
    pub(super) repeat_delay: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct SubJob {
    pub(super) filters: Vec<String>,
    pub(super) unsubscribe: Vec<String>,
    pub(super) filter_out: Vec<String>,
    pub(super) qos: QoS,
    pub(super) options: SubOptions,
    pub(super) subscribe_properties: Properties,
    pub(super) unsubscribe_properties: Properties,
    /// End after so many messages.
    pub(super) count: Option<u64>,
    pub(super) timeout: Option<Duration>,
    pub(super) exit_after_suback: bool,
    /// Leave out retained messages.
    pub(super) no_retained: bool,
    /// End at the first message that is not retained.
    pub(super) retained_only: bool,
    pub(super) remove_retained: bool,
    /// Chance of a message to be shown, in 1/10,000.
    pub(super) random: Option<u32>,
    pub(super) output: Output,
}

/// Subscription options of MQTT 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SubOptions {
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
}

/// How messages are shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    pub(super) form: Form,
    /// End each with a line feed.
    pub(super) newline: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    Payload,
    /// Topic and payload.
    Verbose,
    Template(Template),
    Json {
        pretty: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) struct ReqJob {
    pub(super) publish: PubJob,
    pub(super) response_topic: Option<String>,
    pub(super) subscribe_properties: Properties,
    pub(super) timeout: Option<Duration>,
    pub(super) no_retained: bool,
    pub(super) output: Output,
}

#[derive(Debug, Clone)]
pub(super) struct ReplyJob {
    pub(super) filter: String,
    pub(super) qos: QoS,
    pub(super) answer: Answer,
    pub(super) properties: Properties,
    pub(super) count: Option<u64>,
    pub(super) timeout: Option<Duration>,
    pub(super) verbose: bool,
}

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its own payload.
    Echo,
    Fixed(Vec<u8>),
    /// What a shell command prints that gets the payload on its standard input.
    Exec(OsString),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_url_make_one_address() {
        let with = |set: fn(&mut Connection)| {
            let mut connection = Connection::new(Version::V5);
            set(&mut connection);
            connection.address().endpoint.to_string()
        };
        assert_eq!(with(|_| {}), "mqtt://localhost:1883");
        assert_eq!(with(|c| c.host = Some("h".into())), "mqtt://h:1883");
        assert_eq!(with(|c| c.use_tls = true), "mqtts://localhost:8883");
        assert_eq!(with(|c| c.websocket = true), "ws://localhost:80/mqtt");
        assert_eq!(
            with(|c| {
                c.websocket = true;
                c.use_tls = true;
                c.port = Some(9);
            }),
            "wss://localhost:9/mqtt"
        );
        assert_eq!(
            with(|c| {
                c.url = "mqtt://u@h:7/t".parse().ok();
                c.port = Some(9);
            }),
            "mqtt://h:9"
        );
        assert_eq!(with(|c| c.unix = Some("/run/b.sock".into())), "unix:///run/b.sock");
        assert_eq!(
            with(|c| {
                c.url = "mqtts://h".parse().ok();
                c.use_tls = true;
            }),
            "mqtts://h:8883"
        );
    }
}
