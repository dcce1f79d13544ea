//! Which options are encrypted and which stay outside (RFC 8613 §4.1, RFC 8768, RFC 9175, RFC 9177).

use crate::option::Number;

/// Where an option of a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Only inside. What of it is outside was put there by others and is dropped.
    Encrypted,
    /// Only outside, for proxies.
    Outer,
    /// OSCORE itself, which is nowhere in an original message.
    Oscore,
}

impl Class {
    pub(super) const fn of(number: Number) -> Self {
        match number {
            Number::URI_HOST
            | Number::URI_PORT
            | Number::PROXY_URI
            | Number::PROXY_SCHEME
            | Number::HOP_LIMIT => Self::Outer,
            Number::OSCORE => Self::Oscore,
            _ => Self::Encrypted,
        }
    }
}
