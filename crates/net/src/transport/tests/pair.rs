//! Two transports over one pair of sockets and the loop that drives them, strictly by readiness events: a receive
//! that is owed no event and gets none would hang, and the test with it.

use std::io::{self, IoSlice};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use crate::listen::{Listener, TcpOptions};
use crate::socket::Socket;
use crate::transport::{Received, Transport};

/// How long one event may take; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn tcp_sockets() -> (Socket, Socket) {
    let listener = Listener::bind_tcp(&TcpOptions::new("127.0.0.1:0".parse().unwrap())).unwrap();
    let client = std::net::TcpStream::connect(listener.tcp_address().unwrap()).unwrap();
    let server = listener.accept().unwrap().expect("the connection stands");
    (Socket::from_std_tcp(client).unwrap(), server)
}

pub(super) fn unix_sockets() -> (Socket, Socket) {
    let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
    (Socket::from_std_unix(client).unwrap(), Socket::from_std_unix(server).unwrap())
}

/// One side of a connection.
pub(super) struct End {
    pub(super) transport: Transport,
    /// What arrived.
    pub(super) inbox: Vec<u8>,
    /// What is to be sent; emptied when all of it was taken.
    pub(super) outbox: Vec<u8>,
    /// How much of the outbox was taken.
    taken: usize,
    pub(super) closed: bool,
    pub(super) error: Option<io::Error>,
    /// Bytes of the scratch to receive into.
    pub(super) scratch: usize,
    /// A peer that is asleep does not read.
    pub(super) asleep: bool,
    readable: bool,
    read_closed: bool,
}

impl End {
    fn new(transport: Transport) -> Self {
        Self {
            transport,
            inbox: Vec::new(),
            outbox: Vec::new(),
            taken: 0,
            closed: false,
            error: None,
            scratch: 256 * 1024,
            asleep: false,
            // Adopted connections are received from once without an event.
            readable: true,
            read_closed: false,
        }
    }

    pub(super) fn ended(&self) -> bool {
        self.closed || self.error.is_some()
    }

    fn step(&mut self) {
        if self.ended() {
            return;
        }
        if let Err(error) = self.try_step() {
            let _ = self.transport.flush();
            self.error = Some(error);
        }
    }

    fn try_step(&mut self) -> io::Result<()> {
        let mut scratch = vec![0xEE; self.scratch];
        while self.readable && !self.asleep && !self.closed {
            match self.transport.receive(&mut scratch)? {
                Received::Data(n) => {
                    assert_ne!(n, 0);
                    self.inbox.extend_from_slice(&scratch[..n]);
                    self.readable = self.read_closed;
                }
                Received::More(n) => self.inbox.extend_from_slice(&scratch[..n]),
                Received::WouldBlock => self.readable = false,
                Received::Closed => self.closed = true,
            }
        }
        self.transport.flush()?;
        while !self.outbox.is_empty() && !self.closed {
            // In uneven slices, as a broker's outbox is.
            let rest = &self.outbox[self.taken..];
            let (head, tail) = rest.split_at(rest.len().min(37));
            let (middle, tail) = tail.split_at(tail.len().min(5000));
            match self.transport.send(&[head, middle, &[], tail].map(IoSlice::new)) {
                Ok(taken) => {
                    assert_ne!(taken, 0);
                    self.taken += taken;
                    if self.taken == self.outbox.len() {
                        self.taken = 0;
                        self.outbox.clear();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

pub(super) struct Pair {
    poll: Poll,
    pub(super) client: End,
    pub(super) server: End,
}

impl Pair {
    pub(super) fn new(client: Transport, server: Transport) -> Self {
        let poll = Poll::new().unwrap();
        let (mut client, mut server) = (End::new(client), End::new(server));
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut client.transport, Token(0), both).unwrap();
        poll.registry().register(&mut server.transport, Token(1), both).unwrap();
        Self { poll, client, server }
    }

    /// Drives both ends until `done`.
    pub(super) fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        let mut events = Events::with_capacity(8);
        loop {
            self.client.step();
            self.server.step();
            if done(self) {
                return;
            }
            self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "stalled: {:?} {:?}", self.client.transport, self.server.transport);
            for event in &events {
                let end = if event.token() == Token(0) { &mut self.client } else { &mut self.server };
                end.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                end.read_closed |= event.is_read_closed();
            }
        }
    }

    /// Sends `length` patterned bytes each way and checks that they arrive as they were.
    pub(super) fn exchange(&mut self, length: usize) {
        let (up, down) = (pattern(length, 7), pattern(length, 3));
        self.client.outbox.extend_from_slice(&up);
        self.server.outbox.extend_from_slice(&down);
        self.run_until(|pair| {
            assert!(!pair.client.ended(), "{:?}", pair.client.error);
            assert!(!pair.server.ended(), "{:?}", pair.server.error);
            pair.client.inbox.len() >= length && pair.server.inbox.len() >= length
        });
        assert!(self.server.inbox == up, "what the client sent arrived changed");
        assert!(self.client.inbox == down, "what the server sent arrived changed");
        self.client.inbox.clear();
        self.server.inbox.clear();
    }

    /// The client sleeps while the server sends until it is blocked; then all arrives.
    pub(super) fn exchange_with_sleeper(&mut self, length: usize) {
        let down = pattern(length, 5);
        self.client.asleep = true;
        self.server.outbox.extend_from_slice(&down);
        self.server.step();
        let taken = self.server.taken;
        assert!(!self.server.outbox.is_empty(), "the socket buffers took all of it");
        assert!(self.server.error.is_none(), "{:?}", self.server.error);
        self.server.step();
        assert_eq!(taken, self.server.taken, "blocked means blocked");
        self.client.asleep = false;
        self.client.readable = true;
        self.run_until(|pair| {
            assert!(pair.client.error.is_none() && pair.server.error.is_none());
            pair.client.inbox.len() >= length
        });
        assert!(self.client.inbox == down, "bytes were lost or changed under back-pressure");
        assert!(!self.server.transport.wants_write());
    }

    /// Drops the client's transport and waits for the server to notice.
    pub(super) fn hang_up(mut self, replacement: Transport) -> End {
        drop(std::mem::replace(&mut self.client.transport, replacement));
        self.client.closed = true;
        self.run_until(|pair| pair.server.ended());
        self.server
    }
}

pub(super) fn pattern(length: usize, step: usize) -> Vec<u8> {
    (0..length).map(|at| (at * step + at / 251) as u8).collect()
}

/// A transport that nobody talks to, to put in the place of another.
pub(super) fn stand_in() -> Transport {
    Transport::plain(unix_sockets().0)
}
