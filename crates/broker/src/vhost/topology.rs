//! Exchanges, queues and bindings: what clients and operators do with them, and what follows from it.
//!
//! - [`exchanges`], [`queues`], [`bindings`]: declare, delete, bind, unbind.
//! - [`delaying`]: exchanges that route later.
//! - [`policies`]: what operators wish, put in force.
//! - [`looking`]: what there is.
//! - [`restoring`]: what there is, from the log and into checkpoints.
//!
//! # Invariants
//! - A change is staged with the journal under the lock of the tables, and made in the same breath: the log has changes
//!   in their order.
//! - Lock order: tables, then topic tree, then named queue. Nobody asks for the tables with one of the others locked.

pub(super) mod bindings;
pub(super) mod delaying;
mod exchanges;
mod looking;
mod policies;
mod queues;
mod restoring;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use crate::crossing::address::TopicMapping;
use crate::exchange::generations::{Dependency, ExchangeGenerations};
use crate::exchange::tables::{Changes, TOPIC_SPACE, Tables};
use crate::exchange::target::Target;
use crate::journal::{Journal, Position};
use crate::named_queue::NamedQueue;
use crate::policy::Policies;
use crate::policy::queue_arguments::LONGEST_NAME;
use crate::record::{BindingKey, DuplicateScope, ExchangeRecord, Record};
use crate::refusal::{Refusal, ReplyCode};
use crate::route::Subscription;
use crate::session::Context;
use crate::vhost::Vhost;

/// Exchanges, queues and bindings of a virtual host, and what holds for them.
#[derive(Default)]
pub(crate) struct Topology {
    pub(crate) tables: RwLock<Tables>,
    pub(crate) generations: ExchangeGenerations,
    policies: ArcSwap<Policies>,
    /// Held while policies change.
    changing: Mutex<()>,
    /// Number of the queue that was declared last.
    last_queue: AtomicU64,
    /// Queues there may be; 0 for any number.
    max_queues: AtomicU32,
    /// Whether topics cross to routing keys as RabbitMQ does it.
    swap_separators: AtomicBool,
}

impl Topology {
    pub(crate) fn with_mapping(mapping: TopicMapping) -> Self {
        Self { swap_separators: AtomicBool::new(mapping == TopicMapping::Swap), ..Self::default() }
    }

    pub(crate) fn mapping(&self) -> TopicMapping {
        match self.swap_separators.load(Relaxed) {
            true => TopicMapping::Swap,
            false => TopicMapping::Exact,
        }
    }
}

/// Names as RabbitMQ takes them: without CR and LF.
pub(super) fn stripped(name: &str) -> std::borrow::Cow<'_, str> {
    match name.contains(['\r', '\n']) {
        true => name.replace(['\r', '\n'], "").into(),
        false => name.into(),
    }
}

pub(super) fn exchange_text(name: &str, vhost: &str) -> String {
    format!("exchange '{name}' in vhost '{vhost}'")
}

pub(super) fn queue_text(name: &str, vhost: &str) -> String {
    format!("queue '{name}' in vhost '{vhost}'")
}

pub(super) fn no_exchange(name: &str, vhost: &str) -> Refusal {
    Refusal::not_found(format!("no {}", exchange_text(name, vhost)))
}

pub(super) fn no_queue(name: &str, vhost: &str) -> Refusal {
    Refusal::not_found(format!("no {}", queue_text(name, vhost)))
}

/// Names and keys fit a short string of AMQP, by whatever protocol they come.
fn check_length(what: &str, name: &str) -> Result<(), Refusal> {
    match name.len() > LONGEST_NAME {
        true => Err(Refusal::precondition_failed(format!("{what} of more than {LONGEST_NAME} bytes"))),
        false => Ok(()),
    }
}

/// The default exchange does by itself what can be done with it.
fn check_not_default(name: &str) -> Result<(), Refusal> {
    match name {
        "" => Err(Refusal::access_refused("operation not permitted on the default exchange")),
        _ => Ok(()),
    }
}

