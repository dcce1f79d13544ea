//! A queue from its records, and its records from the queue.

use std::sync::Arc;

use crate::body::Stored;
use crate::named_queue::NamedQueue;
use crate::named_queue::readiness::ByPriority;
use crate::named_queue::state::QueueState;
use crate::queue::{Queue, Stage};
use crate::record::{EntryExtras, NamedQueueRecord, OwnedRecord};
use crate::session::Context;

impl NamedQueue {
    /// Applies a record that comes from the log.
    pub(crate) fn replay(&self, record: NamedQueueRecord) {
        self.state.lock().apply(record);
    }

    /// Puts an entry's extras in place that come from a checkpoint.
    pub(crate) fn restore_extras(&self, sequence: u64, extras: EntryExtras) {
        let mut state = self.state.lock();
        if state.queue.entry(sequence).is_some() {
            state.extras.set(sequence, extras);
        }
    }

    /// The extras of entries from a sequence on, in order.
    pub(crate) fn extras_of(&self, sequences: std::ops::Range<u64>) -> Vec<(u64, EntryExtras)> {
        self.state.lock().extras.range(sequences).collect()
    }

    /// Looks at the queue, or moves what is in it.
    pub(crate) fn with_queue<R>(&self, look: impl FnOnce(&mut Queue) -> R) -> R {
        look(&mut self.state.lock().queue)
    }

    /// Looks at the queue, if the log is to have it.
    pub(crate) fn with_recorded<R>(&self, look: impl FnOnce(&Queue) -> R) -> Option<R> {
        let state = self.state.lock();
        (state.recorded && !state.deleted).then(|| look(&state.queue))
    }

    /// Whether deliveries are paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.state.lock().paused
    }

    /// The messages' records that are held by entries of the queue.
    pub(crate) fn for_each_held(&self, look: impl FnMut(Stored)) {
        self.state.lock().queue.held().for_each(look);
    }

    /// The queue has come back as a whole, and is about to be used: everything in it is ready, and may have been handed
    /// out before.
    pub(crate) fn restored(self: &Arc<Self>, cx: &mut Context<'_>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.queue.mark_redelivered();
        state.set_ordered(state.settings.max_priority.is_some());
        let waiting: Vec<_> = state
            .extras
            .iter()
            .filter_map(|(sequence, extra)| Some((sequence, extra.not_before_ms?)))
            .collect();
        for (sequence, not_before) in waiting {
            state.take_from_ready(sequence);
            state.extras.delay(sequence, not_before.get());
        }
        if let Some(due_ms) = state.extras.next_due() {
            self.arm(state, due_ms, cx);
        }
        self.used(state, cx);
        self.dispatch(state, None, cx);
        if state.settings.is_limited() || self.is_stream() {
            self.drop_excess(state, cx);
        }
        state.account(cx);
    }

    /// The records that make up the queue as it is; none if it is not recorded.
    pub(crate) fn records_of(&self) -> Vec<OwnedRecord> {
        if !self.is_recorded() {
            return Vec::new();
        }
        let state = self.state.lock();
        let mut records = vec![NamedQueueRecord::Declared(self.declaration())];
        if state.paused {
            records.push(NamedQueueRecord::Paused(true));
        }
        for (sequence, entry, _) in state.queue.iter().filter(|(_, entry, _)| entry.is_durable()) {
            let EntryExtras { deadline_ms, priority, deliveries, not_before_ms } = state.extras.get(sequence);
            let entry = entry.to_entry();
            records.push(NamedQueueRecord::Enqueued { sequence, entry, deadline_ms, priority });
            if deliveries > 0 || not_before_ms.is_some() {
                records.push(NamedQueueRecord::Returned { sequence, deliveries, not_before_ms });
            }
        }
        records.into_iter().map(|record| OwnedRecord::NamedQueue(self.id(), record)).collect()
    }
}

impl QueueState {
    /// Hands out by priority from now on, or by sequence.
    pub(super) fn set_ordered(&mut self, ordered: bool) {
        self.order = ordered.then(|| {
            let mut order = ByPriority::default();
            let ready = self.queue.iter().filter(|(.., stage)| *stage == Stage::Ready);
            ready.for_each(|(sequence, ..)| order.insert(sequence, self.extras.get(sequence).priority));
            Box::new(order)
        });
    }

    /// Takes everything out: the queue is gone.
    pub(super) fn clear(&mut self) -> Queue {
        self.extras = Default::default();
        self.order = None;
        self.undurable = None;
        self.unread.clear();
        self.handed.clear();
        self.unacked = 0;
        self.leaving = 0;
        std::mem::take(&mut self.queue)
    }
}
