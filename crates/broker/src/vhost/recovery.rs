//! A virtual host from its records, and the records that make up a virtual host.
//!
//! [`Recovery`] takes the records of a log, oldest first, and applies each by the function that live traffic uses.
//! Records about unknown ids are skipped. Clock, limits, permissions and routing play no part until
//! [`Recovery::finish`], which turns the restart itself into what it is for the sessions: every connection is gone.
//!
//! The log may end anywhere; whatever prefix of it is left gives a consistent virtual host.
//!
//! A checkpoint may come before the log: its images are put in place ([`Recovery::load`]), and a record is applied to
//! what an image shows only if it is not in the image already, which its place says.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::body::{Body, Stored};
use crate::clock::Now;
use crate::effects::Effects;
use crate::filter;
use crate::hosts::VhostId;
use crate::journal::{Place, Position};
use crate::named_queue::{NamedQueue, QueueId};
use crate::queue::{Queue, Stage};
use crate::record::checkpoint_record::{CheckpointRecord, Owner, QueueSlice, SessionImage, SliceEntry};
use crate::record::{
    DefinitionRecord, DuplicateRecord, DuplicateScope, Entry, GroupRecord, OwnedRecord, QueueRecord,
    RetainedRecord, SessionRecord, SettleReason,
};
use crate::route::Subscription;
use crate::session::{Session, SessionId, SessionState};
use crate::shared_group::{GroupId, SharedGroup};
use crate::vhost::Vhost;
use crate::vhost::named_recovery::fill_named;
use crate::vhost::slice_cuts::SliceCuts;
use crate::vhost::subscribing::split_share;

/// A virtual host while it is being rebuilt.
pub struct Recovery<'a> {
    pub(super) vhost: HostRef<'a>,
    sessions: HashMap<SessionId, Restored<Session>>,
    groups: HashMap<GroupId, Restored<SharedGroup>>,
    pub(super) queues: HashMap<QueueId, Restored<NamedQueue>>,
    /// Cut of the exchanges and bindings.
    pub(super) topology: Place,
    /// Cuts of the slices of retained topics, by their last topics, in order.
    retained: SliceCuts<Arc<str>>,
    definitions: SliceCuts<(u8, Arc<str>)>,
    pub(super) duplicates: SliceCuts<(DuplicateScope, Arc<str>)>,
    /// Cut of the checkpoint as a whole: what is before it is in the images, or gone.
    begun: Place,
    last_session: u64,
    last_group: u64,
}

/// A virtual host that exists anyway, or that the log has told of.
pub(super) enum HostRef<'a> {
    Given(&'a Vhost),
    Made(Arc<Vhost>),
}

impl Deref for HostRef<'_> {
    type Target = Vhost;

    fn deref(&self) -> &Vhost {
        match self {
            Self::Given(vhost) => vhost,
            Self::Made(vhost) => vhost,
        }
    }
}

/// Something that is being rebuilt, and which records are in it already.
pub(super) struct Restored<T> {
    pub(super) object: Arc<T>,
    /// Cut of the image; everything counts for what comes from records alone.
    pub(super) cut: Place,
    /// Cuts of the slices of its queue, by the sequences behind them, in order.
    slices: Vec<(u64, Place)>,
    /// The sequence that the next entry of its queue gets at least.
    pub(super) next_sequence: u64,
}

impl<T> Restored<T> {
    pub(super) fn new(object: Arc<T>, cut: Place) -> Self {
        Self { object, cut, slices: Vec::new(), next_sequence: 0 }
    }

    /// Whether a record at `place` about this sequence of its queue is still to be applied.
    pub(super) fn awaits(&self, sequence: u64, place: Place) -> bool {
        let slice = self.slices.partition_point(|(end, _)| *end <= sequence);
        place >= self.slices.get(slice).map_or(self.cut, |(_, cut)| *cut)
    }
}

/// Behind all cuts.
const ALWAYS: Place = Place { batch: Position::new(u64::MAX), offset: u32::MAX };

