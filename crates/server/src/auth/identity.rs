//! The outcome of an authentication.

use std::net::IpAddr;
use std::sync::Arc;
use tercet_broker::permission::Subject;
use tercet_net::Peer;

/// How a client proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// User name and password.
    Password,
    /// A verified TLS client certificate.
    Certificate,
    /// SCRAM-SHA-256.
    Scram,
    /// A key shared with the server (DTLS).
    PreSharedKey,
    /// None: the configuration says whom clients without a name are taken for.
    Assumed,
}

/// Who a client is. A name is only ever one that was proven.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    proven: Option<(Arc<str>, Proof)>,
}

impl Identity {
    /// A client that was let in without a name.
    pub const fn anonymous() -> Self {
        Self { proven: None }
    }

    /// A client that proved to be `user`.
    pub fn user(user: Arc<str>, proof: Proof) -> Self {
        Self { proven: Some((user, proof)) }
    }

    /// The proven user name; `None` for an anonymous client.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.proven.as_ref().map(|(name, _)| name)
    }

    /// How the name was proven; `None` for an anonymous client.
    pub fn proof(&self) -> Option<Proof> {
        self.proven.as_ref().map(|(_, proof)| *proof)
    }

    /// The subject to check permissions for.
    pub fn subject<'a>(&'a self, client_id: &'a str) -> Subject<'a> {
        Subject { user: self.name().map(AsRef::as_ref), client_id }
    }
}

/// Why a client was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The client may not connect: anonymous access is not allowed here, or a certificate is missing.
    /// MQTT 5: 0x87, MQTT 3.x: 5.
    NotAuthorized,
    /// User name or password is wrong. MQTT 5: 0x86, MQTT 3.x: 4.
    BadCredentials,
    /// The user may only come from this machine. MQTT 5: 0x87, MQTT 3.x: 5.
    LoopbackOnly,
    /// Too many failures from this address; nothing was checked. MQTT 5: 0x8A, MQTT 3.x: 5.
    Banned,
}

/// The answer to an authentication request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Welcome.
    Granted(Identity),
    /// Refused.
    Denied(Denial),
    /// Too many password checks are waiting; the client should come back later. MQTT 5: 0x89, MQTT 3.x: 3.
    Busy,
}

/// Where a client really comes from, as far as authentication cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerOrigin {
    /// The client's IP address (the one a trusted proxy reports, if there is one); `None` for a Unix socket.
    pub ip: Option<IpAddr>,
    /// True only when the client, and a proxy in between if there is one, are on this machine.
    pub is_local: bool,
}

impl PeerOrigin {
    /// A peer that is connected directly.
    pub fn direct(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        Self { ip: Some(ip), is_local: ip.is_loopback() }
    }

    /// A peer as the network layer knows it. Local only if both ends of a proxied connection are.
    pub fn of(peer: &Peer) -> Self {
        Self { ip: peer.address().ip(), is_local: peer.is_loopback() }
    }

    /// A peer on a Unix socket.
    pub const fn unix() -> Self {
        Self { ip: None, is_local: true }
    }
}
