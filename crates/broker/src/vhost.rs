//! A virtual host: one topic space with its sessions, shared subscriptions and retained values.
//!
//! These are the operations that faces call. Each takes the time and an [`Effects`] to fill in, and returns
//! the log position that answers must wait for.
//!
//! - [`connection`]: connect, take over, disconnect, expire.
//! - [`subscribing`]: subscribe and unsubscribe.
//! - [`publishing`]: publish, acknowledge, QoS 2.
//! - [`observing`]: publish, read and watch without a session.
//! - [`topology`]: declare, delete, bind, unbind.
//! - [`exchange_publishing`]: publish to exchanges; [`bridging`]: between them and the topic space.
//! - [`queueing`]: consume, get, settle; what becomes due in queues.
//! - [`recovery`]: the virtual host from its records, and its records from the virtual host.
//! - [`log_recovery`]: the virtual host from its log.
//! - [`checkpoint`]: what spares recovery most of the log.
//! - [`relocation`]: messages moved out of parts of the log that are mostly dead.

mod bridging;
pub mod checkpoint;
pub mod connection;
mod deduplicating;
pub mod exchange_publishing;
pub(crate) mod hosts_recovery;
pub mod log_recovery;
mod named_recovery;
pub mod observing;
pub mod publishing;
pub mod queueing;
pub mod recovery;
pub mod relocation;
pub(crate) mod retained_binding;
mod slice_cuts;
pub mod subscribing;
pub mod topology;

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};

use std::time::Instant;

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::body_budget::BodyBudget;
use crate::clock::Now;
use crate::crossing::address::TopicMapping;
use crate::deadlines::Deadlines;
use crate::definitions::Definitions;
use crate::duplicates::Duplicates;
use crate::effects::{Effects, GroupWork};
use crate::event::EventSink;
use crate::hosts::{DEFAULT_NAME, Shared, VhostId};
use crate::journal::{Admission, Journal, Position};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::permission::{PermissionStore, Permissions};
use crate::read_back::Fetches;
use crate::registry::Registry;
use crate::retained::Retained;
use crate::retained_replay::Progress;
use crate::route::{Generations, Subscription};
use crate::schedule::Schedule;
use crate::session::{Context, Session, SessionId};
use crate::shared_group::SharedGroup;
use crate::topic_tree::TopicTree;
use crate::undurable::Deferred;
use crate::vhost::topology::Topology;

/// Shared subscriptions by share name and path.
type Groups = HashMap<(Box<str>, Arc<str>), Arc<SharedGroup>>;

/// A virtual host. See the module documentation.
pub struct Vhost {
    id: VhostId,
    name: Arc<str>,
    policy: ArcSwap<Policy>,
    /// Version of `policy`; lets a holder see whether its copy is still the current one.
    policy_version: AtomicU64,
    permissions: PermissionStore,
    pub(crate) journal: Option<Arc<dyn Journal>>,
    events: Arc<dyn EventSink>,
    metrics: Arc<Metrics>,
    tree: RwLock<TopicTree<Subscription>>,
    generations: Generations,
    pub(crate) topology: Topology,
    /// Publishes to topics what comes from exchanges, or from clients without a session.
    sessionless_publisher: OnceLock<SessionId>,
    pub(crate) registry: Registry,
    groups: Mutex<Groups>,
    pub(crate) retained: Retained,
    deadlines: Deadlines,
    next_session: AtomicU64,
    next_group: AtomicU64,
    sweep: Mutex<Option<Arc<str>>>,
    pub(crate) budget: Arc<BodyBudget>,
    pub(crate) fetches: Arc<Fetches>,
    /// What is due at a certain time in queues.
    schedule: Schedule,
    definitions: Arc<Definitions>,
    duplicates: Duplicates,
    pub(crate) written_behind: Mutex<Option<Instant>>,
    /// Parts of the sessions that are still to be looked at for messages to let go of.
    pub(crate) uncooled: Mutex<usize>,
}

/// What operations are judged by: limits and permissions, replaced together.
pub(crate) struct Policy {
    /// Unique over all virtual hosts, so that one cached copy can serve whichever was used last.
    version: u64,
    pub limits: Limits,
    pub permissions: Arc<Permissions>,
}

impl Policy {
    fn new(limits: Limits, permissions: Arc<Permissions>) -> Self {
        static VERSIONS: AtomicU64 = AtomicU64::new(1);
        Self { version: VERSIONS.fetch_add(1, Relaxed), limits, permissions }
    }
}

impl Vhost {
    /// A virtual host. Without a journal nothing is recorded: all state is volatile.
    #[must_use]
    pub fn new(
        limits: Limits,
        permissions: Permissions,
        journal: Option<Arc<dyn Journal>>,
        events: Arc<dyn EventSink>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let budget = Arc::new(BodyBudget::new(limits.message_memory));
        let definitions = Arc::new(Definitions::new(journal.clone()));
        let (id, name, fetches) = (VhostId::DEFAULT, Arc::from(DEFAULT_NAME), Arc::default());
        let alarm = Arc::default();
        let topic_mapping = TopicMapping::default();
        let shared = Shared { limits, events, metrics, budget, fetches, definitions, alarm, topic_mapping };
        Self::in_hosts(id, name, permissions, journal, &shared)
    }