/// An image in a checkpoint does not fit to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint contradicts itself: {0}")]
pub struct Contradiction(pub(super) &'static str);

impl Vhost {
    /// Starts to rebuild the state from records. The virtual host must be new; serve clients after
    /// [`Recovery::finish`].
    #[must_use]
    pub fn recover(&self) -> Recovery<'_> {
        Recovery::new(HostRef::Given(self))
    }

    /// The records that rebuild everything durable as it is now: what a log may be cut down to. Sessions and groups
    /// come in the order of their ids, retained values in that of their topics. Nothing may change meanwhile.
    #[must_use]
    pub fn durable_records(&self) -> Vec<OwnedRecord> {
        let mut records = Vec::new();
        let mut groups: Vec<_> = self.groups.lock().values().cloned().collect();
        groups.sort_unstable_by_key(|group| group.id());
        for group in groups {
            records.extend(group.records());
        }
        let mut sessions = self.registry.all();
        sessions.sort_unstable_by_key(|session| session.id());
        for session in sessions {
            records.extend(
                session.records().into_iter().map(|record| OwnedRecord::Session(session.id(), record)),
            );
        }
        records.extend(self.retained.records().into_iter().map(OwnedRecord::Retained));
        records.extend(self.topology_records());
        records.extend(self.duplicates().records().into_iter().map(OwnedRecord::Duplicate));
        if self.id() == VhostId::DEFAULT {
            records.extend(self.definitions().records().into_iter().map(OwnedRecord::Definition));
        }
        records
    }
}

impl Vhost {
    /// Shows every holder of a message's record: entries of queues and retained values that were recorded. Each queue is
    /// locked while its holders are shown.
    pub fn for_each_holder(&self, mut look: impl FnMut(Stored)) {
        self.registry.for_each(|session| session.lock().queue.held().for_each(&mut look));
        for group in self.shared_groups() {
            group.for_each_held(&mut look);
        }
        for queue in self.recorded_queues() {
            queue.for_each_held(&mut look);
        }
        self.retained.for_each_held(&mut look);
    }
}

impl<'a> Recovery<'a> {
    fn new(vhost: HostRef<'a>) -> Self {
        Self {
            vhost,
            sessions: HashMap::new(),
            groups: HashMap::new(),
            queues: HashMap::new(),
            topology: Place::default(),
            retained: SliceCuts::default(),
            definitions: SliceCuts::default(),
            duplicates: SliceCuts::default(),
            begun: Place::default(),
            last_session: 0,
            last_group: 0,
        }
    }

    /// Starts to rebuild the state of a virtual host that nobody else knows yet.
    pub(crate) fn of(vhost: Arc<Vhost>) -> Self {
        Self::new(HostRef::Made(vhost))
    }

    /// The virtual host.
    pub(crate) fn vhost(&self) -> &Vhost {
        &self.vhost
    }
}

