//! Writing to a growing buffer.

use crate::error::EncodeError;

/// Appends to a buffer and knows which octet takes the next bit.
pub(crate) struct Writer<'b> {
    pub(crate) out: &'b mut Vec<u8>,
    /// How many bits of the last octet are used; 8 when the next bit begins an octet.
    bits: u8,
}

impl<'b> Writer<'b> {
    #[inline]
    pub(crate) fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out, bits: 8 }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.bits = 8;
    }

    #[inline]
    pub(crate) fn bit(&mut self, bit: bool) {
        if self.bits == 8 {
            self.out.push(0);
            self.bits = 0;
        }
        if let Some(last) = self.out.last_mut() {
            *last |= u8::from(bit) << self.bits;
        }
        self.bits += 1;
    }

    #[inline]
    pub(crate) fn short_bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let len = u8::try_from(bytes.len()).map_err(|_| EncodeError::ShortStringTooLong)?;
        self.bytes(&[len]);
        self.bytes(bytes);
        Ok(())
    }

    #[inline]
    pub(crate) fn long_bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let len = u32::try_from(bytes.len()).map_err(|_| EncodeError::TooLong)?;
        self.bytes(&len.to_be_bytes());
        self.bytes(bytes);
        Ok(())
    }
}

/// Writes four octets of length and what `content` writes after them.
pub(crate) fn with_length(
    out: &mut Vec<u8>,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    content(out)?;
    let len = u32::try_from(out.len() - at - 4).map_err(|_| EncodeError::TooLong)?;
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
    Ok(())
}
