//! The turn of a reactor.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::outbox::{CloseReason, ConnectionRef, Drained};
use tercet_net::{Received, Transport};

use crate::mqtt::connection::{FaceContext, MqttConnection, Step, Timeout};
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::acceptor::{Accepted, Acceptor};
use crate::reactor::connection::{Connection, Phase};
use crate::reactor::inbox::{Adoption, Command, Inbox};
use crate::reactor::output::{Unwritten, packets};
use crate::reactor::wheel::{Entry, Purpose, Wheel};
use crate::shared::Shared;

const WAKER: Token = Token(1 << 48);
const LISTENERS: usize = 1 << 49;
/// Input read at once.
const SCRATCH: usize = 256 * 1024;
/// Unfinished input up to this size is decoded in the scratch; longer input grows in a buffer of its own.
const SMALL_TAIL: usize = 32 * 1024;
/// Unwritten output above which a connection's input waits.
const READ_HOLD: usize = 256 * 1024;
/// Connections accepted per turn, so that a storm does not starve the others.
const ACCEPTS: usize = 64;
/// How long a peer may take to close after our last packet.
const LINGER: Duration = Duration::from_secs(2);
/// Interval over which load is measured.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);

/// One reactor. Created on any thread, then [`Reactor::run`] on its own.
pub struct Reactor {
    index: u16,
    poll: Poll,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    acceptor: Option<Acceptor>,
    connections: Slab<Box<Connection>>,
    next_generation: u32,
    effects: Effects,
    scratch: Vec<u8>,
    wheel: Wheel,
    now: Now,
    /// Connections with input left from the last turn.
    again: VecDeque<(u32, u32)>,
    /// Connections whose session wants another turn.
    resume: Vec<(u32, u32)>,
    /// Connections to be written this turn.
    dirty: Vec<u32>,
    /// Connections of other reactors to be woken, by reactor.
    outgoing: Vec<Vec<ConnectionRef>>,
    adopted: Vec<Box<Adoption>>,
    commands: Vec<Command>,
    due: Vec<Entry>,
    drained: Drained,
    spare: Option<Box<Unwritten>>,
    working: Duration,
    measured_at: Instant,
}

