//! A client's session: its queue, its connection if it has one, and what must survive between connections.
//!
//! Everything is guarded by one short lock. The packet identifier of a delivery is derived from its sequence
//! ([`packet_id`]), so that it survives a crash without a record of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::acknowledgement::{Acknowledgement, Unknown};
use crate::body_budget::BodyBudget;
use crate::clock::Now;
use crate::effects::{Effects, GroupWork};
use crate::filter::SubscriptionOptions;
use crate::journal::{Journal, Position};
use crate::limits::{Limits, Overflow};
use crate::message::Qos;
use crate::outbox::{CloseReason, Delivery, Drained, Outbox, Pushed};
use crate::permission::{Action, Permissions, Subject};
use crate::queue::{Ahead, Queue, Stage};
use crate::read_back::{self, Fetch, ReadEntry, Reading};
use crate::record::{Entry, GroupRecord, QueueRecord, Record, SessionRecord, SettleReason};
use crate::retained_replay::RetainedReplay;
use crate::shared_group::{GroupId, SharedGroup};
use crate::undurable::{Deferred, Undurable};
use crate::will::Will;

/// Identifies a session; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The broker itself, as publisher of its own messages.
    pub const BROKER: SessionId = SessionId(0);
}

/// Seconds after which a session never expires.
pub const NEVER_EXPIRES: u32 = u32::MAX;

/// Sequences that can be outstanding at once, so that identifiers stay unambiguous.
const PACKET_IDS: u64 = 65_535;

/// The packet identifier of a sequence.
#[must_use]
pub fn packet_id(sequence: u64) -> u16 {
    // The remainder is below 65,535, so it fits with one added.
    (sequence % PACKET_IDS) as u16 + 1
}

/// The outstanding sequence that has this packet identifier, given the oldest outstanding one.
fn sequence_of(packet_id: u16, front: u64) -> u64 {
    let wanted = u64::from(packet_id.wrapping_sub(1));
    front + (wanted + PACKET_IDS - front % PACKET_IDS) % PACKET_IDS
}

/// A session. See the module documentation.
pub struct Session {
    id: SessionId,
    client_id: Arc<str>,
    /// Whether it was made to outlive its connections. It may stop being durable, but never starts to be.
    durable: bool,
    /// Held while a batch of the client is worked on, see [`Session::batch`].
    batch: Mutex<()>,
    state: Mutex<SessionState>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("client_id", &self.client_id).finish()
    }
}

/// What a session's operations need from outside.
pub(crate) struct Context<'a> {
    pub now: Now,
    pub effects: &'a mut Effects,
    pub limits: &'a Limits,
    pub permissions: &'a Permissions,
    pub journal: Option<&'a dyn Journal>,
    pub budget: &'a Arc<BodyBudget>,
}

/// The state behind a session's lock.
pub(crate) struct SessionState {
    /// Counts connections; operations of an earlier one are ignored.
    pub epoch: u32,
    /// Why the last connection lost the session.
    pub evicted: CloseReason,
    /// Set once the session is gone; nothing may be added any more.
    pub ended: bool,
    /// Seconds the session outlives its connection.
    pub expiry: u32,
    /// Unacknowledged deliveries allowed (the client's Receive Maximum).
    pub window: u16,
    pub in_flight: u16,
    /// Entries of the queue that are on loan from shared subscriptions.
    pub loans: u32,
    /// Connected, but redelivery has not begun: nothing may overtake it.
    pub resuming: bool,
    pub user: Option<Arc<str>>,
    pub outbox: Option<Box<dyn Outbox>>,
    pub queue: Queue,
    /// What of the queue and of the releases waits for the log.
    pub undurable: Option<Box<Undurable>>,
    /// Bytes of messages in memory that the budget knows of.
    pub accounted: usize,
    pub reading: Reading,
    /// QoS 2 publications taken over from the client and not yet released by it.
    pub received: VecDeque<u16>,
    pub subscriptions: Option<Box<HashMap<Arc<str>, SubscriptionOptions>>>,
    pub groups: Vec<Arc<SharedGroup>>,
    pub will: Option<Box<Will>>,
    pub replay: Option<Box<RetainedReplay>>,
    /// When the connection ended; timers count from here.
    pub offline_since: Option<Instant>,
    /// The same in UTC milliseconds; 0 while connected.
    pub offline_at_ms: u64,
    /// The armed deadline, to disarm it.
    pub deadline: Option<Instant>,
}

