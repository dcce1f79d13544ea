//! Proof that every message arrived once and in order.
//!
//! [`Sequence`] follows one stream at one receiver: it costs a compare and an add while all is well, and
//! remembers exactly which numbers are missing otherwise, so that a late arrival is told from a duplicate.
//! [`OnceEach`] is for replays without a promised order (retained messages).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What went wrong in a run, added up over all receivers. All zero means `clean`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Deliveries that never came.
    pub lost: u64,
    /// Deliveries that came again.
    pub duplicated: u64,
    /// Deliveries that came after a later one of the same stream.
    pub reordered: u64,
    /// Deliveries nobody sent or subscribed to, or with a damaged payload.
    pub foreign: u64,
    /// Connections closed, or never accepted, by the server.
    pub closed: u64,
    /// Publishes or subscriptions that the server answered with an error code.
    pub refused: u64,
    /// Acknowledgements out of the order that MQTT demands (MQTT 3.1.1 [MQTT-4.6.0-2], 5.0 [MQTT-4.6.0-2]).
    pub misacked: u64,
}

impl Tally {
    /// Whether every message arrived once, in order, over connections that stayed open.
    pub fn is_clean(&self) -> bool {
        *self == Tally::default()
    }

    /// The faults of two runs together.
    pub fn plus(&self, other: &Tally) -> Tally {
        Tally {
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
            foreign: self.foreign + other.foreign,
            closed: self.closed + other.closed,
            refused: self.refused + other.refused,
            misacked: self.misacked + other.misacked,
        }
    }

    /// The counts that are not zero, as `name=count`, for people.
    pub fn describe(&self) -> String {
        let counts = [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("foreign", self.foreign),
            ("closed", self.closed),
            ("refused", self.refused),
            ("misacked", self.misacked),
        ];
        let faults: Vec<String> =
            counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name}={n}")).collect();
        if faults.is_empty() { "clean".to_owned() } else { faults.join(" ") }
    }
}

/// One stream at one receiver.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    next: u64,
    duplicated: u64,
    reordered: u64,
    /// Missing ranges below `next`: start -> end (exclusive).
    gaps: BTreeMap<u64, u64>,
}

impl Sequence {
    /// Records the arrival of number `seq`.
    #[inline]
    pub fn record(&mut self, seq: u64) {
        if seq == self.next {
            self.next += 1;
        } else {
            self.record_unexpected(seq);
        }
    }

    #[cold]
    fn record_unexpected(&mut self, seq: u64) {
        if seq > self.next {
            self.gaps.insert(self.next, seq);
            self.next = seq + 1;
            return;
        }
        let gap = self.gaps.range(..=seq).next_back().map(|(start, end)| (*start, *end));
        match gap {
            Some((start, end)) if seq < end => {
                self.reordered += 1;
                self.gaps.remove(&start);
                if start < seq {
                    self.gaps.insert(start, seq);
                }
                if seq + 1 < end {
                    self.gaps.insert(seq + 1, end);
                }
            }
            _ => self.duplicated += 1,
        }
    }

    /// Adds this stream's faults to `tally`, given that `sent` messages were sent.
    pub fn settle(&self, sent: u64, tally: &mut Tally) {
        let missing: u64 = self.gaps.iter().map(|(start, end)| end - start).sum();
        tally.lost += missing + sent.saturating_sub(self.next);
        tally.duplicated += self.duplicated;
        tally.reordered += self.reordered;
    }
}

/// A stream whose messages may come in any order, each exactly once.
#[derive(Debug, Clone)]
pub struct OnceEach {
    seen: Vec<bool>,
    arrived: u64,
    duplicated: u64,
    foreign: u64,
}

impl OnceEach {
    /// Expects the numbers `0..count`.
    pub fn new(count: usize) -> Self {
        OnceEach { seen: vec![false; count], arrived: 0, duplicated: 0, foreign: 0 }
    }

    /// Records the arrival of number `seq`.
    pub fn record(&mut self, seq: u64) {
        let slot = usize::try_from(seq).ok().and_then(|at| self.seen.get_mut(at));
        match slot {
            Some(seen) if !*seen => {
                *seen = true;
                self.arrived += 1;
            }
            Some(_) => self.duplicated += 1,
            None => self.foreign += 1,
        }
    }

    /// Adds the faults to `tally`.
    pub fn settle(&self, tally: &mut Tally) {
        tally.lost += self.seen.len() as u64 - self.arrived;
        tally.duplicated += self.duplicated;
        tally.foreign += self.foreign;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(arrivals: &[u64], sent: u64) -> Tally {
        let mut sequence = Sequence::default();
        for seq in arrivals {
            sequence.record(*seq);
        }
        let mut tally = Tally::default();
        sequence.settle(sent, &mut tally);
        tally
    }

    #[test]
    fn a_stream_is_judged_message_by_message() {
        // (arrivals, sent, lost, duplicated, reordered)
        let cases: &[(&[u64], u64, u64, u64, u64)] = &[
            (&[0, 1, 2], 3, 0, 0, 0),
            (&[], 0, 0, 0, 0),
            (&[], 4, 4, 0, 0),
            (&[0, 1], 4, 2, 0, 0),
            (&[0, 3], 4, 2, 0, 0),
            (&[0, 0, 1], 2, 0, 1, 0),
            (&[1, 0], 2, 0, 0, 1),
            (&[0, 4, 2, 1, 3], 5, 0, 0, 3),
            (&[0, 4, 2, 2], 5, 2, 1, 1),
            (&[3, 0, 1, 2, 3, 0], 4, 0, 2, 3),
        ];
        for (arrivals, sent, lost, duplicated, reordered) in cases {
            let expected =
                Tally { lost: *lost, duplicated: *duplicated, reordered: *reordered, ..Tally::default() };
            assert_eq!(settle(arrivals, *sent), expected, "{arrivals:?} of {sent}");
        }
    }

    #[test]
    fn an_unordered_replay_counts_each_once() {
        let mut once = OnceEach::new(4);
        for seq in [2, 0, 2, 9] {
            once.record(seq);
        }
        let mut tally = Tally::default();
        once.settle(&mut tally);
        assert_eq!(tally, Tally { lost: 2, duplicated: 1, foreign: 1, ..Tally::default() });
        assert_eq!(tally.describe(), "lost=2 duplicated=1 foreign=1");
        assert!(!tally.is_clean());
        assert_eq!(Tally::default().describe(), "clean");
    }
}
