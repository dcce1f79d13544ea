//! The writing half of a turn: answers first, then deliveries, one write per connection.

use tercet_broker::outbox::CloseReason;

use crate::reactor::connection::Phase;
use crate::reactor::event_loop::{LINGER, READ_HOLD, Reactor};
use crate::reactor::output::Unwritten;

impl Reactor {
    pub(super) fn writable(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.write_blocked || connection.transport.wants_write() {
            connection.write_blocked = false;
            Self::mark_dirty(&mut self.dirty, slot, connection);
        }
    }

    pub(super) fn resume(&mut self, slot: u32, generation: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.generation != generation {
            return;
        }
        if connection.face.resume(&self.shared, self.now, &mut self.effects) {
            self.resume.push((slot, generation));
        }
        // What had to wait for output may wait for the log next.
        self.awaiting.note_answers(slot, connection);
    }

    /// Writes every connection that has output, once; what that sets free goes out in the same turn.
    pub(super) fn write_all(&mut self) {
        loop {
            for index in 0..self.effects.wakes.len() {
                let Some(wake) = self.effects.wakes.get(index).copied() else { break };
                if wake.reactor != self.index {
                    if let Some(batch) = self.outgoing.get_mut(usize::from(wake.reactor)) {
                        batch.push(wake);
                    }
                } else if let Some(number) = wake.as_watch() {
                    self.notify_observers(number);
                } else if let Some(connection) = self.connections.get_mut(wake.slot as usize)
                    && connection.generation == wake.generation
                {
                    Self::mark_dirty(&mut self.dirty, wake.slot, connection);
                }
            }
            self.effects.wakes.clear();
            self.hand_out_frames();
            let Some(slot) = self.dirty.pop() else { return };
            self.write(slot);
        }
    }

    /// Writes one connection: answers first, then deliveries.
    pub(super) fn write(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.dirty = false;
        if matches!(connection.phase, Phase::Lingering(_)) {
            return;
        }
        if connection.write_blocked {
            return self.check_eviction(slot);
        }
        let mut unwritten = connection.unwritten.take().or_else(|| self.spare.take()).unwrap_or_default();
        self.effects.counters.answers_sent += connection.face.packets(&connection.answers);
        unwritten.push(std::mem::take(&mut connection.answers), &mut self.effects.buffers);
        // Deliveries stay in the outbox while the socket is behind, where they can still be limited.
        let held = unwritten.len() >= READ_HOLD;
        let resume = !held && self.take_deliveries(slot, &mut unwritten);
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let result = unwritten.write(&mut connection.transport, &mut self.effects.buffers);
        let flushed = result.and_then(|written| {
            self.effects.counters.bytes_sent += written as u64;
            if written > 0 {
                connection.face.wrote(self.now.monotonic);
            }
            connection.transport.flush()
        });
        let flushed = match flushed {
            Ok(flushed) => flushed && unwritten.is_empty(),
            Err(error) => return self.lost(slot, Some(&error)),
        };
        let behind = unwritten.len();
        if behind > 0 || connection.behind {
            connection.behind = behind > 0;
            connection.face.set_unwritten(behind);
        }
        if unwritten.is_empty() {
            self.spare = Some(unwritten);
        } else {
            connection.unwritten = Some(unwritten);
        }
        connection.held_resume |= resume;
        if flushed {
            self.written(slot, held);
        } else {
            connection.write_blocked = true;
        }
    }

    /// The socket has taken everything: go on with what waited for that.
    fn written(&mut self, slot: u32, held: bool) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let generation = connection.generation;
        if std::mem::take(&mut connection.read_blocked) {
            self.again.push_back((slot, generation));
        }
        let resume = std::mem::take(&mut connection.held_resume);
        if held {
            // The outbox was left alone for what was unwritten.
            Self::mark_dirty(&mut self.dirty, slot, connection);
        }
        if connection.phase == Phase::Closing && !held {
            self.linger(slot);
        } else if resume {
            self.resume(slot, generation);
        }
    }

    /// Swaps the session's output out. Returns whether the session waits for it to be written.
    fn take_deliveries(&mut self, slot: u32, unwritten: &mut Unwritten) -> bool {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return false };
        let Some(taken) = connection.face.drain(&mut self.drained) else { return false };
        let evicted = match taken {
            Ok(()) => {
                unwritten.push_drained(&mut self.drained, &mut self.effects.buffers);
                self.drained.close.take()
            }
            Err(reason) => Some(reason),
        };
        if let Some(reason) = evicted {
            self.evict(slot, reason, unwritten);
        }
        std::mem::take(&mut self.drained.resume)
    }

    /// A connection that cannot write is told to go all the same, and does not get long.
    fn check_eviction(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let Some(reason) = connection.face.closing() else { return };
        let mut unwritten = connection.unwritten.take().unwrap_or_default();
        self.evict(slot, reason, &mut unwritten);
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.unwritten = Some(unwritten);
        }
    }

    /// The core or an administrator ends the connection: tell the client and close.
    fn evict(&mut self, slot: u32, reason: CloseReason, unwritten: &mut Unwritten) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let mut farewell = self.effects.buffers.take();
        connection.face.evicted(reason, &mut farewell, &self.shared, self.now, &mut self.effects);
        unwritten.push(farewell, &mut self.effects.buffers);
        connection.phase = Phase::Closing;
        self.limit(slot, LINGER);
    }
}
