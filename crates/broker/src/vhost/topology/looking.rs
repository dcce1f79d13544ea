//! What there is.

use std::sync::Arc;

use crate::actor::Actor;
use crate::exchange::listing::{BindingInfo, ExchangeInfo, QueueInfo};
use crate::exchange::tables::ExchangeEntry;
use crate::named_queue::NamedQueue;
use crate::policy::PolicyKind;
use crate::record::{BindingDestination, BindingKey};
use crate::refusal::Refusal;
use crate::vhost::Vhost;
use crate::vhost::topology::{no_queue, stripped};

impl Vhost {
    /// The queue of this name.
    #[must_use]
    pub fn find_queue(&self, name: &str) -> Option<Arc<NamedQueue>> {
        self.topology.tables.read().queues.get(name).cloned()
    }

    /// The queue of this name, for somebody who wants to do something with it. Rights are not looked at.
    ///
    /// # Errors
    /// 404; 405 if it belongs to another connection.
    pub fn find_usable_queue(&self, actor: &Actor, name: &str) -> Result<Arc<NamedQueue>, Refusal> {
        let name = stripped(name);
        let queue = self.find_queue(&name).ok_or_else(|| no_queue(&name, &actor.vhost))?;
        queue.check_owner(actor)?;
        Ok(queue)
    }

    /// Queues there are.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.topology.tables.read().queues.len()
    }

    /// All exchanges, by their names.
    #[must_use]
    pub fn exchanges(&self) -> Vec<ExchangeInfo> {
        let mut all: Vec<_> =
            self.topology.tables.read().exchanges.values().map(|entry| self.exchange_info(entry)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The exchange of this name.
    #[must_use]
    pub fn find_exchange(&self, name: &str) -> Option<ExchangeInfo> {
        self.topology.tables.read().exchanges.get(name).map(|entry| self.exchange_info(entry))
    }

    fn exchange_info(&self, entry: &ExchangeEntry) -> ExchangeInfo {
        let exchange = &entry.exchange;
        let policy = self.exchange_policy(exchange.name());
        ExchangeInfo {
            name: Arc::clone(exchange.name()),
            kind: exchange.kind.name(),
            durable: exchange.durable,
            auto_delete: exchange.declaration.auto_delete,
            internal: exchange.declaration.internal,
            arguments: exchange.declaration.arguments.clone(),
            policy: policy.map(|policy| Arc::clone(policy.name())),
        }
    }

    /// All queues, by their names.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueInfo> {
        let mut all: Vec<_> = self.topology.tables.read().queues.values().cloned().collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all.into_iter().map(|queue| self.queue_info(queue)).collect()
    }

    /// A queue, with the policies that count for it.
    #[must_use]
    pub fn queue_info(&self, queue: Arc<NamedQueue>) -> QueueInfo {
        let policies = self.policies();
        let policy = |kind| {
            if queue.delays() {
                return None;
            }
            policies.for_queue(kind, queue.name(), queue.kind()).map(|policy| Arc::clone(policy.name()))
        };
        let description = queue.description();
        QueueInfo {
            durable: description.durable,
            exclusive: description.exclusive,
            auto_delete: description.auto_delete,
            arguments: description.arguments.clone(),
            policy: policy(PolicyKind::User),
            operator_policy: policy(PolicyKind::Operator),
            queue,
        }
    }

    /// All bindings, by their sources; those from the default exchange included.
    #[must_use]
    pub fn bindings(&self) -> Vec<BindingInfo> {
        let tables = self.topology.tables.read();
        let mut all: Vec<_> = tables.bindings().map(|binding| binding_info(binding)).collect();
        let declared = tables.queues.values().filter(|queue| !queue.delays());
        all.extend(declared.map(|queue| default_binding(queue)));
        drop(tables);
        all.sort_by(|a, b| {
            let key = |info: &BindingInfo| {
                (
                    Arc::clone(&info.source),
                    Arc::clone(&info.destination),
                    info.to_exchange,
                    Arc::clone(&info.key),
                    info.arguments.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        all
    }

    /// The bindings of one queue, that from the default exchange first.
    #[must_use]
    pub fn bindings_of(&self, queue: &NamedQueue) -> Vec<BindingInfo> {
        let tables = self.topology.tables.read();
        let to = BindingDestination::Queue(Arc::clone(queue.name()));
        let mut all: Vec<_> = tables.bindings_to(&to).map(|binding| binding_info(binding)).collect();
        drop(tables);
        all.sort_by(|a, b| (&a.source, &a.key, &a.arguments).cmp(&(&b.source, &b.key, &b.arguments)));
        all.insert(0, default_binding(queue));
        all
    }
}

fn binding_info(binding: &BindingKey) -> BindingInfo {
    let (destination, to_exchange) = match &binding.destination {
        BindingDestination::Queue(name) => (name, false),
        BindingDestination::Exchange(name) => (name, true),
    };
    BindingInfo {
        source: Arc::clone(&binding.source),
        destination: Arc::clone(destination),
        to_exchange,
        key: Arc::clone(&binding.key),
        arguments: binding.arguments.clone(),
    }
}

fn default_binding(queue: &NamedQueue) -> BindingInfo {
    BindingInfo {
        source: "".into(),
        destination: Arc::clone(queue.name()),
        to_exchange: false,
        key: Arc::clone(queue.name()),
        arguments: bytes::Bytes::new(),
    }
}
