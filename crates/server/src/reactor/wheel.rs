//! Time limits of connections: a hashed wheel with coarse ticks.
//!
//! Entries are not moved when a connection shows a sign of life: when an entry comes up, the owner looks whether
//! the limit has really passed and arms the remaining time again. So activity costs nothing.

use std::time::{Duration, Instant};

/// Resolution of the wheel.
pub const TICK: Duration = Duration::from_millis(100);

/// An armed limit: which connection, told apart from later owners of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Slot of the connection.
    pub slot: u32,
    /// Generation of the slot.
    pub generation: u32,
    /// What comes up.
    pub purpose: Purpose,
    turns: u32,
}

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The connection's time limit; only the one with its latest serial counts.
    Limit(u8),
    /// Reading may go on.
    Unpause,
    /// Reading may go on although the log takes no work.
    Unpark,
}

/// The wheel. See the module documentation.
pub struct Wheel {
    buckets: Vec<Vec<Entry>>,
    start: Instant,
    /// Ticks processed.
    tick: u64,
    armed: usize,
}

const BUCKETS: usize = 512;

impl Wheel {
    /// An empty wheel that starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self { buckets: vec![Vec::new(); BUCKETS], start: now, tick: 0, armed: 0 }
    }

    /// Arms a limit `after` from `now`, rounded up to the next tick.
    pub fn arm(&mut self, slot: u32, generation: u32, purpose: Purpose, after: Duration, now: Instant) {
        let due = (now + after).saturating_duration_since(self.start).as_millis() / TICK.as_millis() + 1;
        let due = u64::try_from(due).unwrap_or(u64::MAX).max(self.tick + 1);
        let ahead = due - self.tick;
        let turns = u32::try_from((ahead - 1) / BUCKETS as u64).unwrap_or(u32::MAX);
        let bucket = usize::try_from(due % BUCKETS as u64).unwrap_or(0);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.push(Entry { slot, generation, purpose, turns });
            self.armed += 1;
        }
    }

    /// How long the owner may sleep.
    pub fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.armed == 0 {
            return None;
        }
        let next = self.start + TICK * u32::try_from(self.tick + 1).unwrap_or(u32::MAX);
        Some(next.saturating_duration_since(now))
    }

    /// Collects what has come up until `now`.
    pub fn advance(&mut self, now: Instant, due: &mut Vec<Entry>) {
        let target = now.saturating_duration_since(self.start).as_millis() / TICK.as_millis();
        let target = u64::try_from(target).unwrap_or(u64::MAX);
        while self.tick < target {
            self.tick += 1;
            let index = usize::try_from(self.tick % BUCKETS as u64).unwrap_or(0);
            let Some(bucket) = self.buckets.get_mut(index) else { continue };
            let before = bucket.len();
            bucket.retain_mut(|entry| {
                if entry.turns == 0 {
                    due.push(*entry);
                    false
                } else {
                    entry.turns -= 1;
                    true
                }
            });
            self.armed -= before - bucket.len();
            if bucket.is_empty() {
                *bucket = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_never_comes_up_early_and_at_most_a_tick_late() {
        let start = Instant::now();
        for after_ms in [1, 99, 100, 101, 1_500, 51_200, 51_300, 200_000] {
            let mut wheel = Wheel::new(start);
            let (mut due, mut now) = (Vec::new(), start);
            wheel.arm(7, 1, Purpose::Unpause, Duration::from_millis(after_ms), now);
            while due.is_empty() {
                now += Duration::from_millis(50);
                wheel.advance(now, &mut due);
            }
            let passed = (now - start).as_millis() as u64;
            assert!(passed >= after_ms && passed <= after_ms + 200, "{after_ms} came up at {passed}");
            assert_eq!(wheel.timeout(now), None);
        }
    }
}
