//! Keys with a fixed set of words: each an enum, each word documented once.

use super::setting::{Fault, Setting, quote};
use super::suggest::closest;

/// Declares an enum whose variants are words in the file.
macro_rules! choice {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )* } )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$variant_meta])* $variant, )* }

        impl $name {
            /// The words of the file, in order.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word of the file.
            pub const fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl Setting for $name {
            fn kind() -> String {
                either(Self::WORDS)
            }

            fn from_text(text: &str) -> Result<Self, Fault> {
                match text {
                    $( $word => Ok(Self::$variant), )*
                    other => Err(unknown_word(other, Self::WORDS)),
                }
            }

            fn to_toml(&self) -> Option<String> {
                Some(quote(self.word()))
            }
        }
    )*};
}

/// `"a", "b" or "c"`.
fn either(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn unknown_word(found: &str, words: &[&str]) -> Fault {
    let mut what = format!("expected {}, found {}", either(words), quote(found));
    if let Some(word) = closest(found, words.iter().copied()) {
        what.push_str(&format!("; did you mean {}?", quote(word)));
    }
    Fault::new(what)
}

choice! {
    /// How safe an acknowledged durable message is.
    Durability {
        /// On disk, synced.
        Fsync = "fsync",
        /// Handed to the operating system.
        Os = "os",
        /// In memory only: gone with the process.
        Memory = "memory",
    }

    /// What a listener speaks.
    Protocol {
        /// MQTT over a byte stream.
        Mqtt = "mqtt",
        /// AMQP 0-9-1 over a byte stream.
        Amqp = "amqp",
        /// CoAP over UDP; over DTLS with a certificate or pre-shared keys.
        Coap = "coap",
        /// CoAP over TCP; over TLS with a certificate.
        CoapTcp = "coap-tcp",
        /// HTTP: health, metrics, MQTT, AMQP and CoAP over WebSocket.
        Http = "http",
        /// MQTT, AMQP and CoAP over WebSocket and nothing else.
        Ws = "ws",
    }

    /// How topics of MQTT become routing keys of AMQP.
    TopicForm {
        /// Every topic has a key of its own: what a level holds of AMQP's signs is escaped.
        Exact = "exact",
        /// "/" and "." change places, as in RabbitMQ.
        Rabbitmq = "rabbitmq",
    }

    /// Who may connect without credentials.
    Anonymous {
        /// Peers on this machine (judged by the real peer address), on listeners that only this machine
        /// reaches.
        Loopback = "loopback",
        /// Everyone.
        Allow = "allow",
        /// No one.
        Deny = "deny",
    }

    /// Whether TLS clients show a certificate.
    ClientAuth {
        /// Not asked for.
        Off = "off",
        /// Asked for and checked when given.
        Optional = "optional",
        /// No connection without one.
        Required = "required",
    }

    /// Which part of a client certificate becomes the username.
    CertificateUser {
        /// None: the client sends username and password as without TLS.
        Off = "off",
        /// Common name of the subject.
        Cn = "cn",
        /// First DNS name of the subject alternative name.
        SanDns = "san-dns",
        /// First e-mail address of the subject alternative name.
        SanEmail = "san-email",
        /// First URI of the subject alternative name.
        SanUri = "san-uri",
        /// The whole subject, as RFC 4514 writes it.
        Subject = "subject",
    }

    /// Oldest TLS version accepted.
    TlsVersion {
        /// TLS 1.2.
        V1_2 = "1.2",
        /// TLS 1.3.
        V1_3 = "1.3",
    }

    /// PROXY protocol header expected before the first byte of a connection.
    ProxyProtocol {
        /// None; a header is a protocol error.
        Off = "off",
        /// Version 1 (text).
        V1 = "v1",
        /// Version 2 (binary).
        V2 = "v2",
        /// Either version.
        Both = "both",
    }

    /// What happens to an MQTT 5 client that publishes beyond our Receive Maximum.
    ReceiveMaximumPolicy {
        /// DISCONNECT with 0x93 (Receive Maximum exceeded), as MQTT-3.3.4-9 allows.
        Enforce = "enforce",
        /// Its further packets wait.
        Tolerate = "tolerate",
    }

    /// How a shared subscription picks the member that gets a message.
    SharedStrategy {
        /// In turn.
        RoundRobin = "round-robin",
        /// At random.
        Random = "random",
        /// The same member as long as it is connected and has room.
        Sticky = "sticky",
        /// The one with the fewest unacknowledged messages.
        LeastInflight = "least-inflight",
    }

    /// What a full queue of an offline session drops.
    Overflow {
        /// The oldest message.
        DropOldest = "drop-oldest",
        /// The message that arrives.
        DropNewest = "drop-newest",
    }

    /// What happens to a connected subscriber that does not read fast enough.
    SlowSubscriber {
        /// Further QoS 0 messages for it are dropped and counted.
        Drop = "drop",
        /// It is disconnected (0x97, Quota exceeded, in MQTT 5).
        Disconnect = "disconnect",
    }

    /// Versions of MQTT.
    MqttVersion {
        /// MQTT 3.1 (`MQIsdp`).
        V3_1 = "3.1",
        /// MQTT 3.1.1.
        V3_1_1 = "3.1.1",
        /// MQTT 5.0.
        V5_0 = "5.0",
    }

    /// How log lines are written.
    LogFormat {
        /// Text on a terminal, JSON otherwise.
        Auto = "auto",
        /// Text.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }

    /// How important a log line must be to be written.
    Level {
        /// None is written.
        Off = "off",
        /// What stops something from working.
        Error = "error",
        /// What an operator should look at.
        Warn = "warn",
        /// What happens in normal operation.
        Info = "info",
        /// What helps to find a mistake.
        Debug = "debug",
        /// Every step.
        Trace = "trace",
    }
}

/// Highest quality of service granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaxQos {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
    /// QoS 2.
    ExactlyOnce,
}

impl MaxQos {
    /// As the number on the wire.
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    fn from_number(number: u8) -> Result<Self, Fault> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            other => Err(Fault::new(format!("expected 0, 1 or 2, found {other}"))),
        }
    }
}

impl Protocol {
    /// Whether it is spoken in datagrams rather than over connections.
    pub const fn is_datagrams(self) -> bool {
        matches!(self, Self::Coap)
    }
}

impl Setting for MaxQos {
    fn kind() -> String {
        "0, 1 or 2".into()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        u8::from_text(text).and_then(Self::from_number)
    }

    fn from_toml(value: &super::setting::TomlValue<'_>) -> Result<Self, Fault> {
        u8::from_toml(value).and_then(Self::from_number)
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.as_u8().to_string())
    }
}
