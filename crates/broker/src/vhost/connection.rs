//! Sessions and their connections: connect, take over, disconnect, expire.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::effects::Effects;
use crate::event::Event;
use crate::journal::{Journal, Position};
use crate::message::Author;
use crate::outbox::{CloseReason, Outbox};
use crate::read_back::COOLED_PER_VISIT;
use crate::record::{Record, SessionRecord};
use crate::route::{RouteCache, Subscription};
use crate::session::{NEVER_EXPIRES, Session, SessionId, SessionState};
use crate::vhost::Vhost;
use crate::will::Will;

/// What a face asks for when a client has been let in.
pub struct Connect {
    /// Client identifier; the face has assigned one if the client sent none.
    pub client_id: Arc<str>,
    /// Authenticated user.
    pub user: Option<Arc<str>>,
    /// Start without earlier state.
    pub clean_start: bool,
    /// Seconds the session outlives its connection; `u32::MAX` for ever.
    pub expiry: u32,
    /// Deliveries that may be unacknowledged (Receive Maximum).
    pub window: u16,
    /// The will.
    pub will: Option<Box<Will>>,
    /// Where deliveries go.
    pub outbox: Box<dyn Outbox>,
}

/// A connected client's hold on its session; also its identity as publisher.
pub struct Attachment {
    /// The session.
    pub session: Arc<Session>,
    /// Which of the session's connections this is.
    pub epoch: u32,
    /// Authenticated user.
    pub user: Option<Arc<str>>,
    pub(crate) routes: RouteCache,
    pub(crate) author: Option<Arc<Author>>,
}

/// The answer to a connect.
pub struct Connected {
    /// The connection's hold on the session.
    pub attachment: Attachment,
    /// Whether earlier state was found.
    pub session_present: bool,
    /// The answer must wait for this position.
    pub position: Position,
}

/// Why a client gets no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// The virtual host has as many sessions as it may.
    #[error("the limit of sessions (max-sessions) is reached")]
    TooMany,
    /// A new session that outlives its connection would have to be recorded.
    #[error("the log is full or cannot be written")]
    NoRoom,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client said goodbye: its will is discarded.
    Normal,
    /// Anything else: its will is due.
    Abnormal,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Its client left and wants nothing kept.
    Left,
    /// It outlived its connection for as long as it may.
    Expired,
    /// Its client starts a new one.
    Replaced,
    /// An administrator removed it.
    Removed,
}

impl Vhost {
    /// Connects a client: finds or makes its session and takes it over from an earlier connection.
    ///
    /// Redelivery starts with the first [`Vhost::resume`], so that the face can answer the client before.
    pub fn connect(&self, request: Connect, now: Now, effects: &mut Effects) -> Result<Connected, NoSession> {
        let durable = request.expiry > 0;
        self.together_if(durable, || self.take_session(request, durable, now, effects))
    }

