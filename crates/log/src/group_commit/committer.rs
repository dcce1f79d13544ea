//! The thread that appends batches.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{GroupCommit, KEEP, Sealed, Trouble, Urgency};
use crate::batch::Batch;
use crate::engine::{Claim, Resolved};
use crate::error::AppendError;
use crate::position::Position;

/// Bytes staged behind a batch that cannot be appended after which they are sealed as a batch of their own, so that no
/// batch grows beyond what a log can take.
const SEAL_BEHIND: usize = 32 << 20;

/// Time without work after which the memory of large batches is given back.
const MEMORY_KEPT: Duration = Duration::from_secs(1);

/// The running committer. Dropped, it commits what is staged and ends: see [`Committer::finish`].
pub struct Committer {
    thread: Option<JoinHandle<Result<(), Unfinished>>>,
    ending: Arc<AtomicU8>,
}

/// Records that were staged when the committer ended have not become durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was staged last is not in the log: {0}")]
pub struct Unfinished(String);

/// Values of [`Committer::ending`].
const RUN: u8 = 0;
const FINISH: u8 = 1;
const ABANDON: u8 = 2;

impl Committer {
    pub(super) fn start(
        commit: &Arc<GroupCommit>,
        listener: Box<dyn Fn(Position) + Send>,
    ) -> io::Result<Self> {
        let Some(claim) = commit.claim.lock().take() else {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the committer has been started before",
            ));
        };
        let ending = Arc::new(AtomicU8::new(RUN));
        let work = Work {
            commit: Arc::clone(commit),
            claim,
            listener,
            ending: Arc::clone(&ending),
            sealed: VecDeque::new(),
            empty: Batch::default(),
            usual: 0,
            worked_at: Instant::now(),
            retry_at: None,
            unresolved: false,
            over: false,
            short_of_room: false,
        };
        let thread = thread::Builder::new().name("log-commit".to_owned()).spawn(move || work.run())?;
        Ok(Self { thread: Some(thread), ending })
    }

    /// Commits everything staged and ends. While the log is full or fails it tries once more, not longer.
    ///
    /// # Errors
    /// Not all of it is durable.
    pub fn finish(mut self) -> Result<(), Unfinished> {
        self.end(FINISH)
    }

    /// Ends after the batch in flight, and leaves what is staged behind it: as if the process had been killed. For tests.
    pub fn stop_without_commit(mut self) {
        // Leaving things behind is what was asked for.
        let _ = self.end(ABANDON);
    }

    fn end(&mut self, how: u8) -> Result<(), Unfinished> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.ending.store(how, Ordering::Release);
        thread.thread().unpark();
        thread.join().unwrap_or_else(|_| Err(Unfinished("the committer has broken down".to_owned())))
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        if let Err(unfinished) = self.end(FINISH) {
            tracing::error!("{unfinished}");
        }
    }
}

/// What the thread owns.
struct Work {
    commit: Arc<GroupCommit>,
    claim: Claim,
    listener: Box<dyn Fn(Position) + Send>,
    ending: Arc<AtomicU8>,
    /// Batches not confirmed yet, oldest first: more than one only while the log takes none.
    sealed: VecDeque<Sealed>,
    /// An empty batch, with memory, for the next seal.
    empty: Batch,
    /// Bytes of the larger ones among the latest batches.
    usual: usize,
    /// When the last batch was confirmed.
    worked_at: Instant,
    /// The log did not take the oldest batch; it is tried again then.
    retry_at: Option<Instant>,
    /// It is not known whether the oldest batch is in the log.
    unresolved: bool,
    /// The log belongs to somebody else, or breaks its contract: nothing is ever appended again.
    over: bool,
    /// The last room is kept for what frees space.
    short_of_room: bool,
}

impl Work {
    fn run(mut self) -> Result<(), Unfinished> {
        let _breakdown = Breakdown(Arc::clone(&self.commit));
        let _ = self.commit.committer.set(thread::current());
        self.commit.demand.0.fetch_max(Urgency::Lazy as u8, Ordering::AcqRel);
        let mut lazy_at = None;
        loop {
            match self.ending.load(Ordering::Acquire) {
                RUN => {}
                FINISH => break,
                _ => return Ok(()),
            }
            let demand = self.commit.demand.0.load(Ordering::Acquire);
            if self.over {
                thread::park();
            } else if let Some(at) = self.retry_at {
                if park_until(at) {
                    self.retry();
                }
            } else if demand >= Urgency::Urgent as u8 {
                lazy_at = None;
                self.commit_open_batch();
            } else if demand >= Urgency::Lazy as u8 {
                let at = *lazy_at.get_or_insert_with(|| Instant::now() + self.commit.settings.linger_lazy);
                if park_until(at) {
                    lazy_at = None;
                    self.commit_open_batch();
                }
            } else if self.commit.is_short_of_room() {
                thread::park_timeout(self.commit.settings.retry);
                self.look_for_room();
            } else if self.usual > KEEP {
                if park_until(self.worked_at + MEMORY_KEPT) {
                    self.release_memory();
                }
            } else {
                thread::park();
            }
        }
        self.commit_rest()
    }

    /// Seals the open batch and appends it.
    fn commit_open_batch(&mut self) {
        self.commit.demand.0.swap(0, Ordering::AcqRel);
        if let Some(sealed) = self.commit.seal(&mut self.empty) {
            self.sealed.push_back(sealed);
            self.append_sealed();
        }
    }

