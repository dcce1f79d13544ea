//! From an exchange to all queues that a message reaches.
//!
//! Bindings between exchanges and alternate exchanges may form cycles: every exchange is looked at once, and every queue
//! found once.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashSet;
use smallvec::SmallVec;

use crate::exchange::generations::{Dependency, ExchangeGenerations, ExchangeStamp};
use crate::exchange::routable::Routable;
use crate::exchange::router::Router;
use crate::exchange::tables::{Exchange, Tables};
use crate::exchange::target::Target;
use crate::named_queue::{NamedQueue, QueueId};

/// Where a message goes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The queues, each once.
    pub queues: Vec<Arc<NamedQueue>>,
    /// Exchanges on the way that keep a history.
    pub histories: Vec<Arc<Exchange>>,
    /// Whether the topic space was reached.
    pub topic_space: bool,
    /// Whether another message with the same routing key could go elsewhere.
    pub varies: bool,
    /// What it depends on.
    pub stamp: ExchangeStamp,
}

/// A search through exchanges.
pub(crate) struct Search<'t> {
    tables: &'t Tables,
    generations: &'t ExchangeGenerations,
    pending: SmallVec<[Arc<str>; 4]>,
    exchanges: Seen<Arc<str>>,
    queues: Seen<QueueId>,
    found: Found,
}

impl<'t> Search<'t> {
    pub(crate) fn new(tables: &'t Tables, generations: &'t ExchangeGenerations) -> Self {
        let mut found = Found::default();
        generations.note(&mut found.stamp, Dependency::Everything);
        Self {
            tables,
            generations,
            pending: SmallVec::new(),
            exchanges: Seen::default(),
            queues: Seen::default(),
            found,
        }
    }

    /// Follows a message from where it was sent. `topic_space` looks into the topic space: it passes on the targets there,
    /// and says whether it has found anything else.
    pub(crate) fn run(
        mut self,
        from: impl IntoIterator<Item = Target>,
        message: &Routable<'_>,
        mut topic_space: impl FnMut(&mut dyn FnMut(&Target)) -> bool,
    ) -> Found {
        from.into_iter().for_each(|target| self.reach(&target));
        while let Some(name) = self.pending.pop() {
            self.visit(&name, message, &mut topic_space);
        }
        self.found
    }

    fn visit(
        &mut self,
        name: &Arc<str>,
        message: &Routable<'_>,
        topic_space: &mut impl FnMut(&mut dyn FnMut(&Target)) -> bool,
    ) {
        if name.is_empty() {
            message.keys().iter().for_each(|key| self.reach_by_name(key));
            return;
        }
        self.generations.note(&mut self.found.stamp, Dependency::Exchange(name));
        let Some(entry) = self.tables.exchanges.get(name) else { return };
        self.found.varies |= !entry.router.is_decided_by_key();
        if entry.exchange.history.is_some() {
            self.found.varies = true;
            self.found.histories.push(Arc::clone(&entry.exchange));
        }
        let mut routed = false;
        if matches!(entry.router, Router::TopicSpace { .. }) {
            self.found.topic_space = true;
            routed |= topic_space(&mut |target| {
                routed = true;
                self.reach(target);
            });
        } else {
            entry.router.route(message, |target| {
                routed = true;
                self.reach(target);
            });
        }
        if !routed && let Some(alternate) = &entry.alternate {
            self.reach(&Target::Exchange(Arc::clone(alternate)));
        }
    }

    /// From the default exchange: to the queue of that name.
    fn reach_by_name(&mut self, name: &str) {
        self.generations.note(&mut self.found.stamp, Dependency::Queue(name));
        if let Some(queue) = self.tables.queues.get(name).filter(|queue| !queue.delays())
            && self.queues.insert(queue.id())
        {
            self.found.queues.push(Arc::clone(queue));
        }
    }

    fn reach(&mut self, target: &Target) {
        match target {
            Target::Queue(queue) => {
                if self.queues.insert(queue.id()) {
                    self.found.queues.push(Arc::clone(queue));
                }
            }
            Target::Exchange(name) => {
                if self.exchanges.insert(Arc::clone(name)) {
                    self.pending.push(Arc::clone(name));
                }
            }
        }
    }
}

/// What was met before.
pub(crate) struct Seen<K> {
    few: SmallVec<[K; 8]>,
    many: HashSet<K>,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self { few: SmallVec::new(), many: HashSet::new() }
    }
}

impl<K: Eq + Hash> Seen<K> {
    const FEW: usize = 8;

    /// Notes something. False if it was met before.
    pub(crate) fn insert(&mut self, key: K) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}
