//! Making a damaged log fit to be opened again, at the price of what is behind the damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{Report, check};
use crate::disk::Disk;
use crate::engine::ShardLog;
use crate::error::LogError;
use crate::local::page::PAGE;
use crate::local::scan::Scan;
use crate::local::segment::{Segment, SegmentList, error, find};
use crate::local::{LocalLog, LocalOptions, empty_segment};
use crate::position::Position;

/// How the names of files end that were set aside.
pub(super) const SET_ASIDE: &str = ".damaged";
const PIECE: usize = 4 << 20;

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    /// Files made for what was cut off. They may be moved or removed at will.
    pub set_aside: Vec<PathBuf>,
    /// Where the log ends now; what was recorded there and later is lost. None if nothing had to be cut.
    pub cut_at: Option<Position>,
    /// Whether the checkpoint was damaged: what it said is lost, and what the log that is left says remains.
    pub lost_checkpoint: bool,
    /// The log as it is now.
    pub report: Report,
}

/// Repairs the log in the directory `dir` of `disk`, which nobody may have open. Does nothing to one that can be opened.
///
/// # Errors
/// It cannot be read or written.
pub fn repair(disk: &Arc<dyn Disk>, dir: &Path, shard: u32) -> Result<Repair, LogError> {
    let mut repair = Repair { report: check(disk, dir, shard, &mut |_| {})?, ..Repair::default() };
    // Each round takes away at least one cause: the checkpoint once, then the log is cut.
    for _ in 0..3 {
        let Some(damage) = repair.report.fatal.clone() else { break };
        let work = Work { disk, dir, shard };
        if damage.path == dir.join(crate::local::checkpoint::CHECKPOINT) {
            work.replace_checkpoint(&mut repair)?;
        } else {
            let from = repair.report.checkpoint.map_or(Position::NONE, |checkpoint| checkpoint.replay_from);
            work.cut(from, damage.position.max(from), &mut repair)?;
        }
        repair.report = check(disk, dir, shard, &mut |_| {})?;
    }
    Ok(repair)
}

struct Work<'a> {
    disk: &'a Arc<dyn Disk>,
    dir: &'a Path,
    shard: u32,
}

impl Work<'_> {
    /// Sets the checkpoint aside. Unless the log is there from its beginning, an empty one takes its place, from which the latest batches
    /// without a gap are read.
    fn replace_checkpoint(&self, repair: &mut Repair) -> Result<(), LogError> {
        let path = self.dir.join(crate::local::checkpoint::CHECKPOINT);
        repair.set_aside.push(self.move_aside(&path)?);
        repair.lost_checkpoint = true;
        let segments = &repair.report.segments;
        let mut first = segments.len().saturating_sub(1);
        while let Some([before, after]) = first.checked_sub(1).and_then(|at| segments.get(at..at + 2)) {
            if before.end != after.first {
                break;
            }
            first -= 1;
        }
        let Some(segment) = segments.get(first).filter(|_| first > 0) else { return Ok(()) };
        let options = LocalOptions { background: false, ..LocalOptions::default() };
        let log = LocalLog::open(Arc::clone(self.disk), self.dir, self.shard, options)?;
        log.begin_checkpoint()?.commit(segment.first)
    }

    /// Lets the log, read from `from` on, end at `at`.
    fn cut(&self, from: Position, at: Position, repair: &mut Repair) -> Result<(), LogError> {
        let (list, _) = find(&**self.disk, self.dir, self.shard)?;
        let number = self.number_before(from, at, &list, &repair.report);
        let epoch = repair.report.segments.iter().map(|segment| segment.epoch).max().unwrap_or(0);
        for segment in &list {
            if segment.first >= at {
                repair.set_aside.push(self.move_aside(&segment.path)?);
            } else if segment.limit() > at
                && list.iter().all(|other| other.first <= segment.first || other.first >= at)
            {
                repair.set_aside.push(self.copy_rest_aside(segment, at)?);
            }
        }
        self.disk.sync_dir(self.dir).map_err(|source| error("sync", self.dir, source))?;
        empty_segment(&**self.disk, self.dir, self.shard, at, number, epoch)?;
        repair.cut_at = Some(repair.cut_at.map_or(at, |cut| cut.min(at)));
        Ok(())
    }

    /// The number of the batch before `at`, as a reading from `from` on will see it.
    fn number_before(&self, from: Position, at: Position, list: &[Arc<Segment>], report: &Report) -> u64 {
        let segments = SegmentList { list: list.to_vec(), end: None };
        let mut read = None;
        if let Ok(mut scan) = Scan::of(self.disk, self.dir, &segments, from) {
            while matches!(scan.step(), Ok(Some(position)) if position < at) {
                read = scan.number();
            }
        }
        let before = report.segments.iter().filter(|segment| segment.first < at);
        read.or_else(|| before.map(|segment| segment.last_number).max()).unwrap_or(0)
    }

    fn move_aside(&self, path: &Path) -> Result<PathBuf, LogError> {
        let aside = self.free_name(path)?;
        self.disk.rename(path, &aside).map_err(|source| error("rename", path, source))?;
        Ok(aside)
    }

    fn copy_rest_aside(&self, segment: &Segment, at: Position) -> Result<PathBuf, LogError> {
        let aside = self.free_name(&segment.path)?;
        let copy = || {
            let (from, to) = (self.disk.open(&segment.path)?, self.disk.create(&aside)?);
            // The header page goes with it: it has the salt without which no batch can be checked.
            let mut page = vec![0; PAGE as usize];
            from.read_at(&mut page, 0)?;
            to.write_at(&page, 0)?;
            let mut piece = vec![0; PIECE];
            let mut done = segment.offset(at);
            loop {
                let read = from.read_at(&mut piece, done)?;
                if read == 0 {
                    return to.sync();
                }
                to.write_at(piece.get(..read).unwrap_or_default(), done)?;
                done += read as u64;
            }
        };
        copy().map_err(|source| error("copy", &segment.path, source))?;
        Ok(aside)
    }

    fn free_name(&self, path: &Path) -> Result<PathBuf, LogError> {
        let names = self.disk.list(self.dir).map_err(|source| error("list", self.dir, source))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let taken = |candidate: &String| names.contains(candidate);
        let candidates = std::iter::once(format!("{name}{SET_ASIDE}"))
            .chain((2..).map(|count| format!("{name}.{count}{SET_ASIDE}")));
        Ok(self.dir.join(candidates.into_iter().find(|candidate| !taken(candidate)).unwrap_or_default()))
    }
}
