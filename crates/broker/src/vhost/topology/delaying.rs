//! Exchanges that route a message later: the queues in which messages wait for that.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::exchange::tables::{Changes, Exchange, Tables};
use crate::exchange_publication::{ExchangePublication, Published};
use crate::journal::Position;
use crate::named_queue::{
    Condition, Incoming, NamedQueue, QueueDescription, QueueId, QueueKind, QueueSettings, waiting_room_name,
};
use crate::session::Context;
use crate::vhost::Vhost;

impl Vhost {
    /// Keeps a message that its exchange is to route later.
    pub(in crate::vhost) fn delay(
        &self,
        exchange: &Exchange,
        publication: &ExchangePublication<'_>,
        delay_ms: NonZeroU64,
        cx: &mut Context<'_>,
    ) -> Published {
        let key: Arc<str> = publication.routing_key.into();
        let incoming =
            Incoming::published(exchange.name(), &key, publication.properties, publication.payload);
        if exchange.durable && incoming.is_persistent() && self.log_refuses() {
            cx.effects.counters.refused_by_log += 1;
            return Published { refused: true, routed: true, position: Position::NONE };
        }
        let due_ms = cx.now.utc_ms.saturating_add(delay_ms.get());
        let mut incoming = incoming;
        let kept = self.waiting_room(exchange, cx).and_then(|queue| queue.delay(&mut incoming, due_ms, cx));
        // Where nobody is to be found any more, it leads nowhere now or later.
        Published { position: kept.unwrap_or_default(), routed: kept.is_some(), refused: false }
    }

    /// The queue in which messages to an exchange wait; made when the first one comes. `None` if the exchange is gone.
    fn waiting_room(&self, exchange: &Exchange, cx: &mut Context<'_>) -> Option<Arc<NamedQueue>> {
        let name = waiting_room_name(exchange.name());
        if let Some(queue) = self.find_queue(&name) {
            return Some(queue);
        }
        let mut tables = self.topology.tables.write();
        if let Some(queue) = tables.queues.get(&name) {
            return Some(Arc::clone(queue));
        }
        tables.exchanges.get(exchange.name()).filter(|entry| entry.exchange.kind.delayed)?;
        let description = QueueDescription {
            name: name.into(),
            kind: QueueKind::Classic,
            durable: exchange.durable,
            exclusive: None,
            auto_delete: false,
            arguments: Bytes::new(),
        };
        let id = QueueId(self.topology.last_queue.fetch_add(1, Relaxed) + 1);
        let queue = NamedQueue::new(id, description, Arc::new(QueueSettings::default()));
        queue.record_declared(cx);
        tables.add_queue(Arc::clone(&queue));
        Some(queue)
    }

    /// An exchange is gone: so is what waits for it.
    pub(super) fn cancel_delayed(&self, tables: &mut Tables, exchange: &Exchange, cx: &mut Context<'_>) {
        if !exchange.kind.delayed {
            return;
        }
        if let Some(queue) = tables.queues.get(&waiting_room_name(exchange.name())).cloned() {
            // Nobody else ends it, so that it is not gone yet.
            let _ = queue.delete(Condition::default(), cx);
            tables.remove_queue(queue.name(), &mut Changes::default());
        }
    }
}
