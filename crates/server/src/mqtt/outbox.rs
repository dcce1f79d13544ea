//! Deliveries of the core, encoded into the connection's output.

use std::cell::Cell;

use bytes::Bytes;
use tercet_broker::crossing::coap;
use tercet_broker::effects::Effects;
use tercet_broker::message::{PropertyEncoding, Qos};
use tercet_broker::outbox::{CloseReason, ConnectionRef, Delivery, Drained, Outbox, Pushed};
use tercet_mqtt::alias::TopicForm;
use tercet_mqtt::{AckKind, PacketId, PublishHeader, QoS, ReasonCode, Version, write_ack};

use crate::mqtt::settings::ListenerSettings;

/// Output below which queued deliveries may be added; the rest waits in the queue.
const ROOM: usize = 128 * 1024;
/// Payloads above this size are shared instead of copied.
const SHARE_ABOVE: usize = tercet_broker::message::SHARE_ABOVE;

/// Bytes that a topic alias adds at most: the property, and longer lengths before it.
const ALIAS_COST: usize = 5;

/// The output of one client, behind its session's lock.
pub struct MqttOutbox {
    connection: ConnectionRef,
    version: Version,
    /// Greatest packet the client takes.
    max_packet: usize,
    /// Bytes waiting above which QoS 0 is dropped.
    limit: usize,
    /// Disconnect a client whose output is full instead of dropping.
    disconnect_slow: bool,
    aliases: Option<Box<tercet_mqtt::alias::Outbound>>,
    bytes: Vec<u8>,
    shared: Vec<(usize, Bytes)>,
    shared_len: usize,
    unwritten: usize,
    scheduled: bool,
    /// Somebody was told to wait for room, or asked to be resumed.
    resume: Cell<bool>,
    close: Option<CloseReason>,
}

impl MqttOutbox {
    /// An empty outbox for a connection that is being opened.
    pub fn new(
        connection: ConnectionRef,
        version: Version,
        max_packet: Option<u32>,
        alias_maximum: u16,
        settings: &ListenerSettings,
    ) -> Self {
        Self {
            connection,
            version,
            max_packet: max_packet.map_or(usize::MAX, |size| size as usize),
            limit: settings.outbox,
            disconnect_slow: settings.disconnect_slow,
            aliases: (alias_maximum > 0).then(|| {
                Box::new(tercet_mqtt::alias::Outbound::new(alias_maximum.min(settings.outbound_aliases)))
            }),
            bytes: Vec::new(),
            shared: Vec::new(),
            shared_len: 0,
            unwritten: 0,
            scheduled: false,
            resume: Cell::new(false),
            close: None,
        }
    }

    fn waiting(&self) -> usize {
        self.bytes.len() + self.shared_len + self.unwritten
    }

    fn schedule(&mut self, effects: &mut Effects) {
        if !self.scheduled {
            self.scheduled = true;
            effects.wakes.push(self.connection);
        }
    }

    fn full(&mut self, effects: &mut Effects) -> Pushed {
        if self.disconnect_slow && self.close.is_none() {
            self.close(CloseReason::TooSlow, effects);
        }
        tracing::debug!(slot = self.connection.slot, waiting = self.waiting(), "the client does not read");
        Pushed::Full
    }

    /// Encodes once per form and copies: the same message goes to many clients.
    fn copy_form(&mut self, delivery: &Delivery<'_>, header: &PublishHeader<'_>, effects: &mut Effects) {
        let v5 = self.version == Version::V5;
        let key = u64::from(v5) | (delivery.qos as u64) << 1 | u64::from(delivery.retain) << 3;
        let (form, patch) = effects.forms.get_or_encode(key, |out| {
            let id_at = header.write(self.version, out);
            out.extend_from_slice(delivery.payload);
            id_at
        });
        let start = self.bytes.len();
        self.bytes.extend_from_slice(form);
        if let Some(at) = patch
            && let Some(id) = self.bytes.get_mut(start + at..start + at + 2)
        {
            id.copy_from_slice(&delivery.packet_id.to_be_bytes());
        }
    }
}

