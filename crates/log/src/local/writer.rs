//! The path of a batch to the disk.
//!
//! One write and one sync per batch. A file whose write or sync has failed is left alone for ever, as nobody knows what
//! of it is on the disk: the log goes on in a new segment that begins with the batch that failed, and the old one ends
//! there. When space runs out nothing has happened, and the same batch can be tried again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::log::{Durability, Shared};
use super::metrics::Counters;
use super::page::{PAGE, Page, PageKind};
use super::scan::Tail;
use super::segment::{Segment, create, error, name, position_after};
use super::space::{NEXT, is_full};
use crate::batch::{BATCH_HEADER, Batch, BatchHeader};
use crate::disk::{Disk, File};
use crate::engine::{Claim, Resolved};
use crate::error::{AppendError, LogError};
use crate::position::Position;

/// Where the next batch goes.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    active: Option<Active>,
    /// The claim in force, 0 without one.
    epoch: u64,
    next: Position,
    number: u64,
    /// Whether the active file must not be written to any more.
    failed: bool,
    /// The last batch of the process before, until this one has claimed the log.
    inherited: Option<Inherited>,
}

/// The last batch that another process has written. That process may have ended before the batch was synced, or after
/// a sync had failed: then the system takes the batch for clean though it is not on the disk, and syncing the file again does
/// not help. So it is written again; all batches before it had been confirmed when it was written.
#[derive(Debug)]
struct Inherited {
    position: Position,
    /// As it is in the file.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Active {
    file: Arc<dyn File>,
    segment: Arc<Segment>,
    salt: u64,
    /// Number of the batch before the segment.
    before: u64,
}

/// There is no new segment.
enum NotBegun {
    /// For want of space; nothing has changed.
    Full(io::Error),
    Failed(io::Error),
}

impl From<io::Error> for NotBegun {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full(error) } else { Self::Failed(error) }
    }
}

impl NotBegun {
    fn into_inner(self) -> io::Error {
        match self {
            Self::Full(error) | Self::Failed(error) => error,
        }
    }
}

impl Shared {
    pub(crate) fn claim(&self) -> Result<Claim, LogError> {
        let mut writer = self.writer.lock();
        if writer.active.is_none() {
            self.take_over(&mut writer)?;
        }
        let epoch = writer.epoch + 1;
        let noted = match &writer.active {
            Some(active) if !writer.failed && self.written_like_now(active) => {
                note_claim(active, epoch, writer.inherited.as_ref(), writer.next)
            }
            _ => self
                .begin_segment(&mut writer, 0, epoch)
                .map_err(|source| error("begin a segment in", &self.dir, source.into_inner())),
        };
        writer.failed = noted.is_err();
        noted?;
        writer.inherited = None;
        writer.epoch = epoch;
        self.segments.write().end = Some(writer.next);
        self.claimed();
        self.note_use(&writer);
        Ok(Claim { epoch, next: writer.next, last_number: writer.number })
    }

    /// Goes on where the last process has ended.
    fn take_over(&self, writer: &mut Writer) -> Result<(), LogError> {
        let tail = self.tail()?;
        let last = self.segments.read().list.last().cloned();
        if let Some(last) = last {
            self.settle(&last, &tail)?;
        }
        (writer.next, writer.number, writer.epoch) = (tail.at, tail.number, tail.epoch);
        let Some(segment) = self.segments.read().list.last().cloned() else { return Ok(()) };
        let file = self.disk.open(&segment.path).map_err(|source| error("open", &segment.path, source))?;
        writer.inherited = match tail.last {
            // What was written without syncing has just been settled.
            Some(last) if !segment.page()?.without_sync => {
                Some(Inherited::read(&*file, &segment, last, tail.at)?)
            }
            _ => None,
        };
        let Page { salt, before, .. } = segment.page()?;
        writer.active = Some(Active { file, segment, salt, before });
        // Unsynced batches behind the end would come to light again behind what is appended now.
        writer.failed = tail.leftovers;
        Ok(())
    }

