//! A virtual host without a log, somebody who acts in it, and what queues hold.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tercet_amqp::content::{BasicProperties, Properties as Encoded};
use tercet_amqp::field::{ArrayBuf, Table, TableBuf, Value};
use tercet_broker::actor::{Actor, AllRights, ConnectionId, Right, Rights};
use tercet_broker::body::Stored;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::event::{Event, EventSink};
use tercet_broker::exchange::request::{Bind, DeclareExchange, DeclareQueue, Destination, QueueDeclared};
use tercet_broker::exchange::route_cache::ExchangeRoutes;
use tercet_broker::exchange_publication::{ExchangePublication, Published};
use tercet_broker::limits::Limits;
use tercet_broker::message::{Message, Properties, PropertyEncoding};
use tercet_broker::metrics::Metrics;
use tercet_broker::named_queue::Peeking;
use tercet_broker::permission::Permissions;
use tercet_broker::read_back::{Bodies, Unreadable};
use tercet_broker::refusal::Refusal;
use tercet_broker::vhost::Vhost;

struct Silent;

impl EventSink for Silent {
    fn event(&self, _: Event) {}
}

/// Nothing is in a log.
struct NoBodies;

impl Bodies for NoBodies {
    fn read(&self, records: &[Stored]) -> Vec<Result<Arc<Message>, Unreadable>> {
        records.iter().map(|_| Err(Unreadable("there is no log".into()))).collect()
    }
}

/// Rights that tests set one by one.
#[derive(Debug, Default)]
pub struct Denied {
    pub denied: Mutex<Vec<(Right, String)>>,
    pub topics: Mutex<Vec<(Right, String)>>,
    pub generation: AtomicU64,
}

impl Denied {
    pub fn deny(&self, right: Right, name: &str) {
        self.denied.lock().unwrap().push((right, name.into()));
        self.generation.fetch_add(1, Relaxed);
    }

    pub fn deny_topic(&self, right: Right, key: &str) {
        self.topics.lock().unwrap().push((right, key.into()));
        self.generation.fetch_add(1, Relaxed);
    }
}

impl Rights for Denied {
    fn allows(&self, right: Right, resource: &str) -> bool {
        !self.denied.lock().unwrap().iter().any(|(denied, name)| *denied == right && name == resource)
    }

    fn allows_topic(&self, right: Right, _: &str, key: &str) -> bool {
        !self.topics.lock().unwrap().iter().any(|(denied, name)| *denied == right && name == key)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }
}

pub struct World {
    pub vhost: Vhost,
    pub now: Now,
    pub effects: Effects,
    pub actor: Actor,
    pub routes: ExchangeRoutes,
}

impl Default for World {
    fn default() -> Self {
        let vhost = Vhost::new(
            Limits::default(),
            Permissions::allow_all(),
            None,
            Arc::new(Silent),
            Arc::new(Metrics::default()),
        );
        Self {
            vhost,
            now: Now::read(),
            effects: Effects::default(),
            actor: actor(1, Arc::new(AllRights)),
            routes: ExchangeRoutes::default(),
        }
    }
}

pub fn actor(connection: u64, rights: Arc<dyn Rights>) -> Actor {
    Actor { user: "guest".into(), vhost: "/".into(), connection: ConnectionId(connection), rights }
}

