//! Sequence numbers of the sender, of which none may be used twice, not even after a crash (RFC 8613 §7.2.1, B.1.1).

use super::{ProtectError, SEQUENCE_END};

/// The next number, and how far numbers may be used.
///
/// The caller stores a bound, then grants it. After a restart, it begins at the stored bound: numbers below it may have
/// been used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    next: u64,
    bound: u64,
}

impl Sequence {
    /// Begins at what was stored last; 0 for a context that was never used. Nothing may be used before it is granted.
    pub const fn starting_at(stored: u64) -> Self {
        Self { next: stored, bound: stored }
    }

    /// For a context that lives no longer than this program: all numbers may be used.
    pub const fn volatile() -> Self {
        Self { next: 0, bound: SEQUENCE_END }
    }

    /// The next number.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The first number that must not be used yet: what is stored.
    pub const fn bound(&self) -> u64 {
        self.bound
    }

    /// How many numbers may be used before more have to be granted.
    pub const fn left(&self) -> u64 {
        self.bound.saturating_sub(self.next)
    }

    /// Lets all numbers below `bound` be used, after it was stored. A lower one than before changes nothing.
    pub const fn grant(&mut self, bound: u64) {
        if bound > self.bound {
            self.bound = if bound < SEQUENCE_END { bound } else { SEQUENCE_END };
        }
    }

    /// Takes the next number.
    pub(super) const fn take(&mut self) -> Result<u64, ProtectError> {
        if self.next >= SEQUENCE_END {
            return Err(ProtectError::Exhausted);
        }
        if self.next >= self.bound {
            return Err(ProtectError::NotReserved);
        }
        let number = self.next;
        self.next += 1;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_used_that_is_not_stored() {
        let mut sequence = Sequence::starting_at(7);
        assert_eq!(sequence.take(), Err(ProtectError::NotReserved));
        sequence.grant(9);
        assert_eq!((sequence.take(), sequence.take()), (Ok(7), Ok(8)));
        assert_eq!((sequence.take(), sequence.left()), (Err(ProtectError::NotReserved), 0));
        sequence.grant(3);
        assert_eq!(sequence.bound(), 9);
    }

    #[test]
    fn the_last_number() {
        let mut sequence = Sequence::starting_at(SEQUENCE_END - 1);
        sequence.grant(u64::MAX);
        assert_eq!(sequence.take(), Ok(SEQUENCE_END - 1));
        assert_eq!(sequence.take(), Err(ProtectError::Exhausted));
    }
}
