//! When a checkpoint is worth its cost, and which extents are worth copying: decided from numbers alone.
//!
//! What is promised:
//! - **Space.** Bytes of the log are at most twice the bytes of the messages that are held, plus twice [`SLACK`], plus one
//!   segment in use and a spare one, plus what is written while this is being put right: whenever there are more,
//!   extents that are less than half full are emptied by copying what is left in them, and dead ones are given back. So
//!   a byte that is won costs at most one byte that is written again. (With a checkpoint larger than that, the second
//!   [`SLACK`] is its size.)
//! - **Recovery.** The log behind the checkpoint is at most [`LEAST`], or four times as long as the checkpoint, plus what is
//!   written while the next checkpoint is being taken.
//! - **A full disk.** Extents that are dead are given back at once.
//! - **Rest.** While nothing changes, nothing is done; soon after the last change everything that can be won is won.

use std::time::Duration;

use tercet_log::position::Position;

/// Bytes of log behind the checkpoint below which no new one is taken for the sake of recovery.
pub(super) const LEAST: u64 = 64 << 20;
/// Bytes that the log may have beyond twice what is held.
pub(super) const SLACK: u64 = 64 << 20;
/// Time without changes after which there is time for everything that can be won.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// Bytes of log behind the checkpoint that are worth a new one when nothing else is to be done.
const WORTH_WHEN_QUIET: u64 = 4 << 20;

/// What the log looks like.
#[derive(Clone, Debug, Default)]
pub(super) struct Observation {
    /// Bytes of log that a restart would have to read.
    pub behind_checkpoint: u64,
    /// Bytes of the checkpoint in force.
    pub checkpoint: u64,
    /// Time since the log has changed.
    pub quiet: Duration,
    /// Whether the log refuses work for want of space. Nothing can be copied then.
    pub full: bool,
    /// The extents, oldest first, without the one that is appended to.
    pub extents: Vec<Use>,
}

/// How full an extent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// Names the extent.
    pub first: Position,
    /// Bytes it takes up.
    pub bytes: u64,
    /// Bytes of the messages in it that are held.
    pub live: u64,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Take a checkpoint; it lets dead extents go.
    Checkpoint,
    /// Copy what is held of these extents, then take a checkpoint.
    Empty(Vec<Position>),
}

impl Observation {
    pub(super) fn decide(&self) -> Step {
        if self.full {
            return if self.dead() > 0 { Step::Checkpoint } else { Step::Rest };
        }
        let emptied = self.worth_emptying();
        if !emptied.is_empty() {
            return Step::Empty(emptied);
        }
        let quiet = self.quiet >= QUIET;
        let long = self.behind_checkpoint > LEAST.max(self.checkpoint.saturating_mul(4));
        let dead = self.dead();
        // A checkpoint walks everything that is left, so a long queue that drains must not cause one for every few extents.
        let much_dead = dead > SLACK.max(self.checkpoint) && self.total() > self.live() * 2 + 2 * SLACK;
        let worth = quiet && (dead > 0 || self.behind_checkpoint > WORTH_WHEN_QUIET.max(self.checkpoint));
        if long || much_dead || worth { Step::Checkpoint } else { Step::Rest }
    }

    /// Extents that are less than half full: all of them when there is time, else the emptiest, as long as there is too
    /// much.
    fn worth_emptying(&self) -> Vec<Position> {
        let half_empty = |extent: &&Use| extent.live > 0 && extent.live < extent.bytes / 2;
        let mut candidates: Vec<_> = self.extents.iter().filter(half_empty).collect();
        if self.quiet >= QUIET {
            return candidates.into_iter().map(|extent| extent.first).collect();
        }
        // Those that are dead go with the next checkpoint, without any copying.
        let mut taken = self.total() - self.dead();
        let allowed = self.live() * 2 + SLACK;
        candidates.sort_by_key(|extent| extent.live.saturating_mul(1000) / extent.bytes.max(1));
        let mut emptied = Vec::new();
        for extent in candidates {
            if taken <= allowed {
                break;
            }
            taken = taken.saturating_sub(extent.bytes - extent.live);
            emptied.push(extent.first);
        }
        emptied
    }

    fn total(&self) -> u64 {
        self.extents.iter().map(|extent| extent.bytes).sum()
    }

    fn live(&self) -> u64 {
        self.extents.iter().map(|extent| extent.live).sum()
    }

