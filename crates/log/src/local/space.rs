//! Space for the segment after the one that is appended to.
//!
//! A batch should never wait for the file system to find blocks or to note them in its journal. So the next segment is
//! there before it is needed: a dead one, or a file that a thread has filled with zeros, written and synced piece by
//! piece so that nobody else's sync has to carry them; only allocated while batches are large. There is at most one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::log::{Durability, LocalOptions, Shared};
use super::metrics::Counters;
use super::page::PAGE;
use super::segment::{SPARE, Segment, create, error};
use crate::disk::File;
use crate::error::LogError;

/// The file that becomes the next segment.
pub(crate) const NEXT: &str = "next.tmp";
const UNFINISHED: &str = "spare.tmp";
/// Zeros that are synced at once.
const PIECE: u64 = 1 << 20;
/// Zeros per write. The page cache keeps what is written at once in one large folio as far as it can, and a small batch written
/// later into a folio of 1 MiB counts as 1 MiB of dirty memory, by which the system slows writers down. Single pages, on the
/// other hand, make the sync of a batch of several pages more expensive.
const ZEROS: usize = 16 << 10;
/// With batches of this many bytes on average, what a sync costs by new blocks is little beside what writing them twice
/// would.
const BULK: u64 = 128 << 10;
/// How often space is asked for when the system has refused it.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Space {
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes of batches that fit into the segment in use.
    left: AtomicU64,
    /// Length of the spare segment, 0 without one.
    spare: AtomicU64,
    /// Whether the system has refused space, and not given any since.
    short: AtomicBool,
    /// Whether a spare segment is asked for.
    wanted: AtomicBool,
    /// Whether batches are so large that zeros would cost more than they save.
    bulk: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// Length of the next segment.
    next: u64,
    /// Somebody is making a spare one.
    making: bool,
    /// A finished segment that was not synced.
    unsynced: Option<Arc<dyn File>>,
    syncing: bool,
    /// Segments begun since space was last given back.
    begun: u32,
    /// Making a spare one has failed for another reason than space: not tried again before the next segment.
    gave_up: bool,
    stop: bool,
}

impl Space {
    pub(crate) fn new(options: &LocalOptions, last: Option<u64>, spare: Option<u64>) -> Self {
        let next = last.map_or(options.smallest, |last| larger(last, options));
        Self {
            state: Mutex::new(State {
                next,
                making: false,
                unsynced: None,
                syncing: false,
                begun: 0,
                gave_up: false,
                stop: false,
            }),
            changed: Condvar::new(),
            left: AtomicU64::new(0),
            spare: AtomicU64::new(spare.unwrap_or(0)),
            short: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            bulk: AtomicBool::new(false),
        }
    }

    pub(crate) fn room(&self) -> u64 {
        if !self.short.load(Relaxed) {
            return u64::MAX;
        }
        // A batch lies in one segment.
        self.left.load(Relaxed).max(self.spare_bytes().saturating_sub(PAGE))
    }

    pub(crate) fn spare_bytes(&self) -> u64 {
        self.spare.load(Relaxed)
    }

    /// The system has refused space, or given some.
    pub(crate) fn short(&self, short: bool) {
        if self.short.swap(short, Relaxed) != short {
            tracing::debug!(short, "space for the log");
            let _state = self.state.lock();
            self.changed.notify_all();
        }
    }

    /// Notes what is left of the segment in use, which has so many batches, and asks for the next one in time.
    pub(crate) fn used(&self, left: u64, capacity: u64, batches: u64) {
        self.left.store(left, Relaxed);
        self.bulk.store(capacity.saturating_sub(left) / batches.max(1) > BULK, Relaxed);
        if left < capacity / 2 && self.spare_bytes() == 0 && !self.wanted.swap(true, Relaxed) {
            let _state = self.state.lock();
            self.changed.notify_all();
        }
    }

    /// Length of a new segment for a batch of `need` bytes.
    pub(crate) fn next_len(&self, need: u64) -> u64 {
        self.state.lock().next.max((need + PAGE).next_multiple_of(PAGE))
    }

    /// A segment of `len` bytes is in use.
    pub(crate) fn begun(&self, options: &LocalOptions, len: u64) {
        let mut state = self.state.lock();
        state.begun = state.begun.saturating_add(1);
        state.gave_up = false;
        if len <= options.largest {
            state.next = larger(state.next.max(len), options);
        }
    }

    /// Only the segment in use, of `len` bytes, is left. If that was so the last time as well, segments are larger than
    /// is needed.
    pub(crate) fn shrink(&self, options: &LocalOptions, len: u64) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.begun) < 2 {
            state.next = (state.next.min(len) / 4).max(options.smallest);
        }
    }

    /// Syncs a finished segment later, after the one before it.
    pub(crate) fn sync_later(&self, file: Arc<dyn File>) {
        let mut state = self.state.lock();
        while (state.unsynced.is_some() || state.syncing) && !state.stop {
            self.changed.wait(&mut state);
        }
        state.unsynced = Some(file);
        self.changed.notify_all();
    }

    /// Waits until no finished segment has to be synced any more.
    pub(crate) fn wait_for_syncs(&self) {
        let mut state = self.state.lock();
        while (state.unsynced.is_some() || state.syncing) && !state.stop {
            self.changed.wait(&mut state);
        }
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.changed.notify_all();
    }
}

fn larger(len: u64, options: &LocalOptions) -> u64 {
    let doubled = len.saturating_mul(2).min(options.largest);
    doubled.max(options.smallest)
}

