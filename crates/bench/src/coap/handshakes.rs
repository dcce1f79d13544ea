//! Associations that are there for a moment only.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::client::{lossy, socket_to};
use super::readiness::Readiness;
use super::session::{Session, Settings};
use crate::engine::{Histogram, Interrupt, LoadError, Tally};

/// Clients that do nothing but handshakes, each from a port of its own.
#[derive(Debug)]
pub struct Handshakes {
    server: SocketAddr,
    settings: Settings,
    clients: Vec<Client>,
    readiness: Readiness,
    completed: u64,
    latency: Histogram,
    faults: Tally,
    interrupt: Interrupt,
}

#[derive(Debug)]
struct Client {
    socket: UdpSocket,
    session: Session,
    since: Instant,
}

const HEARTBEAT: Duration = Duration::from_millis(50);
const LARGEST: usize = 2048;

impl Client {
    fn connect(server: SocketAddr, settings: &Settings) -> io::Result<Self> {
        let socket = socket_to(server)?;
        let mut session = Session::new(settings);
        session.start(|record| lossy(socket.send(record)))?;
        Ok(Client { socket, session, since: Instant::now() })
    }
}

impl Handshakes {
    /// `clients` clients, all of which begin at once.
    ///
    /// # Errors
    /// When there are not as many sockets to be had.
    pub fn new(server: SocketAddr, clients: usize, interrupt: Interrupt) -> Result<Self, LoadError> {
        let readiness = Readiness::new()?;
        let settings = Settings::new()?;
        let clients = (0..clients).map(|_| Client::connect(server, &settings)).collect::<io::Result<_>>()?;
        let (latency, faults) = (Histogram::default(), Tally::default());
        let load =
            Handshakes { server, settings, clients, readiness, completed: 0, latency, faults, interrupt };
        for (at, client) in load.clients.iter().enumerate() {
            load.readiness.watch(&client.socket, at)?;
        }
        Ok(load)
    }

    /// Handshakes completed.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// From the first ClientHello to the end of the handshake, in nanoseconds.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// Forgets the latencies so far.
    pub fn clear_latency(&mut self) {
        self.latency.clear();
    }

    /// Handshakes that the engine gave up.
    pub fn tally(&self) -> Tally {
        self.faults
    }

    /// Runs for `duration`.
    ///
    /// # Errors
    /// When interrupted or when a socket fails.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), LoadError> {
        let end = Instant::now() + duration;
        let mut ready = Vec::new();
        while Instant::now() < end {
            if self.interrupt.is_raised() {
                return Err(LoadError::Interrupted);
            }
            self.readiness.wait(HEARTBEAT, &mut ready)?;
            ready.iter().try_for_each(|at| self.receive(*at))?;
            if ready.is_empty() {
                self.retransmit()?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize) -> io::Result<()> {
        let Client { socket, session, since } = &mut self.clients[at];
        let mut buffer = [0; LARGEST];
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let send = |record: &[u8]| lossy(socket.send(record));
        if session.receive(&buffer[..length], send, |_| ()).is_err() {
            self.faults.refused += 1;
        } else if session.is_connected() {
            self.completed += 1;
            self.latency.record(u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX));
            session.close(send)?;
        } else {
            return Ok(());
        }
        self.clients[at] = Client::connect(self.server, &self.settings)?;
        self.readiness.watch(&self.clients[at].socket, at)
    }

    fn retransmit(&mut self) -> io::Result<()> {
        for Client { socket, session, .. } in &mut self.clients {
            session.retransmit(Instant::now(), |record| lossy(socket.send(record)))?;
        }
        Ok(())
    }
}
