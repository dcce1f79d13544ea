//! [`LocalLog`]: a shard's log in one directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};

use super::checkpoint;
use super::metrics::{Counters, LogMetrics};
use super::scan::{Scan, Tail, nothing_at};
use super::segment::{FIRST_POSITION, OpenFiles, SegmentList, error, find, position_after};
use super::space::{self, Space};
use super::writer::Writer;
use crate::batch::{BATCH_HEADER, Batch};
use crate::disk::Disk;
use crate::engine::{BatchReader, Batches, Checkpoint, CheckpointWriter, Claim, Extent, Resolved, ShardLog};
use crate::error::{AppendError, LogError};
use crate::position::Position;

/// What has to happen to a batch before it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// It is synced: it survives a power cut.
    #[default]
    Fsync,
    /// It is written: it survives the end of the process, however that comes about, but not that of the system.
    Os,
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LocalOptions {
    /// What a confirmed batch survives.
    pub durability: Durability,
    /// Bytes of the first segment, its header page of 4,096 bytes included; each one after it has twice as many, up to `largest`. A batch that does
    /// not fit gets a segment of its own size.
    pub smallest: u64,
    /// Bytes of the largest segments.
    pub largest: u64,
    /// Whether a thread prepares the next segment. Without it [`LocalLog`] does everything in the caller's thread, in
    /// an order that depends on the calls alone.
    pub background: bool,
    /// Asked before space is given back or a checkpoint replaced.
    pub hold: Option<Arc<dyn Hold>>,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            smallest: 1 << 20,
            largest: 64 << 20,
            background: true,
            hold: None,
        }
    }
}

/// Somebody who copies the files of a log and has to find them all in place.
pub trait Hold: Send + Sync + fmt::Debug {
    /// Keeps copying from beginning until the guard is dropped; `None` while somebody is copying.
    ///
    /// # Errors
    /// It cannot be found out.
    fn enter(&self) -> io::Result<Option<Box<dyn Send>>>;
}

/// A shard's log in one directory. One process at a time may have it open: [`super::DataDirectory`] sees to that.
#[derive(Debug)]
pub struct LocalLog {
    pub(crate) shared: Arc<Shared>,
    preparer: Option<JoinHandle<()>>,
}

/// What the log and its thread have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) shard: u32,
    pub(crate) options: LocalOptions,
    pub(crate) segments: RwLock<SegmentList>,
    pub(crate) files: OpenFiles,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) space: Space,
    pub(crate) counters: Counters,
    /// The end as the last scan found it; none before, and none once the log is claimed.
    tail: Mutex<Option<Tail>>,
    pub(crate) checkpointing: Mutex<bool>,
}

impl LocalLog {
    /// Opens the log in the directory `dir` of `disk`, or begins one.
    ///
    /// # Errors
    /// The directory cannot be read, or a segment was written by a later version.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        shard: u32,
        options: LocalOptions,
    ) -> Result<Self, LogError> {
        disk.create_dir(dir).map_err(|source| error("create", dir, source))?;
        let parent = dir.parent().unwrap_or(Path::new(""));
        disk.sync_dir(parent).map_err(|source| error("sync", parent, source))?;
        // What a process has named that was killed before it could sync: a checkpoint is acted upon as soon as it is seen.
        disk.sync_dir(dir).map_err(|source| error("sync", dir, source))?;
        remove_unfinished(&*disk, dir)?;
        let (list, spare) = find(&*disk, dir, shard)?;
        let space = Space::new(&options, list.last().map(|last| last.len), spare);
        let shared = Arc::new(Shared {
            disk,
            dir: dir.to_path_buf(),
            shard,
            segments: RwLock::new(SegmentList { list, end: None }),
            files: OpenFiles::default(),
            writer: Mutex::new(Writer::default()),
            space,
            counters: Counters::default(),
            tail: Mutex::new(None),
            checkpointing: Mutex::new(false),
            options,
        });
        let preparer = shared.options.background.then(|| space::spawn(&shared)).transpose();
        let preparer = preparer.map_err(|source| error("start the thread of", dir, source))?;
        Ok(Self { shared, preparer })
    }

    /// Makes durable what was appended without syncing ([`Durability::Os`]): for an orderly end. Otherwise there is
    /// nothing to do.
    ///
    /// # Errors
    /// It cannot be synced.
    pub fn sync(&self) -> Result<(), LogError> {
        self.shared.sync_all()
    }

    /// What the log has done since it was opened.
    #[must_use]
    pub fn metrics(&self) -> LogMetrics {
        let segments = self.shared.segments.read();
        let bytes: u64 = segments.list.iter().map(|segment| segment.len).sum();
        LogMetrics {
            segments: segments.list.len() as u64,
            disk_bytes: bytes + self.shared.space.spare_bytes(),
            ..self.shared.counters.snapshot()
        }
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.shared.space.stop();
        if let Some(preparer) = self.preparer.take() {
            // A panic there has been reported by the thread itself.
            let _ = preparer.join();
        }
    }
}

fn remove_unfinished(disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
    let names = disk.list(dir).map_err(|source| error("list", dir, source))?;
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        let path = dir.join(name);
        disk.remove(&path).map_err(|source| error("remove", &path, source))?;
    }
    Ok(())
}

impl ShardLog for LocalLog {
    fn claim(&self) -> Result<Claim, LogError> {
        self.shared.claim()
    }

    fn position_after(&self, at: Position, payload: usize) -> Position {
        position_after(at, payload)
    }

    fn append(&self, claim: &mut Claim, batch: &mut Batch) -> Result<Position, AppendError> {
        self.shared.append(claim, batch)
    }

