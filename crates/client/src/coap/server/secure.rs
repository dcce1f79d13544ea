//! DTLS under the server: datagrams in the clear for the message layer, and who their senders are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tercet_net::dtls::{
    Association, DtlsAcceptor, DtlsError, DtlsIdentity, DtlsLimits, DtlsSink, PeerGone,
    ReloadableDtlsServerConfig,
};

/// All DTLS peers of a socket.
pub(super) struct Secure {
    acceptor: DtlsAcceptor<SocketAddr>,
    work: Work,
}

/// What the acceptor has for the server.
#[derive(Default)]
struct Work {
    peers: HashMap<SocketAddr, (Association<SocketAddr>, Option<Arc<str>>)>,
    transmit: Vec<(SocketAddr, Vec<u8>)>,
    received: Vec<(SocketAddr, Vec<u8>)>,
    gone: Vec<SocketAddr>,
}

impl Secure {
    pub(super) fn new(config: Arc<ReloadableDtlsServerConfig>) -> Result<Self, DtlsError> {
        let acceptor = DtlsAcceptor::new(config, DtlsLimits::default(), Instant::now())?;
        Ok(Self { acceptor, work: Work::default() })
    }

    /// Takes a datagram from the network.
    pub(super) fn receive(&mut self, peer: SocketAddr, datagram: &[u8]) {
        self.acceptor.receive(peer, datagram, Instant::now(), &mut self.work);
    }

    /// Sends a message to a peer, if its association stands.
    pub(super) fn send(&mut self, peer: SocketAddr, plaintext: &[u8]) {
        if let Some((association, _)) = self.work.peers.get(&peer) {
            let association = *association;
            self.acceptor.send(association, plaintext, Instant::now(), &mut self.work);
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.acceptor.next_due()
    }

    pub(super) fn run_due(&mut self) {
        self.acceptor.run_due(Instant::now(), &mut self.work);
    }

    /// Who a peer has proven to be.
    pub(super) fn identity(&self, peer: SocketAddr) -> Option<Arc<str>> {
        self.work.peers.get(&peer).and_then(|(_, identity)| identity.clone())
    }

    /// Peers whose association ended: nothing of theirs holds any more.
    pub(super) fn take_gone(&mut self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.work.gone)
    }

    /// Messages that arrived.
    pub(super) fn take_received(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.work.received)
    }

    /// Datagrams for the network.
    pub(super) fn take_transmit(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.work.transmit)
    }
}

impl DtlsSink<SocketAddr> for Work {
    fn transmit(&mut self, peer: SocketAddr, datagram: &[u8]) {
        self.transmit.push((peer, datagram.to_vec()));
    }

    fn opened(&mut self, association: Association<SocketAddr>, identity: &DtlsIdentity) {
        let identity = match identity {
            DtlsIdentity::PreSharedKey(name) => Some(name.clone()),
            DtlsIdentity::Certificate(certificate) => certificate.common_name.as_deref().map(Arc::from),
            DtlsIdentity::Unproven => None,
        };
        self.peers.insert(association.peer, (association, identity));
    }

    fn received(&mut self, association: Association<SocketAddr>, plaintext: &[u8]) {
        self.received.push((association.peer, plaintext.to_vec()));
    }

    fn closed(&mut self, association: Association<SocketAddr>, _reason: PeerGone) {
        // A newer association of the peer may stand already.
        if self.peers.get(&association.peer).is_some_and(|(known, _)| *known == association) {
            self.peers.remove(&association.peer);
        }
        self.gone.push(association.peer);
    }

    fn needs(&mut self, _association: Association<SocketAddr>) -> bool {
        false
    }
}
