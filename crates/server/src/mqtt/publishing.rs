//! PUBLISH and the acknowledgements in both directions.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tercet_broker::journal::Position;
use tercet_broker::message::{Properties, PropertyEncoding, Publication, Qos};
use tercet_broker::session::SessionId;
use tercet_broker::vhost::publishing::{Published, PublishedOnce};
use tercet_mqtt::alias::Inbound;
use tercet_mqtt::property::{PublishProperties, SubscriptionIds};
use tercet_mqtt::{Ack, AckKind, PacketId, Publish, QoS, ReasonCode, Version, write_ack};

use crate::mqtt::connection::{Client, End};
use crate::mqtt::outbox::to_core;
use crate::mqtt::settings::ListenerSettings;
use crate::reactor::acceptor::Rate;
use crate::reactor::face::{FaceContext, PATIENCE, Step};

/// What a client sends us: how much of it is under way, and how fast it may come.
pub(super) struct Inflow {
    /// QoS 2 publications received and not yet released by the client.
    unreleased: u16,
    /// Answers that wait for the log, oldest first.
    waiting: VecDeque<Waiting>,
    /// How many of them answer a publication, and so count against our Receive Maximum.
    unconfirmed: usize,
    /// Whether something of this batch was recorded.
    recorded: bool,
    /// Since when the log has taken nothing of this client.
    refused_since: Option<Instant>,
    rates: Option<Box<Rates>>,
    /// Property bytes of the message at hand; kept to spare an allocation per message.
    properties: Vec<u8>,
}

struct Waiting {
    position: Position,
    packet: SmallVec<[u8; 8]>,
    /// Whether it answers a publication, and so counts against our Receive Maximum.
    counts: bool,
}

struct Rates {
    messages: Option<Rate>,
    bytes: Option<Rate>,
    published: u32,
}

impl Inflow {
    /// The inflow of a client that connects; `unreleased` QoS 2 exchanges are left from earlier.
    pub(super) fn new(unreleased: usize, settings: &ListenerSettings, now: Instant) -> Self {
        let limited = settings.message_rate.is_some() || settings.byte_rate.is_some();
        Self {
            unreleased: u16::try_from(unreleased).unwrap_or(u16::MAX),
            waiting: VecDeque::new(),
            unconfirmed: 0,
            recorded: false,
            refused_since: None,
            rates: limited.then(|| {
                Box::new(Rates {
                    messages: settings.message_rate.map(|rate| Rate::new(f64::from(rate), now)),
                    bytes: settings.byte_rate.map(|rate| Rate::new(rate as f64, now)),
                    published: 0,
                })
            }),
            properties: Vec::new(),
        }
    }

    /// How long a client beyond its rate has to wait after this batch.
    pub(super) fn throttle(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        let rates = self.rates.as_mut()?;
        let published = f64::from(std::mem::take(&mut rates.published));
        let messages = rates.messages.as_mut().and_then(|rate| rate.take_many(published, now));
        let bytes = rates.bytes.as_mut().and_then(|rate| rate.take_many(bytes as f64, now));
        messages.max(bytes)
    }

    /// Answers now, or when the log has reached `position`: nothing is confirmed that is not durable.
    pub(super) fn answer(
        &mut self,
        position: Position,
        durable: Position,
        out: &mut Vec<u8>,
        counts: bool,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if position <= durable && self.waiting.is_empty() {
            return write(out);
        }
        let start = out.len();
        write(out);
        let packet = SmallVec::from_slice(out.get(start..).unwrap_or_default());
        out.truncate(start);
        self.unconfirmed += usize::from(counts);
        self.waiting.push_back(Waiting { position, packet, counts });
    }

