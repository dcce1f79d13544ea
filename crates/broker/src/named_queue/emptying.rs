//! A queue is purged, paused, or goes.

use std::sync::Arc;

use crate::journal::Position;
use crate::named_queue::NamedQueue;
use crate::named_queue::state::Run;
use crate::record::{NamedQueueRecord, QueueDeclaration, Record, SettleReason};
use crate::session::Context;

/// Under which circumstances a queue is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Only without consumers.
    pub if_unused: bool,
    /// Only without messages that are ready.
    pub if_empty: bool,
    /// Only if nobody has used it for as long as `x-expires` says.
    pub if_expired: bool,
}

/// Why a queue was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDeleted {
    /// It is gone already.
    Gone,
    /// It has consumers, or was used a short while ago.
    InUse,
    /// It has messages.
    NotEmpty,
}

/// Entries purged under one lock.
const PURGED_AT_ONCE: usize = 8192;

impl NamedQueue {
    /// Records that the queue was declared.
    pub(crate) fn record_declared(&self, cx: &mut Context<'_>) -> Position {
        let Some(journal) = cx.journal.filter(|_| self.is_recorded()) else { return Position::NONE };
        journal.stage(&Record::NamedQueue(self.id(), &NamedQueueRecord::Declared(self.declaration())))
    }

    pub(crate) fn declaration(&self) -> QueueDeclaration {
        QueueDeclaration {
            name: Arc::clone(self.name()),
            auto_delete: self.description().auto_delete,
            arguments: self.description().arguments.clone(),
        }
    }

    /// Deletes the queue with everything in it, and tells its consumers. Returns how many messages were ready. Whoever
    /// knows it by its name must forget it in the same breath, under the lock of the names.
    ///
    /// # Errors
    /// See [`NotDeleted`].
    pub(crate) fn delete(
        self: &Arc<Self>,
        condition: Condition,
        cx: &mut Context<'_>,
    ) -> Result<(u32, Position), NotDeleted> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let expires_ms = state.settings.expires_ms.unwrap_or(u64::MAX);
        let expired = state.used_ms.saturating_add(expires_ms) <= cx.now.utc_ms;
        let in_use = !state.consumers.is_empty();
        match condition {
            _ if state.deleted => return Err(NotDeleted::Gone),
            Condition { if_unused: true, .. } if in_use => return Err(NotDeleted::InUse),
            Condition { if_expired: true, .. } if in_use || !expired => return Err(NotDeleted::InUse),
            Condition { if_empty: true, .. } if state.queue.ready() > 0 => return Err(NotDeleted::NotEmpty),
            _ => {}
        }
        let ready = u32::try_from(state.queue.ready()).unwrap_or(u32::MAX);
        let position = state.commit(self.id(), NamedQueueRecord::Deleted, cx.journal);
        let queue = state.clear();
        for consumption in state.consumers.take_all() {
            consumption.outbox.cancelled(&consumption, cx.effects);
        }
        self.wake_waiting(state, cx);
        state.account(cx);
        drop(guard);
        if let Some(journal) = cx.journal {
            queue.held().for_each(|stored| journal.release(&stored));
        }
        Ok((ready, position))
    }

    /// Drops as much as is ready now, from the head. Returns how much that was.
    pub(crate) fn purge(self: &Arc<Self>, cx: &mut Context<'_>) -> (u32, Position) {
        if self.delays() {
            return self.cancel_delayed(cx);
        }
        let mut left = self.state.lock().queue.ready();
        let (mut purged, mut position) = (0_u32, Position::NONE);
        loop {
            let mut state = self.state.lock();
            let mut run = Run::new(self.id(), SettleReason::Purged);
            let mut some = 0;
            while some < left.min(PURGED_AT_ONCE)
                && let Some(sequence) = state.first_ready()
            {
                state.settle_in(&mut run, sequence, cx);
                some += 1;
            }
            left -= some;
            position = position.max(run.finish(state.recorded, cx));
            state.account(cx);
            purged = purged.saturating_add(some as u32);
            if some < PURGED_AT_ONCE {
                return (purged, position);
            }
        }
    }

    /// Stops or resumes deliveries; what comes meanwhile waits.
    pub(crate) fn pause(self: &Arc<Self>, paused: bool, cx: &mut Context<'_>) -> Position {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.paused == paused || state.deleted {
            return Position::NONE;
        }
        let position = state.commit(self.id(), NamedQueueRecord::Paused(paused), cx.journal);
        state.consumers.wake();
        self.dispatch(state, None, cx);
        position
    }
}
