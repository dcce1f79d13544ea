//! A connected stream socket, TCP or Unix, always non-blocking.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;

use mio::event::Source;
use mio::{Interest, Registry, Token};

use crate::peer::PeerAddress;

/// A connected, non-blocking stream socket.
///
/// Reads and writes go straight to the kernel. `WouldBlock` has its usual meaning; `Interrupted` is not retried
/// here.
#[derive(Debug)]
pub enum Socket {
    /// A TCP connection.
    Tcp(mio::net::TcpStream),
    /// A Unix stream connection.
    Unix(mio::net::UnixStream),
}

impl Socket {
    /// Starts a TCP connection; the socket becomes writable once it stands or failed (see [`Socket::take_error`]).
    ///
    /// # Errors
    /// Whatever the kernel refuses at once, such as an address family that is not available.
    pub fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = mio::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    /// Connects to the Unix socket at `path`.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` when nobody listens there, `WouldBlock` when its backlog is full.
    pub fn connect_unix(path: &Path) -> io::Result<Self> {
        mio::net::UnixStream::connect(path).map(Self::Unix)
    }

    /// Adopts a TCP stream of the standard library (or one taken out of an async runtime) and makes it
    /// non-blocking, with `TCP_NODELAY` set.
    ///
    /// # Errors
    /// When the options cannot be set, for instance because the peer is already gone.
    pub fn from_std_tcp(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(mio::net::TcpStream::from_std(stream)))
    }

    /// Adopts a Unix stream of the standard library and makes it non-blocking.
    ///
    /// # Errors
    /// When the option cannot be set.
    pub fn from_std_unix(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self::Unix(mio::net::UnixStream::from_std(stream)))
    }

    /// Gives the descriptor back to the standard library, still non-blocking. Deregister it first.
    #[must_use]
    pub fn into_std(self) -> StdSocket {
        match self {
            Self::Tcp(stream) => StdSocket::Tcp(stream.into()),
            Self::Unix(stream) => StdSocket::Unix(stream.into()),
        }
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected` when the peer has already reset the connection.
    pub fn peer_address(&self) -> io::Result<PeerAddress> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(PeerAddress::from),
            Self::Unix(_) => Ok(PeerAddress::Unix),
        }
    }

    /// The address of this end; `None` for a Unix socket.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub fn local_address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(stream) => stream.local_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }

    /// Takes the pending error of the socket, such as a failed connection attempt.
    ///
    /// # Errors
    /// When the option cannot be read.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }

    /// Shuts down one or both directions.
    ///
    /// # Errors
    /// `NotConnected` when the peer is already gone; callers that are closing anyway may ignore it.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

/// A socket handed back to the standard library, see [`Socket::into_std`].
#[derive(Debug)]
pub enum StdSocket {
    /// A TCP connection.
    Tcp(std::net::TcpStream),
    /// A Unix stream connection.
    Unix(std::os::unix::net::UnixStream),
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Unix(stream) => stream.write(buf),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Unix(stream) => stream.deregister(registry),
        }
    }
}
