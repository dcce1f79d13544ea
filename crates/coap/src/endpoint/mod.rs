//! The message layer of one socket, for client and server alike (RFC 7252 §4, RFC 7641 §4.5): a state machine without
//! socket and clock.
//!
//! The caller gives each datagram that arrived to [`Endpoint::receive`] and does what [`Incoming`] says; sends with
//! [`Endpoint::send_confirmable`] and [`Endpoint::send_non_confirmable`]; and calls [`Endpoint::run_due`] when
//! [`Endpoint::next_due`] has come. Whatever is to be sent is appended to an [`Outgoing`], which the caller sends and clears.
//!
//! Invariants:
//! - A request other than GET and FETCH reaches the caller once, however often it arrives within its lifetime; duplicates
//!   are answered here, byte for byte as the first was (§4.5).
//! - A GET that is answered at once leaves no trace: nothing is remembered, looked up or allocated for it.
//! - Every Confirmable message ends in exactly one of [`Incoming::Acknowledged`], [`Incoming::Rejected`], an
//!   [`Incoming::Response`] that names it, or [`Event::Failed`], unless it is cancelled.
//! - Memory is bounded by [`Bounds`], whatever arrives.

mod answering;
mod due;
mod exchange;
mod outgoing;
mod peers;
mod receiving;
mod sending;

use core::hash::Hash;

use thiserror::Error;

use self::{exchange::Exchanges, peers::Peers};
use crate::{
    Code, Limits, Message, Time,
    keyed_hash::Random,
    reliability::{Transmission, wheel::Wheel},
};

pub use self::{exchange::Handle, outgoing::Outgoing};

/// How an endpoint behaves.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Retransmission and pacing.
    pub transmission: Transmission,
    /// How much is remembered.
    pub bounds: Bounds,
    /// What is accepted as a message.
    pub codec: Limits,
}

/// How much an endpoint remembers at most. Beyond, the oldest of the least active peers is forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Peers with state of their own; 100,000. A peer that only reads has none.
    pub peers: usize,
    /// Message IDs remembered of one peer; 64.
    pub seen_per_peer: usize,
    /// Message IDs remembered of all peers, at 40 bytes each; 131,072.
    pub seen: usize,
    /// Bytes of the answers to them, as far as an answer exceeds 22 bytes; 32 MiB.
    pub kept: usize,
    /// Confirmable messages that wait for their turn (NSTART), per peer; 64.
    pub waiting_per_peer: usize,
    /// Confirmable messages under way or waiting, and delayed answers to multicast requests, of all peers; 65,536.
    pub exchanges: usize,
    /// Non-confirmable messages to one peer by whose Message ID a Reset is recognised, one of each tag; 64.
    pub resettable_per_peer: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            peers: 100_000,
            seen_per_peer: 64,
            seen: 131_072,
            kept: 32 << 20,
            waiting_per_peer: 64,
            exchanges: 65_536,
            resettable_per_peer: 64,
        }
    }
}

/// The caller's name for what it sends: an observer, a request. It comes back in what happens to the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

/// What a message begins with, and the caller's name for it.
#[derive(Clone, Copy, Debug)]
pub struct Heading<'a> {
    /// Method or response code.
    pub code: Code,
    /// The token.
    pub token: &'a [u8],
    /// The name under which the fate of the message is reported.
    pub tag: Tag,
}

/// What a datagram means to the caller.
#[derive(Debug)]
pub enum Incoming<'a, P> {
    /// A request to carry out and to answer: with [`Endpoint::respond`], [`Endpoint::suppress`] or [`Endpoint::reject`].
    Request {
        /// Where the answer goes.
        reply: Reply<P>,
        /// The request.
        message: Message<'a>,
    },
    /// A response. Unless it came [piggybacked](Receipt::is_piggybacked), it is to be [accepted](Endpoint::accept) or
    /// [refused](Endpoint::refuse), by whether its token is known for this peer.
    Response {
        /// What to accept or refuse it with.
        receipt: Receipt<P>,
        /// The response.
        message: Message<'a>,
        /// The Confirmable request that it ends, if that was not acknowledged before. Its token matches.
        request: Option<Tag>,
    },
    /// The peer acknowledged a Confirmable message; the response, if it was a request, comes later.
    Acknowledged {
        /// The message.
        tag: Tag,
    },
    /// The peer rejected a message with a Reset: it cannot make sense of it. An observer is to be removed.
    Rejected {
        /// The message.
        tag: Tag,
    },
    /// Nothing to do: a duplicate, a ping, or what cannot be understood. It was dealt with.
    Nothing,
}

/// Where the answer to a request goes. It may be kept until the answer is known.
#[derive(Debug)]
pub struct Reply<P> {
    peer: P,
    /// The peer's slot when it has one.
    slot: Option<u32>,
    id: u16,
    stage: Stage,
    tag: Option<Tag>,
}

/// How a request is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In the acknowledgement; a duplicate is carried out again.
    Read,
    /// In the acknowledgement, which is kept for duplicates.
    Kept,
    /// In a Confirmable message of its own, as the request is acknowledged.
    Acknowledged,
    /// In a Non-confirmable message.
    NonConfirmable,
    /// The same, some time within the leisure.
    Multicast,
}

impl<P: Copy> Reply<P> {
    /// Who asked.
    pub fn peer(&self) -> P {
        self.peer
    }

    /// The request was Confirmable.
    pub fn is_confirmable(&self) -> bool {
        matches!(self.stage, Stage::Read | Stage::Kept | Stage::Acknowledged)
    }

