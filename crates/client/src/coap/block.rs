//! The value of the Block options.

/// Which block of a body, of which size (RFC 7959 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    num: u32,
    more: bool,
    szx: u8,
}

impl Block {
    pub(super) fn new(num: u32, more: bool, szx: u8) -> Self {
        Self { num, more, szx: szx & 7 }
    }

    pub(super) fn from_uint(value: u32) -> Option<Self> {
        (value < 1 << 24).then_some(Self { num: value >> 4, more: value & 8 != 0, szx: (value & 7) as u8 })
    }

    pub(super) fn to_uint(self) -> u32 {
        self.num << 4 | u32::from(self.more) << 3 | u32::from(self.szx)
    }

    pub(super) fn more(self) -> bool {
        self.more
    }

    pub(super) fn szx(self) -> u8 {
        self.szx
    }

    pub(super) fn num(self) -> u32 {
        self.num
    }

    /// Where in the body it begins.
    pub(super) fn offset(self) -> usize {
        self.num as usize * self.unit()
    }

    /// Bytes that its number counts by.
    pub(super) fn unit(self) -> usize {
        16 << self.szx.min(6)
    }
}
