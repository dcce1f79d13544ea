//! Looking into a queue, and taking out what an operator moves elsewhere.

use std::sync::Arc;

use crate::body::{Body, BodyRef};
use crate::clock::Now;
use crate::message::Message;
use crate::named_queue::state::QueueTotals;
use crate::named_queue::{NamedQueue, QueueSettings};
use crate::queue::Stage;
use crate::record::EntryExtras;

/// Which part of a queue to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeking {
    /// The first sequence to look at: 0, or what the last look gave as [`Peeked::sequence`] plus one.
    pub from: u64,
    /// Messages to show.
    pub most: usize,
}

/// A message as it stands in its queue.
#[derive(Clone, Debug)]
pub struct Peeked {
    /// Its sequence, which grows from message to message.
    pub sequence: u64,
    /// The message; `None` if it cannot be read back.
    pub message: Option<Arc<Message>>,
    /// Whether it waits to be handed out; else somebody has it, or it waits for its next try.
    pub ready: bool,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// Its deadline, priority and returns.
    pub extras: EntryExtras,
}

/// What there is in a queue, and what has happened in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages waiting to be handed out.
    pub ready: u64,
    /// Their bytes, as limits count them.
    pub ready_bytes: u64,
    /// Messages that consumers have and did not acknowledge.
    pub unacked: u64,
    /// Messages that came back and wait for their next try.
    pub delayed: u64,
    /// Consumers.
    pub consumers: u32,
    /// Messages in memory.
    pub in_memory: u64,
    /// Bytes of memory that they take up.
    pub memory: u64,
    /// Whether deliveries are paused.
    pub paused: bool,
    /// When somebody used it last, UTC milliseconds; 0 if nobody has.
    pub used_ms: u64,
    /// Since the server started.
    pub totals: QueueTotals,
}

/// A consumer as it is shown to operators.
#[derive(Clone, Debug)]
pub struct ConsumerInfo {
    /// The consumer.
    pub consumption: Arc<super::Consumption>,
    /// Whether it gets messages; of several where only one does, the others wait.
    pub active: bool,
}

/// An entry that is about to be moved.
#[derive(Debug)]
pub(crate) struct Taken {
    pub sequence: u64,
    pub body: Body,
    /// Whether it was handed out before.
    pub redelivered: bool,
}

impl NamedQueue {
    /// What there is, and what has happened.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        let state = self.state.lock();
        QueueStats {
            ready: state.queue.ready() as u64,
            ready_bytes: state.queue.ready_bytes() as u64,
            unacked: state.unacked as u64,
            delayed: state.extras.delayed() as u64,
            consumers: u32::try_from(state.consumers.len()).unwrap_or(u32::MAX),
            in_memory: state.queue.in_memory() as u64,
            memory: state.queue.memory() as u64,
            paused: state.paused,
            used_ms: state.used_ms,
            totals: state.totals,
        }
    }

    /// Messages waiting to be handed out, and consumers: what queue.declare-ok says.
    #[must_use]
    pub fn ready_and_consumers(&self) -> (u32, u32) {
        let state = self.state.lock();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (count(state.queue.ready()), count(state.consumers.len()))
    }

    /// Who consumes from it, in the order in which they would become active.
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        let state = self.state.lock();
        let single = state.settings.single_active;
        let consumers = state.consumers.iter().map(|consumption| {
            let active = !single || state.consumers.is_active(consumption);
            ConsumerInfo { consumption: Arc::clone(consumption), active }
        });
        consumers.collect()
    }

    /// What its arguments and policies come to.
    #[must_use]
    pub fn settings(&self) -> Arc<QueueSettings> {
        Arc::clone(&self.state.lock().settings)
    }

    /// Whether it is gone.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.state.lock().deleted
    }

    /// A part of the queue, with messages or their places in the log.
    pub(crate) fn slice(&self, peeking: Peeking) -> Vec<(Peeked, Option<Body>)> {
        let state = self.state.lock();
        let entries = state.queue.entries_from(peeking.from).take(peeking.most);
        let slice = entries.map(|(sequence, entry, stage)| {
            let (message, cold) = match entry.body {
                BodyRef::Memory(message) => (Some(Arc::clone(message)), None),
                BodyRef::Log(stored) => (None, Some(Body::Log(stored))),
            };
            let redelivered = state.queue.entry(sequence).is_some_and(|(.., redelivered)| redelivered);
            let extras = state.extras.get(sequence);
            (Peeked { sequence, message, ready: stage == Stage::Ready, redelivered, extras }, cold)
        });
        slice.collect()
    }

    /// The next entries that are ready, taken out of everybody's reach to be moved elsewhere. They leave by
    /// [`NamedQueue::left`], or come back by [`NamedQueue::stay`].
    pub(crate) fn take_for_moving(&self, most: usize, now: Now) -> Vec<Taken> {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(sequence) = state.first_ready()
        {
            let Some((entry, _, redelivered)) = state.queue.entry(sequence) else { break };
            let body = entry.body.to_body();
            let expired = state.extras.get(sequence).deadline_ms.is_some_and(|at| at.get() <= now.utc_ms);
            if expired {
                // That is for the queue to deal with.
                break;
            }
            state.take_from_ready(sequence);
            state.leaving += 1;
            taken.push(Taken { sequence, body, redelivered });
        }
        taken
    }

    /// An entry that was to be moved stays after all.
    pub(crate) fn stay(&self, sequence: u64, redelivered: bool) {
        let mut state = self.state.lock();
        state.leaving = state.leaving.saturating_sub(1);
        state.queue.set_redelivered(sequence, redelivered);
        state.make_ready(sequence);
    }
}
