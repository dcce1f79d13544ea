//! Counts changes, so that routes can be kept as long as nothing has changed that they depend on.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;
use smallvec::SmallVec;

/// Counts changes per exchange and per queue, and those that concern everything.
///
/// Several exchanges may share a count: then a change of one costs a search of routes through the other.
pub(crate) struct ExchangeGenerations {
    counts: Box<[AtomicU64]>,
    hasher: DefaultHashBuilder,
}

/// What a route depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dependency<'a> {
    /// Which bindings the exchange has, whether it is there, and where it passes on what leads nowhere.
    Exchange(&'a str),
    /// Whether the queue is there.
    Queue(&'a str),
    /// What holds for all.
    Everything,
}

/// The counts a route was found under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExchangeStamp {
    counts: SmallVec<[(u16, u64); 3]>,
}

impl Default for ExchangeGenerations {
    fn default() -> Self {
        let counts = (0..=Self::SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { counts, hasher: DefaultHashBuilder::default() }
    }
}

impl ExchangeGenerations {
    const SLOTS: u16 = 512;

    fn slot(&self, of: Dependency<'_>) -> u16 {
        match of {
            Dependency::Everything => Self::SLOTS,
            named => (self.hasher.hash_one(named) % u64::from(Self::SLOTS)) as u16,
        }
    }

    fn count(&self, slot: u16) -> Option<&AtomicU64> {
        self.counts.get(usize::from(slot))
    }

    /// Notes that something has changed. Call it while the tables are locked for the change.
    pub(crate) fn changed(&self, what: Dependency<'_>) {
        if let Some(count) = self.count(self.slot(what)) {
            count.fetch_add(1, Ordering::Release);
        }
    }

    /// Adds a dependency to a stamp. Call it while the tables are locked, or before they are.
    pub(crate) fn note(&self, stamp: &mut ExchangeStamp, on: Dependency<'_>) {
        let slot = self.slot(on);
        let count = self.count(slot).map_or(0, |count| count.load(Ordering::Acquire));
        stamp.counts.push((slot, count));
    }

    /// Whether nothing has changed that a route depends on.
    #[inline]
    pub(crate) fn is_current(&self, stamp: &ExchangeStamp) -> bool {
        let same = |(slot, noted): &(u16, u64)| {
            self.count(*slot).is_some_and(|count| count.load(Ordering::Acquire) == *noted)
        };
        stamp.counts.iter().all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: [Dependency<'static>; 3] =
        [Dependency::Exchange("a"), Dependency::Queue("q"), Dependency::Everything];

    fn stamp(generations: &ExchangeGenerations) -> ExchangeStamp {
        let mut stamp = ExchangeStamp::default();
        ON.into_iter().for_each(|on| generations.note(&mut stamp, on));
        stamp
    }

    #[test]
    fn a_route_holds_until_something_changes_that_it_depends_on() {
        let generations = ExchangeGenerations::default();
        let before = stamp(&generations);
        let is_elsewhere = |name: &String| {
            let slot = generations.slot(Dependency::Exchange(name));
            before.counts.iter().all(|(noted, _)| *noted != slot)
        };
        let elsewhere = (0..).map(|n| format!("x{n}")).find(is_elsewhere);
        generations.changed(Dependency::Exchange(&elsewhere.expect("there are many slots")));
        assert!(generations.is_current(&before));
        for change in ON {
            let before = stamp(&generations);
            generations.changed(change);
            assert!(!generations.is_current(&before), "{change:?}");
            assert!(generations.is_current(&stamp(&generations)));
        }
    }
}
