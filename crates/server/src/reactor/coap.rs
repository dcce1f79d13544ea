//! What the CoAP face does in a turn of its reactor.

use crate::coap::context::{Outcome, Ticket};
use crate::coap::node::{Node, Turn};
use crate::reactor::event_loop::Reactor;

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

    /// Hands frames to the connections that they are for.
    pub(super) fn write_frames(&mut self) {
        for (stream, bytes) in self.coap.outlet.frames.iter() {
            if let Some(connection) = self.connections.get_mut(stream.slot as usize)
                && connection.generation == stream.generation
            {
                connection.answers.extend_from_slice(bytes);
                Self::mark_dirty(&mut self.dirty, stream.slot, connection);
            }
        }
        self.coap.outlet.frames.clear();
    }

    pub(super) fn end_observations(&mut self) {
        self.with_coap(|node, turn, _| node.end_observations(turn));
    }
}
