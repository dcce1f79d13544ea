//! SipHash-2-4: the keyed hash behind tokens, retransmission jitter, Echo values and the names of uploads.
//!
//! Who does not know the key can neither predict nor provoke an output. It is a MAC of 64 bits, not a collision-free digest.

/// A hash under way.
pub(crate) struct KeyedHash {
    state: [u64; 4],
    /// Bytes not yet mixed in, little-endian from the lowest, and how many bytes came in all.
    tail: u64,
    length: usize,
}

impl KeyedHash {
    /// A hash of nothing yet under `key`.
    pub(crate) fn new(key: [u64; 2]) -> Self {
        let [k0, k1] = key;
        Self {
            state: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
            tail: 0,
            length: 0,
        }
    }

    /// Takes `bytes` in. The hash is of the concatenation: what separates two fields is the caller's to add.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.tail |= u64::from(byte) << (8 * (self.length % 8));
            self.length += 1;
            if self.length.is_multiple_of(8) {
                let word = self.tail;
                self.tail = 0;
                self.mix(word);
            }
        }
    }

    /// Takes eight bytes in, little-endian.
    pub(crate) fn write_u64(&mut self, value: u64) {
        self.write(&value.to_le_bytes());
    }

    /// The hash of all that was written.
    pub(crate) fn finish(mut self) -> u64 {
        let word = self.tail | (self.length as u64) << 56;
        self.mix(word);
        self.state[2] ^= 0xFF;
        for _ in 0..4 {
            self.round();
        }
        self.state.into_iter().fold(0, |hash, word| hash ^ word)
    }

    fn mix(&mut self, word: u64) {
        self.state[3] ^= word;
        self.round();
        self.round();
        self.state[0] ^= word;
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.state;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.state = [a, b, c, d];
    }
}

/// Numbers that nobody predicts who does not know the seed.
#[derive(Debug)]
pub(crate) struct Random {
    key: [u64; 2],
    counter: u64,
}

impl Random {
    /// Numbers from `seed`; the same seed gives the same numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self { key: [seed, !seed.rotate_left(32)], counter: 0 }
    }

    /// The next number.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        let mut hash = KeyedHash::new(self.key);
        hash.write_u64(self.counter);
        hash.finish()
    }

    /// A number up to and including `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(count) => self.next_u64() % count,
            None => self.next_u64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the SipHash paper's reference code: key 00..0f, input 00, 00 01, ...
    #[test]
    fn known_answers() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let input: [u8; 16] = core::array::from_fn(|i| i as u8);
        for (length, expected) in [
            (0, 0x726f_db47_dd0e_0e31_u64),
            (1, 0x74f8_39c5_93dc_67fd),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
        ] {
            let mut hash = KeyedHash::new(key);
            hash.write(&input[..length]);
            assert_eq!(hash.finish(), expected, "{length} bytes");
        }
    }

    #[test]
    fn random_numbers_stay_in_range_and_reach_both_ends() {
        let mut random = Random::new(7);
        let drawn: alloc::vec::Vec<u64> = (0..200).map(|_| random.up_to(3)).collect();
        assert!((0..=3).all(|n| drawn.contains(&n)) && drawn.iter().all(|&n| n <= 3));
    }
}