impl Session {
    pub(crate) fn new(id: SessionId, client_id: Arc<str>, state: SessionState) -> Self {
        Self { id, client_id, durable: state.is_durable(), batch: Mutex::new(()), state: Mutex::new(state) }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Client identifier.
    #[must_use]
    pub fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// Whether its changes may be recorded. A session that will not survive a restart now never will.
    pub(crate) fn may_be_durable(&self) -> bool {
        self.durable
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    /// Lets one batch of the client at a time publish. After a takeover the earlier connection may still be at work
    /// on another thread: without this its messages and those of the new one, which repeats them, could be routed
    /// in turns, out of order. Taken before any other lock.
    pub fn batch(&self) -> MutexGuard<'_, ()> {
        self.batch.lock()
    }

    /// Swaps out pending output. An error says why the connection of `epoch` no longer owns the session.
    pub fn drain(&self, epoch: u32, out: &mut Drained) -> Result<(), CloseReason> {
        let state = &mut *self.state.lock();
        match &mut state.outbox {
            Some(outbox) if state.epoch == epoch => {
                outbox.drain(out);
                Ok(())
            }
            _ => Err(state.evicted),
        }
    }

    /// Why the connection of `epoch` has to close, if it has to.
    #[must_use]
    pub fn closing(&self, epoch: u32) -> Option<CloseReason> {
        let state = self.state.lock();
        match &state.outbox {
            Some(outbox) if state.epoch == epoch => outbox.closing(),
            _ => Some(state.evicted),
        }
    }

    /// Calls `act` with the outbox of the connection of `epoch`, if it still owns the session.
    pub fn with_outbox(&self, epoch: u32, act: impl FnOnce(&mut dyn Outbox)) {
        let state = &mut *self.state.lock();
        if state.epoch == epoch
            && let Some(outbox) = &mut state.outbox
        {
            act(outbox.as_mut());
        }
    }

    /// Closes the session's connection, if it has one.
    pub fn close(&self, reason: CloseReason, effects: &mut Effects) -> bool {
        match &mut self.state.lock().outbox {
            Some(outbox) => {
                outbox.close(reason, effects);
                true
            }
            None => false,
        }
    }

    /// Messages waiting in the queue, and unacknowledged ones.
    #[must_use]
    pub fn backlog(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.queue.ready(), usize::from(state.in_flight))
    }
}

impl SessionState {
    pub(crate) fn new(expiry: u32, user: Option<Arc<str>>) -> Self {
        let mut queue = Queue::default();
        queue.set_recorded(expiry > 0);
        Self {
            epoch: 0,
            evicted: CloseReason::TakenOver,
            ended: false,
            expiry,
            window: 0,
            in_flight: 0,
            loans: 0,
            resuming: false,
            user,
            outbox: None,
            queue,
            undurable: None,
            accounted: 0,
            reading: Reading::default(),
            received: VecDeque::new(),
            subscriptions: None,
            groups: Vec::new(),
            will: None,
            replay: None,
            offline_since: None,
            offline_at_ms: 0,
            deadline: None,
        }
    }

    /// Whether the session's changes must survive a restart.
    pub(crate) fn is_durable(&self) -> bool {
        self.expiry > 0
    }

