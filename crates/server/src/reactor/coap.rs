//! What the CoAP face does in a turn of its reactor.

use crate::coap::context::{Outcome, Ticket};
use crate::coap::node::{Node, Turn};
use crate::coap::peer::{Origin, StreamRef};
use crate::reactor::connection::Phase;
use crate::reactor::event_loop::Reactor;
use crate::reactor::face::{Face, Step};

impl Reactor {
    /// Lends the CoAP face what it needs of the reactor.
    fn with_coap<R>(&mut self, act: impl FnOnce(&mut Node, &mut Turn<'_>, &mut [u8]) -> R) -> R {
        let mut turn =
            Turn { shared: &self.shared, now: self.now, effects: &mut self.effects, reactor: self.index };
        act(&mut self.coap, &mut turn, &mut self.scratch)
    }

    pub(super) fn receive_datagrams(&mut self, socket: usize) {
        if self.with_coap(|node, turn, scratch| node.receive(socket, scratch, turn)) {
            self.datagrams_left.push(socket);
        }
    }

    pub(super) fn run_coap_due(&mut self) {
        self.with_coap(|node, turn, _| node.run_due(turn));
    }

    pub(super) fn ticket_answered(&mut self, ticket: Ticket, outcome: Outcome) {
        self.with_coap(|node, turn, _| node.ticket_answered(ticket, outcome, turn));
    }

    pub(super) fn notify_observers(&mut self, watch: u32) {
        self.with_coap(|node, turn, _| node.notify(watch, turn));
    }

    pub(super) fn answer_durable_requests(&mut self) {
        self.with_coap(|node, turn, _| node.log_moved(turn));
    }

    pub(super) fn end_observations(&mut self) {
        self.with_coap(|node, turn, _| {
            node.end_observations(turn);
            node.close_associations(turn);
        });
    }

    /// Says what a server says first: in CoAP its CSM, in the other protocols nothing.
    pub(super) fn greet(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if let Face::Coap(face) = &mut connection.face {
            face.greet(&mut connection.answers);
            Self::mark_dirty(&mut self.dirty, slot, connection);
        }
    }

    /// A stream is gone.
    pub(super) fn coap_stream_gone(&mut self, stream: StreamRef) {
        let origin = Origin::Stream(stream);
        self.with_coap(|node, turn, _| node.stream_gone(origin, turn));
    }

    /// Gives streams what was written for them.
    pub(super) fn hand_out_frames(&mut self) {
        if self.coap.outlet.frames.is_empty() {
            return;
        }
        let mut frames = std::mem::take(&mut self.coap.outlet.frames);
        for (stream, message) in frames.iter() {
            let Some(connection) = self.connections.get_mut(stream.slot as usize) else { continue };
            if connection.generation != stream.generation || connection.phase != Phase::Open {
                continue;
            }
            if connection.unwritten_len() + connection.answers.len() > connection.listener.outbox {
                // It reads nothing of what it wants to be told.
                self.lost(stream.slot, None);
                continue;
            }
            let Face::Coap(face) = &mut connection.face else { continue };
            face.put(message, &mut connection.answers);
            Self::mark_dirty(&mut self.dirty, stream.slot, connection);
        }
        for (stream, _) in frames.iter() {
            let Some(connection) = self.connections.get_mut(stream.slot as usize) else { continue };
            let Face::Coap(face) = &mut connection.face else { continue };
            if connection.generation == stream.generation && connection.phase == Phase::Open {
                let step = face.settle(&mut connection.answers, &self.coap, stream);
                if step == Step::Close {
                    self.after(stream.slot, step);
                }
            }
        }
        frames.clear();
        self.coap.outlet.frames = frames;
    }
}
