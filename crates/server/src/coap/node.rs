//! The CoAP side of one reactor.
//!
//! It owns the reactor's sockets and all that is known of the clients that reach them. Nothing here is shared, so nothing is
//! locked: the kernel hands all datagrams of a client to the same socket.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::Position;
use tercet_coap::endpoint::{self, Endpoint, Event, Incoming, Outgoing};
use tercet_coap::reliability::Transmission;
use tercet_coap::{Code, Limits};
use tercet_net::dtls::DtlsLimits;

use super::caller::{Caller, Transport};
use super::context::CoapContext;
use super::counters::Counters;
use super::dtls::DtlsPort;
use super::exchange::amplification::Amplification;
use super::exchange::bodies::Bodies;
use super::exchange::waiting::Waiting;
use super::observing::table::Observers;
use super::outlet::{Outlet, ReplyTo};
use super::peer::{Origin, Peer};
use super::resources::Resources;
use super::settings::CoapSettings;
use super::udp::batch::{self, Outbound, Received};
use super::udp::socket::UdpSocket;
use crate::auth::{Identity, PeerOrigin};
use crate::mqtt::settings::ListenerSettings;
use crate::shared::Shared;

/// Batches received from a socket in one go before others have their turn.
const BATCHES: usize = 8;
/// Longest token that is taken (RFC 8974).
const LONGEST_TOKEN: usize = 64;

/// What a reactor lends its CoAP side.
pub struct Turn<'a> {
    /// The server.
    pub shared: &'a Arc<Shared>,
    /// The time of this turn.
    pub now: Now,
    /// What the reactor is to do.
    pub effects: &'a mut Effects,
    /// The reactor.
    pub reactor: u16,
}

/// What a reactor gets of a listener.
pub struct DatagramDoor {
    /// Its socket.
    pub socket: UdpSocket,
    /// Sockets of multicast groups.
    pub groups: Vec<UdpSocket>,
    /// Settings of the listener, replaced on reload.
    pub settings: Arc<ArcSwap<ListenerSettings>>,
}

/// A socket and the listener that it belongs to.
pub struct Socket {
    /// The socket.
    pub socket: UdpSocket,
    /// Settings of the listener, replaced on reload.
    pub settings: Arc<ArcSwap<ListenerSettings>>,
    /// What lies between the socket and its messages, if they are encrypted.
    pub(super) dtls: Option<Box<DtlsPort>>,
    /// Whoever talks to it now; reused from datagram to datagram.
    caller: Caller,
    /// The number of the socket by which it is answered: its own, unless it is that of a multicast group.
    answers_by: u16,
}

/// The CoAP side of one reactor.
pub struct Node {
    /// Where messages leave.
    pub outlet: Outlet,
    /// Who is told of what.
    pub observers: Observers,
    pub(super) waiting: Waiting,
    pub(super) bodies: Bodies,
    pub(super) amplification: Amplification,
    pub(super) settings: Arc<CoapSettings>,
    pub(super) counters: Counters,
    resources: Resources,
    last_ticket: u32,
    pub(super) sockets: Vec<Socket>,
    received: Vec<Received>,
    /// Encrypted datagrams to be sent.
    pub(super) sealed: Outgoing<Peer>,
    pub(super) now: Instant,
}

impl Node {
    /// Serves these sockets.
    ///
    /// # Errors
    /// The system has no randomness, which DTLS needs.
    pub fn new(doors: Vec<DatagramDoor>, shared: &Shared, now: Now) -> io::Result<Self> {
        let settings = shared.coap.settings.load_full();
        let transmission = Transmission {
            ack_timeout: settings.ack_timeout,
            max_retransmit: settings.max_retransmit,
            // Each notification goes to an observer of its own; how many one client may have is limited elsewhere.
            nstart: u16::MAX,
            ..Transmission::default()
        };
        let codec = Limits { token: LONGEST_TOKEN, ..Limits::default() };
        let endpoint = endpoint::Settings { transmission, codec, ..endpoint::Settings::default() };
        // As unpredictable as the keys of the hash maps: they come from the system.
        let random = || RandomState::new().build_hasher().finish();
        let limits = DtlsLimits {
            peers: settings.max_dtls_peers.div_ceil(shared.reactors.len().max(1)),
            idle: settings.dtls_idle,
            ..DtlsLimits::default()
        };
        let mut sockets: Vec<Socket> = Vec::new();
        for DatagramDoor { socket, groups, settings } in doors {
            let answers_by = sockets.len() as u16;
            let dtls = settings.load().layers.dtls.clone();
            let mut dtls =
                dtls.map(|config| DtlsPort::new(config, limits, now.monotonic).map(Box::new)).transpose()?;
            // There are no groups in DTLS.
            let groups = groups.into_iter().filter(|_| dtls.is_none()).collect::<Vec<_>>();
            for socket in std::iter::once(socket).chain(groups) {
                let caller = stranger(socket.address);
                let dtls = dtls.take();
                sockets.push(Socket { socket, settings: Arc::clone(&settings), dtls, caller, answers_by });
            }
        }
        Ok(Self {
            outlet: Outlet::new(Endpoint::new(endpoint, random()), now),
            observers: Observers::default(),
            waiting: Waiting::default(),
            amplification: Amplification::new([random(), random()]),
            bodies: Bodies::new(&settings, [random(), random()]),
            settings,
            counters: Counters::default(),
            resources: Resources::default(),
            last_ticket: 0,
            sockets,
            received: Vec::with_capacity(batch::MOST),
            sealed: Outgoing::new(),
            now: now.monotonic,
        })
    }

