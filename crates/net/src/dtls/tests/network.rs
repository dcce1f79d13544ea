//! A server, the datagrams on their way to its clients, and what it says of them.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::dtls::{
    Association, DtlsAcceptor, DtlsClientConfig, DtlsClientSettings, DtlsCredentials, DtlsError,
    DtlsIdentity, DtlsLimits, DtlsServerSettings, DtlsSession, DtlsSink, PeerGone,
    ReloadableDtlsServerConfig, SessionEvent,
};
use crate::tls::test_certificates::Authority;
use crate::tls::{ClientCertificate, ClientSettings, Roots};

#[derive(Default)]
pub(super) struct Seen {
    pub(super) sent: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(super) opened: Vec<(Association<SocketAddr>, DtlsIdentity)>,
    pub(super) received: Vec<(Association<SocketAddr>, Vec<u8>)>,
    pub(super) closed: Vec<(Association<SocketAddr>, PeerGone)>,
    pub(super) needed: bool,
}

impl DtlsSink<SocketAddr> for Seen {
    fn transmit(&mut self, peer: SocketAddr, datagram: &[u8]) {
        self.sent.push_back((peer, datagram.to_vec()));
    }

    fn opened(&mut self, association: Association<SocketAddr>, identity: &DtlsIdentity) {
        self.opened.push((association, identity.clone()));
    }

    fn received(&mut self, association: Association<SocketAddr>, plaintext: &[u8]) {
        self.received.push((association, plaintext.to_vec()));
    }

    fn closed(&mut self, association: Association<SocketAddr>, reason: PeerGone) {
        self.closed.push((association, reason));
    }

    fn needs(&mut self, _: Association<SocketAddr>) -> bool {
        self.needed
    }
}

pub(super) struct Server {
    pub(super) directory: TempDir,
    pub(super) authority: Authority,
    pub(super) config: Arc<ReloadableDtlsServerConfig>,
    pub(super) acceptor: DtlsAcceptor<SocketAddr>,
    pub(super) seen: Seen,
    pub(super) now: Instant,
}

impl Server {
    /// Knows `device` by key and certificate, and asks for certificates.
    pub(super) fn new(limits: DtlsLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path(), "ca");
        let psk_file = directory.path().join("keys");
        fs::write(&psk_file, "device:00112233445566778899aabbccddeeff\nother:01\n").unwrap();
        let settings = DtlsServerSettings {
            psk_file: Some(psk_file),
            certificate: Some(authority.issue("localhost")),
            client_ca: Some(authority.file.clone()),
        };
        let config = Arc::new(ReloadableDtlsServerConfig::load(settings).unwrap());
        let now = Instant::now();
        let acceptor = DtlsAcceptor::new(Arc::clone(&config), limits, now).unwrap();
        Self { directory, authority, config, acceptor, seen: Seen::default(), now }
    }

    pub(super) fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.acceptor.receive(from, datagram, self.now, &mut self.seen);
    }

    pub(super) fn send(&mut self, association: Association<SocketAddr>, plaintext: &[u8]) {
        self.acceptor.send(association, plaintext, self.now, &mut self.seen);
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        self.acceptor.run_due(self.now, &mut self.seen);
    }

    pub(super) fn psk(&self, identity: &str, key: &[u8]) -> DtlsClientConfig {
        let credentials = DtlsCredentials::PreSharedKey {
            identity: identity.as_bytes().to_vec(),
            key: Zeroizing::new(key.to_vec()),
        };
        load(credentials, "localhost")
    }

    pub(super) fn device(&self) -> DtlsClientConfig {
        self.psk(
            "device",
            &[0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff],
        )
    }

    pub(super) fn certified(&self, issuer: Option<&Authority>, server_name: &str) -> DtlsClientConfig {
        let certificate = issuer.map(|issuer| {
            let (certificate, key) = issuer.issue("device-7");
            ClientCertificate { certificate, key }
        });
        let roots = Roots::File(self.authority.file.clone());
        load(
            DtlsCredentials::Certificates(ClientSettings { roots, certificate, ..Default::default() }),
            server_name,
        )
    }
}

fn load(credentials: DtlsCredentials, server_name: &str) -> DtlsClientConfig {
    DtlsClientConfig::load(&DtlsClientSettings { credentials, server_name: server_name.to_owned() }).unwrap()
}

pub(super) struct Client {
    pub(super) address: SocketAddr,
    pub(super) session: Option<DtlsSession>,
    pub(super) sent: VecDeque<Vec<u8>>,
    pub(super) received: Vec<Vec<u8>>,
    pub(super) error: Option<DtlsError>,
    pub(super) closed: bool,
}

impl Client {
    pub(super) fn new(config: &DtlsClientConfig, port: u16, now: Instant) -> Self {
        let mut client = Self {
            address: SocketAddr::from(([192, 0, 2, 1], port)),
            session: None,
            sent: VecDeque::new(),
            received: Vec::new(),
            error: None,
            closed: false,
        };
        let sent = &mut client.sent;
        let session = DtlsSession::connect(config, now, &mut |event| {
            if let SessionEvent::Transmit(datagram) = event {
                sent.push_back(datagram.to_vec());
            }
        });
        client.session = Some(session.unwrap());
        client
    }

    pub(super) fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(DtlsSession::is_connected)
    }

    pub(super) fn with(
        &mut self,
        work: impl FnOnce(&mut DtlsSession, &mut dyn FnMut(SessionEvent<'_>)) -> Result<(), DtlsError>,
    ) {
        let Some(session) = &mut self.session else { return };
        let worked = work(session, &mut |event| match event {
            SessionEvent::Transmit(datagram) => self.sent.push_back(datagram.to_vec()),
            SessionEvent::Plaintext(plaintext) => self.received.push(plaintext.to_vec()),
            SessionEvent::Closed => self.closed = true,
            SessionEvent::Connected => {}
        });
        if let Err(error) = worked {
            self.error = Some(error);
            self.session = None;
        }
    }

    pub(super) fn send(&mut self, plaintext: &[u8], now: Instant) {
        self.with(|session, on| session.send(plaintext, now, on));
    }
}

/// Carries datagrams between the server and one client until nobody has any left. `lose` says which to lose, by
/// their number.
pub(super) fn exchange(server: &mut Server, client: &mut Client, mut lose: impl FnMut(usize) -> bool) {
    let mut number = 0;
    loop {
        let mut idle = true;
        while let Some(datagram) = client.sent.pop_front() {
            idle = false;
            number += 1;
            if !lose(number) {
                server.receive(client.address, &datagram);
            }
        }
        while let Some((to, datagram)) = server.seen.sent.pop_front() {
            idle = false;
            number += 1;
            if to == client.address && !lose(number) {
                let now = server.now;
                client.with(|session, on| session.receive(&datagram, now, on));
            }
        }
        if idle {
            return;
        }
    }
}

/// Lets a client handshake without loss.
pub(super) fn connect(server: &mut Server, config: &DtlsClientConfig, port: u16) -> Client {
    let mut client = Client::new(config, port, server.now);
    exchange(server, &mut client, |_| false);
    client
}
