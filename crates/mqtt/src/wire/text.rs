//! UTF-8 Encoded Strings (MQTT 5.0 §1.5.4).

use crate::error::ErrorKind;

/// The text in `bytes`: well-formed UTF-8 (which excludes surrogates) without U+0000, and if `strict` without control
/// characters and non-characters.
#[inline]
pub(crate) fn parse(bytes: &[u8], strict: bool) -> Result<&str, ErrorKind> {
    let text = well_formed(bytes)?;
    if bytes.contains(&0) {
        return Err(ErrorKind::NulCharacter);
    }
    if strict {
        check_strict(text)?;
    }
    Ok(text)
}

/// [MQTT-1.5.4-1]
#[inline]
pub(crate) fn well_formed(bytes: &[u8]) -> Result<&str, ErrorKind> {
    core::str::from_utf8(bytes).map_err(|_| ErrorKind::InvalidUtf8)
}

/// The code points that §1.5.4 says should not be sent and a receiver may treat as malformed.
pub(crate) fn check_strict(text: &str) -> Result<(), ErrorKind> {
    match text.chars().find(|&c| is_discouraged(c)) {
        Some(character) => Err(ErrorKind::DiscouragedCharacter(character)),
        None => Ok(()),
    }
}

const fn is_discouraged(c: char) -> bool {
    let code = c as u32;
    matches!(code, 0x01..=0x1F | 0x7F..=0x9F | 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ill_formed_text_is_refused() {
        let cases: &[&[u8]] = &[
            b"\xFF",
            b"a\x80",
            b"\xC0\x80",
            b"\xED\xA0\x80",
            b"\xED\xBF\xBF",
            b"\xF4\x90\x80\x80",
            b"\xF0\x80\x80\xAF",
            b"ok\xC3",
        ];
        for bytes in cases {
            assert_eq!(parse(bytes, false), Err(ErrorKind::InvalidUtf8), "{bytes:02X?}");
        }
        assert_eq!(parse(b"a\0b", false), Err(ErrorKind::NulCharacter));
        assert_eq!(parse("\u{FEFF}ok \u{10FFFD}".as_bytes(), true), Ok("\u{FEFF}ok \u{10FFFD}"));
    }

    #[test]
    fn control_and_non_characters_are_refused_only_when_strict() {
        for c in [
            '\u{1}',
            '\u{1F}',
            '\u{7F}',
            '\u{9F}',
            '\u{FDD0}',
            '\u{FFFE}',
            '\u{FFFF}',
            '\u{1FFFE}',
            '\u{10FFFF}',
        ] {
            let text = format!("a{c}b");
            assert_eq!(parse(text.as_bytes(), false), Ok(text.as_str()));
            assert_eq!(parse(text.as_bytes(), true), Err(ErrorKind::DiscouragedCharacter(c)));
        }
    }
}
