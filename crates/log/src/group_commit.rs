//! Group commit: everybody stages records, one thread appends them batch by batch, one watermark releases all who wait.
//!
//! - [`GroupCommit::stage`] copies a record into the open batch under a short lock. The record's [`Place`] is known at
//!   once, as the position behind the batch in flight can be computed before that is written.
//! - [`GroupCommit::together`] is a gate around staging: what is staged inside lands in one batch, so that it becomes durable
//!   as a whole or not at all.
//! - [`GroupCommit::flush`] at the end of a turn tells the committer that there is work.
//! - [`Committer`] seals the open batch, appends it and moves the watermark ([`GroupCommit::durable`]), without any
//!   artificial delay: while one batch is synced the next one fills.
//!
//! Invariants:
//! - The watermark moves only when the log has confirmed the batch at it, and therefore every batch before it.
//! - A position belongs to one content for ever: a batch that could not be confirmed is kept and appended again,
//!   unchanged, before anything behind it.
//! - Staging never fails and never waits for the disk. What is staged stays bounded because
//!   [`GroupCommit::admission`] tells those who bring new work to hold back.

mod committer;
mod gate;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::batch::Batch;
use crate::engine::{Claim, ShardLog};
use crate::error::LogError;
use crate::position::{Place, Position};

pub use committer::{Committer, Unfinished};
use gate::Gate;

/// Memory of a batch that is always kept for the next one.
const KEEP: usize = 1 << 20;

/// How soon a record has to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Urgency {
    /// Nobody waits for it: it rides along with the next urgent record, or goes alone after [`Settings::linger_lazy`].
    Lazy = 1,
    /// Somebody waits for it.
    Urgent = 2,
}

/// Whether new work that needs the log can be taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Admission {
    /// Yes.
    Open = 0,
    /// Not now: much is staged already. Stop reading from those who publish durably; it passes by itself.
    Busy = 1,
    /// There is no space, or only what is kept for acknowledgements and the like, which free some: refuse other durable
    /// work. Heals by itself when there is space.
    Full = 2,
    /// The log cannot be written: refuse durable work. Tried again all the time, but for a log that another node owns by
    /// now.
    Failed = 3,
}

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The longest time a flushed [`Urgency::Lazy`] record waits for company.
    pub linger_lazy: Duration,
    /// Bytes staged and not durable yet above which admission is [`Admission::Busy`].
    pub busy_bytes: usize,
    /// Bytes of the log's room that new work must leave to what frees space (acknowledgements).
    pub reserve: u64,
    /// Time between attempts to append while the log is full or fails.
    pub retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            linger_lazy: Duration::from_millis(20),
            busy_bytes: 8 << 20,
            reserve: 256 << 10,
            retry: Duration::from_millis(250),
        }
    }
}

/// What has been committed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Batches.
    pub commits: u64,
    /// Calls of [`GroupCommit::stage`] whose batch is durable.
    pub records: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Bytes of the largest batch.
    pub largest_batch: u64,
    /// Time spent in the log's append, successful or not.
    pub appending: Duration,
    /// Appends that did not succeed.
    pub failures: u64,
    /// Bytes staged and not durable yet, now.
    pub unconfirmed: u64,
}

/// A record cannot be read back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not durable yet; it is still in the memory of whoever staged it.
    #[error("the record at {0} is not written yet")]
    NotDurable(Place),
    /// The log says why.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The staging side: shared by all who change durable state.
pub struct GroupCommit {
    gate: Gate,
    staging: Apart<Mutex<Staging>>,
    /// The greatest [`Urgency`] staged since somebody flushed.
    unflushed: Apart<AtomicU8>,
    /// The greatest urgency flushed since the open batch was sealed.
    demand: Apart<AtomicU8>,
    published: Apart<Published>,
    committer: OnceLock<Thread>,
    claim: Mutex<Option<Claim>>,
    waiting: Mutex<()>,
    moved: Condvar,
    failure: Mutex<Option<String>>,
    log: Arc<dyn ShardLog>,
    settings: Settings,
}

/// Keeps what several threads write away from the cache lines of its neighbours.
#[repr(align(128))]
struct Apart<T>(T);

/// What everybody reads and only the committer (and a stager that crosses the limit) writes.
struct Published {
    durable: AtomicU64,
    admission: AtomicU8,
}

/// The open batch and the account of what is not durable yet.
struct Staging {
    batch: Batch,
    /// Where the open batch will begin.
    position: Position,
    /// Batch of the record staged last.
    last: Position,
    records: u64,
    /// Bytes sealed and not durable yet.
    in_flight: usize,
    /// [`ShardLog::room`] when the committer looked last.
    room: u64,
    trouble: Trouble,
    statistics: Statistics,
}

/// Whether the log takes batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Full,
    Failed,
}

/// A batch on its way.
struct Sealed {
    batch: Batch,
    position: Position,
    records: u64,
}

