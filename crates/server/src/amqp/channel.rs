//! One open channel: which method leads to what, and answers that wait for the log.
//!
//! Invariant: answers go out in the order of the methods they answer. One that waits for the log holds back those behind it,
//! and consumers that they announce get nothing before.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;
use tercet_amqp::method::{access, basic, channel, confirm};
use tercet_amqp::state::Channel as ChannelState;
use tercet_amqp::{Method, MethodId, ReplyCode};
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::exchange::route_cache::ExchangeRoutes;
use tercet_broker::journal::Position;
use tercet_broker::named_queue::{Consumption, Outcome};

use crate::amqp::content::put;
use crate::amqp::fault::Fault;
use crate::amqp::getting::Get;
use crate::amqp::parent::Parent;
use crate::amqp::publishing::{Confirming, Partial};
use crate::amqp::reply_to::ReplyConsumer;
use crate::amqp::transaction::Transaction;
use crate::reactor::face::FaceContext;

/// An open channel.
pub(super) struct Channel {
    pub(super) state: ChannelState,
    pub(super) routes: ExchangeRoutes,
    pub(super) mode: Mode,
    /// A message that has arrived in part.
    pub(super) partial: Option<Box<Partial>>,
    pub(super) consumers: HashMap<Arc<str>, Arc<Consumption>>,
    pub(super) reply: Option<Arc<ReplyConsumer>>,
    /// The queue that was declared last.
    pub(super) last_queue: Option<Arc<str>>,
    /// Prefetch of the consumers to come.
    pub(super) prefetch: u16,
    /// Answers that wait for the log, oldest first.
    pending: VecDeque<Pending>,
    /// We have closed it, and it is counted out.
    closing: bool,
    /// The connection knows that something waits here.
    listed: bool,
    /// The connection knows that something is to be done here at the end of the batch.
    noted: bool,
}

/// How a channel treats publishes.
#[derive(Default)]
pub(super) enum Mode {
    /// As they come.
    #[default]
    Plain,
    /// They are confirmed.
    Confirm(Box<Confirming>),
    /// They wait for tx.commit.
    Tx(Box<Transaction>),
}

/// An answer that is owed.
enum Pending {
    /// It waits for the log.
    Answer {
        position: Position,
        answer: SmallVec<[u8; 32]>,
        /// A consumer that begins with it.
        start: Option<Arc<Consumption>>,
    },
    /// A message is to be fetched when everything before is answered.
    Get(Get),
}

impl Channel {
    pub(super) fn new(state: ChannelState) -> Self {
        Self {
            state,
            routes: ExchangeRoutes::default(),
            mode: Mode::Plain,
            partial: None,
            consumers: HashMap::new(),
            reply: None,
            last_queue: None,
            prefetch: 0,
            pending: VecDeque::new(),
            closing: false,
            listed: false,
            noted: false,
        }
    }

    /// Whether we have closed it.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// We close it.
    pub(super) fn close(&mut self, close: &Method<'_>) {
        self.state.sent(close);
        self.closing = true;
    }

    pub(super) fn number(&self) -> u16 {
        self.state.number()
    }

