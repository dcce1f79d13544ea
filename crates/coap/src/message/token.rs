//! Tokens that outlive the message they came in.

use core::fmt;
use core::ops::Deref;

use smallvec::SmallVec;
use thiserror::Error;

use crate::option::wire::EXTENDED_MAX;

/// A token: up to 8 bytes in place, longer ones (RFC 8974) on the heap.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Token(SmallVec<[u8; 8]>);

/// A token of more than 65,804 bytes, which no message can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token has at most 65804 bytes")]
pub struct TokenTooLong;

impl Token {
    /// The token of no bytes.
    pub fn empty() -> Self {
        Self(SmallVec::new())
    }

    /// A token of these bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, TokenTooLong> {
        if bytes.len() > EXTENDED_MAX { Err(TokenTooLong) } else { Ok(Self(SmallVec::from_slice(bytes))) }
    }

    /// The token of a message that was decoded, which cannot be too long.
    pub(crate) fn of_message(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// Its bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Deref for Token {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 8]> for Token {
    fn from(bytes: [u8; 8]) -> Self {
        Self(SmallVec::from(bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
