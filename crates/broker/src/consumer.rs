//! What a consumer of a queue shows to the core: a place to put deliveries.
//!
//! The face implements [`ConsumerOutbox`], once per connection; the core calls it under the queue's lock. Encoding happens
//! there and then, straight into the connection's output. Delivery tags are the face's: it remembers for each of them the
//! queue and the sequence, and hands them back when the client settles it.

use std::sync::Arc;

use crate::effects::Effects;
use crate::message::{Message, Properties};
use crate::named_queue::{Consumption, NamedQueue};
use crate::outbox::Pushed;

/// One message for one consumer, or for a basic.get.
#[derive(Debug)]
pub struct QueueDelivery<'a> {
    /// Who gets it; what the face needs of it: its channel, its tag, whether it acknowledges.
    pub consumption: &'a Arc<Consumption>,
    /// The queue it comes from.
    pub queue: &'a Arc<NamedQueue>,
    /// Its sequence there.
    pub sequence: u64,
    /// The exchange it was published to; `None` for a message that came by another protocol.
    pub exchange: Option<&'a Arc<str>>,
    /// Its routing key, or its topic if it came by another protocol.
    pub routing_key: &'a str,
    /// Properties in the origin's encoding.
    pub properties: Properties<'a>,
    /// Payload bytes.
    pub payload: &'a [u8],
    /// The owned message, if one exists: lets large payloads be shared instead of copied.
    pub message: Option<&'a Arc<Message>>,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// How often it came back, to be shown as `x-delivery-count`; `None` where that is not shown.
    pub delivery_count: Option<u32>,
    /// Its offset in a stream, to be shown as `x-stream-offset`.
    pub stream_offset: Option<u64>,
}

/// The output side of a connection that consumes.
pub trait ConsumerOutbox: Send + Sync {
    /// Takes one delivery. Must add the connection to `effects` if it has nothing scheduled yet. [`Pushed::Full`] means that
    /// the output has no room, or the channel no credit; the consumer gets nothing until
    /// [`crate::vhost::Vhost::resume_consumers`] is called for it.
    fn deliver(&self, delivery: &QueueDelivery<'_>, effects: &mut Effects) -> Pushed;

    /// The queue is gone, or the right to read it: tells the client so (basic.cancel), if it can be told.
    fn cancelled(&self, consumption: &Consumption, effects: &mut Effects);

    /// A basic.get that had to wait ([`crate::named_queue::GetOutcome::Wait`]) is worth another try. Called under the
    /// queue's lock: the connection is to be scheduled, and asks again in its own turn.
    fn get_again(&self, queue: &Arc<NamedQueue>, effects: &mut Effects);
}
