//! Reading from a slice that cannot be left.

use crate::error::{DecodeError, ErrorKind, Result};
use crate::packet_id::PacketId;
use crate::wire::text;

/// A cursor over a part of a packet. It never reads beyond that part, whatever the lengths inside say, and knows where
/// in the packet it stands.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Where in the packet `rest` ends.
    end: u32,
}

impl<'a> Reader<'a> {
    /// Reads `body`, which begins at `offset` of its packet. Packets are shorter than 2^28 bytes.
    #[inline]
    pub(crate) fn new(body: &'a [u8], offset: usize) -> Self {
        Self { rest: body, end: (offset + body.len()) as u32 }
    }

    /// Where in the packet the reader stands.
    #[inline]
    pub(crate) fn offset(&self) -> u32 {
        self.end - self.rest.len() as u32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// An error at this place.
    #[cold]
    pub(crate) fn fail(&self, kind: ErrorKind) -> DecodeError {
        DecodeError::new(kind, self.offset())
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            return Err(self.fail(ErrorKind::Truncated));
        };
        self.rest = tail;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.fail(ErrorKind::Truncated));
        };
        self.rest = tail;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A Variable Byte Integer in its shortest form (§1.5.5). Those inside packets exist only in MQTT 5.0, which
    /// demands that form [MQTT-1.5.5-1].
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32> {
        let at = self.offset();
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::new(ErrorKind::OverlongInteger, at));
                }
                return Ok(value);
            }
        }
        Err(DecodeError::new(ErrorKind::InvalidInteger, at))
    }

    /// Binary Data: two bytes of length, then that many bytes.
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8]> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 Encoded String (§1.5.4).
    #[inline]
    pub(crate) fn text(&mut self, strict: bool) -> Result<&'a str> {
        let bytes = self.binary()?;
        text::parse(bytes, strict).map_err(|kind| DecodeError::new(kind, self.offset() - bytes.len() as u32))
    }

    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId> {
        let at = self.offset();
        PacketId::new(self.u16()?).ok_or_else(|| DecodeError::new(ErrorKind::PacketIdZero, at))
    }

    /// A reader of the next `len` bytes alone.
    pub(crate) fn part(&mut self, len: usize) -> Result<Self> {
        let offset = self.offset() as usize;
        Ok(Self::new(self.take(len)?, offset))
    }

    /// Everything has been read.
    pub(crate) fn finish(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.fail(ErrorKind::TrailingBytes)) }
    }
}
