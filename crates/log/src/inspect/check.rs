//! Everything that is in a log, in the order in which it was written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::{BatchHeader, NotABatch};
use crate::disk::Disk;
use crate::engine::Checkpoint;
use crate::error::{Damage, LogError};
use crate::local::chain::{BODY, ChainReader, Found};
use crate::local::checkpoint;
use crate::local::page::Page;
use crate::local::scan::Scan;
use crate::local::segment::{Segment, SegmentList, error, find};
use crate::position::Position;

/// What is found on the way.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A part of the checkpoint.
    Part {
        /// Counted from 1.
        number: u64,
        /// Its records.
        payload: &'a [u8],
    },
    /// A batch.
    Batch {
        /// Where it begins.
        position: Position,
        /// Its number.
        number: u64,
        /// The claim under which it was appended.
        epoch: u64,
        /// Whether a broker that starts reads it. Earlier ones are only kept for the messages in them.
        replayed: bool,
        /// Its records.
        payload: &'a [u8],
    },
}

/// What a log consists of.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The checkpoint in force.
    pub checkpoint: Option<CheckpointReport>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Length of the spare segment, 0 without one.
    pub spare_bytes: u64,
    /// Behind the last batch, if the log can be opened.
    pub end: Option<Position>,
    /// The rest of a batch that a crash has interrupted. It was never confirmed, and is no damage.
    pub torn: Option<TornEnd>,
    /// All that is not as it was written.
    pub damage: Vec<Damage>,
    /// What keeps the log from being opened; [`repair`](super::repair()) helps.
    pub fatal: Option<Damage>,
    /// Files that an earlier repair has set aside.
    pub set_aside: Vec<PathBuf>,
}

/// A checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Parts.
    pub parts: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Where reading the log begins after it.
    pub replay_from: Position,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// Its first position.
    pub first: Position,
    /// The position behind its last whole batch.
    pub end: Position,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whole batches.
    pub batches: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Number of the last of them, or of the one before the segment.
    pub last_number: u64,
    /// The greatest epoch in it.
    pub epoch: u64,
}

/// A torn end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornEnd {
    /// The file.
    pub path: PathBuf,
    /// Bytes before it.
    pub offset: u64,
    /// What is wrong with the batch.
    pub reason: String,
}

