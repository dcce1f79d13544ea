//! Messages, as every transport carries them: borrowed from what was received, or of one's own.

mod error;
mod owned;
mod token;
mod writer;

pub use error::{FormatError, Malformed, Reaction};
pub use owned::OwnedMessage;
pub use token::{Token, TokenTooLong};
pub use writer::Writer;

use crate::code::Code;
use crate::option::Options;

/// A message, borrowed from the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Method, response code or signal.
    pub code: Code,
    /// What ties a response to its request: opaque, and none is a token too.
    pub token: &'a [u8],
    /// The options.
    pub options: Options<'a>,
    /// The payload; empty when there is none.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// A message with nothing but a code.
    pub const fn new(code: Code) -> Self {
        Self { code, token: &[], options: Options::EMPTY, payload: &[] }
    }

    /// The segments of the path of the URI, in order, as they were sent: `/` has none, `/a/` has `a` and an empty one.
    pub fn path(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.options.all(crate::option::Number::URI_PATH)
    }
}

/// What a datagram is to the message layer (RFC 7252 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// To be acknowledged or rejected.
    Confirmable,
    /// To be neither.
    NonConfirmable,
    /// Acknowledges the Confirmable message of the same identifier.
    Acknowledgement,
    /// Rejects the message of the same identifier.
    Reset,
}

impl Kind {
    /// The kind that two bits of the header stand for; higher bits are ignored.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }

    /// The two bits of the header.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Confirmable => 0,
            Self::NonConfirmable => 1,
            Self::Acknowledgement => 2,
            Self::Reset => 3,
        }
    }
}

/// A datagram over UDP or DTLS: a message and what the message layer adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// How the message layer treats it.
    pub kind: Kind,
    /// The Message ID.
    pub id: u16,
    /// The message.
    pub message: Message<'a>,
}
