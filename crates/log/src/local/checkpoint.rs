//! The checkpoint: where recovery begins.
//!
//! A file like a segment, of header page and batches: one for each part, numbered from 1, and a last one, of the epoch
//! [`COMMIT`], that states the number of parts and the position from which the log is to be read. It is written under
//! another name and renamed when it is whole and synced, so there is always one whole checkpoint, or none.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::chain::{BODY, ChainReader, Found};
use super::log::Shared;
use super::metrics::Counters;
use super::page::{NotAPage, PAGE, Page, PageKind};
use super::segment::{create, error};
use crate::batch::{BATCH_HEADER, Batch};
use crate::disk::{Disk, File};
use crate::engine::{Checkpoint, CheckpointWriter, PartReader};
use crate::error::{Damage, LogError};
use crate::position::Position;

pub(crate) const CHECKPOINT: &str = "checkpoint";
const UNFINISHED: &str = "checkpoint.tmp";
/// The epoch of the last batch.
pub(crate) const COMMIT: u64 = u64::MAX;
/// Bytes of the last batch: header, number of parts, position.
const COMMIT_BYTES: u64 = BATCH_HEADER as u64 + 16;
/// So much is written at most before it is synced, so that the commit of a batch never has to wait for all of it.
const PIECE: u64 = 4 << 20;

/// Begins a checkpoint.
pub(crate) fn begin(shared: &Shared) -> Result<Box<dyn CheckpointWriter + '_>, LogError> {
    let path = shared.dir.join(UNFINISHED);
    if std::mem::replace(&mut *shared.checkpointing.lock(), true) {
        let source = io::Error::other("another checkpoint is being written");
        return Err(error("create", &path, source));
    }
    let mut salt = [0; 8];
    let created = getrandom::fill(&mut salt).map_err(io::Error::other).and_then(|()| {
        let file = create(&*shared.disk, &path)?;
        let page = Page {
            kind: PageKind::Checkpoint,
            shard: shared.shard,
            first: Position::NONE,
            before: 0,
            epoch: 0,
            salt: u64::from_le_bytes(salt),
            without_sync: false,
        };
        file.write_at(&page.encode(), 0)?;
        Ok((file, page.salt))
    });
    match created {
        Ok((file, salt)) => {
            Ok(Box::new(Writing { shared, file, path, salt, at: BODY, number: 0, synced: BODY }))
        }
        Err(source) => {
            let _ = shared.disk.remove(&path);
            *shared.checkpointing.lock() = false;
            Err(error("create", &path, source))
        }
    }
}

struct Writing<'a> {
    shared: &'a Shared,
    file: Arc<dyn File>,
    path: PathBuf,
    salt: u64,
    at: u64,
    number: u64,
    synced: u64,
}

impl Writing<'_> {
    fn put(&mut self, batch: &mut Batch, epoch: u64) -> Result<(), LogError> {
        let bytes = batch.seal(epoch, self.number + 1, self.number, self.salt);
        let end = self.at + bytes.len() as u64;
        let mut done = self.file.write_at(bytes, self.at);
        if end - self.synced >= PIECE {
            done = done.and_then(|()| self.file.sync());
            self.synced = end;
        }
        done.map_err(|source| error("write", &self.path, source))?;
        Counters::add(&self.shared.counters.other_bytes, end - self.at);
        self.number += 1;
        self.at = end.next_multiple_of(8);
        Ok(())
    }
}

impl CheckpointWriter for Writing<'_> {
    fn write(&mut self, part: &mut Batch) -> Result<(), LogError> {
        self.put(part, 0)
    }

    fn commit(mut self: Box<Self>, replay_from: Position) -> Result<(), LogError> {
        let mut batch = Batch::default();
        batch.out().extend_from_slice(&self.number.to_le_bytes());
        batch.out().extend_from_slice(&replay_from.number().to_le_bytes());
        self.put(&mut batch, COMMIT)?;
        self.file.sync().map_err(|source| error("sync", &self.path, source))?;
        self.shared.sync_all()?;
        let _copying = self.shared.hold()?;
        let (disk, dir) = (&self.shared.disk, &self.shared.dir);
        let path = dir.join(CHECKPOINT);
        disk.rename(&self.path, &path).map_err(|source| error("rename", &self.path, source))?;
        disk.sync_dir(dir).map_err(|source| error("sync", dir, source))?;
        self.shared.counters.checkpoints.fetch_add(1, Relaxed);
        Ok(())
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        // After a commit it has another name.
        let _ = self.shared.disk.remove(&self.path);
        *self.shared.checkpointing.lock() = false;
    }
}

