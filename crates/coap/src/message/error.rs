//! What can be wrong with the format of a message, and what to do about it.

use thiserror::Error;

use super::Kind;
use crate::option::wire::PAYLOAD_MARKER;

/// The rule that a message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Shorter than the header, or than what the header announces before the options.
    #[error("the message is truncated")]
    Truncated,
    /// The version is not 1 (RFC 7252 §3).
    #[error("unknown version")]
    Version,
    /// The token length is reserved (RFC 7252 §3, RFC 8974 §2.1).
    #[error("reserved token length")]
    TokenLength,
    /// An Empty message has a token or goes on after its header (RFC 7252 §4.1).
    #[error("an Empty message that is not empty")]
    NotEmpty,
    /// A code of a reserved class; signals are reserved over UDP (RFC 7252 §4.2).
    #[error("reserved code class")]
    ReservedCode,
    /// An Acknowledgement or Reset with what it cannot carry, or a Non-confirmable message without content
    /// (RFC 7252 §4.2, §4.3).
    #[error("the type of the message does not go with its code")]
    KindAndCode,
    /// The difference of an option's number is the reserved 15 (RFC 7252 §3.1).
    #[error("reserved option delta")]
    OptionDelta,
    /// The length of an option is the reserved 15 (RFC 7252 §3.1).
    #[error("reserved option length")]
    OptionLength,
    /// An option goes beyond the end of the message.
    #[error("truncated option")]
    OptionTruncated,
    /// The numbers of the options add up to more than 65,535.
    #[error("option number above 65535")]
    OptionNumber,
    /// The options take more bytes than the limit.
    #[error("too many bytes of options")]
    OptionsTooLong,
    /// A WebSocket message with a length of its own (RFC 8323 §4.2).
    #[error("length in a WebSocket message")]
    FrameLength,
    /// A payload marker and no payload (RFC 7252 §3).
    #[error("payload marker without payload")]
    EmptyPayload,
}

impl FormatError {
    /// What is wrong with an option that begins with this byte and could not be read.
    pub(crate) const fn of_option(first: u8) -> Self {
        if first >> 4 == PAYLOAD_MARKER >> 4 {
            Self::OptionDelta
        } else if first & 0x0F == PAYLOAD_MARKER & 0x0F {
            Self::OptionLength
        } else {
            Self::OptionTruncated
        }
    }
}

/// A datagram that is not a CoAP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct Malformed {
    /// What the message layer was to do with it; `None` when not even the header could be believed.
    pub kind: Option<Kind>,
    /// Its Message ID, when the header could be believed.
    pub id: Option<u16>,
    /// The rule it breaks.
    pub what: FormatError,
}

/// What a datagram that is not a CoAP message is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Silence,
    /// A Reset with this Message ID.
    Reset(u16),
}

impl Malformed {
    /// A Confirmable message is rejected with a Reset (RFC 7252 §4.2). All else is ignored: an Acknowledgement or Reset
    /// is never answered, a Non-confirmable message need not be, and of an unknown version nothing can be known.
    pub const fn reaction(&self) -> Reaction {
        match (self.kind, self.id) {
            (Some(Kind::Confirmable), Some(id)) => Reaction::Reset(id),
            _ => Reaction::Silence,
        }
    }
}