    /// Its sockets, to be watched.
    pub fn sockets(&mut self) -> impl Iterator<Item = &mut mio::net::UdpSocket> {
        self.sockets.iter_mut().map(|socket| &mut socket.socket.socket)
    }

    /// A turn of the reactor begins.
    pub fn begin(&mut self, now: Now, shared: &Shared) {
        self.outlet.set_time(now);
        self.now = now.monotonic;
        let settings = shared.coap.settings.load();
        if !Arc::ptr_eq(&settings, &self.settings) {
            self.settings = Arc::clone(&settings);
        }
    }

    /// What resources may use.
    pub(super) fn context<'a>(&'a mut self, turn: &'a mut Turn<'_>) -> CoapContext<'a> {
        CoapContext {
            shared: turn.shared,
            settings: &self.settings,
            now: turn.now,
            effects: turn.effects,
            resources: &mut self.resources,
            reactor: turn.reactor,
            last_ticket: &mut self.last_ticket,
        }
    }

    /// Receives what has come to a socket and answers it. Returns whether there is more.
    pub fn receive(&mut self, number: usize, scratch: &mut [u8], turn: &mut Turn<'_>) -> bool {
        for _ in 0..BATCHES {
            let Some(socket) = self.sockets.get_mut(number) else { return false };
            let settings = socket.settings.load();
            let (mut caller, answers_by) = (socket.caller.clone(), socket.answers_by);
            let is_secure = socket.dtls.is_some();
            if let Err(error) = batch::receive(&socket.socket, scratch, &mut self.received) {
                return complain(&error);
            }
            let received = std::mem::take(&mut self.received);
            for datagram in &received {
                let bytes = scratch.get(datagram.range.clone()).unwrap_or_default();
                turn.effects.counters.bytes_received += bytes.len() as u64;
                if datagram.is_cut {
                    self.counters.oversized += 1;
                    continue;
                }
                let origin = PeerOrigin::direct(datagram.from.ip());
                caller.address = datagram.from;
                caller.is_local = origin.is_local;
                caller.admitted = settings.anonymous.admits(origin);
                let peer = Peer { address: datagram.from, local: datagram.to, socket: answers_by };
                if is_secure {
                    self.secure_datagram(peer, bytes, turn);
                } else if usize::from(answers_by) == number {
                    self.datagram(peer, bytes, &caller, turn);
                } else {
                    self.group_datagram(peer, bytes, &caller, turn);
                }
            }
            let is_last = received.len() < batch::MOST;
            self.received = received;
            self.flush(turn.effects);
            if is_last {
                return false;
            }
        }
        true
    }

    /// Deals with one datagram.
    pub fn datagram(&mut self, peer: Peer, bytes: &[u8], caller: &Caller, turn: &mut Turn<'_>) {
        let Outlet { endpoint, datagrams, time, .. } = &mut self.outlet;
        match endpoint.receive(peer, bytes, *time, datagrams) {
            Incoming::Request { reply, message } => {
                self.request(ReplyTo::Datagram(reply), message, caller, turn);
            }
            // This side asks for nothing: nobody waits for a response.
            Incoming::Response { receipt, .. } => {
                self.outlet.endpoint.refuse(receipt, &mut self.outlet.datagrams)
            }
            Incoming::Acknowledged { tag } => self.observers.acknowledged(tag),
            Incoming::Rejected { tag } => self.observers.gone(tag, &mut self.outlet, turn),
            Incoming::Nothing => {}
        }
    }

    /// Deals with a datagram that was sent to a group: only discovery is answered, some time within the leisure.
    fn group_datagram(&mut self, peer: Peer, bytes: &[u8], caller: &Caller, turn: &mut Turn<'_>) {
        let incoming = self.outlet.endpoint.receive_multicast(peer, bytes, self.outlet.time);
        if let Incoming::Request { reply, message } = incoming
            && message.code == Code::GET
            && message.path().eq([&b".well-known"[..], b"core"])
        {
            self.request(ReplyTo::Datagram(reply), message, caller, turn);
        }
    }

    /// Does what is due.
    pub fn run_due(&mut self, turn: &mut Turn<'_>) {
        let Outlet { endpoint, datagrams, time, .. } = &mut self.outlet;
        let mut failed: SmallVec<[_; 8]> = SmallVec::new();
        endpoint.run_due(*time, datagrams, |Event::Failed { tag, .. }| failed.push(tag));
        for tag in failed {
            self.observers.gone(tag, &mut self.outlet, turn);
        }
        self.bodies.expire(self.outlet.time);
        self.bursts_due();
        self.waiting_due(turn);
        self.run_dtls_due(turn);
    }

    /// How long until there is something to do.
    #[must_use]
    pub fn timeout(&mut self, now: Instant) -> Option<Duration> {
        let message_layer = self.outlet.next_due(now);
        let waiting = self.waiting.next_due().map(|due| due.saturating_sub(self.outlet.time));
        let dtls = self.sockets.iter().filter_map(|socket| socket.dtls.as_ref()?.next_due()).min();
        let dtls = dtls.map(|due| due.saturating_duration_since(now));
        let bursts = self.bodies.next_due().map(|due| due.saturating_sub(self.outlet.time));
        [message_layer, waiting, dtls, bursts].into_iter().flatten().min()
    }

    /// The earliest position of the log that somebody waits for.
    #[must_use]
    pub fn awaited(&self) -> Option<Position> {
        self.waiting.position()
    }

    /// Whether requests from there wait for their answer.
    #[must_use]
    pub fn is_waiting(&self, origin: Origin) -> bool {
        self.waiting.contains_origin(origin)
    }

    /// A stream is gone, with all that it observed.
    pub fn stream_gone(&mut self, origin: Origin, turn: &Turn<'_>) {
        self.observers.client_gone(origin, &mut self.outlet, turn);
        self.bodies.forget(origin);
    }

    /// Sends the datagrams that have been written.
    pub fn flush(&mut self, effects: &mut Effects) {
        self.seal();
        if self.outlet.datagrams.is_empty() && self.sealed.is_empty() {
            return;
        }
        let mut run: SmallVec<[Outbound<'_>; batch::MOST]> = SmallVec::new();
        let mut of = 0;
        let is_clear = |peer: &Peer| {
            self.sockets.get(usize::from(peer.socket)).is_none_or(|socket| socket.dtls.is_none())
        };
        let clear = self.outlet.datagrams.iter().filter(|(peer, _)| is_clear(peer));
        for (peer, bytes) in clear.chain(self.sealed.iter()) {
            effects.counters.bytes_sent += bytes.len() as u64;
            self.counters.datagrams_sent += 1;
            if run.len() == batch::MOST || (peer.socket != of && !run.is_empty()) {
                self.counters.datagrams_lost += send(&self.sockets, of, &run);
                run.clear();
            }
            of = peer.socket;
            run.push(Outbound { to: peer.address, from: peer.local, bytes });
        }
        self.counters.datagrams_lost += send(&self.sockets, of, &run);
        drop(run);
        self.outlet.datagrams.clear();
        self.sealed.clear();
    }

    /// Adds what was counted since the last time to the server's counts.
    pub fn report(&mut self, shared: &Shared) {
        self.counters.observers = self.observers.len() as u64;
        shared.coap.counts.add(&mut self.counters);
    }
}

/// A client of which nothing is known yet.
fn stranger(address: SocketAddr) -> Caller {
    Caller {
        address,
        is_local: false,
        transport: Transport::Udp,
        identity: Identity::anonymous(),
        client_id: Arc::from(""),
        admitted: false,
    }
}

fn send(sockets: &[Socket], of: u16, run: &[Outbound<'_>]) -> u64 {
    sockets.get(usize::from(of)).map_or(0, |socket| batch::send(&socket.socket, run)) as u64
}

/// What receiving says of earlier datagrams (ICMP) is of no use; anything else is worth a line.
fn complain(error: &io::Error) -> bool {
    let is_late_news = matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    );
    if !is_late_news {
        tracing::warn!(%error, "receiving datagrams failed");
    }
    is_late_news
}
