//! Direct reply-to: replies go straight to a consumer of the channel that asked, through no queue.
//!
//! A client consumes from a pseudo-queue, and publishes its requests on the same channel with that as `reply_to`. The broker
//! puts an address in its place: 128 random bits, so that nobody can make one up or guess another's. Who answers publishes
//! to the default exchange with the address as routing key. It cannot be bound, and it is gone with its channel.

use std::sync::{Arc, Weak};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hashbrown::HashMap;
use parking_lot::RwLock;
use tercet_amqp::method::basic;
use tercet_broker::effects::Effects;
use tercet_broker::exchange_publication::Published;
use tercet_broker::journal::Position;
use tercet_broker::message::Properties;
use tercet_broker::vhost::Vhost;

use crate::amqp::content::{Added, Content};
use crate::amqp::outbox::AmqpOutbox;
use crate::amqp::parent::Parent;

/// What clients consume from, and name in their requests.
pub(super) const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";
/// The beginning of an address.
pub(super) const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// A consumer of replies.
pub(super) struct ReplyConsumer {
    address: Box<str>,
    vhost: Weak<Vhost>,
    outbox: Arc<AmqpOutbox>,
    channel: u16,
    /// Its consumer tag.
    pub(super) tag: Arc<str>,
}

impl ReplyConsumer {
    /// Its address.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// All consumers of replies, by their addresses.
#[derive(Default)]
pub(super) struct ReplyConsumers {
    by_address: RwLock<HashMap<Box<str>, Arc<ReplyConsumer>>>,
}

impl ReplyConsumers {
    /// Makes up an address; `None` if the system has no random numbers.
    pub(super) fn add(
        &self,
        vhost: &Arc<Vhost>,
        outbox: &Arc<AmqpOutbox>,
        channel: u16,
        tag: Arc<str>,
    ) -> Option<Arc<ReplyConsumer>> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let address: Box<str> = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)).into();
        let consumer = Arc::new(ReplyConsumer {
            address: address.clone(),
            vhost: Arc::downgrade(vhost),
            outbox: Arc::clone(outbox),
            channel,
            tag,
        });
        self.by_address.write().insert(address, Arc::clone(&consumer));
        Some(consumer)
    }

    pub(super) fn remove(&self, consumer: &ReplyConsumer) {
        self.by_address.write().remove(&consumer.address);
    }

    /// The consumer at an address, for somebody in the same virtual host.
    pub(super) fn find(&self, vhost: &Arc<Vhost>, address: &str) -> Option<Arc<ReplyConsumer>> {
        let found = self.by_address.read().get(address).cloned()?;
        std::ptr::eq(found.vhost.as_ptr(), Arc::as_ptr(vhost)).then_some(found)
    }
}

/// Publishes a reply. It counts as routed even if nobody waits for it any more (RabbitMQ 4.2).
pub(super) fn publish(
    publish: &basic::Publish<'_>,
    properties: Properties<'_>,
    body: &[u8],
    parent: &Parent,
    effects: &mut Effects,
) -> Published {
    if let Some(consumer) = parent.shared.amqp.reply_to.find(&parent.vhost, publish.routing_key) {
        let content = |tag| Content {
            method: basic::Deliver {
                consumer_tag: &consumer.tag,
                delivery_tag: tag,
                redelivered: false,
                exchange: "",
                routing_key: publish.routing_key,
            }
            .into(),
            properties,
            payload: body,
            shared: None,
            added: Added::default(),
        };
        consumer.outbox.deliver_direct(consumer.channel, content, effects);
    }
    Published { position: Position::NONE, routed: true, refused: false }
}
