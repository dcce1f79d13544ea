//! Which entries of a queue have their message in memory (hot) and which have it only in the log (cold).
//!
//! Entries go cold in order, behind a cursor that never goes back: so an entry is looked at once for it, however often
//! the queue is visited. What stays hot before the cursor, because it is about to be handed out or was read back, lies
//! below `warm_end`.

use std::sync::Arc;

use tercet_log::position::{Place, Position};

use crate::body::{Body, BodyRef, Stored};
use crate::message::Message;
use crate::queue::Queue;
use crate::queue::slot::Slot;

/// What is in memory.
#[derive(Debug, Default)]
pub(super) struct Temperature {
    /// Entries whose message is in memory.
    hot: usize,
    /// Bytes of these messages.
    memory: usize,
    /// Entries before this sequence have had their turn to go cold.
    cooled: u64,
    /// Before `cooled`, entries may be hot up to this sequence, exclusive.
    warm_end: u64,
}

impl Temperature {
    pub(super) fn comes(&mut self, message: Option<&Arc<Message>>) {
        if let Some(message) = message {
            self.hot += 1;
            self.memory += message.memory();
        }
    }

    pub(super) fn goes(&mut self, message: Option<&Arc<Message>>) {
        if let Some(message) = message {
            self.hot -= 1;
            self.memory -= message.memory();
        }
    }

    /// Everything before `sequence` was set aside.
    pub(super) fn set_aside(&mut self, sequence: u64) {
        if self.hot > 0 {
            self.warm_end = self.warm_end.max(sequence);
        }
    }
}

/// How far to read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Entries.
    pub entries: usize,
    /// Bytes of their messages; the first entry is taken whatever its size.
    pub bytes: usize,
}

/// The entries that will be handed out next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Those that have to be read back, in the order in which they will be wanted.
    pub cold: Vec<(u64, Stored)>,
    /// All of them, hot and cold.
    pub entries: usize,
    /// Whether further entries follow.
    pub more: bool,
}

/// What became of an entry that was to go cold.
#[derive(PartialEq, Eq)]
enum Cooling {
    /// It is cold now.
    Gone,
    /// It was cold before, or never can be.
    Stays,
    /// Its message is not durable yet.
    Later,
}

