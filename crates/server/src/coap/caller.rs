//! Who asks.

use std::net::SocketAddr;
use std::sync::Arc;

use tercet_broker::permission::Subject;

use crate::auth::{Identity, PeerOrigin};

/// The client behind a request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it is on this machine.
    pub is_local: bool,
    /// How it is connected.
    pub transport: Transport,
    /// Who it proved to be.
    pub identity: Identity,
    /// What it is called in rules about client identifiers; empty for those without a name.
    pub client_id: Arc<str>,
    /// Whether it may act as what it is. If not, only credentials in the request itself help; without them the answer is
    /// 4.01.
    pub admitted: bool,
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Datagrams, encrypted.
    Dtls,
    /// A TCP stream.
    Tcp,
    /// A TCP stream, encrypted.
    Tls,
    /// A WebSocket.
    Ws,
    /// A WebSocket, encrypted.
    Wss,
}

impl Transport {
    /// Whether messages can be lost, and so have the message layer of RFC 7252 below them.
    #[must_use]
    pub fn is_datagrams(self) -> bool {
        matches!(self, Self::Udp | Self::Dtls)
    }

    /// Whether nobody else reads along.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Dtls | Self::Tls | Self::Wss)
    }
}

impl Caller {
    /// The caller as the subject of a permission check.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        self.identity.subject(&self.client_id)
    }

    /// The caller as authentication sees it.
    #[must_use]
    pub fn origin(&self) -> PeerOrigin {
        PeerOrigin { ip: Some(self.address.ip().to_canonical()), is_local: self.is_local }
    }
}
