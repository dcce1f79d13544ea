//! All DTLS peers of one server socket.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cookie::{CookieMint, hello_verify_request};
use super::error::DtlsError;
use super::hello::ClientHello;
use super::record::{ContentType, Record, clear_alert};
use super::server::ReloadableDtlsServerConfig;
use super::session::{DtlsIdentity, DtlsSession, SessionEvent};

/// How the caller names a peer: its address, and whatever else tells apart where datagrams come from.
pub trait DtlsPeer: Copy + Eq + Hash + Ord + Debug {
    /// Writes the bytes of the address that cookies are bound to; all of a peer's datagrams have the same.
    fn address(&self, out: &mut Vec<u8>);
}

impl DtlsPeer for SocketAddr {
    fn address(&self, out: &mut Vec<u8>) {
        match self.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
        out.extend_from_slice(&self.port().to_be_bytes());
    }
}

/// One association with a peer. A peer that handshakes anew gets another one, and nothing of the old one holds for it:
/// neither tokens nor message ids nor observations (RFC 7252 §4.4, §9.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Association<P> {
    /// The peer.
    pub peer: P,
    /// Which of the associations of this acceptor it is.
    pub serial: u64,
}

/// Why an association ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerGone {
    /// The peer said goodbye, or gave up with an alert.
    Closed,
    /// The peer has a new association.
    Replaced,
    /// Nothing was heard from or said to it for [`DtlsLimits::idle`], or its place was needed.
    Idle,
    /// Something went wrong.
    Failed(DtlsError),
}

/// Where an acceptor puts what comes of its work.
pub trait DtlsSink<P> {
    /// Send this datagram to the peer.
    fn transmit(&mut self, peer: P, datagram: &[u8]);
    /// A peer has proven who it is.
    fn opened(&mut self, association: Association<P>, identity: &DtlsIdentity);
    /// A peer sent this message.
    fn received(&mut self, association: Association<P>, plaintext: &[u8]);
    /// An association that was opened has ended.
    fn closed(&mut self, association: Association<P>, reason: PeerGone);
    /// Whether the caller wants something of the peer still, such as an observation, so that it does not count as
    /// idle.
    fn needs(&mut self, association: Association<P>) -> bool;
}

/// How much an acceptor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DtlsLimits {
    /// Handshakes at once, of clients whose address is proven. One more ends the oldest.
    pub handshakes: usize,
    /// Peers at once. When all places are taken, those silent longest make room if they have been silent for a
    /// minute; otherwise new clients get no answer.
    pub peers: usize,
    /// After how long without a message a peer is dropped.
    pub idle: Duration,
}

impl Default for DtlsLimits {
    /// 1,024 handshakes, 100,000 peers, one hour.
    fn default() -> Self {
        Self { handshakes: 1024, peers: 100_000, idle: Duration::from_secs(3600) }
    }
}

/// How long a peer has to have been silent to make room for another.
const YIELDS_AFTER: Duration = Duration::from_secs(60);

/// All DTLS peers of one server socket. Feed it the datagrams that arrive and the passing of time.
pub struct DtlsAcceptor<P> {
    config: Arc<ReloadableDtlsServerConfig>,
    limits: DtlsLimits,
    cookies: CookieMint,
    began: Instant,
    peers: HashMap<P, Peer>,
    /// Handshakes by when they are due.
    due: BTreeSet<(Instant, P)>,
    /// Handshakes by when they began, with some that are over.
    handshakes: VecDeque<Association<P>>,
    handshaking: usize,
    /// Peers that stand, by when they were last looked at for being idle.
    watched: VecDeque<(Instant, Association<P>)>,
    standing: usize,
    next_serial: u64,
    address: Vec<u8>,
}

/// What is known of an address. At least one of the two is there.
#[derive(Default)]
struct Peer {
    standing: Option<Box<Standing>>,
    beginning: Option<Box<Beginning>>,
}

struct Standing {
    session: DtlsSession,
    serial: u64,
    random: [u8; 32],
    active_at: Instant,
}

struct Beginning {
    session: DtlsSession,
    serial: u64,
    random: [u8; 32],
    due: Instant,
}