impl Queue {
    /// Entries whose message is in memory.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.temperature.hot
    }

    /// Bytes of memory that these messages take up.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.temperature.memory
    }

    /// Lets go of an entry's message if it can be read back: it has to be durable, everything up to `durable` being so.
    pub fn make_cold(&mut self, sequence: u64, durable: Position) -> bool {
        self.cool_one(sequence, durable) == Cooling::Gone
    }

    /// Whether an entry has had its turn to go cold: if it has its message, that was read back, or was about to be wanted.
    pub(crate) fn had_its_turn_to_cool(&self, sequence: u64) -> bool {
        sequence < self.temperature.cooled
    }

    /// Whether an entry's message is only in the log, at `place`.
    pub(crate) fn is_cold_at(&self, sequence: u64, place: Place) -> bool {
        let body = self.slot(sequence).and_then(Slot::body);
        matches!(body, Some(BodyRef::Log(stored)) if stored.place() == place)
    }

    /// Gives an entry its message back, if that is still the one at `expected`.
    pub fn make_hot(&mut self, sequence: u64, expected: Place, message: Arc<Message>) -> bool {
        if !self.is_cold_at(sequence, expected) {
            return false;
        }
        self.temperature.comes(Some(&message));
        self.temperature.warm_end = self.temperature.warm_end.max(sequence.saturating_add(1));
        if let Some(slot) = self.slot_mut(sequence) {
            slot.set_body(Body::Memory(message));
        }
        true
    }

    /// Notes that the record of an entry's message has moved within the log. False if it was not at `from`.
    pub fn relocate(&mut self, sequence: u64, from: Place, to: Stored) -> bool {
        let Some(slot) = self.slot_mut(sequence) else { return false };
        match slot.body() {
            Some(BodyRef::Log(stored)) if stored.place() == from => {
                slot.set_body(Body::Log(to));
                true
            }
            Some(BodyRef::Memory(message)) => {
                let mut stored = message.stored.lock();
                let here = stored.map(|stored| stored.place());
                if here == Some(from) {
                    *stored = Some(to);
                }
                // Another holder of the same message may have been here before.
                here == Some(from) || here == Some(to.place())
            }
            _ => false,
        }
    }

    /// Lets go of messages that are durable, everything up to `durable` being so: all of them but the first `keep` of those
    /// that are waiting to be handed out. Looks at no more than about `most` entries.
    pub fn cool(&mut self, durable: Position, keep: usize, most: usize) {
        if keep == 0 {
            self.cool_warm(durable);
        }
        let end = self.next_sequence();
        let kept = self.next.saturating_add(keep as u64);
        let mut cursor = self.temperature.cooled.max(self.base);
        for _ in 0..most {
            if cursor >= end || self.temperature.hot == 0 {
                break;
            }
            if keep > 0 && cursor < kept && self.slot(cursor).is_some_and(Slot::is_ready) {
                self.temperature.warm_end = cursor + 1;
            } else if self.cool_one(cursor, durable) == Cooling::Later {
                break;
            }
            cursor += 1;
        }
        if self.temperature.hot == 0 {
            cursor = end;
        }
        self.temperature.cooled = cursor;
    }

    /// Lets go of what stayed or became hot behind the cursor.
    fn cool_warm(&mut self, durable: Position) {
        let end = std::mem::take(&mut self.temperature.warm_end);
        if end <= self.front_sequence() || self.temperature.hot == 0 {
            return;
        }
        let aside = self.stragglers.get().into_iter().flat_map(|table| table.range(..end));
        let aside: Vec<u64> = aside.map(|(sequence, _)| *sequence).collect();
        for sequence in aside.into_iter().chain(self.base..end.min(self.next_sequence())) {
            if self.cool_one(sequence, durable) == Cooling::Later {
                self.temperature.warm_end = sequence + 1;
            }
        }
    }

    fn cool_one(&mut self, sequence: u64, durable: Position) -> Cooling {
        if sequence >= self.recorded_below {
            // Others may hold the record of its message, but this entry does not.
            return Cooling::Stays;
        }
        let slot = self.slot_mut(sequence).filter(|slot| slot.is_durable());
        let Some((slot, message)) =
            slot.and_then(|slot| slot.message().cloned().map(|message| (slot, message)))
        else {
            return Cooling::Stays;
        };
        let stored = *message.stored.lock();
        match stored {
            None => Cooling::Stays,
            Some(stored) if stored.place().batch > durable => Cooling::Later,
            Some(stored) => {
                slot.set_body(Body::Log(stored));
                self.temperature.goes(Some(&message));
                Cooling::Gone
            }
        }
    }

    /// The same for entries that are handed out in this order.
    pub(crate) fn ahead_in(&self, order: impl Iterator<Item = u64>, reach: Reach) -> Ahead {
        Self::ahead_among(order.filter_map(|sequence| Some((sequence, self.slot(sequence)?))), reach)
    }

    /// The entries that will be handed out next, as far as `reach`.
    #[must_use]
    pub fn ahead(&self, reach: Reach) -> Ahead {
        let returned = self.returned.get().into_iter().flatten();
        let returned = returned.filter_map(|sequence| Some((*sequence, self.slot(*sequence)?)));
        let start = self.next.max(self.base);
        let dense = (start..).zip(self.slots.iter_from((start - self.base) as usize));
        Self::ahead_among(returned.chain(dense.filter(|(_, slot)| slot.is_ready())), reach)
    }

    fn ahead_among<'a>(entries: impl Iterator<Item = (u64, &'a Slot)>, reach: Reach) -> Ahead {
        let mut ahead = Ahead::default();
        let mut bytes = 0;
        for (sequence, slot) in entries {
            let size = slot.size();
            let within = ahead.entries < reach.entries && bytes + size <= reach.bytes;
            if !within && ahead.entries > 0 {
                ahead.more = true;
                return ahead;
            }
            ahead.entries += 1;
            bytes += size;
            if let Some(BodyRef::Log(stored)) = slot.body() {
                ahead.cold.push((sequence, stored));
            }
        }
        ahead
    }
}
