//! Who is at the other end of a connection.
//!
//! Two addresses matter and they must not be mixed up: the one the kernel reports (which cannot be forged once a
//! connection stands) and the one a trusted proxy claims. Logs, limits and permissions want the second; anything
//! that grants a privilege for being local has to look at both, see [`Peer::is_loopback`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where a socket's other end lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// An IPv4 or IPv6 address and port. IPv4 addresses arriving on a dual-stack socket are shown as IPv4.
    Ip(SocketAddr),
    /// A Unix socket; its clients have no name.
    Unix,
}

impl PeerAddress {
    /// The IP address, `None` for a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }

    /// True when the other end is on this machine: a loopback address or a Unix socket.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.ip().is_none_or(|ip| ip.is_loopback())
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// What a trusted proxy said about the client it relays (PROXY protocol).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxiedPeer {
    /// The client's own address; `None` when the proxy does not know it.
    pub client: Option<PeerAddress>,
    /// The address on the proxy that the client connected to, when it is an IP address.
    pub destination: Option<SocketAddr>,
    /// Common name of the client certificate that the proxy verified (TLV `SSL`, sub-type `CN`).
    /// Present only when the proxy reports that verification succeeded.
    pub certificate_common_name: Option<String>,
    /// Application protocol that the client and the proxy negotiated (TLV `ALPN`).
    pub alpn: Option<Vec<u8>>,
    /// Host name that the client asked for (TLV `AUTHORITY`, usually the TLS server name).
    pub authority: Option<String>,
}

/// The other end of a connection: the address seen by the kernel, and the client behind a trusted proxy if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    socket: PeerAddress,
    proxied: Option<Box<ProxiedPeer>>,
}

impl Peer {
    /// A peer that is connected directly.
    #[must_use]
    pub fn direct(socket: PeerAddress) -> Self {
        Self { socket, proxied: None }
    }

    /// A peer that speaks for another: `socket` is the proxy, `client` is whom it relays.
    ///
    /// The caller vouches that the proxy at `socket` is trusted.
    #[must_use]
    pub fn proxied(socket: PeerAddress, client: ProxiedPeer) -> Self {
        Self { socket, proxied: Some(Box::new(client)) }
    }

    /// The client's address: the one the proxy claims, else (no proxy, or one that does not know) the socket's.
    #[must_use]
    pub fn address(&self) -> PeerAddress {
        self.proxied.as_ref().and_then(|proxied| proxied.client).unwrap_or(self.socket)
    }

    /// The address that the kernel reports: the proxy's, if there is one.
    #[must_use]
    pub fn socket_address(&self) -> PeerAddress {
        self.socket
    }

    /// What the proxy said, if the connection came through one.
    #[must_use]
    pub fn proxy(&self) -> Option<&ProxiedPeer> {
        self.proxied.as_deref()
    }

    /// True only when both the socket's other end and the client it relays are on this machine, so that neither a
    /// local proxy in front of remote (or unknown) clients nor a forged header counts as local.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let client_is_local =
            |proxied: &ProxiedPeer| proxied.client.is_some_and(|client| client.is_loopback());
        self.socket.is_loopback() && self.proxied.as_deref().is_none_or(client_is_local)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxied {
            Some(proxied) => match proxied.client {
                Some(client) => write!(f, "{client} via {}", self.socket),
                None => write!(f, "unknown via {}", self.socket),
            },
            None => self.socket.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> PeerAddress {
        PeerAddress::from(text.parse::<SocketAddr>().unwrap())
    }

    fn relayed(client: PeerAddress) -> ProxiedPeer {
        ProxiedPeer { client: Some(client), ..ProxiedPeer::default() }
    }

    #[test]
    fn only_a_client_that_is_local_all_the_way_counts_as_loopback() {
        let (local, far) = (ip("127.0.0.1:5"), ip("192.0.2.1:5"));
        assert!(Peer::direct(local).is_loopback());
        assert!(Peer::direct(PeerAddress::Unix).is_loopback());
        assert!(Peer::direct(ip("[::ffff:127.0.0.1]:5")).is_loopback());
        assert!(!Peer::direct(far).is_loopback());
        assert!(Peer::proxied(local, relayed(local)).is_loopback());
        assert!(!Peer::proxied(local, relayed(far)).is_loopback());
        assert!(!Peer::proxied(far, relayed(local)).is_loopback());
        assert!(!Peer::proxied(local, ProxiedPeer::default()).is_loopback());
    }

    #[test]
    fn addresses_are_shown_as_people_write_them() {
        assert_eq!(Peer::direct(ip("[::ffff:192.0.2.7]:80")).to_string(), "192.0.2.7:80");
        assert_eq!(
            Peer::proxied(PeerAddress::Unix, relayed(ip("192.0.2.7:80"))).to_string(),
            "192.0.2.7:80 via unix"
        );
    }
}
