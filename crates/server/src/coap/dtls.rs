//! Sockets whose datagrams are encrypted: between them and the message layer lies DTLS.
//!
//! What arrives is decrypted and goes the way of all datagrams, by the same names of peers; what leaves to such a socket
//! is encrypted last. A peer that handshakes anew is somebody else: all that was known of it is forgotten.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use tercet_coap::endpoint::Outgoing;
use tercet_net::dtls::{
    Association, DtlsAcceptor, DtlsIdentity, DtlsLimits, DtlsPeer, DtlsSink, PeerGone,
    ReloadableDtlsServerConfig,
};

use super::admission::{self, Proven};
use super::caller::{Caller, Transport};
use super::node::{Node, Turn};
use super::observing::table::Observers;
use super::peer::{Origin, Peer};
use crate::auth::PeerOrigin;
use crate::mqtt::settings::ListenerSettings;

/// DTLS of one socket.
pub struct DtlsPort {
    acceptor: DtlsAcceptor<Peer>,
    callers: HashMap<Peer, Known>,
    news: News,
}

/// Who is at the other end of an association that stands.
struct Known {
    association: Association<Peer>,
    caller: Arc<Caller>,
}

/// What has come and is to be dealt with.
#[derive(Default)]
struct News {
    plaintexts: Vec<u8>,
    events: Vec<Event>,
}

enum Event {
    Opened(Association<Peer>, DtlsIdentity),
    Received(Peer, Range<usize>),
    Gone(Peer),
}

/// Where the acceptor puts what comes of its work.
struct Sink<'a> {
    news: &'a mut News,
    /// Datagrams for the socket.
    sealed: &'a mut Outgoing<Peer>,
    observers: &'a Observers,
}

impl DtlsPeer for Peer {
    fn address(&self, out: &mut Vec<u8>) {
        self.address.address(out);
    }
}

impl DtlsSink<Peer> for Sink<'_> {
    fn transmit(&mut self, peer: Peer, datagram: &[u8]) {
        self.sealed.push(peer, datagram);
    }

    fn opened(&mut self, association: Association<Peer>, identity: &DtlsIdentity) {
        self.news.events.push(Event::Opened(association, identity.clone()));
    }

    fn received(&mut self, association: Association<Peer>, plaintext: &[u8]) {
        let start = self.news.plaintexts.len();
        self.news.plaintexts.extend_from_slice(plaintext);
        self.news.events.push(Event::Received(association.peer, start..self.news.plaintexts.len()));
    }

    fn closed(&mut self, association: Association<Peer>, reason: PeerGone) {
        tracing::debug!(peer = %association.peer.address, ?reason, "DTLS association ended");
        self.news.events.push(Event::Gone(association.peer));
    }

    fn needs(&mut self, association: Association<Peer>) -> bool {
        self.observers.is_observer(Origin::Datagrams(association.peer))
    }
}

impl DtlsPort {
    /// A port without peers.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new(
        config: Arc<ReloadableDtlsServerConfig>,
        limits: DtlsLimits,
        now: Instant,
    ) -> io::Result<Self> {
        let acceptor = DtlsAcceptor::new(config, limits, now).map_err(io::Error::other)?;
        Ok(Self { acceptor, callers: HashMap::new(), news: News::default() })
    }

    /// When something is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.acceptor.next_due()
    }

    /// A datagram has arrived. What comes of it is dealt with by [`Node::hear`].
    pub(super) fn receive(
        &mut self,
        peer: Peer,
        datagram: &[u8],
        now: Instant,
        sealed: &mut Outgoing<Peer>,
        observers: &Observers,
    ) {
        let mut sink = Sink { news: &mut self.news, sealed, observers };
        self.acceptor.receive(peer, datagram, now, &mut sink);
    }

    /// Encrypts a message for a peer. To one that is gone nothing is sent.
    pub(super) fn seal(
        &mut self,
        peer: Peer,
        message: &[u8],
        now: Instant,
        sealed: &mut Outgoing<Peer>,
        observers: &Observers,
    ) {
        let Some(known) = self.callers.get(&peer) else { return };
        let mut sink = Sink { news: &mut self.news, sealed, observers };
        self.acceptor.send(known.association, message, now, &mut sink);
    }

    fn learn(
        &mut self,
        association: Association<Peer>,
        identity: &DtlsIdentity,
        settings: &ListenerSettings,
    ) {
        let proven = match identity {
            DtlsIdentity::PreSharedKey(name) => Proven::Key(name),
            DtlsIdentity::Certificate(names) => Proven::Certificate(Some(names)),
            DtlsIdentity::Unproven => Proven::Certificate(None),
        };
        let address = association.peer.address;
        let origin = PeerOrigin::direct(address.ip());
        let caller = Arc::new(admission::caller(settings, address, origin, Transport::Dtls, proven));
        self.callers.insert(association.peer, Known { association, caller });
    }
}

