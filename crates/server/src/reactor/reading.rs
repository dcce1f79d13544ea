//! The reading half of a turn: from the socket through the face.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tercet_broker::effects::Effects;
use tercet_broker::outbox::ConnectionRef;
use tercet_net::Received;

use crate::reactor::connection::{Connection, Phase};
use crate::reactor::event_loop::{LINGER, READ_HOLD, Reactor, SMALL_TAIL};
use crate::reactor::face::{Face, FaceContext, Step};
use crate::reactor::wheel::Purpose;

impl Reactor {
    pub(super) fn read_if(&mut self, slot: u32, generation: u32) {
        if self.connections.get(slot as usize).is_some_and(|found| found.generation == generation) {
            self.read(slot);
        }
    }

    /// Reads a connection once and lets its face work on what came.
    pub(super) fn read(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if let Phase::Lingering(_) = connection.phase {
            return self.drain_peer(slot);
        }
        if connection.phase != Phase::Open {
            return;
        }
        if connection.held || connection.parked_until.is_some() || connection.unwritten_len() > READ_HOLD {
            connection.read_blocked = true;
            return;
        }
        if let Some(until) = connection.paused_until {
            if until > self.now.monotonic {
                connection.read_blocked = true;
                return;
            }
            connection.paused_until = None;
        }
        let in_place = connection.tail.len() <= SMALL_TAIL;
        let kept = if in_place { connection.tail.len() } else { 0 };
        let (head, room) = self.scratch.split_at_mut(kept);
        if in_place {
            head.copy_from_slice(&connection.tail);
        }
        let received = match connection.transport.receive(room) {
            Ok(received) => received,
            Err(error) => {
                let _ = connection.transport.flush();
                return self.lost(slot, Some(&error));
            }
        };
        if connection.transport.wants_write() {
            let _ = connection.transport.flush();
        }
        let (count, more) = match received {
            // No event will tell of the end that is behind these bytes.
            Received::Data(count) => (count, connection.hung_up),
            Received::More(count) => (count, true),
            Received::WouldBlock => return,
            Received::Closed => return self.lost(slot, None),
        };
        self.effects.counters.bytes_received += count as u64;
        if more {
            self.again.push_back((slot, connection.generation));
        }
        if !in_place {
            let fresh = self.scratch.get(..count).unwrap_or_default();
            connection.tail.extend_from_slice(fresh);
        }
        if connection.tail.len().max(kept + count) < connection.wanted {
            if in_place {
                Self::keep(
                    &mut connection.tail,
                    self.scratch.get(..kept + count).unwrap_or_default(),
                    &mut self.effects,
                );
            }
            return;
        }
        self.process(slot, in_place, kept + count);
    }

