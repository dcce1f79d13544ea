//! The records of a checkpoint: images of sessions, groups, slices of queues and of the retained topics, each with its
//! *cut*.
//!
//! A cut is the place that the next record of the log would have got when the image was made, under the lock of what it
//! shows. Records at or behind it happened after the image and are applied to it; earlier ones are in it already. So images
//! are made one after the other while everything goes on.
//!
//! Places of messages are written as differences to those of their predecessors; else fields are as in
//! [`crate::record::codec`]. The numbers of the kinds are apart from those of the log's records.

use std::num::NonZeroU64;
use std::sync::Arc;

use tercet_log::position::{Place, Position};
use tercet_log::record::{RawRecord, RecordHeader, write_record};

use crate::body::Stored;
use crate::filter::{SubscriptionIds, SubscriptionOptions};
use crate::hosts::{DEFAULT_NAME, VhostId};
use crate::message::Qos;
use crate::named_queue::QueueId;
use crate::record::codec;
use crate::record::fields::{Fields, Malformed, put_bytes, put_number};
use crate::record::named_images::{DefinitionSlice, DuplicateSlice, NamedQueueImage, TopologyImage};
use crate::record::{EntryExtras, RecordError};
use crate::session::SessionId;
use crate::shared_group::GroupId;
use crate::will::Will;

/// Numbers of the kinds; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Begin = 64,
    Session = 65,
    Group = 66,
    Slice = 67,
    Retained = 68,
    End = 69,
    NamedQueue = 70,
    Topology = 71,
    Definitions = 72,
    Duplicates = 73,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        let all = [
            Self::Begin,
            Self::Session,
            Self::Group,
            Self::Slice,
            Self::Retained,
            Self::End,
            Self::NamedQueue,
            Self::Topology,
            Self::Definitions,
            Self::Duplicates,
        ];
        all.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The version that is written.
    fn version(self) -> u8 {
        if self == Self::Begin { 2 } else { 1 }
    }

    /// Whether a version can be read.
    fn reads(self, version: u8) -> bool {
        (1..=self.version()).contains(&version)
    }
}

/// A record of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckpointRecord {
    /// The first one of a virtual host.
    Begin(Begin),
    /// A session.
    Session(SessionImage),
    /// A shared subscription.
    Group(GroupImage),
    /// Entries of a queue. Its owner comes before it.
    Slice(QueueSlice),
    /// Retained values.
    Retained(RetainedSlice),
    /// A durable queue.
    NamedQueue(NamedQueueImage),
    /// Exchanges and bindings.
    Topology(TopologyImage),
    /// Definitions.
    Definitions(DefinitionSlice),
    /// Messages that came before.
    Duplicates(DuplicateSlice),
    /// The last: so many records are before it.
    End(u64),
    /// Unknown, and not needed.
    Skipped,
}

/// The beginning of a virtual host: identities that were given out before are never given out again, and records before
/// `cut` are of no interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// When the checkpoint was begun: before every other cut.
    pub cut: Place,
    /// The next session gets at least this.
    pub next_session: u64,
    /// The next shared subscription gets at least this.
    pub next_group: u64,
    /// The next queue with a name gets at least this.
    pub next_queue: u64,
    /// The next virtual host gets at least this.
    pub next_host: u64,
    /// The name of the virtual host.
    pub name: Arc<str>,
}

impl Begin {
    fn write(&self, out: &mut Vec<u8>) {
        put_cut(out, self.cut);
        for next in [self.next_session, self.next_group, self.next_queue, self.next_host] {
            put_number(out, next);
        }
        put_bytes(out, self.name.as_bytes());
    }

    /// Version 1 is that of a server with one virtual host and without queues with names.
    fn read(fields: &mut Fields<'_>, version: u8) -> Result<Self, Malformed> {
        let cut = cut(fields)?;
        let (next_session, next_group) = (codec::count(fields)?, codec::count(fields)?);
        if version == 1 {
            let name = Arc::from(DEFAULT_NAME);
            return Ok(Self { cut, next_session, next_group, next_queue: 0, next_host: 0, name });
        }
        let (next_queue, next_host) = (codec::count(fields)?, codec::count(fields)?);
        let name = Arc::from(fields.text()?);
        Ok(Self { cut, next_session, next_group, next_queue, next_host, name })
    }
}

