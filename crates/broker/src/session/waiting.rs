//! What of a session waits for the log, and what of it is only in the log.

use std::sync::Arc;

use crate::effects::Effects;
use crate::journal::{Journal, Position};
use crate::queue::Ahead;
use crate::read_back::{self, ReadEntry};
use crate::session::{Context, Session, SessionState};
use crate::undurable::{Deferred, Undurable};

impl SessionState {
    /// The first sequence that may not be handed out before the log has moved on.
    pub(crate) fn undurable_from(&mut self, journal: Option<&dyn Journal>) -> u64 {
        match (&mut self.undurable, journal) {
            (Some(undurable), Some(journal)) => undurable.entries.limit(journal.durable()),
            _ => u64::MAX,
        }
    }

    /// What waits for the log, with the session on the list of those that are visited when it has moved.
    pub(super) fn defer(
        &mut self,
        session: &Arc<Session>,
        position: Position,
        effects: &mut Effects,
    ) -> &mut Undurable {
        self.undurable.get_or_insert_with(|| {
            effects.deferred.push(Deferred::session(session, position));
            Box::default()
        })
    }

    /// The log is durable up to `durable`: sends the releases and messages that waited for that. Returns the
    /// position that the rest waits for.
    pub(crate) fn log_moved(
        &mut self,
        session: &Arc<Session>,
        durable: Position,
        cx: &mut Context<'_>,
    ) -> Option<Position> {
        let undurable = self.undurable.as_mut()?;
        undurable.entries.limit(durable);
        while let Some(id) = undurable.pop_release(durable) {
            // A connection that is still to be resumed gets all releases then.
            if let Some(outbox) = self.outbox.as_mut().filter(|_| !self.resuming) {
                outbox.release(id, cx.effects);
            }
        }
        let next = undurable.next();
        if next.is_none() {
            self.undurable = None;
        }
        self.pump(session, cx);
        self.cool(read_back::COOLED_PER_VISIT, cx);
        self.report_credit(cx.effects);
        if self.replay.is_some()
            && let Some(outbox) = &mut self.outbox
        {
            outbox.wake(cx.effects);
        }
        next
    }

    /// Tells the budget what has become of the memory of the queue's messages.
    pub(crate) fn account(&mut self, cx: &mut Context<'_>) {
        let counts = cx.journal.is_some() && self.is_durable();
        let memory = if counts { self.queue.memory() } else { 0 };
        cx.effects.memory.note(cx.budget, self.accounted, memory);
        self.accounted = memory;
    }

    /// Lets go of messages if there are too many in memory: those that are in the log and not to be sent soon.
    /// Looks at no more than about `most`.
    pub(crate) fn cool(&mut self, most: usize, cx: &mut Context<'_>) {
        if cx.budget.is_exceeded() {
            self.cool_now(most, cx);
        }
    }

    /// The same although there may not be too many in memory at this moment.
    pub(crate) fn cool_now(&mut self, most: usize, cx: &mut Context<'_>) {
        let Some(journal) = cx.journal else { return };
        let kept = if self.outbox.is_some() { read_back::KEPT } else { 0 };
        self.queue.cool(journal.durable(), kept, most);
        self.account(cx);
    }

    /// Takes messages that were read back and goes on.
    pub(crate) fn put_back(
        &mut self,
        session: &Arc<Session>,
        ahead: &Ahead,
        read: Vec<ReadEntry>,
        cx: &mut Context<'_>,
    ) {
        self.reading.answered(ahead);
        for (sequence, stored, why) in self.queue.put_back(read) {
            let reason = read_back::lost(session, sequence, &stored, &why, cx);
            self.settle(session.id, sequence, reason, cx);
        }
        self.pump(session, cx);
        self.report_credit(cx.effects);
    }
}
