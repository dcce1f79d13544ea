//! The length of a frame: what follows the token, in a nibble with up to four more bytes (RFC 8323 §3.2).

use alloc::vec::Vec;

/// What a nibble adds to its extension of one, two and four bytes.
const OFFSETS: [u64; 3] = [13, 269, 65_805];

/// The length that a frame's first byte and the bytes after it tell, and how many bytes the extension has; `None` while
/// they are not all there.
pub(super) fn read_length(bytes: &[u8]) -> Option<(u64, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let [one, two, four] = OFFSETS;
    Some(match first >> 4 {
        13 => (u64::from(*rest.first()?) + one, 1),
        14 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)) + two, 2),
        15 => (u64::from(u32::from_be_bytes(*rest.first_chunk()?)) + four, 4),
        nibble => (u64::from(nibble), 0),
    })
}

/// Puts the length into a frame that begins at `start` and was written without it.
pub(crate) fn patch_length(out: &mut Vec<u8>, start: usize) {
    let Some(&first) = out.get(start) else { return };
    // The token and the extension of its length do not count.
    let before = 2 + match (first & 0x0F, out.get(start + 2..)) {
        (nibble, Some(rest)) => crate::option::wire::extended(nibble, rest)
            .map_or(0, |(token, after)| token as usize + rest.len() - after.len()),
        _ => 0,
    };
    let len = (out.len() - start).saturating_sub(before) as u64;
    let [one, two, four] = OFFSETS;
    let (nibble, extension, used) = match len {
        0..13 => (len as u8, 0, 0),
        13..269 => (13, (len - one) as u32, 1),
        269..65_805 => (14, (len - two) as u32, 2),
        _ => (15, u32::try_from(len - four).unwrap_or(u32::MAX), 4),
    };
    if let Some(first) = out.get_mut(start) {
        *first |= nibble << 4;
    }
    let bytes = extension.to_be_bytes();
    out.splice(start + 1..start + 1, bytes.into_iter().skip(4 - used));
}
