//! Queues by their names.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::{Equivalent, HashSet};

use crate::named_queue::NamedQueue;

/// Queues by their names. One pointer each: the name is the queue's own.
#[derive(Default)]
pub(crate) struct QueueTable {
    queues: HashSet<Named>,
}

struct Named(Arc<NamedQueue>);

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

#[derive(Hash)]
struct Name<'a>(&'a str);

impl Equivalent<Named> for Name<'_> {
    fn equivalent(&self, queue: &Named) -> bool {
        *self.0 == **queue.0.name()
    }
}

impl QueueTable {
    pub(crate) fn len(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<NamedQueue>> {
        self.queues.get(&Name(name)).map(|queue| &queue.0)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.queues.contains(&Name(name))
    }

    /// Adds a queue, of whose name there is none.
    pub(crate) fn insert(&mut self, queue: Arc<NamedQueue>) {
        self.queues.insert(Named(queue));
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Arc<NamedQueue>> {
        self.queues.take(&Name(name)).map(|queue| queue.0)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<NamedQueue>> {
        self.queues.iter().map(|queue| &queue.0)
    }
}

impl fmt::Debug for QueueTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values().map(|queue| queue.name())).finish()
    }
}
