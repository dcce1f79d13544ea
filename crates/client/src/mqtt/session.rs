//! The client's side of the protocol, without input or output: what is in flight, what to answer, what to repeat.
//!
//! Invariants: packets leave in the order of the operations; a publish is answered exactly once; what a lost
//! connection left unanswered is sent again in its old order on the next one ([MQTT-4.4.0-1], [MQTT-4.6.0-1]); never
//! more QoS 1 and 2 publishes are unanswered than the broker's Receive Maximum allows ([MQTT-3.3.4-7]), nor are more
//! taken from it than ours ([MQTT-3.3.4-9]). All of that is kept by the state machines of tercet-mqtt.

mod publish_writer;
mod publishing;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll};

use tercet_mqtt::inflight::{Arrival, Inbound, Outbound};
use tercet_mqtt::{AckKind, Allocator, Packet, PacketId, Publish, alias, write_ack};
use tokio::sync::oneshot;

use self::publish_writer::PublishWriter;
use self::publishing::{Flush, Pending};
use super::client::ConnAck;
use super::command::{Command, Subscribed, SubscriptionKey};
use super::inbox::Sender;
use super::options::Options;
use super::property::{Properties, Property};
use super::publish::Receipt;
use super::routing::{Due, Routing};
use super::subscribe::Grant;
use super::{QoS, ReasonCode, Version};
use crate::{Error, Result};

/// Nothing more is taken from the handles while this many bytes wait to be written.
const HIGH_WATER: usize = 256 * 1024;

type Done<T> = oneshot::Sender<Result<T>>;

/// Why the connection has to end.
#[derive(Debug)]
pub(super) enum Violation {
    /// The broker broke the protocol: tell it with this code.
    Broken(ReasonCode, String),
    /// The broker ended it.
    Ended(Error),
}

pub(super) struct Session {
    version: Version,
    inflight_limit: NonZeroU16,
    /// Our own, which the broker must keep to.
    receive_maximum: NonZeroU16,
    alias_topics: bool,
    subscription_ids: bool,
    /// Bytes to write; the driver takes them from the front.
    pub(super) out: Vec<u8>,
    /// Bytes that the driver has taken out of `out` so far on this connection.
    taken: u64,
    server: Server,
    ids: Allocator,
    next_seq: u64,
    next_key: u32,
    /// QoS 1 and 2 publishes without their final answer.
    sending: Outbound<Pending>,
    /// Those that were not sent on any connection, in order.
    waiting: VecDeque<Pending>,
    /// QoS 0 publishes, by where in the stream of bytes they end.
    unwritten: VecDeque<(u64, Done<Receipt>)>,
    flushes: Vec<Flush>,
    writer: PublishWriter,
    receiving: Inbound,
    aliases_in: alias::Inbound<Arc<str>>,
    last_topic: Arc<str>,
    subscribing: HashMap<PacketId, Subscribing>,
    unsubscribing: HashMap<PacketId, Unsubscribing>,
    routing: Routing,
}

/// What the broker said about itself in CONNACK.
struct Server {
    receive_maximum: NonZeroU16,
    maximum_packet: usize,
    maximum_qos: QoS,
    retain_available: bool,
    alias_maximum: u16,
    subscription_ids: bool,
}

struct Subscribing {
    key: SubscriptionKey,
    filters: Vec<String>,
    /// `None` when it was subscribed again after a reconnect.
    done: Option<Done<(Subscribed, Vec<Grant>)>>,
}

struct Unsubscribing {
    filters: Vec<String>,
    properties: Properties,
    done: Done<Vec<ReasonCode>>,
}

