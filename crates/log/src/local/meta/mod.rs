//! Small metadata on the local engine: a shard of its own, all of it in memory.
//!
//! Every change is a batch of one record. When the log has grown to more than is worth reading again, a checkpoint of
//! all values takes its place. Leases are kept in memory alone, as they end with the process that could lose them.
//!
//! - [`record`]: the bytes.
//! - [`lease`]: keys that are held for a time.

mod lease;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use self::lease::{Held, LocalLease};
use self::record::Record;
use super::log::{LocalLog, LocalOptions};
use crate::batch::Batch;
use crate::disk::Disk;
use crate::engine::{CasError, Change, Claim, Lease, Meta, ShardLog, Versioned};
use crate::error::{AppendError, Damage, LogError};
use crate::position::Position;
use crate::record::Records;

/// The shard of metadata.
pub const META_SHARD: u32 = u32::MAX;
/// Its directory in the data directory.
pub const META_DIR: &str = "meta";
/// Bytes of log that are worth reading again, at least.
const WORTH_READING: u64 = 256 << 10;
/// Bytes of a part of a checkpoint, about.
const PART: usize = 64 << 10;

/// Small metadata of one machine.
#[derive(Debug)]
pub struct LocalMeta {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: LocalLog,
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    values: BTreeMap<String, Versioned>,
    leases: BTreeMap<String, Held>,
    /// Of the last change of any key.
    revision: u64,
    claim: Claim,
    /// It is not known what became of the last batch.
    unresolved: bool,
    /// Bytes of keys and values, and of log since the last checkpoint.
    bytes: u64,
    logged: u64,
    watchers: Vec<(String, Sender<Change>)>,
}

impl LocalMeta {
    /// Opens the metadata in the directory `dir` of `disk`, or begins it. Of `options` only durability and hold count: the log
    /// is kept small and without a thread.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: LocalOptions) -> Result<Self, LogError> {
        let options = LocalOptions { smallest: 64 << 10, largest: 1 << 20, background: false, ..options };
        let log = LocalLog::open(disk, dir, META_SHARD, options)?;
        let mut recovered = Recovered::default();
        let mut from = Position::NONE;
        if let Some(mut checkpoint) = log.checkpoint()? {
            from = checkpoint.replay_from;
            while let Some(part) = checkpoint.parts.next()? {
                recovered.apply(part).map_err(|reason| malformed(dir, from, reason))?;
            }
        }
        {
            let mut batches = log.read(from)?;
            while let Some((position, payload)) = batches.next()? {
                recovered.apply(payload).map_err(|reason| malformed(dir, position, reason))?;
                recovered.logged += payload.len() as u64;
            }
        }
        let claim = log.claim()?;
        let bytes = recovered.values.iter().map(|(key, value)| (key.len() + value.value.len()) as u64).sum();
        let Recovered { values, revision, logged } = recovered;
        let state = State {
            values,
            leases: BTreeMap::new(),
            revision,
            claim,
            unresolved: false,
            bytes,
            logged,
            watchers: Vec::new(),
        };
        Ok(Self { shared: Arc::new(Shared { log, dir: dir.to_path_buf(), state: Mutex::new(state) }) })
    }
}

#[derive(Default)]
struct Recovered {
    values: BTreeMap<String, Versioned>,
    revision: u64,
    logged: u64,
}

impl Recovered {
    fn apply(&mut self, payload: &[u8]) -> Result<(), String> {
        for raw in Records::new(payload) {
            let raw = raw.map_err(|error| error.to_string())?;
            let offset = raw.offset;
            let record = Record::decode(&raw).map_err(|error| format!("{error} at offset {offset}"))?;
            match record {
                Some(Record::Set { key, revision, value }) => {
                    self.revision = self.revision.max(revision);
                    self.values.insert(key.to_owned(), Versioned { revision, value: value.to_vec() });
                }
                Some(Record::Removed { key, revision }) => {
                    self.revision = self.revision.max(revision);
                    self.values.remove(key);
                }
                Some(Record::Revision(revision)) => self.revision = self.revision.max(revision),
                // Of a later version, and not to be understood necessarily.
                None => {}
            }
        }
        Ok(())
    }
}

fn malformed(dir: &Path, position: Position, reason: String) -> Damage {
    let affected = "users and definitions cannot be read".into();
    Damage { path: dir.to_path_buf(), offset: 0, position, reason, affected }
}

impl Meta for LocalMeta {
    fn get(&self, key: &str) -> Result<Option<Versioned>, LogError> {
        let state = self.shared.lock();
        let held = state.leases.get(key).map(|held| held.value.clone());
        Ok(held.or_else(|| state.values.get(key).cloned()))
    }

