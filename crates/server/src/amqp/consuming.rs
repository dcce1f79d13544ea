//! Consuming: qos, consume, cancel, get, and what becomes of deliveries.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tercet_amqp::method::basic;
use tercet_amqp::{MethodId, ReplyCode};
use tercet_broker::consumer::ConsumerOutbox;
use tercet_broker::journal::Position;
use tercet_broker::named_queue::{Consume, Outcome};

use crate::amqp::channel::{Channel, Mode};
use crate::amqp::fault::Fault;
use crate::amqp::parent::Parent;
use crate::amqp::reply_to;
use crate::reactor::face::FaceContext;

impl Channel {
    /// basic.qos: with `global` one window for all consumers of the channel, else a prefetch for each that begins later
    /// (RabbitMQ's reading).
    pub(super) fn qos(
        &mut self,
        qos: &basic::Qos,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(self.fault(ReplyCode::NotImplemented, text, basic::Qos::ID));
        }
        if !qos.global {
            self.prefetch = qos.prefetch_count;
        } else if parent.outbox.set_window(self.number(), qos.prefetch_count) {
            self.resume_all(parent);
            parent.flush_settlements(cx.now, cx.effects);
        }
        self.answer(Position::NONE, basic::QosOk {}, parent, cx.effects);
        Ok(())
    }

    fn resume_all(&self, parent: &mut Parent) {
        parent.resumable.extend(self.consumptions().cloned());
    }

    pub(super) fn consume(
        &mut self,
        consume: &basic::Consume<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let id = basic::Consume::ID;
        let tag: Arc<str> = match consume.consumer_tag {
            "" => made_up_tag().into(),
            tag => tag.into(),
        };
        let taken =
            self.consumers.contains_key(&tag) || self.reply.as_ref().is_some_and(|reply| reply.tag == tag);
        if taken {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(self.fault(ReplyCode::NotAllowed, text, id));
        }
        if consume.queue == reply_to::PSEUDO_QUEUE {
            return self.consume_replies(consume, tag, parent, cx);
        }
        let queue = self.queue_name(consume.queue, id)?;
        let priority = match consume.arguments.get("x-priority") {
            None => 0,
            Some(value) => match value.as_i64() {
                Some(priority) => {
                    i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX })
                }
                None => {
                    let text = "invalid arg 'x-priority' for consumer: expected an integer";
                    return Err(self.fault(ReplyCode::PreconditionFailed, text, id));
                }
            },
        };
        let request = Consume {
            queue: &queue,
            tag: Arc::clone(&tag),
            channel: self.number(),
            no_ack: consume.no_ack,
            exclusive: consume.exclusive,
            priority,
            prefetch: self.prefetch,
            arguments: consume.arguments,
            outbox: Arc::clone(&parent.outbox) as Arc<dyn ConsumerOutbox>,
        };
        let consumption = parent
            .vhost
            .consume(&parent.actor, &request, cx.now, cx.effects)
            .map_err(|refusal| Fault::refused(&refusal, self.number(), id))?;
        self.consumers.insert(Arc::clone(&tag), Arc::clone(&consumption));
        let consume_ok = (!consume.no_wait).then(|| basic::ConsumeOk { consumer_tag: &tag }.into());
        let begun = self.answer_and_start(Position::NONE, consume_ok, Some(consumption), parent, cx.effects);
        if let Some(consumption) = begun {
            parent.vhost.start_consuming(&consumption, cx.now, cx.effects);
        }
        Ok(())
    }

    /// The pseudo-queue of direct replies.
    fn consume_replies(
        &mut self,
        consume: &basic::Consume<'_>,
        tag: Arc<str>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let refuse = |text| Err(self.fault(ReplyCode::PreconditionFailed, text, basic::Consume::ID));
        if !consume.no_ack {
            return refuse("reply consumer cannot acknowledge");
        }
        if self.reply.is_some() {
            return refuse("reply consumer already set");
        }
        let table = &parent.shared.amqp.reply_to;
        match table.add(&parent.vhost, &parent.outbox, self.number(), Arc::clone(&tag)) {
            Some(reply) => self.reply = Some(reply),
            None => {
                let text = "no random numbers for a reply address";
                return Err(self.fault(ReplyCode::InternalError, text, basic::Consume::ID));
            }
        }
        if !consume.no_wait {
            self.answer(Position::NONE, basic::ConsumeOk { consumer_tag: &tag }, parent, cx.effects);
        }
        Ok(())
    }

    /// basic.cancel: what was delivered stays with the channel. An unknown tag is cancelled already.
    pub(super) fn cancel(
        &mut self,
        cancel: &basic::Cancel<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) {
        if let Some(consumption) = self.consumers.remove(cancel.consumer_tag) {
            parent.vhost.cancel(&consumption, cx.now, cx.effects);
        }
        if let Some(reply) = self.reply.take_if(|reply| &*reply.tag == cancel.consumer_tag) {
            parent.shared.amqp.reply_to.remove(&reply);
        }
        if !cancel.no_wait {
            let cancel_ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
            self.answer(Position::NONE, cancel_ok, parent, cx.effects);
        }
    }

    /// Settles deliveries: at once in the ledger, in the core at the end of the batch.
    pub(super) fn settle(
        &mut self,
        tag: u64,
        multiple: bool,
        outcome: Outcome,
        method: MethodId,
        parent: &mut Parent,
    ) -> Result<(), Fault> {
        let number = self.number();
        if let Mode::Tx(transaction) = &mut self.mode {
            let held = parent.outbox.hold(number, tag, multiple, method)?;
            transaction.settle(held, outcome);
            return Ok(());
        }
        let Parent { outbox, settlements, .. } = parent;
        let released = outbox.settle(number, tag, multiple, method, |held| {
            Parent::settled(settlements, held, outcome);
        })?;
        if released {
            self.resume_all(parent);
        }
        Ok(())
    }

    /// basic.recover: everything unsettled goes back to its queue.
    pub(super) fn recover(
        &mut self,
        requeue: bool,
        method: MethodId,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        if !requeue {
            return Err(self.fault(ReplyCode::NotImplemented, "requeue=false", method));
        }
        let Parent { outbox, settlements, .. } = parent;
        let released = outbox.take_unsettled(self.number(), |held| {
            Parent::settled(settlements, held, Outcome::Requeue);
        });
        if released {
            self.resume_all(parent);
        }
        parent.flush_settlements(cx.now, cx.effects);
        Ok(())
    }
}

/// A consumer tag for a client that leaves the choice to us.
fn made_up_tag() -> String {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        // Tags only have to differ on their channel; the address of a local differs often enough to go on.
        tracing::error!("the system has no random numbers");
    }
    format!("amq.ctag-{}", URL_SAFE_NO_PAD.encode(random))
}
