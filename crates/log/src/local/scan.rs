//! The batches of a whole log in order, and what its end means.
//!
//! A crash may leave a batch behind that is not whole, at the very end: as a batch is written only when the one before it
//! is durable, there is never more than one, and nothing valid is behind it. It is cut silently. Everything else that
//! is not as it was written is [`Damage`]. Segments written without syncing ([`super::Durability::Os`]) are judged
//! mildly: a power cut may have taken anything from the last two of them, so the first bad batch there is the end.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::chain::{BODY, ChainReader, Found};
use super::page::Page;
use super::segment::{FIRST_POSITION, Segment, SegmentList, error, position_after};
use crate::batch::BatchHeader;
use crate::disk::Disk;
use crate::error::{Damage, LogError};
use crate::position::Position;

/// The end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Behind the last batch.
    pub(crate) at: Position,
    /// Where the last batch begins, if it is in the last segment.
    pub(crate) last: Option<Position>,
    /// Number of the last batch.
    pub(crate) number: u64,
    /// The latest epoch seen.
    pub(crate) epoch: u64,
    /// Whether batches that follow `at` on the disk must not come to light again.
    pub(crate) leftovers: bool,
}

/// Reads a log from a position on.
#[derive(Debug)]
pub(crate) struct Scan {
    disk: Arc<dyn Disk>,
    /// From the segment that holds the first position on.
    segments: Vec<Arc<Segment>>,
    index: usize,
    reader: Option<(ChainReader, Page)>,
    at: Position,
    /// Where the last batch begins and its number, if one was seen.
    last: Option<Position>,
    number: Option<u64>,
    epoch: u64,
    /// Where to end, if it is known.
    end: Option<Position>,
    payload: Range<usize>,
    tail: Option<Tail>,
}

impl Scan {
    /// The log in `dir` from `from` on, to its end as far as that is known.
    pub(crate) fn of(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        segments: &SegmentList,
        from: Position,
    ) -> Result<Self, LogError> {
        let first = segments.list.first().map_or(FIRST_POSITION, |first| first.first);
        let from = if from == Position::NONE { first } else { from };
        let list = match segments.index_of(from) {
            Some(index) => segments.list.get(index..).unwrap_or_default().to_vec(),
            None if segments.list.is_empty() && from == FIRST_POSITION => Vec::new(),
            None => return Err(nothing_at(dir, from).into()),
        };
        let behind_end = segments.end.is_some_and(|end| from > end);
        if behind_end || list.first().is_some_and(|segment| from > segment.limit()) {
            return Err(nothing_at(dir, from).into());
        }
        Ok(Self {
            disk: Arc::clone(disk),
            segments: list,
            index: 0,
            reader: None,
            at: from,
            last: None,
            number: None,
            epoch: 0,
            end: segments.end,
            payload: 0..0,
            tail: None,
        })
    }

    /// The position of the next batch.
    pub(crate) fn step(&mut self) -> Result<Option<Position>, LogError> {
        while self.tail.is_none() && self.end.is_none_or(|end| self.at < end) {
            let Some(segment) = self.segments.get(self.index).cloned() else { break };
            let next = self.segments.get(self.index + 1).map(|next| next.first);
            if next == Some(self.at) {
                self.index += 1;
                self.open_next()?;
                continue;
            }
            let (reader, page) = self.reader(&segment, next)?;
            let (found, page) = (reader.next(), *page);
            match found.map_err(|source| error("read", &segment.path, source))? {
                Found::Batch(header, payload) => match self.misfit(&header, &page, &segment) {
                    None => {
                        let position = self.at;
                        self.at = position_after(position, payload.len());
                        (self.payload, self.number, self.epoch) =
                            (payload, Some(header.number), header.epoch);
                        self.last = Some(position);
                        return Ok(Some(position));
                    }
                    Some(misfit) => self.broken(&segment, &page, &misfit)?,
                },
                Found::Limit if next.is_some() => {
                    self.broken(&segment, &page, "the segment ends too early")?
                }
                Found::Limit => self.finish(&page, &segment, false)?,
                Found::Broken(reason) => self.broken(&segment, &page, &reason.to_string())?,
            }
        }
        Ok(None)
    }

    /// The payload of the batch that [`Scan::step`] has moved over.
    pub(crate) fn payload(&self) -> &[u8] {
        self.reader.as_ref().map(|(reader, _)| reader.bytes(&self.payload)).unwrap_or_default()
    }

    /// Number of that batch.
    pub(crate) fn number(&self) -> Option<u64> {
        self.number
    }

    /// The end of the log, if the scan has come there without knowing it before.
    pub(crate) fn tail(&self) -> Option<Tail> {
        self.tail
    }

    fn open_next(&mut self) -> Result<(), LogError> {
        let buffer = self.reader.take().map(|(reader, _)| reader.into_buffer());
        let Some(segment) = self.segments.get(self.index).cloned() else { return Ok(()) };
        let next = self.segments.get(self.index + 1).map(|next| next.first);
        let (reader, page) = self.open(&segment, next)?;
        self.reader = Some((reader.with_buffer(buffer.unwrap_or_default()), page));
        if self.number.is_some_and(|number| number != page.before) {
            let reason = format!("its header says that batch {} precedes it", page.before);
            return Err(damage(&segment, 0, self.at, reason).into());
        }
        Ok(())
    }