/// What waits in a queue for its time is nobody's but its exchange's.
pub(super) fn check_not_waiting_room(queue: &NamedQueue, vhost: &str) -> Result<(), Refusal> {
    match queue.delays() {
        true => Err(Refusal::access_refused(format!(
            "operation not permitted on {}, where delayed messages wait",
            queue_text(queue.name(), vhost)
        ))),
        false => Ok(()),
    }
}

/// Names of the server's own begin with `amq.`.
fn check_not_reserved(kind: &str, name: &str) -> Result<(), Refusal> {
    match name.starts_with("amq.") {
        true => {
            Err(Refusal::access_refused(format!("{kind} name '{name}' contains reserved prefix 'amq.*'")))
        }
        false => Ok(()),
    }
}

impl Vhost {
    /// Sets how topics of MQTT become routing keys of AMQP, and back. Bindings that are there stay where they are: to be
    /// called before there are any.
    pub fn set_topic_mapping(&self, mapping: TopicMapping) {
        let swap = mapping == TopicMapping::Swap;
        self.topology.swap_separators.store(swap, Relaxed);
    }

    /// How topics of MQTT become routing keys of AMQP, and back.
    #[must_use]
    pub fn topic_mapping(&self) -> TopicMapping {
        self.topology.mapping()
    }

    /// Sets how many queues there may be. What is there stays.
    pub fn set_max_queues(&self, most: Option<u32>) {
        // Not even one: as good as the largest number there is not.
        let most = most.map_or(0, |most| most.saturating_add(1));
        self.topology.max_queues.store(most, Relaxed);
    }

    /// Asks for room in the log before a durable change.
    fn check_room(&self, durable: bool) -> Result<(), Refusal> {
        if durable && self.log_refuses() {
            return Err(Refusal::new(
                ReplyCode::ResourceError,
                "the log takes no durable changes at present",
            ));
        }
        Ok(())
    }

    fn stage_change(&self, record: &Record<'_>) -> Position {
        let stage = |journal: &dyn Journal| journal.stage(record);
        self.journal.as_deref().map_or(Position::NONE, stage)
    }

    /// A binding was added or removed in the tables: so it is in the topic tree, and routes are searched again.
    fn binding_changed(&self, binding: &BindingKey, target: &Target, added: bool) {
        self.topology.generations.changed(Dependency::Exchange(&binding.source));
        if &*binding.source != TOPIC_SPACE {
            return;
        }
        let levels = self.topology.mapping().binding_levels(&binding.key);
        let levels = || levels.iter().map(|level| level.as_level());
        let mut tree = self.tree.write();
        if added {
            let subscription = Subscription::Binding(target.clone(), binding.key.clone());
            tree.insert(levels(), subscription, |_| false);
        } else {
            tree.remove(levels(), |found| found.is_binding(target, &binding.key));
        }
        match levels().next() {
            Some(crate::filter::Level::Exact(first)) => self.generations.changed_below(Some(first)),
            Some(_) => self.generations.changed_below(None),
            // Matches the empty key, which is in nobody's cache under another level.
            None => self.generations.changed_below(Some("")),
        }
    }

    /// Sees to what follows from removals: exchanges that go with their last binding, the topic tree, routes.
    fn follow(&self, tables: &mut Tables, mut changes: Changes, cx: &mut Context<'_>) -> Position {
        let declared = changes.exchanges.len();
        tables.remove_unbound(&mut changes);
        for (binding, target) in &changes.unbound {
            self.binding_changed(binding, target, false);
        }
        let mut position = Position::NONE;
        for (index, exchange) in changes.exchanges.iter().enumerate() {
            self.topology.generations.changed(Dependency::Exchange(exchange.name()));
            self.duplicates().end(&DuplicateScope::Exchange(exchange.name().clone()));
            self.cancel_delayed(tables, exchange, cx);
            // What was asked for is recorded by who was asked.
            if index >= declared && exchange.is_recorded() {
                let record = ExchangeRecord::Deleted { name: exchange.name().clone() };
                position = position.max(self.stage_change(&Record::Exchange(&record)));
            }
        }
        position
    }
}
