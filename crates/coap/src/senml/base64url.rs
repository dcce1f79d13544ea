//! Base64 with the alphabet of URLs and no padding, for data in JSON (RFC 8428 §5).

use alloc::string::String;
use alloc::vec::Vec;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) fn encode(data: &[u8], out: &mut String) {
    for chunk in data.chunks(3) {
        let mut bits = 0u32;
        for position in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(position).copied().unwrap_or_default());
        }
        for digit in 0..=chunk.len() {
            let index = bits >> (18 - 6 * digit) & 0x3F;
            out.push(char::from(ALPHABET.get(index as usize).copied().unwrap_or_default()));
        }
    }
}

/// Padding is accepted, though it must not be sent.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        if chunk.len() == 1 {
            return None;
        }
        let mut bits = 0u32;
        for position in 0..4 {
            let digit = match chunk.get(position) {
                Some(byte) => ALPHABET.iter().position(|digit| digit == byte)? as u32,
                None => 0,
            };
            bits = bits << 6 | digit;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend(bytes.into_iter().take(chunk.len() - 1));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let cases: [(&[u8], &str); 5] =
            [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (&[0xFB, 0xFF, 0xFE, 1], "-__-AQ")];
        for (data, text) in cases {
            let mut out = String::new();
            encode(data, &mut out);
            assert_eq!(out, text);
            assert_eq!(decode(text).as_deref(), Some(data));
        }
        assert_eq!(decode("Zg=="), Some(b"f".to_vec()));
        assert_eq!((decode("Z"), decode("Z+"), decode("Zm9vZ")), (None, None, None));
    }
}
