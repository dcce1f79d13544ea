//! What exchanges, queues and bindings a virtual host has.
//!
//! # Invariants
//! - A binding is in the router of its source, in the source's `from` and in `to` of its destination, or in none of them.
//! - Both ends of a binding exist.
//! - Applying a change consults nothing but these tables, so that replay comes to what live traffic came to. What follows
//!   from a change (an exchange that goes with its last binding) is told to the caller as a change of its own.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use tercet_amqp::field::Table;

use crate::actor::ConnectionId;
use crate::exchange::deduplication::Deduplication;
use crate::exchange::kind::{ExchangeKind, ExchangeType, history_length};
use crate::exchange::queue_table::QueueTable;
use crate::exchange::recent_history::History;
use crate::exchange::router::{Bound, Router};
use crate::exchange::target::Target;
use crate::named_queue::NamedQueue;
use crate::record::{BindingDestination, BindingKey, ExchangeDeclaration};

/// The exchange that is the topic space of every protocol.
pub(crate) const TOPIC_SPACE: &str = "amq.topic";

/// The exchanges that are always there.
const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    (TOPIC_SPACE, ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
];

/// An exchange, as it was declared.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub declaration: ExchangeDeclaration,
    pub kind: ExchangeType,
    pub durable: bool,
    /// Whether it is there without having been declared.
    pub predeclared: bool,
    /// The latest messages, if it keeps them.
    pub history: Option<History>,
    /// Whether it lets a message through once.
    pub deduplication: Option<Deduplication>,
}

impl Exchange {
    pub(crate) fn new(declaration: ExchangeDeclaration, kind: ExchangeType, durable: bool) -> Self {
        let length = history_length(&table(&declaration.arguments)).unwrap_or(1);
        let history = (kind.kind == ExchangeKind::RecentHistory).then(|| History::new(length));
        let deduplication =
            Deduplication::parse(kind.deduplicating, &table(&declaration.arguments)).unwrap_or_default();
        Self { declaration, kind, durable, predeclared: false, history, deduplication }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.declaration.name
    }

    pub(crate) fn arguments(&self) -> Table<'_> {
        table(&self.declaration.arguments)
    }

    /// Whether headers decide what becomes of a message before it is routed.
    pub(crate) fn looks_at_headers(&self) -> bool {
        self.kind.delayed || self.deduplication.is_some()
    }

    /// The exchange that its arguments name for what leads nowhere.
    pub(crate) fn alternate(&self) -> Option<Arc<str>> {
        self.arguments().get("alternate-exchange").and_then(|value| value.as_str()).map(Arc::from)
    }

    /// Whether a survivor of a restart.
    pub(crate) fn is_recorded(&self) -> bool {
        self.durable && !self.predeclared
    }
}

/// A table that was validated before it was kept.
pub(crate) fn table(bytes: &Bytes) -> Table<'_> {
    Table::parse(bytes, u8::MAX).unwrap_or_default()
}

/// An exchange with the bindings from it.
#[derive(Debug)]
pub(crate) struct ExchangeEntry {
    pub exchange: Arc<Exchange>,
    pub router: Router,
    pub from: HashSet<Arc<BindingKey>>,
    /// Where messages go that lead nowhere: by the arguments, else by the policy.
    pub alternate: Option<Arc<str>>,
}

/// The exchanges, queues and bindings of a virtual host.
#[derive(Debug)]
pub(crate) struct Tables {
    pub exchanges: HashMap<Arc<str>, ExchangeEntry>,
    pub queues: QueueTable,
    /// Names of the queues that belong to connections.
    exclusive: HashMap<ConnectionId, Vec<Arc<str>>>,
    to: HashMap<BindingDestination, HashSet<Arc<BindingKey>>>,
}

/// What followed from a change, in the order it happened.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub unbound: Vec<(Arc<BindingKey>, Target)>,
    pub exchanges: Vec<Arc<Exchange>>,
}

impl Default for Tables {
    fn default() -> Self {
        let mut tables = Self {
            exchanges: HashMap::new(),
            queues: QueueTable::default(),
            exclusive: HashMap::new(),
            to: HashMap::new(),
        };
        for (name, kind, internal) in PREDECLARED {
            let declaration = ExchangeDeclaration {
                name: name.into(),
                kind: kind.name().into(),
                auto_delete: false,
                internal,
                arguments: Bytes::new(),
            };
            let exchange = Exchange::new(declaration, ExchangeType::of(kind), true);
            tables.add_exchange(Arc::new(Exchange { predeclared: true, ..exchange }));
        }
        tables
    }
}

impl Tables {
    /// Adds an exchange; one of that name that is there already stays.
    pub(crate) fn add_exchange(&mut self, exchange: Arc<Exchange>) {
        let router = match &**exchange.name() {
            TOPIC_SPACE => Router::TopicSpace { bindings: 0 },
            _ => Router::new(exchange.kind.kind, &exchange.arguments()),
        };
        let alternate = exchange.alternate();
        let entry =
            ExchangeEntry { exchange: Arc::clone(&exchange), router, from: HashSet::new(), alternate };
        self.exchanges.entry(Arc::clone(exchange.name())).or_insert(entry);
    }

    /// Removes an exchange, with the bindings from it and to it.
    pub(crate) fn remove_exchange(&mut self, name: &str, changes: &mut Changes) {
        let Some(entry) = self.exchanges.get_mut(name) else { return };
        let exchange = Arc::clone(&entry.exchange);
        for binding in std::mem::take(&mut entry.from) {
            self.forget_destination(&binding);
            if let Some(target) = self.target(&binding.destination) {
                changes.unbound.push((binding, target));
            }
        }
        let to = BindingDestination::Exchange(Arc::clone(exchange.name()));
        for binding in self.to.remove(&to).unwrap_or_default() {
            self.forget_source(binding, &Target::Exchange(Arc::clone(exchange.name())), changes);
        }
        self.exchanges.remove(name);
        changes.exchanges.push(exchange);
    }

