//! Which of two notifications is the newer one (RFC 7641 §3.4).

use crate::Time;

/// How long two notifications have to be apart for the later arrival to be the newer one, whatever their numbers.
const OUT_OF_ORDER: Time = Time::from_secs(128);
/// Half of the numbers that 24 bits hold.
const HALF: u32 = 1 << 23;

/// The notification numbered `second` that arrived at `second_at` is newer than the one numbered `first` that arrived at
/// `first_at`. Numbers have 24 bits; higher ones are ignored.
pub fn is_newer((first, first_at): (u32, Time), (second, second_at): (u32, Time)) -> bool {
    let (first, second) = (first & 0xFF_FFFF, second & 0xFF_FFFF);
    first < second && second - first < HALF
        || first > second && first - second > HALF
        || second_at > first_at.saturating_add(OUT_OF_ORDER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule32_24_bit_numbers_wrap() {
        const MAX: u32 = 0xFF_FFFF;
        for (first, second, seconds, newer) in [
            (0, 1, 0, true),
            (1, 0, 0, false),
            (5, 5, 0, false),
            (5, 5, 128, false),
            (5, 5, 129, true),
            (9, 1, 129, true),
            (MAX, 0, 0, true),
            (0, MAX, 0, false),
            (MAX - 10, 10, 0, true),
            (0, HALF - 1, 0, true),
            (0, HALF, 0, false),
            (HALF, 0, 0, false),
            (HALF + 1, 0, 0, true),
            (0x100_0001, 2, 0, true),
        ] {
            let at = Time::from_secs(1000);
            let later = at + Time::from_secs(seconds);
            assert_eq!(is_newer((first, at), (second, later)), newer, "{first} {second} after {seconds} s");
        }
    }
}
