//! An ordered queue: entries by sequence, with what is ready and what is unacknowledged as views of it.
//!
//! # Invariants
//! - Sequences are never reused and grow by one; the slot of a sequence is found by subtraction.
//! - A returned entry keeps its sequence and becomes ready before everything that was not sent yet.
//! - The front slot is never settled: settling the front drops all settled slots behind it.
//! - Memory follows the entries that are left, not the span of their sequences: where few are left among many
//!   settled ones, they move to a table of their own (`stragglers`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::body::Stored;
use crate::record::{Entry, QueueRecord};

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

#[derive(Debug)]
struct Slot {
    entry: Option<Entry>,
    stage: Stage,
    /// Handed out before.
    redelivered: bool,
}

/// A queue of messages. See the module documentation.
#[derive(Debug, Default)]
pub struct Queue {
    slots: VecDeque<Slot>,
    /// Sequence of the front slot.
    base: u64,
    /// Entries of `slots`.
    live: usize,
    /// Entries older than `base`, of which few were left; none of them settled.
    stragglers: BTreeMap<u64, Slot>,
    /// First sequence that was never handed out since the last rewind.
    next: u64,
    /// Ready entries below `next`.
    returned: BTreeSet<u64>,
    ready: usize,
    ready_bytes: usize,
    /// Entries below this sequence were recorded when they came.
    recorded_below: u64,
}

