//! What is to be sent: datagrams one after the other in one buffer.

use alloc::vec::Vec;
use core::ops::Range;

/// Datagrams to send, in order, each to its peer. It is filled by an [`Endpoint`](super::Endpoint), sent and cleared by the
/// caller, and keeps its memory for the next turn.
#[derive(Debug)]
pub struct Outgoing<P> {
    bytes: Vec<u8>,
    datagrams: Vec<(P, Range<usize>)>,
}

impl<P> Default for Outgoing<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> Outgoing<P> {
    /// Nothing to send.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), datagrams: Vec::new() }
    }

    /// How many datagrams there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// There is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// How many bytes the datagrams have together.
    #[inline]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The datagrams, in the order in which they are to be sent.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&P, &[u8])> {
        self.datagrams.iter().map(|(peer, range)| (peer, self.bytes.get(range.clone()).unwrap_or_default()))
    }

    /// Forgets the datagrams.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }

    /// Adds the datagram that `write` appends to the buffer it is given, and lends what was written.
    #[inline]
    pub fn push_with(&mut self, peer: P, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.datagrams.push((peer, start..self.bytes.len()));
        self.bytes.get(start..).unwrap_or_default()
    }

    /// Adds `datagram`.
    #[inline]
    pub fn push(&mut self, peer: P, datagram: &[u8]) {
        self.push_with(peer, |bytes| bytes.extend_from_slice(datagram));
    }
}
