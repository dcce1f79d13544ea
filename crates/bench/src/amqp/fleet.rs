//! The connections of a run and the steps it is made of: connect, declare, consume, publish, wait.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::client::{Channel, Client, ClientState};
use super::consumer::{Acks, Consumer};
use super::load::{Load, Stream};
use super::publisher::{Pace, Publisher, PublisherPlan};
use super::wire::{self, QueueFlags, Request};
use crate::engine::{Drive, Expect, Interrupt, LoadError, StreamId, Ticker};

/// Names a connection of a [`Fleet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub(super) usize);

/// Names a channel of a [`Fleet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelId {
    pub(super) client: ClientId,
    pub(super) number: u16,
}

impl ChannelId {
    /// Its number within its connection.
    pub fn number(self) -> u16 {
        self.number
    }
}

/// Names a consumer of a [`Fleet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsumerId(pub(super) usize);

/// A load generator: one thread, one event loop, any number of AMQP connections.
#[derive(Debug)]
pub struct Fleet {
    drive: Drive<Load>,
    addr: SocketAddr,
}

static RUNS: AtomicU16 = AtomicU16::new(1);

impl Fleet {
    /// A fleet without connections, for the server at `addr`.
    ///
    /// # Errors
    /// When the kernel gives no epoll instance.
    pub fn new(addr: SocketAddr, interrupt: Interrupt) -> Result<Self, LoadError> {
        let run = (std::process::id() << 6) as u16 ^ RUNS.fetch_add(1, Ordering::Relaxed);
        Ok(Fleet { drive: Drive::new(Load::new(run), interrupt)?, addr })
    }

    /// Connects there from now on: the server was started again.
    pub fn redirect(&mut self, addr: SocketAddr) {
        self.addr = addr;
    }

    /// The clients' state and counts.
    pub fn load(&self) -> &Load {
        &self.drive.load
    }

