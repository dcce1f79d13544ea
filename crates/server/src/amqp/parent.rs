//! What the channels of a connection have of it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tercet_amqp::Method;
use tercet_broker::access::{AccessStore, ConnectionPermit};
use tercet_broker::actor::Actor;
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::Position;
use tercet_broker::named_queue::{Consumption, Outcome, Settlement};
use tercet_broker::vhost::Vhost;

use crate::amqp::content::put;
use crate::amqp::listing::Listing;
use crate::amqp::outbox::{AmqpOutbox, Held};
use crate::shared::Shared;

/// What channels have of their connection.
pub(super) struct Parent {
    pub shared: Arc<Shared>,
    pub vhost: Arc<Vhost>,
    pub actor: Actor,
    pub outbox: Arc<AmqpOutbox>,
    pub listing: Arc<Listing>,
    pub access: Arc<AccessStore>,
    /// Counts the connection and its channels against the limits of its user.
    pub permit: Option<ConnectionPermit>,
    pub max_message_size: u64,
    /// What was settled in this batch and not handed to the core yet.
    pub settlements: Vec<Settlement>,
    /// Consumers that may go on once that is done.
    pub resumable: Vec<Arc<Consumption>>,
    /// Whether something of this batch was recorded.
    pub recorded: bool,
    /// Bytes of messages that have arrived in part, of all channels.
    pub partial: usize,
}

impl Parent {
    /// Hands what was settled to the core.
    pub(super) fn flush_settlements(&mut self, now: Now, effects: &mut Effects) {
        if !self.settlements.is_empty() {
            let position = self.vhost.settle(&self.settlements, now, effects);
            self.recorded |= position > Position::NONE;
            self.settlements.clear();
        }
        if !self.resumable.is_empty() {
            self.vhost.resume_consumers(&self.resumable, now, effects);
            self.resumable.clear();
        }
    }

    /// Collects what becomes of a delivery.
    pub(super) fn settled(settlements: &mut Vec<Settlement>, held: Held, outcome: Outcome) {
        settlements.push(match held {
            Held::Consumed(consumption, sequence) => Settlement {
                queue: Arc::clone(&consumption.queue),
                sequence,
                consumption: Some(consumption),
                outcome,
            },
            Held::Got(queue, sequence) => Settlement { queue, sequence, consumption: None, outcome },
        });
    }

    /// A channel is not open any more.
    pub(super) fn channel_closed(&mut self) {
        self.listing.channels.fetch_sub(1, Relaxed);
        if let Some(permit) = &mut self.permit {
            permit.close_channel();
        }
    }

    /// Writes a method.
    pub(super) fn send<'m>(&self, channel: u16, method: impl Into<Method<'m>>, effects: &mut Effects) {
        let method = method.into();
        self.outbox.write(effects, |out| put(&method, channel, out));
    }
}
