//! A virtual host, its clients' connections, and the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tercet_broker::acknowledgement::{Acknowledgement, Unknown};
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::event::{Event, EventSink};
use tercet_broker::filter::{RetainHandling, SubscriptionOptions};
use tercet_broker::journal::{Journal, Position};
use tercet_broker::limits::Limits;
use tercet_broker::message::{Properties, PropertyEncoding, Publication, Qos};
use tercet_broker::metrics::Metrics;
use tercet_broker::outbox::{ConnectionRef, Drained};
use tercet_broker::permission::Permissions;
use tercet_broker::session::Session;
use tercet_broker::vhost::Vhost;
use tercet_broker::vhost::connection::{Connect, Ending};
use tercet_broker::vhost::publishing::{Published, PublishedOnce};
use tercet_broker::vhost::subscribing::{Refused, Subscribe};
use tercet_broker::will::Will;

use super::{Client, Got, Line, TestJournal, TestOutbox, share};

/// Keeps every event.
#[derive(Default)]
pub struct Events(pub Mutex<Vec<Event>>);

impl EventSink for Events {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// How a client connects.
#[derive(Clone)]
pub struct ConnectOptions {
    pub client_id: String,
    pub user: Option<String>,
    pub clean_start: bool,
    pub expiry: u32,
    pub window: u16,
    pub will: Option<Will>,
    pub max_packet: usize,
    pub room: usize,
    pub limit: usize,
}

impl ConnectOptions {
    /// Starts afresh and leaves nothing behind.
    pub fn clean(client_id: &str) -> Self {
        Self {
            client_id: client_id.into(),
            user: None,
            clean_start: true,
            expiry: 0,
            window: 100,
            will: None,
            max_packet: usize::MAX,
            room: 10_000,
            limit: 100_000,
        }
    }

    /// Goes on with earlier state and keeps it for an hour.
    pub fn durable(client_id: &str) -> Self {
        Self { clean_start: false, expiry: 3600, ..Self::clean(client_id) }
    }

    pub fn user(self, user: &str) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    pub fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    pub fn expiry(self, expiry: u32) -> Self {
        Self { expiry, ..self }
    }

    /// With a will of QoS 1 for `topic` that says "will".
    pub fn will(self, topic: &str, delay: u32) -> Self {
        let will = Will {
            topic: topic.into(),
            payload: Bytes::from_static(b"will"),
            properties: Bytes::new(),
            encoding: PropertyEncoding::None,
            qos: Qos::AtLeastOnce,
            retain: false,
            delay,
            expiry: None,
        };
        Self { will: Some(will), ..self }
    }
}

/// Options of an ordinary subscription.
pub fn subscription(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: Qos::from_number(qos).unwrap(),
        no_local: false,
        retain_as_published: false,
        id: None,
    }
}

struct Connection {
    session: Arc<Session>,
    epoch: u32,
    line: Arc<Mutex<Line>>,
}

/// The whole.
pub struct World {
    pub vhost: Arc<Vhost>,
    pub now: Now,
    pub effects: Effects,
    pub journal: Arc<TestJournal>,
    pub events: Arc<Events>,
    connections: HashMap<u32, Connection>,
    stalled: Vec<ConnectionRef>,
    next_slot: u32,
    /// Whether messages are read back as soon as somebody needs them.
    pub reading: bool,
}

impl Default for World {
    fn default() -> Self {
        Self::with(Limits::default())
    }
}

impl World {
    pub fn with(limits: Limits) -> Self {
        Self::at(Now::read(), limits, Arc::new(TestJournal::default()))
    }

    pub fn at(now: Now, limits: Limits, journal: Arc<TestJournal>) -> Self {
        let events = Arc::new(Events::default());
        let recorder = Arc::clone(&journal) as Arc<dyn Journal>;
        let sink = Arc::clone(&events) as Arc<dyn EventSink>;
        let metrics = Arc::new(Metrics::default());
        let vhost = Vhost::new(limits, Permissions::allow_all(), Some(recorder), sink, metrics);
        Self {
            vhost: Arc::new(vhost),
            now,
            effects: Effects::default(),
            journal,
            events,
            connections: HashMap::new(),
            stalled: Vec::new(),
            next_slot: 0,
            reading: true,
        }
    }

