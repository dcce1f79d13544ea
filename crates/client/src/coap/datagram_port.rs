//! One peer over UDP or DTLS: datagrams in and out.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tercet_coap::uri::Scheme;
use tercet_net::dtls::{
    DtlsClientConfig, DtlsClientSettings, DtlsCredentials, DtlsError, DtlsSession, SessionEvent,
};
use tokio::net::{UdpSocket, lookup_host};
use tokio::time::{sleep_until, timeout};

use super::address::Address;
use super::builder::Settings;
use super::error::{Error, Result};

/// A socket that is connected to one peer, so that the operating system tells when nobody listens there.
pub(super) struct DatagramPort {
    socket: UdpSocket,
    url: String,
    security: Option<Box<Security>>,
}

/// DTLS: the session, and what it has for either side.
struct Security {
    config: DtlsClientConfig,
    /// None after it ended; sending begins another one.
    session: Option<DtlsSession>,
    transmit: VecDeque<Vec<u8>>,
    received: VecDeque<Vec<u8>>,
    closed: bool,
}

impl DatagramPort {
    /// Looks up the name, opens a socket and, over DTLS, makes the handshake; the peer's address.
    pub(super) async fn connect(address: &Address, settings: &Settings) -> Result<(Self, SocketAddr)> {
        let url = address.to_string();
        let unreachable = |source: io::Error| Error::Connect { url: url.clone(), source: Arc::new(source) };
        let security = match address.scheme {
            Scheme::Coaps => Some(Box::new(Security::new(address, settings, &url)?)),
            _ => None,
        };
        let (socket, peer) = open(&address.host(), address.port).await.map_err(unreachable)?;
        let mut port = Self { socket, url: url.clone(), security };
        let after = settings.connect_timeout;
        match timeout(after, port.handshake()).await {
            Ok(Ok(())) => Ok((port, peer)),
            Ok(Err(error)) if error.get_ref().is_some_and(|inner| inner.is::<DtlsError>()) => {
                Err(Error::Secure { url, reason: error.to_string() })
            }
            Ok(Err(error)) => Err(unreachable(error)),
            Err(_) => Err(Error::Timeout { what: format!("the connection to {url}"), after }),
        }
    }

    /// The peer's address as it was given.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether there is a way to the peer: over UDP always, over DTLS while there is a session.
    pub(super) fn is_open(&self) -> bool {
        self.security.as_ref().is_none_or(|security| security.session.is_some())
    }

    /// Begins a new session with the next datagram that is sent: the peer does not answer in this one.
    pub(super) fn renew(&mut self) {
        if let Some(security) = &mut self.security {
            security.session = None;
        }
    }

    /// The next datagram. May be dropped and called again.
    pub(super) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { socket, security, .. } = self;
        let Some(security) = security else { return socket.recv(buffer).await };
        loop {
            security.flush(socket).await?;
            if let Some(plaintext) = security.received.pop_front() {
                let length = plaintext.len().min(buffer.len());
                if let (Some(room), Some(bytes)) = (buffer.get_mut(..length), plaintext.get(..length)) {
                    room.copy_from_slice(bytes);
                }
                return Ok(length);
            }
            if std::mem::take(&mut security.closed) {
                security.session = None;
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer closed the session"));
            }
            let due = security.session.as_ref().and_then(DtlsSession::due);
            let timer = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                received = socket.recv(buffer) => {
                    let datagram = buffer.get(..received?).unwrap_or_default();
                    security.with(|session, on| session.receive(datagram, Instant::now(), on))?;
                }
                () = timer => security.with(|session, on| session.run_due(Instant::now(), on))?,
            }
        }
    }

    /// Sends a datagram; over DTLS in a new session if the last one ended.
    pub(super) async fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let Self { socket, security, .. } = self;
        let Some(security) = security else { return socket.send(datagram).await.map(drop) };
        security.begin()?;
        security.with(|session, on| session.send(datagram, Instant::now(), on))?;
        security.flush(socket).await
    }

    /// Says goodbye where there is somebody to say it to.
    pub(super) async fn close(mut self) {
        let Some(security) = &mut self.security else { return };
        let said = security.with(|session, on| {
            session.close(Instant::now(), on);
            Ok(())
        });
        // Whoever is gone already needs no goodbye.
        let _ = said.and(security.flush(&self.socket).await);
    }

    /// Makes the handshake, over DTLS.
    async fn handshake(&mut self) -> io::Result<()> {
        let Self { socket, security, .. } = self;
        let Some(security) = security else { return Ok(()) };
        security.begin()?;
        let mut buffer = vec![0; 4096];
        while !security.session.as_ref().is_some_and(DtlsSession::is_connected) {
            security.flush(socket).await?;
            let due = security.session.as_ref().and_then(DtlsSession::due).unwrap_or_else(Instant::now);
            tokio::select! {
                received = socket.recv(&mut buffer) => {
                    let datagram = buffer.get(..received?).unwrap_or_default();
                    security.with(|session, on| session.receive(datagram, Instant::now(), on))?;
                }
                () = sleep_until(due.into()) => {
                    security.with(|session, on| session.run_due(Instant::now(), on))?;
                }
            }
        }
        security.flush(socket).await
    }
}