impl Session {
    pub(super) fn new(options: &Options, inbox: Option<Sender>) -> Self {
        let version = options.version;
        let inflight_limit = options.inflight.unwrap_or(if version.is_v5() { 1024 } else { 20 });
        let inflight_limit = NonZeroU16::new(inflight_limit).unwrap_or(NonZeroU16::MIN);
        // Before MQTT 5 nobody told the broker of a limit.
        let ours = options.properties.receive_maximum().filter(|_| version.is_v5());
        let receive_maximum = ours.and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MAX);
        Self {
            version,
            inflight_limit,
            receive_maximum,
            alias_topics: options.alias_topics && options.version.is_v5(),
            subscription_ids: options.subscription_ids && options.version.is_v5(),
            out: Vec::new(),
            taken: 0,
            server: Server::new(&Properties::new()),
            ids: Allocator::new(),
            next_seq: 0,
            next_key: 1,
            sending: Outbound::new(inflight_limit),
            waiting: VecDeque::new(),
            unwritten: VecDeque::new(),
            flushes: Vec::new(),
            writer: PublishWriter::new(version, 0, usize::MAX),
            receiving: Inbound::new(receive_maximum),
            aliases_in: alias::Inbound::new(options.properties.topic_alias_maximum().unwrap_or(0)),
            last_topic: Arc::from(""),
            subscribing: HashMap::new(),
            unsubscribing: HashMap::new(),
            routing: Routing::new(inbox),
        }
    }

    /// Begins to serve a new connection; answers how many filters had to be subscribed again.
    pub(super) fn connected(&mut self, connack: &ConnAck) -> usize {
        self.server = Server::new(&connack.properties);
        // Aliases live as long as their connection ([MQTT-3.3.2-7]).
        self.aliases_in = alias::Inbound::new(self.aliases_in.maximum());
        let alias_maximum = if self.alias_topics { self.server.alias_maximum } else { 0 };
        self.writer = PublishWriter::new(self.version, alias_maximum, self.server.maximum_packet);
        self.out.clear();
        self.taken = 0;
        let mut again = 0;
        if connack.session_present {
            self.receiving.reconnected(self.receive_maximum);
            self.repeat_unanswered_subscriptions();
        } else {
            self.receiving = Inbound::new(self.receive_maximum);
            self.publish_anew();
            again = self.subscribe_again();
        }
        self.sending.reconnected(self.server.receive_maximum.min(self.inflight_limit));
        self.pump();
        again
    }

    /// The connection is gone. What can be repeated is kept; QoS 0 messages that were not written are lost.
    pub(super) fn lost(&mut self, error: &Error) {
        self.lose_unwritten(error);
        self.routing.forget_due();
        self.out.clear();
    }

    /// Nothing follows: everybody who waits is told why.
    pub(super) fn end(&mut self, error: &Error) {
        self.lost(error);
        self.sending.drain().for_each(|unfinished| unfinished.message.fail(error));
        self.waiting.drain(..).for_each(|publish| publish.fail(error));
        for (_, subscribing) in self.subscribing.drain() {
            if let Some(done) = subscribing.done {
                drop(done.send(Err(error.clone())));
            }
        }
        for (_, unsubscribing) in self.unsubscribing.drain() {
            drop(unsubscribing.done.send(Err(error.clone())));
        }
        self.flushes.drain(..).for_each(|flush| flush.fail(error));
        self.routing.end(error);
    }

    /// Whether another operation may be handed over.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && !self.sending.is_resending() && self.out.len() < HIGH_WATER
    }

    /// Whether reading should go on.
    pub(super) fn may_read(&self) -> bool {
        !self.routing.is_congested() && self.out.len() < 4 * HIGH_WATER
    }

    pub(super) fn submit(&mut self, command: Command) {
        match command {
            Command::Publish { message, done } => self.publish(message, done),
            Command::Subscribe { filters, properties, sink, done } => {
                self.subscribe(filters, properties, sink, done);
            }
            Command::Unsubscribe { subscription, filters, properties, done } => {
                if let Some(key) = subscription {
                    self.routing.remove(key);
                }
                self.unsubscribe(Unsubscribing { filters, properties, done });
            }
            Command::Flush { done } => self.flush(done),
        }
    }

    /// The driver wrote `n` bytes from the front of [`out`](Self::out).
    pub(super) fn wrote(&mut self, n: usize) {
        self.out.drain(..n);
        self.taken += n as u64;
        while self.unwritten.front().is_some_and(|(end, _)| *end <= self.taken) {
            if let Some((_, done)) = self.unwritten.pop_front() {
                let properties = Properties::new();
                drop(done.send(Ok(Receipt { packet_id: None, reason: ReasonCode::Success, properties })));
            }
        }
        self.check_flushes();
    }

    /// Moves messages on to readers that have room again.
    pub(super) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.routing.has_waiting() {
            return Poll::Pending;
        }
        let (version, receiving, out) = (self.version, &mut self.receiving, &mut self.out);
        let before = self.routing.is_congested();
        let all = self.routing.poll_waiting(cx, |due| acknowledge(due, version, receiving, out));
        // Something moved if there is something to acknowledge, or reading may go on.
        if all.is_ready() || !self.out.is_empty() || before != self.routing.is_congested() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Takes a packet of the broker's.
    pub(super) fn packet(&mut self, packet: Packet<'_>) -> Result<(), Violation> {
        match packet {
            Packet::Publish(publish) => return self.received(&publish),
            Packet::PubAck(ack) => return self.puback(&ack),
            Packet::PubRec(ack) => return self.pubrec(&ack),
            Packet::PubComp(ack) => return self.pubcomp(&ack),
            Packet::PubRel(ack) => {
                let known = self.receiving.handle_pubrel(ack.packet_id);
                let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
                write_ack(AckKind::PubComp, self.version, ack.packet_id, reason, &mut self.out);
            }
            Packet::SubAck(suback) => self.subscribed(&suback),
            Packet::UnsubAck(unsuback) => self.unsubscribed(&unsuback),
            Packet::PingResp => {}
            Packet::Disconnect(disconnect) => {
                return Err(Violation::Ended(Error::Disconnected {
                    code: disconnect.reason as u8,
                    reason: disconnect.reason.name().into(),
                    text: disconnect.properties.reason_string.map(Into::into),
                }));
            }
            other => {
                let text = format!("unexpected {:?}", other.packet_type());
                return Err(Violation::Broken(ReasonCode::ProtocolError, text));
            }
        }
        Ok(())
    }

    fn received(&mut self, publish: &Publish<'_>) -> Result<(), Violation> {
        // Also of a message that came before: an alias may be new.
        let topic = self.topic(publish)?;
        let due = publish.packet_id.map(|id| Due { qos: publish.qos, id });
        if let Some(due) = due {
            let arrival = self.receiving.handle_publish(due.qos, due.id);
            let arrival = arrival.map_err(|error| Violation::Broken(error.reason(), error.to_string()))?;
            if arrival == Arrival::Duplicate {
                // Delivered before: only the answer got lost ([MQTT-4.3.3-10]).
                acknowledge(due, self.version, &mut self.receiving, &mut self.out);
                return Ok(());
            }
        }
        let delivered = self.routing.deliver(super::wire::message(publish, topic), due);
        if let (true, Some(due)) = (delivered, due) {
            acknowledge(due, self.version, &mut self.receiving, &mut self.out);
        }
        Ok(())
    }

    /// The topic, from its alias if need be. Messages on one topic share it.
    fn topic(&mut self, publish: &Publish<'_>) -> Result<Arc<str>, Violation> {
        let invalid = |error: alias::AliasError| Violation::Broken(error.reason(), error.to_string());
        let alias = publish.properties.topic_alias;
        if publish.topic.is_empty() {
            let alias = alias.ok_or(alias::AliasError::NoTopic).map_err(invalid)?;
            return self.aliases_in.get(alias).cloned().map_err(invalid);
        }
        if *self.last_topic != *publish.topic {
            self.last_topic = publish.topic.into();
        }
        if let Some(alias) = alias {
            self.aliases_in.set(alias, self.last_topic.clone()).map_err(invalid)?;
        }
        Ok(self.last_topic.clone())
    }
}

