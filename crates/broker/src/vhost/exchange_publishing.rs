//! Publishing to exchanges.

use std::sync::Arc;

use crate::actor::Actor;
use crate::clock::Now;
use crate::effects::Effects;
use crate::exchange::route_cache::ExchangeRoutes;
use crate::exchange_publication::{ExchangePublication, Published};
use crate::journal::Position;
use crate::message::Message;
use crate::named_queue::NamedQueue;
use crate::refusal::{Refusal, ReplyCode};
use crate::vhost::Vhost;

impl Vhost {
    /// Publishes to an exchange. What the face has seen to: the size, and what `amq.rabbitmq.reply-to` stands for.
    ///
    /// # Errors
    /// 403, 404, 406; see [`Refusal`].
    pub fn publish_to_exchange(
        &self,
        _actor: &Actor,
        _routes: &mut ExchangeRoutes,
        _publication: &ExchangePublication<'_>,
        _now: Now,
        _effects: &mut Effects,
    ) -> Result<Published, Refusal> {
        Err(Refusal::new(ReplyCode::NotImplemented, "exchanges and queues are under construction"))
    }

    /// Puts a dead letter into the queues that its exchange leads to by its key and its `CC` header: those that `accept` says
    /// yes to. Without an exchange of that name nothing happens. Not to be called under a queue's lock; inside the
    /// operation that settles it at its source.
    pub fn route_dead_letter(
        &self,
        _letter: &Arc<Message>,
        _accept: &mut dyn FnMut(&Arc<NamedQueue>) -> bool,
        _now: Now,
        _effects: &mut Effects,
    ) -> Position {
        Position::NONE
    }
}
