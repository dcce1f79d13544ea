//! The XOR mask of client frames (RFC 6455 §5.3).

use std::io;

/// XORs `bytes` with `key`, starting at the key's first byte. Masking and unmasking are the same operation.
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// The key that continues `key` after `bytes` bytes were masked with it.
pub(super) fn advance(mut key: [u8; 4], bytes: usize) -> [u8; 4] {
    key.rotate_left(bytes % 4);
    key
}

/// A supply of unpredictable masking keys. Drawn in bulk: one system call serves [`MaskKeys::POOL`] frames.
pub(super) struct MaskKeys {
    pool: [u8; 4 * Self::POOL],
    used: usize,
}

impl MaskKeys {
    const POOL: usize = 32;

    pub(super) fn new() -> Self {
        Self { pool: [0; 4 * Self::POOL], used: 4 * Self::POOL }
    }

    pub(super) fn draw(&mut self) -> io::Result<[u8; 4]> {
        if let Some(key) = self.pool.get(self.used..).and_then(<[u8]>::first_chunk) {
            self.used += 4;
            return Ok(*key);
        }
        getrandom::fill(&mut self.pool).map_err(io::Error::other)?;
        self.used = 4;
        let [a, b, c, d, ..] = self.pool;
        Ok([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_as_in_the_specification() {
        // RFC 6455 §5.7: a masked "Hello".
        let mut bytes = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply_mask(&mut bytes, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&bytes, b"Hello");
    }

    #[test]
    fn any_length_and_split_is_masked_like_byte_by_byte() {
        let key = [1, 2, 4, 8];
        for length in 0..40 {
            let plain: Vec<u8> = (0..length).collect();
            let expected: Vec<u8> = plain.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            for split in 0..=plain.len() {
                let mut bytes = plain.clone();
                let (head, tail) = bytes.split_at_mut(split);
                apply_mask(head, key);
                apply_mask(tail, advance(key, split));
                assert_eq!(bytes, expected);
            }
        }
    }

    #[test]
    fn keys_do_not_repeat_when_the_pool_is_refilled() {
        let mut keys = MaskKeys::new();
        let drawn: std::collections::HashSet<_> =
            (0..3 * MaskKeys::POOL).map(|_| keys.draw().unwrap()).collect();
        // 96 random 32-bit values collide once in about a million runs; a reused pool would repeat 64 of them.
        assert!(drawn.len() > 3 * MaskKeys::POOL - 4, "{}", drawn.len());
    }
}