    /// Applies a record: the one way in which durable session state changes.
    pub(crate) fn apply(&mut self, record: SessionRecord) -> Option<Entry> {
        match record {
            SessionRecord::Opened { user, expiry, .. } => {
                self.user = user;
                self.expiry = expiry;
                self.offline_since = None;
                self.offline_at_ms = 0;
            }
            SessionRecord::Ended => {
                self.ended = true;
                self.queue = Queue::default();
                self.undurable = None;
                self.loans = 0;
                self.received = VecDeque::new();
                self.subscriptions = None;
                self.will = None;
                self.replay = None;
            }
            SessionRecord::Subscribed { filter, options, replay } => {
                if replay {
                    self.replay.get_or_insert_default().add(Arc::clone(&filter), options, u64::MAX);
                }
                self.subscriptions.get_or_insert_default().insert(filter, options);
            }
            SessionRecord::Replayed { filter } => self.forget_replay(&filter),
            SessionRecord::Unsubscribed { filter } => {
                self.forget_replay(&filter);
                if let Some(subscriptions) = &mut self.subscriptions {
                    subscriptions.remove(&filter);
                }
            }
            SessionRecord::Received(id) => {
                if let Err(index) = self.received.binary_search(&id) {
                    self.received.insert(index, id);
                }
            }
            SessionRecord::Completed(id) => {
                if let Ok(index) = self.received.binary_search(&id) {
                    self.received.remove(index);
                }
            }
            SessionRecord::WillChanged(will) => self.will = will,
            SessionRecord::Offline { at_ms, expiry } => {
                self.offline_at_ms = at_ms;
                self.expiry = expiry;
            }
            SessionRecord::Queue(record) => return self.queue.apply(record),
        }
        None
    }

    fn forget_replay(&mut self, filter: &str) {
        if let Some(replay) = &mut self.replay {
            replay.remove(filter);
        }
    }

    /// Stages a record if the session is durable, then applies it.
    pub(crate) fn commit(
        &mut self,
        session: SessionId,
        record: SessionRecord,
        journal: Option<&dyn Journal>,
    ) -> (Position, Option<Entry>) {
        let position = match journal {
            Some(journal) if self.is_durable() && self.concerns_durable(&record) => {
                journal.stage(&Record::Session(session, &record))
            }
            _ => Position::NONE,
        };
        let Some(journal) = journal else { return (position, self.apply(record)) };
        let settled = match &record {
            SessionRecord::Ended => {
                self.queue.held().for_each(|stored| journal.release(&stored));
                None
            }
            SessionRecord::Queue(QueueRecord::Settled { sequence, .. }) => Some(*sequence),
            _ => None,
        };
        let entry = self.apply(record);
        if let (Some(sequence), Some(entry)) = (settled, &entry)
            && self.queue.is_holder(sequence, entry)
            && let Some(stored) = entry.body.stored()
        {
            journal.release(&stored);
        }
        (position, entry)
    }

    /// Entries at most once and those on loan are not recorded, so nothing that happens to them is.
    fn concerns_durable(&self, record: &SessionRecord) -> bool {
        match record {
            SessionRecord::Queue(QueueRecord::Enqueued { entry, .. }) => entry.is_durable(),
            SessionRecord::Queue(QueueRecord::Settled { sequence, .. }) => {
                self.queue.entry(*sequence).is_some_and(|(entry, ..)| entry.is_durable())
            }
            _ => true,
        }
    }

    fn settle(&mut self, session: SessionId, sequence: u64, reason: SettleReason, cx: &mut Context<'_>) {
        let record = SessionRecord::Queue(QueueRecord::Settled { sequence, reason });
        let (_, entry) = self.commit(session, record, cx.journal);
        let Some(loan) = entry.and_then(|entry| entry.loan) else { return };
        self.loans -= 1;
        cx.effects.group_work.push(match reason {
            SettleReason::Returned => GroupWork::Returned(loan.group, loan.sequence),
            _ => GroupWork::Settled(loan.group, loan.sequence),
        });
    }

    /// Whether one more delivery could be sent at once, or as soon as the log allows.
    pub(crate) fn has_credit(&self) -> bool {
        let ready = self.queue.ready();
        (ready == 0 || self.undurable.is_some())
            && !self.resuming
            && usize::from(self.in_flight) + ready < usize::from(self.window)
            && self.outbox.as_ref().is_some_and(|outbox| outbox.has_room())
    }

    /// Queued entries that wait for nothing but the log: the window has a place for each.
    fn as_good_as_sent(&self) -> usize {
        let online = self.outbox.as_ref().is_some_and(|outbox| outbox.has_room());
        if self.undurable.is_none() || self.resuming || !online {
            return 0;
        }
        usize::from(self.window.saturating_sub(self.in_flight)).min(self.queue.ready())
    }

