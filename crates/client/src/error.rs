//! What can go wrong, told as what, where, why, and what to do next.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// An error of this library. Cheap to clone: one failure is often told to several waiting operations.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be understood.
    #[error("invalid address \"{url}\": {reason}")]
    Url {
        /// The address, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument or option is not allowed, alone or together with others.
    #[error("{0}")]
    Invalid(String),
    /// The broker cannot be reached: name lookup, TCP or socket file.
    #[error("cannot reach {url}: {}", io_reason(source))]
    Connect {
        /// The broker's address.
        url: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {url}: {reason}")]
    Tls {
        /// The broker's address.
        url: String,
        /// What the TLS library says.
        reason: String,
    },
    /// The WebSocket handshake failed.
    #[error("no WebSocket at {url}: {reason}")]
    WebSocket {
        /// The broker's address.
        url: String,
        /// Status line or rule that was broken.
        reason: String,
    },
    /// The broker answered CONNECT with a refusal.
    #[error("{url} refused the connection: {reason} (0x{code:02x}){}", told(text.as_deref()))]
    Refused {
        /// The broker's address.
        url: String,
        /// The code of the CONNACK: a reason code in MQTT 5, a return code (1 to 5) before.
        code: u8,
        /// The code in words.
        reason: String,
        /// The broker's own explanation (Reason String), if it gave one.
        text: Option<String>,
    },
    /// No answer in time.
    #[error("no answer to {what} within {after:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The broker ended the connection with DISCONNECT (MQTT 5).
    #[error("the broker ended the connection: {reason} (0x{code:02x}){}", told(text.as_deref()))]
    Disconnected {
        /// Reason code.
        code: u8,
        /// The code in words.
        reason: String,
        /// The broker's own explanation, if it gave one.
        text: Option<String>,
    },
    /// The connection broke.
    #[error("connection to {url} lost: {}", io_reason(source))]
    Lost {
        /// The broker's address.
        url: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// The broker broke the protocol.
    #[error("the broker broke the protocol: {0}")]
    Protocol(String),
    /// The broker did not take a message (MQTT 5 reason code 0x80 or above in PUBACK or PUBREC).
    #[error("message on \"{topic}\" not taken: {reason} (0x{code:02x}){}", told(text.as_deref()))]
    PublishRefused {
        /// Topic of the message.
        topic: String,
        /// Reason code.
        code: u8,
        /// The code in words.
        reason: String,
        /// The broker's own explanation, if it gave one.
        text: Option<String>,
    },
    /// The broker did not grant a subscription.
    #[error("subscription to \"{filter}\" not granted: {reason} (0x{code:02x}){}", told(text.as_deref()))]
    SubscribeRefused {
        /// The topic filter.
        filter: String,
        /// Reason code.
        code: u8,
        /// The code in words.
        reason: String,
        /// The broker's own explanation, if it gave one.
        text: Option<String>,
    },
    /// The broker said that it does not support this, or the protocol version cannot express it.
    #[error("not available: {0}")]
    Unsupported(String),
    /// A packet would be larger than the broker takes.
    #[error("message of {size} bytes is larger than the {limit} bytes that the broker takes")]
    TooLarge {
        /// Size of the whole packet in bytes.
        size: usize,
        /// The broker's Maximum Packet Size, or that of the protocol.
        limit: usize,
    },
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl Error {
    /// Whether the same attempt may succeed later without anything being changed here.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Lost { .. } | Self::WebSocket { .. } => true,
            // 0x88 unavailable, 0x89 busy, 0x97 quota, 0x9F connection rate; 3 is "server unavailable" before
            // MQTT 5.
            Self::Refused { code, .. } => matches!(code, 3 | 0x80 | 0x88 | 0x89 | 0x97 | 0x9F),
            // Taken over by another client with our id, or closed on purpose: coming back would start a fight.
            Self::Disconnected { code, .. } => {
                matches!(code, 0x80 | 0x83 | 0x88 | 0x89 | 0x8B | 0x8D | 0x97 | 0x9F)
            }
            Self::PublishRefused { code, .. } | Self::SubscribeRefused { code, .. } => {
                matches!(code, 0x80 | 0x83 | 0x97)
            }
            _ => false,
        }
    }

    /// What to try next, if there is something better to say than the error itself.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect { source, .. } => connect_hint(source),
            Self::Tls { reason, .. } => tls_hint(reason),
            Self::WebSocket { .. } => {
                Some("is the path right? brokers usually serve MQTT at ws://host:port/mqtt")
            }
            Self::Refused { code, .. } => refused_hint(*code),
            Self::Disconnected { code: 0x8E, .. } => {
                Some("another client connected with the same client id; give each client its own (-i)")
            }
            Self::Disconnected { code: 0x9C | 0x9D, .. } => Some("the broker asks to use another server"),
            Self::Lost { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof => {
                Some("the broker closed the connection without a reason; its log should tell")
            }
            Self::PublishRefused { code: 0x87, .. } | Self::SubscribeRefused { code: 0x87, .. } => {
                Some("this user may not use this topic; check the broker's access rules")
            }
            Self::Timeout { .. } => Some("does an MQTT broker listen there, and is it reachable?"),
            _ => None,
        }
    }
}

