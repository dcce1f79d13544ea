//! Declaring, deleting and purging queues.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::actor::{Actor, ConnectionId, Right};
use crate::clock::Now;
use crate::effects::Effects;
use crate::exchange::equivalence;
use crate::exchange::generations::Dependency;
use crate::exchange::kind::text_argument;
use crate::exchange::request::{DeclareQueue, QueueDeclared};
use crate::exchange::tables::Changes;
use crate::journal::Position;
use crate::named_queue::{Condition, NamedQueue, NotDeleted, QueueDescription, QueueId, QueueKind};
use crate::policy::queue_arguments;
use crate::record::DuplicateScope;
use crate::refusal::{Refusal, ReplyCode};
use crate::session::Context;
use crate::vhost::Vhost;
use crate::vhost::topology::exchanges::check_any_right;
use crate::vhost::topology::{
    check_length, check_not_reserved, check_not_waiting_room, queue_text, stripped,
};

const DEAD_LETTER: &str = "x-dead-letter-exchange";

impl Vhost {
    /// Declares a queue, or asks whether it exists.
    ///
    /// # Errors
    /// 403, 404, 405, 406; 506 if the log takes nothing.
    pub fn declare_queue(
        &self,
        actor: &Actor,
        request: &DeclareQueue<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<QueueDeclared, Refusal> {
        let name = stripped(request.name);
        if request.passive {
            check_any_right(actor, "queue", &name)?;
            let queue = self.find_usable_queue(actor, &name)?;
            return Ok(self.declared(&queue));
        }
        let name = if name.is_empty() { server_named(request)? } else { name.into_owned() };
        if !request.name.is_empty() {
            check_not_reserved("queue", &name)?;
            check_length("queue name", &name)?;
        }
        actor.check(Right::Configure, "queue", &name)?;
        let declared = self.with_context(now, effects, |cx| {
            if let Some(queue) = self.find_queue(&name) {
                return self.declare_again(actor, &queue, request, cx);
            }
            let what = queue_text(&name, &actor.vhost);
            self.check_queue_limit(actor, &name, self.topology.tables.read().queues.len())?;
            self.check_dead_letter_rights(actor, &name, request, &what)?;
            let kind = queue_arguments::check(&what, &request.arguments)?;
            let (durable, exclusive) = (request.durable, request.exclusive);
            queue_arguments::check_properties(kind, &what, durable, exclusive, request.auto_delete)?;
            let description = QueueDescription {
                name: name.as_str().into(),
                kind,
                durable: durable && !exclusive,
                exclusive: exclusive.then_some(actor.connection),
                auto_delete: request.auto_delete,
                arguments: Bytes::copy_from_slice(request.arguments.as_bytes()),
            };
            self.check_room(description.durable)?;
            self.create_queue(actor, request, description, cx)
        });
        if effects.has_work() {
            self.work_off(now, effects);
        }
        declared
    }

    fn create_queue(
        &self,
        actor: &Actor,
        request: &DeclareQueue<'_>,
        description: QueueDescription,
        cx: &mut Context<'_>,
    ) -> Result<QueueDeclared, Refusal> {
        let mut tables = self.topology.tables.write();
        // Now that no policy can be put in force that would pass the queue by.
        let settings = Arc::new(self.queue_settings(&description));
        if let Some(queue) = tables.queues.get(&description.name).cloned() {
            // Somebody was faster.
            drop(tables);
            return self.declare_again(actor, &queue, request, cx);
        }
        self.check_queue_limit(actor, &description.name, tables.queues.len())?;
        let id = QueueId(self.topology.last_queue.fetch_add(1, Relaxed) + 1);
        let queue = NamedQueue::new(id, description, settings);
        let position = queue.record_declared(cx);
        tables.add_queue(Arc::clone(&queue));
        self.topology.generations.changed(Dependency::Queue(queue.name()));
        queue.declared(cx);
        Ok(QueueDeclared { name: Arc::clone(queue.name()), ready: 0, consumers: 0, position })
    }

    fn declare_again(
        &self,
        actor: &Actor,
        queue: &Arc<NamedQueue>,
        request: &DeclareQueue<'_>,
        cx: &mut Context<'_>,
    ) -> Result<QueueDeclared, Refusal> {
        let (name, current) = (queue.name(), queue.description());
        let mine = request.exclusive.then_some(actor.connection);
        // Before anything else is compared: others learn nothing about an exclusive queue.
        if current.exclusive != mine && current.exclusive != Some(actor.connection) {
            return Err(locked(name, &actor.vhost));
        }
        if current.exclusive.is_some() != request.exclusive {
            return Err(locked(name, &actor.vhost));
        }
        let what = queue_text(name, &actor.vhost);
        let durable = request.durable && !request.exclusive;
        equivalence::field("durable", &what, durable, current.durable)?;
        equivalence::field("auto_delete", &what, request.auto_delete, current.auto_delete)?;
        queue_arguments::compare(&what, queue.kind(), &request.arguments, &queue.arguments())?;
        queue.declared(cx);
        Ok(self.declared(queue))
    }

    fn declared(&self, queue: &NamedQueue) -> QueueDeclared {
        let (ready, consumers) = queue.ready_and_consumers();
        // Its declaration may still be on its way.
        let position = if queue.is_recorded() { self.staged_position() } else { Position::NONE };
        QueueDeclared { name: Arc::clone(queue.name()), ready, consumers, position }
    }

    fn check_dead_letter_rights(
        &self,
        actor: &Actor,
        name: &str,
        request: &DeclareQueue<'_>,
        what: &str,
    ) -> Result<(), Refusal> {
        match text_argument(&request.arguments, DEAD_LETTER) {
            Ok(None) => Ok(()),
            Ok(Some(exchange)) => {
                actor.check(Right::Read, "queue", name)?;
                actor.check(Right::Write, "exchange", exchange)
            }
            Err(found) => Err(Refusal::precondition_failed(format!(
                "invalid type '{found}' for arg '{DEAD_LETTER}' in {what}"
            ))),
        }
    }

    /// Deletes a queue, with the bindings to it, and says how many messages were ready. One that does not exist is
    /// deleted already.
    ///
    /// # Errors
    /// 403, 405; 406 if it is in use or not empty and that was asked for.
    pub fn delete_queue(
        &self,
        actor: &Actor,
        name: &str,
        if_unused: bool,
        if_empty: bool,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(u32, Position), Refusal> {
        let name = stripped(name);
        actor.check(Right::Configure, "queue", &name)?;
        let Some(queue) = self.find_queue(&name) else { return Ok((0, self.staged_position())) };
        queue.check_owner(actor)?;
        check_not_waiting_room(&queue, &actor.vhost)?;
        let condition = Condition { if_unused, if_empty, if_expired: false };
        let what = || queue_text(&name, &actor.vhost);
        match self.remove_queue(&queue, condition, now, effects) {
            Ok(deleted) => Ok(deleted),
            Err(NotDeleted::Gone) => Ok((0, self.staged_position())),
            Err(NotDeleted::InUse) => Err(Refusal::precondition_failed(format!("{} in use", what()))),
            Err(NotDeleted::NotEmpty) => Err(Refusal::precondition_failed(format!("{} not empty", what()))),
        }
    }

    fn remove_queue(
        &self,
        queue: &Arc<NamedQueue>,
        condition: Condition,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(u32, Position), NotDeleted> {
        let removed = self.together_if(queue.is_recorded(), || {
            self.with_context(now, effects, |cx| {
                let mut tables = self.topology.tables.write();
                let (ready, position) = queue.delete(condition, cx)?;
                let mut changes = Changes::default();
                tables.remove_queue(queue.name(), &mut changes);
                self.topology.generations.changed(Dependency::Queue(queue.name()));
                self.duplicates().end(&DuplicateScope::Queue(queue.id()));
                Ok((ready, self.follow(&mut tables, changes, cx).max(position)))
            })
        });
        if effects.has_work() {
            self.work_off(now, effects);
        }
        removed
    }

    /// Drops everything that is ready in a queue, and says how much it was.
    ///
    /// # Errors
    /// 403, 404, 405; 540: it is a stream.
    pub fn purge_queue(
        &self,
        actor: &Actor,
        name: &str,
        now: Now,
        effects: &mut Effects,
    ) -> Result<(u32, Position), Refusal> {
        let name = stripped(name);
        actor.check(Right::Read, "queue", &name)?;
        let queue = self.find_usable_queue(actor, &name)?;
        if queue.kind() == QueueKind::Stream {
            let what = queue_text(&name, &actor.vhost);
            let text = format!("queue.purge not supported by stream queues {what}");
            return Err(Refusal::new(ReplyCode::NotImplemented, text));
        }
        Ok(self.with_context(now, effects, |cx| queue.purge(cx)))
    }

    /// A connection has ended: its exclusive queues go.
    pub fn connection_closed(&self, connection: ConnectionId, now: Now, effects: &mut Effects) {
        let owned = self.topology.tables.read().owned_by(connection);
        for queue in owned.into_iter().rev() {
            // Whether it was still there makes no difference.
            let _ = self.remove_queue(&queue, Condition::default(), now, effects);
        }
    }

    /// The last consumer of a queue has gone: it goes too, if it was declared so and nobody has come since. Not to be
    /// called under a queue's lock.
    pub fn queue_unused(&self, queue: &Arc<NamedQueue>, now: Now, effects: &mut Effects) {
        if queue.description().auto_delete {
            let condition = Condition { if_unused: true, ..Condition::default() };
            let _ = self.remove_queue(queue, condition, now, effects);
        }
    }

    /// A queue was not used for as long as it may be (`x-expires`): it goes. Not to be called under a queue's lock.
    pub fn queue_expired(&self, queue: &Arc<NamedQueue>, now: Now, effects: &mut Effects) {
        let condition = Condition { if_expired: true, ..Condition::default() };
        let _ = self.remove_queue(queue, condition, now, effects);
    }
}

fn locked(name: &str, vhost: &str) -> Refusal {
    Refusal::resource_locked(format!(
        "cannot obtain exclusive access to locked {}. It could be originally declared on another connection or the \
         exclusive property value does not match that of the original declaration.",
        queue_text(name, vhost)
    ))
}

/// A name that nobody else has.
///
/// # Errors
/// 406: queues of this kind are not named by the server.
fn server_named(request: &DeclareQueue<'_>) -> Result<String, Refusal> {
    let kind = queue_arguments::kind_of(&request.arguments);
    if kind != QueueKind::Classic {
        return Err(Refusal::precondition_failed(format!(
            "Cannot declare a server-named queue for type {}",
            queue_arguments::kind_name(kind)
        )));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|_| Refusal::new(ReplyCode::InternalError, "the system gives no random numbers"))?;
    Ok(format!("amq.gen-{}", base64url(&random)))
}

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for digit in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * digit)) & 0x3F;
            text.push(char::from(DIGITS.get(index as usize).copied().unwrap_or(b'A')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64url;

    #[test]
    fn base64url_follows_the_examples_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xFB, 0xFF]), "-_8");
    }
}
