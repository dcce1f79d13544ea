//! What waits for the log, and what is done when it has moved.
//!
//! A reactor keeps three lists: connections with answers that wait for a position, sessions and shared subscriptions with
//! deliveries that do ([`Effects::deferred`](tercet_broker::effects::Effects::deferred)), and connections that are not read because
//! the log takes no more work. Before it sleeps it announces the earliest position it waits for
//! ([`Inbox::await_log`](crate::reactor::inbox::Inbox::await_log)); a reactor that waits for none is never woken by the log.

use tercet_broker::journal::{Admission, Position};

use crate::reactor::connection::Connection;
use crate::reactor::event_loop::Reactor;
use crate::reactor::face::PATIENCE;
use crate::reactor::wheel::Purpose;

/// The lists of a reactor, those of the core aside.
#[derive(Default)]
pub(super) struct Awaiting {
    answers: Vec<Answers>,
    /// Slot and generation of connections that are not read.
    parked: Vec<(u32, u32)>,
    /// The earliest position in the lists, as far as they were looked at.
    earliest: Option<Position>,
    /// How many of the core's deferred ones that is.
    looked_at: usize,
    /// Whether the reactor has announced that it waits.
    announced: bool,
}

/// A connection with answers that wait.
struct Answers {
    slot: u32,
    generation: u32,
    position: Position,
}

impl Awaiting {
    /// Lists a connection whose face has answers that wait, unless it is listed.
    pub(super) fn note_answers(&mut self, slot: u32, connection: &mut Connection) {
        if connection.awaits_log {
            return;
        }
        let Some(position) = connection.face.awaited() else { return };
        connection.awaits_log = true;
        self.earliest = earlier(self.earliest, position);
        self.answers.push(Answers { slot, generation: connection.generation, position });
    }

    /// Lists a connection that is not read.
    pub(super) fn park(&mut self, slot: u32, connection: &mut Connection) {
        if !std::mem::replace(&mut connection.parked, true) {
            self.parked.push((slot, connection.generation));
        }
    }
}

fn earlier(earliest: Option<Position>, position: Position) -> Option<Position> {
    Some(earliest.map_or(position, |earliest| earliest.min(position)))
}

impl Reactor {
    /// The earliest position that answers or deliveries wait for.
    fn earliest_awaited(&mut self) -> Option<Position> {
        let awaiting = &mut self.awaiting;
        let fresh = self.effects.deferred.get(awaiting.looked_at..).unwrap_or_default();
        for deferred in fresh {
            awaiting.earliest = earlier(awaiting.earliest, deferred.position());
        }
        awaiting.looked_at = self.effects.deferred.len();
        [awaiting.earliest, self.coap.awaited()].into_iter().flatten().min()
    }

    /// Tells the log what is waited for, before the reactor sleeps. True if it must not sleep.
    pub(super) fn announce(&mut self) -> bool {
        let earliest = self.earliest_awaited();
        let parked = !self.awaiting.parked.is_empty();
        if earliest.is_none() && !parked {
            return false;
        }
        // Whoever waits to be read wants to hear of every change.
        self.inbox.await_log(earliest.filter(|_| !parked).unwrap_or_default());
        self.awaiting.announced = true;
        let vhost = &self.shared.vhost;
        earliest.is_some_and(|position| position <= vhost.durable())
            || (parked && vhost.admission() == Admission::Open)
    }

    /// The reactor is awake: it looks by itself, once per turn.
    pub(super) fn stop_awaiting(&mut self) {
        if std::mem::take(&mut self.awaiting.announced) {
            self.inbox.stop_awaiting();
        }
    }

    /// Gives the answers and makes the deliveries that have waited for what is durable by now, and goes on reading if the
    /// log takes work again.
    pub(super) fn look_at_log(&mut self) {
        if !self.awaiting.parked.is_empty() && self.shared.vhost.admission() == Admission::Open {
            for (slot, generation) in std::mem::take(&mut self.awaiting.parked) {
                let connection = self.connections.get_mut(slot as usize);
                if let Some(connection) = connection.filter(|found| found.generation == generation) {
                    connection.parked = false;
                    self.unpark(slot);
                }
            }
        }
        let durable = self.shared.vhost.durable();
        if self.earliest_awaited().is_none_or(|position| position > durable) {
            return;
        }
        self.awaiting.earliest = None;
        self.answer_durable_requests();
        for waiting in std::mem::take(&mut self.awaiting.answers) {
            self.confirm(waiting, durable);
        }
        self.shared.hosts.after_durable(self.now, &mut self.effects);
        self.awaiting.looked_at = 0;
    }

    /// Gives the answers of a connection that may be given; it is listed again if some are left.
    fn confirm(&mut self, waiting: Answers, durable: Position) {
        let Answers { slot, generation, position } = waiting;
        let connection = self.connections.get_mut(slot as usize);
        let Some(connection) = connection.filter(|found| found.generation == generation) else { return };
        if position > durable {
            self.awaiting.earliest = earlier(self.awaiting.earliest, position);
            self.awaiting.answers.push(waiting);
            return;
        }
        connection.awaits_log = false;
        self.with_face(slot, generation, |face, answers, cx| face.log_moved(durable, answers, cx));
    }

    /// A connection has not been read for as long as it has patience.
    pub(super) fn patience_over(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.unpark_armed = false;
        let Some(until) = connection.parked_until else { return };
        let left = until.saturating_duration_since(self.now.monotonic);
        if left.is_zero() && self.shared.vhost.admission() != Admission::Busy {
            return self.unpark(slot);
        }
        // A log that is busy gets on with it; to be read would only make it worse.
        connection.unpark_armed = true;
        let wait = if left.is_zero() { PATIENCE } else { left };
        self.wheel.arm(slot, connection.generation, Purpose::Unpark, wait, self.now.monotonic);
    }

    /// Goes on reading, first what came before.
    fn unpark(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.parked_until.take().is_some() {
            connection.face.read_again(self.now.monotonic);
            self.release(slot);
        }
    }
}

#[cfg(test)]
mod tests;
