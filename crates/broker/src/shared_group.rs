//! A shared subscription: one queue, competing consumers.
//!
//! A message goes to one connected member with credit. The group keeps it until that member has acknowledged,
//! so that it can go to another when the member leaves. QoS 2 stays with the member that got it: it is settled
//! here when it is handed over [MQTT-4.8.2-4], [MQTT-4.8.2-5].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::filter::{SubscriptionIds, SubscriptionOptions};
use crate::journal::{Journal, Position};
use crate::limits::{Overflow, SharedStrategy};
use crate::message::{Message, Qos};
use crate::outbox::{Delivery, Pushed};
use crate::permission::{Action, Subject};
use crate::queue::Queue;
use crate::record::{Entry, Loan, QueueRecord, Record, SettleReason};
use crate::route::Routing;
use crate::session::{Context, Session, SessionId};

/// Identifies a shared subscription; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(pub u64);

/// A shared subscription. See the module documentation.
pub struct SharedGroup {
    id: GroupId,
    name: Box<str>,
    filter: Arc<str>,
    backlog: AtomicBool,
    state: Mutex<GroupState>,
}

#[derive(Default)]
struct GroupState {
    members: Vec<Member>,
    turn: usize,
    queue: Queue,
    overflow_reported: bool,
}

struct Member {
    session: Arc<Session>,
    options: SubscriptionOptions,
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

    /// Adds a member or replaces its options; true if it was a member before.
    pub(crate) fn join(&self, session: &Arc<Session>, options: SubscriptionOptions) -> bool {
        let mut state = self.state.lock();
        if let Some(member) = state.members.iter_mut().find(|member| member.session.id() == session.id()) {
            member.options = options;
            return true;
        }
        state.members.push(Member { session: Arc::clone(session), options });
        false
    }

    /// Removes a member; true if the group has none left.
    pub(crate) fn leave(&self, session: SessionId) -> bool {
        let mut state = self.state.lock();
        state.members.retain(|member| member.session.id() != session);
        state.members.is_empty()
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
            message: Arc::clone(message),
            ids: SubscriptionIds::None,
            loan: None,
            retain: false,
        };
        if !self.make_room(&mut state, &entry, cx) {
            return (true, Position::NONE);
        }
        let sequence = state.queue.next_sequence();
        let position = self.commit(&mut state, QueueRecord::Enqueued { sequence, entry }, cx.journal);
        self.dispatch(&mut state, cx);
        (true, position)
    }

    fn make_room(&self, state: &mut GroupState, entry: &Entry, cx: &mut Context<'_>) -> bool {
        let size = entry.message.size();
        while state.queue.ready() >= cx.limits.max_queued_messages
            || state.queue.ready_bytes() + size > cx.limits.max_queued_bytes
        {
            cx.effects.counters.dropped_queue_full += 1;
            if !state.overflow_reported {
                state.overflow_reported = true;
                tracing::warn!(group = %self.name, filter = %self.filter, ready = state.queue.ready(),
                    "queue limit reached; messages for this shared subscription are dropped (max-queued-messages, max-queued-bytes)");
            }
            match (cx.limits.overflow, state.queue.first_ready()) {
                (Overflow::DropOldest, Some(sequence)) => {
                    let reason = SettleReason::Overflow;
                    self.commit(state, QueueRecord::Settled { sequence, reason }, cx.journal);
                }
                _ => return false,
            }
        }
        true
    }

    fn commit(&self, state: &mut GroupState, record: QueueRecord, journal: Option<&dyn Journal>) -> Position {
        let position = match journal {
            Some(journal) => journal.stage(&Record::Group(self.id, &record)),
            None => Position::NONE,
        };
        state.queue.apply(record);
        position
    }

    /// Hands ready messages to members with credit.
    fn dispatch(self: &Arc<Self>, state: &mut GroupState, cx: &mut Context<'_>) {
        while let Some(sequence) = state.queue.first_ready() {
            let Some((entry, _, _)) = state.queue.entry(sequence) else { break };
            if entry.message.is_expired(cx.now) {
                cx.effects.counters.dropped_expired += 1;
                let reason = SettleReason::Expired;
                self.commit(state, QueueRecord::Settled { sequence, reason }, cx.journal);
                continue;
            }
            let message = Arc::clone(&entry.message);
            let Some(index) = state.choose(&message, cx) else { break };
            let Some(member) = state.members.get(index) else { break };
            let qos = message.qos.min(member.options.qos);
            let loan =
                (qos == Qos::AtLeastOnce).then(|| Box::new(Loan { group: Arc::clone(self), sequence }));
            let keeps = loan.is_some();
            let entry = Entry {
                qos,
                retain: member.options.retain_as_published && message.retain,
                message,
                ids: SubscriptionIds::None.with(member.options.id),
                loan,
            };
            let session = Arc::clone(&member.session);
            session.lock().enqueue(&session, entry, cx);
            if keeps {
                state.queue.mark_sent(sequence);
            } else {
                let reason = SettleReason::HandedOver;
                self.commit(state, QueueRecord::Settled { sequence, reason }, cx.journal);
            }
        }
        self.backlog.store(state.queue.ready() > 0, Relaxed);
    }

    /// A member acknowledged an entry.
    pub(crate) fn settled(self: &Arc<Self>, sequence: u64, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        let reason = SettleReason::Acknowledged;
        self.commit(&mut state, QueueRecord::Settled { sequence, reason }, cx.journal);
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

    /// A member has credit again.
    pub(crate) fn pump(self: &Arc<Self>, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        self.dispatch(&mut state, cx);
    }
}

