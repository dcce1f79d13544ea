//! One connection of a reactor.

use std::sync::Arc;
use std::time::Instant;

use tercet_net::Transport;

use crate::mqtt::settings::ListenerSettings;
use crate::reactor::face::Face;
use crate::reactor::output::Unwritten;

/// A connection: a transport below, a face above, and what is unfinished between them.
pub struct Connection {
    /// Tells successive owners of a slot apart.
    pub generation: u32,
    /// How far it has come.
    pub phase: Phase,
    /// Set while the socket refuses more output.
    pub write_blocked: bool,
    /// Set while input waits for output to drain.
    pub read_blocked: bool,
    /// Set while the connection is on the list of those to be written this turn.
    pub dirty: bool,
    /// Set while the face waits for the authenticator; input is not read.
    pub held: bool,
    /// Set when the peer has closed its side: read on until the end, as no event will come again.
    pub hung_up: bool,
    /// Set when the outbox was told of unwritten bytes.
    pub behind: bool,
    /// Set when the session waits for output to be written.
    pub held_resume: bool,
    /// Serial of the time limit in force.
    pub limit_serial: u8,
    /// Set while the connection is on the list of those whose answers wait for the log.
    pub awaits_log: bool,
    /// Input is not read before the log takes work again, or this moment.
    pub parked_until: Option<Instant>,
    /// Set while the connection is on the list of those that go on when the log takes work again.
    pub parked: bool,
    /// Set while the wheel holds an entry for that moment.
    pub unpark_armed: bool,
    /// Input is not read before this moment (rate limits).
    pub paused_until: Option<Instant>,
    /// The stream.
    pub transport: Transport,
    /// The beginning of a packet whose rest has not arrived; empty while idle.
    pub tail: Vec<u8>,
    /// Bytes needed in `tail` before decoding is worth trying again.
    pub wanted: usize,
    /// Answers of the face, written before deliveries.
    pub answers: Vec<u8>,
    /// What the socket has not taken.
    pub unwritten: Option<Box<Unwritten>>,
    /// The protocol.
    pub face: Face,
    /// The listener it came by.
    pub listener: Arc<ListenerSettings>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Bytes flow.
    Open,
    /// The face is done; what is written must still go out.
    Closing,
    /// Everything is written and our side is shut down; waiting for the peer to close, so that our last packet
    /// is not lost to a reset.
    Lingering(Instant),
}

impl Connection {
    /// Unwritten bytes.
    pub fn unwritten_len(&self) -> usize {
        self.answers.len() + self.unwritten.as_ref().map_or(0, |unwritten| unwritten.len())
    }
}
