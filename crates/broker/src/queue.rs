//! An ordered queue: entries by sequence, with what is ready and what is unacknowledged as views of it.
//!
//! # Invariants
//! - Sequences are never reused and grow by one; the slot of a sequence is found by subtraction.
//! - A returned entry keeps its sequence and becomes ready before everything that was not sent yet.
//! - The front slot is never settled: settling the front drops all settled slots behind it.
//! - Memory follows the entries that are left, not the span of their sequences: where few are left among many
//!   settled ones, they move to a table of their own (`stragglers`).

pub(crate) mod seldom;
mod slot;
mod slots;
mod temperature;

use std::collections::{BTreeMap, BTreeSet};

use self::seldom::Seldom;
use self::slot::Slot;
use self::slots::Slots;
use self::temperature::Temperature;
use crate::body::Stored;
use crate::record::{Entry, EntryRef, QueueRecord};

pub use self::temperature::{Ahead, Reach};

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting to be handed out.
    Ready,
    /// Handed out, not acknowledged.
    Sent,
    /// QoS 2: received by the other side, its release is outstanding.
    Released,
}

/// A queue of messages. See the module documentation.
#[derive(Debug, Default)]
pub struct Queue {
    slots: Slots,
    /// Sequence of the front slot.
    base: u64,
    /// Entries of `slots`.
    live: usize,
    /// Entries older than `base`, of which few were left; none of them settled.
    stragglers: Seldom<BTreeMap<u64, Slot>>,
    /// First sequence that was never handed out since the last rewind.
    next: u64,
    /// Ready entries below `next`.
    returned: Seldom<BTreeSet<u64>>,
    ready: usize,
    ready_bytes: usize,
    /// Entries below this sequence were recorded when they came.
    recorded_below: u64,
    /// No entry from here on was ever handed out or released.
    touched: u64,
    /// Entries before this sequence count as handed out before.
    redelivered: u64,
    temperature: Temperature,
}

/// Slots from which on a queue of mostly settled ones is thinned out.
const SPARSE: usize = 1024;

impl Queue {
    /// The sequence that the next entry will get.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Sequence of the oldest entry that is not settled.
    #[must_use]
    pub fn front_sequence(&self) -> u64 {
        self.stragglers.get().and_then(BTreeMap::first_key_value).map_or(self.base, |(sequence, _)| *sequence)
    }