    fn reader(
        &mut self,
        segment: &Segment,
        next: Option<Position>,
    ) -> Result<&mut (ChainReader, Page), LogError> {
        let opened = match self.reader.take() {
            Some(open) => open,
            None => self.open(segment, next)?,
        };
        Ok(self.reader.insert(opened))
    }

    fn open(&self, segment: &Segment, next: Option<Position>) -> Result<(ChainReader, Page), LogError> {
        let page = segment.page()?;
        let file = self.disk.open(&segment.path).map_err(|source| error("open", &segment.path, source))?;
        let limit = next.or(self.end).map_or(segment.len, |end| segment.offset(end).min(segment.len));
        Ok((ChainReader::new(file, page.salt, segment.offset(self.at), limit), page))
    }

    /// Why a batch that is whole does not belong here.
    fn misfit(&self, header: &BatchHeader, page: &Page, segment: &Segment) -> Option<String> {
        let before = self.number.or((self.at == segment.first).then_some(page.before));
        let follows = before.is_none_or(|before| header.previous == before)
            && header.previous.checked_add(1) == Some(header.number);
        if !follows {
            return Some(format!("batch {} is where {} should be", header.number, before.unwrap_or(0) + 1));
        }
        (header.epoch < self.epoch).then(|| format!("batch {} is of an earlier claim", header.number))
    }

    /// Something else than the next batch is there: the end, or damage.
    fn broken(&mut self, segment: &Arc<Segment>, page: &Page, reason: &str) -> Result<(), LogError> {
        let offset = segment.offset(self.at);
        let later = self.segments.len().saturating_sub(self.index + 1);
        if self.end.is_none() && page.without_sync && later <= 1 {
            let more = later > 0 || self.search(segment, page)?.is_some();
            if more {
                tracing::warn!(path = %segment.path.display(), offset, reason, "the unsynced end of the log is lost");
            }
            return self.finish(page, segment, more);
        }
        if self.end.is_some() || later > 0 {
            return Err(damage(segment, offset, self.at, reason.to_owned()).into());
        }
        if let Some(behind) = self.search(segment, page)? {
            let reason = format!("{reason}, while a valid batch is behind it at offset {behind}");
            return Err(damage(segment, offset, self.at, reason).into());
        }
        tracing::debug!(path = %segment.path.display(), offset, reason, "the log ends here");
        self.finish(page, segment, false)
    }

    fn search(&self, segment: &Segment, page: &Page) -> Result<Option<u64>, LogError> {
        let (mut reader, _) = self.open(segment, None)?;
        let before = self.number.or((self.at == segment.first).then_some(page.before));
        // As many batches as fit behind, at most.
        let last = before.map(|before| before.saturating_add(segment.len / 8));
        let plausible = |header: &BatchHeader| {
            header.previous.checked_add(1) == Some(header.number)
                && before.is_none_or(|before| header.number > before)
                && last.is_none_or(|last| header.number <= last)
        };
        reader.search(plausible).map_err(|source| error("read", &segment.path, source))
    }

    fn finish(&mut self, page: &Page, segment: &Segment, leftovers: bool) -> Result<(), LogError> {
        let number = match self.number {
            Some(number) => number,
            None => self.number_before(segment, page)?,
        };
        let epoch = self.epoch.max(page.epoch);
        let last = self.last.filter(|last| *last >= segment.first);
        self.tail = Some(Tail { at: self.at, last, number, epoch, leftovers });
        Ok(())
    }

    /// The number of the batch before the position the scan has begun at, where no batch was found.
    fn number_before(&mut self, segment: &Segment, page: &Page) -> Result<u64, LogError> {
        let file = self.disk.open(&segment.path).map_err(|source| error("open", &segment.path, source))?;
        let limit = segment.offset(self.at);
        let mut reader = ChainReader::new(file, page.salt, BODY, limit);
        let mut number = page.before;
        loop {
            let at = reader.at();
            let reason = match reader.next().map_err(|source| error("read", &segment.path, source))? {
                Found::Batch(header, _) if header.previous == number => {
                    (number, self.epoch) = (header.number, self.epoch.max(header.epoch));
                    self.last = Some(Position::new(segment.first.number() + (at - BODY)));
                    continue;
                }
                Found::Limit => return Ok(number),
                Found::Batch(header, _) => {
                    format!("batch {} is where {} should be", header.number, number + 1)
                }
                Found::Broken(reason) => reason.to_string(),
            };
            let position = Position::new(segment.first.number() + (at - BODY));
            return Err(damage(segment, at, position, reason).into());
        }
    }
}

/// What is wrong if no segment holds `position`.
pub(crate) fn nothing_at(dir: &Path, position: Position) -> Damage {
    Damage {
        path: dir.to_path_buf(),
        offset: 0,
        position,
        reason: format!("no segment has position {position}"),
        affected: "what was recorded there and later is missing".into(),
    }
}

fn damage(segment: &Segment, offset: u64, position: Position, reason: String) -> Damage {
    Damage {
        path: segment.path.clone(),
        offset,
        position,
        reason,
        affected: format!("what was recorded at position {position} and later cannot be relied upon"),
    }
}
