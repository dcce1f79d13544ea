//! The datagrams of one turn of a client.

use super::wire::{TOKEN, Template};

/// Datagrams with the Message IDs and tokens of the client that sends them.
#[derive(Debug, Default)]
pub struct Mail {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    pub(super) next_id: u16,
    pub(super) serial: u32,
    pub(super) now: u64,
}

impl Mail {
    /// Adds a request.
    pub fn add(&mut self, request: &Template) {
        self.next_id = self.next_id.wrapping_add(1);
        self.serial = self.serial.wrapping_add(1);
        let token = self.token();
        request.write(&mut self.bytes, self.next_id, token);
        self.ends.push(self.bytes.len());
    }

    /// The fleet's clock, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// That of the last request.
    pub(super) fn token(&self) -> [u8; TOKEN] {
        self.serial.to_be_bytes()
    }

    /// The last datagram.
    pub(super) fn last(&self) -> &[u8] {
        self.datagrams().last().unwrap_or_default()
    }

    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.bytes.get(start..*end))
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
