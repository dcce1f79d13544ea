//! Where messages wait that are to be routed later (`x-delayed-message`).
//!
//! Each exchange that delays messages has a queue for them, of a name that clients cannot declare. Nobody consumes from it: an
//! entry leaves when its time has come, by being published to its exchange once more, or when the queue is purged or
//! goes with its exchange. So what waits is in the log like what waits for consumers, bounded in memory like that, and
//! can be counted, looked at and cancelled.
//!
//! The time stands in the record of the entry where other queues' entries have their deadline.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tercet_amqp::content;
use tercet_amqp::field::Value;

use crate::body::BodyRef;
use crate::journal::Position;
use crate::message::{Message, Properties, PropertyEncoding};
use crate::named_queue::dead_letter::{DeadLetter, DeathReason};
use crate::named_queue::state::{QueueState, Run};
use crate::named_queue::{Incoming, NamedQueue};
use crate::read_back::{self, Fetch};
use crate::record::{EntryExtras, SettleReason};
use crate::session::Context;

/// What the names of such queues begin with; the name of the exchange follows.
const PREFIX: &str = "amq.delayed.";

/// The header that says how many milliseconds a message waits.
const DELAY: &str = "x-delay";

/// Entries that go under one lock.
const AT_ONCE: usize = 256;

/// The name of the queue in which messages to an exchange wait.
pub(crate) fn waiting_room_name(exchange: &str) -> String {
    format!("{PREFIX}{exchange}")
}

/// Whether a queue of this name is one in which messages wait.
pub(super) fn is_waiting_room(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Milliseconds that a message is to wait: `None` if that is not said, or not more than nothing.
pub(crate) fn delay_of(properties: Properties<'_>) -> Option<NonZeroU64> {
    if properties.encoding != PropertyEncoding::Amqp {
        return None;
    }
    let headers = content::Properties::from_bytes(properties.bytes)?.headers().ok().flatten()?;
    headers.get(DELAY)?.as_i64().and_then(|ms| u64::try_from(ms).ok()).and_then(NonZeroU64::new)
}

impl NamedQueue {
    /// Whether messages wait here for their time.
    pub(crate) fn delays(&self) -> bool {
        self.delays
    }

    /// Keeps a message until `due_ms`. `None` if the queue is gone.
    pub(crate) fn delay(
        self: &Arc<Self>,
        incoming: &mut Incoming<'_>,
        due_ms: u64,
        cx: &mut Context<'_>,
    ) -> Option<Position> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.deleted {
            return None;
        }
        state.totals.published += 1;
        let recorded = cx.journal.is_some() && self.records(incoming.is_persistent());
        let due = NonZeroU64::new(due_ms.max(1));
        let (sequence, position) = self.keep(state, incoming, recorded, due, cx);
        state.take_from_ready(sequence);
        state.extras.delay(sequence, due_ms.max(1));
        self.arm(state, due_ms, cx);
        state.cool(read_back::COOLED_PER_ENTRY, cx);
        state.account(cx);
        Some(position)
    }

    /// Lets go of those whose time has come.
    pub(super) fn release_due(self: &Arc<Self>, state: &mut QueueState, cx: &mut Context<'_>) {
        for _ in 0..AT_ONCE {
            let Some(sequence) = state.extras.pop_due(cx.now.utc_ms) else { return };
            state.totals.delivered += 1;
            state.leaving += 1;
            let entry = state.queue.entry(sequence).map(|(entry, ..)| entry.body);
            if let Some(BodyRef::Memory(message)) = entry {
                let due = DeadLetter::entry(self, sequence, message, DeathReason::Due);
                cx.effects.dead_letters.push(due);
                continue;
            }
            state.unread.get_or_make().insert(sequence, DeathReason::Due);
            if state.reading.ask() {
                cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
            }
        }
    }

    /// Drops everything that waits. Returns how much that was.
    pub(super) fn cancel_delayed(&self, cx: &mut Context<'_>) -> (u32, Position) {
        let mut state = self.state.lock();
        let mut run = Run::new(self.id(), SettleReason::Purged);
        let mut count = 0;
        while let Some(sequence) = state.extras.pop_due(u64::MAX) {
            count += u32::from(state.settle_in(&mut run, sequence, cx));
        }
        state.account(cx);
        (count, run.finish(state.recorded, cx))
    }
}

impl QueueState {
    /// What an entry has besides its message, of what its record says.
    pub(super) fn extras_of_record(&self, deadline_ms: Option<NonZeroU64>, priority: u8) -> EntryExtras {
        match self.delays {
            true => EntryExtras { not_before_ms: deadline_ms, ..EntryExtras::default() },
            false => EntryExtras { deadline_ms, priority, ..EntryExtras::default() },
        }
    }
}

/// A message whose time has come, as its exchange gets it: its expiration counts from now on, and its delay is negative, so
/// that no other exchange delays it.
pub(super) fn due(message: &Message, now_ms: u64) -> Message {
    let properties = content::Properties::from_bytes(&message.properties).unwrap_or_default();
    let headers = properties.headers().ok().flatten().unwrap_or_default();
    let delay = headers.get(DELAY).and_then(|delay| delay.as_i64()).unwrap_or_default();
    let (mut list, mut bytes) = (Vec::new(), Vec::new());
    // What was delayed had the header, so that it is as long as before.
    let changed = properties.with_header(DELAY, Some(Value::I64(delay.saturating_neg())), &mut list);
    changed.unwrap_or(properties).write(&mut bytes);
    let expiration = properties.expiration().ok().flatten().and_then(|text| text.parse::<u64>().ok());
    Message {
        properties: Bytes::from(bytes),
        ingress_ms: now_ms,
        expires_at_ms: expiration.and_then(|ms| NonZeroU64::new(now_ms.saturating_add(ms))),
        shared: true,
        stored: Mutex::new(None),
        ..message.copied()
    }
}
