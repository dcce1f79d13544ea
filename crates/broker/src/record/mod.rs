//! The durable side of every state change: outcomes, to be replayed by the functions that live traffic uses.
//!
//! - [`codec`]: records as bytes.
//! - [`message_record`]: the record of a message, which the others refer to.
//! - [`named_queue_record`], [`topology_record`], [`definition_record`]: what happened to queues with names, to exchanges and
//!   bindings, to definitions and virtual hosts.
//! - [`checkpoint_record`], [`named_images`]: the records of a checkpoint, which are images instead of changes.
//!
//! A record never says what was asked, only what happened: which sequence a message got, which entry was
//! settled and why. So applying one consults no clock, routing, policy or configuration, and an unknown id is
//! skipped. Each record has a kind, a version and a must-understand flag; a reader that meets an unknown kind
//! with the flag set must stop, without it may skip.

pub mod checkpoint_record;
pub mod codec;
pub mod definition_record;
mod fields;
pub mod message_record;
pub mod named_images;
pub mod named_queue_record;
pub mod topology_record;

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::body::{Body, BodyRef};
use crate::filter::{SubscriptionIds, SubscriptionOptions};
use crate::message::{Message, Qos};
use crate::named_queue::QueueId;
use crate::session::SessionId;
use crate::shared_group::GroupId;
use crate::will::Will;

pub use codec::{Decoded, RecordError};
pub use definition_record::{DefinitionRecord, DuplicateRecord, DuplicateScope, HostRecord};
pub use fields::Malformed;
pub use named_queue_record::{EntryExtras, NamedQueueRecord, QueueDeclaration};
pub use topology_record::{
    BindingDestination, BindingKey, BindingRecord, ExchangeDeclaration, ExchangeRecord,
};

