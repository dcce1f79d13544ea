//! The slots of a queue, in chunks: a queue of millions never moves as a whole, and gives memory back chunk by chunk as
//! it drains.

use std::collections::VecDeque;

use crate::queue::slot::Slot;

/// Slots of a full chunk: 16 KiB.
const CHUNK: usize = 512;
/// Slots of room kept when the last one goes, so that a queue that keeps running empty does not allocate each time.
const KEPT: usize = 256;
/// The same for the list of chunks.
const KEPT_CHUNKS: usize = 8;

/// A double-ended list of slots, added to at one end and taken from at the other.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// All full but the last one, which grows as it fills.
    chunks: VecDeque<Vec<Slot>>,
    /// Slots of the first chunk that are gone.
    gone: usize,
    len: usize,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, index: usize) -> Option<&Slot> {
        let index = self.gone.checked_add(index)?;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Slot> {
        let index = self.gone.checked_add(index)?;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    pub(super) fn push_back(&mut self, slot: Slot) {
        self.len += 1;
        match self.chunks.back_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(slot),
            None => {
                let room = if self.chunks.is_empty() { 1 } else { CHUNK };
                let mut chunk = Vec::with_capacity(room);
                chunk.push(slot);
                self.chunks.push_back(chunk);
            }
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<Slot> {
        let slot = std::mem::replace(self.get_mut(0)?, Slot::Settled);
        self.len -= 1;
        self.gone += 1;
        if self.len == 0 {
            self.start_over();
        } else if self.gone == CHUNK {
            self.chunks.pop_front();
            self.gone = 0;
        }
        Some(slot)
    }

    /// Nothing is left: keeps little.
    fn start_over(&mut self) {
        self.gone = 0;
        self.chunks.truncate(1);
        match self.chunks.front_mut() {
            Some(chunk) if chunk.capacity() <= KEPT => chunk.clear(),
            _ => self.chunks.clear(),
        }
        if self.chunks.capacity() > KEPT_CHUNKS {
            self.chunks.shrink_to(1);
        }
    }

    /// The slots from `index` on.
    pub(super) fn iter_from(&self, index: usize) -> impl Iterator<Item = &Slot> {
        let index = self.gone.saturating_add(index);
        let (first, skip) = (index / CHUNK, index % CHUNK);
        let chunks = self.chunks.range(first.min(self.chunks.len())..);
        chunks.enumerate().flat_map(move |(number, chunk)| {
            chunk.get(if number == 0 { skip } else { 0 }..).unwrap_or_default()
        })
    }

    /// The first `most` slots.
    pub(super) fn iter_mut(&mut self, most: usize) -> impl Iterator<Item = &mut Slot> {
        self.chunks.iter_mut().flatten().skip(self.gone).take(most)
    }

    /// Slots for which there is memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_the_slots_that_are_left() {
        let mut slots = Slots::default();
        assert_eq!((slots.capacity(), slots.chunks.capacity()), (0, 0), "an empty queue owns nothing");
        slots.push_back(Slot::Settled);
        assert!(slots.capacity() <= 4, "{}", slots.capacity());
        for _ in 1..100_000 {
            slots.push_back(Slot::Settled);
        }
        assert!(slots.capacity() <= slots.len() + CHUNK);
        for left in (0..100_000).rev() {
            slots.pop_front();
            assert_eq!(slots.len(), left);
            assert!(slots.capacity() <= left + 2 * CHUNK);
        }
        assert!(slots.pop_front().is_none());
        assert!(slots.capacity() <= KEPT && slots.chunks.capacity() <= KEPT_CHUNKS);
    }

    #[test]
    fn a_short_queue_goes_round_in_two_chunks() {
        let mut slots = Slots::default();
        for _ in 0..3 {
            slots.push_back(Slot::Settled);
        }
        for _ in 0..10_000 {
            slots.push_back(Slot::Settled);
            slots.pop_front();
            assert!(slots.capacity() <= 2 * CHUNK);
            assert_eq!(slots.iter_from(0).count(), 3);
            assert_eq!(slots.iter_from(2).count(), 1);
            assert_eq!(slots.iter_from(3).count(), 0);
            assert_eq!(slots.iter_mut(9).count(), 3);
        }
    }
}