    /// The first sequence that may not be handed out before the log has moved on.
    pub(crate) fn undurable_from(&mut self, journal: Option<&dyn Journal>) -> u64 {
        match (&mut self.undurable, journal) {
            (Some(undurable), Some(journal)) => undurable.entries.limit(journal.durable()),
            _ => u64::MAX,
        }
    }

    /// What waits for the log, with the session on the list of those that are visited when it has moved.
    fn defer(&mut self, session: &Arc<Session>, position: Position, effects: &mut Effects) -> &mut Undurable {
        self.undurable.get_or_insert_with(|| {
            effects.deferred.push(Deferred::session(session, position));
            Box::default()
        })
    }

    /// The log is durable up to `durable`: sends the releases and messages that waited for that. Returns the
    /// position that the rest waits for.
    pub(crate) fn log_moved(
        &mut self,
        session: &Arc<Session>,
        durable: Position,
        cx: &mut Context<'_>,
    ) -> Option<Position> {
        let undurable = self.undurable.as_mut()?;
        undurable.entries.limit(durable);
        while let Some(id) = undurable.pop_release(durable) {
            // A connection that is still to be resumed gets all releases then.
            if let Some(outbox) = self.outbox.as_mut().filter(|_| !self.resuming) {
                outbox.release(id, cx.effects);
            }
        }
        let next = undurable.next();
        if next.is_none() {
            self.undurable = None;
        }
        self.pump(session, cx);
        self.cool(read_back::COOLED_PER_VISIT, cx);
        self.report_credit(cx.effects);
        if self.replay.is_some()
            && let Some(outbox) = &mut self.outbox
        {
            outbox.wake(cx.effects);
        }
        next
    }

    /// Puts a message at the end of the queue and sends what may be sent.
    pub(crate) fn enqueue(&mut self, session: &Arc<Session>, entry: Entry, cx: &mut Context<'_>) -> Position {
        if self.ended || !self.make_room(session, &entry, cx) {
            return Position::NONE;
        }
        self.enqueue_beyond_limits(session, entry, cx)
    }

    /// Takes an entry of a shared subscription if it can be sent at once. `from` names the entry there if it is
    /// handed over for good and recorded there; then what is recorded here settles it there, too. `None` if it is not taken.
    pub(crate) fn take_over(
        &mut self,
        session: &Arc<Session>,
        entry: Entry,
        from: Option<(GroupId, u64)>,
        cx: &mut Context<'_>,
    ) -> Option<Position> {
        if self.ended || !self.has_credit() {
            return None;
        }
        self.loans += u32::from(entry.loan.is_some());
        let transient = !self.is_durable() || !entry.is_durable();
        if let Some((group, sequence)) = from.filter(|_| transient)
            && let Some(journal) = cx.journal
        {
            // The entry is gone from the group before anybody sees it: after a crash it must not go to another member
            // [MQTT-4.8.2-4].
            let settled = QueueRecord::Settled { sequence, reason: SettleReason::HandedOver };
            let position = journal.stage(&Record::Group(group, &GroupRecord::Queue(settled)));
            let sequence = self.queue.next_sequence();
            if position > journal.durable() {
                self.defer(session, position, cx.effects).entries.note(sequence, position);
            }
            self.append(session, entry, None, cx);
            return Some(position);
        }
        Some(self.append(session, entry, from, cx))
    }

    /// Like [`enqueue`](Self::enqueue), for what is bounded elsewhere: the replay of retained messages waits for
    /// the queue to run short, so its messages are never dropped for the queue's limits.
    pub(crate) fn enqueue_beyond_limits(
        &mut self,
        session: &Arc<Session>,
        entry: Entry,
        cx: &mut Context<'_>,
    ) -> Position {
        self.append(session, entry, None, cx)
    }