impl GroupCommit {
    /// Staging works from here on; nothing is committed before [`GroupCommit::start`].
    #[must_use]
    pub fn new(log: Arc<dyn ShardLog>, claim: Claim, settings: Settings) -> Arc<Self> {
        let next = claim.next;
        let before = next.number().saturating_sub(1);
        let staging = Staging {
            batch: Batch::default(),
            position: next,
            last: Position::NONE,
            records: 0,
            in_flight: 0,
            room: log.room(),
            trouble: Trouble::None,
            statistics: Statistics::default(),
        };
        Arc::new(Self {
            gate: Gate::new(),
            staging: Apart(Mutex::new(staging)),
            unflushed: Apart(AtomicU8::new(0)),
            demand: Apart(AtomicU8::new(0)),
            published: Apart(Published {
                durable: AtomicU64::new(before),
                admission: AtomicU8::new(Admission::Open as u8),
            }),
            committer: OnceLock::new(),
            claim: Mutex::new(Some(claim)),
            waiting: Mutex::new(()),
            moved: Condvar::new(),
            failure: Mutex::new(None),
            log,
            settings,
        })
    }

    /// Starts the committer. `listener` is called by its thread with the watermark whenever that has moved or
    /// [`GroupCommit::admission`] has become better; it must not block and must not stage.
    ///
    /// # Errors
    /// No thread can be started, or it has been started before.
    pub fn start(self: &Arc<Self>, listener: Box<dyn Fn(Position) + Send>) -> io::Result<Committer> {
        Committer::start(self, listener)
    }

    /// Runs `operation`; all it stages is one unit that becomes durable as a whole or not at all. May be nested.
    ///
    /// It must not wait for anything to become durable: no batch is sealed before it returns. And it is to be entered
    /// *before* any lock is taken that an operation inside may wait for, as entering waits while a batch is being sealed
    /// and that waits for those who are inside.
    pub fn together<R>(&self, operation: impl FnOnce() -> R) -> R {
        let _inside = self.gate.enter();
        operation()
    }

    /// Stages what `write` appends to the vector it is given: one record or several, at the [`Place`] it is told. It
    /// must leave alone what is in the vector (whose length is not the offset in the payload), and be quick, as everybody else
    /// waits. Whoever stages calls [`GroupCommit::flush`] before it turns to something else.
    ///
    /// What one call writes is a unit, also outside of [`GroupCommit::together`].
    pub fn stage<R>(&self, urgency: Urgency, write: impl FnOnce(&mut Vec<u8>, Place) -> R) -> (Place, R) {
        let mut staging = self.staging.0.lock();
        let place = staging.place();
        let result = write(staging.batch.out(), place);
        staging.records += 1;
        staging.last = place.batch;
        if staging.unconfirmed() > self.settings.busy_bytes || staging.room < u64::MAX {
            self.publish_admission(&staging);
        }
        // The lock is held: see `flush` for why nobody can miss this.
        if self.unflushed.0.load(Ordering::Relaxed) < urgency as u8 {
            self.unflushed.0.store(urgency as u8, Ordering::Release);
        }
        (place, result)
    }

    /// Sees to it that what this thread has staged is committed: at once if anything of it is urgent, else within
    /// [`Settings::linger_lazy`]. Costs one atomic load if there is nothing to do.
    ///
    /// Nothing is missed. (1) Whoever takes a mark out of `unflushed` raises `demand` by it afterwards; a stager that finds its mark
    /// set already does so while it holds the staging lock, and the one who takes that mark makes the committer seal, under
    /// the same lock, later. (2) The committer sets `demand` back before it seals: a mark raised before that is about
    /// records that are in the batch; one raised after that is found by its next look. (3) Between that look and its
    /// `park` the raise is followed by an `unpark`, whose token lets `park` return at once. Only a raise wakes: one wake
    /// per batch at most, however many flush.
    pub fn flush(&self) {
        if self.unflushed.0.load(Ordering::Relaxed) == 0 {
            return;
        }
        let urgency = self.unflushed.0.swap(0, Ordering::AcqRel);
        if urgency > 0 && self.demand.0.fetch_max(urgency, Ordering::AcqRel) < urgency {
            // None before the committer runs. It names itself before its first read-modify-write of `demand`, which
            // either sees this raise or is seen by it, and with it the name.
            if let Some(committer) = self.committer.get() {
                committer.unpark();
            }
        }
    }

    /// The place of the next record: every record staged so far is before it, every later one at or behind it.
    #[must_use]
    pub fn cut(&self) -> Place {
        self.staging.0.lock().place()
    }

    /// What has to be waited for so that everything staged so far is durable; [`Position::NONE`] if it is.
    #[must_use]
    pub fn staged(&self) -> Position {
        let last = self.staging.0.lock().last;
        if last > self.durable() { last } else { Position::NONE }
    }

