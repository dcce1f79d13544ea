//! The fields that record bodies are made of: LEB128 integers, and bytes and text behind their length.
//!
//! A disk can hold anything, so every length is checked against what is left before it is trusted, and nothing is
//! reserved on the word of a length.

/// Why a record's body is not what its kind says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It ends within a field.
    #[error("it ends too early")]
    Truncated,
    /// Bytes are left behind its last field.
    #[error("it is too long")]
    TrailingBytes,
    /// An integer has more bits than its field.
    #[error("a number is too large")]
    NumberTooLarge,
    /// Text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A field has a value that means nothing.
    #[error("{0} has a value without meaning")]
    NoMeaning(&'static str),
    /// The checksum does not fit.
    #[error("its checksum is wrong")]
    Checksum,
}

/// Appends an integer, seven bits to the byte, least significant first.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes behind their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads fields from the beginning of a body.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.rest.split_first().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed::NumberTooLarge);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed::NumberTooLarge)
    }

    /// A number that has to fit a smaller type.
    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.number()?).map_err(|_| Malformed::NumberTooLarge)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.small()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed::NotUtf8)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// How many items of at least `least` bytes each can be left at most: as much as is worth reserving for.
    pub(crate) fn at_most(&self, claimed: u64, least: usize) -> usize {
        usize::try_from(claimed).unwrap_or(usize::MAX).min(self.rest.len() / least.max(1))
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_of_more_than_64_bits_are_refused() {
        let mut most = Vec::new();
        put_number(&mut most, u64::MAX);
        assert_eq!(Fields::new(&most).number(), Ok(u64::MAX));
        *most.last_mut().unwrap() = 2;
        assert_eq!(Fields::new(&most).number(), Err(Malformed::NumberTooLarge));
        assert_eq!(Fields::new(&[0x80; 20]).number(), Err(Malformed::NumberTooLarge));
        assert_eq!(Fields::new(&[0x80; 3]).number(), Err(Malformed::Truncated));
    }

    proptest! {
        #[test]
        fn fields_come_back_as_they_were_written(
            numbers in prop::collection::vec(any::<u64>().prop_map(|n| n >> (n % 64)), 0..10),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut out = Vec::new();
            numbers.iter().for_each(|number| put_number(&mut out, *number));
            put_bytes(&mut out, &bytes);
            let mut fields = Fields::new(&out);
            for number in &numbers {
                prop_assert_eq!(fields.number(), Ok(*number));
            }
            prop_assert_eq!(fields.bytes(), Ok(&bytes[..]));
            prop_assert_eq!(fields.end(), Ok(()));
        }
    }
}
