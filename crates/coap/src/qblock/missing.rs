//! The payload of 4.08 in `application/missing-blocks+cbor-seq`: the numbers of the blocks that did not come, as a sequence of
//! CBOR integers in ascending order (RFC 9177 §5).

use alloc::vec::Vec;

use minicbor::{Decoder, Encoder};

use crate::block::Block;

/// The content format of the payload.
pub const CONTENT_FORMAT: u16 = 272;

/// Appends the numbers.
pub fn write(numbers: &[u32], out: &mut Vec<u8>) {
    let mut encoder = Encoder::new(out);
    for &number in numbers {
        // Writing to memory does not fail.
        let _ = encoder.u32(number);
    }
}

/// Reads the numbers, at most `most` of them. `None` when they are not integers in ascending order, or no numbers of blocks.
pub fn read(payload: &[u8], most: usize) -> Option<Vec<u32>> {
    let mut decoder = Decoder::new(payload);
    let mut numbers: Vec<u32> = Vec::new();
    while decoder.position() < payload.len() && numbers.len() < most {
        let number = decoder.u32().ok()?;
        if number > Block::MAX_NUMBER || numbers.last().is_some_and(|&last| last >= number) {
            return None;
        }
        numbers.push(number);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn rfc9177_5_sequences_of_numbers() {
        for (numbers, bytes) in [
            (vec![], vec![]),
            (vec![0, 1, 23], vec![0x00, 0x01, 0x17]),
            (vec![24, 255, 256], vec![0x18, 24, 0x18, 255, 0x19, 1, 0]),
            (vec![Block::MAX_NUMBER], vec![0x1A, 0, 0x0F, 0xFF, 0xFF]),
        ] {
            let mut out = Vec::new();
            write(&numbers, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(read(&bytes, 10), Some(numbers));
        }
        assert_eq!(read(&[1, 2, 3], 2), Some(vec![1, 2]));
    }

    #[test]
    fn what_is_no_sequence_of_numbers() {
        let bad: [&[u8]; 6] = [&[2, 1], &[1, 1], &[0x20], &[0x61, b'a'], &[0x1A, 0, 0x10, 0, 0], &[0x18]];
        for bytes in bad {
            assert_eq!(read(bytes, 10), None, "{bytes:x?}");
        }
    }
}