impl<P: DtlsPeer> DtlsAcceptor<P> {
    /// An acceptor without peers.
    ///
    /// # Errors
    /// [`DtlsError::Engine`] when the system has no randomness.
    pub fn new(
        config: Arc<ReloadableDtlsServerConfig>,
        limits: DtlsLimits,
        now: Instant,
    ) -> Result<Self, DtlsError> {
        Ok(Self {
            config,
            limits,
            cookies: CookieMint::new()?,
            began: now,
            peers: HashMap::new(),
            due: BTreeSet::new(),
            handshakes: VecDeque::new(),
            handshaking: 0,
            watched: VecDeque::new(),
            standing: 0,
            next_serial: 0,
            address: Vec::new(),
        })
    }

    /// A datagram has arrived.
    pub fn receive(&mut self, peer: P, datagram: &[u8], now: Instant, sink: &mut impl DtlsSink<P>) {
        if ClientHello::begins(datagram) {
            self.hello(peer, datagram, now, sink);
        } else if let Some((first, _)) = Record::split(datagram) {
            self.record(peer, first, datagram, now, sink);
        }
    }

    /// Sends a message to a peer. Nothing happens if the association has ended.
    pub fn send(
        &mut self,
        association: Association<P>,
        plaintext: &[u8],
        now: Instant,
        sink: &mut impl DtlsSink<P>,
    ) {
        let Some(standing) = self.peers.get_mut(&association.peer).and_then(|peer| peer.standing.as_mut())
        else {
            return;
        };
        if standing.serial != association.serial {
            return;
        }
        standing.active_at = now;
        let sent = standing.session.send(plaintext, now, &mut |event| {
            if let SessionEvent::Transmit(datagram) = event {
                sink.transmit(association.peer, datagram);
            }
        });
        if let Err(error) = sent {
            self.drop_standing(association, PeerGone::Failed(error), sink);
        }
    }

    /// Ends an association, with a goodbye to the peer.
    pub fn close(&mut self, association: Association<P>, now: Instant, sink: &mut impl DtlsSink<P>) {
        if let Some(standing) = self.peers.get_mut(&association.peer).and_then(|peer| peer.standing.as_mut())
            && standing.serial == association.serial
        {
            standing.session.close(now, &mut |event| {
                if let SessionEvent::Transmit(datagram) = event {
                    sink.transmit(association.peer, datagram);
                }
            });
            self.drop_standing(association, PeerGone::Closed, sink);
        }
    }

    /// Ends all associations, with a goodbye to each peer.
    pub fn close_all(&mut self, now: Instant, sink: &mut impl DtlsSink<P>) {
        let all = self.peers.iter().filter_map(|(&peer, at)| {
            at.standing.as_ref().map(|standing| Association { peer, serial: standing.serial })
        });
        for association in all.collect::<Vec<_>>() {
            self.close(association, now, sink);
        }
    }

