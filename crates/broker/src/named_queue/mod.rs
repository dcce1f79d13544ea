//! A queue with a name of its own: declared, bound, consumed by many.
//!
//! Everything is guarded by one short lock. What is ready is handed out under it, many deliveries at a time, straight into
//! the output of the consumers. A message that nobody has to keep never becomes one: it goes from the read buffer of the
//! publisher into the output of a consumer ([`enqueueing`]).
//!
//! # Invariants
//! - What survives a restart is a record, staged under the lock and applied by the one function that replay uses
//!   ([`state`]); a durable queue hands out only what the log has.
//! - At most one named queue is locked at a time. What concerns others is put into the effects, and done after the lock
//!   is given back: dead letters ([`dead_letter`]), the end of the queue itself.
//! - An entry that comes back keeps its sequence and its place.
//!
//! # Rooms
//! - [`settings`], [`incoming`], [`consumption`], [`settlement`]: what goes in and out.
//! - [`state`], [`extras`], [`readiness`]: what there is, and in which order.
//! - [`enqueueing`], [`dispatching`], [`consumers`]: from the publisher to the consumer.
//! - [`settling`], [`returning`], [`limiting`], [`expiring`], [`dead_letter`]: what becomes of entries.
//! - [`getting`], [`consuming`], [`browsing`], [`emptying`]: what else clients and operators do.
//! - [`deduplicating`]: messages that are taken once.
//! - [`delaying`]: messages that are to be routed later; [`stream`]: a queue that keeps what was read.
//! - [`restoring`]: a queue from its records.

mod browsing;
mod consumers;
mod consuming;
mod consumption;
mod dead_letter;
mod deduplicating;
mod delaying;
mod dispatching;
mod emptying;
mod enqueueing;
mod expiring;
mod extras;
mod getting;
mod incoming;
mod limiting;
mod readiness;
mod restoring;
mod returning;
mod settings;
mod settlement;
mod settling;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tercet_amqp::field::Table;

use crate::actor::{Actor, ConnectionId};
use crate::exchange::deduplication::Deduplication;
use crate::refusal::Refusal;

use self::state::QueueState;

pub(crate) use self::browsing::Taken;
pub use self::browsing::{ConsumerInfo, Peeked, Peeking, QueueStats};
pub use self::consumption::{Consume, Consumption};
pub use self::emptying::{Condition, NotDeleted};
pub use self::getting::{GetOutcome, Got};
pub use self::incoming::{Enqueued, Incoming};
pub use self::settings::{QueueOverflow, QueueSettings, Retention, RetryCondition, RetryPolicy};
pub use self::settlement::{Outcome, Settlement};
pub use self::state::QueueTotals;

pub(crate) use self::dead_letter::DeadLetter;
pub(crate) use self::delaying::{delay_of, waiting_room_name};

/// Identifies a queue in its virtual host; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// What kind of queue was asked for (`x-queue-type`). All of them lie in the same log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueKind {
    /// Keeps what is persistent, counts nothing.
    #[default]
    Classic,
    /// Keeps every message, and shows how often one came back.
    Quorum,
    /// Keeps messages until they are old, whoever has read them.
    Stream,
}

/// What a queue was declared as; never changes.
#[derive(Clone, Debug)]
pub struct QueueDescription {
    /// Its name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: QueueKind,
    /// Whether it survives a restart.
    pub durable: bool,
    /// The connection it belongs to, and goes with.
    pub exclusive: Option<ConnectionId>,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments: the fields of an AMQP table, encoded.
    pub arguments: Bytes,
}

/// A queue. See the module documentation.
pub struct NamedQueue {
    id: QueueId,
    description: QueueDescription,
    /// Whether messages wait here for their time.
    delays: bool,
    /// Whether it takes a message once.
    deduplication: Option<Box<Deduplication>>,
    state: Mutex<QueueState>,
}

impl NamedQueue {
    /// A queue with nothing in it.
    #[must_use]
    pub fn new(id: QueueId, description: QueueDescription, settings: Arc<QueueSettings>) -> Arc<Self> {
        let recorded = description.durable && description.exclusive.is_none();
        let delays = delaying::is_waiting_room(&description.name);
        let state = Mutex::new(QueueState::new(settings.shared(), recorded, delays));
        // Arguments were judged when they came.
        let arguments = Table::parse(&description.arguments, u8::MAX).unwrap_or_default();
        let deduplication = Deduplication::parse(false, &arguments).ok().flatten().map(Box::new);
        Arc::new(Self { id, description, delays, deduplication, state })
    }

    /// The queue's identity.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.description.name
    }

    /// What it was declared as.
    #[must_use]
    pub fn description(&self) -> &QueueDescription {
        &self.description
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> QueueKind {
        self.description.kind
    }

    /// Its arguments.
    #[must_use]
    pub fn arguments(&self) -> Table<'_> {
        Table::parse(&self.description.arguments, u8::MAX).unwrap_or_default()
    }

    /// Whether its changes are recorded: it is durable, and belongs to no connection.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.description.durable && self.description.exclusive.is_none()
    }

    /// Whether a message that its publisher does or does not call persistent is recorded here.
    #[must_use]
    pub fn records(&self, persistent: bool) -> bool {
        self.is_recorded() && (persistent || self.kind() != QueueKind::Classic)
    }

    /// Judges whether somebody may use the queue at all.
    ///
    /// # Errors
    /// 405: it belongs to another connection.
    pub fn check_owner(&self, actor: &Actor) -> Result<(), Refusal> {
        match self.description.exclusive {
            Some(owner) if owner != actor.connection => Err(Refusal::resource_locked(format!(
                "cannot obtain exclusive access to locked queue '{}' in vhost '{}'. It could be originally declared on \
                 another connection or the exclusive property value does not match that of the original declaration.",
                self.name(),
                actor.vhost
            ))),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for NamedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedQueue").field("id", &self.id).field("name", self.name()).finish_non_exhaustive()
    }
}