impl Recovery<'_> {
    /// Shows every holder of a message's record, as [`Vhost::for_each_holder`] does. The journal has to know them before
    /// [`Recovery::finish`].
    pub fn for_each_holder(&self, mut look: impl FnMut(Stored)) {
        for session in self.sessions.values() {
            session.object.lock().queue.held().for_each(&mut look);
        }
        for group in self.groups.values() {
            group.object.for_each_held(&mut look);
        }
        for queue in self.queues.values() {
            queue.object.for_each_held(&mut look);
        }
        self.vhost.retained.for_each_held(&mut look);
    }

    /// Applies the next record.
    pub fn apply(&mut self, record: OwnedRecord) {
        self.apply_at(record, ALWAYS);
    }

    /// Applies the next record, which is at `place` of the log, unless an image shows it already.
    pub fn apply_at(&mut self, record: OwnedRecord, place: Place) {
        if place < self.begun {
            return;
        }
        match record {
            OwnedRecord::Session(id, record) => self.apply_to_session(id, record, place),
            OwnedRecord::Group(id, record) => self.apply_to_group(id, record, place),
            OwnedRecord::Retained(record) => self.apply_to_retained(record, place),
            OwnedRecord::Definition(record) => {
                let (DefinitionRecord::Put { class, key, .. } | DefinitionRecord::Removed { class, key }) =
                    &record;
                if self.definitions.awaits(&(*class, Arc::clone(key)), place) {
                    self.vhost.definitions().apply(record);
                }
            }
            OwnedRecord::Duplicate(record) => {
                let (DuplicateRecord::Remembered { scope, key, .. }
                | DuplicateRecord::Forgotten { scope, key }) = &record;
                if self.duplicates.awaits(&(scope.clone(), Arc::clone(key)), place) {
                    self.vhost.duplicates().apply(record);
                }
            }
            OwnedRecord::NamedQueue(id, record) => self.apply_to_queue(id, record, place),
            OwnedRecord::Exchange(record) => self.apply_to_exchange(record, place),
            OwnedRecord::Binding(record) => {
                if place >= self.topology {
                    self.vhost.apply_binding(record);
                }
            }
            // The affair of whoever rebuilds all virtual hosts.
            OwnedRecord::Host(_) => {}
        }
    }

    /// Notes who published a message: session ids are never used again, not even those of sessions that only published.
    pub fn note_publisher(&mut self, publisher: SessionId) {
        self.last_session = self.last_session.max(publisher.0);
    }

    pub(super) fn note_publisher_of(&mut self, body: &Body) {
        if let Body::Memory(message) = body {
            self.note_publisher(message.publisher);
        }
    }

    fn apply_to_session(&mut self, id: SessionId, record: SessionRecord, place: Place) {
        self.last_session = self.last_session.max(id.0);
        if let SessionRecord::Queue(record) = record {
            return self.apply_to_session_queue(id, record, place);
        }
        if let SessionRecord::Opened { client_id, user, expiry } = &record
            && !self.sessions.contains_key(&id)
        {
            self.insert_session(id, Arc::clone(client_id), user.clone(), *expiry, Place::default());
        }
        let Some(restored) = self.sessions.get(&id).filter(|restored| place >= restored.cut) else { return };
        let session = Arc::clone(&restored.object);
        let ended = matches!(record, SessionRecord::Ended);
        let mut state = session.lock();
        if matches!(record, SessionRecord::Offline { .. }) {
            // Up to here the queue's entries may have been sent; those that follow have not.
            state.queue.mark_redelivered();
        }
        state.apply(record);
        drop(state);
        if ended {
            self.sessions.remove(&id);
        }
    }

    fn apply_to_session_queue(&mut self, id: SessionId, record: QueueRecord, place: Place) {
        if let QueueRecord::Enqueued { entry, from, .. } = &record {
            self.note_publisher_of(&entry.body);
            if let Some((group, sequence)) = from
                && let Some(group) = self.groups.get(group)
                && group.awaits(*sequence, place)
            {
                let (sequence, reason) = (*sequence, SettleReason::HandedOver);
                group.object.apply(QueueRecord::Settled { sequence, reason });
            }
        }
        let Some(restored) = self.sessions.get(&id) else { return };
        if restored.awaits(record.sequence(), place) {
            restored.object.lock().queue.apply(record);
        }
    }

    fn insert_session(
        &mut self,
        id: SessionId,
        client_id: Arc<str>,
        user: Option<Arc<str>>,
        expiry: u32,
        cut: Place,
    ) -> Arc<Session> {
        let state = SessionState::new(expiry, user);
        let session = Arc::new(Session::new(id, client_id, state));
        self.sessions.insert(id, Restored::new(Arc::clone(&session), cut));
        session
    }

    fn apply_to_group(&mut self, id: GroupId, record: GroupRecord, place: Place) {
        self.last_group = self.last_group.max(id.0);
        let known = self.groups.get(&id);
        match record {
            GroupRecord::Opened { name, filter } => {
                if known.is_none_or(|group| place >= group.cut) {
                    self.insert_group(id, &name, filter, Place::default(), 0);
                }
            }
            // With its images: what may follow builds it from the beginning.
            GroupRecord::Ended => {
                if known.is_some_and(|group| place >= group.cut) {
                    self.groups.remove(&id);
                }
            }
            GroupRecord::Queue(record) => {
                if let Some(group) = known.filter(|group| group.awaits(record.sequence(), place)) {
                    let group = Arc::clone(&group.object);
                    if let QueueRecord::Enqueued { entry, .. } = &record {
                        self.note_publisher_of(&entry.body);
                    }
                    group.apply(record);
                }
            }
        }
    }

    fn insert_group(&mut self, id: GroupId, name: &str, filter: Arc<str>, cut: Place, next_sequence: u64) {
        let group = Arc::new(SharedGroup::new(id, name, filter));
        group.restored();
        self.groups.insert(id, Restored { next_sequence, ..Restored::new(group, cut) });
    }

    fn apply_to_retained(&mut self, record: RetainedRecord, place: Place) {
        let topic = match &record {
            RetainedRecord::Set { topic, body, .. } => {
                self.note_publisher_of(body);
                topic
            }
            RetainedRecord::Cleared(topic) => topic,
        };
        if self.retained.awaits(topic, place) {
            self.vhost.retained.apply(record);
        }
    }

    /// Puts the next image of a checkpoint in place. All of them come before the first record.
    ///
    /// # Errors
    /// The image does not fit to those before it.
    pub fn load(&mut self, image: CheckpointRecord) -> Result<(), Contradiction> {
        match image {
            CheckpointRecord::Begin(begin) => {
                self.begun = begin.cut;
                self.last_session = self.last_session.max(begin.next_session.saturating_sub(1));
                self.last_group = self.last_group.max(begin.next_group.saturating_sub(1));
                self.vhost.note_queue_id(begin.next_queue.saturating_sub(1));
            }
            CheckpointRecord::Session(image) => self.load_session(image),
            CheckpointRecord::Group(image) => {
                self.last_group = self.last_group.max(image.id.0);
                self.insert_group(image.id, &image.name, image.filter, image.cut, image.next_sequence);
            }
            CheckpointRecord::Slice(slice) => return self.load_slice(slice),
            CheckpointRecord::Retained(slice) => {
                for (topic, stored, expires_at_ms) in slice.values {
                    let body = Body::Log(stored);
                    self.vhost.retained.apply(RetainedRecord::Set { topic, body, expires_at_ms });
                }
                return self.retained.push(slice.last, slice.cut);
            }
            CheckpointRecord::Definitions(slice) => {
                for ((class, key), value) in slice.rows {
                    self.vhost.definitions().apply(DefinitionRecord::Put { class, key, value });
                }
                return self.definitions.push(slice.last, slice.cut);
            }
            CheckpointRecord::Duplicates(slice) => {
                for (scope, key, expires_ms) in slice.rows {
                    self.vhost.duplicates().apply(DuplicateRecord::Remembered { scope, key, expires_ms });
                }
                return self.duplicates.push(slice.last, slice.cut);
            }
            CheckpointRecord::NamedQueue(image) => self.load_queue(image),
            CheckpointRecord::Topology(image) => self.load_topology(image),
            CheckpointRecord::End(_) | CheckpointRecord::Skipped => {}
        }
        Ok(())
    }

    fn load_session(&mut self, image: SessionImage) {
        self.last_session = self.last_session.max(image.id.0);
        let session = self.insert_session(image.id, image.client_id, image.user, image.expiry, image.cut);
        let mut state = session.lock();
        for (filter, options, replay) in image.subscriptions {
            state.apply(SessionRecord::Subscribed { filter, options, replay });
        }
        for id in image.received {
            state.apply(SessionRecord::Received(id));
        }
        state.will = image.will;
        state.offline_at_ms = image.offline_at_ms;
        drop(state);
        if let Some(restored) = self.sessions.get_mut(&image.id) {
            restored.next_sequence = image.next_sequence;
        }
    }

    fn load_slice(&mut self, slice: QueueSlice) -> Result<(), Contradiction> {
        const ORPHAN: Contradiction = Contradiction("a slice of a queue has no owner");
        let (end, cut, next) = (slice.end, slice.cut, slice.next_sequence);
        let (slices, next_sequence) = match slice.owner {
            Owner::Session(id) => {
                let restored = self.sessions.get_mut(&id).ok_or(ORPHAN)?;
                fill(&mut restored.object.lock().queue, slice);
                (&mut restored.slices, &mut restored.next_sequence)
            }
            Owner::Queue(id) => {
                let restored = self.queues.get_mut(&id).ok_or(ORPHAN)?;
                fill_named(&restored.object, slice);
                (&mut restored.slices, &mut restored.next_sequence)
            }
            Owner::Group(id) => {
                let restored = self.groups.get_mut(&id).ok_or(ORPHAN)?;
                restored.object.restore_queue(|queue| fill(queue, slice));
                (&mut restored.slices, &mut restored.next_sequence)
            }
        };
        *next_sequence = next.max(*next_sequence);
        if slices.last().is_some_and(|(last, _)| *last >= end) {
            return Err(Contradiction("slices of a queue are out of order"));
        }
        slices.push((end, cut));
        Ok(())
    }

    /// Ends the rebuilding: subscriptions take effect, and sessions that were connected are offline from `now` on.
    /// What follows from that is staged like any other change. Returns the virtual host if the log has told of it.
    ///
    /// Whoever is to be visited later is forgotten: for a virtual host that only tells what the log says. Else
    /// [`Recovery::finish_with`].
    pub fn finish(self, now: Now) -> Option<Arc<Vhost>> {
        self.finish_with(now, &mut Effects::default())
    }

    /// The same; the effects are to be carried out once the server runs.
    pub fn finish_with(mut self, now: Now, effects: &mut Effects) -> Option<Arc<Vhost>> {
        self.finish_queues(now, effects);
        let vhost = &*self.vhost;
        vhost.next_session.fetch_max(self.last_session + 1, Relaxed);
        vhost.next_group.fetch_max(self.last_group + 1, Relaxed);
        for session in self.sessions.values() {
            session.object.lock().queue.advance_to(session.next_sequence);
        }
        for group in self.groups.values() {
            group.object.restore_queue(|queue| queue.advance_to(group.next_sequence));
        }
        {
            let mut groups = vhost.groups.lock();
            for group in self.groups.values() {
                vhost.add_group(&mut groups, &group.object);
            }
        }
        let sessions = self.register_sessions();
        let mut joined = HashSet::new();
        for session in &sessions {
            vhost.restore_subscriptions(session, &mut joined);
            vhost.restore_offline(session, now);
        }
        // A log that ends between a member's end and that of its group leaves a group without members.
        let mut groups = vhost.groups.lock();
        for (id, group) in &self.groups {
            if !joined.contains(id) {
                group.object.close(vhost.journal.as_deref());
                vhost.drop_group(&mut groups, &group.object);
            }
        }
        drop(groups);
        match self.vhost {
            HostRef::Given(_) => None,
            HostRef::Made(vhost) => Some(vhost),
        }
    }
}