    /// Adds a queue; one of that name that is there already stays.
    pub(crate) fn add_queue(&mut self, queue: Arc<NamedQueue>) {
        let name = Arc::clone(queue.name());
        if self.queues.contains(&name) {
            return;
        }
        if let Some(owner) = queue.description().exclusive {
            self.exclusive.entry(owner).or_default().push(Arc::clone(&name));
        }
        self.queues.insert(queue);
    }

    /// Removes a queue, with the bindings to it.
    pub(crate) fn remove_queue(&mut self, name: &str, changes: &mut Changes) -> Option<Arc<NamedQueue>> {
        let queue = self.queues.remove(name)?;
        if let Some(owner) = queue.description().exclusive
            && let Some(owned) = self.exclusive.get_mut(&owner)
        {
            // From the end, where a connection that goes begins.
            if let Some(at) = owned.iter().rposition(|owned| &**owned == name) {
                owned.swap_remove(at);
            }
            if owned.is_empty() {
                self.exclusive.remove(&owner);
            }
        }
        let to = BindingDestination::Queue(Arc::clone(queue.name()));
        let target = Target::Queue(Arc::clone(&queue));
        for binding in self.to.remove(&to).unwrap_or_default() {
            self.forget_source(binding, &target, changes);
        }
        Some(queue)
    }

    /// The queues that belong to a connection.
    pub(crate) fn owned_by(&self, connection: ConnectionId) -> Vec<Arc<NamedQueue>> {
        let names = self.exclusive.get(&connection).into_iter().flatten();
        names.filter_map(|name| self.queues.get(name).cloned()).collect()
    }

    pub(crate) fn is_bound(&self, binding: &BindingKey) -> bool {
        self.exchanges.get(&binding.source).is_some_and(|entry| entry.from.contains(binding))
    }

    /// Where a binding leads; `None` if that does not exist.
    pub(crate) fn target(&self, destination: &BindingDestination) -> Option<Target> {
        match destination {
            BindingDestination::Queue(name) => {
                self.queues.get(name).map(|queue| Target::Queue(Arc::clone(queue)))
            }
            BindingDestination::Exchange(name) => {
                let entry = self.exchanges.get(name)?;
                Some(Target::Exchange(Arc::clone(entry.exchange.name())))
            }
        }
    }

    /// Adds a binding that is not there, both ends of which are. Says where it leads.
    pub(crate) fn add_binding(&mut self, binding: &Arc<BindingKey>) -> Option<Target> {
        let target = self.target(&binding.destination)?;
        let entry = self.exchanges.get_mut(&binding.source)?;
        if !entry.from.insert(Arc::clone(binding)) {
            return None;
        }
        entry.router.add(&Bound { target: &target, key: &binding.key, arguments: &binding.arguments });
        self.to.entry(binding.destination.clone()).or_default().insert(Arc::clone(binding));
        Some(target)
    }

    /// Removes a binding.
    pub(crate) fn remove_binding(&mut self, binding: &BindingKey, changes: &mut Changes) {
        let Some(target) = self.target(&binding.destination) else { return };
        let Some(entry) = self.exchanges.get(&binding.source) else { return };
        let Some(binding) = entry.from.get(binding).cloned() else { return };
        self.forget_destination(&binding);
        self.forget_source(binding, &target, changes);
    }

    fn forget_destination(&mut self, binding: &Arc<BindingKey>) {
        if let Some(bindings) = self.to.get_mut(&binding.destination) {
            bindings.remove(binding);
            if bindings.is_empty() {
                self.to.remove(&binding.destination);
            }
        }
    }

    fn forget_source(&mut self, binding: Arc<BindingKey>, target: &Target, changes: &mut Changes) {
        if let Some(entry) = self.exchanges.get_mut(&binding.source)
            && entry.from.remove(&binding)
        {
            entry.router.remove(&Bound { target, key: &binding.key, arguments: &binding.arguments });
            changes.unbound.push((binding, target.clone()));
        }
    }

    /// Those of the sources of removed bindings that go with their last binding, and did so here.
    pub(crate) fn remove_unbound(&mut self, changes: &mut Changes) {
        let mut looked_at = 0;
        while let Some((binding, _)) = changes.unbound.get(looked_at) {
            looked_at += 1;
            let source = Arc::clone(&binding.source);
            let goes =
                |entry: &ExchangeEntry| entry.exchange.declaration.auto_delete && entry.from.is_empty();
            if self.exchanges.get(&source).is_some_and(goes) {
                self.remove_exchange(&source, changes);
            }
        }
    }

    /// Whether a binding survives a restart: both ends do.
    pub(crate) fn is_recorded(&self, binding: &BindingKey) -> bool {
        let durable = |name: &Arc<str>| self.exchanges.get(name).is_some_and(|entry| entry.exchange.durable);
        durable(&binding.source)
            && match &binding.destination {
                BindingDestination::Queue(name) => {
                    self.queues.get(name).is_some_and(|queue| queue.is_recorded())
                }
                BindingDestination::Exchange(name) => durable(name),
            }
    }

    /// All bindings, but for those from the default exchange.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = &Arc<BindingKey>> {
        self.exchanges.values().flat_map(|entry| &entry.from)
    }

    /// The bindings that lead somewhere, but for that from the default exchange.
    pub(crate) fn bindings_to(
        &self,
        destination: &BindingDestination,
    ) -> impl Iterator<Item = &Arc<BindingKey>> {
        self.to.get(destination).into_iter().flatten()
    }
}