    /// A virtual host among others.
    pub(crate) fn in_hosts(
        id: VhostId,
        name: Arc<str>,
        permissions: Permissions,
        journal: Option<Arc<dyn Journal>>,
        shared: &Shared,
    ) -> Self {
        let permissions = PermissionStore::new(permissions);
        let policy = Policy::new(shared.limits.clone(), permissions.load_full());
        Self {
            id,
            name,
            policy_version: AtomicU64::new(policy.version),
            policy: ArcSwap::from_pointee(policy),
            permissions,
            journal,
            events: Arc::clone(&shared.events),
            metrics: Arc::clone(&shared.metrics),
            tree: RwLock::default(),
            generations: Generations::default(),
            topology: Topology::with_mapping(shared.topic_mapping),
            sessionless_publisher: OnceLock::new(),
            registry: Registry::default(),
            groups: Mutex::default(),
            retained: Retained::new(Arc::clone(&shared.budget)),
            deadlines: Deadlines::default(),
            next_session: AtomicU64::new(1),
            next_group: AtomicU64::new(1),
            sweep: Mutex::default(),
            schedule: Schedule::new(Arc::clone(&shared.alarm)),
            budget: Arc::clone(&shared.budget),
            fetches: Arc::clone(&shared.fetches),
            definitions: Arc::clone(&shared.definitions),
            duplicates: Duplicates::default(),
            written_behind: Mutex::default(),
            uncooled: Mutex::default(),
        }
    }

    /// What it is known by in the log.
    #[must_use]
    pub fn id(&self) -> VhostId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The definitions of the whole server.
    #[must_use]
    pub fn definitions(&self) -> &Arc<Definitions> {
        &self.definitions
    }

    /// Which messages came before.
    #[must_use]
    pub fn duplicates(&self) -> &Duplicates {
        &self.duplicates
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.policy.load().limits.clone()
    }

    /// Puts other limits in force. What already exceeds them stays.
    pub fn set_limits(&self, limits: Limits) {
        self.budget.set_limit(limits.message_memory);
        self.replace_policy(limits, self.permissions.load_full());
    }

    /// The permission rules in force.
    #[must_use]
    pub fn permissions(&self) -> Arc<Permissions> {
        self.permissions.load_full()
    }

    /// Puts other permission rules in force. Cached routes and queued messages are judged by them from now on.
    pub fn set_permissions(&self, permissions: Permissions) {
        self.permissions.replace(permissions);
        self.replace_policy(self.limits(), self.permissions.load_full());
    }

    fn replace_policy(&self, limits: Limits, permissions: Arc<Permissions>) {
        let policy = Policy::new(limits, permissions);
        let version = policy.version;
        self.policy.store(Arc::new(policy));
        self.policy_version.store(version, Release);
    }

    /// The policy in force, from the reactor's copy if that is current. It goes back with the effects.
    fn current_policy(&self, effects: &mut Effects) -> Arc<Policy> {
        match effects.policy.take() {
            Some(policy) if policy.version == self.policy_version.load(Acquire) => policy,
            _ => self.policy.load_full(),
        }
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &Registry {
        &self.registry
    }

    /// The retained messages.
    #[must_use]
    pub fn retained(&self) -> &Retained {
        &self.retained
    }

    /// The memory of messages that are in the log as well.
    #[must_use]
    pub fn body_budget(&self) -> &BodyBudget {
        &self.budget
    }

    /// The totals.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Subscriptions in the topic tree; a shared subscription counts once.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.tree.read().len()
    }

    /// The shared subscriptions.
    pub(crate) fn shared_groups(&self) -> Vec<Arc<SharedGroup>> {
        self.groups.lock().values().cloned().collect()
    }

    /// Everything at or before this position is durable; answers up to it may be given.
    #[must_use]
    pub fn durable(&self) -> Position {
        self.journal.as_ref().map_or(Position::NONE, |journal| journal.durable())
    }

    /// Does what is due: delayed wills, ended sessions, expired retained values. To be called about once a
    /// second; bounded work per call. Returns whether more is due at once.
    pub fn tick(&self, now: Now, effects: &mut Effects) -> bool {
        const SESSIONS: usize = 1000;
        const RETAINED: usize = 2000;
        let due = self.deadlines.take_due(now.monotonic, SESSIONS);
        let more = due.len() == SESSIONS;
        for session in due {
            self.deadline_passed(&session, now, effects);
        }
        let mut sweep = self.sweep.lock();
        *sweep = self.retained.sweep(sweep.take(), now, RETAINED, self.journal.as_deref());
        drop(sweep);
        self.cool_idle(now, effects);
        more | self.write_behind_if_due(now, RETAINED)
    }