/// A session without the entries of its queue.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionImage {
    /// Which.
    pub id: SessionId,
    /// When the image was made.
    pub cut: Place,
    /// Client identifier.
    pub client_id: Arc<str>,
    /// Authenticated user.
    pub user: Option<Arc<str>>,
    /// Seconds the session outlives its connection.
    pub expiry: u32,
    /// When its connection ended, UTC milliseconds; 0 while connected.
    pub offline_at_ms: u64,
    /// The sequence that the next entry of its queue will get.
    pub next_sequence: u64,
    /// Filter, options, and whether its retained messages are still to be sent.
    pub subscriptions: Vec<(Arc<str>, SubscriptionOptions, bool)>,
    /// QoS 2 publications taken over and not released.
    pub received: Vec<u16>,
    /// The will.
    pub will: Option<Box<Will>>,
}

/// A shared subscription without the entries of its queue.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupImage {
    /// Which.
    pub id: GroupId,
    /// When the image was made.
    pub cut: Place,
    /// Share name.
    pub name: Arc<str>,
    /// Topic filter.
    pub filter: Arc<str>,
    /// The sequence that the next entry of its queue will get.
    pub next_sequence: u64,
}

/// Whose queue it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A session's.
    Session(SessionId),
    /// A shared subscription's.
    Group(GroupId),
    /// That of a name.
    Queue(QueueId),
}

/// All entries with sequences from the end of the slice before to `end`.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueSlice {
    /// Whose.
    pub owner: Owner,
    /// When the image was made.
    pub cut: Place,
    /// The first sequence behind the slice; `u64::MAX` for the last one.
    pub end: u64,
    /// The sequence that the next entry of the queue will get.
    pub next_sequence: u64,
    /// Its entries.
    pub entries: Vec<SliceEntry>,
}

/// An entry of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceEntry {
    /// Its sequence.
    pub sequence: u64,
    /// Where its message is.
    pub stored: Stored,
    /// Subscription identifiers to send along.
    pub ids: SubscriptionIds,
    /// Effective guarantee.
    pub qos: Qos,
    /// Retain flag to send.
    pub retain: bool,
    /// Whether only its release is outstanding.
    pub released: bool,
    /// Whether it may have been handed out before.
    pub redelivered: bool,
    /// What else it has, in a queue with a name.
    pub extras: EntryExtras,
}

/// All retained values of topics behind the slice before, up to `last`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetainedSlice {
    /// When the image was made.
    pub cut: Place,
    /// The last topic of the slice; `None` for the last slice.
    pub last: Option<Arc<str>>,
    /// Topic, message, and when it expires.
    pub values: Vec<(Arc<str>, Stored, Option<NonZeroU64>)>,
}

const QOS: u8 = 0b0000_0011;
const RETAIN: u8 = 1 << 2;
const IDS: u8 = 1 << 3;
const RELEASED: u8 = 1 << 4;
const REDELIVERED: u8 = 1 << 5;
const EXTRAS: u8 = 1 << 6;

impl CheckpointRecord {
    fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Begin(_) => Kind::Begin,
            Self::Session(_) => Kind::Session,
            Self::Group(_) => Kind::Group,
            Self::Slice(_) => Kind::Slice,
            Self::Retained(_) => Kind::Retained,
            Self::NamedQueue(_) => Kind::NamedQueue,
            Self::Topology(_) => Kind::Topology,
            Self::Definitions(_) => Kind::Definitions,
            Self::Duplicates(_) => Kind::Duplicates,
            Self::End(_) => Kind::End,
            Self::Skipped => return None,
        })
    }

    /// Appends the record of a virtual host, frame included.
    pub fn write(&self, out: &mut Vec<u8>, host: VhostId) {
        let Some(kind) = self.kind() else { return };
        let header = RecordHeader { kind: kind as u8, version: kind.version(), must_understand: true };
        write_record(out, header, |out| {
            put_number(out, host.0);
            match self {
                Self::Begin(begin) => begin.write(out),
                Self::Session(image) => image.write(out),
                Self::Group(image) => image.write(out),
                Self::Slice(slice) => slice.write(out),
                Self::Retained(slice) => slice.write(out),
                Self::NamedQueue(image) => image.write(out),
                Self::Topology(image) => image.write(out),
                Self::Definitions(slice) => slice.write(out),
                Self::Duplicates(slice) => slice.write(out),
                Self::End(records) => put_number(out, *records),
                Self::Skipped => {}
            }
        });
    }

    /// Reads a record, and which virtual host it is about.
    ///
    /// # Errors
    /// See [`RecordError`]; the place is within the part of the checkpoint.
    pub fn read(raw: &RawRecord<'_>) -> Result<(VhostId, Self), RecordError> {
        let place = Place { batch: Position::NONE, offset: raw.offset };
        let (number, version) = (raw.header.kind, raw.header.version);
        match Kind::from_number(number).filter(|kind| kind.reads(version)) {
            Some(kind) => read_known(kind, version, raw.body).map_err(|reason| RecordError::Malformed {
                place,
                kind: number,
                reason,
            }),
            None if raw.header.must_understand => Err(RecordError::Unknown { place, kind: number, version }),
            None => Ok((VhostId::DEFAULT, Self::Skipped)),
        }
    }
}

