//! Which segments there are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::page::{NotAPage, PAGE, Page, PageKind};
use crate::batch::BATCH_HEADER;
use crate::disk::{Disk, File};
use crate::engine::Extent;
use crate::error::{Damage, LogError};
use crate::position::Position;

/// Position of the first batch of a fresh log.
pub const FIRST_POSITION: Position = Position::new(64);

pub(crate) const SPARE: &str = "spare.seg";
const EXTENSION: &str = ".seg";
/// Files kept open for reading; more segments than that are opened anew when they are read.
const OPEN_FILES: usize = 32;

/// A segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) first: Position,
    pub(crate) path: PathBuf,
    /// Length of the file.
    pub(crate) len: u64,
    /// Whether a write or sync of it has failed: the file must not be used again.
    pub(crate) failed: bool,
    /// Its first page. One that is damaged matters only if batches are read from the segment.
    page: Result<Page, NotAPage>,
}

impl Segment {
    pub(crate) fn new(page: Page, dir: &Path, len: u64) -> Self {
        Self { first: page.first, path: dir.join(name(page.first)), len, failed: false, page: Ok(page) }
    }

    /// It, when its file has been cut to `len` bytes.
    pub(crate) fn cut(&self, len: u64) -> Self {
        Self { len, ..self.clone() }
    }

    /// The position behind the last byte that fits in.
    pub(crate) fn limit(&self) -> Position {
        Position::new(self.first.number().saturating_add(self.len.saturating_sub(PAGE)))
    }

    /// Where in the file the batch at `position` is.
    pub(crate) fn offset(&self, position: Position) -> u64 {
        PAGE + position.number().saturating_sub(self.first.number())
    }

    /// What its first page says.
    pub(crate) fn page(&self) -> Result<Page, LogError> {
        self.page.map_err(|reason| {
            LogError::Damaged(Damage {
                path: self.path.clone(),
                offset: 0,
                position: self.first,
                reason: reason.to_string(),
                affected: "no batch of this segment can be checked, nor what follows it".into(),
            })
        })
    }
}

/// The name of the segment that begins at `first`.
pub(crate) fn name(first: Position) -> String {
    format!("{:016x}{EXTENSION}", first.number())
}

/// The position in a segment's name.
pub(crate) fn first_of(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(EXTENSION).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().map(Position::new)
}

/// The position behind a batch of `payload` bytes at `at`.
pub(crate) fn position_after(at: Position, payload: usize) -> Position {
    let end = at.number().saturating_add(BATCH_HEADER as u64).saturating_add(payload as u64);
    Position::new(end.checked_next_multiple_of(8).unwrap_or(u64::MAX))
}

/// The segments in a directory by position, and the length of the spare one.
pub(crate) fn find(
    disk: &dyn Disk,
    dir: &Path,
    shard: u32,
) -> Result<(Vec<Arc<Segment>>, Option<u64>), LogError> {
    let names = disk.list(dir).map_err(|source| error("list", dir, source))?;
    let mut segments = Vec::new();
    for first in names.iter().filter_map(|name| first_of(name)) {
        segments.push(Arc::new(look_at(disk, dir, shard, first)?));
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    let spare = if names.iter().any(|name| name == SPARE) {
        let path = dir.join(SPARE);
        let len = disk.open(&path).and_then(|file| file.len());
        Some(len.map_err(|source| error("open", &path, source))?)
    } else {
        None
    };
    Ok((segments, spare))
}

fn look_at(disk: &dyn Disk, dir: &Path, shard: u32, first: Position) -> Result<Segment, LogError> {
    let path = dir.join(name(first));
    let file = disk.open(&path).map_err(|source| error("open", &path, source))?;
    let read = || -> io::Result<_> {
        let mut page = vec![0; PAGE as usize];
        let read = file.read_at(&mut page, 0)?;
        page.truncate(read);
        Ok((Page::decode(PageKind::Segment, &page), file.len()?))
    };
    let (page, len) = read().map_err(|source| error("read", &path, source))?;
    if let Err(NotAPage::Newer(found)) = page {
        return Err(LogError::NewerFormat { path, found, supported: super::page::FORMAT });
    }
    let page = page.and_then(|page| {
        let belongs = page.first == first && page.shard == shard;
        if belongs { Ok(page) } else { Err(NotAPage::Misplaced) }
    });
    Ok(Segment { first, path, len, failed: false, page })
}

/// Creates a file in the place of one that an attempt before may have left behind.
pub(crate) fn create(disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn File>> {
    match disk.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path)?;
            disk.create(path)
        }
        result => result,
    }
}

