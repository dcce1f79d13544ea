//! One connection as a stream of application bytes, whatever lies beneath: a socket, and optionally a PROXY header,
//! TLS and WebSocket framing on top of it, in this order.
//!
//! Invariants: a plain transport owns no buffer at all, and what layers hold is bounded; everything is
//! non-blocking; [`Received::WouldBlock`] and [`Received::Data`] are only reported when the kernel has said that
//! nothing more is there, so an edge-triggered loop that stops at them misses nothing.
//!
//! The loop of a reactor:
//! - readable: call [`Transport::receive`] until it gives `Data`, `WouldBlock` or `Closed`;
//! - to send: [`Transport::send`] until everything is taken or it says `WouldBlock`;
//! - writable: [`Transport::flush`], then send what waits.

mod tls_layer;
mod websocket_layer;
mod wire;

use std::error::Error;
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

use crate::peer::{Peer, PeerAddress};
use crate::proxy_protocol::{HeaderDecoder, ProxyError, TrustedProxies};
use crate::socket::Socket;
use crate::tls::TlsInfo;
use crate::websocket::{CloseCode, Codec, Limits, Role};

use tls_layer::TlsLayer;
use websocket_layer::WebSocketLayer;
use wire::Wire;

/// What [`Transport::receive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// `n >= 1` application bytes are in `scratch[..n]` and the socket was drained: the next readiness event will
    /// announce more. When the event at hand says that the peer closed its side, keep calling until
    /// [`Received::Closed`].
    Data(usize),
    /// `n` application bytes are in `scratch[..n]`, and more may be waiting in the socket or in the layers above
    /// it: call again (at once, or after other connections had their turn) without waiting for an event. `n` may be
    /// 0, when only protocol overhead arrived.
    More(usize),
    /// Nothing to read until the next readiness event.
    WouldBlock,
    /// The peer will send nothing more. Flush once, so that it gets our answer to that, then drop the transport.
    Closed,
}

/// A non-blocking connection that carries application bytes.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    peer: Peer,
    layers: Option<Box<Layers>>,
}

/// What lies between the socket and the application, from below to above.
#[derive(Debug, Default)]
struct Layers {
    proxy: Option<HeaderDecoder>,
    tls: Option<Box<TlsLayer>>,
    websocket: Option<Box<WebSocketLayer>>,
    closing: Closing,
}

/// Our farewell. It has to pass the layers from above to below, each after what the one above still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    No,
    /// TLS is to be closed once everything above it went out.
    Queued,
    Done,
}

impl Transport {
    /// The bare socket without any layer.
    #[must_use]
    pub fn plain(socket: Socket) -> Self {
        // A peer that reset the connection while it waited has no address any more; the first read will end it.
        let nowhere = PeerAddress::Ip(SocketAddr::from(([0, 0, 0, 0], 0)));
        let address = socket.peer_address().unwrap_or(nowhere);
        Self::plain_from(socket, address)
    }

    /// The bare socket, when it is known already who is at its other end.
    pub(crate) fn plain_from(socket: Socket, address: PeerAddress) -> Self {
        Self { socket, peer: Peer::direct(address), layers: None }
    }

    /// TLS as a server. The handshake advances inside [`Transport::receive`] and [`Transport::flush`].
    ///
    /// # Errors
    /// When the configuration cannot serve connections.
    pub fn tls(socket: Socket, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Self::plain(socket).with_tls(config)
    }

    /// TLS as a client of the server called `name`. Call [`Transport::flush`] once the socket is connected.
    ///
    /// # Errors
    /// When the configuration does not fit the name.
    pub fn tls_client(
        socket: Socket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let connection = ClientConnection::new(config, name)?;
        Ok(Self::plain(socket).over(TlsLayer::new(connection.into())))
    }