/// Reads the log in the directory `dir` of `disk` and shows everything in it to `visit`. Changes nothing.
///
/// # Errors
/// It cannot be read, or was written by a later version. Damage is no error: it is reported.
pub fn check(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    shard: u32,
    visit: &mut dyn FnMut(Item<'_>),
) -> Result<Report, LogError> {
    let (list, spare) = find(&**disk, dir, shard)?;
    let names = disk.list(dir).map_err(|source| error("list", dir, source))?;
    let set_aside = names.iter().filter(|name| name.ends_with(super::repair::SET_ASIDE));
    let mut report = Report {
        spare_bytes: spare.unwrap_or(0),
        set_aside: set_aside.map(|name| dir.join(name)).collect(),
        ..Report::default()
    };
    let damaged = check_checkpoint(&**disk, dir, shard, visit, &mut report)?;
    report.damage.extend(damaged.clone());
    report.fatal = damaged;
    let replay_from = report.checkpoint.map_or(Position::NONE, |checkpoint| checkpoint.replay_from);
    let mut walk = Walk { disk: &**disk, segments: &list, replay_from, visit, report: &mut report };
    for index in 0..list.len() {
        if !walk.segment(index)? {
            break;
        }
    }
    if report.fatal.is_none() {
        let segments = SegmentList { list, end: None };
        open_as_a_broker_does(disk, dir, &segments, replay_from, &mut report)?;
    }
    Ok(report)
}

fn check_checkpoint(
    disk: &dyn Disk,
    dir: &Path,
    shard: u32,
    visit: &mut dyn FnMut(Item<'_>),
    report: &mut Report,
) -> Result<Option<Damage>, LogError> {
    let mut read = || -> Result<(), LogError> {
        let Some(found) = checkpoint::find(disk, dir, shard)? else { return Ok(()) };
        let (parts, bytes) = (found.parts(), found.bytes());
        let Checkpoint { replay_from, parts: mut reader } = found.read();
        report.checkpoint = Some(CheckpointReport { parts, bytes, replay_from });
        let mut number = 0;
        while let Some(payload) = reader.next()? {
            number += 1;
            visit(Item::Part { number, payload });
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(None),
        Err(LogError::Damaged(damage)) => Ok(Some(damage)),
        Err(other) => Err(other),
    }
}

/// Judges what there is exactly as an opening would.
fn open_as_a_broker_does(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segments: &SegmentList,
    from: Position,
    report: &mut Report,
) -> Result<(), LogError> {
    let read = || -> Result<_, LogError> {
        let mut scan = Scan::of(disk, dir, segments, from)?;
        while scan.step()?.is_some() {}
        Ok(scan.tail())
    };
    match read() {
        Ok(tail) => report.end = tail.map(|tail| tail.at),
        Err(LogError::Damaged(damage)) => {
            if !report.damage.iter().any(|known| known.path == damage.path && known.offset == damage.offset) {
                report.damage.push(damage.clone());
            }
            report.fatal = Some(damage);
        }
        Err(other) => return Err(other),
    }
    Ok(())
}

struct Walk<'a> {
    disk: &'a dyn Disk,
    segments: &'a [Arc<Segment>],
    replay_from: Position,
    visit: &'a mut dyn FnMut(Item<'_>),
    report: &'a mut Report,
}

impl Walk<'_> {
    /// Walks through a segment; false if the log ends in it although there are others.
    fn segment(&mut self, index: usize) -> Result<bool, LogError> {
        let Some(segment) = self.segments.get(index) else { return Ok(false) };
        let next = self.segments.get(index + 1).map(|next| next.first);
        let later = self.segments.len() - index - 1;
        self.report.segments.push(SegmentReport {
            path: segment.path.clone(),
            first: segment.first,
            end: segment.first,
            bytes: segment.len,
            batches: 0,
            payload_bytes: 0,
            last_number: 0,
            epoch: 0,
        });
        let page = match segment.page() {
            Ok(page) => page,
            Err(LogError::Damaged(damage)) => {
                self.report.damage.push(damage);
                return Ok(true);
            }
            Err(other) => return Err(other),
        };
        self.batches(segment, &page, next, later).map_err(|source| error("read", &segment.path, source))
    }

    fn batches(
        &mut self,
        segment: &Segment,
        page: &Page,
        next: Option<Position>,
        later: usize,
    ) -> io::Result<bool> {
        let file = self.disk.open(&segment.path)?;
        let limit = next.map_or(segment.len, |next| segment.offset(next).min(segment.len));
        let mut reader = ChainReader::new(file, page.salt, BODY, limit);
        let mut before = Some(page.before);
        loop {
            let at = reader.at();
            let position = Position::new(segment.first.number() + (at - BODY));
            let reason = match reader.next()? {
                Found::Batch(header, payload) => {
                    if let Some(before) = before.filter(|before| header.previous != *before) {
                        let reason = format!("batch {} is where {} should be", header.number, before + 1);
                        self.damaged(segment, at, position, reason);
                    }
                    before = Some(header.number);
                    let end = Position::new(segment.first.number() + (reader.at() - BODY));
                    self.found(&header, position, end, reader.bytes(&payload));
                    continue;
                }
                Found::Limit => {
                    let short = next.is_some_and(|next| position < next) && position >= self.replay_from;
                    if short {
                        self.damaged(segment, at, position, "the segment ends too early".into());
                    }
                    return Ok(true);
                }
                Found::Broken(reason) => reason,
            };
            // As the scan of an opening judges it.
            let mild = page.without_sync && later <= 1 && position >= self.replay_from;
            if !mild {
                let plausible = |header: &BatchHeader| before.is_none_or(|before| header.number > before);
                if let Some(found) = reader.search(plausible)? {
                    let reason = format!("{reason}; the next valid batch is at offset {found}");
                    self.damaged(segment, at, position, reason);
                    before = None;
                    continue;
                }
            }
            self.end(segment, at, position, reason, later > 0 && !mild);
            return Ok(!mild);
        }
    }

    fn found(&mut self, header: &BatchHeader, position: Position, end: Position, payload: &[u8]) {
        if let Some(report) = self.report.segments.last_mut() {
            report.batches += 1;
            report.payload_bytes += payload.len() as u64;
            report.last_number = header.number;
            report.epoch = report.epoch.max(header.epoch);
            report.end = end;
        }
        let replayed = position >= self.replay_from;
        let BatchHeader { number, epoch, .. } = *header;
        (self.visit)(Item::Batch { position, number, epoch, replayed, payload });
    }

    /// Nothing valid follows in the segment.
    fn end(&mut self, segment: &Segment, at: u64, position: Position, reason: NotABatch, followed: bool) {
        if followed {
            // Before the checkpoint the segments that followed may have been given back.
            if position >= self.replay_from {
                self.damaged(segment, at, position, reason.to_string());
            }
        } else if reason != NotABatch::NoMagic {
            let (path, reason) = (segment.path.clone(), reason.to_string());
            self.report.torn = Some(TornEnd { path, offset: at, reason });
        }
    }

    fn damaged(&mut self, segment: &Segment, offset: u64, position: Position, reason: String) {
        let affected = if position >= self.replay_from {
            "what was recorded there, and all that rests on it, cannot be relied upon"
        } else {
            "messages that are stored there may be lost"
        };
        let path = segment.path.clone();
        self.report.damage.push(Damage { path, offset, position, reason, affected: affected.into() });
    }
}