    /// A method without content; the channel's state has judged it.
    pub(super) fn method(
        &mut self,
        method: &Method<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        match method {
            Method::BasicAck(m) => {
                return self.settle(m.delivery_tag, m.multiple, Outcome::Ack, basic::Ack::ID, parent);
            }
            Method::BasicNack(m) => {
                let outcome = Outcome::Nack { requeue: m.requeue };
                return self.settle(m.delivery_tag, m.multiple, outcome, basic::Nack::ID, parent);
            }
            Method::BasicReject(m) => {
                let outcome = Outcome::Reject { requeue: m.requeue };
                return self.settle(m.delivery_tag, false, outcome, basic::Reject::ID, parent);
            }
            _ => {}
        }
        // Everything else sees what was acknowledged before it.
        parent.flush_settlements(cx.now, cx.effects);
        match method {
            Method::BasicQos(m) => self.qos(m, parent, cx),
            Method::BasicConsume(m) => self.consume(m, parent, cx),
            Method::BasicCancel(m) => {
                self.cancel(m, parent, cx);
                Ok(())
            }
            Method::BasicGet(m) => self.get(m, parent, cx),
            Method::BasicRecover(m) => {
                self.recover(m.requeue, basic::Recover::ID, parent, cx)?;
                self.answer(Position::NONE, basic::RecoverOk {}, parent, cx.effects);
                Ok(())
            }
            Method::BasicRecoverAsync(m) => self.recover(m.requeue, basic::RecoverAsync::ID, parent, cx),
            Method::ConfirmSelect(m) => self.select_confirms(m, parent, cx),
            Method::TxSelect(_) => self.select_tx(parent, cx),
            Method::TxCommit(_) => self.commit(parent, cx),
            Method::TxRollback(_) => self.roll_back(parent, cx),
            Method::ChannelFlow(m) if !m.active => {
                Err(self.fault(ReplyCode::NotImplemented, "active=false", channel::Flow::ID))
            }
            Method::ChannelFlow(m) => {
                self.answer(Position::NONE, channel::FlowOk { active: m.active }, parent, cx.effects);
                Ok(())
            }
            Method::ChannelFlowOk(_) => Ok(()),
            Method::AccessRequest(_) => {
                self.answer(Position::NONE, access::RequestOk { ticket: 1 }, parent, cx.effects);
                Ok(())
            }
            Method::ExchangeDeclare(m) => self.declare_exchange(m, parent, cx),
            Method::ExchangeDelete(m) => self.delete_exchange(m, parent, cx),
            Method::ExchangeBind(m) => self.bind_exchange(m, parent, cx),
            Method::ExchangeUnbind(m) => self.unbind_exchange(m, parent, cx),
            Method::QueueDeclare(m) => self.declare_queue(m, parent, cx),
            Method::QueueBind(m) => self.bind_queue(m, parent, cx),
            Method::QueueUnbind(m) => self.unbind_queue(m, parent, cx),
            Method::QueuePurge(m) => self.purge_queue(m, parent, cx),
            Method::QueueDelete(m) => self.delete_queue(m, parent, cx),
            other => {
                let id = other.info().id;
                Err(self.fault(ReplyCode::CommandInvalid, format!("{id} is not allowed here"), id))
            }
        }
    }

    /// confirm.select: the publishes from now on are numbered.
    fn select_confirms(
        &mut self,
        select: &confirm::Select,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        match self.mode {
            Mode::Tx(_) => {
                let text = "cannot switch from tx to confirm mode";
                return Err(self.fault(ReplyCode::PreconditionFailed, text, confirm::Select::ID));
            }
            Mode::Plain => self.mode = Mode::Confirm(Box::default()),
            Mode::Confirm(_) => {}
        }
        if !select.no_wait {
            self.answer(Position::NONE, confirm::SelectOk {}, parent, cx.effects);
        }
        Ok(())
    }

    /// A fault of this channel.
    #[cold]
    pub(super) fn fault(&self, code: ReplyCode, text: impl std::fmt::Display, method: MethodId) -> Fault {
        Fault::new(code, text, self.number(), method)
    }

