//! What a subscriber expects, and how it answers.

use std::collections::HashMap;

use super::load::StreamId;
use crate::engine::{OnceEach, Sequence, Tally};

/// The streams that a subscriber's filters match.
#[derive(Debug, Clone)]
pub enum Expect {
    /// The streams `first..first + count`, each complete and in order.
    Range {
        /// First stream.
        first: StreamId,
        /// Number of streams.
        count: usize,
    },
    /// These streams, each complete and in order.
    Set(Vec<StreamId>),
    /// `count` messages of any stream, each once, in any order.
    OnceEach {
        /// How many messages.
        count: usize,
    },
}

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

#[derive(Debug)]
enum Expected {
    Range { first: u32, sequences: Vec<Sequence> },
    Set(HashMap<u32, Sequence>),
    OnceEach(OnceEach),
}

impl Receiver {
    pub(super) fn new(expect: &Expect) -> Self {
        let expected = match expect {
            Expect::Range { first, count } => {
                Expected::Range { first: first.0, sequences: vec![Sequence::default(); *count] }
            }
            Expect::Set(streams) => {
                Expected::Set(streams.iter().map(|stream| (stream.0, Sequence::default())).collect())
            }
            Expect::OnceEach { count } => Expected::OnceEach(OnceEach::new(*count)),
        };
        Receiver { expected, received: 0, dups: 0, acknowledges: true }
    }

    /// Records a delivery; false when nothing of that stream should come here.
    #[inline]
    pub(super) fn record(&mut self, stream: u32, seq: u64) -> bool {
        self.received += 1;
        let sequence = match &mut self.expected {
            Expected::Range { first, sequences } => sequences.get_mut(stream.wrapping_sub(*first) as usize),
            Expected::Set(sequences) => sequences.get_mut(&stream),
            Expected::OnceEach(once) => {
                once.record(seq);
                return true;
            }
        };
        match sequence {
            Some(sequence) => {
                sequence.record(seq);
                true
            }
            None => false,
        }
    }

    /// Adds the faults of all streams; `sent` tells how many messages a stream had.
    pub(super) fn settle(&self, sent: impl Fn(u32) -> u64, tally: &mut Tally) {
        match &self.expected {
            Expected::Range { first, sequences } => {
                for (stream, sequence) in (*first..).zip(sequences) {
                    sequence.settle(sent(stream), tally);
                }
            }
            Expected::Set(sequences) => {
                for (stream, sequence) in sequences {
                    sequence.settle(sent(*stream), tally);
                }
            }
            Expected::OnceEach(once) => once.settle(tally),
        }
    }
}
