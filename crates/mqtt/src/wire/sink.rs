//! Writing, into a buffer or into a count.
//!
//! Every packet has one function that writes it to any sink, so the length announced and the bytes written cannot
//! disagree.

/// Takes the parts of a packet one after the other.
pub(crate) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    #[inline]
    fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    #[inline]
    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    #[inline]
    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// A Variable Byte Integer in its shortest form. Values beyond its range do not occur: lengths are checked before.
    #[inline]
    fn varint(&mut self, value: u32) {
        match value {
            0..0x80 => self.u8(value as u8),
            0x80..0x4000 => self.bytes(&[value as u8 | 0x80, (value >> 7) as u8]),
            0x4000..0x20_0000 => {
                self.bytes(&[value as u8 | 0x80, (value >> 7) as u8 | 0x80, (value >> 14) as u8])
            }
            _ => self.bytes(&[
                value as u8 | 0x80,
                (value >> 7) as u8 | 0x80,
                (value >> 14) as u8 | 0x80,
                (value >> 21) as u8 & 0x7F,
            ]),
        }
    }

    /// Two bytes of length and the data. What is longer than 65,535 bytes is cut: callers check before, and a wrong
    /// field is better than a stream that has lost its frames.
    #[inline]
    fn binary(&mut self, data: &[u8]) {
        let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
        self.u16(len);
        self.bytes(data.get(..usize::from(len)).unwrap_or_default());
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.binary(text.as_bytes());
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Counts what would be written, and notices fields that are too long to be.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) len: usize,
    pub(crate) field_too_long: bool,
}

impl Sink for Count {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
    }

    #[inline]
    fn varint(&mut self, value: u32) {
        self.len += varint_len(value);
    }

    #[inline]
    fn binary(&mut self, data: &[u8]) {
        self.field_too_long |= data.len() > usize::from(u16::MAX);
        self.len += 2 + data.len().min(usize::from(u16::MAX));
    }
}

/// How many bytes a Variable Byte Integer takes.
#[inline]
pub(crate) const fn varint_len(value: u32) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// The greatest value of a Variable Byte Integer.
pub(crate) const VARINT_MAX: usize = 268_435_455;
