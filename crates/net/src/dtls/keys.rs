//! Pre-shared keys by identity.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Longest identity (RFC 4279 §5.3 asks for at least 128 bytes).
const LONGEST_IDENTITY: usize = 128;
/// Longest key in bytes (RFC 4279 §5.3 asks for at least 64).
const LONGEST_KEY: usize = 64;

/// Keys by the identity that a client sends, read from lines `identity:key` with the key in hexadecimal digits, as in
/// mosquitto's `psk_file`. Empty lines and lines that begin with `#` are passed over.
#[derive(Default)]
pub struct PskKeys(HashMap<Arc<str>, Zeroizing<Vec<u8>>>);

/// A line of a key file that cannot be used. The line itself is not quoted, since it may hold a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct PskError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl PskKeys {
    /// Reads lines `identity:key`.
    ///
    /// # Errors
    /// [`PskError`] for the first line that cannot be used, or that names an identity again.
    pub fn parse(text: &str) -> Result<Self, PskError> {
        let mut keys = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refuse = |reason| PskError { line: index + 1, reason };
            // The key has no colon in it, the identity may.
            let (identity, digits) =
                line.rsplit_once(':').ok_or(refuse("expected `identity:key`, the key in hexadecimal"))?;
            check_identity(identity).map_err(refuse)?;
            let key = decode_key(digits.trim()).map_err(refuse)?;
            if keys.insert(identity.into(), key).is_some() {
                return Err(refuse("this identity was named before"));
            }
        }
        Ok(Self(keys))
    }

    /// The key of an identity, and the identity as it is shared by all who have it.
    pub(super) fn find(&self, identity: &[u8]) -> Option<(&Arc<str>, &[u8])> {
        let (name, key) = self.0.get_key_value(std::str::from_utf8(identity).ok()?)?;
        Some((name, key))
    }

    /// How many identities have keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody has a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The identities, in no order.
    pub fn identities(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }
}

/// Names only: keys stay out of logs.
impl fmt::Debug for PskKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn check_identity(identity: &str) -> Result<(), &'static str> {
    match identity {
        "" => Err("the identity is empty"),
        _ if identity.len() > LONGEST_IDENTITY => Err("the identity is longer than 128 bytes"),
        _ if identity.chars().any(char::is_control) => Err("a control character in the identity"),
        _ => Ok(()),
    }
}

fn decode_key(digits: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err("the key needs an even number of hexadecimal digits, at least two");
    }
    if pairs.len() > LONGEST_KEY {
        return Err("the key is longer than 64 bytes");
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    let key: Option<Vec<u8>> =
        pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    key.map(Zeroizing::new).ok_or("the key has a character that is no hexadecimal digit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_keys() {
        let keys = PskKeys::parse("# devices\n\ndevice:0aFf\r\nurn:dev:1:00\n").unwrap();
        assert_eq!(keys.find(b"device").unwrap().1, [0x0a, 0xff]);
        assert_eq!(keys.find(b"urn:dev:1").unwrap().1, [0]);
        assert!(keys.find(b"urn").is_none());
        assert!(keys.find(b"\xff").is_none());
        assert_eq!(keys.len(), 2);
        assert!(!format!("{keys:?}").contains("255"));
    }

    #[test]
    fn lines_that_cannot_be_used_are_named_without_being_quoted() {
        let long_name = format!("{}:00", "x".repeat(129));
        let long_key = format!("x:{}", "00".repeat(65));
        let cases = [
            ("device", "identity:key"),
            (":00", "empty"),
            ("a:", "even number"),
            ("a:012", "even number"),
            ("a:0g", "no hexadecimal digit"),
            ("a\tb:00", "control character"),
            (&long_name, "128"),
            (&long_key, "64"),
            ("a:00\na:01", "named before"),
        ];
        for (text, words) in cases {
            let error = PskKeys::parse(text).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert_eq!(error.line, text.lines().count(), "{text}");
        }
    }
}