fn read_known(kind: Kind, version: u8, body: &[u8]) -> Result<(VhostId, CheckpointRecord), Malformed> {
    let fields = &mut Fields::new(body);
    let host = codec::vhost(fields)?;
    let record = match kind {
        Kind::Begin => CheckpointRecord::Begin(Begin::read(fields, version)?),
        Kind::Session => CheckpointRecord::Session(SessionImage::read(fields)?),
        Kind::Group => CheckpointRecord::Group(GroupImage::read(fields)?),
        Kind::Slice => CheckpointRecord::Slice(QueueSlice::read(fields)?),
        Kind::Retained => CheckpointRecord::Retained(RetainedSlice::read(fields)?),
        Kind::NamedQueue => CheckpointRecord::NamedQueue(NamedQueueImage::read(fields)?),
        Kind::Topology => CheckpointRecord::Topology(TopologyImage::read(fields)?),
        Kind::Definitions => CheckpointRecord::Definitions(DefinitionSlice::read(fields)?),
        Kind::Duplicates => CheckpointRecord::Duplicates(DuplicateSlice::read(fields)?),
        Kind::End => CheckpointRecord::End(fields.number()?),
    };
    fields.end()?;
    Ok((host, record))
}

pub(super) fn put_cut(out: &mut Vec<u8>, cut: Place) {
    put_number(out, cut.batch.number());
    put_number(out, u64::from(cut.offset));
}

pub(super) fn cut(fields: &mut Fields<'_>) -> Result<Place, Malformed> {
    Ok(Place { batch: Position::new(fields.number()?), offset: fields.small()? })
}

impl SessionImage {
    fn write(&self, out: &mut Vec<u8>) {
        put_number(out, self.id.0);
        put_cut(out, self.cut);
        put_bytes(out, self.client_id.as_bytes());
        codec::put_optional(out, self.user.as_deref());
        put_number(out, u64::from(self.expiry));
        put_number(out, self.offline_at_ms);
        put_number(out, self.next_sequence);
        put_number(out, self.subscriptions.len() as u64);
        for (filter, options, replay) in &self.subscriptions {
            codec::put_subscription(out, filter, options, *replay);
        }
        put_number(out, self.received.len() as u64);
        self.received.iter().for_each(|id| put_number(out, u64::from(*id)));
        codec::put_will(out, self.will.as_deref());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: SessionId(codec::count(fields)?),
            cut: cut(fields)?,
            client_id: Arc::from(fields.text()?),
            user: codec::optional(fields)?,
            expiry: fields.small()?,
            offline_at_ms: fields.number()?,
            next_sequence: codec::count(fields)?,
            subscriptions: several(fields, 2, codec::subscription)?,
            received: several(fields, 1, Fields::small)?,
            will: codec::will(fields)?,
        })
    }
}

impl GroupImage {
    fn write(&self, out: &mut Vec<u8>) {
        put_number(out, self.id.0);
        put_cut(out, self.cut);
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, self.filter.as_bytes());
        put_number(out, self.next_sequence);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            id: GroupId(codec::count(fields)?),
            cut: cut(fields)?,
            name: Arc::from(fields.text()?),
            filter: Arc::from(fields.text()?),
            next_sequence: codec::count(fields)?,
        })
    }
}