impl Recovery<'_> {
    /// Registers the sessions, in the order of their ids. A log that ends between a client's new session and the end of
    /// its earlier one leaves both: the earlier one ends now.
    fn register_sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions: Vec<_> =
            self.sessions.values().map(|restored| Arc::clone(&restored.object)).collect();
        sessions.sort_unstable_by_key(|session| session.id());
        for session in &sessions {
            let mut shard = self.vhost.registry.shard(session.client_id());
            if let Some(earlier) = shard.get(session.client_id()) {
                let record = SessionRecord::Ended;
                earlier.lock().commit(earlier.id(), record, self.vhost.journal.as_deref());
            }
            shard.insert(Arc::clone(session));
        }
        sessions.retain(|session| !session.lock().ended);
        sessions
    }
}

/// Puts the entries of a slice into the queue.
fn fill(queue: &mut Queue, slice: QueueSlice) {
    for entry in slice.entries {
        let SliceEntry { sequence, stored, ids, qos, retain, released, redelivered, .. } = entry;
        let entry = Entry { body: Body::Log(stored), ids, loan: None, qos, retain };
        queue.apply(QueueRecord::Enqueued { sequence, from: None, entry });
        if released {
            queue.apply(QueueRecord::Released { sequence });
        }
        if redelivered {
            queue.mark_entry_redelivered(sequence);
        }
    }
}