    /// Entries waiting to be handed out.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Bytes of the entries waiting to be handed out.
    #[must_use]
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Whether no entry is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.stragglers.get().is_none_or(BTreeMap::is_empty)
    }

    /// Says whether entries are recorded from now on. What was recorded before stays a holder of its message's
    /// record until it leaves the queue, even if the log has forgotten the queue by then.
    pub(crate) fn set_recorded(&mut self, recorded: bool) {
        self.recorded_below = if recorded { u64::MAX } else { self.recorded_below.min(self.next_sequence()) };
    }

    /// Whether an entry with this sequence was recorded, so that it holds its message's record in the log.
    pub(crate) fn is_holder(&self, sequence: u64, entry: &Entry) -> bool {
        sequence < self.recorded_below && entry.is_durable()
    }

    /// Whether the durable entry with this sequence was recorded.
    pub(crate) fn records(&self, sequence: u64) -> bool {
        sequence < self.recorded_below
    }

    /// The messages' records that are held by the entries of this queue, one for each entry.
    pub(crate) fn held(&self) -> impl Iterator<Item = Stored> {
        let recorded = self.iter().take_while(|(sequence, ..)| *sequence < self.recorded_below);
        let holders = recorded.filter(|(_, entry, _)| entry.is_durable());
        holders.filter_map(|(_, entry, _)| entry.body.stored())
    }

    /// Applies a record. Records about unknown sequences are skipped.
    pub fn apply(&mut self, record: QueueRecord) -> Option<Entry> {
        match record {
            QueueRecord::Enqueued { sequence, entry, .. } => {
                self.enqueue(sequence, entry);
                None
            }
            QueueRecord::Settled { sequence, .. } => self.settle(sequence),
            QueueRecord::Released { sequence } => {
                self.release(sequence);
                None
            }
        }
    }

    /// A sequence may leave a gap: what is not durable takes sequences without a record.
    fn enqueue(&mut self, sequence: u64, entry: Entry) {
        if sequence < self.next_sequence() {
            return;
        }
        self.advance_to(sequence);
        self.live += 1;
        self.ready += 1;
        self.ready_bytes += entry.body.size();
        self.temperature.comes(entry.body.message());
        self.slots.push_back(Slot::new(entry));
    }

    /// Sees to it that no entry gets a sequence below this one any more.
    pub(crate) fn advance_to(&mut self, sequence: u64) {
        let gap = sequence.saturating_sub(self.next_sequence());
        if gap == 0 {
            return;
        }
        if self.slots.is_empty() || gap > SPARSE as u64 {
            self.set_aside(self.slots.len());
            self.base = sequence;
            self.next = self.next.max(sequence);
        } else {
            (0..gap).for_each(|_| self.slots.push_back(Slot::Settled));
        }
    }

    fn settle(&mut self, sequence: u64) -> Option<Entry> {
        let slot = self.slot_mut(sequence)?;
        let was_ready = slot.is_ready();
        let entry = slot.take()?;
        self.temperature.goes(entry.body.message());
        if was_ready {
            self.ready -= 1;
            self.ready_bytes -= entry.body.size();
            self.not_returned(sequence);
        }
        if sequence < self.base {
            self.forget_straggler(sequence);
            return Some(entry);
        }
        self.live -= 1;
        self.drop_settled();
        if self.slots.len() > SPARSE && self.live < self.slots.len() / 4 {
            self.set_aside(self.slots.len() / 2);
        }
        Some(entry)
    }

    /// Drops settled slots at the front.
    fn drop_settled(&mut self) {
        while self.slots.get(0).is_some_and(Slot::is_settled) {
            self.slots.pop_front();
            self.base += 1;
        }
        self.next = self.next.max(self.base);
    }

    /// Moves what is left of the first `slots` slots to the stragglers. As it halves a sparse queue, its cost per
    /// settled entry is constant.
    fn set_aside(&mut self, slots: usize) {
        for _ in 0..slots {
            let Some(slot) = self.slots.pop_front() else { break };
            if !slot.is_settled() {
                self.live -= 1;
                if slot.is_ready() {
                    self.returned.get_or_make().insert(self.base);
                }
                self.stragglers.get_or_make().insert(self.base, slot);
            }
            self.base += 1;
        }
        self.temperature.set_aside(self.base);
        self.drop_settled();
    }

    /// Notes that an entry is not waiting to be handed out again.
    fn not_returned(&mut self, sequence: u64) {
        if let Some(returned) = self.returned.get_mut() {
            returned.remove(&sequence);
        }
    }

    fn forget_straggler(&mut self, sequence: u64) {
        if let Some(stragglers) = self.stragglers.get_mut() {
            stragglers.remove(&sequence);
            if stragglers.is_empty() {
                self.stragglers.clear();
            }
        }
    }

    fn release(&mut self, sequence: u64) {
        let Some(slot) = self.slot_mut(sequence).filter(|slot| !slot.is_settled()) else { return };
        let (was_ready, size) = (slot.is_ready(), slot.size());
        slot.set_stage(Stage::Released);
        if was_ready {
            self.ready -= 1;
            self.ready_bytes -= size;
            self.not_returned(sequence);
        }
        self.touched = self.touched.max(sequence.saturating_add(1));
    }

    /// The first entry to hand out: returned ones first, then in order.
    pub fn first_ready(&mut self) -> Option<u64> {
        if let Some(&sequence) = self.returned.get().and_then(BTreeSet::first) {
            return Some(sequence);
        }
        if self.ready == 0 {
            return None;
        }
        let end = self.next_sequence();
        while self.next < end {
            if self.slot(self.next).is_some_and(Slot::is_ready) {
                return Some(self.next);
            }
            self.next += 1;
        }
        None
    }

    /// The entry with this sequence, with its stage and whether it was handed out before.
    #[must_use]
    pub fn entry(&self, sequence: u64) -> Option<(EntryRef<'_>, Stage, bool)> {
        let slot = self.slot(sequence)?;
        let redelivered = slot.is_redelivered() || sequence < self.redelivered;
        slot.entry().map(|entry| (entry, slot.stage(), redelivered))
    }

    /// Marks a ready entry as handed out. Not a durable change: after a crash it is ready again.
    pub fn mark_sent(&mut self, sequence: u64) {
        let Some(slot) = self.slot_mut(sequence).filter(|slot| slot.is_ready()) else { return };
        let size = slot.size();
        slot.set_stage(Stage::Sent);
        slot.set_redelivered(true);
        self.ready -= 1;
        self.ready_bytes -= size;
        self.touched = self.touched.max(sequence.saturating_add(1));
        if sequence == self.next {
            self.next += 1;
        } else {
            self.not_returned(sequence);
        }
    }

    /// Puts an entry that was handed out back at its place.
    pub fn give_back(&mut self, sequence: u64) {
        let next = self.next;
        let Some(slot) = self.slot_mut(sequence).filter(|slot| !slot.is_settled()) else { return };
        if slot.stage() != Stage::Sent {
            return;
        }
        let size = slot.size();
        slot.set_stage(Stage::Ready);
        self.ready += 1;
        self.ready_bytes += size;
        if sequence < next {
            self.returned.get_or_make().insert(sequence);
        }
    }

    /// Makes everything that was handed out but not released ready again, in the original order, and returns
    /// the sequences whose release is outstanding.
    pub fn rewind(&mut self) -> Vec<u64> {
        let mut released = Vec::new();
        self.returned.clear();
        self.next = self.base;
        let touched = usize::try_from(self.touched.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let aside = self.stragglers.get_mut().into_iter().flatten().map(|(sequence, slot)| (*sequence, slot));
        let dense = (self.base..).zip(self.slots.iter_mut(touched));
        for (sequence, slot) in aside.chain(dense).filter(|(_, slot)| !slot.is_settled()) {
            match slot.stage() {
                Stage::Ready => {}
                Stage::Released => {
                    released.push(sequence);
                    continue;
                }
                Stage::Sent => {
                    slot.set_stage(Stage::Ready);
                    self.ready += 1;
                    self.ready_bytes += slot.size();
                }
            }
            if sequence < self.base {
                self.returned.get_or_make().insert(sequence);
            }
        }
        self.touched = released.last().map_or(0, |last| last + 1);
        released
    }

    /// Notes that everything in the queue may have been handed out before. For a queue that comes from the log,
    /// where that is not recorded.
    pub(crate) fn mark_redelivered(&mut self) {
        self.redelivered = self.next_sequence();
    }

    /// Notes that one entry may have been handed out before.
    pub(crate) fn mark_entry_redelivered(&mut self, sequence: u64) {
        self.set_redelivered(sequence, true);
    }

    /// Says whether one entry may have been handed out before.
    pub(crate) fn set_redelivered(&mut self, sequence: u64, redelivered: bool) {
        if let Some(slot) = self.slot_mut(sequence).filter(|slot| !slot.is_settled()) {
            slot.set_redelivered(redelivered);
        }
    }

    /// All entries that are not settled, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, EntryRef<'_>, Stage)> {
        self.entries_from(0)
    }

    /// The entries from a sequence on that are not settled, in order. A slice of a long queue costs no more than the
    /// slice: `take` as many as wanted and go on behind the last one.
    pub fn entries_from(&self, sequence: u64) -> impl Iterator<Item = (u64, EntryRef<'_>, Stage)> {
        let aside = self.stragglers.get().into_iter().flat_map(move |table| table.range(sequence..));
        let aside = aside.map(|(sequence, slot)| (*sequence, slot));
        let start = sequence.max(self.base);
        let skipped = usize::try_from(start - self.base).unwrap_or(usize::MAX);
        let dense = (start..).zip(self.slots.iter_from(skipped));
        aside.chain(dense).filter_map(|(sequence, slot)| Some((sequence, slot.entry()?, slot.stage())))
    }

    fn slot(&self, sequence: u64) -> Option<&Slot> {
        match sequence.checked_sub(self.base) {
            Some(index) => self.slots.get(usize::try_from(index).ok()?),
            None => self.stragglers.get()?.get(&sequence),
        }
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        match sequence.checked_sub(self.base) {
            Some(index) => self.slots.get_mut(usize::try_from(index).ok()?),
            None => self.stragglers.get_mut()?.get_mut(&sequence),
        }
    }
}

#[cfg(test)]
mod tests;