    fn dead(&self) -> u64 {
        self.extents.iter().filter(|extent| extent.live == 0).map(|extent| extent.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const BUSY: Duration = Duration::ZERO;

    fn observed(behind: u64, checkpoint: u64, quiet: Duration, live_mib: &[u64]) -> Observation {
        let extent = |(index, live): (usize, &u64)| Use {
            first: Position::new(1 + index as u64),
            bytes: 64 * MIB,
            live: live * MIB,
        };
        let extents = live_mib.iter().enumerate().map(extent).collect();
        Observation {
            behind_checkpoint: behind * MIB,
            checkpoint: checkpoint * MIB,
            quiet,
            full: false,
            extents,
        }
    }

    fn empty(extents: &[u64]) -> Step {
        Step::Empty(extents.iter().map(|number| Position::new(*number)).collect())
    }

    #[test]
    fn steps() {
        let cases = [
            // A new log; a short one; one that was written to a while ago.
            (observed(0, 0, BUSY, &[]), Step::Rest),
            (observed(60, 0, BUSY, &[]), Step::Rest),
            (observed(0, 0, QUIET, &[]), Step::Rest),
            (observed(1, 0, QUIET, &[]), Step::Rest),
            (observed(5, 0, QUIET, &[]), Step::Checkpoint),
            (observed(5, 30, QUIET, &[]), Step::Rest),
            // Recovery would take long.
            (observed(65, 0, BUSY, &[64]), Step::Checkpoint),
            (observed(65, 17, BUSY, &[64]), Step::Rest),
            (observed(69, 17, BUSY, &[64]), Step::Checkpoint),
            // Space can be won without copying.
            (observed(0, 0, BUSY, &[0, 64, 64]), Step::Rest),
            (observed(0, 0, BUSY, &[0, 64, 64, 0]), Step::Rest),
            (observed(0, 0, BUSY, &[0, 0, 64, 0, 0]), Step::Checkpoint),
            (observed(0, 260, BUSY, &[0, 0, 64, 0, 0]), Step::Rest),
            (observed(0, 0, QUIET, &[0, 64]), Step::Checkpoint),
            // Space can be won by copying.
            (observed(0, 0, BUSY, &[1, 64]), Step::Rest),
            (observed(0, 0, BUSY, &[9, 1, 2, 40, 1]), empty(&[2, 5, 3])),
            (observed(0, 0, QUIET, &[1, 40, 31, 0]), empty(&[1, 3])),
            (observed(0, 0, QUIET, &[32, 64]), Step::Rest),
        ];
        let full = |observation| Observation { full: true, ..observation };
        let at_a_full_disk = [
            (full(observed(65, 0, QUIET, &[1, 64])), Step::Rest),
            (full(observed(0, 0, BUSY, &[1, 0])), Step::Checkpoint),
        ];
        for (observation, step) in cases.into_iter().chain(at_a_full_disk) {
            assert_eq!(observation.decide(), step, "{observation:?}");
        }
    }

    proptest! {
        /// Whatever the log looks like: done what is decided, as often as something is, it is within its bound, and at
        /// rest.
        #[test]
        fn space_is_bounded(live in prop::collection::vec(0_u64..=64, 0..60), quiet in any::<bool>()) {
            let quiet = if quiet { QUIET } else { BUSY };
            let mut observation = observed(1, 0, quiet, &live);
            let held: u64 = observation.extents.iter().map(|extent| extent.live).sum();
            let mut copied = 0;
            for _ in 0..3 {
                match observation.decide() {
                    Step::Rest => break,
                    Step::Checkpoint => {}
                    Step::Empty(extents) => {
                        for extent in observation.extents.iter_mut().filter(|extent| extents.contains(&extent.first)) {
                            copied += std::mem::take(&mut extent.live);
                        }
                    }
                }
                observation.extents.retain(|extent| extent.live > 0);
                if copied > 0 {
                    // What was copied is at the end of the log, in extents that are full.
                    observation.extents.push(Use { first: Position::new(1000), bytes: copied, live: copied });
                }
                copied = 0;
            }
            prop_assert_eq!(observation.decide(), Step::Rest);
            let bytes: u64 = observation.extents.iter().map(|extent| extent.bytes).sum();
            prop_assert!(bytes <= 2 * held + 2 * SLACK, "{} for {}", bytes, held);
            if quiet == QUIET {
                prop_assert!(bytes <= 2 * held);
            }
        }
    }
}
