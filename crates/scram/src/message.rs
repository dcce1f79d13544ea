//! The text of SCRAM messages (RFC 5802 §7).

use crate::{MAX_MESSAGE_BYTES, ScramError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

pub(crate) fn text(data: &[u8]) -> Result<&str, ScramError> {
    if data.len() > MAX_MESSAGE_BYTES {
        return Err(ScramError::Malformed);
    }
    let text = std::str::from_utf8(data).map_err(|_| ScramError::Malformed)?;
    if text.contains('\0') { Err(ScramError::Malformed) } else { Ok(text) }
}

/// Takes the value of attribute `name` off the front, together with the comma that ends it.
pub(crate) fn attribute<'a>(rest: &mut &'a str, name: char) -> Result<&'a str, ScramError> {
    let value = rest
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('='))
        .ok_or(if rest.starts_with("m=") { ScramError::Extension } else { ScramError::Malformed })?;
    let (value, after) = value.split_once(',').unwrap_or((value, ""));
    *rest = after;
    if value.is_empty() { Err(ScramError::Malformed) } else { Ok(value) }
}

/// Checks that what is left are well-formed optional extensions.
pub(crate) fn extensions(rest: &str) -> Result<(), ScramError> {
    let well_formed = |extension: &str| {
        let mut chars = extension.chars();
        chars.next().is_some_and(|name| name.is_ascii_alphabetic())
            && chars.next() == Some('=')
            && chars.next().is_some()
    };
    if rest.is_empty() || rest.split(',').all(well_formed) { Ok(()) } else { Err(ScramError::Malformed) }
}

/// A nonce is printable ASCII; the comma cannot be in it, it has ended the attribute.
pub(crate) fn nonce(value: &str) -> Result<&str, ScramError> {
    if value.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(value) } else { Err(ScramError::Malformed) }
}

pub(crate) fn decode(value: &str) -> Result<Vec<u8>, ScramError> {
    BASE64.decode(value).map_err(|_| ScramError::Malformed)
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// `saslname`: comma and equals sign are written `=2C` and `=3D`.
pub(crate) fn escape_name(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a `saslname` and prepares it for comparison (RFC 5802 §5.1, attribute `n`).
pub(crate) fn unescape_name(value: &str) -> Result<String, ScramError> {
    let mut parts = value.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(ScramError::Malformed),
        };
        name.push(character);
        name.push_str(rest);
    }
    prepare_name(&name)
}

pub(crate) fn prepare_name(name: &str) -> Result<String, ScramError> {
    match stringprep::saslprep(name) {
        Ok(prepared) if !prepared.is_empty() => Ok(prepared.into_owned()),
        _ => Err(ScramError::Text),
    }
}
