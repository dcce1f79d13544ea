//! Declaring and deleting exchanges.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::actor::{Actor, Right};
use crate::clock::Now;
use crate::effects::Effects;
use crate::exchange::equivalence;
use crate::exchange::generations::Dependency;
use crate::exchange::kind::{ExchangeType, text_argument};
use crate::exchange::request::DeclareExchange;
use crate::exchange::tables::{Changes, Exchange, Tables};
use crate::journal::Position;
use crate::record::{ExchangeDeclaration, ExchangeRecord, Record};
use crate::refusal::Refusal;
use crate::session::Context;
use crate::vhost::Vhost;
use crate::vhost::topology::{
    check_length, check_not_default, check_not_reserved, exchange_text, no_exchange, stripped,
};

const ALTERNATE: &str = "alternate-exchange";

impl Vhost {
    /// Declares an exchange, or asks whether it exists.
    ///
    /// # Errors
    /// 403, 404, 406; 506 if the log takes nothing.
    pub fn declare_exchange(
        &self,
        actor: &Actor,
        request: &DeclareExchange<'_>,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        let name = stripped(request.name);
        if request.passive {
            return self.ask_for_exchange(actor, &name);
        }
        let kind = ExchangeType::parse(request.kind, &request.arguments)?;
        check_not_default(&name)?;
        actor.check(Right::Configure, "exchange", &name)?;
        let known = self.exchange_position(&name, |exchange| {
            check_same(exchange, kind, request, &exchange_text(&name, &actor.vhost))
        });
        if let Some(known) = known {
            return known;
        }
        check_not_reserved("exchange", &name)?;
        check_length("exchange name", &name)?;
        let what = exchange_text(&name, &actor.vhost);
        match text_argument(&request.arguments, ALTERNATE) {
            Ok(None) => {}
            Ok(Some(alternate)) => {
                actor.check(Right::Read, "exchange", &name)?;
                actor.check(Right::Write, "exchange", alternate)?;
            }
            Err(found) => {
                let text = format!("invalid type '{found}' for arg '{ALTERNATE}' in {what}");
                return Err(Refusal::precondition_failed(text));
            }
        }
        kind.check(&request.arguments)?;
        self.check_room(request.durable)?;
        self.create_exchange(&name, kind, request, &what)
    }

    fn create_exchange(
        &self,
        name: &str,
        kind: ExchangeType,
        request: &DeclareExchange<'_>,
        what: &str,
    ) -> Result<Position, Refusal> {
        let mut tables = self.topology.tables.write();
        if let Some(entry) = tables.exchanges.get(name) {
            // Somebody was faster.
            check_same(&entry.exchange, kind, request, what)?;
            return Ok(self.known_position(&entry.exchange));
        }
        let declaration = ExchangeDeclaration {
            name: name.into(),
            kind: kind.name().into(),
            auto_delete: request.auto_delete,
            internal: request.internal,
            arguments: Bytes::copy_from_slice(request.arguments.as_bytes()),
        };
        let position = match request.durable {
            true => self.stage_change(&Record::Exchange(&ExchangeRecord::Declared(declaration.clone()))),
            false => Position::NONE,
        };
        self.add_exchange(&mut tables, Exchange::new(declaration, kind, request.durable));
        Ok(position)
    }

    /// Adds an exchange to the tables, with the policy that counts for it.
    pub(super) fn add_exchange(&self, tables: &mut Tables, exchange: Exchange) {
        let name = Arc::clone(exchange.name());
        tables.add_exchange(Arc::new(exchange));
        self.apply_exchange_policy(tables, &name);
        self.topology.generations.changed(Dependency::Exchange(&name));
    }

    /// What the answer about an exchange waits for that is there already: its declaration may be on its way.
    fn known_position(&self, exchange: &Exchange) -> Position {
        if exchange.is_recorded() { self.staged_position() } else { Position::NONE }
    }

