//! Deliveries that come back: at once, after a while, too often, or because their consumer takes too long.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::named_queue::dead_letter::DeathReason;
use crate::named_queue::state::QueueState;
use crate::named_queue::{Consumption, NamedQueue, Outcome, QueueKind, RetryCondition};
use crate::record::NamedQueueRecord;
use crate::session::Context;

/// Who got what when; kept only where consumers have so much time and no more.
#[derive(Debug, Default)]
pub(super) struct Handed {
    by_sequence: BTreeMap<u64, (u64, Arc<Consumption>)>,
    /// Times and sequences in their order; of some the delivery has been settled.
    order: VecDeque<(u64, u64)>,
}

impl Handed {
    fn note(&mut self, sequence: u64, at_ms: u64, consumption: Arc<Consumption>) {
        self.by_sequence.insert(sequence, (at_ms, consumption));
        self.order.push_back((at_ms, sequence));
    }

    pub(super) fn forget(&mut self, sequence: u64) {
        self.by_sequence.remove(&sequence);
    }

    /// The oldest delivery that is outstanding: when it was made, and to whom.
    fn oldest(&mut self) -> Option<(u64, Arc<Consumption>)> {
        loop {
            let (at_ms, sequence) = self.order.front()?;
            match self.by_sequence.get(sequence) {
                Some((same_ms, consumption)) if same_ms == at_ms => {
                    return Some((*at_ms, Arc::clone(consumption)));
                }
                _ => self.order.pop_front(),
            };
        }
    }

    /// Everything that a consumer has.
    fn take_all_of(&mut self, consumption: &Arc<Consumption>) -> Vec<u64> {
        let theirs = self.by_sequence.iter().filter(|(_, (_, other))| Arc::ptr_eq(other, consumption));
        let theirs: Vec<u64> = theirs.map(|(sequence, _)| *sequence).collect();
        theirs.iter().for_each(|sequence| self.forget(*sequence));
        theirs
    }
}

impl NamedQueue {
    /// A delivery comes back.
    pub(super) fn give_back(
        self: &Arc<Self>,
        state: &mut QueueState,
        sequence: u64,
        outcome: Outcome,
        cx: &mut Context<'_>,
    ) {
        let (limit, retry) = (state.settings.delivery_limit, state.settings.retry);
        if self.kind() == QueueKind::Classic && limit.is_none() && retry.is_none() {
            return state.make_ready(sequence);
        }
        let deliveries = state.extras.get(sequence).deliveries.saturating_add(1);
        if limit.is_some_and(|limit| deliveries > limit) {
            return self.let_go(state, sequence, DeathReason::DeliveryLimit, cx);
        }
        let waits = retry.filter(|retry| match retry.condition {
            RetryCondition::All => true,
            RetryCondition::Failed => outcome.failed(),
            RetryCondition::Returned => !outcome.failed(),
        });
        let due_ms = waits.map(|retry| cx.now.utc_ms.saturating_add(retry.delay_ms(deliveries)));
        let not_before_ms = due_ms.and_then(NonZeroU64::new);
        let record = NamedQueueRecord::Returned { sequence, deliveries, not_before_ms };
        state.commit(self.id(), record, cx.journal);
        match due_ms {
            None => state.make_ready(sequence),
            Some(due_ms) => {
                state.extras.delay(sequence, due_ms);
                self.arm(state, due_ms, cx);
            }
        }
    }

    /// Notes when a consumer got something that it has only so much time for.
    pub(super) fn note_handed(
        self: &Arc<Self>,
        state: &mut QueueState,
        sequence: u64,
        consumption: Arc<Consumption>,
        cx: &Context<'_>,
    ) {
        let Some(timeout_ms) = state.settings.consumer_timeout_ms else { return };
        state.handed.get_or_make().note(sequence, cx.now.utc_ms, consumption);
        self.arm(state, cx.now.utc_ms.saturating_add(timeout_ms), cx);
    }

    /// Cancels consumers that take too long, and takes back what they have. Returns whether the last one is gone.
    pub(super) fn reclaim_overdue(self: &Arc<Self>, state: &mut QueueState, cx: &mut Context<'_>) -> bool {
        let Some(timeout_ms) = state.settings.consumer_timeout_ms else { return false };
        let mut deserted = false;
        while let Some((at_ms, consumption)) = state.handed.get_mut().and_then(Handed::oldest) {
            let due_ms = at_ms.saturating_add(timeout_ms);
            if due_ms > cx.now.utc_ms {
                self.arm(state, due_ms, cx);
                break;
            }
            if state.consumers.remove(&consumption) {
                consumption.outbox.cancelled(&consumption, cx.effects);
                deserted = state.consumers.is_empty();
            }
            let theirs = state.handed.get_mut().map(|handed| handed.take_all_of(&consumption));
            let theirs = theirs.unwrap_or_default();
            consumption.lose(&theirs);
            for sequence in theirs {
                state.unacked -= 1;
                self.give_back(state, sequence, Outcome::ChannelGone, cx);
            }
            if deserted {
                self.used(state, cx);
            }
        }
        deserted
    }
}
