//! Binding and unbinding.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use tercet_amqp::field::{Table, TableBuf, Value};

use crate::actor::{Actor, Right};
use crate::clock::Now;
use crate::effects::Effects;
use crate::exchange::kind::ExchangeKind;
use crate::exchange::recent_history::History;
use crate::exchange::request::{Bind, Destination};
use crate::exchange::tables::{Changes, TOPIC_SPACE, Tables};
use crate::exchange::target::Target;
use crate::journal::Position;
use crate::message::Message;
use crate::named_queue::Incoming;
use crate::record::{BindingDestination, BindingKey, BindingRecord, Record};
use crate::refusal::Refusal;
use crate::session::Context;
use crate::vhost::Vhost;
use crate::vhost::retained_binding::RetainedGift;
use crate::vhost::topology::{
    check_length, check_not_default, check_not_waiting_room, no_exchange, no_queue, stripped,
};

/// Where a new binding leads, and the messages that go there at once.
type Told = (Target, Vec<Arc<Message>>);

/// A request with its names as they count.
struct Names<'a> {
    source: Cow<'a, str>,
    destination: Cow<'a, str>,
    to_exchange: bool,
    key: &'a str,
}

impl<'a> Names<'a> {
    fn of(request: &Bind<'a>) -> Self {
        let (destination, to_exchange) = match request.destination {
            Destination::Queue(name) => (name, false),
            Destination::Exchange(name) => (name, true),
        };
        Self {
            source: stripped(request.source),
            destination: stripped(destination),
            to_exchange,
            key: request.key,
        }
    }
}

impl Vhost {
    /// Makes a binding; one that exists stays.
    ///
    /// # Errors
    /// 403, 404, 405, 406; 506 if the log takes nothing.
    pub fn bind(
        &self,
        actor: &Actor,
        request: &Bind<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        let names = Names::of(request);
        check_length("binding key", names.key)?;
        self.check_binding_rights(actor, &names)?;
        let gift = self.retained_gift(&names, &request.arguments);
        let (position, history) = self.add_binding(actor, &names, &request.arguments)?;
        if let Some(gift) = gift {
            self.give_retained(gift, now, effects);
        }
        if let Some((target, messages)) = history {
            self.tell_history(&target, messages, now, effects);
        }
        Ok(position)
    }

    /// Retained values that a binding that is about to be made asks for.
    fn retained_gift(&self, names: &Names<'_>, arguments: &Table<'_>) -> Option<RetainedGift> {
        if names.to_exchange || &*names.source != TOPIC_SPACE {
            return None;
        }
        RetainedGift::asked(self, &self.find_queue(&names.destination)?, names.key, arguments)
    }

    /// Removes a binding. One that does not exist is removed already.
    ///
    /// # Errors
    /// 403, 404, 405.
    pub fn unbind(
        &self,
        actor: &Actor,
        request: &Bind<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        let names = Names::of(request);
        self.check_binding_rights(actor, &names)?;
        self.together(|| {
            self.with_context(now, effects, |cx| self.remove_binding(actor, &names, &request.arguments, cx))
        })
    }

    /// Puts the latest messages of an exchange into what was bound to it.
    fn tell_history(&self, target: &Target, messages: Vec<Arc<Message>>, now: Now, effects: &mut Effects) {
        for message in messages {
            // A copy with a record of its own: the first one may be held by others.
            let message = Arc::new(Message { shared: true, ..message.copied() });
            match target {
                Target::Queue(queue) => {
                    self.with_context(now, effects, |cx| {
                        queue.enqueue(&mut Incoming::owned(&message, now), cx);
                    });
                }
                Target::Exchange(name) => {
                    self.put_into_exchange(name, &message, &mut |_| true, now, effects);
                }
            }
        }
        if effects.has_work() {
            self.work_off(now, effects);
        }
    }

    fn check_binding_rights(&self, actor: &Actor, names: &Names<'_>) -> Result<(), Refusal> {
        check_not_default(&names.source)?;
        let kind = if names.to_exchange { "exchange" } else { "queue" };
        if names.to_exchange {
            check_not_default(&names.destination)?;
        } else if names.destination.starts_with("amq.rabbitmq.reply-to") {
            return Err(Refusal::access_refused("operation not permitted on a reply queue"));
        }
        actor.check(Right::Write, kind, &names.destination)?;
        actor.check(Right::Read, "exchange", &names.source)?;
        let tables = self.topology.tables.read();
        let entry = tables.exchanges.get(&*names.source);
        let is_topic = entry.is_some_and(|entry| entry.exchange.kind.kind == ExchangeKind::Topic);
        if is_topic { check_topic(actor, Right::Read, &names.source, names.key) } else { Ok(()) }
    }

