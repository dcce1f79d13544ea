//! Batches to append, and comparisons of what is read with what was appended.

use crate::batch::Batch;
use crate::engine::{Claim, ShardLog};
use crate::position::Position;
use crate::sim::Chance;

/// Batches confirmed by a log, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Appended(pub(super) Vec<(Position, Vec<u8>)>);

/// A batch of so many random bytes.
pub(super) fn batch(payload: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.out().extend_from_slice(payload);
    batch
}

impl Appended {
    /// Appends a batch of `length` bytes that no other one has, and checks all that can be said of that alone.
    pub(super) fn append(&mut self, log: &dyn ShardLog, claim: &mut Claim, length: usize) -> Position {
        let payload = Chance::new(claim.next.number() ^ claim.epoch << 48).bytes(length);
        let mut batch = batch(&payload);
        let (expected, number) = (claim.next, claim.last_number);
        let position = log.append(claim, &mut batch).expect("the batch is taken");
        assert_eq!(position, expected, "a batch goes where the claim said");
        assert_eq!(batch.payload(), payload, "the batch comes back unchanged");
        assert_eq!(
            claim.next,
            log.position_after(position, length),
            "position_after foretold the next position"
        );
        assert!(claim.next > position, "positions grow");
        assert_eq!(claim.last_number, number + 1, "batches are numbered without a gap");
        self.0.push((position, payload));
        position
    }

    /// Reads from `from` on and expects exactly the batches from there on.
    pub(super) fn expect_from(&self, log: &dyn ShardLog, from: Position) {
        let mut reader = log.read(from).expect("readable from there");
        let mut expected = self.0.iter().filter(|(position, _)| *position >= from);
        while let Some((position, payload)) = reader.next().expect("readable to the end") {
            let Some((at, bytes)) = expected.next() else {
                unreachable!("{position} was never appended, or not confirmed")
            };
            assert_eq!(position, *at, "batches come in order");
            assert!(payload == bytes.as_slice(), "the batch at {position} is unchanged");
        }
        assert_eq!(expected.next().map(|(position, _)| *position), None, "all that was confirmed is there");
        drop(reader);
    }

    /// Expects exactly these batches in the whole log, each of them also readable in part.
    pub(super) fn expect(&self, log: &dyn ShardLog) {
        self.expect_from(log, Position::NONE);
        for (position, payload) in &self.0 {
            let mut bytes = b"before".to_vec();
            log.get(*position, 0, payload.len(), &mut bytes).expect("readable");
            assert!(bytes.strip_prefix(b"before") == Some(payload.as_slice()), "{position} is unchanged");
        }
    }
}

/// Reads a checkpoint: where to go on, and its parts.
pub(super) fn read_checkpoint(log: &dyn ShardLog) -> Option<(Position, Vec<Vec<u8>>)> {
    let mut checkpoint = log.checkpoint().expect("readable")?;
    let mut parts = Vec::new();
    while let Some(part) = checkpoint.parts.next().expect("readable") {
        parts.push(part.to_vec());
    }
    Some((checkpoint.replay_from, parts))
}

/// Puts a checkpoint in force.
pub(super) fn write_checkpoint(log: &dyn ShardLog, parts: &[Vec<u8>], replay_from: Position) {
    let mut writer = log.begin_checkpoint().expect("begun");
    for part in parts {
        writer.write(&mut batch(part)).expect("written");
    }
    writer.commit(replay_from).expect("in force");
}