    /// Makes durable, or takes away, what was written without syncing.
    fn settle(&self, last: &Segment, tail: &Tail) -> Result<(), LogError> {
        let sync = |segment: &Segment| {
            let synced = self.disk.open(&segment.path).and_then(|file| file.sync());
            synced.map_err(|source| error("sync", &segment.path, source))
        };
        if tail.leftovers {
            self.cut(tail.at)?;
        } else if last.page()?.without_sync {
            let list = self.segments.read().list.clone();
            list.iter().rev().take(2).try_for_each(|segment| sync(segment))?;
        }
        Ok(())
    }

    /// Takes away all that is at `at` and behind it.
    fn cut(&self, at: Position) -> Result<(), LogError> {
        let mut segments = self.segments.write();
        while let Some(last) = segments.list.last().filter(|last| last.first > at).cloned() {
            self.disk.remove(&last.path).map_err(|source| error("remove", &last.path, source))?;
            segments.list.pop();
        }
        self.disk.sync_dir(&self.dir).map_err(|source| error("sync", &self.dir, source))?;
        let Some(last) = segments.list.last_mut() else { return Ok(()) };
        let len = last.offset(at);
        let cut = self.disk.open(&last.path).and_then(|file| {
            file.truncate(len)?;
            file.sync()
        });
        cut.map_err(|source| error("cut", &last.path, source))?;
        *last = Arc::new(last.cut(len));
        Ok(())
    }

    fn written_like_now(&self, active: &Active) -> bool {
        let without_sync = active.segment.page().is_ok_and(|page| page.without_sync);
        without_sync == (self.options.durability == Durability::Os)
    }

    pub(crate) fn append(&self, claim: &mut Claim, batch: &mut Batch) -> Result<Position, AppendError> {
        let mut writer = self.writer.lock();
        self.check(&writer, claim, batch)?;
        if writer.failed {
            return Err(AppendError::Unknown("an earlier failure is not resolved".into()));
        }
        let need = (BATCH_HEADER + batch.len()) as u64;
        if !writer.fits(need) {
            let epoch = writer.epoch;
            self.begin_segment(&mut writer, need, epoch)
                .map_err(|error| self.not_appended(&mut writer, error))?;
        }
        self.write(&mut writer, batch).map_err(|error| self.not_appended(&mut writer, error))?;
        let position = writer.next;
        writer.next = position_after(position, batch.len());
        writer.number += 1;
        (claim.next, claim.last_number) = (writer.next, writer.number);
        self.segments.write().end = Some(writer.next);
        Counters::add(&self.counters.batches, 1);
        Counters::add(&self.counters.bytes, need);
        self.note_use(&writer);
        Ok(position)
    }

    fn check(&self, writer: &Writer, claim: &Claim, batch: &Batch) -> Result<(), AppendError> {
        if claim.epoch != writer.epoch || claim.next != writer.next {
            return Err(AppendError::Fenced);
        }
        if u32::try_from(batch.len()).is_err() {
            return Err(AppendError::Full("a batch cannot be larger than 4 GiB".into()));
        }
        Ok(())
    }

    fn write(&self, writer: &mut Writer, batch: &mut Batch) -> Result<(), NotBegun> {
        let Some(active) = &writer.active else {
            return Err(NotBegun::Failed(io::ErrorKind::NotFound.into()));
        };
        let offset = active.segment.offset(writer.next);
        let bytes = batch.seal(writer.epoch, writer.number + 1, writer.number, active.salt);
        active.file.write_at(bytes, offset)?;
        if self.options.durability == Durability::Fsync {
            let begun = Instant::now();
            // Whatever the reason: after a failed sync nobody knows what is on the disk.
            active.file.sync().map_err(NotBegun::Failed)?;
            self.counters.synced(begun.elapsed());
        }
        Ok(())
    }

    fn not_appended(&self, writer: &mut Writer, error: NotBegun) -> AppendError {
        match error {
            NotBegun::Full(error) => {
                self.space.short(true);
                AppendError::Full(error.to_string())
            }
            NotBegun::Failed(error) => {
                Counters::add(&self.counters.failures, 1);
                writer.failed = true;
                AppendError::Unknown(error.to_string())
            }
        }
    }