    /// Adopts a TLS connection that served HTTP before. Call [`Transport::receive`] once right away: decrypted bytes
    /// may be waiting in it, and no readiness event tells of them.
    #[must_use]
    pub fn from_tls_connection(socket: Socket, connection: ServerConnection) -> Self {
        Self::plain(socket).over(TlsLayer::new(connection.into()))
    }

    /// Adds TLS as a server on top, such as behind [`Transport::expect_proxy`].
    ///
    /// # Errors
    /// When the configuration cannot serve connections.
    pub fn with_tls(self, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let connection = ServerConnection::new(config)?;
        Ok(self.over(TlsLayer::new(connection.into())))
    }

    /// Expects a PROXY protocol header before anything else; it replaces the peer's address.
    ///
    /// # Errors
    /// [`ProxyError::Untrusted`] when the other end is not a trusted proxy; drop the connection.
    pub fn expect_proxy(mut self, trusted: &TrustedProxies) -> Result<Self, ProxyError> {
        let address = self.peer.socket_address();
        if !trusted.trusts(address) {
            return Err(ProxyError::Untrusted(address));
        }
        self.layers().proxy = Some(HeaderDecoder::speaking(trusted.versions()));
        Ok(self)
    }

    /// Adds WebSocket framing on top, after the HTTP handshake was done elsewhere. `leftover` holds application-side
    /// bytes that were read together with the request. Call [`Transport::receive`] once right away: no readiness
    /// event tells of them.
    #[must_use]
    pub fn websocket(mut self, leftover: &[u8], role: Role, limits: Limits) -> Self {
        let layer = WebSocketLayer::new(Codec::new(role, limits), leftover);
        self.layers().websocket = Some(Box::new(layer));
        self
    }

    /// Replaces what is known of the peer, such as by what an HTTP listener found out before an upgrade.
    #[must_use]
    pub fn with_peer(self, peer: Peer) -> Self {
        Self { peer, ..self }
    }

    /// Reads the socket and decodes what came, leaving application bytes at the start of `scratch` (at least 64 KiB
    /// for good throughput; the rest of it is overwritten too). Control frames and handshake messages are answered.
    ///
    /// # Errors
    /// Whatever the socket reports; `InvalidData` for a peer that breaks the protocol of a layer, with the layer's
    /// own error inside ([`ProxyError`], [`rustls::Error`], [`IdentityError`](crate::tls::IdentityError) or
    /// [`ProtocolError`](crate::websocket::ProtocolError)). After an error call [`Transport::flush`] once, so that
    /// the peer learns why, then drop the transport.
    pub fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Received> {
        if scratch.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "nowhere to receive to"));
        }
        match &mut self.layers {
            None => wire::read(&mut self.socket, scratch),
            Some(layers) => layers.receive(&mut self.socket, &mut self.peer, scratch),
        }
    }

    /// Takes application bytes from the front of `slices` and returns how many. A plain transport does one vectored
    /// write. A count short of what was offered does not mean that the connection is blocked: call again with the
    /// rest until `WouldBlock`. Bytes that were taken are out of the caller's hands; what was not taken may be
    /// changed or withdrawn.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was taken and the connection has to become writable first; `BrokenPipe` once a
    /// layer has closed; otherwise whatever the socket reports.
    pub fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.layers {
            None => write(&mut self.socket, slices),
            Some(layers) => layers.send(&mut self.socket, slices),
        }
    }

    /// Pushes out what the layers hold (handshake messages, encrypted records, control frames). True when nothing
    /// is pending any more; always true for a plain transport.
    ///
    /// # Errors
    /// Whatever the socket reports, except `WouldBlock`, which gives `Ok(false)`.
    pub fn flush(&mut self) -> io::Result<bool> {
        match &mut self.layers {
            None => Ok(true),
            Some(layers) => layers.flush(&mut self.socket),
        }
    }

    /// True when [`Transport::flush`] has something to push once the socket is writable.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| {
            layers.closing == Closing::Queued
                || layers.tls.as_ref().is_some_and(|tls| tls.connection.wants_write())
                || layers.websocket.as_ref().is_some_and(|websocket| websocket.wants_write())
        })
    }

    /// True until the layers below the application are ready to carry its bytes: the PROXY header came and the TLS
    /// handshake is over.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| {
            layers.proxy.is_some() || layers.tls.as_ref().is_some_and(|tls| tls.connection.is_handshaking())
        })
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What the TLS handshake settled; `None` without TLS and until it is over. Reads the peer's certificate anew
    /// at each call.
    #[must_use]
    pub fn tls_info(&self) -> Option<TlsInfo> {
        TlsInfo::of(&self.layers.as_ref()?.tls.as_ref()?.connection)
    }

    /// The socket beneath, for its addresses and options.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Queues the farewell of each layer (WebSocket close 1000, TLS close_notify); flush afterwards. Nothing can be
    /// sent any more. Does nothing on a plain transport.
    pub fn close_notify(&mut self) {
        self.close_notify_with(CloseCode::NORMAL);
    }

    /// Like [`Transport::close_notify`], with the code that a WebSocket peer is told.
    pub fn close_notify_with(&mut self, code: CloseCode) {
        if let Some(layers) = &mut self.layers {
            layers.close(code);
        }
    }

    /// Shuts the socket down.
    ///
    /// # Errors
    /// `NotConnected` when the peer is already gone; callers that are closing anyway may ignore it.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    fn layers(&mut self) -> &mut Layers {
        self.layers.get_or_insert_default()
    }

    fn over(mut self, tls: TlsLayer) -> Self {
        self.layers().tls = Some(Box::new(tls));
        self
    }
}