    /// Answers now, or when the log has reached `position` and everything before is answered.
    pub(super) fn answer<'m>(
        &mut self,
        position: Position,
        answer: impl Into<Method<'m>>,
        parent: &mut Parent,
        effects: &mut Effects,
    ) {
        self.answer_and_start(position, Some(answer.into()), None, parent, effects);
    }

    /// The same for an answer with which a consumer begins.
    pub(super) fn answer_and_start(
        &mut self,
        position: Position,
        answer: Option<Method<'_>>,
        start: Option<Arc<Consumption>>,
        parent: &mut Parent,
        effects: &mut Effects,
    ) -> Option<Arc<Consumption>> {
        parent.recorded |= position > Position::NONE;
        if self.pending.is_empty() && position <= parent.vhost.durable() {
            if let Some(answer) = answer {
                parent.send(self.number(), answer, effects);
            }
            return start;
        }
        let mut bytes = Vec::new();
        if let Some(answer) = answer {
            put(&answer, self.number(), &mut bytes);
        }
        self.pending.push_back(Pending::Answer { position, answer: SmallVec::from_vec(bytes), start });
        None
    }

    /// Whether answers wait; what is written past them would overtake them.
    pub(super) fn holds_answers(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The position of the log that the next answer or confirm waits for.
    pub(super) fn awaited(&self) -> Option<Position> {
        let confirm = match &self.mode {
            Mode::Confirm(confirming) => confirming.awaited(),
            _ => None,
        };
        let answer = match self.pending.front() {
            Some(Pending::Answer { position, .. }) => Some(*position),
            Some(Pending::Get(_)) | None => None,
        };
        [confirm, answer].into_iter().flatten().min()
    }

    /// Whether there is something for the end of the batch that the connection does not know of yet.
    pub(super) fn has_news(&mut self) -> bool {
        if self.noted {
            return false;
        }
        let confirms = matches!(&self.mode, Mode::Confirm(confirming) if confirming.has_news());
        self.noted = confirms || (!self.listed && self.awaited().is_some());
        self.noted
    }

    /// Whether the connection has to note that something waits here.
    pub(super) fn note_waiting(&mut self) -> bool {
        self.noted = false;
        let fresh = !self.listed && self.awaited().is_some();
        self.listed |= fresh;
        fresh
    }

    /// The log is durable up to `durable`.
    pub(super) fn log_moved(
        &mut self,
        durable: Position,
        parent: &mut Parent,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        self.listed = false;
        let answered = self.answer_pending(durable, parent, now, effects);
        if let Mode::Confirm(confirming) = &mut self.mode {
            confirming.log_moved(durable);
        }
        self.flush_confirms(parent, effects);
        answered
    }

    /// Gives the answers that can be given by now.
    pub(super) fn answer_pending(
        &mut self,
        durable: Position,
        parent: &mut Parent,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        while let Some(pending) = self.pending.pop_front() {
            match pending {
                Pending::Answer { position, .. } if position > durable => {
                    self.pending.push_front(pending);
                    break;
                }
                Pending::Answer { answer, start, .. } => {
                    parent.outbox.write(effects, |out| out.extend_from_slice(&answer));
                    if let Some(consumption) = start {
                        parent.vhost.start_consuming(&consumption, now, effects);
                    }
                }
                Pending::Get(get) => {
                    if !self.fetch(&get, parent, now, effects)? {
                        self.pending.push_front(Pending::Get(get));
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// A message is fetched when everything before is answered.
    pub(super) fn hold_get(&mut self, get: Get) {
        self.pending.push_back(Pending::Get(get));
    }

    /// The channel ends: consumers are cancelled, what is unsettled goes back, a transaction is forgotten.
    pub(super) fn end(&mut self, parent: &mut Parent, now: Now, effects: &mut Effects) {
        let unsettled = parent.outbox.close_channel(self.number());
        for (_, consumption) in self.consumers.drain() {
            parent.vhost.cancel(&consumption, now, effects);
        }
        if let Some(reply) = self.reply.take() {
            parent.shared.amqp.reply_to.remove(&reply);
        }
        let transaction = match std::mem::take(&mut self.mode) {
            Mode::Tx(transaction) => Some(transaction),
            _ => None,
        };
        let acknowledged = transaction.into_iter().flat_map(|transaction| transaction.into_held());
        let mut held: Vec<_> = unsettled.into_iter().chain(acknowledged).collect();
        for held in held.drain(..) {
            Parent::settled(&mut parent.settlements, held, Outcome::ChannelGone);
        }
        if let Some(partial) = self.partial.take() {
            parent.partial = parent.partial.saturating_sub(partial.len());
        }
        self.pending.clear();
        parent.flush_settlements(now, effects);
    }

    pub(super) fn consumptions(&self) -> impl Iterator<Item = &Arc<Consumption>> {
        self.consumers.values()
    }

    /// The core has ended a consumer.
    pub(super) fn forget_consumer(&mut self, tag: &str) {
        self.consumers.remove(tag);
    }
}
