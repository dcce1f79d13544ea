//! Topic names: what a message is published to.

use core::fmt;

use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::topic::TopicError;
use crate::wire::text;

/// A topic name: at least one character, no wildcards, no U+0000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Takes `name` for a topic name if it is one within the limits.
    ///
    /// # Errors
    ///
    /// The rule or limit that `name` violates.
    pub fn parse(name: &'a str, limits: &Limits) -> Result<Self, TopicError> {
        validate_name(name, limits).map(|()| Self(name))
    }

    /// The name as text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl AsRef<str> for TopicName<'_> {
    fn as_ref(&self) -> &str {
        self.0
    }
}

/// Checks that `name` is a topic name within the limits.
///
/// # Errors
///
/// The rule or limit that `name` violates.
pub fn validate_name(name: &str, limits: &Limits) -> Result<(), TopicError> {
    check_name(name, limits).map_err(TopicError::from)
}

/// The topic name in `bytes`.
#[inline]
pub(crate) fn parse_name<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a str, ErrorKind> {
    let name = text::well_formed(bytes)?;
    check_name(name, limits)?;
    Ok(name)
}

#[inline]
fn check_name(name: &str, limits: &Limits) -> Result<(), ErrorKind> {
    if name.is_empty() {
        return Err(ErrorKind::EmptyTopicName);
    }
    let found = scan(name.as_bytes());
    if found.forbidden {
        let nul = name.as_bytes().contains(&0);
        return Err(if nul { ErrorKind::NulCharacter } else { ErrorKind::WildcardInTopicName });
    }
    if limits.strict_utf8 {
        text::check_strict(name)?;
    }
    if name.len() > usize::from(limits.max_topic_length) {
        return Err(ErrorKind::TopicNameTooLong);
    }
    if limits.is_too_deep(found.slashes) {
        return Err(ErrorKind::TopicNameTooDeep);
    }
    Ok(())
}

struct Found {
    /// A wildcard or U+0000 occurs.
    forbidden: bool,
    slashes: usize,
}

/// Looks at every byte once, eight at a time. The bytes looked for are ASCII, so the parts of longer characters never
/// match.
#[inline]
fn scan(bytes: &[u8]) -> Found {
    let (words, tail) = bytes.as_chunks::<8>();
    let (mut forbidden, mut slashes) = (0, 0);
    // Slashes are counted in the eight bytes of a word, which hold 255 each.
    for run in words.chunks(255) {
        let mut counts = 0;
        for word in run {
            let word = u64::from_le_bytes(*word);
            forbidden |= forbidden_bytes(word);
            counts += zero_bytes(word ^ every(b'/'));
        }
        slashes += sum_of_bytes(counts);
    }
    if !tail.is_empty() {
        let mut word = every(b' ');
        for &byte in tail {
            word = (word << 8) | u64::from(byte);
        }
        forbidden |= forbidden_bytes(word);
        slashes += sum_of_bytes(zero_bytes(word ^ every(b'/')));
    }
    Found { forbidden: forbidden != 0, slashes: slashes as usize }
}

const fn every(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Not zero if a byte of the word is U+0000, `+` or `#`. The wildcards differ in one bit, which is set in both here.
#[inline]
const fn forbidden_bytes(word: u64) -> u64 {
    zero_bytes(word) | zero_bytes((word | every(b'+' ^ b'#')) ^ every(b'+' | b'#'))
}

/// One in each byte that is zero, zero in the others.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    let low = every(0x7F);
    // The sum cannot carry from one byte into the next: its upper bit says that one of the lower seven is set.
    !(((word & low) + low) | word | low) >> 7
}

#[inline]
const fn sum_of_bytes(word: u64) -> u64 {
    // Each pair first, as the sum of eight bytes of 255 needs more than one.
    let pairs = (word & 0x00FF_00FF_00FF_00FF) + (word >> 8 & 0x00FF_00FF_00FF_00FF);
    pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let limits = Limits { max_topic_length: 40, max_topic_levels: 4, ..Limits::default() };
        let cases = [
            ("a", Ok(())),
            ("/", Ok(())),
            ("///", Ok(())),
            ("$SYS/x", Ok(())),
            (" ", Ok(())),
            ("käse/0123456789012345678901234567890", Ok(())),
            ("", Err(ErrorKind::EmptyTopicName)),
            ("a/+", Err(ErrorKind::WildcardInTopicName)),
            ("#", Err(ErrorKind::WildcardInTopicName)),
            ("012345678901234#", Err(ErrorKind::WildcardInTopicName)),
            ("0123456789012345+", Err(ErrorKind::WildcardInTopicName)),
            ("a\0b", Err(ErrorKind::NulCharacter)),
            ("0123456789012345\0", Err(ErrorKind::NulCharacter)),
            ("////", Err(ErrorKind::TopicNameTooDeep)),
            ("01234567890123456789012345678901234567890", Err(ErrorKind::TopicNameTooLong)),
        ];
        for (name, expected) in cases {
            assert_eq!(validate_name(name, &limits).map_err(|e| e.kind), expected, "{name:?}");
        }
    }

    #[test]
    fn every_byte_is_looked_at() {
        let limits = Limits::default();
        for len in 1..40 {
            for at in 0..len {
                for byte in 0..=0x7F {
                    let mut name = vec![b'x'; len];
                    name[at] = byte;
                    let found = scan(&name);
                    assert_eq!(found.forbidden, matches!(byte, 0 | b'+' | b'#'), "{byte} at {at} of {len}");
                    assert_eq!(found.slashes, usize::from(byte == b'/'), "{byte} at {at} of {len}");
                }
            }
        }
        // Both wildcards with their upper bit set, and bytes that differ in the bit that is masked.
        assert!(validate_name("\u{AB}\u{A3}\u{6AB}\u{8A3}+".trim_end_matches('+'), &limits).is_ok());
        let all: String = ('\u{1}'..='\u{FFF}').filter(|c| !matches!(c, '+' | '#')).collect();
        assert!(validate_name(&all, &Limits::protocol()).is_ok());
        assert_eq!(scan(all.as_bytes()).slashes, 1);
        assert_eq!(scan("/".repeat(65_535).as_bytes()).slashes, 65_535);
    }

    #[test]
    fn slashes_are_counted_in_long_names() {
        let name = "/".repeat(1000);
        let limits = |levels| Limits { max_topic_levels: levels, ..Limits::default() };
        assert!(validate_name(&name, &limits(1001)).is_ok());
        assert!(validate_name(&name, &limits(1000)).is_err());
    }
}