    fn append(
        &mut self,
        session: &Arc<Session>,
        entry: Entry,
        from: Option<(GroupId, u64)>,
        cx: &mut Context<'_>,
    ) -> Position {
        let sequence = self.queue.next_sequence();
        let record = SessionRecord::Queue(QueueRecord::Enqueued { sequence, entry, from });
        let (position, _) = self.commit(session.id, record, cx.journal);
        if cx.journal.is_some_and(|journal| position > journal.durable()) {
            self.defer(session, position, cx.effects).entries.note(sequence, position);
        }
        self.pump(session, cx);
        // Some for each that comes, so that visits need not do it all.
        self.cool(read_back::COOLED_PER_ENTRY, cx);
        position
    }

    fn make_room(&mut self, session: &Session, entry: &Entry, cx: &mut Context<'_>) -> bool {
        let size = entry.body.size();
        // Nothing needs to go for what would not fit alone.
        let possible = size <= cx.limits.max_queued_bytes && cx.limits.max_queued_messages > 0;
        loop {
            let ready = self.queue.ready() - self.as_good_as_sent();
            let bytes = if ready == 0 { 0 } else { self.queue.ready_bytes() };
            let fits = ready < cx.limits.max_queued_messages && bytes + size <= cx.limits.max_queued_bytes;
            if fits || self.has_credit() {
                return true;
            }
            cx.effects.counters.dropped_queue_full += 1;
            tracing::debug!(client_id = %session.client_id, ready = self.queue.ready(), "the queue is full");
            match (cx.limits.overflow, self.queue.first_ready()) {
                (Overflow::DropOldest, Some(oldest)) if possible => {
                    self.settle(session.id, oldest, SettleReason::Overflow, cx);
                }
                _ => return false,
            }
        }
    }

    /// Sends queued messages as long as the window and the output allow.
    pub(crate) fn pump(&mut self, session: &Arc<Session>, cx: &mut Context<'_>) {
        if !self.resuming && self.outbox.is_some() {
            self.send_ready(session, cx);
        }
        self.account(cx);
    }

    fn send_ready(&mut self, session: &Arc<Session>, cx: &mut Context<'_>) {
        let undurable_from = self.undurable_from(cx.journal);
        while self.in_flight < self.window && self.outbox.as_ref().is_some_and(|outbox| outbox.has_room()) {
            let Some(sequence) = self.queue.first_ready() else { break };
            if sequence - self.queue.front_sequence() >= PACKET_IDS || sequence >= undurable_from {
                break;
            }
            if self.queue.entry(sequence).is_some_and(|(entry, ..)| entry.body.message().is_none()) {
                if self.reading.ask() {
                    cx.effects.fetches.push(Fetch::Session(Arc::clone(session)));
                }
                break;
            }
            if self.reading.advance() {
                cx.effects.fetches.push(Fetch::Session(Arc::clone(session)));
            }
            if let Err(reason) = self.send(session, sequence, cx) {
                match reason {
                    SettleReason::Expired => cx.effects.counters.dropped_expired += 1,
                    SettleReason::Denied => cx.effects.counters.dropped_denied += 1,
                    _ => cx.effects.counters.dropped_too_large += 1,
                }
                self.settle(session.id, sequence, reason, cx);
            }
        }
    }

