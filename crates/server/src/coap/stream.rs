//! CoAP over byte streams (RFC 8323): TCP, TLS and WebSocket.
//!
//! - [`framing`]: messages in the bytes.
//! - [`connection`]: signals, limits of time and size, and how a connection ends.
//!
//! Requests go into the same pipeline as those in datagrams; what it writes for a stream is handed out at the end of the
//! turn, so that answers and notifications to one client leave in one write.

mod connection;
mod framing;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tercet_broker::outbox::ConnectionRef;
use tercet_coap::Message;
use tercet_net::{PeerAddress, Transport as Stream};

pub use connection::CoapConnection;

use self::connection::{Behind, Serves};
use super::admission::{self, Proven};
use super::caller::{Caller, Transport};
use super::node::{Node, Turn};
use super::outlet::ReplyTo;
use super::peer::{Origin, StreamRef};
use crate::auth::PeerOrigin;
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::{FaceContext, Step};

impl CoapConnection {
    /// The name of the connection in the pipeline.
    #[must_use]
    pub fn stream(&self, slot: u32, generation: u32) -> StreamRef {
        StreamRef { slot, generation, is_websocket: self.is_websocket(), max_payload: self.max_payload() }
    }

    /// Works on what has arrived. Returns how many bytes were used and how to go on.
    pub fn work(&mut self, input: &[u8], out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> (usize, Step) {
        let transport = cx.transport;
        let caller = self.caller(|settings, is_websocket| who(settings, transport, is_websocket));
        let ConnectionRef { slot, generation, .. } = cx.connection;
        let now = cx.now.monotonic;
        let stream = self.stream(slot, generation);
        let (node, turn) = cx.coap();
        self.receive(input, out, now, &mut Pipeline { node, stream, caller: &caller, turn })
    }

    /// All messages that the pipeline has for the connection are put: says what had to wait for them.
    pub fn settle(&mut self, out: &mut Vec<u8>, node: &Node, stream: StreamRef) -> Step {
        self.go_on(out, &Waiting { node, stream })
    }

    /// The time limit has passed.
    pub fn limit_passed(&mut self, out: &mut Vec<u8>, cx: &FaceContext<'_>) -> Step {
        self.timed_out(out, cx.now.monotonic)
    }

    /// An administrator closes the connection.
    pub fn closed_by_administrator(&mut self, reason: &str, out: &mut Vec<u8>) -> Step {
        self.close(reason, out)
    }

    /// The server lets go of the connection.
    pub fn evicted(&mut self, out: &mut Vec<u8>) {
        self.release(out);
    }
}

/// The pipeline of the reactor, as one connection sees it.
struct Pipeline<'a, 'b> {
    node: &'a mut Node,
    stream: StreamRef,
    caller: &'a Arc<Caller>,
    turn: Turn<'b>,
}

impl Serves for Pipeline<'_, '_> {
    fn request(&mut self, message: &Message<'_>, max_payload: u32) {
        self.stream.max_payload = max_payload;
        self.node.request(ReplyTo::Stream(self.stream), *message, self.caller, &mut self.turn);
    }
}

impl Behind for Pipeline<'_, '_> {
    /// Answers that are written are handed out at the end of the turn.
    fn is_waiting(&self) -> bool {
        self.node.outlet.frames.are_for(self.stream) || self.node.is_waiting(Origin::Stream(self.stream))
    }
}

/// The pipeline while a message of its own goes out.
struct Waiting<'a> {
    node: &'a Node,
    stream: StreamRef,
}

impl Behind for Waiting<'_> {
    fn is_waiting(&self) -> bool {
        self.node.is_waiting(Origin::Stream(self.stream))
    }
}

/// Who is at the other end of a stream.
fn who(settings: &ListenerSettings, stream: &Stream, is_websocket: bool) -> Caller {
    let tls = stream.tls_info();
    let transport = match (is_websocket, tls.is_some()) {
        (false, false) => Transport::Tcp,
        (false, true) => Transport::Tls,
        (true, false) => Transport::Ws,
        (true, true) => Transport::Wss,
    };
    let proven = match &tls {
        Some(tls) => Proven::Certificate(tls.identity.as_ref()),
        None => Proven::Nothing,
    };
    let address = match stream.peer().address() {
        PeerAddress::Ip(address) => address,
        PeerAddress::Unix => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    };
    admission::caller(settings, address, PeerOrigin::of(stream.peer()), transport, proven)
}