impl Outbox for MqttOutbox {
    fn deliver(&mut self, delivery: &Delivery<'_>, effects: &mut Effects) -> Pushed {
        if delivery.qos == Qos::AtMostOnce && self.waiting() >= self.limit {
            return self.full(effects);
        }
        let mut crossed = Vec::new();
        let properties = match delivery.properties.encoding {
            PropertyEncoding::Mqtt5 => delivery.properties.bytes,
            PropertyEncoding::Coap if self.version == Version::V5 => {
                crossed = effects.buffers.take();
                effects.counters.properties_not_carried +=
                    coap::mqtt_properties(delivery.properties, delivery.payload, &mut crossed).0;
                &crossed[..]
            }
            // What comes from an exchange is translated before it reaches a topic.
            PropertyEncoding::None | PropertyEncoding::Amqp | PropertyEncoding::Coap => &[],
        };
        let mut header = PublishHeader {
            dup: delivery.dup,
            qos: to_wire(delivery.qos),
            retain: delivery.retain,
            topic: delivery.topic,
            packet_id: PacketId::new(delivery.packet_id),
            properties,
            message_expiry: delivery.expiry,
            topic_alias: None,
            subscription_ids: delivery.subscription_ids,
            payload_len: delivery.payload.len(),
        };
        if header.encoded_len(self.version) > self.max_packet {
            effects.buffers.give(crossed);
            return Pushed::TooLarge;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = effects.buffers.take();
        }
        let large = delivery.payload.len() > SHARE_ABOVE;
        if delivery.fan_out
            && !large
            && !delivery.dup
            && self.aliases.is_none()
            && delivery.subscription_ids.is_empty()
        {
            self.copy_form(delivery, &header, effects);
        } else {
            // Where the property would not fit beside the full topic, the topic goes without.
            if let Some(aliases) = &mut self.aliases
                && header.encoded_len(self.version) + ALIAS_COST <= self.max_packet
            {
                match aliases.assign(delivery.topic) {
                    TopicForm::Name => {}
                    TopicForm::Define(alias) => header.topic_alias = Some(alias),
                    TopicForm::Alias(alias) => {
                        header.topic_alias = Some(alias);
                        header.topic = "";
                    }
                }
            }
            header.write(self.version, &mut self.bytes);
            match delivery.message.filter(|_| large).and_then(|message| message.payload.shared()) {
                Some(payload) => {
                    self.shared.push((self.bytes.len(), payload.clone()));
                    self.shared_len += payload.len();
                }
                None => self.bytes.extend_from_slice(delivery.payload),
            }
        }
        effects.buffers.give(crossed);
        self.schedule(effects);
        Pushed::Accepted
    }

    fn release(&mut self, packet_id: u16, effects: &mut Effects) {
        if let Some(id) = PacketId::new(packet_id) {
            if self.bytes.capacity() == 0 {
                self.bytes = effects.buffers.take();
            }
            write_ack(AckKind::PubRel, self.version, id, ReasonCode::Success, &mut self.bytes);
            self.schedule(effects);
        }
    }

    fn has_room(&self) -> bool {
        let room = self.waiting() < ROOM;
        if !room {
            self.resume.set(true);
        }
        room
    }

    fn close(&mut self, reason: CloseReason, effects: &mut Effects) {
        self.close = Some(reason);
        self.scheduled = true;
        effects.wakes.push(self.connection);
    }

    fn closing(&self) -> Option<CloseReason> {
        self.close
    }

    fn wake(&mut self, effects: &mut Effects) {
        self.resume.set(true);
        self.schedule(effects);
    }

    fn drain(&mut self, out: &mut Drained) {
        self.scheduled = false;
        std::mem::swap(&mut self.bytes, &mut out.bytes);
        std::mem::swap(&mut self.shared, &mut out.shared);
        self.shared_len = 0;
        out.close = self.close.take();
        out.resume = self.resume.replace(false);
    }

    fn set_unwritten(&mut self, bytes: usize) {
        self.unwritten = bytes;
    }
}

/// The core's guarantee as the codec names it.
pub fn to_wire(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// The codec's QoS as the core names it.
pub fn to_core(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}
