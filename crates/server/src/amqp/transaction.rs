//! Transactions: publishes and acknowledgements that wait for tx.commit.

use std::sync::Arc;

use tercet_amqp::ReplyCode;
use tercet_amqp::method::{basic, tx};
use tercet_broker::journal::Position;
use tercet_broker::named_queue::Outcome;

use crate::amqp::channel::{Channel, Mode};
use crate::amqp::fault::Fault;
use crate::amqp::outbox::Held;
use crate::amqp::parent::Parent;
use crate::reactor::face::FaceContext;

/// Bytes of publishes that one transaction may hold.
const MOST: usize = 256 * 1024 * 1024;

/// What a channel has done since tx.select or the last commit or rollback.
#[derive(Default)]
pub(super) struct Transaction {
    publishes: Vec<Publish>,
    size: usize,
    settled: Vec<(Vec<(u64, Held)>, Outcome)>,
}

struct Publish {
    exchange: Box<str>,
    routing_key: Box<str>,
    mandatory: bool,
    properties: Box<[u8]>,
    body: Box<[u8]>,
}

impl Transaction {
    /// Keeps a publish. False if the transaction becomes too large.
    pub(super) fn publish(&mut self, publish: &basic::Publish<'_>, properties: &[u8], body: &[u8]) -> bool {
        self.size += properties.len() + body.len() + size_of::<Publish>();
        if self.size > MOST {
            return false;
        }
        self.publishes.push(Publish {
            exchange: publish.exchange.into(),
            routing_key: publish.routing_key.into(),
            mandatory: publish.mandatory,
            properties: properties.into(),
            body: body.into(),
        });
        true
    }

    /// Keeps acknowledgements.
    pub(super) fn settle(&mut self, held: Vec<(u64, Held)>, outcome: Outcome) {
        self.settled.push((held, outcome));
    }

    /// The deliveries that were acknowledged and are not any more.
    pub(super) fn into_held(self) -> impl Iterator<Item = Held> {
        self.settled.into_iter().flat_map(|(held, _)| held).map(|(_, held)| held)
    }
}

impl Channel {
    pub(super) fn select_tx(&mut self, parent: &mut Parent, cx: &mut FaceContext<'_>) -> Result<(), Fault> {
        match self.mode {
            Mode::Confirm(_) => {
                let text = "cannot switch from confirm to tx mode";
                return Err(self.fault(ReplyCode::PreconditionFailed, text, tx::Select::ID));
            }
            Mode::Plain => self.mode = Mode::Tx(Box::default()),
            Mode::Tx(_) => {}
        }
        self.answer(Position::NONE, tx::SelectOk {}, parent, cx.effects);
        Ok(())
    }

    /// Publishes, then acknowledges; all of it becomes durable or none.
    pub(super) fn commit(&mut self, parent: &mut Parent, cx: &mut FaceContext<'_>) -> Result<(), Fault> {
        let Mode::Tx(transaction) = &mut self.mode else {
            return Err(self.not_transactional(tx::Commit::ID));
        };
        let Transaction { publishes, settled, .. } = std::mem::take(&mut **transaction);
        let vhost = Arc::clone(&parent.vhost);
        let done = vhost.together(|| {
            let (mut position, mut refused) = (Position::NONE, false);
            for publish in &publishes {
                let method = basic::Publish {
                    exchange: &publish.exchange,
                    routing_key: &publish.routing_key,
                    mandatory: publish.mandatory,
                    immediate: false,
                };
                let published = self.publish_now(&method, &publish.properties, &publish.body, parent, cx)?;
                position = position.max(published.position);
                refused |= published.refused;
            }
            for (held, outcome) in settled {
                let consumed = held.iter().filter(|(_, held)| held.is_consumed()).count();
                parent.outbox.held_is_settled(self.number(), consumed);
                for (_, held) in held {
                    Parent::settled(&mut parent.settlements, held, outcome);
                }
            }
            position = position.max(parent.vhost.settle(&parent.settlements, cx.now, cx.effects));
            parent.settlements.clear();
            Ok::<_, Fault>((position, refused))
        });
        let (position, refused) = done?;
        if refused {
            let text = "partial tx completion";
            return Err(self.fault(ReplyCode::PreconditionFailed, text, tx::Commit::ID));
        }
        parent.resumable.extend(self.consumptions().cloned());
        parent.flush_settlements(cx.now, cx.effects);
        self.answer(position, tx::CommitOk {}, parent, cx.effects);
        Ok(())
    }

    /// Forgets the publishes; what was acknowledged is unacknowledged again, and not delivered again.
    pub(super) fn roll_back(&mut self, parent: &mut Parent, cx: &mut FaceContext<'_>) -> Result<(), Fault> {
        let Mode::Tx(transaction) = &mut self.mode else {
            return Err(self.not_transactional(tx::Rollback::ID));
        };
        let Transaction { settled, .. } = std::mem::take(&mut **transaction);
        parent.outbox.give_back(self.number(), settled.into_iter().flat_map(|(held, _)| held));
        self.answer(Position::NONE, tx::RollbackOk {}, parent, cx.effects);
        Ok(())
    }

    fn not_transactional(&self, method: tercet_amqp::MethodId) -> Fault {
        self.fault(ReplyCode::PreconditionFailed, "channel is not transactional", method)
    }
}
