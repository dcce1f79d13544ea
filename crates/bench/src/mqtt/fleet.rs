//! The connections of a run and the steps it is made of: connect, subscribe, publish, wait.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::client::{Client, ClientId, ClientState, Connect};
use super::load::{Load, Stream};
use super::publisher::{Pace, Publisher, PublisherPlan};
use super::receiver::Receiver;
use super::wire::{self, Qos, Version};
use crate::engine::{Drive, Expect, Histogram, Interrupt, LoadError, StreamId, Ticker};

/// A load generator: one thread, one event loop, any number of MQTT clients.
#[derive(Debug)]
pub struct Fleet {
    drive: Drive<Load>,
    addr: SocketAddr,
    keep_alive: u16,
}

const FILTERS_PER_SUBSCRIBE: usize = 100;

static RUNS: AtomicU32 = AtomicU32::new(1);

impl Fleet {
    /// A fleet without clients, for the server at `addr`.
    ///
    /// # Errors
    /// When the kernel gives no epoll instance.
    pub fn new(addr: SocketAddr, version: Version, interrupt: Interrupt) -> Result<Self, LoadError> {
        let run = std::process::id() << 12 ^ RUNS.fetch_add(1, Ordering::Relaxed);
        Ok(Fleet { drive: Drive::new(Load::new(version, run), interrupt)?, addr, keep_alive: 600 })
    }

    /// Connects new clients there from now on: the server was started again.
    pub fn redirect(&mut self, addr: SocketAddr) {
        self.addr = addr;
    }

    /// Measures from now on how long publishers wait for PUBACK or PUBREC; to be called before any publisher
    /// of QoS 1 or 2 sends.
    pub fn time_confirms(&mut self) {
        self.drive.load.confirm_latency = Some(Histogram::default());
    }

    /// The clients' state and counts.
    pub fn load(&self) -> &Load {
        &self.drive.load
    }

    /// Starts to connect a client.
    ///
    /// # Errors
    /// When no socket can be made.
    pub fn connect(&mut self, connect: &Connect) -> Result<ClientId, LoadError> {
        let link = self.drive.events.connect(self.addr)?;
        let id = ClientId(self.drive.load.clients.len());
        self.drive.load.client_of.push(id);
        self.drive.load.clients.push(Client::new(link, self.drive.load.version, connect, self.keep_alive));
        Ok(id)
    }

    /// Connects `count` clients, at most `at_once` of them under way at any time, and waits for all.
    ///
    /// # Errors
    /// When one cannot connect.
    pub fn connect_all(
        &mut self,
        count: usize,
        at_once: usize,
        mut name: impl FnMut(usize) -> Connect,
    ) -> Result<Vec<ClientId>, LoadError> {
        let before = self.drive.load.connected;
        let mut clients = Vec::with_capacity(count);
        while clients.len() < count {
            while clients.len() < count && clients.len() < self.drive.load.connected - before + at_once {
                clients.push(self.connect(&name(clients.len()))?);
            }
            let enough = (before + clients.len() + 1).saturating_sub(at_once).max(before + 1);
            self.wait("connecting", |load| load.connected >= enough)?;
        }
        self.wait("connecting", |load| load.connected >= before + count)?;
        Ok(clients)
    }

    /// Subscribes a connected client to `filters` and remembers what it should receive.
    ///
    /// The answers are awaited by [`Fleet::await_subscribed`].
    pub fn subscribe(&mut self, client: ClientId, filters: &[String], qos: Qos, expect: &Expect) {
        let state = &mut self.drive.load.clients[client.0];
        state.receiver = Some(Receiver::new(expect));
        for some in filters.chunks(FILTERS_PER_SUBSCRIBE) {
            let packet_id = state.take_packet_id();
            let packet = wire::subscribe(self.drive.load.version, packet_id, some, qos);
            self.drive.events.outboxes().buffer(state.link).extend_from_slice(&packet);
            if let ClientState::Connected { unanswered } = &mut state.state {
                *unanswered += 1;
            }
        }
    }

    /// Waits until every SUBSCRIBE is answered.
    ///
    /// # Errors
    /// When the server does not answer or closes a connection.
    pub fn await_subscribed(&mut self) -> Result<(), LoadError> {
        self.wait("subscribing", |load| {
            load.clients.iter().all(|c| !matches!(c.state, ClientState::Connected { unanswered: 1.. }))
        })
    }