    /// A virtual host rebuilt from the first `records` records, or all of them, as after a restart.
    pub fn restarted(&self, records: usize) -> Self {
        let rebuilt = Self::at(self.now, self.vhost.limits(), Arc::new(self.journal.successor()));
        let mut recovery = rebuilt.vhost.recover();
        for record in self.journal.records().into_iter().take(records) {
            recovery.apply(record);
        }
        recovery.for_each_holder(|stored| rebuilt.journal.adopt(stored));
        recovery.finish(self.now);
        rebuilt
    }

    /// Connects and starts redelivery, as a face does.
    pub fn connect(&mut self, options: ConnectOptions) -> Client {
        self.connect_at(options).0
    }

    /// Connects; also the position that the answer waits for.
    pub fn connect_at(&mut self, options: ConnectOptions) -> (Client, Position) {
        let (client, position) = self.connect_only(options);
        self.vhost.start_redelivery(&client.attachment, self.now, &mut self.effects);
        self.settle();
        (client, position)
    }

    /// Connects without starting redelivery.
    pub fn connect_only(&mut self, options: ConnectOptions) -> (Client, Position) {
        let connection = ConnectionRef { reactor: 0, slot: self.next_slot, generation: 0 };
        self.next_slot += 1;
        let line = Arc::new(Mutex::new(Line {
            room: options.room,
            limit: options.limit,
            max_packet: options.max_packet,
            reading: true,
            ..Line::default()
        }));
        let request = Connect {
            client_id: options.client_id.into(),
            user: options.user.map(Into::into),
            clean_start: options.clean_start,
            expiry: options.expiry,
            window: options.window,
            will: options.will.map(Box::new),
            outbox: Box::new(TestOutbox { connection, line: Arc::clone(&line) }),
        };
        let connected = self.vhost.connect(request, self.now, &mut self.effects).expect("room for a session");
        let attachment = connected.attachment;
        self.connections.insert(
            connection.slot,
            Connection {
                session: Arc::clone(&attachment.session),
                epoch: attachment.epoch,
                line: Arc::clone(&line),
            },
        );
        let client = Client { attachment, line, session_present: connected.session_present, connection };
        (client, connected.position)
    }

    /// Does what a reactor does after a batch, until nothing is left to do.
    pub fn settle(&mut self) {
        loop {
            self.vhost.after_durable(self.now, &mut self.effects);
            while self.reading && self.vhost.read_back(&*self.journal, self.now, &mut self.effects) {}
            let mut wakes = std::mem::take(&mut self.effects.wakes);
            wakes.append(&mut self.stalled);
            if wakes.is_empty() {
                return;
            }
            let mut moved = false;
            for wake in wakes {
                moved |= self.drain(wake);
            }
            if !moved && self.effects.wakes.is_empty() {
                return;
            }
        }
    }

    fn drain(&mut self, wake: ConnectionRef) -> bool {
        let Some(connection) = self.connections.get(&wake.slot) else { return false };
        let (session, epoch) = (Arc::clone(&connection.session), connection.epoch);
        if !connection.line.lock().unwrap().reading {
            self.stalled.push(wake);
            return false;
        }
        let mut out = Drained::default();
        match session.drain(epoch, &mut out) {
            Ok(()) => while out.resume && self.vhost.resume(&session, epoch, self.now, &mut self.effects) {},
            Err(reason) => {
                connection.line.lock().unwrap().close = Some(reason);
                self.connections.remove(&wake.slot);
            }
        }
        true
    }

    /// The log is durable up to here, and everybody who waited for that is visited.
    pub fn sync(&mut self) {
        self.journal.sync();
        self.settle();
    }

    /// The client stops or goes on reading.
    pub fn set_reading(&mut self, client: &Client, reading: bool) {
        client.line().reading = reading;
        self.settle();
    }

    pub fn disconnect(&mut self, client: Client, ending: Ending) {
        self.disconnect_with(client, ending, None);
    }

