//! The frame between a method and the body of its message (§2.3.5.2).

use crate::content::properties::Properties;
use crate::error::{EncodeError, ErrorKind};
use crate::frame::{FrameType, write_frame};
use crate::limits::Limits;
use crate::wire::reader::Reader;

/// Properties of the class basic have 14 flags; the two lowest bits are reserved and the mark of a further word, which
/// no class has.
const UNDEFINED_FLAGS: u16 = 0b11;

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method that it follows.
    pub class: u16,
    /// Reserved, and 0.
    pub weight: u16,
    /// Size of the whole body in bytes.
    pub body_size: u64,
    /// The properties, encoded.
    pub properties: Properties<'a>,
}

impl<'a> ContentHeader<'a> {
    /// A header for a method of the class basic, the only one with content.
    pub const fn basic(body_size: u64, properties: Properties<'a>) -> Self {
        Self { class: 60, weight: 0, body_size, properties }
    }

    #[inline]
    pub(crate) fn parse(payload: &'a [u8], limits: &Limits) -> Result<Self, ErrorKind> {
        let mut reader = Reader::new(payload, 0);
        let (class, weight, body_size) = (reader.u16()?, reader.u16()?, reader.u64()?);
        if body_size > limits.body_max {
            return Err(ErrorKind::BodyTooLarge { size: body_size, limit: limits.body_max });
        }
        if weight != 0 {
            return Err(ErrorKind::HeaderWeight(weight));
        }
        let flags = reader.u16()?;
        if flags & UNDEFINED_FLAGS != 0 {
            return Err(ErrorKind::PropertyFlags(flags));
        }
        Ok(Self { class, weight, body_size, properties: Properties::from_parts(flags, reader.rest()) })
    }

    /// Appends a frame with this header on `channel`.
    ///
    /// # Errors
    /// When it is longer than a frame can be; `out` is then as before.
    #[inline]
    pub fn write(&self, channel: u16, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        write_frame(FrameType::Header, channel, out, |out| {
            out.extend_from_slice(&self.class.to_be_bytes());
            out.extend_from_slice(&self.weight.to_be_bytes());
            out.extend_from_slice(&self.body_size.to_be_bytes());
            self.properties.write(out);
            Ok(())
        })
    }
}