fn acknowledge(due: Due, version: Version, receiving: &mut Inbound, out: &mut Vec<u8>) {
    let kind = if due.qos == QoS::ExactlyOnce {
        AckKind::PubRec
    } else {
        receiving.puback_sent();
        AckKind::PubAck
    };
    write_ack(kind, version, due.id, ReasonCode::Success, out);
}

impl Server {
    fn new(properties: &Properties) -> Self {
        let flag = |property: Option<u8>| property != Some(0);
        Self {
            receive_maximum: properties
                .receive_maximum()
                .and_then(NonZeroU16::new)
                .unwrap_or(NonZeroU16::MAX),
            maximum_packet: properties.maximum_packet_size().map_or(usize::MAX, |n| n as usize),
            maximum_qos: properties.maximum_qos().and_then(QoS::new).unwrap_or(QoS::ExactlyOnce),
            retain_available: flag(properties.retain_available()),
            alias_maximum: properties.topic_alias_maximum().unwrap_or(0),
            subscription_ids: flag(properties.subscription_identifier_available()),
        }
    }
}

/// What a client sets in CONNECT unless told otherwise.
pub(super) fn defaults(properties: &mut Properties, version: Version) {
    if version.is_v5() && properties.topic_alias_maximum().is_none() {
        properties.set(Property::TopicAliasMaximum(32));
    }
}
