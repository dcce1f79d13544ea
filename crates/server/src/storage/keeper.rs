//! The keeper: a thread that sees to it that the log stays short enough to be read quickly and small enough for its
//! disk.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tercet_broker::hosts::Hosts;
use tercet_broker::vhost::checkpoint::KeepError;
use tercet_log::engine::ShardLog;
use tercet_log::error::LogError;
use tercet_log::group_commit::Admission;
use tercet_log::position::Position;

use super::policy::{Observation, Step, Use};
use super::reserve::Reserve;
use super::running::StorageView;

/// How often the keeper looks at the log.
const LOOK: Duration = Duration::from_millis(250);
/// Time that the log has to make durable what a checkpoint is about.
const PATIENCE: Duration = Duration::from_secs(10);
/// At most one part in so many of the keeper's time goes into checkpoints: with very many sessions they take longer.
const SHARE: u32 = 10;
/// How long an extent is left alone that could not be emptied, as part of it cannot be read.
const REST_AFTER_LEFTOVERS: Duration = Duration::from_secs(600);
/// How long the keeper leaves the log alone after a failure.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The keeper's thread. Dropped, it takes a last checkpoint and ends.
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(storage: &StorageView, hosts: Arc<Hosts>, reserve: Reserve) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let work = Work::new(storage.clone(), hosts, reserve);
        let thread =
            thread::Builder::new().name("log-keeper".to_owned()).spawn(move || work.run(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed; the log is as good as before.
            let _ = thread.join();
        }
    }
}

struct Work {
    storage: StorageView,
    hosts: Arc<Hosts>,
    reserve: Reserve,
    /// Bytes committed before the checkpoint in force, as [`tercet_log::group_commit::Statistics`] counts them.
    covered: u64,
    /// Bytes of log that were there before this process and are behind the checkpoint.
    inherited: u64,
    checkpoint_bytes: u64,
    /// Batches committed at the last look, and since when there are so many.
    commits: u64,
    changed_at: Instant,
    /// Batches refused at the last look.
    failures: u64,
    /// Extents that could not be emptied, and until when they are left alone.
    stubborn: HashMap<Position, Instant>,
    /// Extents that no restart will look into any more, and that are still there.
    dead: Vec<Position>,
    /// Nothing is tried before that.
    rest_until: Option<Instant>,
}