    /// Appends what is sealed, until the log refuses.
    fn append_sealed(&mut self) {
        while let Some(mut sealed) = self.sealed.pop_front() {
            match self.append(&mut sealed) {
                Ok(()) => self.confirmed(sealed),
                Err(refusal) => {
                    self.sealed.push_front(sealed);
                    self.refused(&refusal);
                    return;
                }
            }
        }
    }

    /// Appends one batch, where its records have been told that they are.
    fn append(&mut self, sealed: &mut Sealed) -> Result<(), AppendError> {
        let began = Instant::now();
        let result = self.attempt(sealed);
        let mut staging = self.commit.staging.0.lock();
        staging.statistics.appending += began.elapsed();
        staging.statistics.failures += u64::from(result.is_err());
        drop(staging);
        let position = result?;
        if position == sealed.position {
            return Ok(());
        }
        self.over = true;
        Err(AppendError::Unknown(format!("the batch of {} went to {position}", sealed.position)))
    }

    /// If it is not known what became of the batch, finds out, and appends the same bytes again if it is not there.
    fn attempt(&mut self, sealed: &mut Sealed) -> Result<Position, AppendError> {
        let log = Arc::clone(&self.commit.log);
        if !self.unresolved {
            match log.append(&mut self.claim, &mut sealed.batch) {
                Err(error @ AppendError::Unknown(_)) => self.in_trouble(&error),
                result => return result,
            }
        }
        self.unresolved = true;
        let resolved = log.resolve(&mut self.claim, &mut sealed.batch)?;
        self.unresolved = false;
        match resolved {
            Resolved::Committed(position) => Ok(position),
            Resolved::NotThere => {
                let result = log.append(&mut self.claim, &mut sealed.batch);
                self.unresolved = matches!(result, Err(AppendError::Unknown(_)));
                result
            }
        }
    }

    fn confirmed(&mut self, mut sealed: Sealed) {
        self.retry_at = None;
        if self.commit.failure.lock().take().is_some() {
            tracing::info!("the log takes batches again");
        }
        self.commit.confirm(&sealed);
        self.tell_of_room();
        // While there is much to do, large batches do not fetch their memory from the system every time.
        self.worked_at = Instant::now();
        self.usual = sealed.batch.len().max(self.usual - self.usual / 8);
        sealed.batch.clear(KEEP.max(2 * self.usual));
        self.empty = sealed.batch;
        (self.listener)(sealed.position);
    }

    /// There was nothing to do for a while: gives back what large batches have needed.
    fn release_memory(&mut self) {
        self.usual = 0;
        self.empty.clear(KEEP);
        let mut staging = self.commit.staging.0.lock();
        if staging.batch.is_empty() {
            staging.batch.clear(KEEP);
        }
    }

    fn refused(&mut self, error: &AppendError) {
        self.in_trouble(error);
        self.retry_at = Some(Instant::now() + self.commit.settings.retry);
        self.over |= matches!(error, AppendError::Fenced);
    }

    /// Tells everybody that the log takes no batches, and why; the event log once, not at every attempt.
    fn in_trouble(&self, error: &AppendError) {
        let reason = error.to_string();
        let mut failure = self.commit.failure.lock();
        if failure.as_ref() != Some(&reason) {
            tracing::error!("{reason}");
            *failure = Some(reason);
        }
        drop(failure);
        let full = matches!(error, AppendError::Full(_));
        self.commit.set_trouble(if full { Trouble::Full } else { Trouble::Failed });
    }

    /// Tries the batches again that the log did not take.
    fn retry(&mut self) {
        let behind = self.commit.staging.0.lock().batch.len();
        if behind > SEAL_BEHIND {
            self.sealed.extend(self.commit.seal(&mut self.empty));
        }
        self.append_sealed();
    }

    /// Nothing is to be done but to see whether the log has got more room.
    fn look_for_room(&mut self) {
        self.commit.look_for_room();
        if !self.tell_of_room() {
            (self.listener)(self.commit.durable());
        }
    }

    /// Notes in the event log when the last room begins to be kept, and when there is more again. Returns whether it is
    /// kept.
    fn tell_of_room(&mut self) -> bool {
        let short = self.commit.is_short_of_room();
        if std::mem::replace(&mut self.short_of_room, short) != short {
            if short {
                tracing::error!(
                    "no space left for the log: durable work is refused, what frees space goes on"
                );
            } else {
                tracing::info!("there is space for the log again");
            }
        }
        short
    }

    /// The end: one more attempt for what the log did not take, then everything that is still open.
    fn commit_rest(&mut self) -> Result<(), Unfinished> {
        if !self.over {
            self.append_sealed();
            if self.sealed.is_empty() {
                self.commit_open_batch();
            }
        }
        if self.sealed.is_empty() {
            return Ok(());
        }
        Err(Unfinished(self.commit.failure().unwrap_or_default()))
    }
}

/// Sleeps until `at` or until somebody unparks this thread. Returns whether the time has come.
fn park_until(at: Instant) -> bool {
    let left = at.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::park_timeout(left);
    }
    left.is_zero()
}

/// Says so if the thread breaks down: nothing would become durable any more.
struct Breakdown(Arc<GroupCommit>);

impl Drop for Breakdown {
    fn drop(&mut self) {
        if thread::panicking() {
            *self.0.failure.lock() = Some("the committer has broken down; restart the broker".to_owned());
            self.0.set_trouble(Trouble::Failed);
        }
    }
}
