//! basic.get.

use std::sync::Arc;

use tercet_amqp::ReplyCode;
use tercet_amqp::method::basic;
use tercet_broker::clock::Now;
use tercet_broker::consumer::ConsumerOutbox;
use tercet_broker::effects::Effects;
use tercet_broker::named_queue::{GetOutcome, Got};

use crate::amqp::channel::Channel;
use crate::amqp::content::{Added, Content};
use crate::amqp::fault::Fault;
use crate::amqp::foreign::{Foreign, TOPIC_SPACE};
use crate::amqp::outbox::Held;
use crate::amqp::parent::Parent;
use crate::amqp::reply_to;
use crate::reactor::face::FaceContext;

/// A basic.get whose turn has not come.
pub(super) struct Get {
    queue: Arc<str>,
    no_ack: bool,
}

impl Channel {
    /// Fetches a message, behind the answers that are still owed.
    pub(super) fn get(
        &mut self,
        get: &basic::Get<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        if get.queue.starts_with(reply_to::PSEUDO_QUEUE) {
            let text = format!("no queue '{}' in vhost '{}'", get.queue, parent.actor.vhost);
            return Err(self.fault(ReplyCode::NotFound, text, basic::Get::ID));
        }
        let get = Get { queue: self.queue_name(get.queue, basic::Get::ID)?, no_ack: get.no_ack };
        if self.holds_answers() || !self.fetch(&get, parent, cx.now, cx.effects)? {
            self.hold_get(get);
        }
        Ok(())
    }

    /// Asks the queue. False if it is to be asked again.
    pub(super) fn fetch(
        &self,
        get: &Get,
        parent: &mut Parent,
        now: Now,
        effects: &mut Effects,
    ) -> Result<bool, Fault> {
        let waiter = Arc::clone(&parent.outbox) as Arc<dyn ConsumerOutbox>;
        let outcome = parent
            .vhost
            .get(&parent.actor, &get.queue, get.no_ack, &waiter, now, effects)
            .map_err(|refusal| Fault::refused(&refusal, self.number(), basic::Get::ID))?;
        match outcome {
            GetOutcome::Wait => return Ok(false),
            GetOutcome::Empty => parent.send(self.number(), basic::GetEmpty {}, effects),
            GetOutcome::Got(got) => self.hand_over(&got, get.no_ack, parent, effects),
        }
        Ok(true)
    }

    fn hand_over(&self, got: &Got, no_ack: bool, parent: &Parent, effects: &mut Effects) {
        let held = (!no_ack).then(|| Held::Got(Arc::clone(&got.queue), got.sequence));
        let message = &got.message;
        let foreign = parent.outbox.foreign(message, effects);
        let foreign = foreign.as_ref();
        let content = |tag| Content {
            method: basic::GetOk {
                delivery_tag: tag,
                redelivered: got.redelivered,
                exchange: message.exchange.as_deref().unwrap_or(TOPIC_SPACE),
                routing_key: foreign.map_or(&message.topic, |foreign| &foreign.key),
                message_count: got.remaining,
            }
            .into(),
            properties: foreign.map_or(message.properties(), Foreign::properties),
            payload: &message.payload,
            shared: message.payload.shared(),
            added: Added { delivery_count: got.delivery_count, stream_offset: None },
        };
        parent.outbox.got(self.number(), held, content, effects);
        effects.counters.publish_sent += 1;
        effects.counters.publish_bytes_sent += message.payload.len() as u64;
    }
}
