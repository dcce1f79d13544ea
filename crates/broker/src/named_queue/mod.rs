//! A queue with a name of its own: declared, bound, consumed by many.

use std::fmt;
use std::sync::Arc;

use crate::consumer::ConsumerOutbox;

/// Identifies a queue in its virtual host; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// A queue. See the module documentation.
pub struct NamedQueue {
    id: QueueId,
    name: Arc<str>,
}

impl NamedQueue {
    /// The queue's identity.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl fmt::Debug for NamedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedQueue").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A consumer of a queue: what the core and the face know of it.
pub struct Consumption {
    /// The queue.
    pub queue: Arc<NamedQueue>,
    /// The channel of its connection.
    pub channel: u16,
    /// Consumer tag.
    pub tag: Arc<str>,
    /// Whether deliveries count as acknowledged when they are sent.
    pub no_ack: bool,
    /// Where deliveries go.
    pub outbox: Arc<dyn ConsumerOutbox>,
}

impl fmt::Debug for Consumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumption")
            .field("queue", &self.queue.name)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}
