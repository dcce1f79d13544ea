//! Names of those at the other end.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use tercet_coap::block::{BlockSize, Carrier};

/// A peer that sends datagrams, by what keeps its messages apart from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Where it is.
    pub address: SocketAddr,
    /// The address of this machine that it talks to; `None` on a socket that has only one.
    pub local: Option<IpAddr>,
    /// The socket that it reached, by its place among those of the reactor.
    pub socket: u16,
}

impl Hash for Peer {
    /// In as few steps as possible: it is looked up for each request that changes something. The address of this machine is
    /// left to the comparison.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ports = u64::from(self.address.port()) << 16 | u64::from(self.socket);
        match self.address.ip() {
            IpAddr::V4(ip) => state.write_u64(u64::from(u32::from(ip)) << 32 | ports),
            IpAddr::V6(ip) => {
                state.write_u128(u128::from(ip));
                state.write_u64(ports);
            }
        }
    }
}

/// A byte stream, by its connection: that alone tells one from another.
#[derive(Clone, Copy, Debug, Eq)]
pub struct StreamRef {
    /// The connection's slot in its reactor.
    pub slot: u32,
    /// Tells successive owners of a slot apart.
    pub generation: u32,
    /// Whether messages are framed by a WebSocket (RFC 8323 §4.2) rather than by lengths of their own (§3.2).
    pub is_websocket: bool,
    /// Bytes of payload that a message to it may carry.
    pub max_payload: u32,
}

impl PartialEq for StreamRef {
    fn eq(&self, other: &Self) -> bool {
        (self.slot, self.generation) == (other.slot, other.generation)
    }
}

impl Hash for StreamRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.slot, self.generation).hash(state);
    }
}

/// Where a request comes from, and what else is to be sent goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Over datagrams.
    Datagrams(Peer),
    /// Over a stream.
    Stream(StreamRef),
}

impl Origin {
    /// How much a message to it can carry, with blocks of at most this size.
    #[must_use]
    pub fn carrier(&self, largest: BlockSize) -> Carrier {
        match self {
            Self::Datagrams(_) => Carrier::Datagram(largest),
            Self::Stream(stream) => Carrier::Stream(stream.max_payload as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    #[test]
    fn peers_that_differ_by_what_they_send_from_or_to_are_told_apart() {
        let peer = |address: &str, socket| Peer { address: address.parse().unwrap(), local: None, socket };
        let peers = [
            peer("192.0.2.1:5683", 0),
            peer("192.0.2.1:5684", 0),
            peer("192.0.2.2:5683", 0),
            peer("192.0.2.1:5683", 1),
            peer("[2001:db8::1]:5683", 0),
            peer("[2001:db8::2]:5683", 0),
        ];
        let state = RandomState::new();
        let hashes: std::collections::HashSet<u64> = peers.iter().map(|one| state.hash_one(one)).collect();
        assert_eq!(hashes.len(), peers.len());
    }
}
