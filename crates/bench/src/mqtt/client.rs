//! One connection's handshake and role.

use super::receiver::Receiver;
use super::wire::{self, Version};
use crate::engine::LinkId;

/// Names a client of a [`Fleet`](super::Fleet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub(super) usize);

/// How to connect.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Client identifier, unique within the server.
    pub client_id: String,
    /// Whether the session begins and ends with the connection.
    pub clean: bool,
}

impl Connect {
    /// A clean session.
    pub fn clean(client_id: impl Into<String>) -> Self {
        Connect { client_id: client_id.into(), clean: true }
    }

    /// A session that outlives its connection.
    pub fn persistent(client_id: impl Into<String>) -> Self {
        Connect { client_id: client_id.into(), clean: false }
    }
}

/// Where a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// CONNECT not answered yet.
    Connecting,
    /// Connected; every SUBSCRIBE is answered once `unanswered` is zero.
    Connected {
        /// SUBSCRIBE packets without a SUBACK.
        unanswered: u32,
    },
    /// The connection is gone.
    Closed,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) link: LinkId,
    pub(super) state: ClientState,
    pub(super) connect: Vec<u8>,
    /// When CONNECT was sent, in nanoseconds of the load's clock.
    pub(super) connecting_since: u64,
    pub(super) session_present: bool,
    pub(super) receive_maximum: u16,
    pub(super) publisher: Option<usize>,
    pub(super) receiver: Option<Receiver>,
    pub(super) next_packet_id: u16,
    pub(super) pongs: u64,
}

impl Client {
    pub(super) fn new(link: LinkId, version: Version, connect: &Connect, keep_alive: u16) -> Self {
        Client {
            link,
            state: ClientState::Connecting,
            connect: wire::connect(version, &connect.client_id, connect.clean, keep_alive),
            connecting_since: 0,
            session_present: false,
            receive_maximum: u16::MAX,
            publisher: None,
            receiver: None,
            next_packet_id: 0,
            pongs: 0,
        }
    }

    /// The next packet identifier of a SUBSCRIBE.
    pub(super) fn take_packet_id(&mut self) -> u16 {
        self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(1);
        self.next_packet_id
    }
}