/// One change of durable state, addressed to its owner.
#[derive(Debug)]
pub enum Record<'a> {
    /// A change of a session.
    Session(SessionId, &'a SessionRecord),
    /// A change of a shared subscription.
    Group(GroupId, &'a GroupRecord),
    /// A change of a retained value.
    Retained(&'a RetainedRecord),
    /// A change of a durable queue.
    NamedQueue(QueueId, &'a NamedQueueRecord),
    /// A change of a durable exchange.
    Exchange(&'a ExchangeRecord),
    /// A change of a durable binding.
    Binding(&'a BindingRecord),
    /// A change of a definition.
    Definition(&'a DefinitionRecord),
    /// A change of the memory of messages that came before.
    Duplicate(&'a DuplicateRecord),
    /// A change of the virtual host itself.
    Host(&'a HostRecord),
}

/// A record that owns what it says: as it comes back from the log.
#[derive(Clone, Debug)]
pub enum OwnedRecord {
    /// A change of a session.
    Session(SessionId, SessionRecord),
    /// A change of a shared subscription.
    Group(GroupId, GroupRecord),
    /// A change of a retained value.
    Retained(RetainedRecord),
    /// A change of a durable queue.
    NamedQueue(QueueId, NamedQueueRecord),
    /// A change of a durable exchange.
    Exchange(ExchangeRecord),
    /// A change of a durable binding.
    Binding(BindingRecord),
    /// A change of a definition.
    Definition(DefinitionRecord),
    /// A change of the memory of messages that came before.
    Duplicate(DuplicateRecord),
    /// A change of the virtual host itself.
    Host(HostRecord),
}

impl OwnedRecord {
    /// The record, borrowed.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        match self {
            Self::Session(id, record) => Record::Session(*id, record),
            Self::Group(id, record) => Record::Group(*id, record),
            Self::Retained(record) => Record::Retained(record),
            Self::NamedQueue(id, record) => Record::NamedQueue(*id, record),
            Self::Exchange(record) => Record::Exchange(record),
            Self::Binding(record) => Record::Binding(record),
            Self::Definition(record) => Record::Definition(record),
            Self::Duplicate(record) => Record::Duplicate(record),
            Self::Host(record) => Record::Host(record),
        }
    }
}

/// Stable numbers of the record kinds; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordKind {
    /// [`SessionRecord::Opened`].
    SessionOpened = 1,
    /// [`SessionRecord::Ended`].
    SessionEnded = 2,
    /// [`SessionRecord::Subscribed`].
    Subscribed = 3,
    /// [`SessionRecord::Unsubscribed`].
    Unsubscribed = 4,
    /// [`SessionRecord::Received`].
    Received = 5,
    /// [`SessionRecord::Completed`].
    Completed = 6,
    /// [`SessionRecord::WillChanged`].
    WillChanged = 7,
    /// [`SessionRecord::Offline`].
    Offline = 8,
    /// [`SessionRecord::Replayed`].
    Replayed = 9,
    /// [`QueueRecord::Enqueued`].
    Enqueued = 16,
    /// [`QueueRecord::Settled`].
    Settled = 17,
    /// [`QueueRecord::Released`].
    Released = 18,
    /// [`GroupRecord::Opened`].
    GroupOpened = 24,
    /// [`GroupRecord::Ended`].
    GroupEnded = 25,
    /// [`RetainedRecord::Set`].
    RetainedSet = 32,
    /// [`RetainedRecord::Cleared`].
    RetainedCleared = 33,
    /// A message, which entries and retained values refer to by its place; no change by itself.
    Message = 48,
    /// [`HostRecord::Created`].
    HostCreated = 80,
    /// [`HostRecord::Deleted`].
    HostDeleted = 81,
    /// [`NamedQueueRecord::Declared`].
    QueueDeclared = 88,
    /// [`NamedQueueRecord::Deleted`].
    QueueDeleted = 89,
    /// [`NamedQueueRecord::Enqueued`].
    QueueEnqueued = 90,
    /// [`NamedQueueRecord::Settled`].
    QueueSettled = 91,
    /// [`NamedQueueRecord::SettledRun`].
    QueueSettledRun = 92,
    /// [`NamedQueueRecord::Returned`].
    QueueReturned = 93,
    /// [`NamedQueueRecord::Paused`].
    QueuePaused = 94,
    /// [`ExchangeRecord::Declared`].
    ExchangeDeclared = 104,
    /// [`ExchangeRecord::Deleted`].
    ExchangeDeleted = 105,
    /// [`BindingRecord::Bound`].
    Bound = 106,
    /// [`BindingRecord::Unbound`].
    Unbound = 107,
    /// [`DefinitionRecord::Put`].
    DefinitionPut = 112,
    /// [`DefinitionRecord::Removed`].
    DefinitionRemoved = 113,
    /// [`DuplicateRecord::Remembered`].
    DuplicateRemembered = 116,
    /// [`DuplicateRecord::Forgotten`].
    DuplicateForgotten = 117,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 34] = [
        Self::SessionOpened,
        Self::SessionEnded,
        Self::Subscribed,
        Self::Unsubscribed,
        Self::Received,
        Self::Completed,
        Self::WillChanged,
        Self::Offline,
        Self::Replayed,
        Self::Enqueued,
        Self::Settled,
        Self::Released,
        Self::GroupOpened,
        Self::GroupEnded,
        Self::RetainedSet,
        Self::RetainedCleared,
        Self::Message,
        Self::HostCreated,
        Self::HostDeleted,
        Self::QueueDeclared,
        Self::QueueDeleted,
        Self::QueueEnqueued,
        Self::QueueSettled,
        Self::QueueSettledRun,
        Self::QueueReturned,
        Self::QueuePaused,
        Self::ExchangeDeclared,
        Self::ExchangeDeleted,
        Self::Bound,
        Self::Unbound,
        Self::DefinitionPut,
        Self::DefinitionRemoved,
        Self::DuplicateRemembered,
        Self::DuplicateForgotten,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Version of the record's layout.
    #[must_use]
    pub const fn version(self) -> u8 {
        1
    }

    /// Whether a reader that does not know this kind must refuse to go on. Losing the fact that something
    /// became offline, was released or replayed costs a repetition; losing any other loses state.
    #[must_use]
    pub const fn must_understand(self) -> bool {
        !matches!(self, Self::Offline | Self::Released | Self::Replayed)
    }
}

impl<'a> Record<'a> {
    /// The message that it refers to, which it makes its owner a holder of.
    #[must_use]
    pub fn body(&self) -> Option<&'a Body> {
        match *self {
            Self::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { entry, .. }))
            | Self::Group(_, GroupRecord::Queue(QueueRecord::Enqueued { entry, .. }))
            | Self::NamedQueue(_, NamedQueueRecord::Enqueued { entry, .. }) => Some(&entry.body),
            Self::Retained(RetainedRecord::Set { body, .. }) => Some(body),
            _ => None,
        }
    }

    /// A copy that can be kept.
    #[must_use]
    pub fn to_owned(&self) -> OwnedRecord {
        match *self {
            Self::Session(id, record) => OwnedRecord::Session(id, record.clone()),
            Self::Group(id, record) => OwnedRecord::Group(id, record.clone()),
            Self::Retained(record) => OwnedRecord::Retained(record.clone()),
            Self::NamedQueue(id, record) => OwnedRecord::NamedQueue(id, record.clone()),
            Self::Exchange(record) => OwnedRecord::Exchange(record.clone()),
            Self::Binding(record) => OwnedRecord::Binding(record.clone()),
            Self::Definition(record) => OwnedRecord::Definition(record.clone()),
            Self::Duplicate(record) => OwnedRecord::Duplicate(record.clone()),
            Self::Host(record) => OwnedRecord::Host(record.clone()),
        }
    }

    /// The kind, for the record header.
    #[must_use]
    pub fn kind(&self) -> RecordKind {
        match self {
            Self::Session(_, record) => record.kind(),
            Self::Group(_, record) => record.kind(),
            Self::Retained(RetainedRecord::Set { .. }) => RecordKind::RetainedSet,
            Self::Retained(RetainedRecord::Cleared(_)) => RecordKind::RetainedCleared,
            Self::NamedQueue(_, record) => record.kind(),
            Self::Exchange(record) => record.kind(),
            Self::Binding(record) => record.kind(),
            Self::Definition(record) => record.kind(),
            Self::Duplicate(record) => record.kind(),
            Self::Host(record) => record.kind(),
        }
    }
}

/// What happened to a session.
#[derive(Clone, Debug)]
pub enum SessionRecord {
    /// The session was created, or a connection changed what it is.
    Opened {
        /// Client identifier.
        client_id: Arc<str>,
        /// Authenticated user.
        user: Option<Arc<str>>,
        /// Seconds the session outlives its connection; `u32::MAX` for ever.
        expiry: u32,
    },
    /// The session is gone with everything in it.
    Ended,
    /// A subscription was made or replaced.
    Subscribed {
        /// Topic filter, with its `$share` prefix if it has one.
        filter: Arc<str>,
        /// Its options.
        options: SubscriptionOptions,
        /// Whether the retained messages it matches are to be sent.
        replay: bool,
    },
    /// All retained messages of a subscription were sent or put into the queue.
    Replayed {
        /// Topic filter.
        filter: Arc<str>,
    },
    /// A subscription was removed.
    Unsubscribed {
        /// Topic filter, with its `$share` prefix if it has one.
        filter: Arc<str>,
    },
    /// A QoS 2 publication with this packet identifier was taken over from the client.
    Received(u16),
    /// The client released that identifier.
    Completed(u16),
    /// The will was set or, with `None`, discharged.
    WillChanged(Option<Box<Will>>),
    /// The connection ended; expiry and will delay count from here.
    Offline {
        /// UTC milliseconds.
        at_ms: u64,
        /// Seconds the session outlives its connection, as of its end.
        expiry: u32,
    },
    /// A change of the session's queue.
    Queue(QueueRecord),
}

impl SessionRecord {
    fn kind(&self) -> RecordKind {
        match self {
            Self::Opened { .. } => RecordKind::SessionOpened,
            Self::Ended => RecordKind::SessionEnded,
            Self::Subscribed { .. } => RecordKind::Subscribed,
            Self::Replayed { .. } => RecordKind::Replayed,
            Self::Unsubscribed { .. } => RecordKind::Unsubscribed,
            Self::Received(_) => RecordKind::Received,
            Self::Completed(_) => RecordKind::Completed,
            Self::WillChanged(_) => RecordKind::WillChanged,
            Self::Offline { .. } => RecordKind::Offline,
            Self::Queue(record) => record.kind(),
        }
    }
}

/// What happened to a shared subscription that has a durable member. Who its members are follows from the
/// subscriptions of the sessions.
#[derive(Clone, Debug)]
pub enum GroupRecord {
    /// It has its first durable member.
    Opened {
        /// Share name.
        name: Arc<str>,
        /// Topic filter without the `$share` prefix.
        filter: Arc<str>,
    },
    /// Its last durable member is gone, and everything it held.
    Ended,
    /// A change of its queue. What a member holds on loan stays in this queue until it is settled.
    Queue(QueueRecord),
}

impl GroupRecord {
    fn kind(&self) -> RecordKind {
        match self {
            Self::Opened { .. } => RecordKind::GroupOpened,
            Self::Ended => RecordKind::GroupEnded,
            Self::Queue(record) => record.kind(),
        }
    }
}

/// Why an entry left a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SettleReason {
    /// The consumer acknowledged it.
    Acknowledged = 1,
    /// It expired.
    Expired = 2,
    /// It was dropped to keep the queue within its limits.
    Overflow = 3,
    /// The consumer cannot take it (too large).
    Undeliverable = 4,
    /// The consumer may not receive it any more.
    Denied = 5,
    /// A member of a shared subscription took it over for good.
    HandedOver = 6,
    /// It went back to the shared subscription.
    Returned = 7,
    /// The consumer rejected it.
    Rejected = 8,
    /// It was published to the dead letter exchange of its queue.
    DeadLettered = 9,
    /// It came back more often than its queue allows.
    DeliveryLimit = 10,
    /// The queue was purged.
    Purged = 11,
    /// An operator moved it to another queue.
    Moved = 12,
    /// A stream keeps it no longer.
    Retention = 13,
}

impl SettleReason {
    /// The reason with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let all = [
            Self::Acknowledged,
            Self::Expired,
            Self::Overflow,
            Self::Undeliverable,
            Self::Denied,
            Self::HandedOver,
            Self::Returned,
            Self::Rejected,
            Self::DeadLettered,
            Self::DeliveryLimit,
            Self::Purged,
            Self::Moved,
            Self::Retention,
        ];
        all.into_iter().find(|reason| *reason as u8 == number)
    }
}