pub(crate) fn error(operation: &'static str, path: &Path, source: io::Error) -> LogError {
    LogError::Io { operation, path: path.to_path_buf(), source }
}

/// The segments of a log in use, by position.
#[derive(Debug, Default)]
pub(crate) struct SegmentList {
    pub(crate) list: Vec<Arc<Segment>>,
    /// The position behind the last durable batch, once it is known.
    pub(crate) end: Option<Position>,
}

impl SegmentList {
    /// The index of the segment that holds `position`.
    pub(crate) fn index_of(&self, position: Position) -> Option<usize> {
        self.list.partition_point(|segment| segment.first <= position).checked_sub(1)
    }

    /// The position at which the segment at `index` ends.
    pub(crate) fn end_of(&self, index: usize) -> Position {
        let Some(segment) = self.list.get(index) else { return Position::NONE };
        let next = self.list.get(index + 1).map_or_else(|| self.end, |next| Some(next.first));
        next.map_or(segment.limit(), |next| next.min(segment.limit()))
    }

    pub(crate) fn extents(&self) -> Vec<Extent> {
        let extent = |(index, segment): (usize, &Arc<Segment>)| Extent {
            first: segment.first,
            end: self.end_of(index),
            bytes: segment.len,
        };
        self.list.iter().enumerate().map(extent).collect()
    }

    /// A write or sync of the last segment has failed.
    pub(crate) fn last_failed(&mut self) {
        if let Some(last) = self.list.last_mut() {
            *last = Arc::new(Segment { failed: true, ..Segment::clone(last) });
        }
    }

    /// Adds the segment that is appended to from now on, in the place of one that begins where it does.
    pub(crate) fn push(&mut self, segment: Arc<Segment>) {
        self.list.retain(|other| other.first < segment.first);
        self.list.push(segment);
    }
}

/// Segments that were read last, open.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(Mutex<Vec<(PathBuf, Arc<dyn File>)>>);

impl OpenFiles {
    pub(crate) fn open(&self, disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut files = self.0.lock();
        if let Some(at) = files.iter().rposition(|(open, _)| open == path) {
            let found = files.remove(at);
            let file = Arc::clone(&found.1);
            files.push(found);
            return Ok(file);
        }
        let file = disk.open(path)?;
        if files.len() >= OPEN_FILES {
            files.remove(0);
        }
        files.push((path.to_path_buf(), Arc::clone(&file)));
        Ok(file)
    }

    pub(crate) fn forget(&self, path: &Path) {
        self.0.lock().retain(|(open, _)| open != path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_positions_are_the_same_thing() {
        for number in [64, 0x1234_5678, u64::MAX] {
            let position = Position::new(number);
            assert_eq!(first_of(&name(position)), Some(position));
        }
        for other in ["spare.seg", "40.seg", "checkpoint", "00000000000000zz.seg", "0000000000000040.tmp"] {
            assert_eq!(first_of(other), None, "{other}");
        }
    }

    #[test]
    fn positions_are_aligned_and_leave_room_for_the_batch() {
        for payload in 0..100 {
            let after = position_after(FIRST_POSITION, payload).number();
            assert!(after.is_multiple_of(8) && after >= 64 + 40 + payload as u64, "{payload}: {after}");
        }
    }
}
