//! A virtual host from its records, and the records that make up a virtual host.
//!
//! [`Recovery`] takes the records of a log, oldest first, and applies each by the function that live traffic uses.
//! Records about unknown ids are skipped. Clock, limits, permissions and routing play no part until
//! [`Recovery::finish`], which turns the restart itself into what it is for the sessions: every connection is gone.
//!
//! The log may end anywhere; whatever prefix of it is left gives a consistent virtual host.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use crate::body::{Body, Stored};
use crate::clock::Now;
use crate::filter;
use crate::message::Message;
use crate::queue::Stage;
use crate::record::{GroupRecord, OwnedRecord, QueueRecord, RetainedRecord, SessionRecord, SettleReason};
use crate::route::Subscription;
use crate::session::{Session, SessionId, SessionState};
use crate::shared_group::{GroupId, SharedGroup};
use crate::vhost::Vhost;
use crate::vhost::subscribing::split_share;

/// A virtual host while it is being rebuilt.
pub struct Recovery<'a> {
    vhost: &'a Vhost,
    sessions: HashMap<SessionId, Arc<Session>>,
    groups: HashMap<GroupId, Arc<SharedGroup>>,
    last_session: u64,
    last_group: u64,
}

impl Vhost {
    /// Starts to rebuild the state from records. The virtual host must be new; serve clients after
    /// [`Recovery::finish`].
    #[must_use]
    pub fn recover(&self) -> Recovery<'_> {
        Recovery {
            vhost: self,
            sessions: HashMap::new(),
            groups: HashMap::new(),
            last_session: 0,
            last_group: 0,
        }
    }

    /// The records that rebuild everything durable as it is now: what a log may be cut down to. Sessions and groups
    /// come in the order of their ids, retained values in that of their topics. Nothing may change meanwhile.
    #[must_use]
    pub fn checkpoint(&self) -> Vec<OwnedRecord> {
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
        let durable = |message: &Arc<Message>| message.publisher != SessionId::BROKER;
        let retained = self.retained.all().into_iter().filter(durable);
        records.extend(retained.map(|message| OwnedRecord::Retained(RetainedRecord::set(message))));
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
        self.retained.for_each_held(&mut look);
    }
}

impl Recovery<'_> {
    /// Shows every holder of a message's record, as [`Vhost::for_each_holder`] does. The journal has to know them before
    /// [`Recovery::finish`].
    pub fn for_each_holder(&self, mut look: impl FnMut(Stored)) {
        for session in self.sessions.values() {
            session.lock().queue.held().for_each(&mut look);
        }
        for group in self.groups.values() {
            group.for_each_held(&mut look);
        }
        self.vhost.retained.for_each_held(&mut look);
    }

    /// Applies the next record.
    pub fn apply(&mut self, record: OwnedRecord) {
        match record {
            OwnedRecord::Session(id, record) => self.apply_to_session(id, record),
            OwnedRecord::Group(id, record) => self.apply_to_group(id, record),
            OwnedRecord::Retained(record) => {
                if let RetainedRecord::Set { body, .. } = &record {
                    self.note_publisher(body);
                }
                self.vhost.retained.apply(record);
            }
        }
    }

    fn apply_to_session(&mut self, id: SessionId, record: SessionRecord) {
        self.last_session = self.last_session.max(id.0);
        if let SessionRecord::Opened { client_id, user, expiry } = &record
            && !self.sessions.contains_key(&id)
        {
            let state = SessionState::new(*expiry, user.clone());
            let session = Arc::new(Session::new(id, Arc::clone(client_id), state));
            self.vhost.registry.shard(client_id).insert(Arc::clone(&session));
            self.sessions.insert(id, session);
        }
        if let SessionRecord::Queue(QueueRecord::Enqueued { entry, from, .. }) = &record {
            self.note_publisher(&entry.body);
            if let Some((group, sequence)) = from
                && let Some(group) = self.groups.get(group)
            {
                let (sequence, reason) = (*sequence, SettleReason::HandedOver);
                group.apply(QueueRecord::Settled { sequence, reason });
            }
        }
        let Some(session) = self.sessions.get(&id).cloned() else { return };
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
            self.vhost.registry.shard(session.client_id()).remove(&session);
        }
    }

    fn apply_to_group(&mut self, id: GroupId, record: GroupRecord) {
        self.last_group = self.last_group.max(id.0);
        match record {
            GroupRecord::Opened { name, filter } => {
                let group = Arc::new(SharedGroup::new(id, &name, filter));
                group.restored();
                self.groups.insert(id, group);
            }
            GroupRecord::Ended => {
                self.groups.remove(&id);
            }
            GroupRecord::Queue(record) => {
                if let QueueRecord::Enqueued { entry, .. } = &record {
                    self.note_publisher(&entry.body);
                }
                if let Some(group) = self.groups.get(&id) {
                    group.apply(record);
                }
            }
        }
    }

    /// Session ids are never used again, not even those of sessions that only published.
    fn note_publisher(&mut self, body: &Body) {
        if let Body::Memory(message) = body {
            self.last_session = self.last_session.max(message.publisher.0);
        }
    }

    /// Ends the rebuilding: subscriptions take effect, and sessions that were connected are offline from `now` on.
    /// What follows from that is staged like any other change.
    pub fn finish(self, now: Now) {
        let vhost = self.vhost;
        vhost.next_session.fetch_max(self.last_session + 1, Relaxed);
        vhost.next_group.fetch_max(self.last_group + 1, Relaxed);
        {
            let mut groups = vhost.groups.lock();
            for group in self.groups.values() {
                vhost.add_group(&mut groups, group);
            }
        }
        let mut sessions = vhost.registry.all();
        sessions.sort_unstable_by_key(|session| session.id());
        let mut joined = HashSet::new();
        for session in &sessions {
            vhost.restore_subscriptions(session, &mut joined);
            vhost.restore_offline(session, now);
        }
        // A log that ends between a member's end and that of its group leaves a group without members.
        let mut groups = vhost.groups.lock();
        for (id, group) in &self.groups {
            if !joined.contains(id) {
                group.close(vhost.journal.as_deref());
                vhost.drop_group(&mut groups, group);
            }
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