impl GroupState {
    /// The member that gets the next message: connected, with credit, allowed to receive it.
    fn choose(&mut self, message: &Message, cx: &mut Context<'_>) -> Option<usize> {
        let count = self.members.len();
        let start = match cx.limits.shared_strategy {
            _ if count == 0 => return None,
            SharedStrategy::RoundRobin | SharedStrategy::Sticky => self.turn % count,
            SharedStrategy::Random => scramble(message.ingress_ms, self.queue.next_sequence()) % count,
            SharedStrategy::LeastInflight => self.least_in_flight(message, cx)?,
        };
        for step in 0..count {
            let index = (start + step) % count;
            if self.members.get(index).is_some_and(|member| member.can_take(message, cx)) {
                self.turn = match cx.limits.shared_strategy {
                    SharedStrategy::Sticky => index,
                    _ => index + 1,
                };
                return Some(index);
            }
        }
        None
    }

    fn least_in_flight(&self, message: &Message, cx: &Context<'_>) -> Option<usize> {
        let able = self.members.iter().enumerate().filter(|(_, member)| member.can_take(message, cx));
        able.min_by_key(|(_, member)| member.session.lock().in_flight).map(|(index, _)| index)
    }

    /// QoS 0: to the next member that is connected, else nobody.
    fn deliver_at_most_once(&mut self, routing: &Routing<'_>, cx: &mut Context<'_>) -> bool {
        let count = self.members.len();
        let start = match cx.limits.shared_strategy {
            SharedStrategy::Random => scramble(cx.now.utc_ms, self.turn as u64),
            _ => self.turn,
        };
        for step in 0..count {
            let index = (start % count + step) % count;
            let Some(member) = self.members.get(index) else { continue };
            let mut session = member.session.lock();
            if !member.may_receive(&routing.topic, session.user.as_deref(), cx) {
                continue;
            }
            let ids = SubscriptionIds::None.with(member.options.id);
            let delivery = Delivery {
                retain: member.options.retain_as_published && routing.publication.retain,
                subscription_ids: ids.as_slice(),
                ..routing.delivery()
            };
            if session.deliver_now(&delivery, cx.effects) == Some(Pushed::Accepted) {
                drop(session);
                self.turn = match cx.limits.shared_strategy {
                    SharedStrategy::Sticky => index,
                    _ => index + 1,
                };
                return true;
            }
        }
        count > 0
    }
}

impl Member {
    fn can_take(&self, message: &Message, cx: &Context<'_>) -> bool {
        let session = self.session.lock();
        session.has_credit() && self.may_receive(&message.topic, session.user.as_deref(), cx)
    }

    fn may_receive(&self, topic: &str, user: Option<&str>, cx: &Context<'_>) -> bool {
        let subject = Subject { user, client_id: self.session.client_id() };
        cx.permissions.is_unrestricted()
            || cx.permissions.check(&subject, Action::Receive, topic).is_allowed()
    }
}

/// A cheap spread for the random strategy; it need not be unpredictable.
fn scramble(a: u64, b: u64) -> usize {
    let mixed = (a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed >> 33) as usize
}