    /// Goes on with what waited for the session's output to drain: queued messages, the replay of retained
    /// ones, shared subscriptions. Returns whether the session wants to be called again at once.
    pub fn resume(&self, session: &Arc<Session>, epoch: u32, now: Now, effects: &mut Effects) -> bool {
        let progress = self.with_context(now, effects, |cx| {
            let mut state = session.lock();
            if state.epoch != epoch || state.outbox.is_none() {
                return Progress::Done;
            }
            state.pump(session, cx);
            let progress = state.replay_step(session, &self.retained, cx);
            state.report_credit(cx.effects);
            progress
        });
        self.work_off(now, effects);
        progress == Progress::More
    }

    /// The log has moved: hands out what waited for that, of everybody of this virtual host in [`Effects::deferred`] whose
    /// position it has reached. Who still waits for something stays in the list.
    pub fn after_durable(&self, now: Now, effects: &mut Effects) {
        if effects.deferred.is_empty() {
            return;
        }
        let durable = self.durable();
        let mut deferred = std::mem::take(&mut effects.deferred);
        let mine = |next: &Deferred| next.host() == self.id;
        self.with_context(now, effects, |cx| {
            deferred.retain_mut(|next| !mine(next) || next.visit(durable, cx));
        });
        deferred.append(&mut effects.deferred);
        effects.deferred = deferred;
        self.work_off(now, effects);
    }

    pub(crate) fn with_context<R>(
        &self,
        now: Now,
        effects: &mut Effects,
        act: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        let policy = self.current_policy(effects);
        let deferred = effects.deferred.len();
        let result = act(&mut Context {
            now,
            effects,
            limits: &policy.limits,
            permissions: &policy.permissions,
            journal: self.journal.as_deref(),
            budget: &self.budget,
            schedule: &self.schedule,
            duplicates: &self.duplicates,
        });
        effects.policy = Some(policy);
        if self.id != VhostId::DEFAULT {
            let fresh = effects.deferred.get_mut(deferred..).unwrap_or_default();
            fresh.iter_mut().for_each(|next| next.set_host(self.id));
        }
        if !effects.fetches.is_empty() {
            self.fetches.ask(self.id, effects.fetches.drain(..));
        }
        result
    }

    /// Works off what shared subscriptions are owed, and publishes dead letters. Called with nothing locked.
    pub(crate) fn work_off(&self, now: Now, effects: &mut Effects) {
        while effects.has_work() {
            for dead in std::mem::take(&mut effects.dead_letters) {
                self.bury(&dead, now, effects);
            }
            let work = std::mem::take(&mut effects.group_work);
            self.with_context(now, effects, |cx| {
                for item in work {
                    match item {
                        GroupWork::Settled(group, sequence) => group.settled(sequence, cx),
                        GroupWork::Returned(group, sequence) => group.returned(sequence, cx),
                        GroupWork::Credit(group) => group.pump(cx),
                    }
                }
            });
        }
    }

    /// Runs an operation whose records belong together: they become durable as a whole or not at all. Before any lock is
    /// taken, as no batch is sealed before the operation is over.
    pub fn together<R>(&self, operation: impl FnOnce() -> R) -> R {
        let Some(journal) = &self.journal else { return operation() };
        let mut operation = Some(operation);
        let mut result = None;
        journal.together(&mut || {
            if let Some(operation) = operation.take() {
                result = Some(operation());
            }
        });
        match (result, operation) {
            (Some(result), _) => result,
            (None, Some(operation)) => operation(),
            (None, None) => unreachable!("an operation that was begun has ended"),
        }
    }

    /// The same for an operation that may turn out not to concern the log: then it costs nothing.
    fn together_if<R>(&self, durable: bool, operation: impl FnOnce() -> R) -> R {
        if durable { self.together(operation) } else { operation() }
    }

    /// What has to be waited for so that everything recorded so far is durable.
    fn staged_position(&self) -> Position {
        self.journal.as_ref().map_or(Position::NONE, |journal| journal.staged())
    }

    /// Whether the log takes no new work at present.
    fn log_refuses(&self) -> bool {
        self.admission() >= Admission::Full
    }

    /// Whether work that needs the log may be taken on. Without a journal always.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.journal.as_ref().map_or(Admission::Open, |journal| journal.admission())
    }

    /// Lets the log go on with what was staged. To be called when a batch of operations is done, whatever came of them.
    pub fn flush(&self) {
        if let Some(journal) = &self.journal {
            journal.flush();
        }
    }

    fn next_session_id(&self) -> crate::session::SessionId {
        crate::session::SessionId(self.next_session.fetch_add(1, Relaxed))
    }

    fn next_group_id(&self) -> crate::shared_group::GroupId {
        crate::shared_group::GroupId(self.next_group.fetch_add(1, Relaxed))
    }
}