    pub fn disconnect_with(&mut self, client: Client, ending: Ending, expiry: Option<u32>) {
        self.vhost.disconnect(&client.attachment, ending, expiry, self.now, &mut self.effects);
        self.connections.remove(&client.connection.slot);
        self.settle();
    }

    pub fn subscribe(&mut self, client: &Client, filter: &str, qos: u8) {
        self.subscribe_with(client, filter, subscription(qos), RetainHandling::SendAtSubscribe).unwrap();
    }

    pub fn subscribe_with(
        &mut self,
        client: &Client,
        filter: &str,
        options: SubscriptionOptions,
        retain_handling: RetainHandling,
    ) -> Result<Position, Refused> {
        let (share, path) = share(filter);
        let request = Subscribe { filter, share, path, options, retain_handling };
        let done = self.vhost.subscribe(&client.attachment, &request, &mut self.effects);
        self.settle();
        done.map(|(_, position)| position)
    }

    pub fn unsubscribe(&mut self, client: &Client, filter: &str) -> (bool, Position) {
        let done = self.vhost.unsubscribe(&client.attachment, filter, self.now, &mut self.effects);
        self.settle();
        done
    }

    pub fn publish(&mut self, client: &mut Client, topic: &str, payload: &str, qos: u8) -> Published {
        self.publish_with(client, topic, payload, qos, false, None)
    }

    pub fn publish_retained(
        &mut self,
        client: &mut Client,
        topic: &str,
        payload: &str,
        qos: u8,
    ) -> Published {
        self.publish_with(client, topic, payload, qos, true, None)
    }

    pub fn publish_with(
        &mut self,
        client: &mut Client,
        topic: &str,
        payload: &str,
        qos: u8,
        retain: bool,
        expiry: Option<u32>,
    ) -> Published {
        let publication = Publication {
            topic,
            payload: payload.as_bytes(),
            properties: Properties::NONE,
            qos: Qos::from_number(qos).unwrap(),
            retain,
            expiry,
            publisher: client.attachment.session.id(),
        };
        let published = self.vhost.publish(&mut client.attachment, &publication, self.now, &mut self.effects);
        self.settle();
        published
    }

    /// A QoS 2 publication with its identifier.
    pub fn publish_once(
        &mut self,
        client: &mut Client,
        id: u16,
        refusal_ends: bool,
        topic: &str,
        payload: &str,
        retain: bool,
    ) -> PublishedOnce {
        let publication = Publication {
            topic,
            payload: payload.as_bytes(),
            properties: Properties::NONE,
            qos: Qos::ExactlyOnce,
            retain,
            expiry: None,
            publisher: client.attachment.session.id(),
        };
        let attachment = &mut client.attachment;
        let (now, effects) = (self.now, &mut self.effects);
        let done = self.vhost.publish_once(attachment, id, refusal_ends, &publication, now, effects);
        self.settle();
        done
    }

    /// Acknowledges; returns what nothing was known of.
    pub fn acknowledge(&mut self, client: &Client, acknowledgements: &[Acknowledgement]) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        self.vhost.acknowledge(&client.attachment, acknowledgements, self.now, &mut self.effects, |id| {
            unknown.push(id);
        });
        self.settle();
        unknown
    }

    /// Answers everything the client is sent until nothing more comes; returns the payloads in order.
    pub fn consume(&mut self, client: &Client) -> Vec<String> {
        let mut payloads = Vec::new();
        loop {
            let got = client.take();
            if got.is_empty() {
                return payloads;
            }
            let mut answers = Vec::new();
            for item in got {
                match item {
                    Got::Release(id) => answers.push(Acknowledgement::Completed(id)),
                    Got::Publish { payload, qos, id, .. } => {
                        payloads.push(payload);
                        match qos {
                            1 => answers.push(Acknowledgement::Done(id)),
                            2 => answers.push(Acknowledgement::Received(id)),
                            _ => {}
                        }
                    }
                }
            }
            self.acknowledge(client, &answers);
        }
    }

    /// Lets time pass, with housekeeping every second.
    pub fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.after(Duration::from_secs(1));
            self.tick();
        }
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        while self.vhost.tick(self.now, &mut self.effects) {}
        self.settle();
    }
}