    fn resolve(&self, claim: &mut Claim, batch: &mut Batch) -> Result<Resolved, AppendError> {
        self.shared.resolve(claim, batch)
    }

    fn room(&self) -> u64 {
        self.shared.space.room()
    }

    fn read(&self, from: Position) -> Result<Batches<'_>, LogError> {
        let scan = self.shared.scan(from)?;
        Ok(Box::new(LogReader { shared: &self.shared, scan: Some(scan) }))
    }

    fn get(&self, batch: Position, offset: u32, length: usize, into: &mut Vec<u8>) -> Result<(), LogError> {
        self.shared.get(batch, offset, length, into)
    }

    fn extents(&self) -> Vec<Extent> {
        self.shared.segments.read().extents()
    }

    fn trim(&self, extents: &[Position]) -> Result<(), LogError> {
        self.shared.trim(extents)
    }

    fn begin_checkpoint(&self) -> Result<Box<dyn CheckpointWriter + '_>, LogError> {
        checkpoint::begin(&self.shared)
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint<'_>>, LogError> {
        let shared = &self.shared;
        let committed = checkpoint::find(&*shared.disk, &shared.dir, shared.shard)?;
        Ok(committed.map(|committed| committed.read()))
    }
}

impl Shared {
    /// The end of the log, found by reading it if nobody has yet.
    pub(crate) fn tail(&self) -> Result<Tail, LogError> {
        if let Some(tail) = *self.tail.lock() {
            return Ok(tail);
        }
        let committed = checkpoint::find(&*self.disk, &self.dir, self.shard)?;
        let from = committed.map_or(Position::NONE, |committed| committed.replay_from());
        let mut scan = self.scan(from)?;
        while scan.step()?.is_some() {}
        // Without a segment there is nothing to scan.
        let fresh = Tail { at: FIRST_POSITION, last: None, number: 0, epoch: 0, leftovers: false };
        Ok(scan.tail().unwrap_or(fresh))
    }

    /// Forgets the end as a scan has found it, as it moves from now on.
    pub(crate) fn claimed(&self) {
        *self.tail.lock() = None;
    }

    fn scan(&self, from: Position) -> Result<Scan, LogError> {
        Scan::of(&self.disk, &self.dir, &self.segments.read(), from)
    }

    fn get(&self, batch: Position, offset: u32, length: usize, into: &mut Vec<u8>) -> Result<(), LogError> {
        let (segment, end) = {
            let segments = self.segments.read();
            let index = segments.index_of(batch).ok_or_else(|| nothing_at(&self.dir, batch))?;
            let segment = segments.list.get(index).ok_or_else(|| nothing_at(&self.dir, batch))?;
            (Arc::clone(segment), segments.end_of(index))
        };
        let skipped = BATCH_HEADER as u64 + u64::from(offset);
        if batch.number().saturating_add(skipped).saturating_add(length as u64) > end.number() {
            return Err(nothing_at(&self.dir, batch).into());
        }
        let start = into.len();
        into.resize(start + length, 0);
        let read = self.files.open(&*self.disk, &segment.path).and_then(|file| {
            file.read_at(into.get_mut(start..).unwrap_or_default(), segment.offset(batch) + skipped)
        });
        let outcome = match read {
            Ok(read) if read == length => return Ok(()),
            Ok(_) => error("read", &segment.path, io::ErrorKind::UnexpectedEof.into()),
            Err(source) => error("read", &segment.path, source),
        };
        into.truncate(start);
        Err(outcome)
    }

    fn trim(&self, extents: &[Position]) -> Result<(), LogError> {
        let _copying = self.hold()?;
        let dead = {
            let mut segments = self.segments.write();
            let last = segments.list.last().map(|last| last.first);
            let is_dead = |first| extents.contains(&first) && Some(first) != last;
            let dead: Vec<_> =
                segments.list.iter().filter(|segment| is_dead(segment.first)).cloned().collect();
            segments.list.retain(|segment| !is_dead(segment.first));
            if let ([only], false) = (&segments.list[..], dead.is_empty()) {
                self.space.shrink(&self.options, only.len);
            }
            dead
        };
        let mut failed = None;
        for segment in dead {
            self.files.forget(&segment.path);
            if let Err(error) = self.give_back(&segment) {
                let mut segments = self.segments.write();
                let at = segments.list.partition_point(|other| other.first < segment.first);
                segments.list.insert(at, segment);
                failed.get_or_insert(error);
            }
        }
        self.drop_oversized_spare();
        failed.map_or(Ok(()), Err)
    }

    /// Keeps a backup from beginning while files go away.
    pub(crate) fn hold(&self) -> Result<Option<Box<dyn Send>>, LogError> {
        let Some(hold) = &self.options.hold else { return Ok(None) };
        match hold.enter() {
            Ok(Some(guard)) => Ok(Some(guard)),
            Ok(None) => Err(LogError::BackupRunning { path: self.dir.clone() }),
            Err(source) => Err(error("lock", &self.dir, source)),
        }
    }
}

struct LogReader<'a> {
    shared: &'a Shared,
    scan: Option<Scan>,
}

impl BatchReader for LogReader<'_> {
    fn next(&mut self) -> Result<Option<(Position, &[u8])>, LogError> {
        let Some(scan) = &mut self.scan else { return Ok(None) };
        match scan.step() {
            Ok(Some(position)) => {
                Ok(Some((position, self.scan.as_ref().map(Scan::payload).unwrap_or_default())))
            }
            Ok(None) => {
                let tail = scan.tail();
                if tail.is_some() && self.shared.segments.read().end.is_none() {
                    *self.shared.tail.lock() = tail;
                }
                self.scan = None;
                Ok(None)
            }
            Err(error) => {
                self.scan = None;
                Err(error)
            }
        }
    }
}