    /// Sends one ready entry; an error says why it never will be.
    fn send(&mut self, session: &Session, sequence: u64, cx: &mut Context<'_>) -> Result<(), SettleReason> {
        let Some((entry, _, redelivered)) = self.queue.entry(sequence) else { return Ok(()) };
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        let Some(message) = entry.body.message() else { return Ok(()) };
        if message.is_expired(cx.now) {
            return Err(SettleReason::Expired);
        }
        if !cx.permissions.is_unrestricted() {
            let subject = Subject { user: self.user.as_deref(), client_id: &session.client_id };
            if !cx.permissions.check(&subject, Action::Receive, &message.topic).is_allowed() {
                return Err(SettleReason::Denied);
            }
        }
        let delivery = Delivery {
            topic: &message.topic,
            payload: &message.payload,
            message: Some(message),
            properties: message.properties(),
            qos: entry.qos,
            retain: entry.retain,
            dup: redelivered && entry.qos > Qos::AtMostOnce,
            packet_id: if entry.qos == Qos::AtMostOnce { 0 } else { packet_id(sequence) },
            subscription_ids: entry.ids,
            expiry: message.remaining_expiry(cx.now),
            fan_out: false,
        };
        let size = delivery.payload.len() as u64;
        let qos = entry.qos;
        match outbox.deliver(&delivery, cx.effects) {
            Pushed::Full | Pushed::Accepted => {}
            Pushed::TooLarge => return Err(SettleReason::Undeliverable),
        }
        cx.effects.counters.publish_sent += 1;
        cx.effects.counters.publish_bytes_sent += size;
        self.queue.mark_sent(sequence);
        if qos == Qos::AtMostOnce {
            self.settle(session.id, sequence, SettleReason::Acknowledged, cx);
        } else {
            self.in_flight += 1;
            if cx.budget.is_exceeded()
                && let Some(journal) = cx.journal
            {
                // It is wanted again only if the client goes away without an answer.
                self.queue.make_cold(sequence, journal.durable());
            }
        }
        Ok(())
    }

    /// Tells the budget what has become of the memory of the queue's messages.
    pub(crate) fn account(&mut self, cx: &mut Context<'_>) {
        let counts = cx.journal.is_some() && self.is_durable();
        let memory = if counts { self.queue.memory() } else { 0 };
        cx.effects.memory.note(cx.budget, self.accounted, memory);
        self.accounted = memory;
    }

    /// Lets go of messages if there are too many in memory: those that are in the log and not to be sent soon.
    /// Looks at no more than about `most`.
    pub(crate) fn cool(&mut self, most: usize, cx: &mut Context<'_>) {
        if cx.budget.is_exceeded() {
            self.cool_now(most, cx);
        }
    }

    /// The same although there may not be too many in memory at this moment.
    pub(crate) fn cool_now(&mut self, most: usize, cx: &mut Context<'_>) {
        let Some(journal) = cx.journal else { return };
        let kept = if self.outbox.is_some() { read_back::KEPT } else { 0 };
        self.queue.cool(journal.durable(), kept, most);
        self.account(cx);
    }

    /// Takes messages that were read back and goes on.
    pub(crate) fn put_back(
        &mut self,
        session: &Arc<Session>,
        ahead: &Ahead,
        read: Vec<ReadEntry>,
        cx: &mut Context<'_>,
    ) {
        self.reading.answered(ahead);
        for (sequence, stored, why) in self.queue.put_back(read) {
            let reason = read_back::lost(session, sequence, &stored, &why, cx);
            self.settle(session.id, sequence, reason, cx);
        }
        self.pump(session, cx);
        self.report_credit(cx.effects);
    }

    /// Delivers at most once, straight to the outbox, without touching the queue.
    pub(crate) fn deliver_now(&mut self, delivery: &Delivery<'_>, effects: &mut Effects) -> Option<Pushed> {
        let outbox = self.outbox.as_mut()?;
        let pushed = outbox.deliver(delivery, effects);
        match pushed {
            Pushed::Accepted => {
                effects.counters.publish_sent += 1;
                effects.counters.publish_bytes_sent += delivery.payload.len() as u64;
            }
            Pushed::Full => effects.counters.dropped_outbox_full += 1,
            Pushed::TooLarge => effects.counters.dropped_too_large += 1,
        }
        Some(pushed)
    }