/// A result with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn connect_hint(source: &io::Error) -> Option<&'static str> {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => Some(
            "is the broker running, and is it bound to more than loopback? on that host run: tercet serve --bind 0.0.0.0",
        ),
        io::ErrorKind::NotFound => Some("does the socket file exist, and is the broker running?"),
        io::ErrorKind::PermissionDenied => Some("this user may not open the socket; check its mode"),
        io::ErrorKind::TimedOut => Some("a firewall may drop the packets; check address and port"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some("check the address and this machine's network")
        }
        _ => None,
    }
}

pub(crate) fn tls_hint(reason: &str) -> Option<&'static str> {
    if reason.contains("UnknownIssuer") {
        Some("name the authority that signed the broker's certificate: --cafile FILE")
    } else if reason.contains("NotValidForName") || reason.contains("not valid for name") {
        Some("use a host name that the broker's certificate carries")
    } else if reason.contains("CertificateRequired") || reason.contains("certificate required") {
        Some("the broker asks for a client certificate: --cert FILE --key FILE")
    } else if reason.contains("InvalidContentType") || reason.contains("corrupt message") {
        Some("the port does not speak TLS; use mqtt:// or another port")
    } else {
        None
    }
}

fn refused_hint(code: u8) -> Option<&'static str> {
    match code {
        1 | 0x84 => Some("the broker does not speak this MQTT version; try -V 3.1.1"),
        2 | 0x85 => Some("the broker does not accept this client id; choose another with -i"),
        4 | 0x86 => Some("check user name (-u) and password (-P)"),
        5 | 0x87 => Some("the broker wants a user name and password (-u, -P) or does not let this user in"),
        _ => None,
    }
}

/// The operating system's words without "(os error 111)", in lower case as the rest of the sentence.
pub(crate) fn io_reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

fn told(text: Option<&str>) -> String {
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_where_why_and_next() {
        let refused = io::Error::from_raw_os_error(111);
        let error = Error::Connect { url: "mqtt://10.0.0.7:1883".into(), source: Arc::new(refused) };
        assert_eq!(error.to_string(), "cannot reach mqtt://10.0.0.7:1883: connection refused");
        assert!(error.hint().is_some_and(|hint| hint.contains("--bind")));
        assert!(error.is_retryable());
    }

    #[test]
    fn only_passing_refusals_are_retried() {
        let refused = |code| Error::Refused { url: "u".into(), code, reason: "r".into(), text: None };
        for (code, retry) in [(3, true), (0x88, true), (0x97, true), (5, false), (0x87, false), (0x84, false)]
        {
            assert_eq!(refused(code).is_retryable(), retry, "{code:#x}");
        }
        let gone = |code| Error::Disconnected { code, reason: "r".into(), text: None };
        assert!(gone(0x8B).is_retryable());
        assert!(!gone(0x8E).is_retryable());
    }

    #[test]
    fn the_brokers_words_are_passed_on() {
        let error = Error::Refused {
            url: "u".into(),
            code: 0x87,
            reason: "Not authorized".into(),
            text: Some("no".into()),
        };
        assert_eq!(error.to_string(), "u refused the connection: Not authorized (0x87): no");
    }
}