    pub(crate) fn resolve(&self, claim: &mut Claim, batch: &mut Batch) -> Result<Resolved, AppendError> {
        let mut writer = self.writer.lock();
        self.check(&writer, claim, batch)?;
        if writer.failed {
            let need = (BATCH_HEADER + batch.len()) as u64;
            let epoch = writer.epoch;
            self.begin_segment(&mut writer, need, epoch)
                .map_err(|error| self.not_appended(&mut writer, error))?;
            self.note_use(&writer);
        }
        Ok(Resolved::NotThere)
    }

    /// Begins a new segment at the next position, for a batch of `need` bytes; or with the batch that was inherited.
    fn begin_segment(&self, writer: &mut Writer, need: u64, epoch: u64) -> Result<(), NotBegun> {
        let next = if writer.next == Position::NONE { super::FIRST_POSITION } else { writer.next };
        let inherited = writer.inherited.as_ref();
        let page = Page {
            kind: PageKind::Segment,
            shard: self.shard,
            first: inherited.map_or(next, |inherited| inherited.position),
            before: writer.number - u64::from(inherited.is_some()),
            epoch,
            salt: salt()?,
            without_sync: self.options.durability == Durability::Os,
        };
        let content = inherited.map(|inherited| inherited.sealed_for(&page)).unwrap_or_default();
        let (file, len) = self.next_file(need, &page, &content).inspect_err(|_| {
            // What is left of it is removed when the log is opened, if it cannot be now.
            let _ = self.disk.remove(&self.dir.join(NEXT));
        })?;
        let path = self.dir.join(name(page.first));
        // From here on nobody knows which name the file has after a crash.
        let named =
            self.disk.rename(&self.dir.join(NEXT), &path).and_then(|()| self.disk.sync_dir(&self.dir));
        named.map_err(NotBegun::Failed)?;
        Counters::add(&self.counters.other_bytes, PAGE);
        self.files.forget(&path);
        let segment = Arc::new(Segment::new(page, &self.dir, len));
        {
            let mut segments = self.segments.write();
            if writer.failed {
                segments.last_failed();
            }
            segments.push(Arc::clone(&segment));
        }
        self.space.begun(&self.options, len);
        let finished = writer.active.replace(Active { file, segment, salt: page.salt, before: page.before });
        writer.next = next;
        writer.inherited = None;
        if let Some(finished) = finished.filter(|_| page.without_sync && !writer.failed) {
            self.sync_finished(finished.file);
        }
        writer.failed = false;
        Ok(())
    }

    /// A file with this first page and this behind it, synced, with room for `need` bytes more; and its length.
    fn next_file(&self, need: u64, page: &Page, content: &[u8]) -> Result<(Arc<dyn File>, u64), NotBegun> {
        let need = (content.len() as u64).next_multiple_of(8) + need;
        let next = self.dir.join(NEXT);
        let (file, len) = match self.take_spare(need + PAGE) {
            Some(len) => {
                Counters::add(&self.counters.prepared, 1);
                (self.disk.open(&next)?, len)
            }
            None => {
                Counters::add(&self.counters.unprepared, 1);
                let file = create(&*self.disk, &next)?;
                let len = self.allocate(&*file, need)?;
                (file, len)
            }
        };
        file.write_at(&page.encode(), 0)?;
        if !content.is_empty() {
            file.write_at(content, PAGE)?;
        }
        file.sync()?;
        Ok((file, len))
    }

    /// Allocates a segment of the size that is due or, when there is no space for that, of the least that will do.
    fn allocate(&self, file: &dyn File, need: u64) -> io::Result<u64> {
        let len = self.space.next_len(need);
        let least = (need + PAGE).next_multiple_of(PAGE).max(self.options.smallest.min(len));
        match file.allocate(len) {
            Err(error) if is_full(&error) && least < len => {
                file.allocate(least)?;
                Ok(least)
            }
            other => {
                other?;
                self.space.short(false);
                Ok(len)
            }
        }
    }