    /// The request was sent to a group: errors are not answered (RFC 7252 §8.2).
    pub fn is_multicast(&self) -> bool {
        self.stage == Stage::Multicast
    }

    /// The request was acknowledged already: the response will be a message of its own.
    pub fn is_acknowledged(&self) -> bool {
        self.stage == Stage::Acknowledged
    }

    /// Reports the fate of the response under `tag` if it is a message of its own.
    pub fn set_tag(&mut self, tag: Tag) {
        self.tag = Some(tag);
    }
}

/// What a response is accepted or refused with.
#[derive(Clone, Copy, Debug)]
pub struct Receipt<P> {
    peer: P,
    slot: Option<u32>,
    id: u16,
    kind: crate::Kind,
}

impl<P: Copy> Receipt<P> {
    /// Who responded.
    pub fn peer(&self) -> P {
        self.peer
    }

    /// The response came in the acknowledgement of its request: nothing remains to be done.
    pub fn is_piggybacked(&self) -> bool {
        self.kind == crate::Kind::Acknowledgement
    }
}

/// What happened without a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<P> {
    /// A Confirmable message was transmitted as often as it may be and not acknowledged: the peer is gone (§4.2).
    Failed {
        /// The peer.
        peer: P,
        /// The message.
        tag: Tag,
    },
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// More messages wait for this peer, or for all, than the bounds allow.
    #[error("too many messages wait to be sent")]
    TooManyWaiting,
    /// All Message IDs were used with this peer within EXCHANGE_LIFETIME (§4.4).
    #[error("the peer was sent all 65536 Message IDs within their lifetime")]
    NoMessageId,
    /// The peer does not answer, and was sent as much as PROBING_RATE allows (§4.7).
    #[error("the peer does not answer")]
    Probing,
    /// All peers that may be known have messages under way.
    #[error("too many peers")]
    TooManyPeers,
}

/// What an endpoint counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Datagrams that were no CoAP message.
    pub malformed: u64,
    /// Duplicates that were answered, or passed over, without further effect.
    pub duplicates: u64,
    /// Pings.
    pub pings: u64,
    /// Resets that were sent.
    pub resets: u64,
    /// Retransmissions.
    pub retransmissions: u64,
    /// Confirmable messages that were given up.
    pub failures: u64,
    /// Messages that were not sent for want of a Message ID or of room.
    pub unsent: u64,
    /// Non-confirmable responses whose Message ID was used before within its lifetime: the peer asked more than 265 times
    /// a second.
    pub reused_ids: u64,
    /// Peers that were forgotten before their time.
    pub evicted: u64,
}

/// The message layer of one socket. `P` is the caller's name for a peer: its address, and whatever else keeps peers apart,
/// such as the address it asked or its security association.
#[derive(Debug)]
pub struct Endpoint<P> {
    settings: Settings,
    /// In whole seconds, rounded up.
    exchange_lifetime: u32,
    non_lifetime: u32,
    peers: Peers<P>,
    exchanges: Exchanges,
    wheel: Wheel,
    random: Random,
    /// Until this second there are reads whose duplicates must be recognised.
    reads_kept_until: u32,
    statistics: Statistics,
}

impl<P: Copy + Eq + Hash> Endpoint<P> {
    /// An endpoint that knows no peer. `seed` has to be unpredictable: Message IDs, tokens and delays are drawn from it.
    pub fn new(settings: Settings, seed: u64) -> Self {
        let seconds = |time: Time| u32::try_from(time.as_secs() + 1).unwrap_or(u32::MAX);
        let (exchange_lifetime, non_lifetime) =
            (settings.transmission.exchange_lifetime(), settings.transmission.non_lifetime());
        Self {
            settings,
            exchange_lifetime: seconds(exchange_lifetime),
            non_lifetime: seconds(non_lifetime),
            peers: Peers::new(),
            exchanges: Exchanges::new(),
            wheel: Wheel::new(),
            random: Random::new(seed),
            reads_kept_until: 0,
            statistics: Statistics::default(),
        }
    }

    /// What was counted so far.
    pub fn statistics(&self) -> Statistics {
        Statistics { evicted: self.peers.evicted, ..self.statistics }
    }

    /// How many peers have state here.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// How many Message IDs of peers are remembered.
    pub fn seen_count(&self) -> usize {
        self.peers.seen_len()
    }

    /// How many bytes the answers kept for duplicates take, as far as they are not short.
    pub fn kept_bytes(&self) -> usize {
        self.peers.kept_bytes()
    }

    /// How many messages are under way, waiting or delayed.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// A token that nobody else predicts (RFC 7252 §5.3.1). It is unlikely to be, but not known to be, unused.
    pub fn fresh_token(&mut self) -> [u8; 8] {
        self.random.next_u64().to_be_bytes()
    }

    /// Forgets all about `peer`: its association ended. What is under way to it is dropped without an event.
    pub fn forget(&mut self, peer: P) {
        if let Some(slot) = self.peers.find(peer)
            && let Some(known) = self.peers.remove(slot)
        {
            for exchange in known.in_flight.iter().map(|&(_, exchange)| exchange).chain(known.waiting) {
                self.drop_exchange(exchange);
            }
            if known.delayed > 0 {
                for exchange in self.exchanges.delayed_to(slot) {
                    self.drop_exchange(exchange);
                }
            }
        }
    }

    fn drop_exchange(&mut self, exchange: u32) {
        self.wheel.cancel(exchange);
        self.exchanges.remove(exchange);
    }
}

/// A time in whole seconds, as peers and Message IDs are aged.
fn seconds(now: Time) -> u32 {
    now.as_secs() as u32
}
