//! All clients, their sockets in one epoll instance, and the time that the run has.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::client::{Client, Pending, Security, lossy, socket_to};
use super::mail::Mail;
use super::readiness::Readiness;
use super::session::{Session, Settings};
use super::wire::{Datagram, Kind, TOKEN, code, empty};
use super::{Script, Turn, Wrong};
use crate::engine::{Clock, Histogram, Interrupt, LoadError, Tally};

/// Clients that play a script, each with at most one request under way (NSTART = 1, RFC 7252 §4.7).
#[derive(Debug)]
pub struct Fleet<S> {
    script: S,
    server: SocketAddr,
    clients: Vec<Client>,
    /// Who may ask next.
    turns: VecDeque<usize>,
    /// How many may have a request under way.
    window: usize,
    under_way: usize,
    stopped: bool,
    /// Notifications to be acknowledged.
    acks: VecDeque<(usize, u16)>,
    /// The request behind the last of those that were sent, and when it was sent.
    barrier: Option<(u16, u64)>,
    readiness: Readiness,
    ready: Vec<usize>,
    buffer: Vec<u8>,
    mail: Mail,
    clock: Clock,
    looked_for_overdue: u64,
    counts: Counts,
    faults: Tally,
    wrong: Option<Wrong>,
    latency: Histogram,
    interrupt: Interrupt,
}

/// What has been done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    units: u64,
    answers: u64,
    connected: u64,
    retransmitted: u64,
}

/// ACK_TIMEOUT of RFC 7252 §4.8 at its longest.
const ACK_TIMEOUT: u64 = 3_000_000_000;
const MAX_RETRANSMIT: u8 = 4;
/// A server that sends a thousand notifications in one go reads nothing meanwhile: so many acknowledgements fit
/// into the receive buffer that the kernel gives by default. A GET of the root, whatever
/// comes of it, shows when they have been read (libcoap answers a second ping in a row of a peer with silence).
const ACKS_AT_ONCE: usize = 100;
/// Message IDs must not come again within EXCHANGE_LIFETIME (RFC 7252 §4.4), so a client takes a new port then.
const IDS_PER_PORT: u32 = 65_000;
const LARGEST: usize = 2048;
const HEARTBEAT: Duration = Duration::from_millis(50);
/// Without any progress for so long, a step has failed.
const PATIENCE: Duration = Duration::from_secs(10);

impl<S: Script> Fleet<S> {
    /// `clients` clients of `server`, of which `window` may have a request under way at once.
    ///
    /// # Errors
    /// When there are not as many sockets to be had, or a handshake with `security` does not come about.
    pub fn new(
        server: SocketAddr,
        security: Security,
        clients: usize,
        window: usize,
        script: S,
        interrupt: Interrupt,
    ) -> Result<Self, LoadError> {
        let mut fleet = Fleet {
            script,
            server,
            clients: Vec::with_capacity(clients),
            turns: VecDeque::new(),
            window,
            under_way: 0,
            stopped: false,
            acks: VecDeque::new(),
            barrier: None,
            readiness: Readiness::new()?,
            ready: Vec::new(),
            buffer: vec![0; LARGEST],
            mail: Mail::default(),
            clock: Clock::start(),
            looked_for_overdue: 0,
            counts: Counts::default(),
            faults: Tally::default(),
            wrong: None,
            latency: Histogram::default(),
            interrupt,
        };
        for at in 0..clients {
            fleet.clients.push(Client::new(server, at)?);
            fleet.readiness.watch(&fleet.clients[at].socket, at)?;
        }
        if security == Security::Psk {
            fleet.handshake()?;
        }
        fleet.turns.extend(0..clients);
        Ok(fleet)
    }

    /// The script with what it has noted.
    pub fn script(&self) -> &S {
        &self.script
    }

    /// Units of work done.
    pub fn units(&self) -> u64 {
        self.counts.units
    }

    /// From the first transmission of a request, or from what a notification tells of, to the answer, in
    /// nanoseconds.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// Forgets the latencies so far.
    pub fn clear_latency(&mut self) {
        self.latency.clear();
    }

    /// Requests that had to be sent again.
    pub fn retransmitted(&self) -> u64 {
        self.counts.retransmitted
    }

    /// All faults so far.
    pub fn tally(&self) -> Tally {
        self.faults
    }

    /// What the last wrong answer was.
    pub fn last_reason(&self) -> Option<String> {
        self.wrong.as_ref().map(Wrong::to_string)
    }

