//! What can go wrong, and what to answer.

use thiserror::Error;

use crate::code::Code;
use crate::message::{OwnedMessage, Token};
use crate::option::Number;

/// Parameters that no context can be derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParametersError {
    /// The master secret is empty.
    #[error("the master secret is empty")]
    NoSecret,
    /// An identifier has more bytes than the nonce has room for.
    #[error("an identifier has more than 7 bytes")]
    IdTooLong,
    /// The ID Context has more than 255 bytes.
    #[error("the ID context has more than 255 bytes")]
    IdContextTooLong,
    /// There is nobody to receive from.
    #[error("there is no recipient")]
    NoRecipient,
    /// Two sides of the context have the same identifier, and would use the same nonces.
    #[error("two sides have the same identifier")]
    SameId,
    /// The replay window has no room, or more than 64 numbers.
    #[error("the replay window is not between 1 and 64")]
    Window,
}

/// Why a message was not protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtectError {
    /// No sequence number is left that may be used: more have to be stored first.
    #[error("no sequence number is reserved")]
    NotReserved,
    /// All sequence numbers of the key were used (RFC 8613 §7.2.1): the context is at its end.
    #[error("the sequence numbers of the context are used up")]
    Exhausted,
    /// The message is protected already, or its Proxy-Uri is no URI of CoAP.
    #[error("the message cannot be protected")]
    Message,
    /// The cipher refused, for a message of more than 64 KiB.
    #[error("the message is too long")]
    TooLong,
}

/// Why a message was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnprotectError {
    /// The OSCORE option is missing or not well-formed, or lacks what a request has to have.
    #[error("Failed to decode COSE")]
    Cose,
    /// There is no context for it.
    #[error("Security context not found")]
    NoContext,
    /// The sequence number was seen before, or is too old to know.
    #[error("Replay detected")]
    Replay,
    /// It does not decrypt, or what comes out is no message.
    #[error("Decryption failed")]
    Decryption,
}

impl UnprotectError {
    /// What a server answers a request with, without protection and not to be cached (RFC 8613 §8.2). A client drops
    /// the response.
    pub fn response(self, token: &Token) -> OwnedMessage {
        let mut response = OwnedMessage::new(self.code());
        response.token = token.clone();
        response.set_uint(Number::MAX_AGE, 0);
        response.payload = alloc::string::ToString::to_string(&self).into_bytes();
        response
    }

    /// The code of the answer.
    pub const fn code(self) -> Code {
        match self {
            Self::Cose => Code::BAD_OPTION,
            Self::NoContext | Self::Replay => Code::UNAUTHORIZED,
            Self::Decryption => Code::BAD_REQUEST,
        }
    }
}
