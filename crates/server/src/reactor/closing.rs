//! How connections end: time limits, farewells, and waiting for the peer to close.

use std::io;
use std::net::Shutdown;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tercet_broker::outbox::CloseReason;
use tercet_net::Received;

use crate::reactor::connection::Phase;
use crate::reactor::event_loop::{LINGER, Reactor};
use crate::reactor::face::{Face, PATIENCE, Timeout};
use crate::reactor::wheel::{Entry, Purpose};

impl Reactor {
    /// Everything is written: shut our side down and wait for the peer to close.
    pub(super) fn linger(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.face.peer_will_close() {
            return self.remove(slot);
        }
        connection.transport.close_notify();
        let _ = connection.transport.flush();
        let _ = connection.transport.shutdown(Shutdown::Write);
        connection.phase = Phase::Lingering(self.now.monotonic + LINGER);
        self.limit(slot, LINGER);
        self.drain_peer(slot);
    }

    /// Discards what a peer still sends after we are done with it.
    pub(super) fn drain_peer(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        match connection.transport.receive(&mut self.scratch) {
            Ok(Received::Data(_) | Received::WouldBlock) => {}
            Ok(Received::More(_)) => self.again.push_back((slot, connection.generation)),
            Ok(Received::Closed) | Err(_) => self.remove(slot),
        }
    }

    /// The connection is gone without our doing.
    pub(super) fn lost(&mut self, slot: u32, error: Option<&io::Error>) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.face.lost(error, &self.shared, self.now, &mut self.effects);
        }
        self.remove(slot);
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let Some(mut connection) = self.connections.try_remove(slot as usize) else { return };
        connection.face.lost(None, &self.shared, self.now, &mut self.effects);
        if let Face::Coap(face) = &connection.face {
            self.coap_stream_gone(face.stream(slot, connection.generation));
        }
        let _ = self.poll.registry().deregister(&mut connection.transport);
        connection.listener.release();
        self.inbox.connections.fetch_sub(1, Relaxed);
    }

    /// Looks at the time limits that have come up.
    pub(super) fn check_limits(&mut self) {
        self.retry_accept();
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now.monotonic, &mut due);
        for entry in due.drain(..) {
            self.check_limit(entry);
        }
        self.due = due;
    }

    pub(super) fn check_limit(&mut self, entry: Entry) {
        let Some(connection) = self.connections.get_mut(entry.slot as usize) else { return };
        if connection.generation != entry.generation {
            return;
        }
        let serial = match entry.purpose {
            Purpose::Limit(serial) => serial,
            Purpose::Unpark => return self.patience_over(entry.slot),
            Purpose::Unpause => {
                // A connection that is held or parked besides goes on when that is over.
                let waits = connection.held || connection.parked_until.is_some();
                if !waits && connection.phase == Phase::Open {
                    connection.paused_until = None;
                    self.release(entry.slot);
                }
                return;
            }
        };
        if serial != connection.limit_serial {
            return;
        }
        match connection.phase {
            // The face is done, and the peer takes too long to take our last bytes or to close.
            Phase::Lingering(_) | Phase::Closing => self.remove(entry.slot),
            Phase::Open => match connection.face.check_limit(self.now.monotonic) {
                Timeout::None => {}
                Timeout::In(wait) => self.limit(entry.slot, wait),
                // The silence is ours.
                Timeout::Passed
                    if connection.parked_until.is_some() && connection.face.limits_silence_alone() =>
                {
                    self.limit(entry.slot, PATIENCE);
                }
                Timeout::Passed => {
                    self.with_face(entry.slot, entry.generation, |face, answers, cx| {
                        face.timed_out(answers, cx)
                    });
                }
            },
        }
    }

    /// Puts a time limit on a connection in place of the one in force.
    pub(super) fn limit(&mut self, slot: u32, after: Duration) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.limit_serial = connection.limit_serial.wrapping_add(1);
        let purpose = Purpose::Limit(connection.limit_serial);
        self.wheel.arm(slot, connection.generation, purpose, after, self.now.monotonic);
    }

    pub(super) fn close_all(&mut self, reason: CloseReason) {
        self.end_observations();
        let slots: Vec<u32> = self.connections.iter().map(|(slot, _)| slot as u32).collect();
        for slot in slots {
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            if connection.phase != Phase::Open {
                continue;
            }
            let mut farewell = self.effects.buffers.take();
            connection.face.evicted(reason, &mut farewell, &self.shared, self.now, &mut self.effects);
            connection.answers.extend_from_slice(&farewell);
            self.effects.buffers.give(farewell);
            connection.phase = Phase::Closing;
            Self::mark_dirty(&mut self.dirty, slot, connection);
            self.limit(slot, LINGER);
        }
    }
}