#[derive(Debug)]
struct Commit {
    parts: u64,
    replay_from: Position,
}

/// A checkpoint whose beginning and end are as they were written.
#[derive(Debug)]
pub(crate) struct Committed {
    path: PathBuf,
    file: Arc<dyn File>,
    salt: u64,
    commit_at: u64,
    commit: Commit,
}

impl Committed {
    /// Where the log is to be read from.
    pub(crate) fn replay_from(&self) -> Position {
        self.commit.replay_from
    }

    pub(crate) fn parts(&self) -> u64 {
        self.commit.parts
    }

    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.commit_at + COMMIT_BYTES
    }

    pub(crate) fn read(self) -> Checkpoint<'static> {
        let reader = ChainReader::new(self.file, self.salt, BODY, self.commit_at);
        let Commit { parts, replay_from } = self.commit;
        let parts = Parts { path: self.path, reader: Some(reader), left: parts, number: 0, replay_from };
        Checkpoint { replay_from, parts: Box::new(parts) }
    }
}

/// The checkpoint in force in the directory of a log.
pub(crate) fn find(disk: &dyn Disk, dir: &Path, shard: u32) -> Result<Option<Committed>, LogError> {
    let path = dir.join(CHECKPOINT);
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(error("open", &path, source)),
    };
    let failed = |source| error("read", &path, source);
    let mut page = vec![0; PAGE as usize];
    let read = file.read_at(&mut page, 0).map_err(failed)?;
    page.truncate(read);
    let page = match Page::decode(PageKind::Checkpoint, &page) {
        Ok(page) if page.shard == shard => page,
        Ok(_) => return Err(damage(path, 0, Position::NONE, NotAPage::Misplaced.to_string()).into()),
        Err(NotAPage::Newer(found)) => {
            return Err(LogError::NewerFormat { path, found, supported: super::page::FORMAT });
        }
        Err(reason) => return Err(damage(path, 0, Position::NONE, reason.to_string()).into()),
    };
    let len = file.len().map_err(failed)?;
    let commit_at = len.saturating_sub(COMMIT_BYTES).max(BODY);
    let mut reader = ChainReader::new(Arc::clone(&file), page.salt, commit_at, len);
    let commit = match reader.next().map_err(failed)? {
        Found::Batch(header, range) if header.epoch == COMMIT => Commit::decode(reader.bytes(&range)),
        _ => None,
    };
    match commit {
        Some(commit) => Ok(Some(Committed { path, file, salt: page.salt, commit_at, commit })),
        None => {
            Err(damage(path, commit_at, Position::NONE, "its end is not as it was written".into()).into())
        }
    }
}

impl Commit {
    fn decode(payload: &[u8]) -> Option<Self> {
        let (parts, rest) = payload.split_first_chunk()?;
        let replay_from = Position::new(u64::from_le_bytes(*rest.first_chunk()?));
        Some(Self { parts: u64::from_le_bytes(*parts), replay_from })
    }
}

struct Parts {
    path: PathBuf,
    reader: Option<ChainReader>,
    left: u64,
    number: u64,
    replay_from: Position,
}

impl PartReader for Parts {
    fn next(&mut self) -> Result<Option<&[u8]>, LogError> {
        let Some(reader) = self.reader.as_mut().filter(|_| self.left > 0) else { return Ok(None) };
        let at = reader.at();
        let reason = match reader.next() {
            Ok(Found::Batch(header, range)) if header.previous == self.number => {
                (self.number, self.left) = (header.number, self.left - 1);
                return Ok(self.reader.as_ref().map(|reader| reader.bytes(&range)));
            }
            Ok(Found::Batch(..) | Found::Limit) => "a part is missing".into(),
            Ok(Found::Broken(reason)) => reason.to_string(),
            Err(source) => {
                self.reader = None;
                return Err(error("read", &self.path, source));
            }
        };
        self.reader = None;
        Err(damage(self.path.clone(), at, self.replay_from, reason).into())
    }
}

fn damage(path: PathBuf, offset: u64, position: Position, reason: String) -> Damage {
    let affected = "the state of the broker before the log that is left cannot be read".into();
    Damage { path, offset, position, reason, affected }
}
