//! Virtual hosts: as many as there are names, above one log.
//!
//! Each is a world of its own: topics, exchanges, queues, sessions. They share the log with its checkpoints, the budget for
//! messages in memory, the reader that brings messages back, and the [`Definitions`]. The one called `/` always exists, and is
//! MQTT's; in the log it is number 0.
//!
//! - [`Hosts::recover`], [`Hosts::checkpoint`], [`Hosts::relocate`]: all of them from and for the log.
//!
//! Locks: the table of virtual hosts is locked before anything within one; nothing is done in a virtual host under it but its
//! end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::RwLock;
use smallvec::SmallVec;
use tercet_log::engine::Extent;

use crate::body_budget::BodyBudget;
use crate::clock::Now;
use crate::crossing::address::TopicMapping;
use crate::definitions::Definitions;
use crate::effects::Effects;
use crate::event::EventSink;
use crate::journal::{Journal, LogJournal, Position};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::named_queue::Condition;
use crate::permission::Permissions;
use crate::read_back::{Bodies, Fetch, Fetches};
use crate::record::{HostRecord, Record};
use crate::schedule::Alarm;
use crate::vhost::Vhost;
use crate::vhost::checkpoint::{self, Checkpointed, KeepError};
use crate::vhost::log_recovery::{self, Recovered, RecoveryError};
use crate::vhost::relocation::{self, Relocated};

/// Identifies a virtual host in the log; never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VhostId(pub u64);

impl VhostId {
    /// The virtual host that always exists.
    pub const DEFAULT: Self = Self(0);
}

/// The name of the virtual host that always exists.
pub const DEFAULT_NAME: &str = "/";

/// Longest name of a virtual host, in bytes: a short string of AMQP.
const LONGEST_NAME: usize = 255;

/// What virtual hosts have in common.
pub(crate) struct Shared {
    pub limits: Limits,
    pub events: Arc<dyn EventSink>,
    pub metrics: Arc<Metrics>,
    pub budget: Arc<BodyBudget>,
    pub fetches: Arc<Fetches>,
    pub definitions: Arc<Definitions>,
    pub alarm: Arc<Alarm>,
    pub topic_mapping: TopicMapping,
}

/// A virtual host cannot be made or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is one of that name.
    #[error("virtual host '{0}' exists already")]
    Exists(Arc<str>),
    /// There is none of that name.
    #[error("virtual host '{0}' does not exist")]
    NotFound(Arc<str>),
    /// It always exists.
    #[error("virtual host '{DEFAULT_NAME}' cannot be deleted")]
    Default,
    /// No virtual host can be called that.
    #[error("a virtual host needs a name of 1 to {LONGEST_NAME} bytes without control characters")]
    Name,
}

/// The virtual hosts. See the module documentation.
pub struct Hosts {
    shared: RwLock<Shared>,
    journal: Option<Arc<LogJournal>>,
    default: Arc<Vhost>,
    table: RwLock<Table>,
    next: AtomicU64,
}

#[derive(Default)]
struct Table {
    by_name: HashMap<Arc<str>, Arc<Vhost>>,
    by_id: HashMap<VhostId, Arc<Vhost>>,
}

impl Table {
    fn insert(&mut self, host: &Arc<Vhost>) {
        self.by_name.insert(Arc::clone(host.name()), Arc::clone(host));
        self.by_id.insert(host.id(), Arc::clone(host));
    }
}

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.table.read().by_name.keys()).finish()
    }
}

impl Hosts {
    /// The virtual host `/` alone, of which `permissions` are the rules of its topics. Without a journal nothing is recorded.
    #[must_use]
    pub fn new(
        limits: Limits,
        permissions: Permissions,
        journal: Option<Arc<LogJournal>>,
        events: Arc<dyn EventSink>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let of_default = journal.as_ref().map(|journal| Arc::clone(journal) as Arc<dyn Journal>);
        Self { journal, ..Self::recording_to(limits, permissions, of_default, events, metrics) }
    }

    /// The same above a journal that is not a log. Further virtual hosts record nothing.
    #[must_use]
    pub fn recording_to(
        limits: Limits,
        permissions: Permissions,
        of_default: Option<Arc<dyn Journal>>,
        events: Arc<dyn EventSink>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let shared = Shared {
            budget: Arc::new(BodyBudget::new(limits.message_memory)),
            fetches: Arc::default(),
            definitions: Arc::new(Definitions::new(of_default.clone())),
            alarm: Arc::default(),
            topic_mapping: TopicMapping::default(),
            limits,
            events,
            metrics,
        };
        let (id, name) = (VhostId::DEFAULT, Arc::from(DEFAULT_NAME));
        let default = Arc::new(Vhost::in_hosts(id, name, permissions, of_default, &shared));
        let mut table = Table::default();
        table.insert(&default);
        Self {
            shared: RwLock::new(shared),
            journal: None,
            default,
            table: RwLock::new(table),
            next: AtomicU64::new(1),
        }
    }