    fn compare_and_set(&self, key: &str, expected: u64, value: Option<&[u8]>) -> Result<u64, CasError> {
        let mut state = self.shared.lock();
        if let Some(held) = state.leases.get(key) {
            // It changes with its holder alone.
            return Err(CasError::Conflict(held.value.revision));
        }
        let current = state.values.get(key).map_or(0, |value| value.revision);
        if current != expected {
            return Err(CasError::Conflict(current));
        }
        let revision = state.revision + 1;
        let record = match value {
            Some(value) => Record::Set { key, revision, value },
            None => Record::Removed { key, revision },
        };
        self.shared.commit(&mut state, &record)?;
        state.set(key, revision, value);
        self.shared.checkpoint_if_due(&mut state);
        Ok(revision)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, Versioned)>, LogError> {
        let state = self.shared.lock();
        let mut found: BTreeMap<&String, &Versioned> = below(&state.values, prefix).collect();
        found.extend(below(&state.leases, prefix).map(|(key, held)| (key, &held.value)));
        Ok(found.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn watch(&self, prefix: &str) -> Receiver<Change> {
        let (sender, receiver) = mpsc::channel();
        self.shared.lock().watchers.push((prefix.to_owned(), sender));
        receiver
    }

    fn lease(&self, key: &str, value: &[u8], time: Duration) -> Result<Option<Box<dyn Lease>>, LogError> {
        let mut state = self.shared.lock();
        if state.leases.contains_key(key) || state.values.contains_key(key) {
            return Ok(None);
        }
        let revision = state.hold(key, value, Instant::now() + time);
        drop(state);
        Ok(Some(Box::new(LocalLease::new(&self.shared, key, revision, time))))
    }
}

fn below<'a, V>(map: &'a BTreeMap<String, V>, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a V)> {
    let from = (Bound::Included(prefix), Bound::Unbounded);
    map.range::<str, _>(from).take_while(move |(key, _)| key.starts_with(prefix))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.expire(Instant::now());
        state
    }

    fn commit(&self, state: &mut State, record: &Record<'_>) -> Result<(), LogError> {
        let mut batch = Batch::default();
        record.encode(batch.out());
        let appended = self.append(state, &mut batch);
        appended.map_err(|error| super::segment::error("append to", &self.dir, io::Error::other(error)))?;
        state.logged += batch.len() as u64;
        Ok(())
    }

    fn append(&self, state: &mut State, batch: &mut Batch) -> Result<(), AppendError> {
        // The second time in a new file, if the first one has failed.
        for last in [false, true] {
            if state.unresolved {
                // The engine begins a new file here, so that whatever was left of the last change is gone: it was
                // reported as failed.
                self.log.resolve(&mut state.claim, batch)?;
                state.unresolved = false;
            }
            match self.log.append(&mut state.claim, batch) {
                Ok(_) => break,
                Err(AppendError::Unknown(reason)) => {
                    state.unresolved = true;
                    if last {
                        return Err(AppendError::Unknown(reason));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn checkpoint_if_due(&self, state: &mut State) {
        if state.logged < WORTH_READING.max(4 * state.bytes) {
            return;
        }
        if let Err(error) = self.checkpoint(state) {
            // Nothing is lost by it: the log is longer than it needs to be.
            tracing::debug!(%error, "no checkpoint of the metadata for now");
        }
        // Also after a failure, so that not every change begins with one.
        state.logged = 0;
    }

    fn checkpoint(&self, state: &State) -> Result<(), LogError> {
        let mut writer = self.log.begin_checkpoint()?;
        let mut part = Batch::default();
        Record::Revision(state.revision).encode(part.out());
        for (key, Versioned { revision, value }) in &state.values {
            Record::Set { key, revision: *revision, value }.encode(part.out());
            if part.len() >= PART {
                writer.write(&mut part)?;
                part.clear(2 * PART);
            }
        }
        writer.write(&mut part)?;
        writer.commit(state.claim.next)?;
        let extents = self.log.extents();
        let dead: Vec<_> = extents
            .iter()
            .filter(|extent| extent.end <= state.claim.next)
            .map(|extent| extent.first)
            .collect();
        self.log.trim(&dead)
    }
}

impl State {
    fn set(&mut self, key: &str, revision: u64, value: Option<&[u8]>) {
        self.revision = revision;
        let size = |value: &Versioned| (key.len() + value.value.len()) as u64;
        let before = match value {
            Some(value) => {
                let value = Versioned { revision, value: value.to_vec() };
                self.bytes += size(&value);
                self.values.insert(key.to_owned(), value)
            }
            None => self.values.remove(key),
        };
        self.bytes -= before.as_ref().map_or(0, size);
        self.notify(key, revision, value);
    }

    fn notify(&mut self, key: &str, revision: u64, value: Option<&[u8]>) {
        self.watchers.retain(|(prefix, watcher)| {
            if !key.starts_with(prefix.as_str()) {
                return true;
            }
            let change = Change { key: key.to_owned(), revision, value: value.map(<[u8]>::to_vec) };
            watcher.send(change).is_ok()
        });
    }
}