/// What happened in a queue.
#[derive(Clone, Debug)]
pub enum QueueRecord {
    /// A message was put at the end. Sequences grow but may leave gaps: what need not survive has no record.
    Enqueued {
        /// The sequence it got.
        sequence: u64,
        /// The entry of a shared subscription that became this one, and is settled there by this record: so a
        /// QoS 2 message is never in both queues or in none [MQTT-4.8.2-4].
        from: Option<(GroupId, u64)>,
        /// The entry.
        entry: Entry,
    },
    /// An entry left the queue.
    Settled {
        /// Its sequence.
        sequence: u64,
        /// Why.
        reason: SettleReason,
    },
    /// The receiver has a QoS 2 message; only the release (PUBREL) is outstanding.
    Released {
        /// Its sequence.
        sequence: u64,
    },
}

impl QueueRecord {
    /// The sequence it is about.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Enqueued { sequence, .. }
            | Self::Settled { sequence, .. }
            | Self::Released { sequence } => *sequence,
        }
    }

    fn kind(&self) -> RecordKind {
        match self {
            Self::Enqueued { .. } => RecordKind::Enqueued,
            Self::Settled { .. } => RecordKind::Settled,
            Self::Released { .. } => RecordKind::Released,
        }
    }
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The message, shared with every other queue that holds it, or its place in the log.
    pub body: Body,
    /// Subscription identifiers to send along.
    pub ids: SubscriptionIds,
    /// Where it came from, if it is on loan from a shared subscription. Such an entry is never recorded: the
    /// shared subscription's own record of it stands until it is settled.
    pub loan: Option<Box<Loan>>,
    /// Effective guarantee.
    pub qos: Qos,
    /// Retain flag to send.
    pub retain: bool,
}