    /// Adds a binding. Returns where it leads with what goes there at once, if the exchange keeps a history.
    fn add_binding(
        &self,
        actor: &Actor,
        names: &Names<'_>,
        arguments: &Table<'_>,
    ) -> Result<(Position, Option<Told>), Refusal> {
        let mut tables = self.topology.tables.write();
        let binding = Arc::new(resolve(&tables, actor, names, arguments)?);
        let Some(entry) = tables.exchanges.get(&binding.source) else {
            return Err(no_exchange(&names.source, &actor.vhost));
        };
        entry.router.check(&binding.key, arguments)?;
        check_owner(&tables, actor, &binding)?;
        let recorded = tables.is_recorded(&binding);
        if tables.is_bound(&binding) {
            return Ok((if recorded { self.staged_position() } else { Position::NONE }, None));
        }
        self.check_room(recorded)?;
        let position = match recorded {
            true => self.stage_change(&Record::Binding(&BindingRecord::Bound((*binding).clone()))),
            false => Position::NONE,
        };
        let exchange = Arc::clone(&entry.exchange);
        let Some(target) = tables.add_binding(&binding) else { return Ok((position, None)) };
        self.binding_changed(&binding, &target, true);
        let history = exchange.history.as_ref().map(History::messages);
        Ok((position, history.map(|messages| (target, messages))))
    }

    fn remove_binding(
        &self,
        actor: &Actor,
        names: &Names<'_>,
        arguments: &Table<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Position, Refusal> {
        let mut tables = self.topology.tables.write();
        let binding = match resolve(&tables, actor, names, arguments) {
            Ok(binding) => binding,
            // What does not exist is bound to nothing.
            Err(refusal) if refusal.code == crate::refusal::ReplyCode::NotFound => {
                return Ok(self.staged_position());
            }
            Err(refusal) => return Err(refusal),
        };
        let recorded = tables.is_recorded(&binding);
        if !tables.is_bound(&binding) {
            return Ok(if recorded { self.staged_position() } else { Position::NONE });
        }
        // Whose queue it is matters only to what is bound.
        check_owner(&tables, actor, &binding)?;
        let position = match recorded {
            true => self.stage_change(&Record::Binding(&BindingRecord::Unbound(binding.clone()))),
            false => Position::NONE,
        };
        let mut changes = Changes::default();
        tables.remove_binding(&binding, &mut changes);
        Ok(self.follow(&mut tables, changes, cx).max(position))
    }
}

/// Asks for the right to use a routing key with a topic exchange.
///
/// # Errors
/// 403, in RabbitMQ's words.
pub(in crate::vhost) fn check_topic(
    actor: &Actor,
    right: Right,
    exchange: &str,
    key: &str,
) -> Result<(), Refusal> {
    if actor.rights.allows_topic(right, exchange, key) {
        return Ok(());
    }
    let right = match right {
        Right::Configure => "configure",
        Right::Write => "write",
        Right::Read => "read",
    };
    Err(Refusal::access_refused(format!(
        "{right} access to topic '{key}' in exchange '{exchange}' in vhost '{}' refused for user '{}'",
        actor.vhost, actor.user
    )))
}

/// The binding that a request is about, both ends of which exist.
fn resolve(
    tables: &Tables,
    actor: &Actor,
    names: &Names<'_>,
    arguments: &Table<'_>,
) -> Result<BindingKey, Refusal> {
    let exchange = |name: &str| {
        let entry = tables.exchanges.get(name).ok_or_else(|| no_exchange(name, &actor.vhost))?;
        Ok(Arc::clone(entry.exchange.name()))
    };
    let source = exchange(&names.source)?;
    let destination = if names.to_exchange {
        BindingDestination::Exchange(exchange(&names.destination)?)
    } else {
        let queue = tables.queues.get(&names.destination);
        let queue = queue.ok_or_else(|| no_queue(&names.destination, &actor.vhost))?;
        check_not_waiting_room(queue, &actor.vhost)?;
        BindingDestination::Queue(Arc::clone(queue.name()))
    };
    Ok(BindingKey { source, destination, key: names.key.into(), arguments: sorted(arguments) })
}

/// Nobody touches what is bound to a queue of another connection.
fn check_owner(tables: &Tables, actor: &Actor, binding: &BindingKey) -> Result<(), Refusal> {
    match &binding.destination {
        BindingDestination::Queue(name) => {
            tables.queues.get(name).map_or(Ok(()), |queue| queue.check_owner(actor))
        }
        BindingDestination::Exchange(_) => Ok(()),
    }
}

/// Arguments in the order of their names: in which order they were written makes no difference.
fn sorted(arguments: &Table<'_>) -> Bytes {
    let mut fields: Vec<(&[u8], Value<'_>)> = arguments.iter().collect();
    if fields.is_sorted_by(|a, b| a.0 <= b.0) {
        return Bytes::copy_from_slice(arguments.as_bytes());
    }
    fields.sort_by(|a, b| a.0.cmp(b.0));
    let mut table = TableBuf::new();
    for (name, value) in fields {
        // What was decoded can be encoded.
        let _ = table.put(name, value);
    }
    Bytes::copy_from_slice(table.as_table().as_bytes())
}
