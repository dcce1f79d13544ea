//! Chance that can be repeated.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that depend on a seed alone (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From the seed in the variable `TERCET_SEED`, or from the clock; it is printed, so that a failure can be repeated
    /// as far as the order of the machine's threads allows.
    #[must_use]
    pub fn seeded(test: &str) -> Self {
        let seed = env::var("TERCET_SEED").map_or_else(
            |_| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64),
            |text| text.parse().expect("TERCET_SEED is a number"),
        );
        eprintln!("{test}: TERCET_SEED={seed}");
        Self(seed)
    }

    /// Another sequence, for another thread.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