/// Capacity kept when the queue runs empty; more is given back.
const KEPT_CAPACITY: usize = 1024;
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
        self.stragglers.first_key_value().map_or(self.base, |(sequence, _)| *sequence)
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
        self.slots.is_empty() && self.stragglers.is_empty()
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

    /// The messages' records that are held by the entries of this queue, one for each entry.
    pub(crate) fn held(&self) -> impl Iterator<Item = Stored> {
        let holders = self.iter().filter(|(sequence, entry, _)| self.is_holder(*sequence, entry));
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
        let Some(gap) = sequence.checked_sub(self.next_sequence()) else { return };
        if self.slots.is_empty() || gap > SPARSE as u64 {
            self.set_aside(self.slots.len());
            self.base = sequence;
            self.next = self.next.max(sequence);
        } else {
            let settled = || Slot { entry: None, stage: Stage::Sent, redelivered: false };
            self.slots.extend((0..gap).map(|_| settled()));
        }
        self.live += 1;
        self.ready += 1;
        self.ready_bytes += entry.body.size();
        self.slots.push_back(Slot { entry: Some(entry), stage: Stage::Ready, redelivered: false });
    }

    fn settle(&mut self, sequence: u64) -> Option<Entry> {
        let slot = self.slot_mut(sequence)?;
        let entry = slot.entry.take()?;
        let was_ready = slot.stage == Stage::Ready;
        slot.stage = Stage::Sent;
        if was_ready {
            self.ready -= 1;
            self.ready_bytes -= entry.body.size();
            self.returned.remove(&sequence);
        }
        if sequence < self.base {
            self.stragglers.remove(&sequence);
            return Some(entry);
        }
        self.live -= 1;
        while self.slots.front().is_some_and(|slot| slot.entry.is_none()) {
            self.slots.pop_front();
            self.base += 1;
        }
        self.next = self.next.max(self.base);
        if self.slots.len() > SPARSE && self.live < self.slots.len() / 4 {
            self.set_aside(self.slots.len() / 2);
        }
        if self.slots.is_empty() && self.slots.capacity() > KEPT_CAPACITY {
            self.slots = VecDeque::new();
        }
        Some(entry)
    }

    /// Moves what is left of the first `slots` slots to the stragglers. As it halves a sparse queue, its cost per
    /// settled entry is constant.
    fn set_aside(&mut self, slots: usize) {
        for slot in self.slots.drain(..slots.min(self.slots.len())) {
            if slot.entry.is_some() {
                self.live -= 1;
                if slot.stage == Stage::Ready {
                    self.returned.insert(self.base);
                }
                self.stragglers.insert(self.base, slot);
            }
            self.base += 1;
        }
        while self.slots.front().is_some_and(|slot| slot.entry.is_none()) {
            self.slots.pop_front();
            self.base += 1;
        }
        self.next = self.next.max(self.base);
    }

    fn release(&mut self, sequence: u64) {
        let Some(slot) = self.slot_mut(sequence) else { return };
        let Some(entry) = &slot.entry else { return };
        let was_ready = slot.stage == Stage::Ready;
        let size = entry.body.size();
        slot.stage = Stage::Released;
        if was_ready {
            self.ready -= 1;
            self.ready_bytes -= size;
            self.returned.remove(&sequence);
        }
    }

    /// The first entry to hand out: returned ones first, then in order.
    pub fn first_ready(&mut self) -> Option<u64> {
        if let Some(&sequence) = self.returned.first() {
            return Some(sequence);
        }
        if self.ready == 0 {
            return None;
        }
        let end = self.next_sequence();
        while self.next < end {
            if self.slot(self.next).is_some_and(|slot| slot.stage == Stage::Ready && slot.entry.is_some()) {
                return Some(self.next);
            }
            self.next += 1;
        }
        None
    }

    /// The entry with this sequence, with its stage and whether it was handed out before.
    #[must_use]
    pub fn entry(&self, sequence: u64) -> Option<(&Entry, Stage, bool)> {
        let slot = self.slot(sequence)?;
        slot.entry.as_ref().map(|entry| (entry, slot.stage, slot.redelivered))
    }

    /// Marks a ready entry as handed out. Not a durable change: after a crash it is ready again.
    pub fn mark_sent(&mut self, sequence: u64) {
        let Some(slot) = self.slot_mut(sequence) else { return };
        if slot.stage != Stage::Ready {
            return;
        }
        let size = slot.entry.as_ref().map_or(0, |entry| entry.body.size());
        slot.stage = Stage::Sent;
        slot.redelivered = true;
        self.ready -= 1;
        self.ready_bytes -= size;
        if sequence == self.next {
            self.next += 1;
        } else {
            self.returned.remove(&sequence);
        }
    }

    /// Puts an entry that was handed out back at its place.
    pub fn give_back(&mut self, sequence: u64) {
        let next = self.next;
        let Some(slot) = self.slot_mut(sequence) else { return };
        let Some(entry) = &slot.entry else { return };
        if slot.stage != Stage::Sent {
            return;
        }
        let size = entry.body.size();
        slot.stage = Stage::Ready;
        self.ready += 1;
        self.ready_bytes += size;
        if sequence < next {
            self.returned.insert(sequence);
        }
    }

    /// Makes everything that was handed out but not released ready again, in the original order, and returns
    /// the sequences whose release is outstanding.
    pub fn rewind(&mut self) -> Vec<u64> {
        let mut released = Vec::new();
        self.returned.clear();
        self.next = self.base;
        let aside = self.stragglers.iter_mut().map(|(sequence, slot)| (*sequence, slot));
        let dense = (self.base..).zip(self.slots.iter_mut());
        for (sequence, slot) in aside.chain(dense) {
            let Some(entry) = &slot.entry else { continue };
            match slot.stage {
                Stage::Ready => {}
                Stage::Released => {
                    released.push(sequence);
                    continue;
                }
                Stage::Sent => {
                    slot.stage = Stage::Ready;
                    self.ready += 1;
                    self.ready_bytes += entry.body.size();
                }
            }
            if sequence < self.base {
                self.returned.insert(sequence);
            }
        }
        released
    }

    /// Notes that everything in the queue may have been handed out before. For a queue that comes from the log,
    /// where that is not recorded.
    pub(crate) fn mark_redelivered(&mut self) {
        let aside = self.stragglers.values_mut();
        for slot in aside.chain(self.slots.iter_mut()) {
            slot.redelivered = true;
        }
    }

    /// All entries that are not settled, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Entry, Stage)> {
        let aside = self.stragglers.iter().map(|(sequence, slot)| (*sequence, slot));
        let dense = (self.base..).zip(self.slots.iter());
        aside.chain(dense).filter_map(|(sequence, slot)| Some((sequence, slot.entry.as_ref()?, slot.stage)))
    }

    fn slot(&self, sequence: u64) -> Option<&Slot> {
        match sequence.checked_sub(self.base) {
            Some(index) => self.slots.get(usize::try_from(index).ok()?),
            None => self.stragglers.get(&sequence),
        }
    }

    fn slot_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        match sequence.checked_sub(self.base) {
            Some(index) => self.slots.get_mut(usize::try_from(index).ok()?),
            None => self.stragglers.get_mut(&sequence),
        }
    }
}

#[cfg(test)]
mod tests;