/// Whether an error says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Shared {
    /// Takes the spare segment if it has at least `len` bytes; the file is [`NEXT`] then. Returns its length.
    pub(crate) fn take_spare(&self, len: u64) -> Option<u64> {
        let _state = self.space.state.lock();
        let found = self.space.spare_bytes();
        if found < len {
            return None;
        }
        self.space.spare.store(0, Relaxed);
        self.space.wanted.store(false, Relaxed);
        self.disk.rename(&self.dir.join(SPARE), &self.dir.join(NEXT)).ok().map(|()| found)
    }

    /// Keeps a dead segment as the spare one, or removes it.
    pub(crate) fn give_back(&self, segment: &Segment) -> Result<(), LogError> {
        let path = &segment.path;
        let keep = {
            let mut state = self.space.state.lock();
            let fits =
                (state.next..=state.next.saturating_mul(2).min(self.options.largest)).contains(&segment.len);
            let keep = fits && !segment.failed && self.space.spare_bytes() == 0 && !state.making;
            state.making |= keep;
            keep
        };
        if !keep {
            self.disk.remove(path).map_err(|source| error("remove", path, source))?;
            self.space.changed.notify_all();
            return Ok(());
        }
        // The old name has to be gone for good before the file is written to.
        let spare = self.dir.join(SPARE);
        let moved = self.disk.rename(path, &spare).map_err(|source| error("rename", path, source));
        let synced = moved.and_then(|()| {
            self.disk.sync_dir(&self.dir).map_err(|source| {
                let _ = self.disk.rename(&spare, path);
                error("sync", &self.dir, source)
            })
        });
        self.space.state.lock().making = false;
        synced?;
        self.space.spare.store(segment.len, Relaxed);
        self.space.short(false);
        Ok(())
    }

    /// Removes a spare segment that is larger than what is needed now.
    pub(crate) fn drop_oversized_spare(&self) {
        let state = self.space.state.lock();
        if self.space.spare_bytes() > state.next.saturating_mul(2) {
            self.space.spare.store(0, Relaxed);
            if let Err(error) = self.disk.remove(&self.dir.join(SPARE)) {
                tracing::warn!(%error, "cannot remove a spare segment");
            }
        }
    }

    /// Makes a spare segment, as large as there is space for.
    fn prepare(&self) {
        let mut len = {
            let mut state = self.space.state.lock();
            if state.making || state.gave_up || self.space.spare_bytes() > 0 {
                return;
            }
            state.making = true;
            state.next
        };
        let made = loop {
            match self.fill(len) {
                Err(error) if is_full(&error) && len > self.options.smallest => {
                    len = (len / 2).max(self.options.smallest);
                }
                other => break other,
            }
        };
        {
            let mut state = self.space.state.lock();
            state.making = false;
            if made.is_ok() {
                self.space.spare.store(len, Relaxed);
            }
        }
        match made {
            Ok(()) => self.space.short(false),
            Err(error) if is_full(&error) => self.space.short(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot prepare a segment");
                self.space.state.lock().gave_up = true;
            }
        }
    }

    fn fill(&self, len: u64) -> io::Result<()> {
        let path = self.dir.join(UNFINISHED);
        let filled = create(&*self.disk, &path).and_then(|file| {
            file.allocate(len)?;
            let pointless = self.options.durability == Durability::Os || self.space.bulk.load(Relaxed);
            let zeroed = if pointless { 0 } else { len };
            for at in (0..zeroed).step_by(PIECE as usize) {
                if self.space.state.lock().stop {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let piece = PIECE.min(len - at);
                write_zeros(&*file, at, piece)?;
                file.sync()?;
                Counters::add(&self.counters.other_bytes, piece);
            }
            if zeroed == 0 {
                file.sync()?;
            }
            self.disk.rename(&path, &self.dir.join(SPARE))
        });
        if filled.is_err() {
            // It may not even be there.
            let _ = self.disk.remove(&path);
        }
        filled
    }
}

fn write_zeros(file: &dyn File, from: u64, len: u64) -> io::Result<()> {
    let zeros = [0; ZEROS];
    for at in (from..from + len).step_by(ZEROS) {
        let left = (from + len - at).min(ZEROS as u64) as usize;
        file.write_at(zeros.get(..left).unwrap_or_default(), at)?;
    }
    Ok(())
}

enum Task {
    Sync(Arc<dyn File>),
    Prepare,
    Stop,
}

/// Starts the thread that prepares segments.
pub(crate) fn spawn(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new().name("tercet-segments".into()).spawn(move || {
        loop {
            match shared.space.next_task() {
                Task::Sync(file) => {
                    if let Err(error) = file.sync() {
                        tracing::warn!(%error, "a finished segment could not be synced");
                    }
                    shared.space.state.lock().syncing = false;
                    shared.space.changed.notify_all();
                }
                Task::Prepare => shared.prepare(),
                Task::Stop => return,
            }
        }
    })
}

impl Space {
    fn next_task(&self) -> Task {
        let mut state = self.state.lock();
        let mut refused = false;
        loop {
            if let Some(file) = state.unsynced.take() {
                state.syncing = true;
                return Task::Sync(file);
            }
            if state.stop {
                return Task::Stop;
            }
            let short = self.short.load(Relaxed);
            let missing = self.spare_bytes() == 0 && (short || self.wanted.load(Relaxed));
            match (missing, short && !refused) {
                // After a refusal the next attempt waits a little.
                (true, true) => {
                    let _ = self.changed.wait_for(&mut state, RETRY);
                    refused = true;
                }
                (true, false) => {
                    self.wanted.store(false, Relaxed);
                    return Task::Prepare;
                }
                (false, _) => self.changed.wait(&mut state),
            }
        }
    }
}
