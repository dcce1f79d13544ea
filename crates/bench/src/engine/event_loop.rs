//! One thread, one epoll, any number of connections.
//!
//! Invariants: a turn reads every ready socket with one large buffer until it is drained, hands the bytes to
//! the [`Handler`], and then writes each touched connection once. What a handler did not consume (the start
//! of a packet) is kept and shown again in front of the next read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::outboxes::{LinkId, Outboxes};
use super::ticker::Ticker;

/// The protocol on top of an [`EventLoop`].
pub trait Handler {
    /// A connection is established (connected, or accepted by the listener).
    fn opened(&mut self, link: LinkId, out: &mut Outboxes);

    /// Bytes arrived; returns how many were consumed.
    ///
    /// # Errors
    /// A reason to close the connection.
    fn received(&mut self, link: LinkId, bytes: &[u8], out: &mut Outboxes) -> Result<usize, String>;

    /// The connection was closed by the peer, by an error, or by [`Outboxes::close`].
    fn closed(&mut self, link: LinkId, reason: &str, out: &mut Outboxes);

    /// All input of this turn was handed over; output appended here still goes out in this turn.
    fn turn_end(&mut self, out: &mut Outboxes);
}

/// Sockets, their buffers, and the poll they are registered with.
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    events: Events,
    ready: Vec<Ready>,
    sockets: Vec<Option<Socket>>,
    outboxes: Outboxes,
    scratch: Vec<u8>,
    listener: Option<TcpListener>,
    ticker: Option<Ticker>,
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// Bytes read but not consumed: the head of an incomplete packet.
    carry: Vec<u8>,
    established: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ready {
    token: Token,
    readable: bool,
    writable: bool,
}

const LISTENER: Token = Token(usize::MAX - 1);
const TICKER: Token = Token(usize::MAX - 2);
const SCRATCH: usize = 256 * 1024;
const MAX_SCRATCH: usize = 64 * 1024 * 1024;
/// An idle connection keeps no write buffer larger than this.
const KEEP_OUTBOX: usize = 1024 * 1024;

impl EventLoop {
    /// An empty loop.
    ///
    /// # Errors
    /// When the kernel gives no epoll instance.
    pub fn new() -> io::Result<Self> {
        Ok(EventLoop {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            ready: Vec::new(),
            sockets: Vec::new(),
            outboxes: Outboxes::default(),
            scratch: vec![0; SCRATCH],
            listener: None,
            ticker: None,
        })
    }