    /// Applies acknowledgements of the client in order, then sends what the window now allows. Identifiers that
    /// nothing is known of are reported to `unknown`.
    pub(crate) fn acknowledge(
        &mut self,
        session: &Arc<Session>,
        acknowledgements: &[Acknowledgement],
        cx: &mut Context<'_>,
        mut unknown: impl FnMut(Unknown),
    ) {
        for acknowledgement in acknowledgements {
            let id = acknowledgement.packet_id();
            let sequence = sequence_of(id, self.queue.front_sequence());
            let (qos, stage) = match self.queue.entry(sequence) {
                Some((entry, stage, _)) if stage != Stage::Ready => (entry.qos, stage),
                _ => {
                    let release = matches!(acknowledgement, Acknowledgement::Received(_));
                    unknown(Unknown { packet_id: id, release });
                    continue;
                }
            };
            match (acknowledgement, qos, stage) {
                (Acknowledgement::Done(_), Qos::AtLeastOnce, _)
                | (Acknowledgement::Refused(_), Qos::ExactlyOnce, Stage::Sent)
                | (Acknowledgement::Completed(_), Qos::ExactlyOnce, Stage::Released) => {
                    self.settle(session.id, sequence, SettleReason::Acknowledged, cx);
                    self.in_flight = self.in_flight.saturating_sub(1);
                }
                (Acknowledgement::Received(_), Qos::ExactlyOnce, _) => {
                    let mut position = Position::NONE;
                    if stage == Stage::Sent {
                        let record = SessionRecord::Queue(QueueRecord::Released { sequence });
                        (position, _) = self.commit(session.id, record, cx.journal);
                    }
                    self.release(session, id, position, cx);
                }
                // An acknowledgement of the wrong kind changes nothing.
                _ => {}
            }
        }
        self.pump(session, cx);
        self.report_credit(cx.effects);
    }

    /// Sends a release (PUBREL) once the log is durable up to `position`, and behind those that wait already.
    fn release(&mut self, session: &Arc<Session>, id: u16, position: Position, cx: &mut Context<'_>) {
        let last = self.undurable.as_ref().and_then(|undurable| undurable.releases.back());
        let position = last.map_or(position, |(last, _)| position.max(*last));
        if cx.journal.is_some_and(|journal| position > journal.durable()) || last.is_some() {
            self.defer(session, position, cx.effects).releases.push_back((position, id));
        } else if let Some(outbox) = &mut self.outbox {
            outbox.release(id, cx.effects);
        }
    }

    /// Lets shared subscriptions with a backlog know that this member can take more.
    pub(crate) fn report_credit(&self, effects: &mut Effects) {
        if !self.groups.is_empty() && self.has_credit() {
            for group in self.groups.iter().filter(|group| group.has_backlog()) {
                effects.group_work.push(GroupWork::Credit(Arc::clone(group)));
            }
        }
    }

    /// Gives entries on loan back to their shared subscriptions. QoS 2 is never on loan [MQTT-4.8.2-4].
    pub(crate) fn return_loans(&mut self, session: &Session, cx: &mut Context<'_>) {
        if self.loans == 0 {
            return;
        }
        let on_loan = self.queue.iter().filter(|(_, entry, _)| entry.loan.is_some());
        let loans: Vec<u64> = on_loan.map(|(sequence, ..)| sequence).collect();
        for sequence in loans {
            self.settle(session.id, sequence, SettleReason::Returned, cx);
        }
    }

    /// Starts redelivery for a new connection: unreleased deliveries go out again, in order and marked as
    /// duplicates; for released ones the release is repeated [MQTT-4.4.0-1].
    pub(crate) fn resume(&mut self, session: &Arc<Session>, cx: &mut Context<'_>) {
        self.resuming = false;
        let released = self.queue.rewind();
        self.in_flight = u16::try_from(released.len()).unwrap_or(u16::MAX);
        // If the records of some are not durable yet, all wait for these, so that their order is kept.
        let waiting = self.undurable.as_mut().map(|undurable| std::mem::take(&mut undurable.releases));
        let position = waiting.and_then(|waiting| waiting.back().map(|(position, _)| *position));
        for sequence in released {
            self.release(session, packet_id(sequence), position.unwrap_or_default(), cx);
        }
        self.pump(session, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_identifier_leads_back_to_its_sequence() {
        for front in [0, 1, 65_533, 65_534, 65_535, 65_536, 1 << 40] {
            for ahead in [0, 1, 2, 65_533, 65_534] {
                let sequence = front + ahead;
                assert_ne!(packet_id(sequence), 0);
                assert_eq!(sequence_of(packet_id(sequence), front), sequence, "front {front}");
            }
        }
    }

    #[test]
    fn a_session_is_small_while_idle() {
        let size = std::mem::size_of::<Session>();
        assert!(size <= 400, "a session takes {size} bytes");
    }
}
