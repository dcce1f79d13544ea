//! One connection as a stream of application bytes, whatever lies beneath.
//!
//! Invariants: a plain transport owns no buffer at all; everything is non-blocking; `WouldBlock` is only ever
//! reported after the kernel said so, so an edge-triggered loop that stops there misses nothing.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::peer::{Peer, PeerAddress};
use crate::socket::Socket;

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
    /// The peer will send nothing more. Flush once, so that it learns of our side's end, then drop the transport.
    Closed,
}

/// A non-blocking connection that carries application bytes.
#[derive(Debug)]
pub struct Transport {
    socket: Socket,
    peer: Peer,
}

impl Transport {
    /// The bare socket without any layer.
    #[must_use]
    pub fn plain(socket: Socket) -> Self {
        // A peer that reset the connection while it waited has no address any more; the first read will end it.
        let address = socket
            .peer_address()
            .unwrap_or_else(|_| PeerAddress::Ip(std::net::SocketAddr::from(([0, 0, 0, 0], 0))));
        Self { socket, peer: Peer::direct(address) }
    }

    /// Reads the socket and decodes what came, leaving application bytes at the start of `scratch`.
    ///
    /// # Errors
    /// Whatever the socket reports, and `InvalidData` for a peer that breaks the protocol of a layer. After an
    /// error call [`Transport::flush`] once, so that the peer learns why, then drop the transport.
    pub fn receive(&mut self, scratch: &mut [u8]) -> io::Result<Received> {
        loop {
            return match self.socket.read(scratch) {
                Ok(0) => Ok(Received::Closed),
                Ok(n) if n == scratch.len() => Ok(Received::More(n)),
                Ok(n) => Ok(Received::Data(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::WouldBlock),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    /// Takes application bytes from the front of `slices` and returns how many. A plain transport does one vectored
    /// write. A count short of what was offered does not mean that the connection is blocked: call again with the
    /// rest until `WouldBlock`.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was taken and the connection has to become writable first; otherwise whatever the
    /// socket reports.
    pub fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.socket.write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Pushes out what the layers hold (handshake messages, encrypted records, control frames). True when nothing
    /// is pending any more; always true for a plain transport.
    ///
    /// # Errors
    /// Whatever the socket reports, except `WouldBlock`, which gives `Ok(false)`.
    pub fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// True when [`Transport::flush`] has something to push once the socket is writable.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        false
    }

    /// True until the layers below the application are ready to carry its bytes.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        false
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The socket beneath, for its addresses and options.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Tells the peer that nothing more will come; flush afterwards. Nothing to do on a plain transport.
    pub fn close_notify(&mut self) {}

    /// Shuts the socket down.
    ///
    /// # Errors
    /// `NotConnected` when the peer is already gone; callers that are closing anyway may ignore it.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }
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
