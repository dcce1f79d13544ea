//! From a data directory to virtual hosts that can be served from.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::hosts::Hosts;
use tercet_broker::journal::LogJournal;
use tercet_broker::vhost::log_recovery::RecoveryError;
use tercet_log::engine::ShardLog;
use tercet_log::error::LogError;
use tercet_log::group_commit::{GroupCommit, Settings};
use tercet_log::local::{self, DataDirectory, LocalLog, LocalOptions};
use tercet_log::position::Position;

use super::running::RunningStorage;
use crate::config::{Config, Durability};

/// The shard that everything is in.
const SHARD: u32 = 0;

/// Bytes that may wait for the disk before publishers are held up: enough that a thousand of them with a window of
/// 16 KiB each never are.
const MOST_STAGED: usize = 32 << 20;
/// Part of the memory budget that they may be at most.
const STAGED_SHARE: usize = 32;

/// An open data directory whose log belongs to this process.
pub struct Storage {
    pub(super) directory: DataDirectory,
    pub(super) log: Arc<LocalLog>,
    pub(super) commit: Arc<GroupCommit>,
    pub(super) journal: Arc<LogJournal>,
}

/// The state that was found in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Sessions.
    pub sessions: usize,
    /// Queues with names.
    pub queues: usize,
    /// Messages queued in these, for sessions, and for shared subscriptions.
    pub queued: usize,
    /// Retained messages.
    pub retained: usize,
    /// Bytes of log that were read, those of the checkpoint not counted.
    pub log_bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StorageError(#[from] LogError);

impl StorageError {
    /// Whether the operating system refused something, which is all that is known then.
    #[must_use]
    pub fn is_refused_by_system(&self) -> bool {
        matches!(self.0, LogError::Io { .. })
    }
}

/// The state in the log cannot be rebuilt.
pub type RecoverError = RecoveryError;

impl Storage {
    /// Opens the data directory, or begins one, and claims its log. `None` if state is to be kept in memory only.
    ///
    /// # Errors
    /// The directory belongs to another process, holds something else, or cannot be read or written.
    pub fn open(config: &Config) -> Result<Option<Self>, StorageError> {
        let durability = match config.server.durability {
            Durability::Memory => return Ok(None),
            Durability::Fsync => local::Durability::Fsync,
            Durability::Os => local::Durability::Os,
        };
        let directory = DataDirectory::open(&config.server.data)?;
        let options = LocalOptions { durability, ..LocalOptions::default() };
        let log = Arc::new(directory.open_shard(SHARD, options)?);
        let claim = log.claim()?;
        let staged = (config.limits.memory_budget().as_usize() / STAGED_SHARE).min(MOST_STAGED);
        // Each thread may have judged one message before the others' are staged.
        let largest =
            config.limits.max_packet_size.bytes().saturating_mul(config.server.thread_count() as u64);
        let defaults = Settings::default();
        let reserve = defaults.reserve.saturating_add(largest);
        let settings = Settings { busy_bytes: staged, reserve, ..defaults };
        let commit = GroupCommit::new(Arc::clone(&log) as Arc<dyn ShardLog>, claim, settings);
        let journal = LogJournal::new(Arc::clone(&commit));
        Ok(Some(Self { directory, log, commit, journal }))
    }

    /// What the virtual hosts record their changes in.
    #[must_use]
    pub fn journal(&self) -> Arc<LogJournal> {
        Arc::clone(&self.journal)
    }

    /// Rebuilds the virtual hosts, which must be new and have [`Storage::journal`]. The effects are to be carried out once
    /// there are reactors.
    ///
    /// # Errors
    /// The log cannot be read or is damaged. The broker must not be started then: what is missing would be taken for
    /// settled.
    pub fn recover(&self, hosts: &Hosts, effects: &mut Effects) -> Result<Recovery, RecoverError> {
        let began = Instant::now();
        let recovered = hosts.recover(Now::read(), effects)?;
        let vhost = hosts.default_host();
        let census = vhost.census();
        let queues = hosts.queue_census();
        let recovery = Recovery {
            sessions: census.sessions,
            queues: queues.queues,
            queued: census.queued + queues.queued,
            retained: vhost.retained().len(),
            log_bytes: recovered.bytes,
            took: began.elapsed(),
        };
        // The start-up block says it to people.
        tracing::debug!(
            recovery.sessions,
            recovery.queues,
            recovery.queued,
            recovery.retained,
            recovery.log_bytes,
            took_ms = recovery.took.as_millis() as u64,
            "state recovered from the log"
        );
        if recovered.missing > 0 {
            tracing::error!(
                messages = recovered.missing,
                "the log does not hold these messages any more; they are dropped"
            );
        }
        Ok(recovery)
    }

    /// Starts the threads. `listener` is called when the log has moved or takes work again; it must not block.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn run(
        self,
        hosts: Arc<Hosts>,
        recovery: Recovery,
        listener: Box<dyn Fn(Position) + Send>,
    ) -> io::Result<RunningStorage> {
        RunningStorage::start(self, hosts, recovery, listener)
    }
}