impl Security {
    fn new(address: &Address, settings: &Settings, url: &str) -> Result<Self> {
        let failed = |reason: String| Error::Secure { url: url.to_owned(), reason };
        let credentials = match &settings.psk {
            Some(psk) => {
                DtlsCredentials::PreSharedKey { identity: psk.identity.clone(), key: psk.key.clone().into() }
            }
            None => DtlsCredentials::Certificates(settings.tls.settings().map_err(failed)?),
        };
        let settings = DtlsClientSettings { credentials, server_name: address.host() };
        let config = DtlsClientConfig::load(&settings).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            config,
            session: None,
            transmit: VecDeque::new(),
            received: VecDeque::new(),
            closed: false,
        })
    }

    /// Begins a session if there is none.
    fn begin(&mut self) -> io::Result<()> {
        if self.session.is_none() {
            let Self { config, transmit, .. } = self;
            let mut on = |event: SessionEvent<'_>| {
                if let SessionEvent::Transmit(datagram) = event {
                    transmit.push_back(datagram.to_vec());
                }
            };
            self.session =
                Some(DtlsSession::connect(config, Instant::now(), &mut on).map_err(io::Error::other)?);
        }
        Ok(())
    }

    /// Lets the session work, if there is one. An error has ended it.
    fn with(
        &mut self,
        work: impl FnOnce(&mut DtlsSession, &mut dyn FnMut(SessionEvent<'_>)) -> Result<(), DtlsError>,
    ) -> io::Result<()> {
        let Self { session: place, transmit, received, closed, .. } = self;
        let Some(session) = place else { return Ok(()) };
        let mut on = |event: SessionEvent<'_>| match event {
            SessionEvent::Transmit(datagram) => transmit.push_back(datagram.to_vec()),
            SessionEvent::Plaintext(plaintext) => received.push_back(plaintext.to_vec()),
            SessionEvent::Closed => *closed = true,
            SessionEvent::Connected => {}
        };
        work(session, &mut on).map_err(|error| {
            *place = None;
            io::Error::other(error)
        })
    }

    /// Sends what the session wants sent. A datagram that is lost to a cancellation is repeated by the protocol.
    async fn flush(&mut self, socket: &UdpSocket) -> io::Result<()> {
        while let Some(datagram) = self.transmit.pop_front() {
            socket.send(&datagram).await?;
        }
        Ok(())
    }
}

/// The first of the addresses that a socket can be connected to.
async fn open(host: &str, port: u16) -> io::Result<(UdpSocket, SocketAddr)> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for peer in lookup_host((host, port)).await? {
        let local = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let connected = async {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(peer).await?;
            Ok(socket)
        };
        match connected.await {
            Ok(socket) => return Ok((socket, peer)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