    /// `together` tells whether all this becomes durable together: there is nothing to be recorded for a client that leaves
    /// nothing and finds nothing.
    fn take_session(
        &self,
        request: Connect,
        together: bool,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Connected, NoSession> {
        let clean_start = request.clean_start;
        let user = request.user.clone();
        let mut shard = self.registry.shard(&request.client_id);
        let existing = shard.get(&request.client_id);
        if !together && existing.as_ref().is_some_and(|found| found.may_be_durable()) {
            drop(shard);
            return self.together(|| self.take_session(request, true, now, effects));
        }
        if existing.is_none() && self.registry.len() >= self.policy.load().limits.max_sessions {
            return Err(NoSession::TooMany);
        }
        let resumed = !clean_start && existing.as_ref().is_some_and(|found| found.lock().is_resumable());
        if !resumed && request.expiry > 0 && self.log_refuses() {
            effects.counters.refused_by_log += 1;
            return Err(NoSession::NoRoom);
        }
        let (session, session_present, replaced) = match existing {
            // A session that ends with its connection ends with the takeover, too (MQTT 5 §3.1.4).
            Some(found) if resumed => (found, true, None),
            replaced => {
                let state = SessionState::new(request.expiry, user.clone());
                let fresh =
                    Arc::new(Session::new(self.next_session_id(), Arc::clone(&request.client_id), state));
                shard.insert(Arc::clone(&fresh));
                (fresh, false, replaced)
            }
        };
        let (epoch, mut position, abandoned) = self.attach(&session, request, effects);
        drop(shard);
        if session_present {
            self.tell_groups(&session);
        }
        if let Some(replaced) = replaced {
            self.end_session(&replaced, Cause::Replaced, now, effects);
        }
        if let Some(will) = abandoned {
            self.publish_will(&session, &will, now, effects);
        }
        if together {
            // Also what is gone has to stay gone once the client has been told.
            position = position.max(self.staged_position());
        }
        effects.counters.connects += 1;
        self.events.event(Event::Connected { client_id: Arc::clone(session.client_id()), session_present });
        let attachment = Attachment { session, epoch, user, routes: RouteCache::default(), author: None };
        Ok(Connected { attachment, session_present, position })
    }

    /// Gives the session to a new connection. Returns its epoch, the position to wait for, and the will of the
    /// earlier connection if that is due: the new connection cancels it only if it was to be delayed.
    fn attach(
        &self,
        session: &Arc<Session>,
        request: Connect,
        effects: &mut Effects,
    ) -> (u32, Position, Option<Box<Will>>) {
        let mut state = session.lock();
        let mut abandoned = None;
        if let Some(mut outbox) = state.outbox.take() {
            state.evicted = CloseReason::TakenOver;
            outbox.close(CloseReason::TakenOver, effects);
            effects.counters.takeovers += 1;
            abandoned = state.will.clone().filter(|will| will.delay == 0);
        }
        if state.user != request.user && state.subscriptions.is_some() {
            // Routes that publishers keep were made with the rights of the earlier user.
            self.generations.changed("#");
        }
        if let Some(at) = state.deadline.take() {
            self.deadlines.disarm(at, session.id());
        }
        state.epoch = state.epoch.wrapping_add(1);
        state.window = request.window.max(1);
        state.resuming = true;
        if request.expiry == 0 {
            state.forget(session.id(), self.journal.as_deref());
        }
        state.expiry = request.expiry;
        let opened = SessionRecord::Opened {
            client_id: Arc::clone(session.client_id()),
            user: request.user,
            expiry: request.expiry,
        };
        let (mut position, _) = state.commit(session.id(), opened, self.journal.as_deref());
        if request.will.is_some() || state.will.is_some() {
            let change = SessionRecord::WillChanged(request.will);
            position = position.max(state.commit(session.id(), change, self.journal.as_deref()).0);
        }
        state.outbox = Some(request.outbox);
        (state.epoch, position, abandoned)
    }

    /// Sends what a resumed session owes its new connection. Called once, after the face has put its answer
    /// into the output.
    pub fn start_redelivery(&self, attachment: &Attachment, now: Now, effects: &mut Effects) {
        let session = &attachment.session;
        self.with_context(now, effects, |cx| {
            let mut state = session.lock();
            if state.epoch == attachment.epoch {
                state.resume(session, cx);
                state.report_credit(cx.effects);
                if state.replay.is_some()
                    && let Some(outbox) = &mut state.outbox
                {
                    outbox.wake(cx.effects);
                }
            }
        });
        self.work_off(now, effects);
    }

    /// A connection is gone. `expiry` replaces the session's expiry if the client changed it when leaving.
    /// Does nothing if another connection has taken the session over.
    pub fn disconnect(
        &self,
        attachment: &Attachment,
        ending: Ending,
        expiry: Option<u32>,
        now: Now,
        effects: &mut Effects,
    ) {
        let durable = attachment.session.may_be_durable();
        self.together_if(durable, || self.leave_session(attachment, ending, expiry, now, effects));
    }

    fn leave_session(
        &self,
        attachment: &Attachment,
        ending: Ending,
        expiry: Option<u32>,
        now: Now,
        effects: &mut Effects,
    ) {
        let session = &attachment.session;
        let mut due_will = None;
        let ends = self.with_context(now, effects, |cx| {
            let mut state = session.lock();
            if state.epoch != attachment.epoch || state.outbox.is_none() {
                return None;
            }
            state.outbox = None;
            state.offline_since = Some(now.monotonic);
            // What ends with its connection cannot be prolonged when leaving (MQTT 5 §3.14.2.2.2).
            let expiry = expiry.filter(|_| state.is_durable()).unwrap_or(state.expiry);
            if expiry == 0 {
                state.forget(session.id(), cx.journal);
            } else {
                let offline = SessionRecord::Offline { at_ms: now.utc_ms, expiry };
                state.commit(session.id(), offline, cx.journal);
            }
            state.return_loans(session, cx);
            if state.will.is_some() {
                let delayed = state.will.as_ref().is_some_and(|will| will.delay > 0);
                if ending == Ending::Normal || !delayed {
                    due_will = state.will.clone().filter(|_| ending == Ending::Abnormal);
                    state.commit(session.id(), SessionRecord::WillChanged(None), cx.journal);
                }
            }
            state.cool(COOLED_PER_VISIT, cx);
            self.arm(session, &mut state);
            Some(expiry == 0)
        });
        let Some(ends) = ends else { return };
        effects.counters.disconnects += 1;
        self.events.event(Event::Disconnected { client_id: Arc::clone(session.client_id()) });
        if let Some(will) = due_will {
            self.publish_will(session, &will, now, effects);
        }
        if ends {
            self.end_session(session, Cause::Left, now, effects);
        }
        self.work_off(now, effects);
    }

    /// Arms the deadline of an offline session: its will or its end, whichever comes first.
    pub(super) fn arm(&self, session: &Arc<Session>, state: &mut SessionState) {
        let Some(since) = state.offline_since else { return };
        let ends = (state.expiry != NEVER_EXPIRES && state.expiry > 0).then_some(state.expiry);
        let will = state.will.as_ref().map(|will| will.delay);
        let Some(seconds) = [ends, will].into_iter().flatten().min() else { return };
        let at = since + Duration::from_secs(u64::from(seconds));
        state.deadline = Some(at);
        self.deadlines.arm(at, Arc::clone(session));
    }

    /// The deadline of an offline session has come.
    pub(super) fn deadline_passed(&self, session: &Arc<Session>, now: Now, effects: &mut Effects) {
        self.together_if(session.may_be_durable(), || self.do_what_is_due(session, now, effects));
    }

    fn do_what_is_due(&self, session: &Arc<Session>, now: Now, effects: &mut Effects) {
        let mut due_will = None;
        let mut ends = false;
        {
            let mut state = session.lock();
            let Some(since) = state.offline_since.filter(|_| state.outbox.is_none() && !state.ended) else {
                return;
            };
            state.deadline = None;
            let passed = |seconds: u32| since + Duration::from_secs(u64::from(seconds)) <= now.monotonic;
            if state.has_expired(now) {
                ends = true;
            } else if state.will.as_ref().is_some_and(|will| passed(will.delay)) {
                due_will = state.will.clone();
                state.commit(session.id(), SessionRecord::WillChanged(None), self.journal.as_deref());
            }
            if !ends {
                self.arm(session, &mut state);
            }
        }
        if let Some(will) = due_will {
            self.publish_will(session, &will, now, effects);
        }
        if ends {
            self.end_session(session, Cause::Expired, now, effects);
        }
        self.work_off(now, effects);
    }

    /// Ends a session on request of an administrator. True if there was one.
    pub fn remove_session(&self, client_id: &str, now: Now, effects: &mut Effects) -> bool {
        let Some(session) = self.registry.get(client_id) else { return false };
        self.together_if(session.may_be_durable(), || {
            self.end_session(&session, Cause::Removed, now, effects);
            self.work_off(now, effects);
        });
        true
    }

    /// Ends a session: closes its connection, forgets its state, publishes its will if that is still due.
    fn end_session(&self, session: &Arc<Session>, cause: Cause, now: Now, effects: &mut Effects) {
        let mut will = None;
        let mut subscriptions = None;
        let ended = self.with_context(now, effects, |cx| {
            let mut shard = self.registry.shard(session.client_id());
            let mut state = session.lock();
            if state.ended || (cause == Cause::Expired && !state.has_expired(now)) {
                return false;
            }
            if let Some(mut outbox) = state.outbox.take() {
                state.evicted = match cause {
                    Cause::Removed => CloseReason::AdministrativeAction,
                    _ => CloseReason::TakenOver,
                };
                outbox.close(state.evicted, cx.effects);
                cx.effects.counters.takeovers += u64::from(cause == Cause::Replaced);
            }
            if let Some(at) = state.deadline.take() {
                self.deadlines.disarm(at, session.id());
            }
            will = state.will.take();
            subscriptions = state.subscriptions.take();
            state.return_loans(session, cx);
            state.commit(session.id(), SessionRecord::Ended, cx.journal);
            state.account(cx);
            state.groups = Vec::new();
            shard.remove(session);
            true
        });
        if !ended {
            return;
        }
        for filter in subscriptions.iter().flat_map(|subscriptions| subscriptions.keys()) {
            self.forget_subscription(session, filter);
        }
        if let Some(will) = will {
            self.publish_will(session, &will, now, effects);
        }
        let expired = cause == Cause::Expired;
        effects.counters.sessions_expired += u64::from(expired);
        self.events.event(Event::SessionEnded { client_id: Arc::clone(session.client_id()), expired });
    }

    /// Tells shared subscriptions that a session has become one that ends with its connection.
    fn tell_groups(&self, session: &Arc<Session>) {
        let groups = {
            let state = session.lock();
            if state.is_durable() { Vec::new() } else { state.groups.clone() }
        };
        for group in groups {
            group.member_is_transient(session.id(), self.journal.as_deref());
        }
    }

    /// Publishes a will on behalf of its session.
    fn publish_will(&self, session: &Arc<Session>, will: &Will, now: Now, effects: &mut Effects) {
        let user = session.lock().user.clone();
        effects.counters.wills += 1;
        let client_id = Arc::clone(session.client_id());
        let author = Arc::new(Author { user, client_id: Arc::clone(&client_id) });
        self.publish_for(&author, &will.publication(session.id()), now, effects);
        self.events.event(Event::WillPublished { client_id, topic: Arc::clone(&will.topic) });
    }

    /// When the next deadline is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.earliest()
    }
}

impl SessionState {
    /// Whether a later connection of the client may go on with it.
    fn is_resumable(&self) -> bool {
        !self.ended && self.is_durable()
    }

    /// Whether it has outlived its connection for as long as it may.
    fn has_expired(&self, now: Now) -> bool {
        let Some(since) = self.offline_since.filter(|_| self.outbox.is_none()) else { return false };
        self.expiry != NEVER_EXPIRES && since + Duration::from_secs(u64::from(self.expiry)) <= now.monotonic
    }

    /// From now on the session ends with its connection: nothing of it needs to survive a restart.
    fn forget(&mut self, session: SessionId, journal: Option<&dyn Journal>) {
        if let Some(journal) = journal.filter(|_| self.is_durable()) {
            journal.stage(&Record::Session(session, &SessionRecord::Ended));
        }
        self.expiry = 0;
        self.queue.set_recorded(false);
    }
}

impl Subscription {
    pub(super) fn belongs_to(&self, id: SessionId) -> bool {
        matches!(self, Self::Session(session, _) if session.id() == id)
    }
}
