//! Percent-encoding (RFC 3986 §2.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::UriError;

/// Decodes; what comes out has to be UTF-8.
pub(super) fn decode(text: &str) -> Result<String, UriError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit =
                || bytes.next().and_then(|digit| char::from(digit).to_digit(16)).ok_or(UriError::Encoding);
            let value = digit()? << 4 | digit()?;
            out.push(value as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| UriError::Encoding)
}

/// Writes `text`, with everything encoded that is neither unreserved (RFC 3986 §2.3) nor in `allowed`.
pub(super) fn encode(f: &mut fmt::Formatter<'_>, text: &str, allowed: &str) -> fmt::Result {
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || (c.is_ascii() && allowed.contains(c)) {
            write!(f, "{c}")?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}