    /// Opens `count` connections, at most `at_once` of them under way at any time, and waits for all.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn connect_all(&mut self, count: usize, at_once: usize) -> Result<Vec<ClientId>, LoadError> {
        let before = self.drive.load.connected;
        let mut clients = Vec::with_capacity(count);
        while clients.len() < count {
            while clients.len() < count && clients.len() < self.drive.load.connected - before + at_once {
                clients.push(self.connect()?);
            }
            let enough = (before + clients.len() + 1).saturating_sub(at_once).max(before + 1);
            self.wait("connecting", |load| load.connected >= enough)?;
        }
        self.wait("connecting", |load| load.connected >= before + count)?;
        Ok(clients)
    }

    fn connect(&mut self) -> Result<ClientId, LoadError> {
        let link = self.drive.events.connect(self.addr)?;
        let load = &mut self.drive.load;
        let id = ClientId(load.clients.len());
        load.client_of.push(id);
        load.clients.push(Client::new(link));
        Ok(id)
    }

    /// Opens the next channel of a connection; the answer is awaited by [`Fleet::await_answers`], but the
    /// channel can be used at once.
    pub fn open_channel(&mut self, client: ClientId) -> ChannelId {
        let channels = &mut self.drive.load.clients[client.0].channels;
        let number = u16::try_from(channels.len()).unwrap_or(u16::MAX);
        channels.push(Channel::default());
        let channel = ChannelId { client, number };
        self.request(channel, &wire::channel_open(number));
        channel
    }

    /// Opens one connection with one channel, and waits for both.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub fn connect_with_channel(&mut self) -> Result<ChannelId, LoadError> {
        let client = self.connect_all(1, 1)?[0];
        let channel = self.open_channel(client);
        self.await_answers("opening a channel")?;
        Ok(channel)
    }

    /// Declares a queue.
    pub fn declare_queue(&mut self, channel: ChannelId, name: &str, flags: QueueFlags) {
        self.request(channel, &wire::queue_declare(channel.number, name, flags));
    }

    /// Declares an exchange.
    pub fn declare_exchange(&mut self, channel: ChannelId, name: &str, kind: &str, durable: bool) {
        self.request(channel, &wire::exchange_declare(channel.number, name, kind, durable));
    }

    /// Binds a queue to an exchange.
    pub fn bind(&mut self, channel: ChannelId, queue: &str, exchange: &str, key: &str) {
        self.request(channel, &wire::queue_bind(channel.number, queue, exchange, key));
    }

    /// The ready messages of a queue, which must be there.
    ///
    /// # Errors
    /// When it is not.
    pub fn count_messages(&mut self, channel: ChannelId, queue: &str) -> Result<u64, LoadError> {
        self.declare_queue(channel, queue, QueueFlags { passive: true, durable: false });
        self.await_answers("looking at a queue")?;
        Ok(u64::from(self.drive.load.message_count))
    }

    /// Sends a request, whose answer must come in its turn.
    fn request(&mut self, channel: ChannelId, request: &Request) {
        let load = &mut self.drive.load;
        let client = &mut load.clients[channel.client.0];
        client.channels[usize::from(channel.number)].answers.push_back(request.answer);
        load.unanswered += 1;
        self.drive.events.outboxes().buffer(client.link).extend_from_slice(&request.bytes);
    }

    /// Waits until every request is answered.
    ///
    /// # Errors
    /// When the server does not answer, or closes a channel or connection.
    pub fn await_answers(&mut self, doing: &'static str) -> Result<(), LoadError> {
        self.wait(doing, |load| load.unanswered == 0)
    }

    /// Consumes from a queue; a channel has at most one consumer.
    pub fn consume(&mut self, channel: ChannelId, queue: &str, acks: Acks, expect: &Expect) -> ConsumerId {
        let load = &mut self.drive.load;
        let id = ConsumerId(load.consumers.len());
        load.consumers.push(Consumer::new(channel.client.0, channel.number, acks, expect));
        load.clients[channel.client.0].channels[usize::from(channel.number)].consumer = Some(id.0);
        if let Some(prefetch) = acks.prefetch() {
            self.request(channel, &wire::basic_qos(channel.number, prefetch));
        }
        self.request(channel, &wire::basic_consume(channel.number, queue, acks == Acks::Automatic));
        id
    }

    /// The stream that will be made next.
    pub fn next_stream(&self) -> StreamId {
        StreamId(u32::try_from(self.drive.load.streams.len()).unwrap_or(u32::MAX))
    }

    /// Makes a new stream; its publisher is the one that names it next.
    pub fn stream(&mut self) -> StreamId {
        let id = self.next_stream();
        self.drive.load.streams.push(Stream { publisher: 0, sent: 0 });
        id
    }

    /// Adds a publisher that does not send yet; a channel has at most one.
    pub fn add_publisher(&mut self, plan: PublisherPlan) {
        if plan.confirms {
            self.request(plan.channel, &wire::confirm_select(plan.channel.number));
        }
        let load = &mut self.drive.load;
        let at = load.publishers.len();
        for (stream, _) in &plan.messages {
            load.streams[stream.0 as usize].publisher = at;
        }
        let channel = plan.channel;
        load.clients[channel.client.0].channels[usize::from(channel.number)].publisher = Some(at);
        if matches!(plan.pace, Pace::Rate(_)) {
            load.rated.push(at);
        }
        load.publishers.push(Publisher::new(plan));
    }

    /// Lets all publishers send.
    ///
    /// Those with a fixed rate do not begin all at once, but one after the other within the time of one message.
    pub fn start(&mut self) {
        let load = &mut self.drive.load;
        let now = load.clock.now();
        let count = load.publishers.len();
        for at in 0..count {
            let publisher = &mut load.publishers[at];
            publisher.sending = true;
            let later = match publisher.plan.pace {
                Pace::Rate(rate) => (1e9 / rate * at as f64 / count as f64) as u64,
                Pace::Window { .. } => 0,
            };
            publisher.paced_from = Some((now + later, publisher.sent));
            load.wake(at);
        }
    }

    /// Lets no publisher send any more.
    pub fn stop(&mut self) {
        for publisher in &mut self.drive.load.publishers {
            publisher.sending = false;
        }
    }

    /// Acknowledges what consumers have received and not acknowledged.
    pub fn acknowledge_all(&mut self) {
        let load = &mut self.drive.load;
        for consumer in load.consumers.iter_mut().filter(|consumer| !consumer.ended) {
            if let Some(tag) = consumer.take_ack() {
                let link = load.clients[consumer.client].link;
                let ack = wire::ack(consumer.channel, tag, consumer.acks.are_multiple());
                self.drive.events.outboxes().buffer(link).extend_from_slice(&ack);
            }
        }
    }

    /// Forgets the latencies measured so far.
    pub fn clear_histograms(&mut self) {
        let load = &mut self.drive.load;
        load.latency.clear();
        load.confirm_latency.clear();
        load.lateness.clear();
    }

    /// Wakes the loop this often, for fixed rates.
    ///
    /// # Errors
    /// When the kernel refuses the timer.
    pub fn tick(&mut self, interval: Duration) -> Result<(), LoadError> {
        Ok(self.drive.events.tick(Ticker::every(interval)?)?)
    }

    /// Cuts a connection without closing it; what its consumers received still counts.
    pub fn forget(&mut self, client: ClientId) {
        let load = &mut self.drive.load;
        let state = &mut load.clients[client.0];
        self.drive.events.abort(state.link);
        state.state = ClientState::Closed;
        for consumer in load.consumers.iter_mut().filter(|consumer| consumer.client == client.0) {
            consumer.ended = true;
        }
    }

    /// Cuts the connection of a channel.
    pub fn forget_connection_of(&mut self, channel: ChannelId) {
        self.forget(channel.client);
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
    /// When there is none for long, or the server closes a channel or connection meanwhile.
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
