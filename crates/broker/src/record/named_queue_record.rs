//! What happened to a queue with a name of its own, and its bytes.
//!
//! Only durable queues that are not exclusive have records; in them, only entries that must survive have. What such a
//! queue is follows from its name and arguments alone: policies are judged anew after a restart.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use tercet_log::position::Place;

use crate::body::{Body, Stored};
use crate::filter::SubscriptionIds;
use crate::record::codec;
use crate::record::fields::{Fields, Malformed, put_bytes, put_number};
use crate::record::{Entry, RecordKind, SettleReason};

/// What a queue was declared as; never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDeclaration {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// The arguments: the fields of an AMQP table, encoded, without the table's length.
    pub arguments: Bytes,
}

/// What an entry has besides its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryExtras {
    /// When it expires, UTC milliseconds.
    pub deadline_ms: Option<NonZeroU64>,
    /// Its priority.
    pub priority: u8,
    /// How often it came back.
    pub deliveries: u32,
    /// Not to be handed out before that, UTC milliseconds.
    pub not_before_ms: Option<NonZeroU64>,
}

impl EntryExtras {
    /// Whether there is nothing to be remembered.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_number(out, self.deadline_ms.map_or(0, NonZeroU64::get));
        out.push(self.priority);
        put_number(out, u64::from(self.deliveries));
        put_number(out, self.not_before_ms.map_or(0, NonZeroU64::get));
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            deadline_ms: NonZeroU64::new(fields.number()?),
            priority: fields.byte()?,
            deliveries: fields.small()?,
            not_before_ms: NonZeroU64::new(fields.number()?),
        })
    }
}

/// What happened to a durable queue.
#[derive(Clone, Debug)]
pub enum NamedQueueRecord {
    /// It was declared.
    Declared(QueueDeclaration),
    /// It is gone with everything in it, and with every binding to it.
    Deleted,
    /// A message was put at the end. Sequences grow but may leave gaps: what need not survive has no record.
    Enqueued {
        /// The sequence it got.
        sequence: u64,
        /// The entry.
        entry: Entry,
        /// When it expires, UTC milliseconds; decided once, when it came.
        deadline_ms: Option<NonZeroU64>,
        /// Its priority.
        priority: u8,
    },
    /// An entry left the queue.
    Settled {
        /// Its sequence.
        sequence: u64,
        /// Why.
        reason: SettleReason,
    },
    /// All entries of a run of sequences that were still there left the queue: acknowledged at once, or purged.
    SettledRun {
        /// The first sequence.
        first: u64,
        /// How many sequences.
        count: u64,
        /// Why.
        reason: SettleReason,
    },
    /// An entry came back to its place.
    Returned {
        /// Its sequence.
        sequence: u64,
        /// How often it has come back by now.
        deliveries: u32,
        /// Not to be handed out before that, UTC milliseconds.
        not_before_ms: Option<NonZeroU64>,
    },
    /// Deliveries were paused, or go on.
    Paused(bool),
}

impl NamedQueueRecord {
    pub(super) fn kind(&self) -> RecordKind {
        match self {
            Self::Declared(_) => RecordKind::QueueDeclared,
            Self::Deleted => RecordKind::QueueDeleted,
            Self::Enqueued { .. } => RecordKind::QueueEnqueued,
            Self::Settled { .. } => RecordKind::QueueSettled,
            Self::SettledRun { .. } => RecordKind::QueueSettledRun,
            Self::Returned { .. } => RecordKind::QueueReturned,
            Self::Paused(_) => RecordKind::QueuePaused,
        }
    }

    /// Appends what stands behind the queue's number.
    pub(super) fn put(&self, out: &mut Vec<u8>, place: Place, stored: Option<&Stored>) {
        match self {
            Self::Declared(declaration) => put_declaration(out, declaration),
            Self::Deleted => {}
            Self::Enqueued { sequence, entry, deadline_ms, priority } => {
                put_number(out, *sequence);
                put_entry(out, entry, *deadline_ms, *priority);
                codec::put_stored(out, place, stored);
            }
            Self::Settled { sequence, reason } => {
                put_number(out, *sequence);
                out.push(*reason as u8);
            }
            Self::SettledRun { first, count, reason } => {
                put_number(out, *first);
                put_number(out, *count);
                out.push(*reason as u8);
            }
            Self::Returned { sequence, deliveries, not_before_ms } => {
                put_number(out, *sequence);
                put_number(out, u64::from(*deliveries));
                put_number(out, not_before_ms.map_or(0, NonZeroU64::get));
            }
            Self::Paused(paused) => out.push(u8::from(*paused)),
        }
    }