impl QueueSlice {
    fn write(&self, out: &mut Vec<u8>) {
        let (owner, id) = match self.owner {
            Owner::Session(id) => (0, id.0),
            Owner::Group(id) => (1, id.0),
            Owner::Queue(id) => (2, id.0),
        };
        codec::put_owner(out, owner, id);
        put_cut(out, self.cut);
        put_number(out, if self.end == u64::MAX { 0 } else { self.end });
        put_number(out, self.next_sequence);
        put_number(out, self.entries.len() as u64);
        let mut places = Places::default();
        let mut next = 0;
        for entry in &self.entries {
            put_number(out, entry.sequence.saturating_sub(next));
            next = entry.sequence + 1;
            let ids = entry.ids.as_slice();
            let mut flags = entry.qos as u8;
            let set = [
                (RETAIN, entry.retain),
                (IDS, !ids.is_empty()),
                (RELEASED, entry.released),
                (REDELIVERED, entry.redelivered),
                (EXTRAS, !entry.extras.is_plain()),
            ];
            for (flag, on) in set {
                flags |= if on { flag } else { 0 };
            }
            out.push(flags);
            codec::put_ids(out, ids);
            if !entry.extras.is_plain() {
                entry.extras.put(out);
            }
            places.put(out, &entry.stored);
        }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let owner = match fields.byte()? {
            0 => Owner::Session(SessionId(codec::count(fields)?)),
            1 => Owner::Group(GroupId(codec::count(fields)?)),
            2 => Owner::Queue(QueueId(codec::count(fields)?)),
            _ => return Err(Malformed::NoMeaning("the owner")),
        };
        let cut = cut(fields)?;
        let end = match codec::count(fields)? {
            0 => u64::MAX,
            end => end,
        };
        let next_sequence = codec::count(fields)?;
        let mut places = Places::default();
        let mut next = 0_u64;
        let entries = several(fields, 6, |fields| {
            let sequence = next + codec::count(fields)?;
            if sequence >= end || sequence >= next_sequence {
                return Err(Malformed::NoMeaning("the sequence"));
            }
            next = sequence + 1;
            let flags = fields.byte()?;
            Ok(SliceEntry {
                sequence,
                ids: if flags & IDS == 0 { SubscriptionIds::None } else { codec::ids(fields)? },
                extras: match flags & EXTRAS {
                    0 => EntryExtras::default(),
                    _ => EntryExtras::read(fields)?,
                },
                stored: places.read(fields)?,
                qos: Qos::from_number(flags & QOS).ok_or(Malformed::NoMeaning("the QoS"))?,
                retain: flags & RETAIN != 0,
                released: flags & RELEASED != 0,
                redelivered: flags & REDELIVERED != 0,
            })
        })?;
        Ok(Self { owner, cut, end, next_sequence, entries })
    }
}

impl RetainedSlice {
    fn write(&self, out: &mut Vec<u8>) {
        put_cut(out, self.cut);
        codec::put_optional(out, self.last.as_deref());
        put_number(out, self.values.len() as u64);
        let mut places = Places::default();
        for (topic, stored, expires_at_ms) in &self.values {
            put_bytes(out, topic.as_bytes());
            put_number(out, expires_at_ms.map_or(0, NonZeroU64::get));
            places.put(out, stored);
        }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let mut places = Places::default();
        Ok(Self {
            cut: cut(fields)?,
            last: codec::optional(fields)?,
            values: several(fields, 6, |fields| {
                let topic = Arc::from(fields.text()?);
                let expires_at_ms = NonZeroU64::new(fields.number()?);
                Ok((topic, places.read(fields)?, expires_at_ms))
            })?,
        })
    }
}

/// As many items as is said before them, of at least `least` bytes each.
pub(super) fn several<'a, T>(
    fields: &mut Fields<'a>,
    least: usize,
    mut item: impl FnMut(&mut Fields<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let claimed = fields.number()?;
    let mut items = Vec::with_capacity(fields.at_most(claimed, least));
    for _ in 0..claimed {
        items.push(item(fields)?);
    }
    Ok(items)
}

/// Places of messages, each as the difference to the one before.
#[derive(Default)]
struct Places {
    last: Place,
}

impl Places {
    fn put(&mut self, out: &mut Vec<u8>, stored: &Stored) {
        let place = stored.place();
        put_difference(out, place.batch.number(), self.last.batch.number());
        put_difference(out, u64::from(place.offset), u64::from(self.last.offset));
        self.last = place;
        put_number(out, u64::from(stored.len));
        put_number(out, u64::from(stored.size) << 1 | u64::from(stored.shared));
    }

    fn read(&mut self, fields: &mut Fields<'_>) -> Result<Stored, Malformed> {
        let batch = Position::new(number_after(fields, self.last.batch.number())?);
        let offset = number_after(fields, u64::from(self.last.offset))?;
        let offset = u32::try_from(offset).map_err(|_| Malformed::NumberTooLarge)?;
        self.last = Place { batch, offset };
        let len = fields.small()?;
        let size = fields.number()?;
        let shared = size & 1 != 0;
        let size = u32::try_from(size >> 1).map_err(|_| Malformed::NumberTooLarge)?;
        Ok(Stored::new(self.last, len, size, shared))
    }
}

/// Differences wrap around and have their sign in the lowest bit, so that small ones are short both ways.
fn put_difference(out: &mut Vec<u8>, number: u64, last: u64) {
    let difference = number.wrapping_sub(last) as i64;
    put_number(out, (difference << 1 ^ difference >> 63) as u64);
}

fn number_after(fields: &mut Fields<'_>, last: u64) -> Result<u64, Malformed> {
    let coded = fields.number()?;
    Ok(last.wrapping_add(coded >> 1 ^ (coded & 1).wrapping_neg()))
}

#[cfg(test)]
mod tests;
