//! The storage of a running server.

use std::io;
use std::sync::Arc;

use tercet_broker::hosts::Hosts;
use tercet_broker::journal::LogJournal;
use tercet_log::group_commit::{Admission, Committer, GroupCommit, Statistics};
use tercet_log::local::{DataDirectory, LocalLog, LogMetrics};
use tercet_log::position::Position;

use super::keeper::Keeper;
use super::opening::{Recovery, Storage};
use super::reserve::Reserve;
use crate::reactor::inbox::Inbox;

/// The threads that look after the log. Dropped, it commits what is staged, takes a checkpoint and ends.
pub struct RunningStorage {
    view: StorageView,
    keeper: Option<Keeper>,
    committer: Option<Committer>,
    /// Locked until nothing writes to it any more.
    _directory: DataDirectory,
}

/// What others may know about the storage. Cheap to clone.
#[derive(Clone)]
pub struct StorageView {
    commit: Arc<GroupCommit>,
    journal: Arc<LogJournal>,
    log: Arc<LocalLog>,
    recovery: Recovery,
}

/// The log at about one moment.
#[derive(Clone, Debug)]
pub struct LogState {
    /// What has been committed.
    pub commits: Statistics,
    /// What the files have been through.
    pub files: LogMetrics,
    /// Whether new durable work is taken on.
    pub admission: Admission,
    /// What was found at the start.
    pub recovery: Recovery,
}

impl LogState {
    /// Whether durable work is refused.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        matches!(self.admission, Admission::Full | Admission::Failed)
    }
}

impl RunningStorage {
    pub(super) fn start(
        storage: Storage,
        hosts: Arc<Hosts>,
        recovery: Recovery,
        listener: Box<dyn Fn(Position) + Send>,
    ) -> io::Result<Self> {
        let Storage { directory, log, commit, journal } = storage;
        let committer = commit.start(listener)?;
        let view = StorageView { commit, journal, log, recovery };
        let keeper = Keeper::start(&view, hosts, Reserve::new(directory.path()))?;
        Ok(Self { view, keeper: Some(keeper), committer: Some(committer), _directory: directory })
    }

    /// What others may know.
    #[must_use]
    pub fn view(&self) -> &StorageView {
        &self.view
    }
}

/// A listener of the log that wakes the reactors which wait for it.
#[must_use]
pub fn wake_reactors(reactors: Vec<Arc<Inbox>>) -> Box<dyn Fn(Position) + Send> {
    Box::new(move |durable| reactors.iter().for_each(|inbox| inbox.log_moved(durable)))
}

impl Drop for RunningStorage {
    fn drop(&mut self) {
        // The last checkpoint waits for the committer.
        self.keeper = None;
        self.committer = None;
    }
}

impl StorageView {
    /// Why durable work is refused at present.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.commit.failure()
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<LogJournal> {
        &self.journal
    }

    /// What was found at the start.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    pub(super) fn commit(&self) -> &Arc<GroupCommit> {
        &self.commit
    }

    pub(super) fn log(&self) -> &Arc<LocalLog> {
        &self.log
    }

    /// Looks everything up.
    #[must_use]
    pub fn state(&self) -> LogState {
        LogState {
            commits: self.commit.statistics(),
            files: self.log.metrics(),
            admission: self.commit.admission(),
            recovery: self.recovery,
        }
    }
}
