//! What few entries have: a deadline, a priority, returns that were counted. Kept beside the queue, so that the others
//! need no room for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::queue::seldom::Seldom;
use crate::record::EntryExtras;

/// The extras of a queue's entries, and who of them waits.
#[derive(Debug, Default)]
pub(super) struct Extras {
    table: Seldom<BTreeMap<u64, EntryExtras>>,
    /// Entries that came back and wait, by the time at which they are ready again.
    delayed: Seldom<BTreeSet<(u64, u64)>>,
}

impl Extras {
    /// Whether no entry has any.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.table.get().is_none()
    }

    /// What an entry has.
    #[inline]
    pub(super) fn get(&self, sequence: u64) -> EntryExtras {
        self.table.get().and_then(|table| table.get(&sequence)).copied().unwrap_or_default()
    }

    /// Notes what an entry has; nothing if it is like most.
    #[inline]
    pub(super) fn set(&mut self, sequence: u64, extra: EntryExtras) {
        if !extra.is_plain() {
            self.table.get_or_make().insert(sequence, extra);
        }
    }

    /// Changes what an entry has.
    pub(super) fn change(&mut self, sequence: u64, change: impl FnOnce(&mut EntryExtras)) {
        change(self.table.get_or_make().entry(sequence).or_default());
    }

    /// The entry has left.
    #[inline]
    pub(super) fn forget(&mut self, sequence: u64) -> EntryExtras {
        let Some(table) = self.table.get_mut() else { return EntryExtras::default() };
        let extra = table.remove(&sequence).unwrap_or_default();
        if table.is_empty() {
            self.table.clear();
        }
        if let Some(due) = extra.not_before_ms
            && let Some(delayed) = self.delayed.get_mut()
        {
            delayed.remove(&(due.get(), sequence));
        }
        extra
    }

    /// The entries that have something.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, EntryExtras)> {
        self.table.get().into_iter().flatten().map(|(sequence, extra)| (*sequence, *extra))
    }

    /// Those with a deadline, in order. Of a stream's entries: the marks.
    pub(super) fn deadlines(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        let table = self.table.get().into_iter().flatten();
        table.filter_map(|(sequence, extra)| Some((*sequence, extra.deadline_ms?.get())))
    }

    /// The first entry behind this one that has something.
    pub(super) fn next_after(&self, sequence: u64) -> Option<u64> {
        self.table.get()?.range(sequence + 1..).next().map(|(next, _)| *next)
    }

    /// Those of a range of sequences.
    pub(super) fn range(&self, sequences: Range<u64>) -> impl Iterator<Item = (u64, EntryExtras)> {
        let table = self.table.get().into_iter();
        table
            .flat_map(move |table| table.range(sequences.clone()))
            .map(|(sequence, extra)| (*sequence, *extra))
    }

    /// An entry waits until `due_ms`.
    pub(super) fn delay(&mut self, sequence: u64, due_ms: u64) {
        self.delayed.get_or_make().insert((due_ms, sequence));
    }

    /// Entries that wait.
    pub(super) fn delayed(&self) -> usize {
        self.delayed.get().map_or(0, BTreeSet::len)
    }

    /// When the first of them is ready again.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.delayed.get().and_then(BTreeSet::first).map(|(due_ms, _)| *due_ms)
    }

    /// The next one that waits no longer.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<u64> {
        let delayed = self.delayed.get_mut()?;
        let next = delayed.first().filter(|(due_ms, _)| *due_ms <= now_ms).copied()?;
        delayed.remove(&next);
        if delayed.is_empty() {
            self.delayed.clear();
        }
        Some(next.1)
    }
}
