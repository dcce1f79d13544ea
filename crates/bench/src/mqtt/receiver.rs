//! What a subscriber has received, and how it answers.

use crate::engine::{Expect, Expected, Tally};

#[derive(Debug)]
pub(super) struct Receiver {
    expected: Expected,
    /// Messages received since the receiver was made.
    pub(super) received: u64,
    /// Of these, with the DUP flag.
    pub(super) dups: u64,
    /// Whether QoS 1 and 2 deliveries are acknowledged.
    pub(super) acknowledges: bool,
}

impl Receiver {
    pub(super) fn new(expect: &Expect) -> Self {
        Receiver { expected: Expected::new(expect), received: 0, dups: 0, acknowledges: true }
    }

    /// Records a delivery; false when nothing of that stream should come here.
    #[inline]
    pub(super) fn record(&mut self, stream: u32, seq: u64) -> bool {
        self.received += 1;
        self.expected.record(stream, seq)
    }

    /// Adds the faults of all streams; `sent` tells how many messages a stream had.
    pub(super) fn settle(&self, sent: impl Fn(u32) -> u64, tally: &mut Tally) {
        self.expected.settle(sent, tally);
    }
}