impl Vhost {
    fn restore_subscriptions(&self, session: &Arc<Session>, joined: &mut HashSet<GroupId>) {
        let subscriptions = session.lock().subscriptions.as_deref().cloned().unwrap_or_default();
        for (filter, options) in subscriptions {
            let Some((share, path)) = split_share(&filter) else {
                let subscription = Subscription::Session(Arc::clone(session), options);
                self.tree.write().insert(filter::levels(&filter), subscription, |_| false);
                self.generations.changed(&filter);
                continue;
            };
            let group = self.group(&mut self.groups.lock(), share, path);
            group.join(session, options, true, self.journal.as_deref());
            joined.insert(group.id());
            session.lock().groups.push(group);
        }
    }

    fn restore_offline(&self, session: &Arc<Session>, now: Now) {
        let mut state = session.lock();
        if state.offline_at_ms == 0 {
            state.queue.mark_redelivered();
            let offline = SessionRecord::Offline { at_ms: now.utc_ms, expiry: state.expiry };
            state.commit(session.id(), offline, self.journal.as_deref());
        }
        let ago = Duration::from_millis(now.utc_ms.saturating_sub(state.offline_at_ms));
        state.offline_since = Some(now.monotonic.checked_sub(ago).unwrap_or(now.monotonic));
        self.arm(session, &mut state);
    }
}

