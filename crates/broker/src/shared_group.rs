//! A shared subscription: one queue, competing consumers.
//!
//! A message goes to one connected member with credit. The group keeps it until that member has acknowledged,
//! so that it can go to another when the member leaves. QoS 2 stays with the member that got it: it is settled
//! here when it is handed over [MQTT-4.8.2-4], [MQTT-4.8.2-5].
//!
//! A group is durable as long as it has a durable member. What its members hold on loan is durable here, not there:
//! after a restart all of it is ready again.

mod choosing;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::body::Stored;
use crate::filter::{SubscriptionIds, SubscriptionOptions};
use crate::journal::{Journal, Position};
use crate::limits::Overflow;
use crate::message::{Message, Qos};
use crate::queue::{Ahead, Queue, Reach};
use crate::read_back::{self, Fetch, ReadEntry, Reading};
use crate::record::{Entry, GroupRecord, Loan, OwnedRecord, QueueRecord, Record, SettleReason};
use crate::route::Routing;
use crate::session::{Context, Session, SessionId};
use crate::undurable::{Deferred, Marks};

/// Identifies a shared subscription; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// A shared subscription. See the module documentation.
pub struct SharedGroup {
    id: GroupId,
    name: Box<str>,
    filter: Arc<str>,
    backlog: AtomicBool,
    /// What [`GroupState::recorded`] says, for those who do not hold the lock.
    durable: AtomicBool,
    state: Mutex<GroupState>,
}

#[derive(Default)]
struct GroupState {
    members: Vec<Member>,
    /// Whether its records are kept: it has a durable member.
    recorded: bool,
    turn: usize,
    queue: Queue,
    /// What of the queue waits for the log, while the group is on the list of those that are visited when it has moved.
    undurable: Option<Marks>,
    /// Bytes of messages in memory that the budget knows of.
    accounted: usize,
    reading: Reading,
}

struct Member {
    session: Arc<Session>,
    options: SubscriptionOptions,
    durable: bool,
}

impl fmt::Debug for SharedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedGroup").field("name", &self.name).field("filter", &self.filter).finish()
    }
}

impl SharedGroup {
    pub(crate) fn new(id: GroupId, name: &str, filter: Arc<str>) -> Self {
        Self {
            id,
            name: name.into(),
            filter,
            backlog: AtomicBool::new(false),
            durable: AtomicBool::new(false),
            state: Mutex::new(GroupState::default()),
        }
    }

    /// The share name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topic filter without its `$share` prefix.
    #[must_use]
    pub fn filter(&self) -> &Arc<str> {
        &self.filter
    }