    /// Gives a client without a subscription of its own on this connection something to expect.
    pub fn expect(&mut self, client: ClientId, expect: &Expect) {
        self.drive.load.clients[client.0].receiver = Some(Receiver::new(expect));
    }

    /// Lets a subscriber acknowledge its deliveries, or not.
    pub fn set_acknowledging(&mut self, client: ClientId, acknowledges: bool) {
        if let Some(receiver) = &mut self.drive.load.clients[client.0].receiver {
            receiver.acknowledges = acknowledges;
        }
    }

    /// Makes a new stream; its publisher is the one that names it next.
    pub fn stream(&mut self) -> StreamId {
        let id = u32::try_from(self.drive.load.streams.len()).unwrap_or(u32::MAX);
        self.drive.load.streams.push(Stream { publisher: 0, sent: 0 });
        StreamId(id)
    }

    /// Adds a publisher that does not send yet; its client must be connected.
    pub fn add_publisher(&mut self, plan: PublisherPlan) {
        let at = self.drive.load.publishers.len();
        for (stream, _) in &plan.messages {
            self.drive.load.streams[stream.0 as usize].publisher = at;
        }
        let client = &mut self.drive.load.clients[plan.client.0];
        client.publisher = Some(at);
        let receive_maximum = client.receive_maximum;
        if matches!(plan.pace, Pace::Rate(_)) {
            self.drive.load.rated.push(at);
        }
        self.drive.load.publishers.push(Publisher::new(plan, receive_maximum));
    }

    /// Lets the publisher added last go on to `limit` messages in all.
    pub fn extend_publisher(&mut self, limit: u64) {
        if let Some(publisher) = self.drive.load.publishers.last_mut() {
            publisher.plan.limit = Some(limit);
        }
        self.start();
    }

    /// Lets all publishers send.
    pub fn start(&mut self) {
        let now = self.drive.load.clock.now();
        for at in 0..self.drive.load.publishers.len() {
            let publisher = &mut self.drive.load.publishers[at];
            publisher.sending = true;
            publisher.paced_from = Some((now, publisher.sent));
            self.drive.load.wake(at);
        }
    }

    /// Lets no publisher send any more.
    pub fn stop(&mut self) {
        for publisher in &mut self.drive.load.publishers {
            publisher.sending = false;
        }
    }

    /// Forgets the latencies measured so far.
    pub fn clear_histograms(&mut self) {
        self.drive.load.latency.clear();
        self.drive.load.lateness.clear();
        if let Some(confirms) = &mut self.drive.load.confirm_latency {
            confirms.clear();
        }
    }

    /// Wakes the loop this often, for fixed rates.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub fn tick(&mut self, interval: Duration) -> Result<(), LoadError> {
        Ok(self.drive.events.tick(Ticker::every(interval)?)?)
    }

    /// Sends a PINGREQ on every open connection.
    pub fn ping_all(&mut self) {
        for client in self.drive.load.clients.iter().filter(|c| c.state != ClientState::Closed) {
            self.drive.events.outboxes().buffer(client.link).extend_from_slice(&wire::PINGREQ);
        }
    }

    /// Cuts a client's connection without DISCONNECT, and forgets what it has received.
    pub fn forget(&mut self, client: ClientId) {
        let state = &mut self.drive.load.clients[client.0];
        self.drive.events.abort(state.link);
        state.state = ClientState::Closed;
        state.receiver = None;
    }

    /// Runs for `duration`.
    ///
    /// # Errors
    /// When interrupted or when polling fails.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), LoadError> {
        self.drive.run_for(duration)
    }

    /// Runs until `reached`, as long as there is progress; see [`Drive::wait`].
    ///
    /// # Errors
    /// When there is none for long, or the server closes a connection meanwhile.
    pub fn wait(&mut self, doing: &'static str, reached: impl Fn(&Load) -> bool) -> Result<(), LoadError> {
        self.drive.wait(doing, reached)
    }

    /// Runs until `reached`; gives up without complaint when nothing has come for three seconds, as
    /// [`Load::tally`] then tells what is missing.
    ///
    /// # Errors
    /// When interrupted or when polling fails.
    pub fn wait_or_give_up(&mut self, reached: impl Fn(&Load) -> bool) -> Result<(), LoadError> {
        self.drive.wait_or_give_up(reached)
    }
}