impl Work {
    fn new(storage: StorageView, hosts: Arc<Hosts>, reserve: Reserve) -> Self {
        let inherited = storage.recovery().log_bytes;
        reserve.keep(0);
        Self {
            storage,
            hosts,
            reserve,
            covered: 0,
            inherited,
            checkpoint_bytes: 0,
            commits: 0,
            failures: 0,
            changed_at: Instant::now(),
            stubborn: HashMap::new(),
            dead: Vec::new(),
            rest_until: None,
        }
    }

    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            self.give_back();
            let resting = self.rest_until.is_some_and(|until| Instant::now() < until);
            if !resting {
                self.look();
            }
        }
        // A log that takes nothing has nothing new for a checkpoint, either.
        if self.behind_checkpoint() > 0 && !self.is_refusing() {
            self.checkpoint();
        }
    }

    fn look(&mut self) {
        let observed = self.observe();
        let stuck = self.is_stuck() && observed.full;
        let outcome = match observed.decide() {
            Step::Rest => {
                if stuck && self.reserve.give_up() {
                    tracing::info!("gave the space kept for a checkpoint to a batch that had none");
                }
                true
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Empty(extents) => self.empty(&extents) && self.checkpoint(),
        };
        if !outcome {
            self.rest_until = Some(Instant::now() + REST_AFTER_FAILURE);
        }
    }

    fn observe(&mut self) -> Observation {
        let commits = self.storage.commit().statistics().commits;
        if commits != self.commits {
            (self.commits, self.changed_at) = (commits, Instant::now());
        }
        let mut extents = self.storage.log().extents();
        extents.pop();
        // These wait for a backup to end; there is nothing to be won any more.
        extents.retain(|extent| !self.dead.contains(&extent.first));
        let live = self.storage.journal().live(&extents);
        let now = Instant::now();
        self.stubborn.retain(|_, until| *until > now);
        let usage = extents.iter().zip(live).map(|(extent, live)| {
            // What cannot be emptied counts as full.
            let stuck = live > 0 && self.stubborn.contains_key(&extent.first);
            Use { first: extent.first, bytes: extent.bytes, live: if stuck { extent.bytes } else { live } }
        });
        Observation {
            behind_checkpoint: self.behind_checkpoint(),
            checkpoint: self.checkpoint_bytes,
            quiet: self.changed_at.elapsed(),
            full: self.is_refusing(),
            extents: usage.collect(),
        }
    }

    /// Whether the log did not take a batch since the last look. It was let in when there was room, which something else has
    /// taken since; those who published it wait for an answer.
    fn is_stuck(&mut self) -> bool {
        let failures = self.storage.commit().statistics().failures;
        std::mem::replace(&mut self.failures, failures) != failures
    }

    fn is_refusing(&self) -> bool {
        matches!(self.storage.commit().admission(), Admission::Full | Admission::Failed)
    }

    fn behind_checkpoint(&self) -> u64 {
        self.inherited + self.storage.commit().statistics().bytes.saturating_sub(self.covered)
    }

    /// Copies what is held of these extents to the end of the log. Returns whether that went well.
    fn empty(&mut self, firsts: &[Position]) -> bool {
        let mut extents = self.storage.log().extents();
        extents.retain(|extent| firsts.contains(&extent.first));
        let moved = match self.hosts.relocate(self.storage.journal(), &extents, PATIENCE) {
            Ok(moved) => moved,
            Err(error) => {
                tracing::warn!(%error, "the log could not be tidied up; it is tried again");
                return false;
            }
        };
        tracing::debug!(moved.messages, moved.bytes, extents = extents.len(), "emptied extents of the log");
        if moved.unreadable > 0 {
            tracing::error!(
                moved.unreadable,
                "stored messages cannot be read; hint: stop the broker and run `tercet log check`"
            );
        }
        let until = Instant::now() + REST_AFTER_LEFTOVERS;
        let left = extents.iter().zip(self.storage.journal().live(&extents)).filter(|(_, live)| *live > 0);
        self.stubborn.extend(left.map(|(extent, _)| (extent.first, until)));
        true
    }

    /// Takes a checkpoint and gives back what it makes dead. Returns whether it is in force.
    fn checkpoint(&mut self) -> bool {
        let committed = self.storage.commit().statistics().bytes;
        let began = Instant::now();
        let mut taken = self.hosts.checkpoint(self.storage.journal(), PATIENCE);
        if taken.as_ref().is_err_and(is_full) && self.reserve.give_up() {
            taken = self.hosts.checkpoint(self.storage.journal(), PATIENCE);
        }
        let checkpoint = match taken {
            Ok(checkpoint) => checkpoint,
            Err(KeepError::Log(LogError::BackupRunning { .. })) => return false,
            Err(error) => {
                tracing::warn!(%error, "no checkpoint could be taken; it is tried again");
                return false;
            }
        };
        let took = began.elapsed();
        self.rest_until = Some(began + took * SHARE);
        let took_ms = took.as_millis() as u64;
        tracing::debug!(took_ms, checkpoint.bytes, dead = checkpoint.dead.len(), "checkpoint");
        (self.covered, self.inherited) = (committed, 0);
        self.checkpoint_bytes = checkpoint.bytes;
        self.dead.extend(checkpoint.dead);
        self.give_back();
        self.reserve.keep(self.checkpoint_bytes);
        true
    }

    /// Gives dead extents back; those that a backup still copies, later.
    fn give_back(&mut self) {
        if self.dead.is_empty() {
            return;
        }
        match self.storage.log().trim(&self.dead) {
            Ok(()) => self.dead.clear(),
            Err(LogError::BackupRunning { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "space of the log could not be given back; it is tried again");
                self.rest_until = Some(Instant::now() + REST_AFTER_FAILURE);
            }
        }
    }
}

fn is_full(error: &KeepError) -> bool {
    let KeepError::Log(LogError::Io { source, .. }) = error else { return false };
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
