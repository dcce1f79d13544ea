//! Options as they are on the wire: differences of numbers and lengths in nibbles with extensions (RFC 7252 §3.1).

use alloc::vec::Vec;

use crate::limits::Limits;

/// What follows the options when there is a payload.
pub(crate) const PAYLOAD_MARKER: u8 = 0xFF;

/// The greatest length that an option's value, and a token, can have on the wire.
pub(crate) const EXTENDED_MAX: usize = 65_804;

/// One option read from the front of `bytes`: the difference to the previous number, the value, what follows.
/// `None` when it is truncated or has a reserved nibble. The caller has excluded the payload marker.
#[inline]
pub(crate) fn split_option(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (delta, rest) = extended(first >> 4, rest)?;
    let (len, rest) = extended(first & 0x0F, rest)?;
    let (value, rest) = rest.split_at_checked(len as usize)?;
    Some((delta, value, rest))
}

/// What a nibble and the bytes after it mean, and the rest; also the length of a token (RFC 8974 §2.1).
#[inline]
pub(crate) fn extended(nibble: u8, bytes: &[u8]) -> Option<(u32, &[u8])> {
    match nibble {
        0..=12 => Some((u32::from(nibble), bytes)),
        13 => {
            let (&byte, rest) = bytes.split_first()?;
            Some((u32::from(byte) + 13, rest))
        }
        14 => {
            let (pair, rest) = bytes.split_first_chunk::<2>()?;
            Some((u32::from(u16::from_be_bytes(*pair)) + 269, rest))
        }
        _ => None,
    }
}

/// The nibble can stand for the length of a token: up to 8 (RFC 7252 §3), or all but 15 (RFC 8974 §2.1).
#[inline]
pub(crate) const fn is_token_length(nibble: u8, limits: &Limits) -> bool {
    nibble <= 8 || nibble < 15 && limits.token > 8
}

/// The nibble for a value, and its extension: the bytes and how many of them count.
#[inline]
pub(crate) const fn nibble(value: usize) -> (u8, [u8; 2], usize) {
    match value {
        0..=12 => (value as u8, [0; 2], 0),
        13..=268 => (13, [(value - 13) as u8, 0], 1),
        _ => {
            let rest = if value > EXTENDED_MAX { u16::MAX } else { (value - 269) as u16 };
            (14, rest.to_be_bytes(), 2)
        }
    }
}

/// Writes an option whose number is `delta` above the one before. Of a value above [`EXTENDED_MAX`] only that much is
/// written.
#[inline]
pub(crate) fn push_option(out: &mut Vec<u8>, delta: u16, value: &[u8]) {
    let value = value.get(..EXTENDED_MAX).unwrap_or(value);
    push_head(out, delta, value.len());
    out.extend_from_slice(value);
}

/// Writes what comes before the value of an option.
#[inline]
pub(crate) fn push_head(out: &mut Vec<u8>, delta: u16, len: usize) {
    let (delta, delta_bytes, delta_used) = nibble(delta as usize);
    let (len, len_bytes, len_used) = nibble(len);
    out.push(delta << 4 | len);
    for byte in delta_bytes.into_iter().take(delta_used).chain(len_bytes.into_iter().take(len_used)) {
        out.push(byte);
    }
}

/// An unsigned integer in as few bytes as it needs, none for 0: the bytes and where they begin.
#[inline]
pub(crate) const fn uint_bytes(value: u32) -> ([u8; 4], usize) {
    (value.to_be_bytes(), (value.leading_zeros() / 8) as usize)
}

/// Reads an unsigned integer; leading zeros are allowed (RFC 7252 §3.2). `None` when it does not fit.
#[inline]
pub(crate) fn read_uint(value: &[u8]) -> Option<u32> {
    let zeros = value.iter().take_while(|&&byte| byte == 0).count();
    let significant = value.get(zeros..)?;
    if significant.len() > 4 {
        return None;
    }
    Some(significant.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_at_their_edges() {
        // RFC 7252 §3.1: 13 is one byte minus 13, 14 two bytes minus 269.
        let cases: [(usize, &[u8]); 8] = [
            (0, &[0x00]),
            (12, &[0x0C]),
            (13, &[0x0D, 0]),
            (268, &[0x0D, 255]),
            (269, &[0x0E, 0, 0]),
            (270, &[0x0E, 0, 1]),
            (65_535, &[0x0E, 0xFE, 0xF2]),
            (65_804, &[0x0E, 0xFF, 0xFF]),
        ];
        for (value, bytes) in cases {
            let (nibble, extension, used) = nibble(value);
            assert_eq!((nibble, &extension[..used]), (bytes[0], &bytes[1..]), "{value}");
            assert_eq!(extended(bytes[0], &bytes[1..]), Some((value as u32, &[][..])));
        }
        assert_eq!(extended(15, &[0; 4]), None);
        assert_eq!((extended(13, &[]), extended(14, &[1])), (None, None));
    }

    #[test]
    fn bytes_of_the_difference_come_first() {
        let mut out = Vec::new();
        push_option(&mut out, 300, &[7; 20]);
        assert_eq!(out[..4], [0xED, 0, 31, 7]);
        assert_eq!(split_option(&out), Some((300, &[7; 20][..], &[][..])));
    }

    #[test]
    fn integers() {
        let cases: [(u32, &[u8]); 6] =
            [(0, &[]), (1, &[1]), (255, &[255]), (256, &[1, 0]), (65_536, &[1, 0, 0]), (u32::MAX, &[255; 4])];
        for (value, expected) in cases {
            let (bytes, from) = uint_bytes(value);
            assert_eq!(&bytes[from..], expected);
            assert_eq!(read_uint(expected), Some(value));
        }
        assert_eq!(read_uint(&[0, 0, 0, 0, 0, 1]), Some(1));
        assert_eq!(read_uint(&[1, 0, 0, 0, 0]), None);
    }
}
