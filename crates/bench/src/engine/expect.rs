//! What a receiver expects of each stream.

use std::collections::HashMap;

use super::verify::{OnceEach, Sequence, Tally};

/// Names a stream, one publisher's messages to one topic or routing key, by its place in the order of making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(pub u32);

/// The streams that are due at a receiver.
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

/// What has come of it.
#[derive(Debug)]
pub(crate) enum Expected {
    Range { first: u32, sequences: Vec<Sequence> },
    Set(HashMap<u32, Sequence>),
    OnceEach(OnceEach),
}

impl Expected {
    pub(crate) fn new(expect: &Expect) -> Self {
        match expect {
            Expect::Range { first, count } => {
                Expected::Range { first: first.0, sequences: vec![Sequence::default(); *count] }
            }
            Expect::Set(streams) => {
                Expected::Set(streams.iter().map(|stream| (stream.0, Sequence::default())).collect())
            }
            Expect::OnceEach { count } => Expected::OnceEach(OnceEach::new(*count)),
        }
    }

    /// Records a delivery; false when nothing of that stream should come here.
    #[inline]
    pub(crate) fn record(&mut self, stream: u32, seq: u64) -> bool {
        let sequence = match self {
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
    pub(crate) fn settle(&self, sent: impl Fn(u32) -> u64, tally: &mut Tally) {
        match self {
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
