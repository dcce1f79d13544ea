//! Reading from a slice that cannot be left.

use crate::error::ErrorKind;

/// A cursor over a payload. It never reads beyond it, whatever the lengths inside say.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// The octet that consecutive bits are read from, shifted, and how many of it are left.
    bits: u8,
    bits_left: u8,
    /// How many levels of tables may follow.
    pub(crate) depth: u8,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(rest: &'a [u8], depth: u8) -> Self {
        Self { rest, bits: 0, bits_left: 0, depth }
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], ErrorKind> {
        let (head, tail) = self.rest.split_at_checked(len).ok_or(ErrorKind::Truncated)?;
        self.rest = tail;
        self.bits_left = 0;
        Ok(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ErrorKind> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(ErrorKind::Truncated)?;
        self.rest = tail;
        self.bits_left = 0;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, ErrorKind> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, ErrorKind> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, ErrorKind> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, ErrorKind> {
        self.array().map(u64::from_be_bytes)
    }

    /// A bit: consecutive ones share octets, the first in the lowest place (§4.2.5.2). What is left of an octet is
    /// reserved and ignored.
    #[inline]
    pub(crate) fn bit(&mut self) -> Result<bool, ErrorKind> {
        if self.bits_left == 0 {
            self.bits = self.u8()?;
            self.bits_left = 8;
        }
        let bit = self.bits & 1 == 1;
        self.bits >>= 1;
        self.bits_left -= 1;
        Ok(bit)
    }

    /// One octet of length and that many bytes.
    #[inline]
    pub(crate) fn short_bytes(&mut self) -> Result<&'a [u8], ErrorKind> {
        let len = self.u8()?;
        self.take(usize::from(len))
    }

    #[inline]
    pub(crate) fn short_str(&mut self) -> Result<&'a str, ErrorKind> {
        core::str::from_utf8(self.short_bytes()?).map_err(|_| ErrorKind::InvalidUtf8)
    }

    /// Four octets of length and that many bytes.
    #[inline]
    pub(crate) fn long_bytes(&mut self) -> Result<&'a [u8], ErrorKind> {
        let len = self.u32()?;
        self.take(usize::try_from(len).map_err(|_| ErrorKind::Truncated)?)
    }

    /// Everything has been read.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), ErrorKind> {
        if self.rest.is_empty() { Ok(()) } else { Err(ErrorKind::TrailingBytes) }
    }
}
