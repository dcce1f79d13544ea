//! A queue that has as much as it may.
//!
//! Only what is ready counts. Of that, what consumers would take this moment if the log had it already does not count
//! either: a queue with quick consumers is not full because the disk takes a moment.

use std::sync::Arc;

use crate::named_queue::dead_letter::{DeadLetter, DeathReason};
use crate::named_queue::state::QueueState;
use crate::named_queue::{Enqueued, Incoming, NamedQueue, QueueOverflow};
use crate::session::Context;

impl QueueState {
    /// Whether one more message of that size would be too much.
    pub(super) fn would_overflow(&mut self, size: usize, cx: &Context<'_>) -> bool {
        self.is_beyond(1, size as u64) && {
            let exempt = self.only_waiting_for_log(cx);
            exempt == 0 || self.is_beyond_without(1, size as u64, exempt)
        }
    }

    /// Whether there is too much.
    fn is_over(&mut self, cx: &Context<'_>) -> bool {
        self.is_beyond(0, 0) && {
            let exempt = self.only_waiting_for_log(cx);
            exempt == 0 || self.is_beyond_without(0, 0, exempt)
        }
    }

    fn is_beyond(&self, more: u64, more_bytes: u64) -> bool {
        let (count, bytes) = (self.queue.ready() as u64, self.queue.ready_bytes() as u64);
        self.settings.max_length.is_some_and(|most| count + more > most)
            || self.settings.max_length_bytes.is_some_and(|most| bytes + more_bytes > most)
    }

    /// The same if `exempt` of the ready messages, of average size, do not count.
    fn is_beyond_without(&self, more: u64, more_bytes: u64, exempt: u64) -> bool {
        let (count, bytes) = (self.queue.ready() as u64, self.queue.ready_bytes() as u64);
        let left = count.saturating_sub(exempt);
        let left_bytes = bytes.checked_div(count).unwrap_or(0) * left;
        self.settings.max_length.is_some_and(|most| left + more > most)
            || self.settings.max_length_bytes.is_some_and(|most| left_bytes + more_bytes > most)
    }

    /// Ready messages that consumers have credit for and that only wait for the log.
    fn only_waiting_for_log(&mut self, cx: &Context<'_>) -> u64 {
        if self.paused || self.consumers.is_dry() {
            return 0;
        }
        let from = self.undurable_from(cx.journal);
        match self.first_ready() {
            Some(first) if first >= from => {
                self.consumers.credit(self.queue.next_sequence().saturating_sub(from))
            }
            _ => 0,
        }
    }
}

impl NamedQueue {
    /// A full queue does not take what comes (`x-overflow` reject-publish, reject-publish-dlx).
    #[cold]
    pub(super) fn refuse(
        self: &Arc<Self>,
        state: &mut QueueState,
        incoming: &mut Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> Enqueued {
        state.totals.dropped += 1;
        cx.effects.counters.dropped_queue_full += 1;
        let to_dlx = state.settings.overflow == QueueOverflow::RejectPublishDlx;
        if to_dlx && state.settings.dead_letter_exchange.is_some() {
            let message = Arc::clone(incoming.message(cx.now));
            cx.effects.dead_letters.push(DeadLetter::refused(self, message));
        }
        Enqueued { refused: true, ..Enqueued::default() }
    }

    /// Lets go of what is too much, from the head, of the lowest priority first (`x-overflow` drop-head).
    pub(super) fn drop_excess(self: &Arc<Self>, state: &mut QueueState, cx: &mut Context<'_>) {
        if self.is_stream() {
            return self.keep_within_retention(state, cx);
        }
        if state.settings.overflow != QueueOverflow::DropHead {
            return;
        }
        while state.is_over(cx) {
            let Some(sequence) = state.first_to_drop() else { break };
            cx.effects.counters.dropped_queue_full += 1;
            self.let_go(state, sequence, DeathReason::MaxLength, cx);
        }
        if !state.extras.is_empty() {
            self.expire_heads(state, cx);
        }
    }
}