impl Reactor {
    /// A reactor with its own poll. `acceptor` goes to the first one.
    pub fn new(
        index: u16,
        poll: Poll,
        inbox: Arc<Inbox>,
        shared: Arc<Shared>,
        mut acceptor: Option<Acceptor>,
    ) -> io::Result<Self> {
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
            adopted: Vec::new(),
            commands: Vec::new(),
            due: Vec::new(),
            drained: Drained::default(),
            spare: None,
            working: Duration::ZERO,
            measured_at: now.monotonic,
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
            if self.turn(&events) {
                return;
            }
            self.measure();
        }
    }

    fn sleep(&mut self) -> Option<Duration> {
        if !self.again.is_empty() || !self.resume.is_empty() {
            return Some(Duration::ZERO);
        }
        let retry = self.acceptor.as_mut().and_then(|acceptor| *acceptor.retry_at());
        let retry = retry.map(|at| at.saturating_duration_since(Instant::now()));
        [self.wheel.timeout(Instant::now()), retry].into_iter().flatten().min()
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
        for _ in 0..self.again.len() {
            if let Some((slot, generation)) = self.again.pop_front() {
                self.read_if(slot, generation);
            }
        }
        for event in events {
            match event.token() {
                WAKER => {}
                Token(token) if token >= LISTENERS => self.accept(token - LISTENERS),
                Token(slot) => {
                    let slot = slot as u32;
                    if event.is_readable() || event.is_read_closed() || event.is_error() {
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
            self.adopt(*adoption);
        }
        for (slot, generation) in std::mem::take(&mut self.resume) {
            self.resume(slot, generation);
        }
        self.check_limits();
        self.write_all();
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
                Command::Adopt(adoption) => self.adopted.push(adoption),
                Command::Wake(connections) => self.effects.wakes.extend(connections),
                Command::Verdict(connection, verdict) => {
                    self.with_face(connection.slot, connection.generation, |face, answers, cx| {
                        face.decided(verdict, answers, cx)
                    });
                }
                Command::CloseAll(reason) => self.close_all(reason),
                Command::Stop => stop = true,
            }
        }
        self.commands = commands;
        stop
    }

    fn accept(&mut self, index: usize) {
        let Some(acceptor) = &mut self.acceptor else { return };
        for _ in 0..ACCEPTS {
            match acceptor.accept(index, self.now.monotonic) {
                Accepted::Nobody => return,
                Accepted::Later(wait) => {
                    *acceptor.retry_at() = Some(self.now.monotonic + wait);
                    return;
                }
                Accepted::Connection(reactor, transport, listener) => {
                    self.effects.counters.sockets_accepted += 1;
                    let adoption = Box::new(Adoption { transport, listener, handed_over: false });
                    let Some(inbox) = self.shared.reactors.get(reactor) else { continue };
                    inbox.connections.fetch_add(1, Relaxed);
                    if reactor == usize::from(self.index) {
                        self.adopted.push(adoption);
                    } else {
                        inbox.send(Command::Adopt(adoption));
                    }
                }
            }
        }
        // More may be waiting, and an edge-triggered listener will not say so again.
        *acceptor.retry_at() = Some(self.now.monotonic);
    }

    fn retry_accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        if acceptor.retry_at().is_some_and(|at| at <= self.now.monotonic) {
            *acceptor.retry_at() = None;
            for index in 0..acceptor.sockets.len() {
                self.accept(index);
            }
        }
    }

    fn adopt(&mut self, adoption: Adoption) {
        let Adoption { transport, listener, handed_over } = adoption;
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
        let face = MqttConnection::new(Arc::clone(&listener), self.now.monotonic);
        let mut connection = Box::new(Connection {
            generation,
            phase: Phase::Open,
            write_blocked: false,
            read_blocked: false,
            dirty: false,
            behind: false,
            held: false,
            held_resume: false,
            limit_serial: 0,
            paused_until: None,
            transport,
            tail: Vec::new(),
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
                if handed_over {
                    self.read(slot);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot watch the connection");
                self.remove(slot);
            }
        }
    }

    fn read_if(&mut self, slot: u32, generation: u32) {
        if self.connections.get(slot as usize).is_some_and(|found| found.generation == generation) {
            self.read(slot);
        }
    }

    /// Reads a connection once and lets its face work on what came.
    fn read(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if let Phase::Lingering(_) = connection.phase {
            return self.drain_peer(slot);
        }
        if connection.phase != Phase::Open {
            return;
        }
        if connection.held || connection.unwritten_len() > READ_HOLD {
            connection.read_blocked = true;
            return;
        }
        if let Some(until) = connection.paused_until {
            if until > self.now.monotonic {
                connection.read_blocked = true;
                return;
            }
            connection.paused_until = None;
        }
        let in_place = connection.tail.len() <= SMALL_TAIL;
        let kept = if in_place { connection.tail.len() } else { 0 };
        let (head, room) = self.scratch.split_at_mut(kept);
        if in_place {
            head.copy_from_slice(&connection.tail);
        }
        let received = match connection.transport.receive(room) {
            Ok(received) => received,
            Err(error) => {
                let _ = connection.transport.flush();
                return self.lost(slot, Some(&error));
            }
        };
        if connection.transport.wants_write() {
            let _ = connection.transport.flush();
        }
        let (count, more) = match received {
            Received::Data(count) => (count, false),
            Received::More(count) => (count, true),
            Received::WouldBlock => return,
            Received::Closed => return self.lost(slot, None),
        };
        self.effects.counters.bytes_received += count as u64;
        if more {
            self.again.push_back((slot, connection.generation));
        }
        if !in_place {
            let fresh = self.scratch.get(..count).unwrap_or_default();
            connection.tail.extend_from_slice(fresh);
        }
        if connection.tail.len().max(kept + count) < connection.wanted {
            if in_place {
                Self::keep(
                    &mut connection.tail,
                    self.scratch.get(..kept + count).unwrap_or_default(),
                    &mut self.effects,
                );
            }
            return;
        }
        self.process(slot, in_place, kept + count);
    }

    /// Lets the face work on input: the first `length` bytes of the scratch, or the connection's tail.
    fn process(&mut self, slot: u32, in_place: bool, length: usize) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        let taken = if in_place { Vec::new() } else { std::mem::take(&mut connection.tail) };
        let input = if in_place { self.scratch.get(..length).unwrap_or_default() } else { &taken };
        if connection.answers.capacity() == 0 {
            connection.answers = self.effects.buffers.take();
        }
        let mut cx = FaceContext {
            shared: &self.shared,
            now: self.now,
            effects: &mut self.effects,
            connection: ConnectionRef { reactor: self.index, slot, generation: connection.generation },
            transport: &connection.transport,
        };
        let (consumed, step) = connection.face.receive(input, &mut connection.answers, &mut cx);
        let rest = input.get(consumed..).unwrap_or_default();
        connection.wanted = connection.face.wanted(rest);
        Self::keep(&mut connection.tail, rest, &mut self.effects);
        if taken.capacity() > 0 {
            self.effects.buffers.give(taken);
        }
        self.after(slot, step);
    }

    /// Keeps the beginning of an unfinished packet; a connection without one owns no buffer.
    fn keep(tail: &mut Vec<u8>, rest: &[u8], effects: &mut Effects) {
        if rest.is_empty() {
            if tail.capacity() > 0 {
                effects.buffers.give(std::mem::take(tail));
            }
            return;
        }
        if tail.capacity() == 0 {
            *tail = effects.buffers.take();
        }
        tail.clear();
        tail.extend_from_slice(rest);
    }

    /// Carries out what the face decided.
    fn after(&mut self, slot: u32, step: Step) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if let Some(after) = connection.face.take_new_limit(self.now.monotonic) {
            connection.limit_serial = connection.limit_serial.wrapping_add(1);
            let purpose = Purpose::Limit(connection.limit_serial);
            self.wheel.arm(slot, connection.generation, purpose, after, self.now.monotonic);
        }
        match step {
            Step::Continue => {}
            Step::Hold => connection.held = true,
            Step::Pause(wait) => {
                connection.paused_until = Some(self.now.monotonic + wait);
                connection.read_blocked = true;
                self.wheel.arm(slot, connection.generation, Purpose::Unpause, wait, self.now.monotonic);
            }
            Step::Close => {
                connection.phase = Phase::Closing;
                connection.limit_serial = connection.limit_serial.wrapping_add(1);
                let purpose = Purpose::Limit(connection.limit_serial);
                self.wheel.arm(slot, connection.generation, purpose, LINGER, self.now.monotonic);
            }
        }
        if connection.answers.is_empty() {
            if connection.answers.capacity() > 0 {
                self.effects.buffers.give(std::mem::take(&mut connection.answers));
            }
            if connection.phase == Phase::Open {
                return;
            }
        }
        Self::mark_dirty(&mut self.dirty, slot, connection);
    }

    fn mark_dirty(dirty: &mut Vec<u32>, slot: u32, connection: &mut Connection) {
        if !connection.dirty {
            connection.dirty = true;
            dirty.push(slot);
        }
    }

    /// Calls the face of a connection outside of reading.
    fn with_face(
        &mut self,
        slot: u32,
        generation: u32,
        act: impl FnOnce(&mut MqttConnection, &mut Vec<u8>, &mut FaceContext<'_>) -> Step,
    ) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.generation != generation || connection.phase != Phase::Open {
            return;
        }
        if connection.answers.capacity() == 0 {
            connection.answers = self.effects.buffers.take();
        }
        let mut cx = FaceContext {
            shared: &self.shared,
            now: self.now,
            effects: &mut self.effects,
            connection: ConnectionRef { reactor: self.index, slot, generation },
            transport: &connection.transport,
        };
        let step = act(&mut connection.face, &mut connection.answers, &mut cx);
        let released = connection.held && step == Step::Continue;
        self.after(slot, step);
        if released {
            self.release(slot);
        }
    }

    /// The face takes input again: first what came while it could not.
    fn release(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.held = false;
        if std::mem::take(&mut connection.read_blocked) {
            self.again.push_back((slot, connection.generation));
        }
        let length = connection.tail.len();
        match length {
            0 => {}
            1..=SMALL_TAIL => {
                let (head, _) = self.scratch.split_at_mut(length);
                head.copy_from_slice(&connection.tail);
                self.process(slot, true, length);
            }
            _ => self.process(slot, false, 0),
        }
    }

    fn writable(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.write_blocked || connection.transport.wants_write() {
            connection.write_blocked = false;
            Self::mark_dirty(&mut self.dirty, slot, connection);
        }
    }

    fn resume(&mut self, slot: u32, generation: u32) {
        let Some(connection) = self.connections.get(slot as usize) else { return };
        if connection.generation == generation
            && let Some(attachment) = connection.face.attachment()
            && self.shared.vhost.resume(&attachment.session, attachment.epoch, self.now, &mut self.effects)
        {
            self.resume.push((slot, generation));
        }
    }

    /// Writes every connection that has output, once; what that sets free goes out in the same turn.
    fn write_all(&mut self) {
        loop {
            for index in 0..self.effects.wakes.len() {
                let Some(wake) = self.effects.wakes.get(index).copied() else { break };
                if wake.reactor != self.index {
                    if let Some(batch) = self.outgoing.get_mut(usize::from(wake.reactor)) {
                        batch.push(wake);
                    }
                } else if let Some(connection) = self.connections.get_mut(wake.slot as usize)
                    && connection.generation == wake.generation
                {
                    Self::mark_dirty(&mut self.dirty, wake.slot, connection);
                }
            }
            self.effects.wakes.clear();
            let Some(slot) = self.dirty.pop() else { return };
            self.write(slot);
        }
    }

    /// Writes one connection: answers first, then deliveries.
    fn write(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.dirty = false;
        if connection.write_blocked || matches!(connection.phase, Phase::Lingering(_)) {
            return;
        }
        let mut unwritten = connection.unwritten.take().or_else(|| self.spare.take()).unwrap_or_default();
        self.effects.counters.answers_sent += packets(&connection.answers);
        unwritten.push(std::mem::take(&mut connection.answers), &mut self.effects.buffers);
        let mut resume = false;
        // Deliveries stay in the outbox while the socket is behind, where they can still be limited.
        if unwritten.len() < READ_HOLD
            && let Some(attachment) = connection.face.attachment()
        {
            match attachment.session.drain(attachment.epoch, &mut self.drained) {
                Ok(()) => {
                    resume = std::mem::take(&mut self.drained.resume);
                    let close = self.drained.close.take();
                    unwritten.push_drained(&mut self.drained, &mut self.effects.buffers);
                    if let Some(reason) = close {
                        Self::evict(
                            connection,
                            reason,
                            &mut unwritten,
                            &mut self.effects,
                            &self.shared,
                            self.now,
                        );
                    }
                }
                Err(reason) => {
                    Self::evict(
                        connection,
                        reason,
                        &mut unwritten,
                        &mut self.effects,
                        &self.shared,
                        self.now,
                    );
                }
            }
        }
        let result = unwritten.write(&mut connection.transport, &mut self.effects.buffers);
        let flushed = result.and_then(|written| {
            self.effects.counters.bytes_sent += written as u64;
            connection.transport.flush()
        });
        let flushed = match flushed {
            Ok(flushed) => flushed && unwritten.is_empty(),
            Err(error) => return self.lost(slot, Some(&error)),
        };
        if let Some(attachment) = connection.face.attachment() {
            let behind = unwritten.len();
            if behind > 0 || connection.behind {
                connection.behind = behind > 0;
                attachment.session.with_outbox(attachment.epoch, |outbox| outbox.set_unwritten(behind));
            }
        }
        if unwritten.is_empty() {
            self.spare = Some(unwritten);
        } else {
            connection.unwritten = Some(unwritten);
        }
        if !flushed {
            connection.write_blocked = true;
            connection.held_resume |= resume;
            return;
        }
        let resume = resume | std::mem::take(&mut connection.held_resume);
        let (generation, phase) = (connection.generation, connection.phase);
        if std::mem::take(&mut connection.read_blocked) {
            self.again.push_back((slot, generation));
        }
        if phase == Phase::Closing {
            self.linger(slot);
        } else if resume {
            self.resume(slot, generation);
        }
    }

    /// The core or an administrator ends the connection: tell the client and close.
    fn evict(
        connection: &mut Connection,
        reason: CloseReason,
        unwritten: &mut Unwritten,
        effects: &mut Effects,
        shared: &Shared,
        now: Now,
    ) {
        let mut farewell = effects.buffers.take();
        connection.face.evicted(reason, &mut farewell, shared, now, effects);
        unwritten.push(farewell, &mut effects.buffers);
        connection.phase = Phase::Closing;
    }

    /// Everything is written: shut our side down and wait for the peer to close.
    fn linger(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        if connection.face.peer_will_close() {
            return self.remove(slot);
        }
        connection.transport.close_notify();
        let _ = connection.transport.flush();
        let _ = connection.transport.shutdown(Shutdown::Write);
        connection.phase = Phase::Lingering(self.now.monotonic + LINGER);
        self.limit(slot, LINGER);
        self.drain_peer(slot);
    }

    /// Discards what a peer still sends after we are done with it.
    fn drain_peer(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        match connection.transport.receive(&mut self.scratch) {
            Ok(Received::Data(_) | Received::WouldBlock) => {}
            Ok(Received::More(_)) => self.again.push_back((slot, connection.generation)),
            Ok(Received::Closed) | Err(_) => self.remove(slot),
        }
    }

    /// The connection is gone without our doing.
    fn lost(&mut self, slot: u32, error: Option<&io::Error>) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.face.lost(error, &self.shared, self.now, &mut self.effects);
        }
        self.remove(slot);
    }

    fn remove(&mut self, slot: u32) {
        let Some(mut connection) = self.connections.try_remove(slot as usize) else { return };
        connection.face.lost(None, &self.shared, self.now, &mut self.effects);
        let _ = self.poll.registry().deregister(&mut connection.transport);
        connection.listener.release();
        self.inbox.connections.fetch_sub(1, Relaxed);
    }

    /// Looks at the time limits that have come up.
    fn check_limits(&mut self) {
        self.retry_accept();
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now.monotonic, &mut due);
        for entry in due.drain(..) {
            self.check_limit(entry);
        }
        self.due = due;
    }

    fn check_limit(&mut self, entry: Entry) {
        let Some(connection) = self.connections.get_mut(entry.slot as usize) else { return };
        if connection.generation != entry.generation {
            return;
        }
        let Purpose::Limit(serial) = entry.purpose else {
            if std::mem::take(&mut connection.read_blocked) {
                self.again.push_back((entry.slot, entry.generation));
            }
            return;
        };
        if serial != connection.limit_serial {
            return;
        }
        match connection.phase {
            // The face is done, and the peer takes too long to take our last bytes or to close.
            Phase::Lingering(_) | Phase::Closing => self.remove(entry.slot),
            Phase::Open => match connection.face.check_limit(self.now.monotonic) {
                Timeout::None => {}
                Timeout::In(wait) => self.limit(entry.slot, wait),
                Timeout::Passed => {
                    self.with_face(entry.slot, entry.generation, |face, answers, cx| {
                        face.timed_out(answers, cx)
                    });
                }
            },
        }
    }

    /// Puts a time limit on a connection in place of the one in force.
    fn limit(&mut self, slot: u32, after: Duration) {
        let Some(connection) = self.connections.get_mut(slot as usize) else { return };
        connection.limit_serial = connection.limit_serial.wrapping_add(1);
        let purpose = Purpose::Limit(connection.limit_serial);
        self.wheel.arm(slot, connection.generation, purpose, after, self.now.monotonic);
    }

    fn close_all(&mut self, reason: CloseReason) {
        let slots: Vec<u32> = self.connections.iter().map(|(slot, _)| slot as u32).collect();
        for slot in slots {
            let Some(connection) = self.connections.get_mut(slot as usize) else { continue };
            if connection.phase != Phase::Open {
                continue;
            }
            let mut farewell = self.effects.buffers.take();
            connection.face.evicted(reason, &mut farewell, &self.shared, self.now, &mut self.effects);
            connection.answers.extend_from_slice(&farewell);
            self.effects.buffers.give(farewell);
            connection.phase = Phase::Closing;
            Self::mark_dirty(&mut self.dirty, slot, connection);
            self.limit(slot, LINGER);
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
pub fn adopt_from_outside(shared: &Shared, transport: Transport, listener: Arc<ListenerSettings>) {
    let loads =
        shared.reactors.iter().map(|inbox| (inbox.load.load(Relaxed), inbox.connections.load(Relaxed)));
    let index = crate::reactor::acceptor::place(loads);
    if let Some(inbox) = shared.reactors.get(index) {
        inbox.connections.fetch_add(1, Relaxed);
        inbox.send(Command::Adopt(Box::new(Adoption { transport, listener, handed_over: true })));
    }
}