impl Entry {
    /// Whether the entry has to survive a restart, in a queue that does.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.qos > Qos::AtMostOnce && self.loan.is_none()
    }
}

/// An [`Entry`] as it lies in its queue.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    /// The message, or its place in the log.
    pub body: BodyRef<'a>,
    /// Subscription identifiers to send along.
    pub ids: &'a [u32],
    /// Where it came from, if it is on loan from a shared subscription.
    pub loan: Option<&'a Loan>,
    /// Effective guarantee.
    pub qos: Qos,
    /// Retain flag to send.
    pub retain: bool,
}

impl EntryRef<'_> {
    /// Whether the entry has to survive a restart, in a queue that does.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.qos > Qos::AtMostOnce && self.loan.is_none()
    }

    /// The subscription identifiers, of their own.
    #[must_use]
    pub fn subscription_ids(&self) -> SubscriptionIds {
        self.ids.iter().fold(SubscriptionIds::None, |ids, id| ids.with(Some(*id)))
    }

    /// An entry of its own.
    #[must_use]
    pub fn to_entry(self) -> Entry {
        Entry {
            body: self.body.to_body(),
            ids: self.subscription_ids(),
            loan: self.loan.map(|loan| Box::new(loan.clone())),
            qos: self.qos,
            retain: self.retain,
        }
    }
}

/// An entry of a shared subscription that a member holds until it acknowledges or leaves.
#[derive(Clone, Debug)]
pub struct Loan {
    /// The shared subscription.
    pub group: Arc<crate::shared_group::SharedGroup>,
    /// Sequence in the group's queue.
    pub sequence: u64,
}

/// What happened to a retained value.
#[derive(Clone, Debug)]
pub enum RetainedRecord {
    /// A message became its topic's retained value.
    Set {
        /// The topic.
        topic: Arc<str>,
        /// The message.
        body: Body,
        /// When it expires, UTC milliseconds.
        expires_at_ms: Option<NonZeroU64>,
    },
    /// The topic has no retained value any more.
    Cleared(Arc<str>),
}

impl RetainedRecord {
    /// A message becomes the value of its topic.
    #[must_use]
    pub fn set(message: Arc<Message>) -> Self {
        let expires_at_ms = message.expires_at_ms;
        Self::Set { topic: Arc::clone(&message.topic), body: Body::Memory(message), expires_at_ms }
    }
}