    /// Reads what stands behind the queue's number.
    pub(super) fn read(kind: RecordKind, fields: &mut Fields<'_>, place: Place) -> Result<Self, Malformed> {
        Ok(match kind {
            RecordKind::QueueDeclared => Self::Declared(declaration(fields)?),
            RecordKind::QueueEnqueued => {
                let sequence = codec::count(fields)?;
                let (mut entry, deadline_ms, priority) = entry(fields)?;
                entry.body = Body::Log(codec::stored(fields, place)?);
                Self::Enqueued { sequence, entry, deadline_ms, priority }
            }
            RecordKind::QueueSettled => {
                Self::Settled { sequence: codec::count(fields)?, reason: codec::reason(fields)? }
            }
            RecordKind::QueueSettledRun => Self::SettledRun {
                first: codec::count(fields)?,
                count: codec::count(fields)?,
                reason: codec::reason(fields)?,
            },
            RecordKind::QueueReturned => Self::Returned {
                sequence: codec::count(fields)?,
                deliveries: fields.small()?,
                not_before_ms: NonZeroU64::new(fields.number()?),
            },
            RecordKind::QueuePaused => Self::Paused(codec::flag(fields)?),
            _ => Self::Deleted,
        })
    }
}

pub(super) fn put_declaration(out: &mut Vec<u8>, declaration: &QueueDeclaration) {
    put_bytes(out, declaration.name.as_bytes());
    out.push(u8::from(declaration.auto_delete));
    put_bytes(out, &declaration.arguments);
}

pub(super) fn declaration(fields: &mut Fields<'_>) -> Result<QueueDeclaration, Malformed> {
    Ok(QueueDeclaration {
        name: Arc::from(fields.text()?),
        auto_delete: codec::flag(fields)?,
        arguments: Bytes::copy_from_slice(fields.bytes()?),
    })
}

/// Flags of an entry, above the QoS.
const RETAIN: u8 = 1 << 2;
const IDS: u8 = 1 << 3;
const DEADLINE: u8 = 1 << 4;
const PRIORITY: u8 = 1 << 5;

fn put_entry(out: &mut Vec<u8>, entry: &Entry, deadline_ms: Option<NonZeroU64>, priority: u8) {
    let ids = entry.ids.as_slice();
    let mut flags = entry.qos as u8;
    let set = [
        (RETAIN, entry.retain),
        (IDS, !ids.is_empty()),
        (DEADLINE, deadline_ms.is_some()),
        (PRIORITY, priority > 0),
    ];
    for (flag, on) in set {
        flags |= if on { flag } else { 0 };
    }
    out.push(flags);
    codec::put_ids(out, ids);
    if let Some(at) = deadline_ms {
        put_number(out, at.get());
    }
    if priority > 0 {
        out.push(priority);
    }
}

/// An entry but for its message, which comes behind it.
fn entry(fields: &mut Fields<'_>) -> Result<(Entry, Option<NonZeroU64>, u8), Malformed> {
    let flags = fields.byte()?;
    let qos = codec::qos_of(flags)?;
    let ids = if flags & IDS == 0 { SubscriptionIds::None } else { codec::ids(fields)? };
    let deadline_ms = match flags & DEADLINE {
        0 => None,
        _ => Some(NonZeroU64::new(fields.number()?).ok_or(Malformed::NoMeaning("the deadline"))?),
    };
    let priority = match flags & PRIORITY {
        0 => 0,
        _ => Some(fields.byte()?)
            .filter(|priority| *priority > 0)
            .ok_or(Malformed::NoMeaning("the priority"))?,
    };
    let body = Body::Log(Stored::new(Place::default(), 0, 0, false));
    Ok((Entry { body, ids, loan: None, qos, retain: flags & RETAIN != 0 }, deadline_ms, priority))
}