    /// Accepts connections on `addr` from now on; returns the bound address.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let mut listener = TcpListener::bind(addr)?;
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let bound = listener.local_addr()?;
        self.listener = Some(listener);
        Ok(bound)
    }

    /// Starts to connect; [`Handler::opened`] or [`Handler::closed`] follows.
    ///
    /// # Errors
    /// When no socket can be made (for example at the limit of open files).
    pub fn connect(&mut self, addr: SocketAddr) -> io::Result<LinkId> {
        let stream = TcpStream::connect(addr)?;
        self.add(stream, false)
    }

    /// Wakes the loop at a fixed rate, replacing an earlier ticker.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub fn tick(&mut self, ticker: Ticker) -> io::Result<()> {
        ticker.register(self.poll.registry(), TICKER)?;
        self.ticker = Some(ticker);
        Ok(())
    }

    /// The write buffers, for output outside a turn; it leaves with the next turn.
    pub fn outboxes(&mut self) -> &mut Outboxes {
        &mut self.outboxes
    }

    /// Drops the connection at once, unsent output with it; [`Handler::closed`] is not called.
    pub fn abort(&mut self, link: LinkId) {
        self.outboxes.discard(link);
        if let Some(slot) = self.sockets.get_mut(link.index()) {
            *slot = None;
        }
    }

    /// Waits for at most `timeout`, handles all input, then writes all output.
    ///
    /// # Errors
    /// When polling fails; errors of single connections go to [`Handler::closed`].
    pub fn turn<H: Handler>(&mut self, timeout: Option<Duration>, handler: &mut H) -> io::Result<()> {
        self.flush(handler);
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let mut ready = std::mem::take(&mut self.ready);
        ready.extend(self.events.iter().map(|event| Ready {
            token: event.token(),
            readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            writable: event.is_writable(),
        }));
        for event in ready.drain(..) {
            match event.token {
                LISTENER => self.accept(handler)?,
                TICKER => {
                    if let Some(ticker) = &self.ticker {
                        ticker.acknowledge();
                    }
                }
                Token(index) => self.socket_ready(LinkId(index), event, handler),
            }
        }
        self.ready = ready;
        handler.turn_end(&mut self.outboxes);
        self.flush(handler);
        Ok(())
    }

    fn add(&mut self, mut stream: TcpStream, established: bool) -> io::Result<LinkId> {
        let token = Token(self.sockets.len());
        self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        self.sockets.push(Some(Socket { stream, carry: Vec::new(), established }));
        Ok(self.outboxes.add())
    }

    fn accept<H: Handler>(&mut self, handler: &mut H) -> io::Result<()> {
        loop {
            let Some(listener) = &self.listener else { return Ok(()) };
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nodelay(true)?;
                    let link = self.add(stream, true)?;
                    handler.opened(link, &mut self.outboxes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn socket_ready<H: Handler>(&mut self, link: LinkId, event: Ready, handler: &mut H) {
        let Some(Some(socket)) = self.sockets.get_mut(link.index()) else { return };
        if !socket.established {
            match establish(&socket.stream) {
                Ok(false) => return,
                Ok(true) => {
                    socket.established = true;
                    handler.opened(link, &mut self.outboxes);
                }
                Err(error) => return self.drop_link(link, &error.to_string(), handler),
            }
        }
        if event.writable && self.outboxes.pending(link) > 0 {
            self.write(link, handler);
        }
        if event.readable {
            self.read(link, handler);
        }
    }

    fn read<H: Handler>(&mut self, link: LinkId, handler: &mut H) {
        loop {
            let Some(Some(socket)) = self.sockets.get_mut(link.index()) else { return };
            let kept = socket.carry.len();
            if kept * 2 > self.scratch.len() {
                if self.scratch.len() >= MAX_SCRATCH {
                    return self.drop_link(link, "packet larger than 32 MiB", handler);
                }
                self.scratch.resize(self.scratch.len() * 2, 0);
            }
            self.scratch[..kept].copy_from_slice(&socket.carry);
            let filled = match socket.stream.read(&mut self.scratch[kept..]) {
                Ok(0) => return self.drop_link(link, "closed by the server", handler),
                Ok(count) => kept + count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.drop_link(link, &error.to_string(), handler),
            };
            match handler.received(link, &self.scratch[..filled], &mut self.outboxes) {
                Ok(used) => {
                    socket.carry.clear();
                    socket.carry.extend_from_slice(&self.scratch[used.min(filled)..filled]);
                }
                Err(reason) => return self.drop_link(link, &reason, handler),
            }
            // A short read means that the socket is drained (epoll(7)); the next edge reports more.
            if filled < self.scratch.len() {
                return;
            }
        }
    }

    fn flush<H: Handler>(&mut self, handler: &mut H) {
        let dirty = self.outboxes.take_dirty();
        for link in &dirty {
            self.write(*link, handler);
        }
        self.outboxes.recycle(dirty);
    }

    fn write<H: Handler>(&mut self, link: LinkId, handler: &mut H) {
        let Some(Some(socket)) = self.sockets.get_mut(link.index()) else {
            return self.outboxes.discard(link);
        };
        if !socket.established {
            return;
        }
        let outbox = self.outboxes.outbox(link);
        while outbox.written < outbox.bytes.len() {
            match socket.stream.write(&outbox.bytes[outbox.written..]) {
                Ok(count) => outbox.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return outbox.forget_written(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.drop_link(link, &error.to_string(), handler),
            }
        }
        outbox.bytes.clear();
        outbox.bytes.shrink_to(KEEP_OUTBOX);
        outbox.written = 0;
        if outbox.close {
            let _ = socket.stream.shutdown(Shutdown::Both);
            self.drop_link(link, "closed by us", handler);
        }
    }

    fn drop_link<H: Handler>(&mut self, link: LinkId, reason: &str, handler: &mut H) {
        self.abort(link);
        handler.closed(link, reason, &mut self.outboxes);
    }
}

/// Whether a connect has come through; an error when it failed.
fn establish(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => {
            stream.set_nodelay(true)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