    /// Looks at an exchange; `None` if there is none of that name.
    fn exchange_position(
        &self,
        name: &str,
        check: impl FnOnce(&Exchange) -> Result<(), Refusal>,
    ) -> Option<Result<Position, Refusal>> {
        let tables = self.topology.tables.read();
        let exchange = &tables.exchanges.get(name)?.exchange;
        Some(check(exchange).map(|()| self.known_position(exchange)))
    }

    fn ask_for_exchange(&self, actor: &Actor, name: &str) -> Result<Position, Refusal> {
        check_not_default(name)?;
        check_any_right(actor, "exchange", name)?;
        self.exchange_position(name, |_| Ok(())).unwrap_or_else(|| Err(no_exchange(name, &actor.vhost)))
    }

    /// Deletes an exchange, with the bindings from it and to it. One that does not exist is deleted already.
    ///
    /// # Errors
    /// 403; 406 if it is in use and `if_unused`.
    pub fn delete_exchange(
        &self,
        actor: &Actor,
        name: &str,
        if_unused: bool,
        now: Now,
        effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        let name = stripped(name);
        check_not_default(&name)?;
        if name.starts_with("amq.") {
            let what = exchange_text(&name, &actor.vhost);
            return Err(Refusal::access_refused(format!("deletion of system {what} not allowed")));
        }
        actor.check(Right::Configure, "exchange", &name)?;
        self.together(|| {
            self.with_context(now, effects, |cx| self.remove_exchange(actor, &name, if_unused, cx))
        })
    }

    fn remove_exchange(
        &self,
        actor: &Actor,
        name: &str,
        if_unused: bool,
        cx: &mut Context<'_>,
    ) -> Result<Position, Refusal> {
        let mut tables = self.topology.tables.write();
        let Some(entry) = tables.exchanges.get(name) else {
            // Its end may still be on its way.
            return Ok(self.staged_position());
        };
        if if_unused && !entry.from.is_empty() {
            let text = format!("{} in use", exchange_text(name, &actor.vhost));
            return Err(Refusal::precondition_failed(text));
        }
        let position = match entry.exchange.is_recorded() {
            true => {
                let record = ExchangeRecord::Deleted { name: Arc::clone(entry.exchange.name()) };
                self.stage_change(&Record::Exchange(&record))
            }
            false => Position::NONE,
        };
        let mut changes = Changes::default();
        tables.remove_exchange(name, &mut changes);
        Ok(self.follow(&mut tables, changes, cx).max(position))
    }

    /// Whether there is room for another queue.
    pub(super) fn check_queue_limit(&self, actor: &Actor, name: &str, there: usize) -> Result<(), Refusal> {
        let Some(most) = self.topology.max_queues.load(Relaxed).checked_sub(1) else { return Ok(()) };
        if there < usize::try_from(most).unwrap_or(usize::MAX) {
            return Ok(());
        }
        Err(Refusal::precondition_failed(format!(
            "cannot declare queue '{name}': queue limit in vhost '{}' ({most}) is reached",
            actor.vhost
        )))
    }
}

/// Whoever has no right at all on something does not learn whether it exists.
pub(super) fn check_any_right(actor: &Actor, kind: &str, name: &str) -> Result<(), Refusal> {
    let any = [Right::Configure, Right::Write, Right::Read]
        .into_iter()
        .any(|right| actor.rights.allows(right, name));
    if any { Ok(()) } else { actor.check(Right::Configure, kind, name) }
}

fn check_same(
    exchange: &Exchange,
    kind: ExchangeType,
    request: &DeclareExchange<'_>,
    what: &str,
) -> Result<(), Refusal> {
    let current = &exchange.declaration;
    equivalence::field("type", what, atom(kind.name()), atom(exchange.kind.name()))?;
    equivalence::field("durable", what, request.durable, exchange.durable)?;
    equivalence::field("auto_delete", what, request.auto_delete, current.auto_delete)?;
    equivalence::field("internal", what, request.internal, current.internal)?;
    equivalence::argument(ALTERNATE, what, &request.arguments, &exchange.arguments())
}

/// The name of a type as RabbitMQ's texts show it: with quotes of its own if it has a dash.
fn atom(name: &str) -> String {
    if name.contains('-') { format!("'{name}'") } else { name.to_owned() }
}
