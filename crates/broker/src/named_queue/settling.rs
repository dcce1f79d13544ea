//! Clients say what becomes of their deliveries.

use std::sync::Arc;

use crate::journal::Position;
use crate::named_queue::dead_letter::DeathReason;
use crate::named_queue::state::{QueueState, Run};
use crate::named_queue::{NamedQueue, Outcome, Settlement};
use crate::queue::Stage;
use crate::record::SettleReason;
use crate::session::Context;

impl NamedQueue {
    /// Settles many deliveries, in the order in which they are given, and hands out what that makes room for. Those that
    /// are nobody's any more are skipped. Returns what has to be waited for if the settling is to be durable.
    pub(crate) fn settle<'a>(
        self: &Arc<Self>,
        settlements: impl Iterator<Item = &'a Settlement>,
        cx: &mut Context<'_>,
    ) -> Position {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.deleted {
            return Position::NONE;
        }
        if self.is_stream() {
            self.settle_stream(state, settlements, cx);
            return Position::NONE;
        }
        let mut acknowledged = Run::new(self.id(), SettleReason::Acknowledged);
        let mut returned = false;
        for settlement in settlements {
            let sequence = settlement.sequence;
            if !state.take_over(settlement) {
                continue;
            }
            match settlement.outcome {
                Outcome::Ack => {
                    state.totals.acknowledged += 1;
                    state.settle_in(&mut acknowledged, sequence, cx);
                }
                outcome if outcome.comes_back() => {
                    returned = true;
                    self.give_back(state, sequence, outcome, cx);
                }
                _ => self.let_go(state, sequence, DeathReason::Rejected, cx),
            }
        }
        let position = acknowledged.finish(state.recorded, cx);
        state.consumers.wake();
        if returned && state.settings.is_limited() {
            self.drop_excess(state, cx);
        }
        self.dispatch(state, None, cx);
        state.account(cx);
        position.max(state.staged_position(cx))
    }
}

impl QueueState {
    /// Takes a delivery from whoever has it. False if that is not so any more.
    #[inline]
    fn take_over(&mut self, settlement: &Settlement) -> bool {
        let sequence = settlement.sequence;
        if let Some(consumption) = &settlement.consumption {
            if consumption.has_lost(sequence) {
                return false;
            }
            consumption.settled();
        }
        if !self.queue.entry(sequence).is_some_and(|(_, stage, _)| stage == Stage::Sent) {
            return false;
        }
        self.unacked = self.unacked.saturating_sub(1);
        if let Some(handed) = self.handed.get_mut() {
            handed.forget(sequence);
        }
        true
    }

    /// What has to be waited for so that everything that was recorded is durable.
    pub(super) fn staged_position(&self, cx: &Context<'_>) -> Position {
        match cx.journal {
            Some(journal) if self.recorded => journal.staged(),
            _ => Position::NONE,
        }
    }
}
