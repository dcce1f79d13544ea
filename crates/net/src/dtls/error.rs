//! Why a session ended.

use crate::tls::IdentityError;

/// Why a DTLS session cannot go on. Each one is final: drop the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtlsError {
    /// The handshake or a record broke the rules, or the peer gave up with an alert.
    #[error("{0}")]
    Protocol(String),
    /// The handshake took too long, or nobody answered.
    #[error("no answer in time")]
    TimedOut,
    /// The peer's certificate does not chain up to a trusted authority, has expired, or is for another name.
    #[error("the peer's certificate is not accepted: {0}")]
    Certificate(String),
    /// The names in the peer's certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The server wants a certificate from a client that has none.
    #[error("the server asks for a certificate")]
    CertificateWanted,
    /// The session was closed by either side.
    #[error("closed")]
    Closed,
    /// The engine failed in a way that it should not.
    #[error("the DTLS engine failed")]
    Engine,
}

impl DtlsError {
    pub(super) fn of(error: &dimpl::Error) -> Self {
        match error {
            dimpl::Error::Timeout(_) => Self::TimedOut,
            dimpl::Error::ConnectionClosed => Self::Closed,
            other => Self::Protocol(other.to_string()),
        }
    }

    /// The description of the fatal alert that tells the peer (RFC 5246 §7.2.2); `None` if there is nothing to tell.
    pub(super) fn alert(&self) -> Option<u8> {
        match self {
            Self::TimedOut | Self::Closed => None,
            Self::Certificate(_) | Self::Identity(_) => Some(42),
            Self::Engine => Some(80),
            Self::Protocol(_) | Self::CertificateWanted => Some(40),
        }
    }
}
