//! Exchanges, queues and bindings: from methods to operations of the core.

use std::sync::Arc;

use tercet_amqp::field::Table;
use tercet_amqp::method::{exchange, queue};
use tercet_amqp::{Method, MethodId, ReplyCode};
use tercet_broker::exchange::request::{Bind, DeclareExchange, DeclareQueue, Destination};
use tercet_broker::journal::Position;
use tercet_broker::refusal::Refusal;

use crate::amqp::channel::Channel;
use crate::amqp::fault::Fault;
use crate::amqp::parent::Parent;
use crate::amqp::reply_to;
use crate::reactor::face::FaceContext;

impl Channel {
    /// The queue that a method speaks of: an empty name stands for the one declared last. CR and LF do not count.
    pub(super) fn queue_name(&self, name: &str, method: MethodId) -> Result<Arc<str>, Fault> {
        match (name, &self.last_queue) {
            ("", Some(last)) => Ok(Arc::clone(last)),
            ("", None) => Err(self.fault(ReplyCode::NotFound, "no previously declared queue", method)),
            (name, _) if name.contains(['\r', '\n']) => {
                Ok(name.chars().filter(|c| !matches!(c, '\r' | '\n')).collect::<String>().into())
            }
            (name, _) => Ok(name.into()),
        }
    }

    fn refused(&self, refusal: &Refusal, method: MethodId) -> Fault {
        Fault::refused(refusal, self.number(), method)
    }

    fn answer_unless(
        &mut self,
        no_wait: bool,
        position: Position,
        answer: impl for<'m> Into<Method<'m>>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        if no_wait {
            parent.recorded |= position > Position::NONE;
        } else {
            self.answer(position, answer, parent, cx.effects);
        }
        Ok(())
    }