    fn sync_finished(&self, file: Arc<dyn File>) {
        if self.options.background {
            self.space.sync_later(file);
        } else if let Err(error) = file.sync() {
            tracing::warn!(%error, "a finished segment could not be synced");
        }
    }

    /// Makes everything appended durable, where appending does not.
    pub(crate) fn sync_all(&self) -> Result<(), LogError> {
        if self.options.durability == Durability::Fsync {
            return Ok(());
        }
        self.space.wait_for_syncs();
        let writer = self.writer.lock();
        let Some(active) = writer.active.as_ref().filter(|_| !writer.failed) else { return Ok(()) };
        let (file, path) = (Arc::clone(&active.file), active.segment.path.clone());
        drop(writer);
        file.sync().map_err(|source| error("sync", &path, source))
    }

    fn note_use(&self, writer: &Writer) {
        if let Some(active) = &writer.active {
            let limit = active.segment.limit().number();
            let left = limit.saturating_sub(writer.next.number());
            let batches = writer.number - active.before;
            self.space.used(left, active.segment.len.saturating_sub(PAGE), batches);
        }
    }
}

/// Puts a segment without batches, and without room for any, in the log: the log goes on at `first`, behind the batch
/// `before`.
pub(crate) fn empty_segment(
    disk: &dyn Disk,
    dir: &Path,
    shard: u32,
    first: Position,
    before: u64,
    epoch: u64,
) -> Result<(), LogError> {
    let path = dir.join(name(first));
    let put = || {
        let page =
            Page { kind: PageKind::Segment, shard, first, before, epoch, salt: salt()?, without_sync: false };
        let next = dir.join(NEXT);
        let file = create(disk, &next)?;
        file.write_at(&page.encode(), 0)?;
        file.sync()?;
        disk.rename(&next, &path)?;
        disk.sync_dir(dir)
    };
    put().map_err(|source| error("create", &path, source))
}

/// Notes a claim in the segment's first page. With it becomes durable what a killed process has written last; and what
/// is left of the header of a batch that a power cut has torn goes away, so that no half of it can ever complete
/// another batch which is torn at the same place.
fn note_claim(
    active: &Active,
    epoch: u64,
    inherited: Option<&Inherited>,
    next: Position,
) -> Result<(), LogError> {
    let (at, note) = active.segment.page()?.claim(epoch);
    let write = |bytes: &[u8], position| active.file.write_at(bytes, active.segment.offset(position));
    let left = active.segment.limit().number().saturating_sub(next.number());
    let blank = [0; BATCH_HEADER];
    let blank = blank.get(..left as usize).unwrap_or(&blank);
    let noted = inherited
        .map_or(Ok(()), |inherited| write(&inherited.bytes, inherited.position))
        .and_then(|()| write(blank, next))
        .and_then(|()| active.file.write_at(&note, at))
        .and_then(|()| active.file.sync());
    noted.map_err(|source| error("claim", &active.segment.path, source))
}

impl Inherited {
    fn read(file: &dyn File, segment: &Segment, last: Position, end: Position) -> Result<Self, LogError> {
        let mut bytes = vec![0; end.number().saturating_sub(last.number()) as usize];
        let read = file.read_at(&mut bytes, segment.offset(last));
        let length = read.map_err(|source| error("read", &segment.path, source))?;
        bytes.truncate(length);
        Ok(Self { position: last, bytes })
    }

    /// The batch for a segment that begins with it.
    fn sealed_for(&self, page: &Page) -> Vec<u8> {
        let mut batch = Batch::default();
        let length = BatchHeader::decode(&self.bytes).map_or(0, |header| header.length as usize);
        let payload = self.bytes.get(BATCH_HEADER..).unwrap_or_default();
        batch.out().extend_from_slice(payload.get(..length).unwrap_or(payload));
        batch.seal(page.epoch, page.before + 1, page.before, page.salt).to_vec()
    }
}

impl Writer {
    fn fits(&self, need: u64) -> bool {
        let end = self.next.number().saturating_add(need);
        self.active.as_ref().is_some_and(|active| end <= active.segment.limit().number())
    }
}

fn salt() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_le_bytes(bytes))
}