    /// Lets the face work on input: the first `length` bytes of the scratch, or the connection's tail.
    pub(super) fn process(&mut self, slot: u32, in_place: bool, length: usize) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let taken = if in_place { Vec::new() } else { std::mem::take(&mut connection.tail) };
        let input = if in_place { self.scratch.get(..length).unwrap_or_default() } else { &taken };
        if connection.answers.capacity() == 0 {
            connection.answers = self.effects.buffers.take();
        }
        let mut cx = FaceContext {
            shared: &self.shared,
            now: self.now,
            effects: &mut self.effects,
            coap: &mut self.coap,
            connection: ConnectionRef { reactor: self.index, slot, generation: connection.generation },
            transport: &connection.transport,
        };
        // A panic is a mistake of ours that one client has found; it must not take the others down.
        let worked = catch_unwind(AssertUnwindSafe(|| {
            connection.face.receive(input, &mut connection.answers, &mut cx)
        }));
        let Ok((consumed, step)) = worked else {
            tracing::error!(
                slot,
                "internal error while working on a connection; it is closed, please report this"
            );
            return self.lost(slot, None);
        };
        let rest = input.get(consumed..).unwrap_or_default();
        connection.wanted = connection.face.wanted(rest);
        Self::keep(&mut connection.tail, rest, &mut self.effects);
        if taken.capacity() > 0 {
            self.effects.buffers.give(taken);
        }
        self.after(slot, step);
    }

    /// Keeps the beginning of an unfinished packet; a connection without one owns no buffer.
    pub(super) fn keep(tail: &mut Vec<u8>, rest: &[u8], effects: &mut Effects) {
        if rest.is_empty() {
            if tail.capacity() > 0 {
                effects.buffers.give(std::mem::take(tail));
            }
            return;
        }
        if tail.capacity() == 0 {
            *tail = effects.buffers.take();
        }
        tail.clear();
        tail.extend_from_slice(rest);
    }

    /// Carries out what the face decided.
    pub(super) fn after(&mut self, slot: u32, step: Step) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if let Some(after) = connection.face.take_new_limit(self.now.monotonic) {
            connection.limit_serial = connection.limit_serial.wrapping_add(1);
            let purpose = Purpose::Limit(connection.limit_serial);
            self.wheel.arm(slot, connection.generation, purpose, after, self.now.monotonic);
        }
        match step {
            Step::Continue => {}
            Step::Hold => connection.held = true,
            Step::AwaitLog(patience) => {
                connection.parked_until = Some(self.now.monotonic + patience);
                self.awaiting.park(slot, connection);
                if !std::mem::replace(&mut connection.unpark_armed, true) {
                    let generation = connection.generation;
                    self.wheel.arm(slot, generation, Purpose::Unpark, patience, self.now.monotonic);
                }
            }
            Step::Pause(wait) => {
                connection.paused_until = Some(self.now.monotonic + wait);
                connection.read_blocked = true;
                self.wheel.arm(slot, connection.generation, Purpose::Unpause, wait, self.now.monotonic);
            }
            Step::Close => {
                connection.phase = Phase::Closing;
                connection.limit_serial = connection.limit_serial.wrapping_add(1);
                let purpose = Purpose::Limit(connection.limit_serial);
                self.wheel.arm(slot, connection.generation, purpose, LINGER, self.now.monotonic);
            }
        }
        self.awaiting.note_answers(slot, connection);
        if connection.answers.is_empty() {
            if connection.answers.capacity() > 0 {
                self.effects.buffers.give(std::mem::take(&mut connection.answers));
            }
            if connection.phase == Phase::Open {
                return;
            }
        }
        Self::mark_dirty(&mut self.dirty, slot, connection);
    }

    pub(super) fn mark_dirty(dirty: &mut Vec<u32>, slot: u32, connection: &mut Connection) {
        if !connection.dirty {
            connection.dirty = true;
            dirty.push(slot);
        }
    }

    /// Calls the face of a connection outside of reading.
    pub(super) fn with_face(
        &mut self,
        slot: u32,
        generation: u32,
        act: impl FnOnce(&mut Face, &mut Vec<u8>, &mut FaceContext<'_>) -> Step,
    ) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.generation != generation || connection.phase != Phase::Open {
            return;
        }
        if connection.answers.capacity() == 0 {
            connection.answers = self.effects.buffers.take();
        }
        let mut cx = FaceContext {
            shared: &self.shared,
            now: self.now,
            effects: &mut self.effects,
            coap: &mut self.coap,
            connection: ConnectionRef { reactor: self.index, slot, generation },
            transport: &connection.transport,
        };
        let step = act(&mut connection.face, &mut connection.answers, &mut cx);
        let released = connection.held && step == Step::Continue;
        self.after(slot, step);
        if released {
            self.release(slot);
        }
    }

    /// The face takes input again: first what came while it could not.
    pub(super) fn release(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.held = false;
        if std::mem::take(&mut connection.read_blocked) {
            self.again.push_back((slot, connection.generation));
        }
        let length = connection.tail.len();
        match length {
            0 => {}
            1..=SMALL_TAIL => {
                let (head, _) = self.scratch.split_at_mut(length);
                head.copy_from_slice(&connection.tail);
                self.process(slot, true, length);
            }
            _ => self.process(slot, false, 0),
        }
    }
}
