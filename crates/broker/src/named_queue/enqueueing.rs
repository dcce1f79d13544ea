//! A message comes into a queue.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::clock::Now;
use crate::consumer::QueueDelivery;
use crate::filter::SubscriptionIds;
use crate::journal::Position;
use crate::message::Qos;
use crate::named_queue::deduplicating::Duplicate;
use crate::named_queue::state::QueueState;
use crate::named_queue::{Enqueued, Incoming, NamedQueue, QueueOverflow};
use crate::outbox::Pushed;
use crate::read_back;
use crate::record::{Entry, NamedQueueRecord};
use crate::session::Context;
use crate::undurable::{Deferred, Marks};

impl NamedQueue {
    /// Puts a message at the end, or hands it straight to a consumer. Nothing happens in a queue that is gone.
    pub(crate) fn enqueue(self: &Arc<Self>, incoming: &mut Incoming<'_>, cx: &mut Context<'_>) -> Enqueued {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.deleted {
            return Enqueued::default();
        }
        if self.delays() {
            // Only what says how long it is to wait gets in, by another way.
            return Enqueued { refused: true, ..Enqueued::default() };
        }
        state.totals.published += 1;
        if self.is_stream() {
            return self.append(state, incoming, cx);
        }
        let deadline_ms = state.deadline(incoming, cx.now);
        // What is out of date at once never reaches the log in time.
        let timely = deadline_ms.is_none_or(|at| at.get() > cx.now.utc_ms);
        let recorded = timely && cx.journal.is_some() && self.records(incoming.is_persistent());
        let limited = state.settings.is_limited();
        if limited
            && state.settings.overflow != QueueOverflow::DropHead
            && state.would_overflow(incoming.size(), cx)
        {
            return self.refuse(state, incoming, cx);
        }
        let mark = match self.recognise(incoming, cx) {
            Ok(mark) => mark,
            // The first one may still be on its way to the disk.
            Err(Duplicate) => return Enqueued { position: state.staged_position(cx), refused: false },
        };
        if let Some(mark) = mark.as_ref().filter(|_| !recorded) {
            self.remember(mark, false, cx);
        }
        if !recorded && state.queue.ready() == 0 && self.hand_over(state, incoming, cx) {
            return Enqueued::default();
        }
        let (sequence, position) = self.keep(state, incoming, recorded, deadline_ms, cx);
        if let Some(mark) = mark.as_ref().filter(|_| recorded) {
            self.remember(mark, true, cx);
        }
        self.dispatch(state, Some(sequence), cx);
        if limited {
            self.drop_excess(state, cx);
        }
        // Some for each that comes, so that visits need not do it all.
        state.cool(read_back::COOLED_PER_ENTRY, cx);
        state.account(cx);
        Enqueued { position, refused: false }
    }

    /// Puts a message at the end. Returns its sequence, and what has to be waited for until it is safe.
    #[inline]
    pub(super) fn keep(
        self: &Arc<Self>,
        state: &mut QueueState,
        incoming: &mut Incoming<'_>,
        recorded: bool,
        deadline_ms: Option<NonZeroU64>,
        cx: &mut Context<'_>,
    ) -> (u64, Position) {
        let entry = Entry {
            body: incoming.take_message(cx.now).into(),
            ids: SubscriptionIds::None,
            loan: None,
            qos: if recorded { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            retain: false,
        };
        let sequence = state.queue.next_sequence();
        let priority = state.settings.max_priority.map_or(0, |most| incoming.priority().min(most));
        let record = NamedQueueRecord::Enqueued { sequence, entry, deadline_ms, priority };
        let position = state.commit(self.id(), record, cx.journal);
        if recorded && cx.journal.is_some_and(|journal| position > journal.durable()) {
            self.defer(state, position, cx).note(sequence, position);
        }
        (sequence, position)
    }

    /// Hands a message that nobody has to keep to a consumer that does not acknowledge. False if it has to wait, or the
    /// consumer whose turn it is does acknowledge.
    fn hand_over(
        self: &Arc<Self>,
        state: &mut QueueState,
        incoming: &mut Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> bool {
        if state.paused {
            return false;
        }
        if incoming.exchange().is_none() && !state.consumers.is_dry() {
            // What is translated at the delivery lies in the message beside its properties.
            incoming.message(cx.now);
        }
        let sequence = state.queue.next_sequence();
        loop {
            let Some(consumption) = state.next_consumer(self.kind()) else { return false };
            if !consumption.no_ack {
                return false;
            }
            let delivery = QueueDelivery {
                consumption,
                queue: self,
                sequence,
                exchange: incoming.exchange(),
                routing_key: incoming.key(),
                properties: incoming.properties(),
                payload: incoming.payload(),
                message: incoming.existing(),
                redelivered: false,
                delivery_count: None,
                stream_offset: None,
            };
            match consumption.outbox.deliver(&delivery, cx.effects) {
                Pushed::Full => consumption.blocked.store(true, Relaxed),
                Pushed::Accepted | Pushed::TooLarge => {
                    state.consumers.taken();
                    state.totals.delivered += 1;
                    state.totals.acknowledged += 1;
                    return true;
                }
            }
        }
    }

    /// What waits for the log, with the queue on the list of those that are visited when it has moved.
    fn defer<'a>(
        self: &Arc<Self>,
        state: &'a mut QueueState,
        position: Position,
        cx: &mut Context<'_>,
    ) -> &'a mut Marks {
        state.undurable.get_or_insert_with(|| {
            cx.effects.deferred.push(Deferred::queue(self, position));
            Box::default()
        })
    }

    /// The log is durable up to `durable`: hands out what waited for that. Returns the position that the rest waits for.
    pub(crate) fn log_moved(self: &Arc<Self>, durable: Position, cx: &mut Context<'_>) -> Option<Position> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let undurable = state.undurable.as_mut()?;
        undurable.limit(durable);
        let next = undurable.next();
        if next.is_none() {
            state.undurable = None;
        }
        self.dispatch(state, None, cx);
        self.wake_waiting(state, cx);
        state.cool(read_back::COOLED_PER_VISIT, cx);
        state.account(cx);
        next
    }
}

impl QueueState {
    /// When a message that comes now expires: the sooner of what its publisher and the queue say.
    #[inline]
    fn deadline(&self, incoming: &Incoming<'_>, now: Now) -> Option<NonZeroU64> {
        let ttl = match (self.settings.message_ttl_ms, incoming.expiration_ms()) {
            (None, None) => return None,
            (Some(queue), Some(message)) => queue.min(message),
            (Some(ttl), None) | (None, Some(ttl)) => ttl,
        };
        NonZeroU64::new(now.utc_ms.saturating_add(ttl).max(1))
    }
}
