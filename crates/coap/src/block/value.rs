//! The value of the options Block1 and Block2 (RFC 7959 §2.2).

use crate::{Number, Options};

/// The size of a block, as its exponent SZX says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(u8);

impl BlockSize {
    /// 16 bytes: SZX 0, the smallest.
    pub const MIN: Self = Self(0);
    /// 1024 bytes: SZX 6, the largest over datagrams.
    pub const MAX: Self = Self(6);
    /// SZX 7: a message carries any number of blocks of 1024 bytes. Over streams only (RFC 8323 §6).
    pub const BERT: Self = Self(7);

    /// The size with this SZX; `None` above 7.
    pub const fn from_exponent(exponent: u8) -> Option<Self> {
        if exponent <= 7 { Some(Self(exponent)) } else { None }
    }

    /// The largest size for datagrams of at most `bytes`; the smallest one if even that is more.
    pub const fn within(bytes: usize) -> Self {
        let mut exponent = 6;
        while exponent > 0 && 16 << exponent > bytes {
            exponent -= 1;
        }
        Self(exponent)
    }

    /// SZX.
    #[inline]
    pub const fn exponent(self) -> u8 {
        self.0
    }

    /// The size in bytes, in which blocks are counted: 1024 for [`Self::BERT`] too.
    #[inline]
    pub const fn bytes(self) -> usize {
        if self.0 >= 6 { 1024 } else { 16 << self.0 }
    }

    /// The size is reserved over datagrams.
    #[inline]
    pub const fn is_bert(self) -> bool {
        self.0 == 7
    }
}

/// One block of a body, or the wish for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// NUM: which block, counted in blocks of this size; at most 2^20 - 1.
    pub number: u32,
    /// M: more blocks follow.
    pub more: bool,
    /// SZX.
    pub size: BlockSize,
}

impl Block {
    /// The greatest number of a block.
    pub const MAX_NUMBER: u32 = 0xF_FFFF;

    /// The block that the value of an option says; `None` beyond three bytes.
    #[inline]
    pub const fn from_uint(value: u32) -> Option<Self> {
        if value > 0xFF_FFFF {
            return None;
        }
        Some(Self { number: value >> 4, more: value & 8 != 0, size: BlockSize((value & 7) as u8) })
    }

    /// The block that the option `number` of `options` says, if it is there.
    #[inline]
    pub fn of(options: Options<'_>, number: Number) -> Option<Self> {
        Self::from_uint(options.uint(number)?)
    }

    /// The value of the option.
    #[inline]
    pub const fn to_uint(self) -> u32 {
        let number = if self.number > Self::MAX_NUMBER { Self::MAX_NUMBER } else { self.number };
        number << 4 | (self.more as u32) << 3 | self.size.0 as u32
    }

    /// Where in the body the block begins; less than 2^30.
    #[inline]
    pub const fn offset(self) -> usize {
        self.number as usize * self.size.bytes()
    }

    /// The block of this size that begins at `offset`; `None` if none does, or its number is too great.
    pub(crate) fn at(offset: usize, more: bool, size: BlockSize) -> Option<Self> {
        let number = u32::try_from(offset / size.bytes()).ok()?;
        (offset.is_multiple_of(size.bytes()) && number <= Self::MAX_NUMBER).then_some(Self {
            number,
            more,
            size,
        })
    }

    /// `length` bytes are what a block with this value carries: its size if more follow, at most its size otherwise.
    pub(crate) fn allows(self, length: usize) -> bool {
        let size = self.size.bytes();
        match (self.more, self.size.is_bert()) {
            (true, false) => length == size,
            (true, true) => length > 0 && length.is_multiple_of(size),
            (false, false) => length <= size,
            (false, true) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7959_2_2_values() {
        for (value, number, more, size) in [
            (0, 0, false, 16),
            (0x0E, 0, true, 1024),
            (0x22, 2, false, 64),
            (0xFF_FFFE, 0xF_FFFF, true, 1024),
            (0x0F, 0, true, 1024),
        ] {
            let block = Block::from_uint(value).expect("three bytes");
            assert_eq!((block.number, block.more, block.size.bytes()), (number, more, size), "{value:#x}");
            assert_eq!(block.to_uint(), value);
        }
        assert_eq!(Block::from_uint(0x100_0000), None);
    }

    #[test]
    fn sizes_that_fit() {
        for (bytes, size) in [(0, 16), (16, 16), (31, 16), (32, 32), (1023, 512), (1024, 1024), (9999, 1024)]
        {
            assert_eq!(BlockSize::within(bytes).bytes(), size, "{bytes}");
            assert!(!BlockSize::within(bytes).is_bert());
        }
    }

    #[test]
    fn rule37_a_block_that_is_not_the_last_is_full() {
        let block = |value| Block::from_uint(value).expect("three bytes");
        for (value, length, allowed) in [
            (0x08, 16, true),
            (0x08, 15, false),
            (0x08, 17, false),
            (0x00, 0, true),
            (0x00, 16, true),
            (0x00, 17, false),
            (0x0F, 2048, true),
            (0x0F, 0, false),
            (0x0F, 1500, false),
            (0x07, 1500, true),
        ] {
            assert_eq!(block(value).allows(length), allowed, "{value:#x} with {length}");
        }
    }
}
