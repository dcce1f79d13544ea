//! The turn of a reactor.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::outbox::{ConnectionRef, Drained};
use tercet_broker::vhost::observing::FetchedValues;
use tercet_net::Transport;

use crate::coap::context::{Outcome, Ticket};
use crate::coap::node::Node;
use crate::memory::{self, BRAKE};
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::acceptor::{Accepted, Acceptor};
use crate::reactor::connection::{Connection, Phase};
use crate::reactor::durability::Awaiting;
use crate::reactor::face::{Face, FaceKind};
use crate::reactor::inbox::{Adoption, Command, Inbox};
use crate::reactor::output::Unwritten;
use crate::reactor::wheel::{Entry, Wheel};
use crate::shared::Shared;

const WAKER: Token = Token(1 << 48);
const LISTENERS: usize = 1 << 49;
const DATAGRAMS: usize = 1 << 50;
/// Input read at once.
pub(super) const SCRATCH: usize = 256 * 1024;
/// Unfinished input up to this size is decoded in the scratch; longer input grows in a buffer of its own.
pub(super) const SMALL_TAIL: usize = 32 * 1024;
/// Unwritten output above which a connection's input waits.
pub(super) const READ_HOLD: usize = 256 * 1024;
/// Connections accepted per turn, so that a storm does not starve the others.
const ACCEPTS: usize = 64;
/// How long a peer may take to close after our last packet.
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// Interval over which load is measured.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);

/// One reactor. Created on any thread, then [`Reactor::run`] on its own.
pub struct Reactor {
    pub(super) index: u16,
    pub(super) poll: Poll,
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) acceptor: Option<Acceptor>,
    /// The face that speaks in datagrams, and over streams from reactor to reactor alike.
    pub(super) coap: Node,
    /// Its sockets with input left from the last turn.
    pub(super) datagrams_left: Vec<usize>,
    pub(super) connections: Slab<Box<Connection>>,
    pub(super) next_generation: u32,
    pub(super) effects: Effects,
    pub(super) scratch: Vec<u8>,
    pub(super) wheel: Wheel,
    pub(super) now: Now,
    /// Connections with input left from the last turn.
    pub(super) again: VecDeque<(u32, u32)>,
    /// Connections whose session wants another turn.
    pub(super) resume: Vec<(u32, u32)>,
    /// Connections to be written this turn.
    pub(super) dirty: Vec<u32>,
    /// Connections of other reactors to be woken, by reactor.
    pub(super) outgoing: Vec<Vec<ConnectionRef>>,
    /// What waits for the log.
    pub(super) awaiting: Awaiting,
    pub(super) adopted: Vec<Adoption>,
    pub(super) commands: Vec<Command>,
    pub(super) due: Vec<Entry>,
    pub(super) drained: Drained,
    pub(super) spare: Option<Box<Unwritten>>,
    pub(super) working: Duration,
    pub(super) measured_at: Instant,
    /// When free memory was given back last.
    pub(super) gave_back_at: Instant,
}

impl Reactor {
    /// A reactor with its own poll. `acceptor` goes to the first one.
    pub fn new(
        index: u16,
        poll: Poll,
        inbox: Arc<Inbox>,
        shared: Arc<Shared>,
        mut acceptor: Option<Acceptor>,
        mut coap: Node,
    ) -> io::Result<Self> {
        for (number, socket) in coap.sockets().enumerate() {
            poll.registry().register(socket, Token(DATAGRAMS + number), Interest::READABLE)?;
        }
        if let Some(acceptor) = &mut acceptor {
            for (number, bound) in acceptor.sockets.iter_mut().enumerate() {
                poll.registry().register(&mut bound.socket, Token(LISTENERS + number), Interest::READABLE)?;
            }
        }
        let now = Now::read();
        let outgoing = shared.reactors.iter().map(|_| Vec::new()).collect();
        Ok(Self {
            index,
            poll,
            inbox,
            shared,
            acceptor,
            coap,
            datagrams_left: Vec::new(),
            connections: Slab::new(),
            next_generation: 0,
            effects: Effects::default(),
            scratch: vec![0; SCRATCH],
            wheel: Wheel::new(now.monotonic),
            now,
            again: VecDeque::new(),
            resume: Vec::new(),
            dirty: Vec::new(),
            outgoing,
            awaiting: Awaiting::default(),
            adopted: Vec::new(),
            commands: Vec::new(),
            due: Vec::new(),
            drained: Drained::default(),
            spare: None,
            working: Duration::ZERO,
            measured_at: now.monotonic,
            gave_back_at: now.monotonic,
        })
    }