    /// Sets how topics of MQTT become routing keys of AMQP in all virtual hosts. To be called before anything else: bindings
    /// that are there stay where they are.
    pub fn set_topic_mapping(&self, mapping: TopicMapping) {
        self.shared.write().topic_mapping = mapping;
        self.default.set_topic_mapping(mapping);
    }

    /// The virtual host that always exists, and is MQTT's.
    #[must_use]
    pub fn default_host(&self) -> &Arc<Vhost> {
        &self.default
    }

    /// The virtual host of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Arc<Vhost>> {
        self.table.read().by_name.get(name).cloned()
    }

    /// The virtual host with this number.
    #[must_use]
    pub fn by_id(&self, id: VhostId) -> Option<Arc<Vhost>> {
        if id == VhostId::DEFAULT {
            return Some(Arc::clone(&self.default));
        }
        self.table.read().by_id.get(&id).cloned()
    }

    /// All virtual hosts, by their numbers: that is in the order in which they were made.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Vhost>> {
        let mut all: Vec<_> = self.table.read().by_id.values().cloned().collect();
        all.sort_unstable_by_key(|host| host.id());
        all
    }

    /// What is defined for the whole server.
    #[must_use]
    pub fn definitions(&self) -> &Arc<Definitions> {
        self.default.definitions()
    }

    /// Makes a virtual host. An answer waits for the position.
    ///
    /// # Errors
    /// There is one of that name, or nothing can be called that.
    pub fn create(&self, name: &str) -> Result<(Arc<Vhost>, Position), HostError> {
        if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(HostError::Name);
        }
        let name: Arc<str> = Arc::from(name);
        let mut table = self.table.write();
        if table.by_name.contains_key(&name) {
            return Err(HostError::Exists(name));
        }
        let host = self.make(VhostId(self.next.fetch_add(1, Relaxed)), Arc::clone(&name));
        let position = self.stage(host.id(), &HostRecord::Created { name });
        table.insert(&host);
        Ok((host, position))
    }

    fn make(&self, id: VhostId, name: Arc<str>) -> Arc<Vhost> {
        let journal = self.journal.as_ref().map(|journal| Arc::new(journal.of_host(id)) as Arc<dyn Journal>);
        let shared = self.shared.read();
        Arc::new(Vhost::in_hosts(id, name, Permissions::allow_all(), journal, &shared))
    }

    fn stage(&self, id: VhostId, record: &HostRecord) -> Position {
        let journal = self.journal.as_ref();
        journal.map_or(Position::NONE, |journal| journal.of_host(id).stage(&Record::Host(record)))
    }

    /// Ends a virtual host with everything in it and everything that is defined for it in [`Definitions`]. Whoever is
    /// connected to it finds its queues gone; to end the connections is up to the caller. An answer waits for the position.
    ///
    /// # Errors
    /// There is none of that name, or it is the one that always exists.
    pub fn delete(&self, name: &str, now: Now, effects: &mut Effects) -> Result<Position, HostError> {
        if name == DEFAULT_NAME {
            return Err(HostError::Default);
        }
        let host = self.table.write().by_name.remove(name).ok_or_else(|| HostError::NotFound(name.into()))?;
        let mut position = Position::NONE;
        host.together(|| {
            for info in host.queues() {
                // One that is gone already is what is wanted.
                let _ = host.with_context(now, effects, |cx| info.queue.delete(Condition::default(), cx));
            }
            self.definitions().remove_host(name);
            // Still there by its number until then: a checkpoint has it, or the record of its end.
            let mut table = self.table.write();
            table.by_id.remove(&host.id());
            position = self.stage(host.id(), &HostRecord::Deleted);
        });
        Ok(position)
    }

    /// Puts other limits in force, in all virtual hosts. What already exceeds them stays.
    pub fn set_limits(&self, limits: &Limits) {
        let table = self.table.read();
        self.shared.write().limits = limits.clone();
        table.by_id.values().for_each(|host| host.set_limits(limits.clone()));
    }

    /// Everything at or before this position is durable; answers up to it may be given.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.default.durable()
    }

    /// Lets the log go on with what was staged.
    pub fn flush(&self) {
        self.default.flush();
    }

    /// [`Vhost::after_durable`] for the virtual hosts of everybody in [`Effects::deferred`].
    pub fn after_durable(&self, now: Now, effects: &mut Effects) {
        let mut hosts: SmallVec<[VhostId; 4]> = SmallVec::new();
        for host in effects.deferred.iter().map(crate::undurable::Deferred::host) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        for id in hosts {
            match self.by_id(id) {
                Some(host) => host.after_durable(now, effects),
                None => effects.deferred.retain(|next| next.host() != id),
            }
        }
    }

    /// [`Vhost::tick`] in all virtual hosts. Returns whether more is due at once.
    pub fn tick(&self, now: Now, effects: &mut Effects) -> bool {
        let mut more = false;
        for host in self.all() {
            more |= host.tick(now, effects);
        }
        more
    }

    /// [`Vhost::run_due`] in all virtual hosts. Returns when it is worth calling again, UTC milliseconds.
    pub fn run_due(&self, now: Now, effects: &mut Effects) -> Option<u64> {
        self.all().iter().filter_map(|host| host.run_due(now, effects)).min()
    }

    /// What rings when something becomes due earlier than [`Hosts::run_due`] has said, in any virtual host.
    #[must_use]
    pub fn alarm(&self) -> &Arc<Alarm> {
        self.default.schedule().alarm()
    }

    /// Waits until somebody needs messages that are not in memory, no longer than `most`; returns whether somebody does.
    pub fn wait_for_fetches(&self, most: Duration) -> bool {
        self.default.wait_for_fetches(most)
    }

    /// Ends a wait for somebody who needs messages.
    pub fn stop_waiting_for_fetches(&self) {
        self.default.stop_waiting_for_fetches();
    }

    /// Reads what the next one needs who waits for messages, in whichever virtual host, and lets it go on. Returns whether
    /// there was one. Reads the log: not for a thread that serves clients.
    pub fn read_back(&self, bodies: &dyn Bodies, now: Now, effects: &mut Effects) -> bool {
        let Some((id, fetch)) = self.default.fetches.next() else { return false };
        match (self.by_id(id), fetch) {
            (Some(host), fetch) => host.read_back_for(fetch, bodies, now, effects),
            (None, Fetch::Values(request)) => effects.values.push(request.abandoned()),
            (None, _) => {}
        }
        true
    }

    /// Rebuilds all virtual hosts from the log, and makes the holders of messages known to the journal. To be called once,
    /// before anything else is done, and before anything is committed. Blocks on the disk. The effects are to be carried out
    /// once the server runs.
    ///
    /// # Errors
    /// See [`RecoveryError`]. The virtual hosts are of no use then.
    pub fn recover(&self, now: Now, effects: &mut Effects) -> Result<Recovered, RecoveryError> {
        let Some(journal) = &self.journal else { return Ok(Recovered::default()) };
        let mut make = |id, name| Some(self.make(id, name));
        let (recovered, hosts, next) =
            log_recovery::recover(&self.default, &mut make, journal, now, effects)?;
        let mut table = self.table.write();
        hosts.iter().for_each(|host| table.insert(host));
        self.next.fetch_max(next, Relaxed);
        Ok(recovered)
    }

    /// Writes a checkpoint of everything durable and puts it in force. Blocks on the disk, and for up to `patience` until
    /// what was staged meanwhile is durable. One at a time.
    ///
    /// # Errors
    /// The earlier checkpoint, if there is one, stays in force.
    pub fn checkpoint(&self, journal: &LogJournal, patience: Duration) -> Result<Checkpointed, KeepError> {
        self.checkpoint_in_slices(journal, checkpoint::SLICE, patience)
    }

    /// The same with slices of `most` queue entries, retained topics, or definitions.
    ///
    /// # Errors
    /// As for [`Hosts::checkpoint`].
    pub fn checkpoint_in_slices(
        &self,
        journal: &LogJournal,
        most: usize,
        patience: Duration,
    ) -> Result<Checkpointed, KeepError> {
        let hosts = &mut || (self.all(), self.next.load(Relaxed));
        checkpoint::write(hosts, journal, most, patience)
    }

    /// Moves the messages that are held in these extents to the end of the log. Blocks on the disk, for up to `patience`
    /// with each part. No lock is held meanwhile.
    ///
    /// # Errors
    /// Part of them may have been moved.
    pub fn relocate(
        &self,
        journal: &LogJournal,
        extents: &[Extent],
        patience: Duration,
    ) -> Result<Relocated, KeepError> {
        relocation::relocate(&self.all(), journal, extents, patience)
    }
}

#[cfg(test)]
mod tests;
