//! The client's side of the protocol, without input or output: what is in flight, what to answer, what to repeat.
//!
//! Invariants: packets leave in the order of the operations; a publish is answered exactly once; what a lost
//! connection left unanswered is sent again in its old order on the next one ([MQTT-4.4.0-1], [MQTT-4.6.0-1]); never
//! more QoS 1 and 2 publishes are unanswered than the broker's Receive Maximum allows ([MQTT-3.3.4-7]).

mod subscriptions;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use tercet_mqtt::alias::{self, TopicForm};
use tercet_mqtt::topic::validate_name;
use tercet_mqtt::{AckKind, Allocator, Packet, PacketId, Publish, write_ack};
use tokio::sync::oneshot;

use super::client::ConnAck;
use super::command::{Command, Outgoing, Subscribed, SubscriptionKey};
use super::inbox::Sender;
use super::options::Options;
use super::property::{Properties, Property};
use super::publish::Receipt;
use super::routing::{Due, Routing};
use super::subscribe::Grant;
use super::wire::{self, Sending};
use super::{Limits, QoS, ReasonCode, Version};
use crate::{Error, Result};

/// Nothing more is taken from the handles while this many bytes wait to be written.
const HIGH_WATER: usize = 256 * 1024;
/// More than the rest of a PUBLISH takes beside topic and payload in ordinary cases.
const ROOM: usize = 4096;

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
    inflight_limit: u16,
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
    /// QoS 1 and 2 publishes without their final answer, in order.
    inflight: BTreeMap<u64, InFlight>,
    by_id: HashMap<PacketId, u64>,
    /// Those of them that are not sent on this connection yet, in order.
    unsent: VecDeque<u64>,
    /// QoS 0 publishes, by where in the stream of bytes they end.
    unwritten: VecDeque<(u64, Done<Receipt>)>,
    flushes: Vec<(u64, u64, Done<()>)>,
    /// QoS 2 messages received, until their PUBREL.
    received: HashSet<PacketId>,
    aliases_out: alias::Outbound,
    aliases_in: alias::Inbound<Arc<str>>,
    last_topic: Arc<str>,
    subscribing: HashMap<PacketId, Subscribing>,
    unsubscribing: HashMap<PacketId, Unsubscribing>,
    routing: Routing,
}

/// What the broker said about itself in CONNACK.
struct Server {
    receive_maximum: u16,
    maximum_packet: usize,
    maximum_qos: QoS,
    retain_available: bool,
    alias_maximum: u16,
    subscription_ids: bool,
}

struct InFlight {
    id: PacketId,
    message: Outgoing,
    stage: Stage,
    /// Sent before, on any connection.
    sent: bool,
    done: Done<Receipt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// PUBACK is due.
    Ack,
    /// PUBREC is due.
    Rec,
    /// PUBCOMP is due.
    Comp,
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
        Self {
            version: options.version,
            inflight_limit: options.inflight.unwrap_or(if options.version.is_v5() { 1024 } else { 20 }),
            alias_topics: options.alias_topics && options.version.is_v5(),
            subscription_ids: options.subscription_ids && options.version.is_v5(),
            out: Vec::new(),
            taken: 0,
            server: Server::new(&Properties::new()),
            ids: Allocator::new(),
            next_seq: 0,
            next_key: 1,
            inflight: BTreeMap::new(),
            by_id: HashMap::new(),
            unsent: VecDeque::new(),
            unwritten: VecDeque::new(),
            flushes: Vec::new(),
            received: HashSet::new(),
            aliases_out: alias::Outbound::new(0),
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
        self.aliases_out =
            alias::Outbound::new(if self.alias_topics { self.server.alias_maximum } else { 0 });
        self.out.clear();
        self.taken = 0;
        let mut again = 0;
        if connack.session_present {
            self.repeat_unanswered_subscriptions();
        } else {
            self.received.clear();
            self.settle_received_publishes();
            again = self.subscribe_again();
        }
        self.unsent = self.inflight.keys().copied().collect();
        self.pump();
        again
    }

    /// The connection is gone. What can be repeated is kept; QoS 0 messages that were not written are lost.
    pub(super) fn lost(&mut self, error: &Error) {
        for (_, done) in self.unwritten.drain(..) {
            drop(done.send(Err(error.clone())));
        }
        self.routing.forget_due();
        self.out.clear();
        self.check_flushes();
    }

    /// Nothing follows: everybody who waits is told why.
    pub(super) fn end(&mut self, error: &Error) {
        self.lost(error);
        for (_, publish) in std::mem::take(&mut self.inflight) {
            drop(publish.done.send(Err(error.clone())));
        }
        for (_, subscribing) in self.subscribing.drain() {
            if let Some(done) = subscribing.done {
                drop(done.send(Err(error.clone())));
            }
        }
        for (_, unsubscribing) in self.unsubscribing.drain() {
            drop(unsubscribing.done.send(Err(error.clone())));
        }
        for (_, _, done) in self.flushes.drain(..) {
            drop(done.send(Err(error.clone())));
        }
        self.routing.end(error);
    }

