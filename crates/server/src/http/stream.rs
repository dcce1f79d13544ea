//! The byte stream below HTTP, in a form from which the socket can be taken out again.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tercet_net::websocket::{Limits, Role};
use tercet_net::{Peer, Socket, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

/// A connection below HTTP.
pub(crate) enum HttpStream {
    /// The socket itself.
    Plain(Wire),
    /// TLS over the socket.
    Tls(Box<TlsStream<Wire>>),
}

/// A socket, together with bytes that were read from it too early.
pub(crate) struct Wire {
    socket: AsyncSocket,
    /// Bytes that came behind a PROXY header, from `taken` on.
    ahead: Vec<u8>,
    taken: usize,
    /// How long the peer may refuse to take what we write.
    patience: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

/// A socket of the runtime.
pub(crate) enum AsyncSocket {
    /// A TCP connection.
    Tcp(TcpStream),
    /// A Unix stream connection.
    Unix(UnixStream),
}

impl Wire {
    /// Adopts a socket. A peer that takes nothing of what is written for `patience` is given up.
    pub(crate) fn new(socket: AsyncSocket, patience: Duration) -> Self {
        Self { socket, ahead: Vec::new(), taken: 0, patience, stall: None }
    }

    /// Reads some bytes; 0 at the end of the stream.
    pub(crate) async fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(room);
        poll_fn(|cx| Pin::new(&mut *self).poll_read(cx, &mut buffer)).await?;
        Ok(buffer.filled().len())
    }

    /// Puts bytes back that were read too early.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        self.ahead = bytes.to_vec();
        self.taken = 0;
    }

    /// Takes the socket out of the runtime, with what was read too early and not read again.
    fn into_socket(self) -> io::Result<(Socket, Vec<u8>)> {
        let Self { socket, mut ahead, taken, .. } = self;
        ahead.drain(..taken.min(ahead.len()));
        let socket = match socket {
            AsyncSocket::Tcp(stream) => Socket::from_std_tcp(stream.into_std()?)?,
            AsyncSocket::Unix(stream) => Socket::from_std_unix(stream.into_std()?)?,
        };
        Ok((socket, ahead))
    }

    /// Gives up a write that the peer has not let through for too long.
    fn limit<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let patience = self.patience;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl HttpStream {
    /// Turns the stream into the WebSocket transport of a reactor. `leftover` was read behind the request.
    pub(crate) fn into_websocket(self, leftover: &[u8], peer: Peer) -> io::Result<Transport> {
        let (transport, leftover) = self.into_transport(leftover, peer)?;
        Ok(transport.websocket(&leftover, Role::Server, Limits::default()))
    }

    /// Turns the stream into the transport of a reactor that frames by itself, and gives all that was read behind the
    /// request: `leftover` and what has not been decrypted yet.
    pub(crate) fn into_transport(self, leftover: &[u8], peer: Peer) -> io::Result<(Transport, Vec<u8>)> {
        let mut leftover = leftover.to_vec();
        let transport = match self {
            Self::Plain(wire) => {
                let (socket, ahead) = wire.into_socket()?;
                leftover.extend(ahead);
                Transport::plain(socket)
            }
            Self::Tls(stream) => {
                let (wire, mut connection) = stream.into_inner();
                let (socket, ahead) = wire.into_socket()?;
                let mut ahead = ahead.as_slice();
                while !ahead.is_empty() && connection.read_tls(&mut ahead)? > 0 {
                    connection.process_new_packets().map_err(io::Error::other)?;
                }
                Transport::from_tls_connection(socket, connection)
            }
        };
        Ok((transport.with_peer(peer), leftover))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(rest) = this.ahead.get(this.taken..).filter(|rest| !rest.is_empty()) {
            let piece = rest.get(..buffer.remaining()).unwrap_or(rest);
            buffer.put_slice(piece);
            this.taken += piece.len();
            if this.taken == this.ahead.len() {
                this.ahead = Vec::new();
                this.taken = 0;
            }
            return Poll::Ready(Ok(()));
        }
        match &mut this.socket {
            AsyncSocket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            AsyncSocket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.socket {
            AsyncSocket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            AsyncSocket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        };
        self.limit(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            AsyncSocket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            AsyncSocket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(wire) => Pin::new(wire).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