    /// When [`run_due`](Self::run_due) is to be called.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let handshake = self.due.first().map(|&(at, _)| at);
        let idle = self.watched.front().map(|&(seen, _)| seen + self.limits.idle);
        handshake.into_iter().chain(idle).min()
    }

    /// Retransmits, gives up and drops what is due.
    pub fn run_due(&mut self, now: Instant, sink: &mut impl DtlsSink<P>) {
        while let Some(&(at, peer)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            self.drive(peer, now, sink, |session, on| session.run_due(now, on));
        }
        while let Some(&(seen, association)) = self.watched.front()
            && seen + self.limits.idle <= now
        {
            self.watched.pop_front();
            self.judge_idle(association, self.limits.idle, now, sink);
        }
    }

    /// Associations that stand.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.standing
    }

    /// Handshakes under way.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.handshaking
    }

    fn hello(&mut self, peer: P, datagram: &[u8], now: Instant, sink: &mut impl DtlsSink<P>) {
        let Some(hello) = ClientHello::parse(datagram) else { return };
        self.address.clear();
        peer.address(&mut self.address);
        let seconds = now.saturating_duration_since(self.began).as_secs() as u32;
        if !self.cookies.is_valid(&self.address, &hello, seconds) {
            let cookie = self.cookies.mint(&self.address, &hello, seconds);
            sink.transmit(peer, &hello_verify_request(&hello, &cookie));
            return;
        }
        if let Some(known) = self.peers.get(&peer) {
            if known.beginning.as_ref().is_some_and(|beginning| beginning.random == *hello.random) {
                // The client has not heard our flight.
                self.drive(peer, now, sink, |session, on| session.receive(datagram, now, on));
                return;
            }
            if known.standing.as_ref().is_some_and(|standing| standing.random == *hello.random) {
                // A late copy of the hello that the association began with.
                return;
            }
        }
        self.begin(peer, &hello, datagram, now, sink);
    }

    /// Begins a handshake. An association that stands is not touched by it.
    fn begin(
        &mut self,
        peer: P,
        hello: &ClientHello<'_>,
        datagram: &[u8],
        now: Instant,
        sink: &mut impl DtlsSink<P>,
    ) {
        let config = self.config.current();
        let Some(proof) = hello.proof(|proof| config.accepts(proof)) else {
            sink.transmit(peer, &clear_alert(40));
            return;
        };
        if !self.make_room(now, sink) {
            return;
        }
        let accepted = DtlsSession::accept(&config, proof, hello, datagram, now, &mut |event| {
            if let SessionEvent::Transmit(datagram) = event {
                sink.transmit(peer, datagram);
            }
        });
        let Ok(session) = accepted else { return };
        self.next_serial += 1;
        let serial = self.next_serial;
        let due = session.due().unwrap_or(now);
        let beginning = Beginning { session, serial, random: *hello.random, due };
        let replaced = self.peers.entry(peer).or_default().beginning.replace(Box::new(beginning));
        if let Some(old) = replaced {
            self.due.remove(&(old.due, peer));
        } else {
            self.handshaking += 1;
        }
        self.due.insert((due, peer));
        self.handshakes.push_back(Association { peer, serial });
    }

    /// Whether there is a place for one more handshake, and a peer that comes of it.
    fn make_room(&mut self, now: Instant, sink: &mut impl DtlsSink<P>) -> bool {
        if self.standing >= self.limits.peers {
            let Some((_, association)) = self.watched.pop_front() else { return false };
            if !self.judge_idle(association, YIELDS_AFTER.min(self.limits.idle), now, sink) {
                return false;
            }
        }
        while self.handshaking >= self.limits.handshakes.max(1)
            || self.handshakes.len() > 2 * self.limits.handshakes
        {
            let Some(oldest) = self.handshakes.pop_front() else { break };
            if self.beginning(oldest).is_some() {
                self.drop_beginning(oldest.peer);
            }
        }
        true
    }

    fn beginning(&mut self, association: Association<P>) -> Option<&mut Beginning> {
        let beginning = self.peers.get_mut(&association.peer)?.beginning.as_deref_mut()?;
        (beginning.serial == association.serial).then_some(beginning)
    }

    fn record(
        &mut self,
        peer: P,
        first: Record<'_>,
        datagram: &[u8],
        now: Instant,
        sink: &mut impl DtlsSink<P>,
    ) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        // While a peer handshakes anew, what belongs to handshakes is the new association's, and data the old one's
        // (RFC 6347 §4.2.8).
        let is_handshake = first.epoch == 0 || first.content_type == ContentType::Handshake;
        if known.beginning.is_some() && (is_handshake || known.standing.is_none()) {
            self.drive(peer, now, sink, |session, on| session.receive(datagram, now, on));
        } else if let Some(standing) = &mut known.standing {
            let association = Association { peer, serial: standing.serial };
            let mut closed = false;
            let received = standing.session.receive(datagram, now, &mut |event| match event {
                SessionEvent::Transmit(datagram) => sink.transmit(peer, datagram),
                SessionEvent::Plaintext(plaintext) => {
                    standing.active_at = now;
                    sink.received(association, plaintext);
                }
                SessionEvent::Closed => closed = true,
                SessionEvent::Connected => {}
            });
            match received {
                Err(DtlsError::Closed | DtlsError::Protocol(_)) => {
                    self.drop_standing(association, PeerGone::Closed, sink);
                }
                Err(error) => self.drop_standing(association, PeerGone::Failed(error), sink),
                Ok(()) if closed => self.drop_standing(association, PeerGone::Closed, sink),
                Ok(()) => {}
            }
        }
    }

    /// Lets the handshake of a peer go on.
    fn drive(
        &mut self,
        peer: P,
        now: Instant,
        sink: &mut impl DtlsSink<P>,
        work: impl FnOnce(&mut DtlsSession, &mut dyn FnMut(SessionEvent<'_>)) -> Result<(), DtlsError>,
    ) {
        let Some(beginning) = self.peers.get_mut(&peer).and_then(|known| known.beginning.as_deref_mut())
        else {
            return;
        };
        self.due.remove(&(beginning.due, peer));
        // What came in the same datagram as the end of the handshake is handed on after the beginning is announced.
        let mut early = Vec::new();
        let worked = work(&mut beginning.session, &mut |event| match event {
            SessionEvent::Transmit(datagram) => sink.transmit(peer, datagram),
            SessionEvent::Plaintext(plaintext) => early.push(plaintext.to_vec()),
            SessionEvent::Connected | SessionEvent::Closed => {}
        });
        match worked {
            Err(_) => self.drop_beginning(peer),
            Ok(()) if beginning.session.is_connected() => self.stand(peer, &early, now, sink),
            Ok(()) => {
                beginning.due = beginning.session.due().unwrap_or(now);
                self.due.insert((beginning.due, peer));
            }
        }
    }

    /// A handshake is over: the new association takes the place of the old one.
    fn stand(&mut self, peer: P, early: &[Vec<u8>], now: Instant, sink: &mut impl DtlsSink<P>) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let Some(beginning) = known.beginning.take() else { return };
        let Beginning { session, serial, random, .. } = *beginning;
        let identity = session.identity().clone();
        let standing = Standing { session, serial, random, active_at: now };
        let replaced = known.standing.replace(Box::new(standing));
        self.handshaking -= 1;
        match replaced {
            Some(old) => sink.closed(Association { peer, serial: old.serial }, PeerGone::Replaced),
            None => self.standing += 1,
        }
        let association = Association { peer, serial };
        self.watched.push_back((now, association));
        if self.watched.len() > 2 * self.standing + 64 {
            // Those of peers that handshake over and over.
            let peers = &self.peers;
            self.watched.retain(|(_, watched)| {
                let standing = peers.get(&watched.peer).and_then(|known| known.standing.as_ref());
                standing.is_some_and(|standing| standing.serial == watched.serial)
            });
        }
        sink.opened(association, &identity);
        for plaintext in early {
            sink.received(association, plaintext);
        }
    }

    /// Drops an association that has been silent for `idle`, and watches on if it has not. Whether its place is free.
    fn judge_idle(
        &mut self,
        association: Association<P>,
        idle: Duration,
        now: Instant,
        sink: &mut impl DtlsSink<P>,
    ) -> bool {
        let Some(standing) = self.peers.get_mut(&association.peer).and_then(|peer| peer.standing.as_mut())
        else {
            return true;
        };
        if standing.serial != association.serial {
            return true;
        }
        if standing.active_at + idle <= now {
            if !sink.needs(association) {
                self.close_silent(association, now, sink);
                return true;
            }
            standing.active_at = now;
        }
        self.watched.push_back((standing.active_at, association));
        false
    }

    fn close_silent(&mut self, association: Association<P>, now: Instant, sink: &mut impl DtlsSink<P>) {
        if let Some(standing) = self.peers.get_mut(&association.peer).and_then(|peer| peer.standing.as_mut())
        {
            standing.session.close(now, &mut |event| {
                if let SessionEvent::Transmit(datagram) = event {
                    sink.transmit(association.peer, datagram);
                }
            });
        }
        self.drop_standing(association, PeerGone::Idle, sink);
    }

    fn drop_standing(&mut self, association: Association<P>, reason: PeerGone, sink: &mut impl DtlsSink<P>) {
        if let Entry::Occupied(mut known) = self.peers.entry(association.peer)
            && known.get().standing.as_ref().is_some_and(|standing| standing.serial == association.serial)
        {
            known.get_mut().standing = None;
            if known.get().beginning.is_none() {
                known.remove();
            }
            self.standing -= 1;
            sink.closed(association, reason);
        }
    }

    fn drop_beginning(&mut self, peer: P) {
        if let Entry::Occupied(mut known) = self.peers.entry(peer)
            && let Some(beginning) = known.get_mut().beginning.take()
        {
            self.due.remove(&(beginning.due, peer));
            self.handshaking -= 1;
            if known.get().standing.is_none() {
                known.remove();
            }
        }
    }
}
