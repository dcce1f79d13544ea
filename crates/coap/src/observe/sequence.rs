//! The numbers of a server's notifications (RFC 7641 §4.4).

use crate::Time;

/// Ticks of the clock in which numbers are counted: at most this many notifications per second keep their order.
const TICKS_PER_SECOND: u128 = 32_768;

/// Numbers for the notifications of one observation, or of several that share them.
///
/// They follow the clock, so that they go on rightly when the observer is forgotten and registers anew, and are one more
/// than the last one when the clock has not moved. The 24 bits come round after 512 s, twice the 256 s within which RFC 7641
/// forbids it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    /// The last number, counted on beyond 24 bits.
    last: u64,
}

impl Sequence {
    /// No number was given yet.
    pub const fn new() -> Self {
        Self { last: 0 }
    }

    /// The number of a notification that is sent at `now`, 24 bits.
    pub fn next(&mut self, now: Time) -> u32 {
        let ticks = (now.as_nanos() * TICKS_PER_SECOND / 1_000_000_000) as u64;
        self.last = ticks.max(self.last + 1);
        (self.last & 0xFF_FFFF) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::super::is_newer;
    use super::*;

    #[test]
    fn rule32_each_is_newer_than_the_one_before_across_the_wrap() {
        for step in [Time::ZERO, Time::from_micros(3), Time::from_millis(7), Time::from_secs(90)] {
            let mut sequence = Sequence::new();
            // Just before 24 bits of ticks have passed.
            let mut now = Time::from_millis(511_990);
            let mut last = (sequence.next(now), now);
            let mut wrapped = false;
            for _ in 0..200_000 {
                now += step;
                let next = (sequence.next(now), now);
                assert!(is_newer(last, next), "{last:?} {next:?}");
                wrapped |= next.0 < last.0;
                last = next;
            }
            assert!(wrapped || step.is_zero(), "{step:?}");
        }
    }

    #[test]
    fn an_observer_that_comes_back_sees_newer_numbers() {
        let mut before = Sequence::new();
        let old = (before.next(Time::from_secs(700)), Time::from_secs(700));
        let new = (Sequence::new().next(Time::from_secs(701)), Time::from_secs(701));
        assert!(is_newer(old, new));
    }
}