    /// The publication as the core takes it.
    fn publication<'a>(
        &'a mut self,
        publish: &Publish<'a>,
        topic: &'a str,
        version: Version,
        publisher: SessionId,
    ) -> Publication<'a> {
        let properties = if version == Version::V5 && !publish.properties.is_empty() {
            self.properties.clear();
            publish.properties.write_forwarded(&mut self.properties);
            Properties { encoding: PropertyEncoding::Mqtt5, bytes: &self.properties }
        } else {
            Properties::NONE
        };
        Publication {
            topic,
            payload: publish.payload,
            properties,
            qos: to_core(publish.qos),
            retain: publish.retain,
            expiry: publish.properties.message_expiry,
            publisher,
        }
    }

    /// Writes the answers that waited for positions up to `durable`.
    pub(super) fn confirm(&mut self, durable: Position, out: &mut Vec<u8>) {
        while let Some(waiting) = self.waiting.front().filter(|waiting| waiting.position <= durable) {
            out.extend_from_slice(&waiting.packet);
            self.unconfirmed -= usize::from(waiting.counts);
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() && self.waiting.capacity() > 0 {
            self.waiting = VecDeque::new();
        }
    }

    /// Publications that are not answered completely: what our Receive Maximum counts.
    fn unanswered(&self) -> usize {
        usize::from(self.unreleased) + self.unconfirmed
    }

    /// The position that the next answer waits for.
    pub(super) fn awaited(&self) -> Option<Position> {
        self.waiting.front().map(|waiting| waiting.position)
    }

    /// Whether something was recorded since this was last asked.
    pub(super) fn take_recorded(&mut self) -> bool {
        std::mem::take(&mut self.recorded)
    }

    /// The log takes nothing: how long the client is left waiting before it is refused.
    fn patience(&mut self, now: Instant) -> Option<Duration> {
        let since = *self.refused_since.get_or_insert(now);
        let left = (since + PATIENCE).saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

impl Client {
    pub(super) fn publish(
        &mut self,
        publish: &Publish<'_>,
        settings: &ListenerSettings,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Result<Step, End> {
        let step = self.try_publish(publish, settings, out, cx);
        if !matches!(step, Ok(Step::AwaitLog(_))) {
            cx.effects.counters.publish_received += 1;
            cx.effects.counters.publish_bytes_received += publish.payload.len() as u64;
            if let Some(rates) = &mut self.inflow.rates {
                rates.published += 1;
            }
        }
        step
    }

    fn try_publish(
        &mut self,
        publish: &Publish<'_>,
        settings: &ListenerSettings,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Result<Step, End> {
        if publish.qos > settings.features.max_qos {
            return Err(End::Fault(ReasonCode::QosNotSupported, "MQTT-3.2.2-11"));
        }
        if self.version == Version::V5 && publish.properties.subscription_ids != SubscriptionIds::default() {
            return Err(End::Fault(ReasonCode::ProtocolError, "MQTT-3.3.4-6"));
        }
        if publish.retain && !settings.features.retain {
            return Err(End::Fault(ReasonCode::RetainNotSupported, "MQTT-3.2.2-14"));
        }
        let over = self.inflow.unanswered() >= usize::from(settings.receive_maximum);
        match publish.packet_id {
            Some(id) if over && settings.enforce_receive_maximum && self.version == Version::V5 => {
                // A repetition of an exchange under way is not one more.
                let known = publish.qos == QoS::ExactlyOnce
                    && cx.shared.vhost.is_unreleased(&self.attachment, id.get());
                if !known {
                    return Err(End::Fault(ReasonCode::ReceiveMaximumExceeded, "MQTT-3.3.4-7"));
                }
            }
            _ => {}
        }
        let alias = publish.properties.topic_alias;
        if alias.is_none() {
            return Ok(self.pass_on(publish, publish.topic, out, cx));
        }
        // The table is taken out for the call, so that the topic it lends outlives the borrow of the client.
        let maximum = settings.topic_alias_maximum;
        let mut aliases = self.aliases.take().unwrap_or_else(|| Box::new(Inbound::new(maximum)));
        let result = match aliases.resolve(publish.topic, alias) {
            Ok(topic) => Ok(self.pass_on(publish, topic, out, cx)),
            Err(error) => Err(End::Fault(error.reason(), "MQTT-3.3.2-9")),
        };
        self.aliases = Some(aliases);
        result
    }

    fn pass_on(
        &mut self,
        publish: &Publish<'_>,
        topic: &str,
        out: &mut Vec<u8>,
        cx: &mut FaceContext<'_>,
    ) -> Step {
        let (published, received) = match publish.packet_id.filter(|_| publish.qos == QoS::ExactlyOnce) {
            Some(id) => match self.route_once(publish, id, topic, cx) {
                PublishedOnce::New { published, taken, position } => {
                    self.inflow.unreleased += u16::from(taken);
                    (published, position)
                }
                PublishedOnce::Repeated { position } => {
                    self.acknowledge_publish(AckKind::PubRec, id, ReasonCode::Success, position, out, cx);
                    return Step::Continue;
                }
            },
            None => (self.route(publish, topic, cx), Position::NONE),
        };
        let (reason, position) = match published {
            Published::Routed { matched: true, position } => (ReasonCode::Success, position),
            Published::Routed { matched: false, position } => (ReasonCode::NoMatchingSubscribers, position),
            Published::Denied => (ReasonCode::NotAuthorized, Position::NONE),
            Published::NotRetained { position } => (ReasonCode::QuotaExceeded, position),
            Published::NoRoom => match self.inflow.patience(cx.now.monotonic) {
                Some(left) => return Step::AwaitLog(left),
                None => {
                    cx.effects.counters.refused_by_log += 1;
                    if self.version != Version::V5 {
                        // There is no way to say no; without an answer the client sends it again some day.
                        return Step::Continue;
                    }
                    (ReasonCode::QuotaExceeded, Position::NONE)
                }
            },
        };
        let position = position.max(received);
        if position > Position::NONE {
            self.inflow.recorded = true;
            self.inflow.refused_since = None;
        }
        let Some(id) = publish.packet_id else { return Step::Continue };
        let kind = match publish.qos {
            QoS::ExactlyOnce => AckKind::PubRec,
            _ => AckKind::PubAck,
        };
        self.acknowledge_publish(kind, id, reason, position, out, cx);
        Step::Continue
    }

    /// PUBACK or PUBREC, once everything up to `position` is durable.
    fn acknowledge_publish(
        &mut self,
        kind: AckKind,
        id: PacketId,
        reason: ReasonCode,
        position: Position,
        out: &mut Vec<u8>,
        cx: &FaceContext<'_>,
    ) {
        let (version, durable) = (self.version, cx.shared.vhost.durable());
        let counts = kind == AckKind::PubAck;
        self.inflow.answer(position, durable, out, counts, |out| write_ack(kind, version, id, reason, out));
    }

    fn route(&mut self, publish: &Publish<'_>, topic: &str, cx: &mut FaceContext<'_>) -> Published {
        let Self { attachment, inflow, version, .. } = self;
        let publication = inflow.publication(publish, topic, *version, attachment.session.id());
        cx.shared.vhost.publish(attachment, &publication, cx.now, cx.effects)
    }

    /// Method B of §4.3.3: passed on at PUBLISH, the identifier is kept until PUBREL. A PUBREC with an error ends the
    /// exchange, and the identifier is free again.
    fn route_once(
        &mut self,
        publish: &Publish<'_>,
        id: PacketId,
        topic: &str,
        cx: &mut FaceContext<'_>,
    ) -> PublishedOnce {
        let Self { attachment, inflow, version, .. } = self;
        let publication = inflow.publication(publish, topic, *version, attachment.session.id());
        let refusal_ends = *version == Version::V5;
        cx.shared.vhost.publish_once(attachment, id.get(), refusal_ends, &publication, cx.now, cx.effects)
    }

    /// PUBREL: the client will not repeat the publication. An unknown identifier gets a plain PUBCOMP: after a
    /// lost session there is nothing else to say.
    pub(super) fn released(&mut self, ack: &Ack<'_>, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Step {
        let (known, position) = cx.shared.vhost.complete(&self.attachment, ack.packet_id.get());
        if known {
            self.inflow.unreleased = self.inflow.unreleased.saturating_sub(1);
        }
        let durable = cx.shared.vhost.durable();
        let version = self.version;
        self.inflow.answer(position, durable, out, false, |out| {
            write_ack(AckKind::PubComp, version, ack.packet_id, ReasonCode::Success, out);
        });
        Step::Continue
    }

    /// Hands the acknowledgements of this batch to the core.
    pub(super) fn acknowledge(&mut self, out: &mut Vec<u8>, cx: &mut FaceContext<'_>) -> Result<(), End> {
        let version = self.version;
        let acknowledgements = std::mem::take(&mut self.acknowledgements);
        cx.shared.vhost.acknowledge(&self.attachment, &acknowledgements, cx.now, cx.effects, |unknown| {
            if unknown.release
                && let Some(id) = PacketId::new(unknown.packet_id)
            {
                // The client waits for a PUBREL to finish the exchange.
                write_ack(AckKind::PubRel, version, id, ReasonCode::PacketIdentifierNotFound, out);
            }
        });
        self.acknowledgements = acknowledgements;
        self.acknowledgements.clear();
        Ok(())
    }
}

/// Properties of a will, as the message it becomes will carry them.
pub(super) fn will_properties(properties: &PublishProperties<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    properties.write_forwarded(&mut bytes);
    bytes
}

/// Greatest QoS, as the core names it.
pub(super) fn highest(settings: &ListenerSettings) -> Qos {
    to_core(settings.features.max_qos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_wait_for_the_log_and_keep_their_order() {
        let mut inflow = Inflow {
            unreleased: 0,
            waiting: VecDeque::new(),
            unconfirmed: 0,
            recorded: false,
            refused_since: None,
            rates: None,
            properties: Vec::new(),
        };
        let mut out = Vec::new();
        let puback = |inflow: &mut Inflow, position, durable, id: u16, out: &mut Vec<u8>| {
            let (position, durable) = (Position::new(position), Position::new(durable));
            let id = PacketId::new(id).expect("not zero");
            inflow.answer(position, durable, out, true, |out| {
                write_ack(AckKind::PubAck, Version::V311, id, ReasonCode::Success, out);
            });
        };
        puback(&mut inflow, 5, 4, 1, &mut out);
        puback(&mut inflow, 0, 4, 2, &mut out);
        assert!(out.is_empty());
        assert_eq!(inflow.unanswered(), 2);
        inflow.confirm(Position::new(5), &mut out);
        assert_eq!(out, [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
        puback(&mut inflow, 5, 5, 3, &mut out);
        assert_eq!(out.len(), 12);
    }
}