/// Arguments.
pub fn table(fields: &[(&str, Value<'_>)]) -> TableBuf {
    let mut table = TableBuf::new();
    for (name, value) in fields {
        table.put(name, *value).expect("short");
    }
    table
}

/// An array of texts.
pub fn array(texts: &[&str]) -> ArrayBuf {
    let mut array = ArrayBuf::new();
    for text in texts {
        array.push(*text).expect("short");
    }
    array
}

/// Properties, flags first.
pub fn encoded(properties: &BasicProperties<'_>) -> Vec<u8> {
    let (mut list, mut bytes) = (Vec::new(), Vec::new());
    let properties: Encoded<'_> = properties.encode(&mut list).expect("short");
    properties.write(&mut bytes);
    bytes
}

impl World {
    pub fn with_rights(rights: &Arc<Denied>) -> Self {
        Self { actor: actor(1, Arc::clone(rights) as Arc<dyn Rights>), ..Self::default() }
    }

    /// Acts as another connection.
    pub fn as_connection<R>(&mut self, connection: u64, act: impl FnOnce(&mut Self) -> R) -> R {
        let other = Actor { connection: ConnectionId(connection), ..self.actor.clone() };
        let own = std::mem::replace(&mut self.actor, other);
        let result = act(self);
        self.actor = own;
        result
    }

    pub fn pass(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
        self.vhost.run_due(self.now, &mut self.effects);
    }

    pub fn try_declare(&mut self, request: &DeclareExchange<'_>) -> Result<(), Refusal> {
        self.vhost.declare_exchange(&self.actor, request, self.now, &mut self.effects).map(drop)
    }

    /// A transient exchange.
    pub fn exchange(&mut self, name: &str, kind: &str) {
        self.try_declare(&DeclareExchange { name, kind, ..DeclareExchange::default() }).expect("valid");
    }

    pub fn exchange_with(&mut self, name: &str, kind: &str, arguments: &TableBuf) {
        let arguments = arguments.as_table();
        self.try_declare(&DeclareExchange { name, kind, arguments, ..DeclareExchange::default() })
            .expect("valid");
    }

    pub fn try_queue(&mut self, request: &DeclareQueue<'_>) -> Result<QueueDeclared, Refusal> {
        self.vhost.declare_queue(&self.actor, request, self.now, &mut self.effects)
    }

    /// A transient queue.
    pub fn queue(&mut self, name: &str) {
        self.try_queue(&DeclareQueue { name, ..DeclareQueue::default() }).expect("valid");
    }

    pub fn try_bind(
        &mut self,
        source: &str,
        destination: Destination<'_>,
        key: &str,
        arguments: Table<'_>,
    ) -> Result<(), Refusal> {
        let request = Bind { source, destination, key, arguments };
        self.vhost.bind(&self.actor, &request, self.now, &mut self.effects).map(drop)
    }

    pub fn bind(&mut self, source: &str, queue: &str, key: &str) {
        self.try_bind(source, Destination::Queue(queue), key, Table::default()).expect("valid");
    }

    pub fn bind_exchange(&mut self, source: &str, exchange: &str, key: &str) {
        self.try_bind(source, Destination::Exchange(exchange), key, Table::default()).expect("valid");
    }

    pub fn try_unbind(
        &mut self,
        source: &str,
        destination: Destination<'_>,
        key: &str,
    ) -> Result<(), Refusal> {
        let request = Bind { source, destination, key, arguments: Table::default() };
        self.vhost.unbind(&self.actor, &request, self.now, &mut self.effects).map(drop)
    }

    pub fn unbind(&mut self, source: &str, queue: &str, key: &str) {
        self.try_unbind(source, Destination::Queue(queue), key).expect("valid");
    }

    pub fn delete_queue(&mut self, name: &str) -> u32 {
        let (now, effects) = (self.now, &mut self.effects);
        self.vhost.delete_queue(&self.actor, name, false, false, now, effects).expect("allowed").0
    }

    pub fn try_delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<(), Refusal> {
        self.vhost.delete_exchange(&self.actor, name, if_unused, self.now, &mut self.effects).map(drop)
    }

    pub fn try_publish(
        &mut self,
        exchange: &str,
        key: &str,
        properties: &BasicProperties<'_>,
        payload: &str,
    ) -> Result<Published, Refusal> {
        let bytes = encoded(properties);
        let publication = ExchangePublication {
            exchange,
            routing_key: key,
            properties: Properties { encoding: PropertyEncoding::Amqp, bytes: &bytes },
            payload: payload.as_bytes(),
            mandatory: false,
        };
        let (now, effects) = (self.now, &mut self.effects);
        self.vhost.publish_to_exchange(&self.actor, &mut self.routes, &publication, now, effects)
    }

    /// Publishes a message, and says whether it reached anybody.
    pub fn publish(&mut self, exchange: &str, key: &str, payload: &str) -> bool {
        self.try_publish(exchange, key, &BasicProperties::default(), payload).expect("allowed").routed
    }

    /// Publishes a message with headers.
    pub fn publish_with(&mut self, exchange: &str, key: &str, headers: &TableBuf, payload: &str) -> bool {
        let properties = BasicProperties { headers: Some(headers.as_table()), ..Default::default() };
        self.try_publish(exchange, key, &properties, payload).expect("allowed").routed
    }

    /// The messages in a queue.
    pub fn messages(&self, queue: &str) -> Vec<Arc<Message>> {
        let all = Peeking { from: 0, most: 10_000 };
        let peeked = self.vhost.peek(&actor(1, Arc::new(AllRights)), queue, all, &NoBodies).expect("there");
        peeked.into_iter().filter_map(|peeked| peeked.message).collect()
    }

    /// The payloads in a queue.
    pub fn payloads(&self, queue: &str) -> Vec<String> {
        let text = |message: Arc<Message>| String::from_utf8_lossy(&message.payload).into_owned();
        self.messages(queue).into_iter().map(text).collect()
    }

    /// Which of these queues got a message that is published now; they are emptied.
    pub fn reached(&mut self, exchange: &str, key: &str, headers: &TableBuf) -> Vec<String> {
        self.publish_with(exchange, key, headers, "probe");
        let mut reached = Vec::new();
        for info in self.vhost.queues() {
            let name = info.queue.name().to_string();
            let (now, effects) = (self.now, &mut self.effects);
            let (count, _) = self.vhost.purge_queue(&self.actor, &name, now, effects).expect("there");
            assert!(count <= 1, "{name} got it {count} times");
            if count == 1 {
                reached.push(name);
            }
        }
        reached
    }

    pub fn key_reaches(&mut self, exchange: &str, key: &str) -> Vec<String> {
        self.reached(exchange, key, &TableBuf::new())
    }
}

/// Code and text of a refusal.
pub fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
    result.expect_err("refused").to_string()
}
