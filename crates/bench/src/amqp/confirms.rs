//! Publisher confirms: which messages are confirmed, and how long it took.

use std::collections::VecDeque;

use crate::engine::Histogram;

/// The messages of one channel that are not confirmed.
///
/// Servers may confirm in any order, one by one or all up to a number; each message exactly once.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    /// The number of the message in front of `sent_at`, less one.
    before: u64,
    /// When each was sent, or [`CONFIRMED`], up to the last one sent.
    sent_at: VecDeque<u64>,
    outstanding: u32,
}

const CONFIRMED: u64 = u64::MAX;

impl Confirms {
    /// How many messages wait for their confirmation.
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// The next message is sent.
    #[inline]
    pub(super) fn note_sent(&mut self, now: u64) {
        self.sent_at.push_back(now);
        self.outstanding += 1;
    }

    /// Message `tag`, or all up to it, are confirmed (or refused); `None` when that is not possible.
    /// Returns how many of them.
    #[inline]
    pub(super) fn confirm(
        &mut self,
        tag: u64,
        multiple: bool,
        now: u64,
        took: &mut Histogram,
    ) -> Option<u32> {
        let at = usize::try_from(tag.checked_sub(self.before)?.checked_sub(1)?).ok()?;
        if at >= self.sent_at.len() {
            return None;
        }
        let before = self.outstanding;
        if multiple {
            for sent in self.sent_at.drain(..=at) {
                if sent != CONFIRMED {
                    took.record(now.saturating_sub(sent));
                    self.outstanding -= 1;
                }
            }
            self.before = tag;
        } else {
            let sent = std::mem::replace(&mut self.sent_at[at], CONFIRMED);
            if sent == CONFIRMED {
                return None;
            }
            took.record(now.saturating_sub(sent));
            self.outstanding -= 1;
        }
        while self.sent_at.front() == Some(&CONFIRMED) {
            self.sent_at.pop_front();
            self.before += 1;
        }
        Some(before - self.outstanding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_confirmed_once_in_any_order() {
        let mut confirms = Confirms::default();
        let mut took = Histogram::default();
        for now in 0..6 {
            confirms.note_sent(now);
        }
        // (tag, multiple, how many are confirmed by it)
        let cases = [
            (0, true, None),
            (7, true, None),
            (2, false, Some(1)),
            (2, false, None),
            (1, false, Some(1)),
            (1, false, None),
            (1, true, None),
            (4, false, Some(1)),
            (5, true, Some(2)),
            (4, true, None),
            (6, false, Some(1)),
        ];
        for (tag, multiple, expected) in cases {
            assert_eq!(confirms.confirm(tag, multiple, 10, &mut took), expected, "{tag} {multiple}");
        }
        assert_eq!((confirms.outstanding(), took.count()), (0, 6));
        confirms.note_sent(10);
        assert_eq!(confirms.confirm(7, false, 15, &mut took), Some(1));
    }
}