    /// Whether the group's changes are recorded.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable.load(Relaxed)
    }

    /// Whether messages wait for a member with credit.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        self.backlog.load(Relaxed)
    }

    /// Messages waiting for a member, and their bytes.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.queue.ready(), state.queue.ready_bytes())
    }

    /// Messages in memory, and the bytes that they take up.
    pub(crate) fn in_memory(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.queue.in_memory(), state.queue.memory())
    }

    /// The group's identity.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Adds a member or replaces its options. With its first durable member the group becomes durable.
    pub(crate) fn join(
        &self,
        session: &Arc<Session>,
        options: SubscriptionOptions,
        durable: bool,
        journal: Option<&dyn Journal>,
    ) -> Position {
        let mut state = self.state.lock();
        match state.members.iter_mut().find(|member| member.session.id() == session.id()) {
            Some(member) => {
                member.options = options;
                member.durable = durable;
            }
            None => state.members.push(Member { session: Arc::clone(session), options, durable }),
        }
        self.update_durability(&mut state, journal)
    }

    /// Removes a member; true if the group has none left.
    pub(crate) fn leave(&self, session: SessionId, journal: Option<&dyn Journal>) -> bool {
        let mut state = self.state.lock();
        state.members.retain(|member| member.session.id() != session);
        self.update_durability(&mut state, journal);
        state.members.is_empty()
    }

    /// A member's session need not survive a restart any more.
    pub(crate) fn member_is_transient(&self, session: SessionId, journal: Option<&dyn Journal>) {
        let mut state = self.state.lock();
        for member in state.members.iter_mut().filter(|member| member.session.id() == session) {
            member.durable = false;
        }
        self.update_durability(&mut state, journal);
    }

    /// Ends a group that came from the log without any member.
    pub(crate) fn close(&self, journal: Option<&dyn Journal>) {
        self.update_durability(&mut self.state.lock(), journal);
    }

    fn update_durability(&self, state: &mut GroupState, journal: Option<&dyn Journal>) -> Position {
        let durable = state.members.iter().any(|member| member.durable);
        if durable == state.recorded {
            return Position::NONE;
        }
        state.recorded = durable;
        self.durable.store(durable, Relaxed);
        let Some(journal) = journal else { return Position::NONE };
        if !durable {
            // What the entries hold they hold on to until they are gone: they may lie in the log only.
            state.queue.set_recorded(false);
            return journal.stage(&Record::Group(self.id, &GroupRecord::Ended));
        }
        let held: Vec<_> = state.queue.held().collect();
        let records = self.records_of(state);
        let position = records.iter().map(|record| journal.stage(&record.as_record())).max();
        held.iter().for_each(|stored| journal.release(stored));
        state.queue.set_recorded(true);
        position.unwrap_or_default()
    }

    /// Lets go of everything: the group has no member and is forgotten.
    pub(crate) fn discard(&self, journal: Option<&dyn Journal>) {
        let mut state = self.state.lock();
        let queue = std::mem::take(&mut state.queue);
        self.backlog.store(false, Relaxed);
        if let Some(journal) = journal {
            queue.held().for_each(|stored| journal.release(&stored));
        }
    }

    /// The records that make up the group as it is; none if it is not durable.
    pub(crate) fn records(&self) -> Vec<OwnedRecord> {
        let state = self.state.lock();
        if state.recorded { self.records_of(&state) } else { Vec::new() }
    }

    fn records_of(&self, state: &GroupState) -> Vec<OwnedRecord> {
        let opened = GroupRecord::Opened { name: Arc::from(&*self.name), filter: Arc::clone(&self.filter) };
        let enqueued = state.queue.iter().map(|(sequence, entry, _)| {
            GroupRecord::Queue(QueueRecord::Enqueued { sequence, entry: entry.to_entry(), from: None })
        });
        std::iter::once(opened).chain(enqueued).map(|record| OwnedRecord::Group(self.id, record)).collect()
    }

    /// The messages' records that are held by entries of the group.
    pub(crate) fn for_each_held(&self, look: impl FnMut(Stored)) {
        self.state.lock().queue.held().for_each(look);
    }

    /// Applies a record of the group's queue; called for live changes and for replayed ones.
    pub(crate) fn apply(&self, record: QueueRecord) {
        let mut state = self.state.lock();
        state.queue.apply(record);
        self.backlog.store(state.queue.ready() > 0, Relaxed);
    }

    /// Looks at the queue if it is recorded.
    pub(crate) fn with_recorded_queue<R>(&self, look: impl FnOnce(&mut Queue) -> R) -> Option<R> {
        let mut state = self.state.lock();
        state.recorded.then(|| look(&mut state.queue))
    }

    /// Looks at the queue, or moves what is in it.
    pub(crate) fn with_queue(&self, look: &mut dyn FnMut(&mut Queue)) {
        look(&mut self.state.lock().queue);
    }

    /// Changes the queue while it is being rebuilt.
    pub(crate) fn restore_queue(&self, change: impl FnOnce(&mut Queue)) {
        let mut state = self.state.lock();
        change(&mut state.queue);
        self.backlog.store(state.queue.ready() > 0, Relaxed);
    }

    /// Marks a group that comes from the log.
    pub(crate) fn restored(&self) {
        let mut state = self.state.lock();
        state.recorded = true;
        self.durable.store(true, Relaxed);
        state.queue.set_recorded(true);
    }

    /// Routes one publication to a member. Returns whether anybody was there to take it.
    pub(crate) fn publish(
        self: &Arc<Self>,
        routing: &mut Routing<'_>,
        cx: &mut Context<'_>,
    ) -> (bool, Position) {
        let mut state = self.state.lock();
        if routing.publication.qos == Qos::AtMostOnce {
            return (state.deliver_at_most_once(routing, cx), Position::NONE);
        }
        let message = routing.message(cx.now);
        if state.members.is_empty() {
            return (false, Position::NONE);
        }
        let entry = Entry {
            qos: message.qos,
            body: Arc::clone(message).into(),
            ids: SubscriptionIds::None,
            loan: None,
            retain: false,
        };
        if !self.make_room(&mut state, &entry, cx) {
            return (true, Position::NONE);
        }
        let sequence = state.queue.next_sequence();
        let record = QueueRecord::Enqueued { sequence, entry, from: None };
        let position = self.commit(&mut state, record, cx.journal);
        if cx.journal.is_some_and(|journal| position > journal.durable()) {
            self.defer(&mut state, position, cx).note(sequence, position);
        }
        let handed = self.dispatch(&mut state, cx);
        // Some for each that comes, so that visits need not do it all.
        state.cool(read_back::COOLED_PER_ENTRY, cx);
        (true, position.max(handed))
    }

    /// What waits for the log, with the group on the list of those that are visited when it has moved.
    fn defer<'a>(
        self: &Arc<Self>,
        state: &'a mut GroupState,
        position: Position,
        cx: &mut Context<'_>,
    ) -> &'a mut Marks {
        state.undurable.get_or_insert_with(|| {
            cx.effects.deferred.push(Deferred::group(self, position));
            Marks::default()
        })
    }

    /// The log is durable up to `durable`: hands out what waited for that. Returns the position that the rest waits for.
    pub(crate) fn log_moved(self: &Arc<Self>, durable: Position, cx: &mut Context<'_>) -> Option<Position> {
        let mut state = self.state.lock();
        let undurable = state.undurable.as_mut()?;
        undurable.limit(durable);
        let next = undurable.next();
        if next.is_none() {
            state.undurable = None;
        }
        self.dispatch(&mut state, cx);
        state.cool(read_back::COOLED_PER_VISIT, cx);
        next
    }

    fn make_room(&self, state: &mut GroupState, entry: &Entry, cx: &mut Context<'_>) -> bool {
        let size = entry.body.size();
        let possible = size <= cx.limits.max_queued_bytes && cx.limits.max_queued_messages > 0;
        loop {
            let full = state.queue.ready() >= cx.limits.max_queued_messages
                || state.queue.ready_bytes() + size > cx.limits.max_queued_bytes;
            if !full || state.waits_for_log_only(cx) {
                return true;
            }
            cx.effects.counters.dropped_queue_full += 1;
            tracing::debug!(group = %self.name, ready = state.queue.ready(), "the queue is full");
            match (cx.limits.overflow, state.queue.first_ready()) {
                (Overflow::DropOldest, Some(sequence)) if possible => {
                    self.settle(state, sequence, SettleReason::Overflow, cx);
                }
                _ => return false,
            }
        }
    }

    fn commit(&self, state: &mut GroupState, record: QueueRecord, journal: Option<&dyn Journal>) -> Position {
        let record = GroupRecord::Queue(record);
        let position = match journal {
            Some(journal) if state.recorded => journal.stage(&Record::Group(self.id, &record)),
            _ => Position::NONE,
        };
        if let GroupRecord::Queue(record) = record {
            state.apply(record, journal);
        }
        position
    }

    fn settle(&self, state: &mut GroupState, sequence: u64, reason: SettleReason, cx: &mut Context<'_>) {
        self.commit(state, QueueRecord::Settled { sequence, reason }, cx.journal);
    }

    /// Hands ready messages to members with credit. Returns the position of what members took over for good.
    fn dispatch(self: &Arc<Self>, state: &mut GroupState, cx: &mut Context<'_>) -> Position {
        let mut position = Position::NONE;
        let undurable_from = state.undurable_from(cx.journal);
        while let Some(sequence) = state.queue.first_ready() {
            if sequence >= undurable_from {
                // Whoever has credit then gets it when the log has moved.
                self.backlog.store(false, Relaxed);
                break;
            }
            // Set before members are looked at: one that gets credit after that sees it and comes back.
            self.backlog.store(true, Relaxed);
            let Some((entry, _, _)) = state.queue.entry(sequence) else { break };
            let Some(message) = entry.body.message().cloned() else {
                if state.somebody_has_credit() && state.reading.ask() {
                    cx.effects.fetches.push(Fetch::Group(Arc::clone(self)));
                }
                break;
            };
            if message.is_expired(cx.now) {
                cx.effects.counters.dropped_expired += 1;
                self.settle(state, sequence, SettleReason::Expired, cx);
                continue;
            }
            let Some(index) = state.choose(&message, cx) else {
                if state.nobody_may_receive(&message, cx) {
                    cx.effects.counters.dropped_denied += 1;
                    self.settle(state, sequence, SettleReason::Denied, cx);
                    continue;
                }
                break;
            };
            match self.hand_over(state, sequence, message, index, cx) {
                Some(at) => position = position.max(at),
                None => continue,
            }
            if state.reading.advance() {
                cx.effects.fetches.push(Fetch::Group(Arc::clone(self)));
            }
        }
        if state.queue.ready() == 0 {
            self.backlog.store(false, Relaxed);
        }
        state.account(cx);
        position
    }

    /// Hands one message to a member. `None` if the member has lost its credit meanwhile; then nothing has changed.
    fn hand_over(
        self: &Arc<Self>,
        state: &mut GroupState,
        sequence: u64,
        message: Arc<Message>,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Option<Position> {
        let member = state.members.get(index)?;
        let qos = message.qos.min(member.options.qos);
        let on_loan = qos == Qos::AtLeastOnce;
        let entry = Entry {
            qos,
            retain: member.options.retain_as_published && message.retain,
            body: message.into(),
            ids: SubscriptionIds::None.with(member.options.id),
            loan: on_loan.then(|| Box::new(Loan { group: Arc::clone(self), sequence })),
        };
        let from = (state.recorded && !on_loan).then_some((self.id, sequence));
        let session = Arc::clone(&member.session);
        let taken = session.lock().take_over(&session, entry, from, cx);
        let position = taken?;
        if on_loan {
            state.queue.mark_sent(sequence);
            if cx.budget.is_exceeded()
                && let Some(journal) = cx.journal
            {
                // It is wanted again only if the member leaves.
                state.queue.make_cold(sequence, journal.durable());
            }
        } else {
            // Recorded by the member.
            let reason = SettleReason::HandedOver;
            state.apply(QueueRecord::Settled { sequence, reason }, cx.journal);
        }
        Some(position)
    }

    /// A member acknowledged an entry.
    pub(crate) fn settled(self: &Arc<Self>, sequence: u64, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        self.settle(&mut state, sequence, SettleReason::Acknowledged, cx);
        if state.queue.ready() > 0 {
            self.dispatch(&mut state, cx);
        }
    }

    /// A member left without acknowledging an entry.
    pub(crate) fn returned(self: &Arc<Self>, sequence: u64, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        state.queue.give_back(sequence);
        self.dispatch(&mut state, cx);
    }

    /// What will be handed out next; nothing if nobody could take it.
    pub(crate) fn ahead(&self, reach: Reach) -> Ahead {
        let state = self.state.lock();
        if state.somebody_has_credit() { state.queue.ahead(reach) } else { Ahead::default() }
    }

    /// Takes messages that were read back and goes on.
    pub(crate) fn put_back(self: &Arc<Self>, ahead: &Ahead, read: Vec<ReadEntry>, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        state.reading.answered(ahead);
        for (sequence, stored, why) in state.queue.put_back(read) {
            let reason = read_back::lost(self, sequence, &stored, &why, cx);
            self.settle(&mut state, sequence, reason, cx);
        }
        self.dispatch(&mut state, cx);
    }

    /// A member has credit again.
    pub(crate) fn pump(self: &Arc<Self>, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        self.dispatch(&mut state, cx);
    }
}

