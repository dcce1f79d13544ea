//! A view of encoded options.

use core::fmt;

use super::number::Number;
use super::wire::{self, PAYLOAD_MARKER};
use crate::message::FormatError;

/// The options of a message, in ascending order of their numbers.
///
/// They are checked when the view is made, so that reading them cannot fail. [`iter`](Self::iter) gives each of them as
/// it was sent; the other readers know the registry: an option of a length that its definition does not allow is passed
/// over, and so is the second one of an option that may occur only once (RFC 7252 §5.4.3, §5.4.5). Whether one that was
/// passed over is critical is what [`judge`](Self::judge) tells.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Options<'a> {
    bytes: &'a [u8],
}

impl<'a> Options<'a> {
    /// No options.
    pub const EMPTY: Options<'static> = Options { bytes: &[] };

    /// Checks encoded options that fill all of `bytes`, without a payload marker.
    pub fn new(bytes: &'a [u8]) -> Result<Self, FormatError> {
        match Self::split(bytes)? {
            (options, None) => Ok(options),
            (_, Some(_)) => Err(FormatError::OptionDelta),
        }
    }

    /// Checks options and separates them from what follows the payload marker, if there is one.
    pub(crate) fn split(bytes: &'a [u8]) -> Result<(Self, Option<&'a [u8]>), FormatError> {
        let mut rest = bytes;
        let mut number = 0u32;
        while let Some(&first) = rest.first() {
            if first == PAYLOAD_MARKER {
                let end = bytes.len() - rest.len();
                return Ok((Self { bytes: bytes.get(..end).unwrap_or_default() }, rest.get(1..)));
            }
            let Some((delta, _, after)) = wire::split_option(rest) else {
                return Err(FormatError::of_option(first));
            };
            number += delta;
            // Not to be wrapped around into a number that passes for another one.
            if number > u32::from(u16::MAX) {
                return Err(FormatError::OptionNumber);
            }
            rest = after;
        }
        Ok((Self { bytes }, None))
    }

    /// What [`OptionBuf`](super::OptionBuf) keeps well-formed.
    pub(super) const fn of_buffer(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The options as they are on the wire, without a payload marker.
    #[inline]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// There are none.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// Each option as it was sent, in order.
    #[inline]
    pub const fn iter(self) -> Iter<'a> {
        Iter { rest: self.bytes, number: 0 }
    }

    /// The value of an option; of the first, if it is repeated.
    #[inline]
    pub fn get(self, number: Number) -> Option<&'a [u8]> {
        self.all(number).next()
    }

    /// The option is there.
    #[inline]
    pub fn contains(self, number: Number) -> bool {
        self.get(number).is_some()
    }

    /// The value of an option that is an integer.
    #[inline]
    pub fn uint(self, number: Number) -> Option<u32> {
        wire::read_uint(self.get(number)?)
    }

    /// The value of an option that is text; `None` also when it is not UTF-8.
    pub fn text(self, number: Number) -> Option<&'a str> {
        core::str::from_utf8(self.get(number)?).ok()
    }

    /// The values of an option, in order.
    #[inline]
    pub fn all(self, number: Number) -> All<'a> {
        All { iter: self.iter(), number, once: false }
    }

    /// The values of an option that are UTF-8, in order.
    pub fn texts(self, number: Number) -> impl Iterator<Item = &'a str> + Clone {
        self.all(number).filter_map(|value| core::str::from_utf8(value).ok())
    }
}

impl<'a> IntoIterator for Options<'a> {
    type Item = (Number, &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Each option of a message, in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a [u8],
    number: u32,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Number, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (delta, value, rest) = wire::split_option(self.rest)?;
        self.rest = rest;
        self.number += delta;
        Some((Number(self.number as u16), value))
    }
}

/// The values of one option.
#[derive(Clone, Debug)]
pub struct All<'a> {
    iter: Iter<'a>,
    number: Number,
    once: bool,
}

impl<'a> Iterator for All<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.once {
            return None;
        }
        for (number, value) in self.iter.by_ref() {
            if number > self.number {
                self.once = true;
                break;
            }
            if number < self.number {
                continue;
            }
            let Some(definition) = number.definition() else { return Some(value) };
            // The first is the one that counts, be its length right or wrong.
            self.once = !definition.repeatable;
            if definition.allows_len(value.len()) {
                return Some(value);
            }
            if self.once {
                break;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn repeated_options_have_difference_zero() {
        // RFC 7252 §3.1: /a/b is B1 61 01 62.
        let options = Options::new(&[0xB1, b'a', 0x01, b'b']).expect("well-formed");
        let all: Vec<_> = options.iter().collect();
        assert_eq!(all, vec![(Number::URI_PATH, &b"a"[..]), (Number::URI_PATH, &b"b"[..])]);
        assert_eq!(options.all(Number::URI_PATH).count(), 2);
        assert_eq!(options.get(Number::URI_QUERY), None);
    }

    #[test]
    fn wrong_lengths_and_repetitions_are_passed_over() {
        // Observe of four bytes, then Uri-Port twice.
        let options = Options::new(&[0x64, 0, 0, 0, 1, 0x11, 80, 0x01, 81]).expect("well-formed");
        assert_eq!(options.uint(Number::OBSERVE), None);
        assert_eq!(options.uint(Number::URI_PORT), Some(80));
        assert_eq!(options.all(Number::URI_PORT).count(), 1);
        assert_eq!(options.iter().count(), 3);
    }

    #[test]
    fn numbers_must_not_wrap() {
        // 269 + 65535 = 65804 is beyond what a number can be; 65535 is not.
        assert_eq!(Options::new(&[0xE0, 0xFF, 0xFF]), Err(FormatError::OptionNumber));
        assert!(Options::new(&[0xE0, 0xFE, 0xF2]).is_ok());
        assert_eq!(Options::new(&[0xE0, 0xFE, 0xF2, 0x10]), Err(FormatError::OptionNumber));
    }
}
