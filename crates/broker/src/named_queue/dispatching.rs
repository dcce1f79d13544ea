//! What is ready goes to consumers that have credit.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::body::BodyRef;
use crate::consumer::QueueDelivery;
use crate::named_queue::state::{QueueState, Run};
use crate::named_queue::{Consumption, NamedQueue, QueueKind};
use crate::outbox::Pushed;
use crate::queue::{Ahead, Reach};
use crate::read_back::{self, Fetch, ReadEntry};
use crate::record::SettleReason;
use crate::session::Context;

impl QueueState {
    /// Who gets the next message, if anybody can take it.
    #[inline]
    pub(super) fn next_consumer(&mut self, kind: QueueKind) -> Option<&Arc<Consumption>> {
        match self.settings.single_active {
            false => self.consumers.next(),
            true => self.consumers.next_active(kind == QueueKind::Quorum),
        }
    }

    /// How often an entry came back, where that is shown.
    #[inline]
    pub(super) fn shown_count(&self, kind: QueueKind, sequence: u64) -> Option<u32> {
        if kind == QueueKind::Classic && self.settings.delivery_limit.is_none() {
            return None;
        }
        Some(self.extras.get(sequence).deliveries).filter(|count| *count > 0)
    }
}

impl NamedQueue {
    /// Hands out what is ready as long as somebody takes it, and lets go of what is out of date then. `fresh` has just come
    /// and is offered once even if it is out of date already.
    pub(super) fn dispatch(
        self: &Arc<Self>,
        state: &mut QueueState,
        fresh: Option<u64>,
        cx: &mut Context<'_>,
    ) {
        if self.is_stream() {
            return self.feed_readers(state, cx);
        }
        if !state.paused && !state.consumers.is_dry() && !state.deleted {
            self.hand_out(state, fresh, cx);
        }
        if !state.extras.is_empty() {
            self.expire_heads(state, cx);
        }
    }

    fn hand_out(self: &Arc<Self>, state: &mut QueueState, fresh: Option<u64>, cx: &mut Context<'_>) {
        let undurable_from = state.undurable_from(cx.journal);
        let mut acknowledged = Run::new(self.id(), SettleReason::Acknowledged);
        while let Some(sequence) = state.first_ready() {
            if sequence >= undurable_from || state.consumers.is_dry() {
                break;
            }
            let expired = state.extras.get(sequence).deadline_ms.is_some_and(|at| at.get() <= cx.now.utc_ms);
            if expired && fresh != Some(sequence) {
                self.expire(state, sequence, cx);
                continue;
            }
            if !self.offer(state, sequence, &mut acknowledged, cx) {
                break;
            }
            if state.reading.advance() {
                cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
            }
        }
        acknowledged.finish(state.recorded, cx);
        state.account(cx);
    }

    /// Offers one entry to consumers in turn until one takes it. False if nobody does, or it has to be read back first.
    fn offer(
        self: &Arc<Self>,
        state: &mut QueueState,
        sequence: u64,
        acknowledged: &mut Run,
        cx: &mut Context<'_>,
    ) -> bool {
        let kind = self.kind();
        let delivery_count = state.shown_count(kind, sequence);
        loop {
            // Looked for anew each time round, as it borrows from the queue.
            let QueueState { queue, consumers, settings, reading, .. } = &mut *state;
            let Some((entry, _, redelivered)) = queue.entry(sequence) else { return false };
            let BodyRef::Memory(message) = entry.body else {
                if consumers.is_any_able() && reading.ask() {
                    cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
                }
                return false;
            };
            let next = match settings.single_active {
                false => consumers.next(),
                true => consumers.next_active(kind == QueueKind::Quorum),
            };
            let Some(consumption) = next else { return false };
            let delivery = QueueDelivery {
                consumption,
                queue: self,
                sequence,
                exchange: message.exchange.as_ref(),
                routing_key: &message.topic,
                properties: message.properties(),
                payload: &message.payload,
                message: Some(message),
                redelivered,
                delivery_count,
                stream_offset: None,
            };
            match consumption.outbox.deliver(&delivery, cx.effects) {
                Pushed::Full => {
                    consumption.blocked.store(true, Relaxed);
                    continue;
                }
                Pushed::TooLarge => {
                    consumers.taken();
                    state.settle(self.id(), sequence, SettleReason::Undeliverable, cx);
                    return true;
                }
                Pushed::Accepted => {}
            }
            let timed = settings.consumer_timeout_ms.map(|_| Arc::clone(consumption));
            let no_ack = consumption.no_ack;
            if !no_ack {
                consumption.delivered();
            }
            consumers.taken();
            state.totals.delivered += 1;
            state.totals.redelivered += u64::from(redelivered);
            if no_ack {
                state.totals.acknowledged += 1;
                state.settle_in(acknowledged, sequence, cx);
                return true;
            }
            state.take_from_ready(sequence);
            state.unacked += 1;
            if let Some(consumption) = timed {
                self.note_handed(state, sequence, consumption, cx);
            }
            if state.recorded
                && cx.budget.is_exceeded()
                && let Some(journal) = cx.journal
            {
                // It is wanted again only if it comes back.
                state.queue.make_cold(sequence, journal.durable());
            }
            return true;
        }
    }

    /// What will be handed out next; nothing if nobody could take it.
    pub(crate) fn ahead(&self, reach: Reach) -> Ahead {
        let state = self.state.lock();
        if self.is_stream() {
            return Self::ahead_of_readers(&state, reach);
        }
        let mut ahead = match (&state.order, state.waiting.get().is_none() && state.consumers.is_dry()) {
            (_, true) => Ahead::default(),
            (None, false) => state.queue.ahead(reach),
            (Some(order), false) => state.queue.ahead_in(order.iter(), reach),
        };
        let unread = state.unread.get().into_iter().flat_map(|table| table.keys());
        for sequence in unread.take(reach.entries) {
            if let Some((entry, ..)) = state.queue.entry(*sequence)
                && let BodyRef::Log(stored) = entry.body
            {
                ahead.cold.push((*sequence, stored));
            }
        }
        ahead
    }

    /// Takes messages that were read back and goes on.
    pub(crate) fn put_back(self: &Arc<Self>, ahead: &Ahead, read: Vec<ReadEntry>, cx: &mut Context<'_>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.reading.answered(ahead);
        for (sequence, stored, why) in state.queue.put_back(read) {
            let reason = read_back::lost(self, sequence, &stored, &why, cx);
            state.lose(sequence);
            state.settle(self.id(), sequence, reason, cx);
        }
        self.go_on_leaving(state, cx);
        self.dispatch(state, None, cx);
        self.wake_waiting(state, cx);
        state.account(cx);
    }

    /// Those who asked for a message may try again.
    pub(super) fn wake_waiting(self: &Arc<Self>, state: &mut QueueState, cx: &mut Context<'_>) {
        for waiting in state.waiting.take() {
            waiting.get_again(self, cx.effects);
        }
    }
}