    pub(super) fn declare_exchange(
        &mut self,
        declare: &exchange::Declare<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let request = DeclareExchange {
            name: declare.exchange,
            kind: declare.kind,
            passive: declare.passive,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
        };
        let position = parent
            .vhost
            .declare_exchange(&parent.actor, &request, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, exchange::Declare::ID))?;
        self.answer_unless(declare.no_wait, position, exchange::DeclareOk {}, parent, cx)
    }

    pub(super) fn delete_exchange(
        &mut self,
        delete: &exchange::Delete<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let position = parent
            .vhost
            .delete_exchange(&parent.actor, delete.exchange, delete.if_unused, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, exchange::Delete::ID))?;
        self.answer_unless(delete.no_wait, position, exchange::DeleteOk {}, parent, cx)
    }

    pub(super) fn bind_exchange(
        &mut self,
        bind: &exchange::Bind<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let request = Bind {
            source: bind.source,
            destination: Destination::Exchange(bind.destination),
            key: bind.routing_key,
            arguments: bind.arguments,
        };
        let position = parent
            .vhost
            .bind(&parent.actor, &request, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, exchange::Bind::ID))?;
        self.answer_unless(bind.no_wait, position, exchange::BindOk {}, parent, cx)
    }

    pub(super) fn unbind_exchange(
        &mut self,
        unbind: &exchange::Unbind<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let request = Bind {
            source: unbind.source,
            destination: Destination::Exchange(unbind.destination),
            key: unbind.routing_key,
            arguments: unbind.arguments,
        };
        let position = parent
            .vhost
            .unbind(&parent.actor, &request, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, exchange::Unbind::ID))?;
        self.answer_unless(unbind.no_wait, position, exchange::UnbindOk {}, parent, cx)
    }

    pub(super) fn declare_queue(
        &mut self,
        declare: &queue::Declare<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let id = queue::Declare::ID;
        if declare.queue.starts_with(reply_to::PSEUDO_QUEUE) {
            return self.ask_for_reply_queue(declare, parent, cx);
        }
        let request = DeclareQueue {
            // Passively, an empty name stands for the queue declared last.
            name: match &self.last_queue {
                Some(last) if declare.passive && declare.queue.is_empty() => last,
                _ => declare.queue,
            },
            passive: declare.passive,
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            arguments: declare.arguments,
        };
        let declared = parent
            .vhost
            .declare_queue(&parent.actor, &request, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, id))?;
        self.last_queue = Some(Arc::clone(&declared.name));
        if declare.no_wait {
            parent.recorded |= declared.position > Position::NONE;
            return Ok(());
        }
        let declare_ok = queue::DeclareOk {
            queue: &declared.name,
            message_count: declared.ready,
            consumer_count: declared.consumers,
        };
        self.answer(declared.position, declare_ok, parent, cx.effects);
        Ok(())
    }

    /// queue.declare of a reply address asks whether its consumer is there.
    fn ask_for_reply_queue(
        &mut self,
        declare: &queue::Declare<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let name = declare.queue;
        let there =
            name == reply_to::PSEUDO_QUEUE || parent.shared.amqp.reply_to.find(&parent.vhost, name).is_some();
        if !there {
            let text = format!("no queue '{name}' in vhost '{}'", parent.actor.vhost);
            return Err(self.fault(ReplyCode::NotFound, text, queue::Declare::ID));
        }
        if !declare.no_wait {
            let declare_ok = queue::DeclareOk { queue: name, message_count: 0, consumer_count: 1 };
            self.answer(Position::NONE, declare_ok, parent, cx.effects);
        }
        Ok(())
    }

    pub(super) fn bind_queue(
        &mut self,
        bind: &queue::Bind<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let id = queue::Bind::ID;
        let queue = self.queue_name(bind.queue, id)?;
        let key = binding_key(bind.queue, bind.routing_key, &queue);
        let request = binding(bind.exchange, &queue, key, bind.arguments);
        let position = parent
            .vhost
            .bind(&parent.actor, &request, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, id))?;
        self.answer_unless(bind.no_wait, position, queue::BindOk {}, parent, cx)
    }

    pub(super) fn unbind_queue(
        &mut self,
        unbind: &queue::Unbind<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let id = queue::Unbind::ID;
        let queue = self.queue_name(unbind.queue, id)?;
        let key = binding_key(unbind.queue, unbind.routing_key, &queue);
        let request = binding(unbind.exchange, &queue, key, unbind.arguments);
        let position = parent
            .vhost
            .unbind(&parent.actor, &request, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, id))?;
        self.answer_unless(false, position, queue::UnbindOk {}, parent, cx)
    }

    pub(super) fn purge_queue(
        &mut self,
        purge: &queue::Purge<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let id = queue::Purge::ID;
        let queue = self.queue_name(purge.queue, id)?;
        let (message_count, position) = parent
            .vhost
            .purge_queue(&parent.actor, &queue, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, id))?;
        self.answer_unless(purge.no_wait, position, queue::PurgeOk { message_count }, parent, cx)
    }

    pub(super) fn delete_queue(
        &mut self,
        delete: &queue::Delete<'_>,
        parent: &mut Parent,
        cx: &mut FaceContext<'_>,
    ) -> Result<(), Fault> {
        let id = queue::Delete::ID;
        let queue = self.queue_name(delete.queue, id)?;
        let (message_count, position) = parent
            .vhost
            .delete_queue(&parent.actor, &queue, delete.if_unused, delete.if_empty, cx.now, cx.effects)
            .map_err(|refusal| self.refused(&refusal, id))?;
        self.answer_unless(delete.no_wait, position, queue::DeleteOk { message_count }, parent, cx)
    }
}

/// Without queue and key, the name of the queue declared last is the key as well.
fn binding_key<'a>(asked: &str, key: &'a str, queue: &'a str) -> &'a str {
    if asked.is_empty() && key.is_empty() { queue } else { key }
}

fn binding<'a>(exchange: &'a str, queue: &'a str, key: &'a str, arguments: Table<'a>) -> Bind<'a> {
    Bind { source: exchange, destination: Destination::Queue(queue), key, arguments }
}
