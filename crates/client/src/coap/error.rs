//! What can go wrong with CoAP, told as what, where, why, and what to do next.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tercet_coap::Code;

use super::Response;
use crate::error::{io_reason, tls_hint};

/// An error of the CoAP client or server. Cheap to clone: one failure is often told to several waiting operations.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be understood.
    #[error("invalid address \"{url}\": {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument or option is not allowed, alone or together with others.
    #[error("{0}")]
    Invalid(String),
    /// The peer cannot be reached: name lookup, TCP, or an ICMP message that nobody listens there.
    #[error("cannot reach {url}: {}", io_reason(source))]
    Connect {
        /// The peer's address.
        url: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// The TLS or DTLS handshake failed.
    #[error("no secure connection to {url}: {reason}")]
    Secure {
        /// The peer's address.
        url: String,
        /// What the TLS or DTLS library says.
        reason: String,
    },
    /// The WebSocket handshake failed.
    #[error("no WebSocket at {url}: {reason}")]
    WebSocket {
        /// The peer's address.
        url: String,
        /// Status line or rule that was broken.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer to {what} within {after:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The peer answered a request with Reset: it cannot process it, or has no CoAP server.
    #[error("the peer rejected {0} with Reset")]
    Reset(String),
    /// The peer answered with an error: class 4 (our request) or 5 (its own trouble).
    #[error("{} {}{}", .0.code(), name(.0), told(.0))]
    Answer(Box<Response>),
    /// The connection broke.
    #[error("connection to {url} lost: {}", io_reason(source))]
    Lost {
        /// The peer's address.
        url: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// The peer ended the connection with Abort (RFC 8323 §5.6).
    #[error("the peer aborted the connection{}", colon(.0))]
    Aborted(
        /// The peer's explanation; may be empty.
        String,
    ),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    /// A body is larger than what is taken here.
    #[error("the body is larger than the {limit} bytes that are taken here")]
    TooLarge {
        /// Most bytes that are taken.
        limit: usize,
    },
    /// Security that an OSCORE context gives or demands is missing or broken.
    #[error("OSCORE: {0}")]
    Oscore(String),
    /// The client or server was closed.
    #[error("the endpoint is closed")]
    Closed,
}

/// A result with CoAP's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The answer, if the error is one: its code and whatever the peer said with it.
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Answer(response) => Some(response),
            _ => None,
        }
    }

    /// The code of the answer, if the error is one.
    pub fn code(&self) -> Option<Code> {
        self.response().map(Response::code)
    }

    /// How long the peer asks to wait before the next attempt: Max-Age of 4.29 (RFC 8516) and 5.03.
    pub fn retry_after(&self) -> Option<Duration> {
        let response = self.response()?;
        matches!(response.code(), Code::TOO_MANY_REQUESTS | Code::SERVICE_UNAVAILABLE)
            .then(|| response.max_age())
    }

    /// Whether the same attempt may succeed later without anything being changed here.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Lost { .. } | Self::WebSocket { .. } => true,
            Self::Aborted(_) => true,
            Self::Answer(response) => matches!(
                response.code(),
                Code::TOO_MANY_REQUESTS
                    | Code::REQUEST_ENTITY_INCOMPLETE
                    | Code::SERVICE_UNAVAILABLE
                    | Code::GATEWAY_TIMEOUT
                    | Code::BAD_GATEWAY
            ),
            _ => false,
        }
    }

    /// What to try next, if there is something better to say than the error itself.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => {
                    Some("does a CoAP server listen there? coap:// is UDP, coap+tcp:// is TCP")
                }
                _ => Some("check the address and this machine's network"),
            },
            Self::Secure { reason, .. } => tls_hint(reason),
            Self::WebSocket { .. } => Some("CoAP is served at the path /.well-known/coap"),
            Self::Timeout { .. } => {
                Some("is the server reachable by UDP, and are address and port (5683, secure 5684) right?")
            }
            Self::Reset(_) => Some("the peer is there but does not take such requests; is it a CoAP server?"),
            Self::Answer(response) => answer_hint(response.code()),
            _ => None,
        }
    }
}

fn answer_hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::UNAUTHORIZED => "the server wants to know who you are: a key (-u, -k), a certificate or OSCORE",
        Code::BAD_OPTION => "the server does not understand an option that must be understood",
        Code::FORBIDDEN => "this user may not do that; check the server's access rules",
        Code::NOT_FOUND => "what there is: tercet coap discover coap://HOST",
        Code::METHOD_NOT_ALLOWED => "the resource is there but does not take this method",
        Code::NOT_ACCEPTABLE => "the resource has no such representation; ask without Accept (-A)",
        Code::PRECONDITION_FAILED => "the resource is not in the state that If-Match or If-None-Match names",
        Code::REQUEST_ENTITY_TOO_LARGE => "the server takes no body of this size",
        Code::UNSUPPORTED_CONTENT_FORMAT => "name the format of the payload (-t), as the resource expects it",
        Code::TOO_MANY_REQUESTS | Code::SERVICE_UNAVAILABLE => "try again later",
        Code::PROXYING_NOT_SUPPORTED => "the server is no proxy, or not for this address",
        _ => return None,
    })
}

fn name(response: &Response) -> &'static str {
    response.code().name().unwrap_or("error")
}

fn told(response: &Response) -> String {
    response.diagnostic().map(|text| format!(": {text}")).unwrap_or_default()
}

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
