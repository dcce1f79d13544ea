//! One message at a time (basic.get).

use std::sync::Arc;

use crate::body::BodyRef;
use crate::consumer::ConsumerOutbox;
use crate::message::Message;
use crate::named_queue::NamedQueue;
use crate::read_back::Fetch;
use crate::record::SettleReason;
use crate::session::Context;

/// What basic.get leads to.
#[derive(Debug)]
pub enum GetOutcome {
    /// Nothing is ready.
    Empty,
    /// A message.
    Got(Got),
    /// There is one, but it has to be read back first, or is not on disk yet: ask again when the outbox is told so
    /// ([`ConsumerOutbox::get_again`]).
    Wait,
}

/// A message that was fetched.
#[derive(Debug)]
pub struct Got {
    /// The queue it comes from.
    pub queue: Arc<NamedQueue>,
    /// Its sequence there.
    pub sequence: u64,
    /// The message.
    pub message: Arc<Message>,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// How often it came back, to be shown as `x-delivery-count`; `None` where that is not shown.
    pub delivery_count: Option<u32>,
    /// Messages that are still ready.
    pub remaining: u32,
}

impl NamedQueue {
    /// Fetches the next message; with `no_ack` it counts as acknowledged.
    pub(crate) fn get(
        self: &Arc<Self>,
        no_ack: bool,
        waiter: &Arc<dyn ConsumerOutbox>,
        cx: &mut Context<'_>,
    ) -> GetOutcome {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        self.used(state, cx);
        self.expire_heads(state, cx);
        if state.paused || state.deleted {
            return GetOutcome::Empty;
        }
        let undurable_from = state.undurable_from(cx.journal);
        let Some(sequence) = state.first_ready() else { return GetOutcome::Empty };
        let delivery_count = state.shown_count(self.kind(), sequence);
        let Some((entry, _, redelivered)) = state.queue.entry(sequence) else { return GetOutcome::Empty };
        let message = match entry.body {
            BodyRef::Memory(message) if sequence < undurable_from => Arc::clone(message),
            BodyRef::Memory(_) => {
                state.waiting.get_or_make().push(Arc::clone(waiter));
                return GetOutcome::Wait;
            }
            BodyRef::Log(_) => {
                state.waiting.get_or_make().push(Arc::clone(waiter));
                if state.reading.ask() {
                    cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
                }
                return GetOutcome::Wait;
            }
        };
        state.totals.delivered += 1;
        state.totals.redelivered += u64::from(redelivered);
        if no_ack {
            state.totals.acknowledged += 1;
            state.settle(self.id(), sequence, SettleReason::Acknowledged, cx);
        } else {
            state.take_from_ready(sequence);
            state.unacked += 1;
        }
        if !state.extras.is_empty() {
            self.expire_heads(state, cx);
        }
        if state.reading.advance() {
            cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
        }
        state.account(cx);
        let remaining = u32::try_from(state.queue.ready()).unwrap_or(u32::MAX);
        let queue = Arc::clone(self);
        GetOutcome::Got(Got { queue, sequence, message, redelivered, delivery_count, remaining })
    }
}
