//! What must not be told to anybody yet, because the log does not have it on disk.
//!
//! A durable queue hands out only its durable prefix. Records become durable batch by batch, so all that has to be remembered is
//! with which sequence each batch began: a few [`Marks`], however long the queue. The same goes for releases (PUBREL).
//!
//! A session, group or named queue that has something of the kind is exactly once on the list of a reactor ([`Deferred`] in
//! [`crate::effects::Effects::deferred`]), which comes back to it when the log has moved
//! ([`crate::vhost::Vhost::after_durable`]). What has nothing undurable owns nothing for it, and is on no list.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::hosts::VhostId;
use crate::journal::Position;
use crate::named_queue::NamedQueue;
use crate::session::{Context, Session};
use crate::shared_group::SharedGroup;

/// Where the undurable parts of a queue begin, by the position that each waits for; both grow.
#[derive(Debug, Default)]
pub(crate) struct Marks(SmallVec<[(Position, u64); 3]>);

impl Marks {
    /// The entry with this sequence will be durable at `position`.
    pub(crate) fn note(&mut self, sequence: u64, position: Position) {
        if self.0.last().is_none_or(|(last, _)| *last < position) {
            self.0.push((position, sequence));
        }
    }

    /// The first sequence that may not be handed out while the log is durable up to `durable`; `u64::MAX` if every one
    /// may.
    pub(crate) fn limit(&mut self, durable: Position) -> u64 {
        let done = self.0.iter().take_while(|(position, _)| *position <= durable).count();
        self.0.drain(..done);
        self.0.first().map_or(u64::MAX, |(_, sequence)| *sequence)
    }

    /// The position that the first undurable entry waits for.
    pub(crate) fn next(&self) -> Option<Position> {
        self.0.first().map(|(position, _)| *position)
    }
}

/// What of a session waits for the log. A session has this as long as it is on a list of deferred ones.
#[derive(Debug, Default)]
pub(crate) struct Undurable {
    /// Entries of its queue.
    pub entries: Marks,
    /// Packet identifiers of releases to be sent, in their order.
    pub releases: VecDeque<(Position, u16)>,
}

impl Undurable {
    /// The next release that may be sent.
    pub(crate) fn pop_release(&mut self, durable: Position) -> Option<u16> {
        self.releases.pop_front_if(|(position, _)| *position <= durable).map(|(_, id)| id)
    }

    /// The position at which it is worth looking again; `None` when nothing waits.
    pub(crate) fn next(&self) -> Option<Position> {
        let release = self.releases.front().map(|(position, _)| *position);
        [self.entries.next(), release].into_iter().flatten().min()
    }
}

/// Somebody to come back to when the log has moved.
pub struct Deferred {
    position: Position,
    host: VhostId,
    owner: Owner,
}

enum Owner {
    Session(Arc<Session>),
    Group(Arc<SharedGroup>),
    Queue(Arc<NamedQueue>),
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Owner::Session(session) => write!(f, "{session:?} at {}", self.position),
            Owner::Group(group) => write!(f, "{group:?} at {}", self.position),
            Owner::Queue(queue) => write!(f, "{queue:?} at {}", self.position),
        }
    }
}

impl Deferred {
    pub(crate) fn session(session: &Arc<Session>, position: Position) -> Self {
        Self { position, host: VhostId::DEFAULT, owner: Owner::Session(Arc::clone(session)) }
    }

    pub(crate) fn group(group: &Arc<SharedGroup>, position: Position) -> Self {
        Self { position, host: VhostId::DEFAULT, owner: Owner::Group(Arc::clone(group)) }
    }

    /// The virtual host that its owner belongs to.
    pub(crate) fn host(&self) -> VhostId {
        self.host
    }

    /// Notes which virtual host its owner belongs to.
    pub(crate) fn set_host(&mut self, host: VhostId) {
        self.host = host;
    }

    pub(crate) fn queue(queue: &Arc<NamedQueue>, position: Position) -> Self {
        Self { position, host: VhostId::DEFAULT, owner: Owner::Queue(Arc::clone(queue)) }
    }

    /// Coming back is of no use before the log is durable up to here.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Hands out what may be handed out by now. Returns whether something has to wait on; then it stays on its list.
    pub(crate) fn visit(&mut self, durable: Position, cx: &mut Context<'_>) -> bool {
        if self.position > durable {
            return true;
        }
        let next = match &self.owner {
            Owner::Session(session) => session.lock().log_moved(session, durable, cx),
            Owner::Group(group) => group.log_moved(durable, cx),
            Owner::Queue(queue) => queue.log_moved(durable, cx),
        };
        match next {
            Some(position) => {
                self.position = position;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Position {
        Position::new(number)
    }

    #[test]
    fn a_mark_per_batch_tells_where_the_durable_prefix_ends() {
        let mut marks = Marks::default();
        for (sequence, position) in [(3, 10), (4, 10), (7, 10), (8, 20), (9, 20), (12, 40)] {
            marks.note(sequence, at(position));
        }
        assert_eq!(marks.0.len(), 3);
        for (durable, limit) in [(0, 3), (9, 3), (10, 8), (19, 8), (20, 12), (39, 12), (40, u64::MAX)] {
            assert_eq!(marks.limit(at(durable)), limit, "durable up to {durable}");
        }
        assert_eq!(marks.next(), None);
    }
}
