//! Messages under way, by number: those that are retransmitted, those that wait for their turn, and delayed answers.

use alloc::vec::Vec;

use super::Tag;
use crate::Time;

/// Buffers of ended exchanges that are kept for later ones.
const SPARE_BUFFERS: usize = 64;
/// Larger buffers are given back.
const SPARE_BYTES: usize = 2048;

/// A Confirmable message that was sent. It outlives the message harmlessly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    number: u32,
    generation: u32,
}

/// A message under way.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The slot of the peer.
    pub(super) peer: u32,
    pub(super) state: State,
    pub(super) tag: Option<Tag>,
    /// The datagram; its Message ID is set when it is transmitted.
    pub(super) datagram: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// Waits until fewer than NSTART are in flight.
    Waiting,
    /// Was transmitted and is neither acknowledged nor given up.
    InFlight {
        id: u16,
        retransmissions: u32,
        timeout: Time,
        /// The datagram is newer than what was transmitted: it needs a new Message ID.
        replaced: bool,
    },
    /// Is sent once, when its time has come.
    Delayed,
}

/// The messages under way of an endpoint.
#[derive(Debug)]
pub(super) struct Exchanges {
    entries: Vec<(u32, Option<Exchange>)>,
    free: Vec<u32>,
    spare: Vec<Vec<u8>>,
    used: usize,
}

impl Exchanges {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), spare: Vec::new(), used: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// An empty buffer for a datagram.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_BYTES {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    pub(super) fn insert(&mut self, exchange: Exchange) -> u32 {
        self.used += 1;
        if let Some(number) = self.free.pop()
            && let Some((_, place)) = self.entries.get_mut(number as usize)
        {
            *place = Some(exchange);
            return number;
        }
        self.entries.push((0, Some(exchange)));
        (self.entries.len() - 1) as u32
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Exchange> {
        self.entries.get_mut(number as usize)?.1.as_mut()
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<(u32, Option<Tag>)> {
        let (generation, place) = self.entries.get_mut(number as usize)?;
        let Exchange { peer, tag, datagram, .. } = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(number);
        self.used -= 1;
        self.recycle(datagram);
        Some((peer, tag))
    }

    /// The delayed answers to the peer in `slot`.
    pub(super) fn delayed_to(&self, slot: u32) -> Vec<u32> {
        let is_delayed =
            |exchange: &Exchange| exchange.peer == slot && matches!(exchange.state, State::Delayed);
        (0..)
            .zip(&self.entries)
            .filter(|(_, (_, exchange))| exchange.as_ref().is_some_and(is_delayed))
            .map(|(number, _)| number)
            .collect()
    }

    /// The handle of `number`.
    pub(super) fn handle(&self, number: u32) -> Handle {
        let generation = self.entries.get(number as usize).map_or(0, |&(generation, _)| generation);
        Handle { number, generation }
    }

    /// The number of what `handle` stands for, if that is still under way.
    pub(super) fn number(&self, handle: Handle) -> Option<u32> {
        let (generation, place) = self.entries.get(handle.number as usize)?;
        (*generation == handle.generation && place.is_some()).then_some(handle.number)
    }
}