    /// Whether another operation may be handed over.
    pub(super) fn has_room(&self) -> bool {
        self.unsent.is_empty() && self.out.len() < HIGH_WATER
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
            Command::Flush { done } => {
                let written = self.taken + self.out.len() as u64;
                self.flushes.push((self.next_seq, written, done));
                self.check_flushes();
            }
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
        let (version, out, before) = (self.version, &mut self.out, self.routing.is_congested());
        let all = self.routing.poll_waiting(cx, |due| acknowledge(due, version, out));
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
            Packet::PubAck(ack) => {
                self.acknowledged(ack.packet_id, Stage::Ack, ack.reason, || wire::ack(&ack.properties))
            }
            Packet::PubRec(ack) => {
                self.acknowledged(ack.packet_id, Stage::Rec, ack.reason, || wire::ack(&ack.properties));
            }
            Packet::PubComp(ack) => {
                self.acknowledged(ack.packet_id, Stage::Comp, ack.reason, || wire::ack(&ack.properties));
            }
            Packet::PubRel(ack) => {
                let known = self.received.remove(&ack.packet_id);
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

    fn publish(&mut self, message: Outgoing, done: Done<Receipt>) {
        if let Err(error) = self.check_publish(&message) {
            return drop(done.send(Err(error)));
        }
        let seq = self.next_seq;
        if message.qos == QoS::AtMostOnce {
            match self.write_publish(&message, None, false) {
                Ok(()) => {
                    self.next_seq += 1;
                    self.unwritten.push_back((self.taken + self.out.len() as u64, done));
                }
                Err(error) => drop(done.send(Err(error))),
            }
            return;
        }
        let Some(id) = self.ids.allocate() else {
            return drop(done.send(Err(Error::Invalid("all packet identifiers are in use".into()))));
        };
        self.next_seq += 1;
        let stage = if message.qos == QoS::AtLeastOnce { Stage::Ack } else { Stage::Rec };
        self.inflight.insert(seq, InFlight { id, message, stage, sent: false, done });
        self.by_id.insert(id, seq);
        self.unsent.push_back(seq);
        self.pump();
    }

    fn check_publish(&self, message: &Outgoing) -> Result<()> {
        validate_name(&message.topic, &Limits::protocol())
            .map_err(|error| Error::Invalid(format!("topic \"{}\": {error}", message.topic)))?;
        if message.qos > self.server.maximum_qos {
            return Err(Error::Unsupported(format!(
                "the broker's highest QoS is {}",
                self.server.maximum_qos
            )));
        }
        if message.retain && !self.server.retain_available {
            return Err(Error::Unsupported("the broker keeps no retained messages".into()));
        }
        match message.properties.topic_alias() {
            Some(alias) if alias == 0 || alias > self.server.alias_maximum => Err(Error::Unsupported(
                format!("topic alias {alias}: the broker takes 1 to {} of them", self.server.alias_maximum),
            )),
            _ => Ok(()),
        }
    }

    /// Sends what is in flight but not sent on this connection, as far as the Receive Maximum allows.
    fn pump(&mut self) {
        let window = usize::from(self.server.receive_maximum.min(self.inflight_limit));
        while let Some(&seq) = self.unsent.front() {
            if self.inflight.len() - self.unsent.len() >= window {
                return;
            }
            self.unsent.pop_front();
            let Some(mut publish) = self.inflight.remove(&seq) else { continue };
            if publish.stage == Stage::Comp {
                write_ack(AckKind::PubRel, self.version, publish.id, ReasonCode::Success, &mut self.out);
            } else if let Err(error) = self.write_publish(&publish.message, Some(publish.id), publish.sent) {
                self.release(publish.id);
                drop(publish.done.send(Err(error)));
                continue;
            }
            publish.sent = true;
            self.inflight.insert(seq, publish);
        }
    }

    fn write_publish(&mut self, message: &Outgoing, id: Option<PacketId>, dup: bool) -> Result<()> {
        let own = message.properties.topic_alias().is_some();
        let small = message.payload.len() + message.topic.len() + ROOM < self.server.maximum_packet;
        // An alias that is given here must be sent, so nothing that may be too large gets one.
        let form = if own || !small { TopicForm::Name } else { self.aliases_out.assign(&message.topic) };
        let (alias, topic_known) = match form {
            TopicForm::Name => (None, false),
            TopicForm::Define(alias) => (Some(alias), false),
            TopicForm::Alias(alias) => (Some(alias), true),
        };
        let start = self.out.len();
        let sending = Sending { id, dup, alias, topic_known };
        let written = wire::publish(message, sending, self.version, &mut self.out);
        let size = self.out.len() - start;
        let outcome = match written {
            Ok(()) if size > self.server.maximum_packet => {
                Err(Error::TooLarge { size, limit: self.server.maximum_packet })
            }
            other => other,
        };
        if outcome.is_err() {
            self.out.truncate(start);
            if matches!(form, TopicForm::Define(_)) {
                // The broker will never hear of it; do without aliases from here on.
                self.aliases_out = alias::Outbound::new(0);
            }
        }
        outcome
    }

    fn acknowledged(
        &mut self,
        id: PacketId,
        stage: Stage,
        reason: ReasonCode,
        properties: impl FnOnce() -> Properties,
    ) {
        let seq = self.by_id.get(&id).copied();
        let waiting =
            seq.and_then(|seq| self.inflight.get_mut(&seq)).filter(|publish| publish.stage == stage);
        let Some(publish) = waiting else {
            // A PUBREC of an exchange that is over, or in its second half, asks for PUBREL all the same.
            if stage == Stage::Rec && !reason.is_error() {
                let known = seq.is_some();
                let reason = if known { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
                write_ack(AckKind::PubRel, self.version, id, reason, &mut self.out);
            }
            return;
        };
        if stage == Stage::Rec && !reason.is_error() {
            publish.stage = Stage::Comp;
            write_ack(AckKind::PubRel, self.version, id, ReasonCode::Success, &mut self.out);
            return;
        }
        let Some(publish) = seq.and_then(|seq| self.inflight.remove(&seq)) else { return };
        self.release(id);
        let properties = properties();
        // A PUBCOMP that does not know the identifier ends the exchange as well; the message was taken before.
        let outcome = if reason.is_error() && stage != Stage::Comp {
            Err(Error::PublishRefused {
                topic: publish.message.topic,
                code: reason as u8,
                reason: reason.name().into(),
                text: properties.reason_string().map(Into::into),
            })
        } else {
            Ok(Receipt { packet_id: Some(id.get()), reason, properties })
        };
        drop(publish.done.send(outcome));
        self.pump();
        self.check_flushes();
    }

    fn release(&mut self, id: PacketId) {
        self.by_id.remove(&id);
        self.ids.release(id);
    }

    /// The broker forgot the session: what it had received is done, the rest becomes a new publish.
    fn settle_received_publishes(&mut self) {
        let taken: Vec<u64> =
            self.inflight.iter().filter(|(_, p)| p.stage == Stage::Comp).map(|(seq, _)| *seq).collect();
        for seq in taken {
            if let Some(publish) = self.inflight.remove(&seq) {
                self.release(publish.id);
                let (packet_id, properties) = (Some(publish.id.get()), Properties::new());
                drop(publish.done.send(Ok(Receipt { packet_id, reason: ReasonCode::Success, properties })));
            }
        }
        self.inflight.values_mut().for_each(|publish| publish.sent = false);
        self.check_flushes();
    }

    fn check_flushes(&mut self) {
        if self.flushes.is_empty() {
            return;
        }
        let first = self.inflight.first_key_value().map_or(u64::MAX, |(seq, _)| *seq);
        let (taken, waiting) = (self.taken, !self.unwritten.is_empty());
        for (seq, written, done) in std::mem::take(&mut self.flushes) {
            if first >= seq && (!waiting || taken >= written) {
                drop(done.send(Ok(())));
            } else {
                self.flushes.push((seq, written, done));
            }
        }
    }

    fn received(&mut self, publish: &Publish<'_>) -> Result<(), Violation> {
        let topic = self.topic(publish)?;
        let due = publish.packet_id.map(|id| Due { qos: publish.qos, id });
        if let Some(Due { qos: QoS::ExactlyOnce, id }) = due
            && !self.received.insert(id)
        {
            // Delivered before: only the answer got lost ([MQTT-4.3.3-10]).
            acknowledge(Due { qos: QoS::ExactlyOnce, id }, self.version, &mut self.out);
            return Ok(());
        }
        let delivered = self.routing.deliver(wire::message(publish, topic), due);
        if let (true, Some(due)) = (delivered, due) {
            acknowledge(due, self.version, &mut self.out);
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

fn acknowledge(due: Due, version: Version, out: &mut Vec<u8>) {
    let kind = if due.qos == QoS::ExactlyOnce { AckKind::PubRec } else { AckKind::PubAck };
    write_ack(kind, version, due.id, ReasonCode::Success, out);
}

impl Server {
    fn new(properties: &Properties) -> Self {
        let flag = |property: Option<u8>| property != Some(0);
        Self {
            receive_maximum: properties.receive_maximum().unwrap_or(u16::MAX).max(1),
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
