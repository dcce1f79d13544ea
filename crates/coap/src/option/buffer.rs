//! Options that are being put together.

use alloc::vec::Vec;
use core::fmt;

use super::number::Number;
use super::view::Options;
use super::wire;

/// Encoded options of one's own, kept in order however they are added.
///
/// Adding in ascending order appends; everything else moves what follows. Values above 65,804 bytes, which no message
/// can carry, are cut there.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct OptionBuf {
    bytes: Vec<u8>,
    /// Number of the last option; 0 when there is none.
    last: u16,
}

impl OptionBuf {
    /// None yet.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), last: 0 }
    }

    /// A copy of `options`.
    pub fn from_options(options: Options<'_>) -> Self {
        let last = options.iter().last().map_or(0, |(number, _)| number.0);
        Self { bytes: options.as_bytes().to_vec(), last }
    }

    /// A view of them.
    #[inline]
    pub fn as_options(&self) -> Options<'_> {
        Options::of_buffer(&self.bytes)
    }

    /// There are none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds an option, after those of the same number.
    pub fn add(&mut self, number: Number, value: &[u8]) -> &mut Self {
        if number.0 >= self.last {
            wire::push_option(&mut self.bytes, number.0 - self.last, value);
            self.last = number.0;
        } else {
            self.rewrite(|options, out| {
                let mut added = false;
                for (other, other_value) in options {
                    if other > number && !added {
                        out.add(number, value);
                        added = true;
                    }
                    out.add(other, other_value);
                }
            });
        }
        self
    }

    /// Adds an option whose value is an integer.
    pub fn add_uint(&mut self, number: Number, value: u32) -> &mut Self {
        let (bytes, from) = wire::uint_bytes(value);
        self.add(number, bytes.get(from..).unwrap_or_default())
    }

    /// Puts one option in the place of all of its number.
    pub fn set(&mut self, number: Number, value: &[u8]) -> &mut Self {
        self.remove(number).add(number, value)
    }

    /// Puts one option, whose value is an integer, in the place of all of its number.
    pub fn set_uint(&mut self, number: Number, value: u32) -> &mut Self {
        self.remove(number).add_uint(number, value)
    }

    /// Removes all options of a number.
    pub fn remove(&mut self, number: Number) -> &mut Self {
        if number.0 <= self.last && self.as_options().iter().any(|(other, _)| other == number) {
            self.retain(|other| other != number);
        }
        self
    }

    /// Keeps those options whose number passes.
    pub fn retain(&mut self, mut keep: impl FnMut(Number) -> bool) {
        self.rewrite(|options, out| {
            for (number, value) in options {
                if keep(number) {
                    out.add(number, value);
                }
            }
        });
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.last = 0;
    }

    fn rewrite(&mut self, write: impl FnOnce(Options<'_>, &mut Self)) {
        let old = core::mem::take(self);
        self.bytes.reserve(old.bytes.len() + 8);
        write(old.as_options(), self);
    }
}

impl<'a> FromIterator<(Number, &'a [u8])> for OptionBuf {
    fn from_iter<I: IntoIterator<Item = (Number, &'a [u8])>>(options: I) -> Self {
        let mut buffer = Self::new();
        for (number, value) in options {
            buffer.add(number, value);
        }
        buffer
    }
}

impl fmt::Debug for OptionBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_options().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn order_is_kept_however_options_are_added() {
        let mut options = OptionBuf::new();
        options.add(Number::URI_QUERY, b"q").add(Number::URI_PATH, b"a").add_uint(Number::SIZE1, 300);
        options.add(Number::URI_PATH, b"b").add(Number::URI_HOST, b"h").set_uint(Number::OBSERVE, 0);
        let all: Vec<_> = options.as_options().iter().map(|(number, value)| (number.0, value)).collect();
        let expected: Vec<(u16, &[u8])> =
            vec![(3, b"h"), (6, b""), (11, b"a"), (11, b"b"), (15, b"q"), (60, &[1, 44])];
        assert_eq!(all, expected);
        assert!(Options::new(options.as_options().as_bytes()).is_ok());
    }

    #[test]
    fn setting_replaces_all() {
        let mut options = OptionBuf::new();
        options.add(Number::ETAG, b"1").add(Number::ETAG, b"2").add(Number::URI_PATH, b"x");
        options.set(Number::ETAG, b"3");
        assert_eq!(options.as_options().all(Number::ETAG).collect::<Vec<_>>(), vec![b"3"]);
        options.remove(Number::URI_PATH).remove(Number::ACCEPT);
        options.add_uint(Number::CONTENT_FORMAT, 50);
        assert_eq!(options.as_options().iter().count(), 2);
        assert_eq!(options, OptionBuf::from_options(options.as_options()));
    }
}