    /// The watermark: every batch at or before it is durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        Position::new(self.published.0.durable.load(Ordering::Acquire))
    }

    /// Waits until the batch at `position` is durable, for at most `patience`. Returns whether it is. Not for threads that serve
    /// clients, and not inside [`GroupCommit::together`].
    pub fn wait_durable(&self, position: Position, patience: Duration) -> bool {
        let deadline = Instant::now().checked_add(patience);
        let mut waiting = self.waiting.lock();
        while self.durable() < position {
            match deadline {
                Some(deadline) if self.moved.wait_until(&mut waiting, deadline).timed_out() => {
                    return self.durable() >= position;
                }
                Some(_) => {}
                None => self.moved.wait(&mut waiting),
            }
        }
        true
    }

    /// Whether new durable work can be taken on. One atomic load.
    #[must_use]
    pub fn admission(&self) -> Admission {
        match self.published.0.admission.load(Ordering::Relaxed) {
            0 => Admission::Open,
            1 => Admission::Busy,
            2 => Admission::Full,
            _ => Admission::Failed,
        }
    }

    /// Why durable work is refused at present.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().clone();
        failure.or_else(|| self.is_short_of_room().then(|| "no space left for the log".to_owned()))
    }

    /// Appends `length` bytes from `place` on to `into`. They must lie in one batch.
    ///
    /// # Errors
    /// They are not durable yet, or cannot be read.
    pub fn read(&self, place: Place, length: usize, into: &mut Vec<u8>) -> Result<(), ReadError> {
        if place.batch > self.durable() {
            return Err(ReadError::NotDurable(place));
        }
        Ok(self.log.get(place.batch, place.offset, length, into)?)
    }

    /// What has been committed since the start.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let staging = self.staging.0.lock();
        Statistics { unconfirmed: staging.unconfirmed() as u64, ..staging.statistics }
    }

    /// The log below.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn ShardLog> {
        &self.log
    }

    /// Under the staging lock, so that the last one to publish knows best.
    fn publish_admission(&self, staging: &Staging) {
        let admission = match staging.trouble {
            Trouble::Failed => Admission::Failed,
            Trouble::Full => Admission::Full,
            Trouble::None if staging.is_short_of_room(self.settings.reserve) => Admission::Full,
            Trouble::None if staging.unconfirmed() > self.settings.busy_bytes => Admission::Busy,
            Trouble::None => Admission::Open,
        };
        let published = &self.published.0.admission;
        if published.load(Ordering::Relaxed) != admission as u8 {
            published.store(admission as u8, Ordering::Relaxed);
        }
    }

    /// Takes the open batch, if it is not empty, and puts `empty` in its place: the only moment when nobody may be inside
    /// the gate.
    fn seal(&self, empty: &mut Batch) -> Option<Sealed> {
        if self.staging.0.lock().batch.is_empty() {
            return None;
        }
        let _closed = self.gate.close();
        let mut staging = self.staging.0.lock();
        let batch = std::mem::replace(&mut staging.batch, std::mem::take(empty));
        let position = staging.position;
        staging.position = self.log.position_after(position, batch.len());
        staging.in_flight += batch.len();
        let records = std::mem::take(&mut staging.records);
        Some(Sealed { batch, position, records })
    }

    /// The batch is durable: moves the watermark over it.
    fn confirm(&self, sealed: &Sealed) {
        let bytes = sealed.batch.len();
        let room = self.log.room();
        {
            let mut staging = self.staging.0.lock();
            staging.in_flight = staging.in_flight.saturating_sub(bytes);
            staging.room = room;
            staging.trouble = Trouble::None;
            let statistics = &mut staging.statistics;
            statistics.commits += 1;
            statistics.records += sealed.records;
            statistics.bytes += bytes as u64;
            statistics.largest_batch = statistics.largest_batch.max(bytes as u64);
            self.publish_admission(&staging);
        }
        {
            // Locked, so that nobody is between looking at the watermark and waiting for it to move.
            let _waiting = self.waiting.lock();
            self.published.0.durable.store(sealed.position.number(), Ordering::Release);
        }
        self.moved.notify_all();
    }

    fn set_trouble(&self, trouble: Trouble) {
        let mut staging = self.staging.0.lock();
        staging.trouble = trouble;
        self.publish_admission(&staging);
    }

    /// Whether durable work is refused though the log takes batches.
    fn is_short_of_room(&self) -> bool {
        let staging = self.staging.0.lock();
        staging.trouble == Trouble::None && staging.is_short_of_room(self.settings.reserve)
    }

    fn look_for_room(&self) {
        let room = self.log.room();
        let mut staging = self.staging.0.lock();
        staging.room = room;
        self.publish_admission(&staging);
    }
}

impl Staging {
    fn place(&self) -> Place {
        Place { batch: self.position, offset: self.batch.len() as u32 }
    }

    fn unconfirmed(&self) -> usize {
        self.in_flight + self.batch.len()
    }

    fn is_short_of_room(&self, reserve: u64) -> bool {
        self.room < reserve.saturating_add(self.unconfirmed() as u64)
    }
}