    /// Nobody asks any more.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// Runs for `duration`.
    ///
    /// # Errors
    /// When interrupted or when a socket fails.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), LoadError> {
        let end = Instant::now() + duration;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.turn(left.min(HEARTBEAT))?;
        }
        Ok(())
    }

    /// Runs until all requests are answered and nobody has more to ask.
    ///
    /// # Errors
    /// When interrupted, when a socket fails, or without progress for ten seconds.
    pub fn finish(&mut self, doing: &'static str) -> Result<(), LoadError> {
        self.advance(doing, |fleet| {
            fleet.under_way == 0 && fleet.acks.is_empty() && (fleet.stopped || fleet.turns.is_empty())
        })
    }

    /// Runs until `reached`.
    ///
    /// # Errors
    /// When interrupted, when a socket fails, or without progress for ten seconds.
    pub fn advance(&mut self, doing: &'static str, reached: impl Fn(&Self) -> bool) -> Result<(), LoadError> {
        let mut seen = self.counts;
        let mut since = Instant::now();
        while !reached(self) {
            self.turn(HEARTBEAT)?;
            if self.counts != seen {
                (seen, since) = (self.counts, Instant::now());
            } else if since.elapsed() > PATIENCE {
                let reason = self.last_reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
                return Err(LoadError::Stalled { doing, seconds: PATIENCE.as_secs(), reason });
            }
        }
        Ok(())
    }

    /// Connects every client, a window of them at once.
    fn handshake(&mut self) -> Result<(), LoadError> {
        let settings = Settings::new()?;
        for at in 0..self.clients.len() {
            let limit = self.window as u64;
            self.advance("shaking hands", |fleet| at as u64 - fleet.counts.connected < limit)?;
            let Client { socket, session, .. } = &mut self.clients[at];
            session.insert(Box::new(Session::new(&settings))).start(|record| lossy(socket.send(record)))?;
        }
        self.advance("shaking hands", |fleet| fleet.counts.connected == fleet.clients.len() as u64)
    }

    fn turn(&mut self, timeout: Duration) -> Result<(), LoadError> {
        if self.interrupt.is_raised() {
            return Err(LoadError::Interrupted);
        }
        if self.acks.is_empty() && !self.stopped {
            self.ask()?;
        }
        // Acknowledgements wait until the server has nothing more to send.
        let timeout = if self.acks.is_empty() { timeout } else { Duration::from_millis(1) };
        self.readiness.wait(timeout, &mut self.ready)?;
        let now = self.clock.now();
        let ready = std::mem::take(&mut self.ready);
        ready.iter().try_for_each(|at| self.receive(*at, now))?;
        if ready.is_empty() {
            self.acknowledge(now)?;
        }
        self.ready = ready;
        if now - self.looked_for_overdue > HEARTBEAT.as_nanos() as u64 {
            self.looked_for_overdue = now;
            self.retransmit(now)?;
        }
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        for _ in 0..self.turns.len() {
            if self.under_way >= self.window {
                return Ok(());
            }
            let Some(at) = self.turns.pop_front() else { return Ok(()) };
            self.mail.clear();
            self.mail.now = self.clock.now();
            let client = &mut self.clients[at];
            (self.mail.next_id, self.mail.serial) = (client.next_id, client.serial);
            match self.script.ask(at, &mut self.mail) {
                Turn::Asked => self.post(at)?,
                Turn::Waits => self.turns.push_back(at),
                Turn::Ended => (),
            }
        }
        Ok(())
    }

    /// Sends what a client has written.
    fn post(&mut self, at: usize) -> io::Result<()> {
        if self.clients[at].sent >= IDS_PER_PORT && self.clients[at].session.is_none() {
            self.clients[at].socket = socket_to(self.server)?;
            self.clients[at].sent = 0;
            self.readiness.watch(&self.clients[at].socket, at)?;
        }
        let (client, mail) = (&mut self.clients[at], &self.mail);
        (client.next_id, client.serial) = (mail.next_id, mail.serial);
        client.pending = Some(Pending {
            id: mail.next_id,
            token: mail.token(),
            since: mail.now,
            sent_at: mail.now,
            retransmitted: 0,
            acknowledged: false,
        });
        client.last.clear();
        client.last.extend_from_slice(mail.last());
        self.under_way += 1;
        for datagram in mail.datagrams() {
            client.send(datagram)?;
        }
        Ok(())
    }

    fn receive(&mut self, at: usize, now: u64) -> io::Result<()> {
        let length = match self.clients[at].socket.recv(&mut self.buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.faults.closed += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.datagram(at, &buffer[..length], now);
        buffer.resize(LARGEST, 0);
        self.buffer = buffer;
        outcome
    }

    fn datagram(&mut self, at: usize, bytes: &[u8], now: u64) -> io::Result<()> {
        let Client { socket, session, .. } = &mut self.clients[at];
        let Some(session) = session else { return self.message(at, bytes, now) };
        let connected = session.is_connected();
        let mut messages = Vec::new();
        session.receive(
            bytes,
            |record| lossy(socket.send(record)),
            |message| messages.push(message.to_vec()),
        )?;
        self.counts.connected += u64::from(!connected && session.is_connected());
        messages.iter().try_for_each(|message| self.message(at, message, now))
    }

    fn message(&mut self, at: usize, bytes: &[u8], now: u64) -> io::Result<()> {
        let Some(answer) = Datagram::parse(bytes) else {
            self.faults.foreign += 1;
            return Ok(());
        };
        let client = &mut self.clients[at];
        let Some(pending) = client.pending.as_mut().filter(|pending| concerns(pending, &answer)) else {
            return self.unasked(at, &answer, now);
        };
        if answer.code == code::EMPTY && answer.kind == Kind::Acknowledgement {
            pending.acknowledged = true;
            return Ok(());
        }
        if answer.kind == Kind::Confirmable {
            client.send(&empty(Kind::Acknowledgement, answer.id))?;
        }
        let Some(pending) = client.pending.take() else { return Ok(()) };
        if answer.uint(super::wire::option::OBSERVE).is_some() {
            client.observing = Some(pending.token);
        }
        self.under_way -= 1;
        self.turns.push_back(at);
        self.counts.answers += 1;
        self.latency.record(now.saturating_sub(pending.since));
        match self.script.answered(at, &answer) {
            Ok(units) => self.counts.units += units,
            Err(wrong) => self.refuse(wrong),
        }
        Ok(())
    }

    /// A notification, or the second answer to a request that was sent again.
    fn unasked(&mut self, at: usize, answer: &Datagram<'_>, now: u64) -> io::Result<()> {
        let client = &self.clients[at];
        let observed = client.observing.is_some_and(|token: [u8; TOKEN]| token == answer.token);
        if self.barrier.is_some_and(|(id, _)| id == answer.id) {
            self.barrier = None;
            return Ok(());
        }
        if !observed || answer.kind == Kind::Acknowledgement || answer.kind == Kind::Reset {
            self.faults.foreign += u64::from(self.counts.retransmitted == 0);
            return Ok(());
        }
        if answer.kind == Kind::Confirmable {
            self.acks.push_back((at, answer.id));
        }
        match self.script.notified(at, answer, now) {
            Ok(notified) => {
                self.counts.units += notified.units;
                if let Some(since) = notified.since {
                    self.latency.record(now.saturating_sub(since));
                }
            }
            Err(wrong) => self.refuse(wrong),
        }
        Ok(())
    }

    fn refuse(&mut self, wrong: Wrong) {
        self.faults.refused += 1;
        self.wrong = Some(wrong);
    }

    fn acknowledge(&mut self, now: u64) -> io::Result<()> {
        if self.acks.is_empty() || self.barrier.is_some_and(|(_, since)| now - since < ACK_TIMEOUT) {
            return Ok(());
        }
        for (at, id) in self.acks.drain(..self.acks.len().min(ACKS_AT_ONCE)) {
            self.clients[at].send(&empty(Kind::Acknowledgement, id))?;
        }
        let Some(last) = self.clients.last_mut() else { return Ok(()) };
        last.next_id = last.next_id.wrapping_add(1);
        self.barrier = Some((last.next_id, now));
        let mut request = empty(Kind::Confirmable, last.next_id);
        request[1] = code::GET;
        last.send(&request)
    }

    /// Sends again what has waited too long, and gives up what has been sent too often.
    fn retransmit(&mut self, now: u64) -> io::Result<()> {
        for at in 0..self.clients.len() {
            let client = &mut self.clients[at];
            if let Some(session) = client.session.as_mut().filter(|session| !session.is_connected()) {
                session.retransmit(Instant::now(), |record| lossy(client.socket.send(record)))?;
            }
            let Some(pending) = &mut client.pending else { continue };
            if now.saturating_sub(pending.sent_at) < ACK_TIMEOUT << pending.retransmitted {
                continue;
            }
            if pending.retransmitted == MAX_RETRANSMIT {
                client.pending = None;
                self.under_way -= 1;
                self.faults.lost += 1;
                self.turns.push_back(at);
                continue;
            }
            pending.sent_at = now;
            pending.retransmitted += 1;
            self.counts.retransmitted += 1;
            let again = !pending.acknowledged;
            let last = std::mem::take(&mut client.last);
            if again {
                client.send(&last)?;
            }
            client.last = last;
        }
        Ok(())
    }
}

/// Whether a message is about a request: an empty one by its Message ID, an answer by its token (RFC 7252 §5.3.2),
/// and a piggybacked one by both.
fn concerns(pending: &Pending, answer: &Datagram<'_>) -> bool {
    match (answer.kind, answer.code) {
        (Kind::Acknowledgement | Kind::Reset, code::EMPTY) => answer.id == pending.id,
        (Kind::Acknowledgement, _) => answer.id == pending.id && answer.token == pending.token,
        (Kind::Confirmable | Kind::NonConfirmable, _) => answer.token == pending.token,
        (Kind::Reset, _) => false,
    }
}
