//! Messages that came by another protocol, as AMQP shows them.

use tercet_amqp::content::Properties as WireProperties;
use tercet_broker::crossing::address::TopicMapping;
use tercet_broker::crossing::to_amqp::{amqp_key, amqp_properties};
use tercet_broker::effects::Effects;
use tercet_broker::message::{Message, Properties, PropertyEncoding};

/// The exchange of everything that was published to a topic.
pub(super) const TOPIC_SPACE: &str = "amq.topic";

/// Bytes of a content header beside its properties: frame, class, weight, size.
const HEADER: usize = 20;

/// What AMQP shows of a message that came by another protocol.
#[derive(Debug)]
pub(super) struct Foreign {
    /// Its routing key.
    pub(super) key: String,
    properties: Vec<u8>,
}

impl Foreign {
    /// Translates a message. Properties that do not fit into a frame are not carried.
    pub(super) fn translate(
        message: &Message,
        mapping: TopicMapping,
        frame_max: u32,
        effects: &mut Effects,
    ) -> Self {
        let mut properties = Vec::new();
        let mut not_carried = amqp_properties(message, mapping, &mut properties).0;
        if frame_max > 0 && properties.len() + HEADER > frame_max as usize {
            properties.clear();
            WireProperties::default().write(&mut properties);
            not_carried += 1;
        }
        effects.counters.properties_not_carried += not_carried;
        Self { key: amqp_key(message, mapping).into_owned(), properties }
    }

    /// Its properties.
    pub(super) fn properties(&self) -> Properties<'_> {
        Properties { encoding: PropertyEncoding::Amqp, bytes: &self.properties }
    }
}
