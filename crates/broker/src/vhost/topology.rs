//! Declaring, deleting, binding, unbinding, purging.

use std::sync::Arc;

use crate::actor::{Actor, ConnectionId};
use crate::clock::Now;
use crate::effects::Effects;
use crate::exchange::listing::{BindingInfo, ExchangeInfo, QueueInfo};
use crate::exchange::request::{Bind, DeclareExchange, DeclareQueue, QueueDeclared};
use crate::journal::Position;
use crate::named_queue::NamedQueue;
use crate::refusal::{Refusal, ReplyCode};
use crate::vhost::Vhost;

fn not_yet<T>() -> Result<T, Refusal> {
    Err(Refusal::new(ReplyCode::NotImplemented, "exchanges and queues are under construction"))
}

impl Vhost {
    /// Declares an exchange, or asks whether it exists.
    ///
    /// # Errors
    /// 403, 404, 406; see [`Refusal`].
    pub fn declare_exchange(
        &self,
        _actor: &Actor,
        _request: &DeclareExchange<'_>,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        not_yet()
    }

    /// Deletes an exchange, with the bindings from it and to it. One that does not exist is deleted already.
    ///
    /// # Errors
    /// 403; 406 if it is in use and `if_unused`.
    pub fn delete_exchange(
        &self,
        _actor: &Actor,
        _name: &str,
        _if_unused: bool,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        not_yet()
    }

    /// Makes a binding; one that exists stays.
    ///
    /// # Errors
    /// 403, 404, 405, 406.
    pub fn bind(
        &self,
        _actor: &Actor,
        _request: &Bind<'_>,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        not_yet()
    }

    /// Removes a binding. One that does not exist is removed already.
    ///
    /// # Errors
    /// 403, 404, 405.
    pub fn unbind(
        &self,
        _actor: &Actor,
        _request: &Bind<'_>,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<Position, Refusal> {
        not_yet()
    }

    /// Declares a queue, or asks whether it exists.
    ///
    /// # Errors
    /// 403, 404, 405, 406.
    pub fn declare_queue(
        &self,
        _actor: &Actor,
        _request: &DeclareQueue<'_>,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<QueueDeclared, Refusal> {
        not_yet()
    }

    /// Deletes a queue, with the bindings to it, and says how many messages were ready. One that does not exist is
    /// deleted already.
    ///
    /// # Errors
    /// 403, 405; 406 if it is in use or not empty and that was asked for.
    pub fn delete_queue(
        &self,
        _actor: &Actor,
        _name: &str,
        _if_unused: bool,
        _if_empty: bool,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<(u32, Position), Refusal> {
        not_yet()
    }

    /// Drops everything that is ready in a queue, and says how much it was.
    ///
    /// # Errors
    /// 403, 404, 405.
    pub fn purge_queue(
        &self,
        _actor: &Actor,
        _name: &str,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<(u32, Position), Refusal> {
        not_yet()
    }

    /// A connection has ended: its exclusive queues go.
    pub fn connection_closed(&self, _connection: ConnectionId, _now: Now, _effects: &mut Effects) {}

    /// The last consumer of a queue has gone: it goes too, if it was declared so and nobody has come since. Not to be
    /// called under a queue's lock.
    pub fn queue_unused(&self, _queue: &Arc<NamedQueue>, _now: Now, _effects: &mut Effects) {}

    /// A queue was not used for as long as it may be (`x-expires`): it goes. Not to be called under a queue's lock.
    pub fn queue_expired(&self, _queue: &Arc<NamedQueue>, _now: Now, _effects: &mut Effects) {}

    /// The queue of this name.
    #[must_use]
    pub fn find_queue(&self, _name: &str) -> Option<Arc<NamedQueue>> {
        None
    }

    /// The queue of this name, for somebody who wants to do something with it. Rights are not looked at.
    ///
    /// # Errors
    /// 404; 405 if it belongs to another connection.
    pub fn find_usable_queue(&self, _actor: &Actor, _name: &str) -> Result<Arc<NamedQueue>, Refusal> {
        not_yet()
    }

    /// All exchanges, by their names.
    #[must_use]
    pub fn exchanges(&self) -> Vec<ExchangeInfo> {
        Vec::new()
    }

    /// The exchange of this name.
    #[must_use]
    pub fn find_exchange(&self, _name: &str) -> Option<ExchangeInfo> {
        None
    }

    /// All queues, by their names.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueInfo> {
        Vec::new()
    }

    /// All bindings, by their sources; those from the default exchange included.
    #[must_use]
    pub fn bindings(&self) -> Vec<BindingInfo> {
        Vec::new()
    }
}
