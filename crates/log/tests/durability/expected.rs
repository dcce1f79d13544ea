//! What a log has to hold, by what it has confirmed.

use std::sync::Arc;

use tercet_log::batch::Batch;
use tercet_log::engine::{Claim, ShardLog};
use tercet_log::error::LogError;
use tercet_log::position::Position;

/// A batch and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) position: Position,
    pub(crate) payload: Arc<[u8]>,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) replay_from: Position,
    pub(crate) parts: Vec<Vec<u8>>,
}

/// What is confirmed, and what may be there.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Confirmed, in order.
    pub(crate) batches: Vec<Entry>,
    /// How many of them a power cut leaves in any case.
    pub(crate) durable: usize,
    /// Appended without an answer.
    pub(crate) unsure: Option<Entry>,
    /// The checkpoints that may be in force.
    pub(crate) checkpoints: Vec<Option<Saved>>,
    /// Where the space was given back, or may have been.
    pub(crate) trimmed: Vec<(Position, Position)>,
    /// The end, if nothing is unsure.
    pub(crate) next: Position,
    pub(crate) epoch: u64,
}

/// What ended the log before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Process,
    Power,
}

pub(crate) fn batch(payload: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.out().extend_from_slice(payload);
    batch
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            durable: 0,
            unsure: None,
            checkpoints: vec![None],
            trimmed: Vec::new(),
            next: Position::NONE,
            epoch: 0,
        }
    }
}

impl Expected {
    pub(crate) fn confirm(&mut self, entry: Entry, next: Position, durable: bool) {
        self.batches.push(entry);
        self.next = next;
        self.unsure = None;
        if durable {
            self.durable = self.batches.len();
        }
    }

    /// Where reading may begin in any case: before that, space can be given back.
    pub(crate) fn safe_from(&self) -> Position {
        let from = |saved: &Option<Saved>| saved.as_ref().map_or(Position::NONE, |saved| saved.replay_from);
        self.checkpoints.iter().map(from).min().unwrap_or_default()
    }

    /// The earliest place from which a new checkpoint may have the log read.
    pub(crate) fn latest_from(&self) -> Position {
        let from = |saved: &Option<Saved>| saved.as_ref().map_or(Position::NONE, |saved| saved.replay_from);
        self.checkpoints.iter().map(from).max().unwrap_or_default()
    }

    pub(crate) fn is_trimmed(&self, position: Position) -> bool {
        self.trimmed.iter().any(|(first, end)| (*first..*end).contains(&position))
    }

    /// Recovers a log that was just opened, as its owner would, and takes over what it says of what was unsure.
    pub(crate) fn recover(&mut self, log: &dyn ShardLog, end: End) -> Result<Claim, LogError> {
        self.recover_checkpoint(log)?;
        self.recover_batches(log, end)?;
        self.check_bodies(log)?;
        let claim = log.claim()?;
        assert!(claim.epoch > self.epoch, "epoch {} after {}", claim.epoch, self.epoch);
        if self.next != Position::NONE {
            assert_eq!(claim.next, self.next, "the log goes on behind its last batch");
        }
        (self.epoch, self.next) = (claim.epoch, claim.next);
        self.unsure = None;
        self.durable = self.batches.len();
        Ok(claim)
    }

    fn recover_checkpoint(&mut self, log: &dyn ShardLog) -> Result<(), LogError> {
        let found = read_checkpoint(log)?;
        assert!(
            self.checkpoints.contains(&found),
            "another checkpoint: {:?}",
            found.map(|saved| saved.replay_from)
        );
        self.checkpoints = vec![found];
        Ok(())
    }

    fn recover_batches(&mut self, log: &dyn ShardLog, end: End) -> Result<(), LogError> {
        let from = self.safe_from();
        let first =
            self.batches.iter().position(|entry| entry.position >= from).unwrap_or(self.batches.len());
        let mut count = first;
        let mut reader = log.read(from)?;
        while let Some((position, payload)) = reader.next()? {
            match (self.batches.get(count), self.unsure.take()) {
                (Some(entry), unsure) => {
                    assert_eq!(position, entry.position, "batches come in order");
                    assert!(*payload == *entry.payload, "{position} is unchanged");
                    self.unsure = unsure;
                }
                (None, Some(entry)) => {
                    assert_eq!(position, entry.position, "batches come in order");
                    assert!(*payload == *entry.payload, "{position} is as it was to be appended");
                    self.next = log.position_after(position, payload.len());
                    self.batches.push(entry);
                }
                (None, None) => {
                    unreachable!("{position} was never appended, or not there when last looked at")
                }
            }
            count += 1;
        }
        let least = if end == End::Power { self.durable } else { self.batches.len() };
        assert!(
            count >= least,
            "{count} batches are left, {} of them from {from} on, of {least}",
            count - first
        );
        if count < self.batches.len() {
            let lost = self.batches.drain(count..).next();
            self.next = lost.map_or(self.next, |lost| lost.position);
            self.unsure = None;
        }
        Ok(())
    }

    /// All that is not trimmed can be read in part, also what is before the checkpoint.
    pub(crate) fn check_bodies(&self, log: &dyn ShardLog) -> Result<(), LogError> {
        let mut bytes = Vec::new();
        for entry in self.batches.iter().filter(|entry| !self.is_trimmed(entry.position)) {
            bytes.clear();
            let skipped = entry.payload.len() / 3;
            log.get(entry.position, skipped as u32, entry.payload.len() - skipped, &mut bytes)?;
            assert!(bytes == entry.payload[skipped..], "{} is unchanged", entry.position);
        }
        Ok(())
    }
}

pub(crate) fn read_checkpoint(log: &dyn ShardLog) -> Result<Option<Saved>, LogError> {
    let Some(mut checkpoint) = log.checkpoint()? else { return Ok(None) };
    let mut parts = Vec::new();
    while let Some(part) = checkpoint.parts.next()? {
        parts.push(part.to_vec());
    }
    Ok(Some(Saved { replay_from: checkpoint.replay_from, parts }))
}

/// Writes a checkpoint and puts it in force.
pub(crate) fn write_checkpoint(log: &dyn ShardLog, saved: &Saved) -> Result<(), LogError> {
    let mut writer = log.begin_checkpoint()?;
    for part in &saved.parts {
        writer.write(&mut batch(part))?;
    }
    writer.commit(saved.replay_from)
}
