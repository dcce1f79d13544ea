//! The writing half of a turn: answers first, then deliveries, one write per connection.

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::outbox::CloseReason;

use crate::reactor::connection::{Connection, Phase};
use crate::reactor::event_loop::{READ_HOLD, Reactor};
use crate::reactor::output::{Unwritten, packets};
use crate::shared::Shared;

impl Reactor {
    pub(super) fn writable(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.write_blocked || connection.transport.wants_write() {
            connection.write_blocked = false;
            Self::mark_dirty(&mut self.dirty, slot, connection);
        }
    }

    pub(super) fn resume(&mut self, slot: u32, generation: u32) {
        let Some(connection) = self.connections.get(slot as usize) else { return };
        if connection.generation == generation
            && let Some(attachment) = connection.face.attachment()
            && self.shared.vhost.resume(&attachment.session, attachment.epoch, self.now, &mut self.effects)
        {
            self.resume.push((slot, generation));
        }
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
                } else if let Some(connection) = self.connections.get_mut(wake.slot as usize)
                    && connection.generation == wake.generation
                {
                    Self::mark_dirty(&mut self.dirty, wake.slot, connection);
                }
            }
            self.effects.wakes.clear();
            let Some(slot) = self.dirty.pop() else { return };
            self.write(slot);
        }
    }

    /// Writes one connection: answers first, then deliveries.
    pub(super) fn write(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.dirty = false;
        if connection.write_blocked || matches!(connection.phase, Phase::Lingering(_)) {
            return;
        }
        let mut unwritten = connection.unwritten.take().or_else(|| self.spare.take()).unwrap_or_default();
        self.effects.counters.answers_sent += packets(&connection.answers);
        unwritten.push(std::mem::take(&mut connection.answers), &mut self.effects.buffers);
        let mut resume = false;
        // Deliveries stay in the outbox while the socket is behind, where they can still be limited.
        if unwritten.len() < READ_HOLD
            && let Some(attachment) = connection.face.attachment()
        {
            match attachment.session.drain(attachment.epoch, &mut self.drained) {
                Ok(()) => {
                    resume = std::mem::take(&mut self.drained.resume);
                    let close = self.drained.close.take();
                    unwritten.push_drained(&mut self.drained, &mut self.effects.buffers);
                    if let Some(reason) = close {
                        Self::evict(
                            connection,
                            reason,
                            &mut unwritten,
                            &mut self.effects,
                            &self.shared,
                            self.now,
                        );
                    }
                }
                Err(reason) => {
                    Self::evict(
                        connection,
                        reason,
                        &mut unwritten,
                        &mut self.effects,
                        &self.shared,
                        self.now,
                    );
                }
            }
        }
        let result = unwritten.write(&mut connection.transport, &mut self.effects.buffers);
        let flushed = result.and_then(|written| {
            self.effects.counters.bytes_sent += written as u64;
            connection.transport.flush()
        });
        let flushed = match flushed {
            Ok(flushed) => flushed && unwritten.is_empty(),
            Err(error) => return self.lost(slot, Some(&error)),
        };
        if let Some(attachment) = connection.face.attachment() {
            let behind = unwritten.len();
            if behind > 0 || connection.behind {
                connection.behind = behind > 0;
                attachment.session.with_outbox(attachment.epoch, |outbox| outbox.set_unwritten(behind));
            }
        }
        if unwritten.is_empty() {
            self.spare = Some(unwritten);
        } else {
            connection.unwritten = Some(unwritten);
        }
        if !flushed {
            connection.write_blocked = true;
            connection.held_resume |= resume;
            return;
        }
        let resume = resume | std::mem::take(&mut connection.held_resume);
        let (generation, phase) = (connection.generation, connection.phase);
        if std::mem::take(&mut connection.read_blocked) {
            self.again.push_back((slot, generation));
        }
        if phase == Phase::Closing {
            self.linger(slot);
        } else if resume {
            self.resume(slot, generation);
        }
    }

    /// The core or an administrator ends the connection: tell the client and close.
    pub(super) fn evict(
        connection: &mut Connection,
        reason: CloseReason,
        unwritten: &mut Unwritten,
        effects: &mut Effects,
        shared: &Shared,
        now: Now,
    ) {
        let mut farewell = effects.buffers.take();
        connection.face.evicted(reason, &mut farewell, shared, now, effects);
        unwritten.push(farewell, &mut effects.buffers);
        connection.phase = Phase::Closing;
    }
}