impl Layers {
    fn receive(&mut self, socket: &mut Socket, peer: &mut Peer, scratch: &mut [u8]) -> io::Result<Received> {
        let Self { proxy, tls, websocket, .. } = self;
        let mut lower = |scratch: &mut [u8]| {
            let mut wire = Wire { socket: &mut *socket, peer: &mut *peer, proxy: &mut *proxy };
            match tls {
                Some(tls) => tls.receive(&mut wire, scratch),
                None => wire.receive(scratch),
            }
        };
        let Some(websocket) = websocket else { return lower(scratch) };
        let received = websocket.receive(scratch, lower);
        if websocket.codec.has_control() {
            // Pongs and close frames go out at once. A failure here shows in the next read too, after what has come.
            let _ = self.flush(socket);
        }
        received
    }

    fn send(&mut self, socket: &mut Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self { tls, websocket, closing, .. } = self;
        if *closing != Closing::No {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut lower = |slices: &[IoSlice<'_>]| write_over(tls, socket, slices);
        match websocket {
            Some(websocket) => websocket.send(slices, lower),
            None => lower(slices),
        }
    }

    fn flush(&mut self, socket: &mut Socket) -> io::Result<bool> {
        let Self { tls, websocket, closing, .. } = self;
        if let Some(websocket) = websocket
            && !websocket.flush(|slices| write_over(tls, socket, slices))?
        {
            return Ok(false);
        }
        if *closing == Closing::Queued {
            if let Some(tls) = tls {
                tls.connection.send_close_notify();
            }
            *closing = Closing::Done;
        }
        tls.as_mut().map_or(Ok(true), |tls| tls.flush(socket))
    }

    fn close(&mut self, code: CloseCode) {
        if let Some(websocket) = &mut self.websocket {
            websocket.codec.close(code);
        }
        if self.closing == Closing::No {
            self.closing = Closing::Queued;
        }
    }
}

fn write_over(
    tls: &mut Option<Box<TlsLayer>>,
    socket: &mut Socket,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    match tls {
        Some(tls) => tls.send(socket, slices),
        None => write(socket, slices),
    }
}

fn write(socket: &mut Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        match socket.write_vectored(slices) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn invalid_data(error: impl Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Source for Transport {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

#[cfg(test)]
mod tests;
