//! What happens in a queue because time passes.
//!
//! Messages expire at the head: one that is out of date behind one that is not waits for its turn, as nobody could get
//! it anyway.

use std::sync::Arc;

use crate::named_queue::NamedQueue;
use crate::named_queue::dead_letter::DeathReason;
use crate::named_queue::state::QueueState;
use crate::schedule::Due;
use crate::session::Context;

/// Entries that expire under one lock.
const AT_ONCE: usize = 256;

/// What is to be done about a queue once its lock is given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visited {
    /// Nobody has used it for as long as it may be.
    pub unused: bool,
    /// Its last consumer has lost its place.
    pub deserted: bool,
}

impl NamedQueue {
    /// An entry is out of date.
    pub(super) fn expire(self: &Arc<Self>, state: &mut QueueState, sequence: u64, cx: &mut Context<'_>) {
        cx.effects.counters.dropped_expired += 1;
        self.let_go(state, sequence, DeathReason::Expired, cx);
    }

    /// Lets go of what is out of date at the head, and sees to it that this is looked at again when the head's time has
    /// come.
    pub(super) fn expire_heads(self: &Arc<Self>, state: &mut QueueState, cx: &mut Context<'_>) {
        for _ in 0..AT_ONCE {
            let Some(sequence) = state.first_ready() else { return };
            let Some(deadline) = state.extras.get(sequence).deadline_ms else { return };
            if deadline.get() > cx.now.utc_ms {
                return self.arm(state, deadline.get(), cx);
            }
            self.expire(state, sequence, cx);
        }
        self.arm(state, cx.now.utc_ms, cx);
    }

    /// Sees to it that the schedule calls at `due_ms` at the latest.
    pub(super) fn arm(self: &Arc<Self>, state: &mut QueueState, due_ms: u64, cx: &Context<'_>) {
        if due_ms < state.armed_ms {
            state.armed_ms = due_ms;
            cx.schedule.arm(due_ms, Due::Queue(Arc::downgrade(self)));
        }
    }

    /// The schedule calls, for the time `at_ms`.
    pub(crate) fn time_passed(self: &Arc<Self>, at_ms: u64, cx: &mut Context<'_>) -> Visited {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.armed_ms != at_ms || state.deleted {
            // Meant for something that was dealt with, or is to come earlier by now.
            return Visited::default();
        }
        state.armed_ms = u64::MAX;
        if self.delays() {
            self.release_due(state, cx);
        }
        while !self.delays()
            && let Some(sequence) = state.extras.pop_due(cx.now.utc_ms)
        {
            state.extras.change(sequence, |extra| extra.not_before_ms = None);
            state.make_ready(sequence);
        }
        let deserted = self.reclaim_overdue(state, cx);
        if self.is_stream() {
            self.keep_within_retention(state, cx);
        }
        self.dispatch(state, None, cx);
        if let Some(due_ms) = state.extras.next_due() {
            self.arm(state, due_ms, cx);
        }
        Visited { unused: self.is_past_use(state, cx), deserted }
    }

    /// Somebody has used the queue in a way that keeps it alive.
    pub(super) fn used(self: &Arc<Self>, state: &mut QueueState, cx: &Context<'_>) {
        state.used_ms = cx.now.utc_ms;
        if let Some(expires_ms) = state.settings.expires_ms {
            self.arm(state, cx.now.utc_ms.saturating_add(expires_ms), cx);
        }
    }

    /// Whether nobody has used it for as long as it may be; else looks again when that may be so.
    fn is_past_use(self: &Arc<Self>, state: &mut QueueState, cx: &Context<'_>) -> bool {
        let Some(expires_ms) = state.settings.expires_ms.filter(|_| state.consumers.is_empty()) else {
            return false;
        };
        let end_ms = state.used_ms.saturating_add(expires_ms);
        if end_ms <= cx.now.utc_ms {
            return true;
        }
        self.arm(state, end_ms, cx);
        false
    }
}