impl Node {
    /// A datagram has arrived at a socket with DTLS.
    pub(super) fn secure_datagram(&mut self, peer: Peer, bytes: &[u8], turn: &mut Turn<'_>) {
        let number = usize::from(peer.socket);
        let Some(port) = self.sockets.get_mut(number).and_then(|socket| socket.dtls.as_deref_mut()) else {
            return;
        };
        port.receive(peer, bytes, turn.now.monotonic, &mut self.sealed, &self.observers);
        self.hear(number, turn);
    }

    /// Deals with what has come through DTLS to a socket.
    fn hear(&mut self, number: usize, turn: &mut Turn<'_>) {
        let Some(socket) = self.sockets.get_mut(number) else { return };
        let Some(mut port) = socket.dtls.take_if(|port| !port.news.events.is_empty()) else { return };
        let settings = socket.settings.load_full();
        let mut news = std::mem::take(&mut port.news);
        for event in news.events.drain(..) {
            match event {
                Event::Opened(association, identity) => port.learn(association, &identity, &settings),
                Event::Received(peer, range) => {
                    let Some(known) = port.callers.get(&peer) else { continue };
                    let plaintext = news.plaintexts.get(range).unwrap_or_default();
                    self.datagram(peer, plaintext, &known.caller, turn);
                }
                Event::Gone(peer) => {
                    port.callers.remove(&peer);
                    self.observers.client_gone(Origin::Datagrams(peer), &mut self.outlet, turn);
                    self.outlet.endpoint.forget(peer);
                }
            }
        }
        news.plaintexts.clear();
        port.news = news;
        if let Some(socket) = self.sockets.get_mut(number) {
            socket.dtls = Some(port);
        }
    }

    /// Encrypts what has been written for peers behind DTLS.
    pub(super) fn seal(&mut self) {
        if self.sockets.iter().all(|socket| socket.dtls.is_none()) {
            return;
        }
        for (peer, message) in self.outlet.datagrams.iter() {
            let socket = self.sockets.get_mut(usize::from(peer.socket));
            if let Some(port) = socket.and_then(|socket| socket.dtls.as_deref_mut()) {
                port.seal(*peer, message, self.now, &mut self.sealed, &self.observers);
            }
        }
    }

    /// Does what is due in DTLS.
    pub(super) fn run_dtls_due(&mut self, turn: &mut Turn<'_>) {
        for number in 0..self.sockets.len() {
            if let Some(port) = self.sockets.get_mut(number).and_then(|socket| socket.dtls.as_deref_mut()) {
                let mut sink =
                    Sink { news: &mut port.news, sealed: &mut self.sealed, observers: &self.observers };
                port.acceptor.run_due(turn.now.monotonic, &mut sink);
                self.hear(number, turn);
            }
        }
    }

    /// Says goodbye to all peers behind DTLS.
    pub fn close_associations(&mut self, turn: &mut Turn<'_>) {
        self.flush(turn.effects);
        for number in 0..self.sockets.len() {
            if let Some(port) = self.sockets.get_mut(number).and_then(|socket| socket.dtls.as_deref_mut()) {
                let mut sink =
                    Sink { news: &mut port.news, sealed: &mut self.sealed, observers: &self.observers };
                port.acceptor.close_all(turn.now.monotonic, &mut sink);
                self.hear(number, turn);
            }
        }
    }
}