    /// The token of a reactor's inbox.
    pub const fn inbox_token() -> Token {
        WAKER
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.sleep();
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() != io::ErrorKind::Interrupted {
                    tracing::error!(%error, "waiting for events failed");
                    std::thread::sleep(Duration::from_millis(10));
                }
                continue;
            }
            self.now = Now::read();
            self.stop_awaiting();
            if self.turn(&events) {
                return;
            }
            self.measure();
            self.relieve();
        }
    }

    /// While memory is short, what this thread has allocated and others have freed must not lie idle here.
    fn relieve(&mut self) {
        if self.shared.memory.is_short() && self.now.monotonic - self.gave_back_at >= BRAKE {
            memory::give_back();
            self.gave_back_at = self.now.monotonic;
        }
    }

    fn sleep(&mut self) -> Option<Duration> {
        if !self.again.is_empty() || !self.resume.is_empty() || !self.datagrams_left.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.announce() {
            return Some(Duration::ZERO);
        }
        let retry = self.acceptor.as_mut().and_then(|acceptor| *acceptor.retry_at());
        let retry = retry.map(|at| at.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        [self.wheel.timeout(now), self.coap.timeout(now), retry].into_iter().flatten().min()
    }

    fn measure(&mut self) {
        let end = Instant::now();
        self.working += end - self.now.monotonic;
        let passed = end - self.measured_at;
        if passed >= LOAD_INTERVAL {
            let share = self.working.as_secs_f64() / passed.as_secs_f64();
            let before = f64::from(self.inbox.load.load(Relaxed));
            self.inbox.load.store((before * 0.5 + share * 500.0) as u32, Relaxed);
            self.working = Duration::ZERO;
            self.measured_at = end;
        }
    }

    /// One turn; true when the reactor is to stop.
    fn turn(&mut self, events: &Events) -> bool {
        self.coap.begin(self.now, &self.shared);
        for number in std::mem::take(&mut self.datagrams_left) {
            self.receive_datagrams(number);
        }
        for _ in 0..self.again.len() {
            if let Some((slot, generation)) = self.again.pop_front() {
                self.read_if(slot, generation);
            }
        }
        for event in events {
            match event.token() {
                WAKER => {}
                Token(token) if token >= DATAGRAMS => self.receive_datagrams(token - DATAGRAMS),
                Token(token) if token >= LISTENERS => self.accept(token - LISTENERS),
                Token(slot) => {
                    let slot = slot as u32;
                    let hung_up = event.is_read_closed() || event.is_error();
                    if hung_up && let Some(connection) = self.connections.get_mut(slot as usize) {
                        connection.hung_up = true;
                    }
                    if event.is_readable() || hung_up {
                        self.read(slot);
                    }
                    if event.is_writable() {
                        self.writable(slot);
                    }
                }
            }
        }
        let stop = self.obey();
        for adoption in std::mem::take(&mut self.adopted) {
            self.adopt(adoption);
        }
        for (slot, generation) in std::mem::take(&mut self.resume) {
            self.resume(slot, generation);
        }
        self.check_limits();
        self.run_coap_due();
        self.look_at_log();
        // The log works while this turn's output is written.
        self.shared.vhost.flush();
        self.write_all();
        self.coap.flush(&mut self.effects);
        self.coap.report(&self.shared);
        self.shared.vhost.flush();
        self.wake_others();
        self.shared.vhost.metrics().add(&mut self.effects.counters);
        stop
    }

    fn obey(&mut self) -> bool {
        let mut commands = std::mem::take(&mut self.commands);
        self.inbox.take(&mut commands);
        let mut stop = false;
        for command in commands.drain(..) {
            match command {
                Command::Adopt(adoption) => self.adopted.push(*adoption),
                Command::Wake(connections) => self.effects.wakes.extend(connections),
                Command::Verdict(connection, verdict) => {
                    self.with_face(connection.slot, connection.generation, |face, answers, cx| {
                        face.decided(verdict, answers, cx)
                    });
                }
                Command::Ticket(ticket, outcome) => self.ticket_answered(ticket, outcome),
                Command::Defer(deferred) => self.effects.deferred.extend(deferred),
                Command::Values(values) => {
                    let FetchedValues { ticket, values } = values;
                    // The numbers of tickets have 32 bits.
                    let ticket = Ticket { reactor: ticket.reactor, number: ticket.number as u32 };
                    self.ticket_answered(ticket, Outcome::Values(values));
                }
                Command::CloseAll(reason) => self.close_all(reason),
                Command::Close(connection, reason) => {
                    self.with_face(connection.slot, connection.generation, |face, answers, cx| {
                        face.closed_by_administrator(&reason, answers, cx)
                    });
                }
                Command::Stop => stop = true,
            }
        }
        self.commands = commands;
        stop
    }

    fn accept(&mut self, index: usize) {
        let Some(acceptor) = &mut self.acceptor else { return };
        if self.shared.health.is_draining() {
            // Who waits is turned away when the sockets close.
            return;
        }
        for _ in 0..ACCEPTS {
            match acceptor.accept(index, self.now.monotonic) {
                Accepted::Refused => self.effects.counters.sockets_refused += 1,
                Accepted::Nobody => return,
                Accepted::Later(wait) => {
                    *acceptor.retry_at() = Some(self.now.monotonic + wait);
                    return;
                }
                Accepted::Connection(reactor, transport, listener) => {
                    self.effects.counters.sockets_accepted += 1;
                    let face = listener.face;
                    let adoption =
                        Adoption { transport, listener, face, handed_over: false, input: Vec::new() };
                    let Some(inbox) = self.shared.reactors.get(reactor) else { continue };
                    inbox.connections.fetch_add(1, Relaxed);
                    if reactor == usize::from(self.index) {
                        self.adopted.push(adoption);
                    } else {
                        inbox.send(Command::Adopt(Box::new(adoption)));
                    }
                }
            }
        }
        // More may be waiting, and an edge-triggered listener will not say so again.
        *acceptor.retry_at() = Some(self.now.monotonic);
    }

    pub(super) fn retry_accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        if acceptor.retry_at().is_some_and(|at| at <= self.now.monotonic) {
            *acceptor.retry_at() = None;
            for index in 0..acceptor.sockets.len() {
                self.accept(index);
            }
        }
    }

    fn adopt(&mut self, adoption: Adoption) {
        let Adoption { transport, listener, face, handed_over, input } = adoption;
        let dressed = if handed_over { Ok(transport) } else { listener.wrap(transport) };
        let transport = match dressed {
            Ok(transport) => transport,
            Err(error) => {
                tracing::warn!(listener = %listener.name, %error, "cannot set up the connection");
                listener.release();
                self.inbox.connections.fetch_sub(1, Relaxed);
                return;
            }
        };
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let entry = self.connections.vacant_entry();
        let slot = entry.key() as u32;
        let connect_timeout = listener.connect_timeout;
        let face = Face::new(face, Arc::clone(&listener), self.now.monotonic);
        let mut connection = Box::new(Connection {
            generation,
            phase: Phase::Open,
            write_blocked: false,
            read_blocked: false,
            dirty: false,
            behind: false,
            hung_up: false,
            held: false,
            held_resume: false,
            awaits_log: false,
            parked_until: None,
            parked: false,
            unpark_armed: false,
            limit_serial: 0,
            paused_until: None,
            transport,
            tail: input,
            wanted: 0,
            answers: Vec::new(),
            unwritten: None,
            face,
            listener,
        });
        let interests = Interest::READABLE | Interest::WRITABLE;
        let registered =
            self.poll.registry().register(&mut connection.transport, Token(slot as usize), interests);
        entry.insert(connection);
        match registered {
            Ok(()) => {
                self.limit(slot, connect_timeout);
                self.greet(slot);
                if handed_over {
                    self.release(slot);
                    self.read(slot);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot watch the connection");
                self.remove(slot);
            }
        }
    }

    fn wake_others(&mut self) {
        for (index, batch) in self.outgoing.iter_mut().enumerate() {
            if !batch.is_empty()
                && let Some(inbox) = self.shared.reactors.get(index)
            {
                inbox.send(Command::Wake(std::mem::take(batch)));
            }
        }
    }
}

/// Hands a connection that another thread has accepted and dressed in its layers to a reactor, which counts it
/// out of its listener at the end.
pub fn adopt_from_outside(
    shared: &Shared,
    transport: Transport,
    listener: Arc<ListenerSettings>,
    face: FaceKind,
    input: Vec<u8>,
) {
    let loads =
        shared.reactors.iter().map(|inbox| (inbox.load.load(Relaxed), inbox.connections.load(Relaxed)));
    let index = crate::reactor::acceptor::place(loads);
    if let Some(inbox) = shared.reactors.get(index) {
        inbox.connections.fetch_add(1, Relaxed);
        inbox.send(Command::Adopt(Box::new(Adoption {
            transport,
            listener,
            face,
            handed_over: true,
            input,
        })));
    }
}
