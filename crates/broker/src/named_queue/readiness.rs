//! In which order ready entries are handed out where that is not the order of their sequences: by priority.

use std::collections::BTreeSet;

/// Ready entries by priority, the highest first, those of one priority in the order of their sequences.
#[derive(Debug, Default)]
pub(super) struct ByPriority(BTreeSet<(u8, u64)>);

impl ByPriority {
    /// An entry is ready.
    pub(super) fn insert(&mut self, sequence: u64, priority: u8) {
        self.0.insert((u8::MAX - priority, sequence));
    }

    /// It is not ready any more.
    pub(super) fn remove(&mut self, sequence: u64, priority: u8) {
        self.0.remove(&(u8::MAX - priority, sequence));
    }

    /// What comes next.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.first().map(|(_, sequence)| *sequence)
    }

    /// The oldest of the lowest priority: what a full queue lets go of first.
    pub(super) fn lowest(&self) -> Option<u64> {
        let (level, _) = self.0.last()?;
        self.0.range((*level, 0)..).next().map(|(_, sequence)| *sequence)
    }

    /// All of them in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(_, sequence)| *sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn higher_priorities_come_first_and_the_lowest_goes_first() {
        let mut ready = ByPriority::default();
        for (sequence, priority) in [(1, 0), (2, 5), (3, 5), (4, 255), (5, 0)] {
            ready.insert(sequence, priority);
        }
        assert_eq!(ready.iter().collect::<Vec<_>>(), [4, 2, 3, 1, 5]);
        assert_eq!((ready.first(), ready.lowest()), (Some(4), Some(1)));
        ready.remove(4, 255);
        ready.remove(1, 0);
        ready.remove(1, 0);
        assert_eq!((ready.first(), ready.lowest()), (Some(2), Some(5)));
    }
}