impl GroupState {
    /// Changes the queue. Whatever leaves it lets go of its message's record.
    fn apply(&mut self, record: QueueRecord, journal: Option<&dyn Journal>) {
        let settled = match record {
            QueueRecord::Settled { sequence, .. } => Some(sequence),
            _ => None,
        };
        let entry = self.queue.apply(record);
        if let (Some(journal), Some(sequence), Some(entry)) = (journal, settled, entry)
            && self.queue.is_holder(sequence, &entry)
            && let Some(stored) = entry.body.stored()
        {
            journal.release(&stored);
        }
    }

    /// Tells the budget what has become of the memory of the queue's messages.
    fn account(&mut self, cx: &mut Context<'_>) {
        let memory = if cx.journal.is_some() && self.recorded { self.queue.memory() } else { 0 };
        cx.effects.memory.note(cx.budget, self.accounted, memory);
        self.accounted = memory;
    }

    /// Lets go of messages if there are too many in memory: those that are in the log and not to be handed out soon.
    /// Looks at no more than about `most`.
    fn cool(&mut self, most: usize, cx: &mut Context<'_>) {
        let Some(journal) = cx.journal.filter(|_| cx.budget.is_exceeded()) else { return };
        let online = self.members.iter().any(|member| member.session.lock().outbox.is_some());
        let kept = if online { read_back::KEPT } else { 0 };
        self.queue.cool(journal.durable(), kept, most);
        self.account(cx);
    }

    /// The first sequence that may not be handed out before the log has moved on.
    fn undurable_from(&mut self, journal: Option<&dyn Journal>) -> u64 {
        match (&mut self.undurable, journal) {
            (Some(undurable), Some(journal)) => undurable.limit(journal.durable()),
            _ => u64::MAX,
        }
    }

    /// Whether everything in the queue waits for nothing but the log, so that the queue is not the members' backlog.
    fn waits_for_log_only(&mut self, cx: &Context<'_>) -> bool {
        let undurable_from = self.undurable_from(cx.journal);
        self.queue.first_ready().is_some_and(|first| first >= undurable_from)
            && self.members.iter().any(|member| member.session.lock().has_credit())
    }
}
