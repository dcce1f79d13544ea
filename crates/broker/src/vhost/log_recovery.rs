//! Virtual hosts from their log: the checkpoint first, then the records behind it, then a count of who holds which
//! message.
//!
//! No message is read: entries and retained values come back as places in the log.

use std::sync::Arc;

use tercet_log::engine::{Extent, PartReader};
use tercet_log::error::LogError;
use tercet_log::position::Position;
use tercet_log::record::Records;

use crate::body::Stored;
use crate::clock::Now;
use crate::effects::Effects;
use crate::journal::{LogJournal, Place};
use crate::record::checkpoint_record::CheckpointRecord;
use crate::record::{Decoded, RecordError, codec};
use crate::vhost::Vhost;
use crate::vhost::hosts_recovery::{HostsRecovery, MakeHost};
use crate::vhost::recovery::Contradiction;

/// What was found in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records of the checkpoint; 0 if there is none.
    pub images: u64,
    /// Batches read behind it.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their records, messages included.
    pub records: u64,
    /// Queue entries and retained values that hold a message.
    pub holders: u64,
    /// Bytes of the messages' records that are held.
    pub live_bytes: u64,
    /// Of the holders, those whose message is not in the log any more. None, unless it was damaged and repaired.
    pub missing: u64,
}

/// A virtual host cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The log cannot be read, or is damaged.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record cannot be taken over.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A record of the checkpoint cannot be taken over.
    #[error("the checkpoint cannot be used: {0}")]
    Image(RecordError),
    /// The checkpoint's records do not fit together.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// The checkpoint has no end.
    #[error("the checkpoint is incomplete")]
    Incomplete,
}

impl Vhost {
    /// Rebuilds the state from the journal's log and makes the holders of messages known to the journal. The virtual host
    /// must be new, and have this journal. Blocks on the disk; to be called before anything is committed. For a virtual host
    /// that is the only one; else [`crate::hosts::Hosts::recover`].
    ///
    /// # Errors
    /// See [`RecoveryError`]. The virtual host is of no use then.
    pub fn recover_from(&self, journal: &LogJournal, now: Now) -> Result<Recovered, RecoveryError> {
        let effects = &mut Effects::default();
        recover(self, &mut |_, _| None, journal, now, effects).map(|(found, ..)| found)
    }
}

/// Rebuilds all virtual hosts: the given one, which always exists, and those that are made by `make`, which are returned with
/// the number that the next one gets.
pub(crate) fn recover(
    default: &Vhost,
    make: &mut MakeHost<'_>,
    journal: &LogJournal,
    now: Now,
    effects: &mut Effects,
) -> Result<(Recovered, Vec<Arc<Vhost>>, u64), RecoveryError> {
    let log = journal.group_commit().log();
    let mut recovery = HostsRecovery::new(default, make);
    let mut found = Recovered::default();
    let from = match log.checkpoint()? {
        Some(mut checkpoint) => {
            found.images = load(&mut recovery, &mut *checkpoint.parts)?;
            checkpoint.replay_from
        }
        None => Position::NONE,
    };
    let mut batches = log.read(from)?;
    while let Some((position, payload)) = batches.next()? {
        found.batches += 1;
        found.bytes += payload.len() as u64;
        found.records += replay(&mut recovery, position, payload)?;
    }
    drop(batches);
    let mut count = HolderCount::new(log.extents());
    recovery.for_each_holder(|stored| count.add(stored));
    count.finish(journal, &mut found);
    let next = recovery.next_host();
    let hosts = recovery.finish(now, effects);
    Ok((found, hosts, next))
}

/// Loads the images of a checkpoint; returns their number.
fn load(recovery: &mut HostsRecovery<'_>, parts: &mut dyn PartReader) -> Result<u64, RecoveryError> {
    let mut images = 0;
    let mut ended = false;
    while let Some(payload) = parts.next()? {
        for raw in Records::new(payload) {
            let place = |offset| Place { batch: Position::NONE, offset };
            let raw =
                raw.map_err(|bad| RecoveryError::Image(RecordError::NoRecord { place: place(bad.offset) }))?;
            let (host, image) = CheckpointRecord::read(&raw).map_err(RecoveryError::Image)?;
            ended = matches!(image, CheckpointRecord::End(before) if before == images);
            images += 1;
            recovery.load(host, image)?;
        }
    }
    if ended { Ok(images) } else { Err(RecoveryError::Incomplete) }
}

/// Applies the records of a batch; returns their number.
///
/// # Errors
/// One of them cannot be taken over. Those before it were applied.
fn replay(recovery: &mut HostsRecovery<'_>, batch: Position, payload: &[u8]) -> Result<u64, RecoveryError> {
    let mut records = 0;
    for raw in Records::new(payload) {
        let raw = raw.map_err(|bad| RecordError::NoRecord { place: Place { batch, offset: bad.offset } })?;
        records += 1;
        match codec::read(&raw, batch)? {
            Decoded::Change(host, record) => {
                recovery.apply_at(host, record, Place { batch, offset: raw.offset })?;
            }
            Decoded::Message(host, publisher) => recovery.note_publisher(host, publisher),
            Decoded::Skipped => {}
        }
    }
    Ok(records)
}

/// Counts holders of messages, and the bytes of each extent that are held.
struct HolderCount {
    extents: Vec<Extent>,
    bytes: Vec<u64>,
    /// Index of the extent that was found last: neighbours in a queue are neighbours in the log.
    last: usize,
    shared: Vec<Stored>,
    holders: u64,
    missing: u64,
}

impl HolderCount {
    fn new(extents: Vec<Extent>) -> Self {
        let bytes = vec![0; extents.len()];
        Self { extents, bytes, last: 0, shared: Vec::new(), holders: 0, missing: 0 }
    }

    fn add(&mut self, stored: Stored) {
        self.holders += 1;
        if stored.shared {
            self.shared.push(stored);
        } else {
            self.add_bytes(&stored);
        }
    }

    fn add_bytes(&mut self, stored: &Stored) {
        let batch = stored.place().batch;
        let within = |extent: &Extent| extent.first <= batch && batch < extent.end;
        if !self.extents.get(self.last).is_some_and(within) {
            self.last = self.extents.partition_point(|extent| extent.end <= batch);
        }
        let found = self.extents.get(self.last).is_some_and(within);
        match self.bytes.get_mut(self.last).filter(|_| found) {
            Some(bytes) => *bytes += u64::from(stored.len),
            None => self.missing += 1,
        }
    }

    fn finish(mut self, journal: &LogJournal, found: &mut Recovered) {
        let mut shared = std::mem::take(&mut self.shared);
        shared.sort_unstable_by_key(Stored::place);
        for same in shared.chunk_by(|a, b| a.place() == b.place()) {
            let Some(stored) = same.first() else { continue };
            self.add_bytes(stored);
            journal.adopt_shared(stored, u32::try_from(same.len()).unwrap_or(u32::MAX));
        }
        for (extent, bytes) in self.extents.iter().zip(&self.bytes) {
            journal.adopt_bytes(extent.first, *bytes);
            found.live_bytes += bytes;
        }
        found.holders = self.holders;
        found.missing = self.missing;
    }
}