impl Session {
    /// The records that make up the session; none if it is not durable.
    fn records(&self) -> Vec<SessionRecord> {
        let state = self.lock();
        if !state.is_durable() || state.ended {
            return Vec::new();
        }
        let mut records = vec![SessionRecord::Opened {
            client_id: Arc::clone(self.client_id()),
            user: state.user.clone(),
            expiry: state.expiry,
        }];
        let subscriptions = state.subscriptions.iter().flat_map(|subscriptions| subscriptions.iter());
        let mut subscriptions: Vec<_> = subscriptions.collect();
        subscriptions.sort_unstable_by_key(|(filter, _)| Arc::clone(filter));
        records.extend(subscriptions.into_iter().map(|(filter, options)| SessionRecord::Subscribed {
            filter: Arc::clone(filter),
            options: *options,
            replay: state.replay.as_ref().is_some_and(|replay| replay.awaits(filter)),
        }));
        for (sequence, entry, stage) in state.queue.iter().filter(|(_, entry, _)| entry.is_durable()) {
            let enqueued = QueueRecord::Enqueued { sequence, entry: entry.to_entry(), from: None };
            records.push(SessionRecord::Queue(enqueued));
            if stage == Stage::Released {
                records.push(SessionRecord::Queue(QueueRecord::Released { sequence }));
            }
        }
        records.extend(state.received.iter().map(|id| SessionRecord::Received(*id)));
        if state.will.is_some() {
            records.push(SessionRecord::WillChanged(state.will.clone()));
        }
        if state.offline_at_ms > 0 {
            records.push(SessionRecord::Offline { at_ms: state.offline_at_ms, expiry: state.expiry });
        }
        records
    }
}
