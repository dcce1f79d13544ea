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

/// Looks at every byte once, sixteen at a time in a shape that compiles to vector instructions. The bytes looked for are
/// ASCII, so the parts of longer characters never match.
#[inline]
fn scan(bytes: &[u8]) -> Found {
    let (blocks, tail) = bytes.as_chunks::<16>();
    let mut found = Found { forbidden: false, slashes: 0 };
    for block in blocks {
        let (mut forbidden, mut slashes) = (0, 0);
        for &byte in block {
            forbidden |= is_forbidden(byte);
            slashes += u8::from(byte == b'/');
        }
        found.forbidden |= forbidden != 0;
        found.slashes += usize::from(slashes);
    }
    for &byte in tail {
        found.forbidden |= is_forbidden(byte) != 0;
        found.slashes += usize::from(byte == b'/');
    }
    found
}

#[inline]
fn is_forbidden(byte: u8) -> u8 {
    u8::from(byte == 0) | u8::from(byte == b'+') | u8::from(byte == b'#')
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
    fn slashes_are_counted_in_long_names() {
        let name = "/".repeat(1000);
        let limits = |levels| Limits { max_topic_levels: levels, ..Limits::default() };
        assert!(validate_name(&name, &limits(1001)).is_ok());
        assert!(validate_name(&name, &limits(1000)).is_err());
    }
}
