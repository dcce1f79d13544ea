//! Records as bytes.
//!
//! Every body begins with the number of its virtual host. Integers are LEB128, bytes and text come behind their length.
//! A queue record says whose queue it is: 0 and a session, or 1 and a shared subscription. Where a message lies is
//! said by the distance back to its record within the batch, or by 0, the batch and the offset; its record's
//! length and its size follow, so that replay needs no body.

use std::num::NonZeroU64;
use std::sync::Arc;

use tercet_log::position::{Place, Position};
use tercet_log::record::{RawRecord, RecordHeader, write_record};

use crate::body::{Body, Stored};
use crate::filter::{SubscriptionIds, SubscriptionOptions};
use crate::hosts::VhostId;
use crate::message::{PropertyEncoding, Qos};
use crate::named_queue::QueueId;
use crate::record::fields::{Fields, Malformed, put_bytes, put_number};
use crate::record::{
    BindingRecord, DefinitionRecord, DuplicateRecord, Entry, ExchangeRecord, GroupRecord, HostRecord,
    NamedQueueRecord, OwnedRecord, QueueRecord, Record, RecordKind, RetainedRecord, SessionRecord,
    SettleReason, message_record,
};
use crate::session::SessionId;
use crate::shared_group::GroupId;
use crate::will::Will;

/// A record cannot be taken over from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It is not as its kind says.
    #[error("the record of kind {kind} at {place} is malformed: {reason}")]
    Malformed {
        /// Where it is.
        place: Place,
        /// Its kind.
        kind: u8,
        /// What is wrong.
        reason: Malformed,
    },
    /// A later version wrote it, and it cannot be left out.
    #[error(
        "the record at {place} has kind {kind} in version {version}, which this version of Tercet does not know"
    )]
    Unknown {
        /// Where it is.
        place: Place,
        /// Its kind.
        kind: u8,
        /// Its version.
        version: u8,
    },
    /// The batch is no sequence of records.
    #[error("there is no record at {place}")]
    NoRecord {
        /// Where one should be.
        place: Place,
    },
}

/// What a record of the log turns out to be.
#[derive(Clone, Debug)]
pub enum Decoded {
    /// A change of state in this virtual host.
    Change(VhostId, OwnedRecord),
    /// A message that was published in this virtual host by this session.
    Message(VhostId, SessionId),
    /// Unknown, and not needed.
    Skipped,
}

/// Appends a record, frame included, that begins at `place`. `stored` is where the message lies that it refers to; a
/// record that refers to none ignores it.
pub fn write(out: &mut Vec<u8>, place: Place, vhost: VhostId, record: &Record<'_>, stored: Option<&Stored>) {
    let kind = record.kind();
    let header =
        RecordHeader { kind: kind as u8, version: kind.version(), must_understand: kind.must_understand() };
    write_record(out, header, |out| {
        put_number(out, vhost.0);
        match record {
            Record::Session(id, SessionRecord::Queue(queue)) => {
                put_owner(out, 0, id.0);
                put_queue_record(out, place, queue, stored);
            }
            Record::Group(id, GroupRecord::Queue(queue)) => {
                put_owner(out, 1, id.0);
                put_queue_record(out, place, queue, stored);
            }
            Record::Session(id, record) => put_session_record(out, *id, record),
            Record::Group(id, record) => put_group_record(out, *id, record),
            Record::Retained(record) => put_retained_record(out, place, record, stored),
            Record::NamedQueue(id, record) => {
                put_number(out, id.0);
                record.put(out, place, stored);
            }
            Record::Exchange(record) => record.put(out),
            Record::Binding(record) => record.put(out),
            Record::Definition(record) => record.put(out),
            Record::Duplicate(record) => record.put(out),
            Record::Host(record) => record.put(out),
        }
    });
}

/// Reads a record of the batch at `batch`.
///
/// # Errors
/// See [`RecordError`].
pub fn read(raw: &RawRecord<'_>, batch: Position) -> Result<Decoded, RecordError> {
    let place = Place { batch, offset: raw.offset };
    let number = raw.header.kind;
    let known = RecordKind::from_number(number).filter(|kind| kind.version() == raw.header.version);
    let Some(kind) = known else {
        return match raw.header.must_understand {
            true => Err(RecordError::Unknown { place, kind: number, version: raw.header.version }),
            false => Ok(Decoded::Skipped),
        };
    };
    read_known(kind, raw.body, place).map_err(|reason| RecordError::Malformed { place, kind: number, reason })
}

fn read_known(kind: RecordKind, body: &[u8], place: Place) -> Result<Decoded, Malformed> {
    if kind == RecordKind::Message {
        let (vhost, publisher) = message_record::publisher(body)?;
        return Ok(Decoded::Message(vhost, publisher));
    }
    let mut fields = Fields::new(body);
    let vhost = vhost(&mut fields)?;
    let record = match kind {
        RecordKind::Message => return Ok(Decoded::Skipped),
        RecordKind::SessionOpened
        | RecordKind::SessionEnded
        | RecordKind::Subscribed
        | RecordKind::Unsubscribed
        | RecordKind::Received
        | RecordKind::Completed
        | RecordKind::WillChanged
        | RecordKind::Offline
        | RecordKind::Replayed => {
            let id = SessionId(count(&mut fields)?);
            OwnedRecord::Session(id, session_record(kind, &mut fields)?)
        }
        RecordKind::Enqueued | RecordKind::Settled | RecordKind::Released => {
            let (owner, id) = (fields.byte()?, count(&mut fields)?);
            let record = queue_record(kind, &mut fields, place)?;
            match owner {
                0 => OwnedRecord::Session(SessionId(id), SessionRecord::Queue(record)),
                1 => OwnedRecord::Group(GroupId(id), GroupRecord::Queue(record)),
                _ => return Err(Malformed::NoMeaning("the owner")),
            }
        }
        RecordKind::GroupOpened => {
            let id = GroupId(count(&mut fields)?);
            let (name, filter) = (Arc::from(fields.text()?), Arc::from(fields.text()?));
            OwnedRecord::Group(id, GroupRecord::Opened { name, filter })
        }
        RecordKind::GroupEnded => OwnedRecord::Group(GroupId(count(&mut fields)?), GroupRecord::Ended),
        RecordKind::RetainedSet => {
            let topic = Arc::from(fields.text()?);
            let expires_at_ms = NonZeroU64::new(fields.number()?);
            let body = Body::Log(stored(&mut fields, place)?);
            OwnedRecord::Retained(RetainedRecord::Set { topic, body, expires_at_ms })
        }
        RecordKind::RetainedCleared => {
            OwnedRecord::Retained(RetainedRecord::Cleared(Arc::from(fields.text()?)))
        }
        RecordKind::ExchangeDeclared | RecordKind::ExchangeDeleted => {
            OwnedRecord::Exchange(ExchangeRecord::read(kind, &mut fields)?)
        }
        RecordKind::Bound | RecordKind::Unbound => {
            OwnedRecord::Binding(BindingRecord::read(kind, &mut fields)?)
        }
        RecordKind::DefinitionPut | RecordKind::DefinitionRemoved => {
            OwnedRecord::Definition(DefinitionRecord::read(kind, &mut fields)?)
        }
        RecordKind::DuplicateRemembered | RecordKind::DuplicateForgotten => {
            OwnedRecord::Duplicate(DuplicateRecord::read(kind, &mut fields)?)
        }
        RecordKind::HostCreated | RecordKind::HostDeleted => {
            OwnedRecord::Host(HostRecord::read(kind, &mut fields)?)
        }
        RecordKind::QueueDeclared
        | RecordKind::QueueDeleted
        | RecordKind::QueueEnqueued
        | RecordKind::QueueSettled
        | RecordKind::QueueSettledRun
        | RecordKind::QueueReturned
        | RecordKind::QueuePaused => {
            let id = QueueId(count(&mut fields)?);
            OwnedRecord::NamedQueue(id, NamedQueueRecord::read(kind, &mut fields, place)?)
        }
    };
    fields.end()?;
    Ok(Decoded::Change(vhost, record))
}

/// The number of a virtual host.
pub(super) fn vhost(fields: &mut Fields<'_>) -> Result<VhostId, Malformed> {
    count(fields).map(VhostId)
}

/// A byte that says yes or no.
pub(super) fn flag(fields: &mut Fields<'_>) -> Result<bool, Malformed> {
    match fields.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::NoMeaning("a flag")),
    }
}

pub(super) fn reason(fields: &mut Fields<'_>) -> Result<SettleReason, Malformed> {
    SettleReason::from_number(fields.byte()?).ok_or(Malformed::NoMeaning("the reason"))
}

pub(super) fn put_owner(out: &mut Vec<u8>, owner: u8, id: u64) {
    out.push(owner);
    put_number(out, id);
}

const QOS: u8 = 0b0000_0011;

pub(super) fn qos_of(flags: u8) -> Result<Qos, Malformed> {
    Qos::from_number(flags & QOS).ok_or(Malformed::NoMeaning("the QoS"))
}

/// Flags of an entry.
const RETAIN: u8 = 1 << 2;
const IDS: u8 = 1 << 3;
const FROM: u8 = 1 << 4;

fn put_queue_record(out: &mut Vec<u8>, place: Place, record: &QueueRecord, stored: Option<&Stored>) {
    match record {
        QueueRecord::Enqueued { sequence, from, entry } => {
            put_number(out, *sequence);
            let mut flags = entry.qos as u8;
            let ids = entry.ids.as_slice();
            for (flag, on) in [(RETAIN, entry.retain), (IDS, !ids.is_empty()), (FROM, from.is_some())] {
                flags |= if on { flag } else { 0 };
            }
            out.push(flags);
            if let Some((group, sequence)) = from {
                put_number(out, group.0);
                put_number(out, *sequence);
            }
            put_ids(out, ids);
            put_stored(out, place, stored);
        }
        QueueRecord::Settled { sequence, reason } => {
            put_number(out, *sequence);
            out.push(*reason as u8);
        }
        QueueRecord::Released { sequence } => put_number(out, *sequence),
    }
}

fn queue_record(kind: RecordKind, fields: &mut Fields<'_>, place: Place) -> Result<QueueRecord, Malformed> {
    let sequence = count(fields)?;
    Ok(match kind {
        RecordKind::Released => QueueRecord::Released { sequence },
        RecordKind::Settled => QueueRecord::Settled { sequence, reason: reason(fields)? },
        _ => {
            let flags = fields.byte()?;
            let from = match flags & FROM {
                0 => None,
                _ => Some((GroupId(count(fields)?), count(fields)?)),
            };
            let ids = if flags & IDS == 0 { SubscriptionIds::None } else { ids(fields)? };
            let body = Body::Log(stored(fields, place)?);
            let qos = qos_of(flags)?;
            let entry = Entry { body, ids, loan: None, qos, retain: flags & RETAIN != 0 };
            QueueRecord::Enqueued { sequence, from, entry }
        }
    })
}

/// A sequence or an identity: they count up from 0, so that no true one comes near the end of the numbers, and what
/// is computed from them cannot overflow.
pub(super) fn count(fields: &mut Fields<'_>) -> Result<u64, Malformed> {
    let count = fields.number()?;
    if count >> 62 == 0 { Ok(count) } else { Err(Malformed::NumberTooLarge) }
}

pub(super) fn put_ids(out: &mut Vec<u8>, ids: &[u32]) {
    if !ids.is_empty() {
        put_number(out, ids.len() as u64);
        ids.iter().for_each(|id| put_number(out, u64::from(*id)));
    }
}

/// Subscription identifiers, of which there is at least one.
pub(super) fn ids(fields: &mut Fields<'_>) -> Result<SubscriptionIds, Malformed> {
    let claimed = fields.number()?;
    let first = fields.small()?;
    if claimed <= 1 {
        return Ok(SubscriptionIds::One(first));
    }
    let mut ids = Vec::with_capacity(fields.at_most(claimed, 1) + 1);
    ids.push(first);
    for _ in 1..claimed {
        ids.push(fields.small()?);
    }
    Ok(SubscriptionIds::Many(Arc::new(ids)))
}

pub(super) fn put_stored(out: &mut Vec<u8>, place: Place, stored: Option<&Stored>) {
    // A record that refers to a message is never staged without it.
    let Some(stored) = stored else { return };
    let at = stored.place();
    if at.batch == place.batch && at.offset < place.offset {
        put_number(out, u64::from(place.offset - at.offset));
    } else {
        put_number(out, 0);
        put_number(out, at.batch.number());
        put_number(out, u64::from(at.offset));
    }
    put_number(out, u64::from(stored.len));
    put_number(out, u64::from(stored.size) << 1 | u64::from(stored.shared));
}

pub(super) fn stored(fields: &mut Fields<'_>, place: Place) -> Result<Stored, Malformed> {
    let at = match fields.small::<u32>()? {
        0 => {
            let batch = Position::new(fields.number()?);
            Place { batch, offset: fields.small()? }
        }
        back => {
            let offset = place.offset.checked_sub(back).ok_or(Malformed::NoMeaning("the distance"))?;
            Place { batch: place.batch, offset }
        }
    };
    let len = fields.small()?;
    let size = fields.number()?;
    let shared = size & 1 != 0;
    let size = u32::try_from(size >> 1).map_err(|_| Malformed::NumberTooLarge)?;
    if at >= place {
        return Err(Malformed::NoMeaning("the place"));
    }
    Ok(Stored::new(at, len, size, shared))
}

/// Flags of options, above the QoS.
const NO_LOCAL: u8 = 1 << 2;
const RETAIN_AS_PUBLISHED: u8 = 1 << 3;
const ID: u8 = 1 << 4;
const REPLAY: u8 = 1 << 5;

pub(super) fn put_subscription(out: &mut Vec<u8>, filter: &str, options: &SubscriptionOptions, replay: bool) {
    put_bytes(out, filter.as_bytes());
    let mut flags = options.qos as u8;
    let set = [
        (NO_LOCAL, options.no_local),
        (RETAIN_AS_PUBLISHED, options.retain_as_published),
        (ID, options.id.is_some()),
        (REPLAY, replay),
    ];
    for (flag, on) in set {
        flags |= if on { flag } else { 0 };
    }
    out.push(flags);
    options.id.iter().for_each(|id| put_number(out, u64::from(*id)));
}

pub(super) fn subscription(
    fields: &mut Fields<'_>,
) -> Result<(Arc<str>, SubscriptionOptions, bool), Malformed> {
    let filter = Arc::from(fields.text()?);
    let flags = fields.byte()?;
    let options = SubscriptionOptions {
        qos: qos_of(flags)?,
        no_local: flags & NO_LOCAL != 0,
        retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
        id: if flags & ID != 0 { Some(fields.small()?) } else { None },
    };
    Ok((filter, options, flags & REPLAY != 0))
}

/// Text, or none: a flag before it says which.
pub(super) fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.push(u8::from(text.is_some()));
    text.iter().for_each(|text| put_bytes(out, text.as_bytes()));
}

pub(super) fn optional(fields: &mut Fields<'_>) -> Result<Option<Arc<str>>, Malformed> {
    match fields.byte()? {
        0 => Ok(None),
        1 => Ok(Some(Arc::from(fields.text()?))),
        _ => Err(Malformed::NoMeaning("a flag")),
    }
}

fn put_session_record(out: &mut Vec<u8>, id: SessionId, record: &SessionRecord) {
    put_number(out, id.0);
    match record {
        SessionRecord::Opened { client_id, user, expiry } => {
            put_bytes(out, client_id.as_bytes());
            put_optional(out, user.as_deref());
            put_number(out, u64::from(*expiry));
        }
        SessionRecord::Ended | SessionRecord::Queue(_) => {}
        SessionRecord::Subscribed { filter, options, replay } => {
            put_subscription(out, filter, options, *replay);
        }
        SessionRecord::Replayed { filter } | SessionRecord::Unsubscribed { filter } => {
            put_bytes(out, filter.as_bytes());
        }
        SessionRecord::Received(id) | SessionRecord::Completed(id) => put_number(out, u64::from(*id)),
        SessionRecord::WillChanged(will) => put_will(out, will.as_deref()),
        SessionRecord::Offline { at_ms, expiry } => {
            put_number(out, *at_ms);
            put_number(out, u64::from(*expiry));
        }
    }
}

fn session_record(kind: RecordKind, fields: &mut Fields<'_>) -> Result<SessionRecord, Malformed> {
    Ok(match kind {
        RecordKind::SessionOpened => SessionRecord::Opened {
            client_id: Arc::from(fields.text()?),
            user: optional(fields)?,
            expiry: fields.small()?,
        },
        RecordKind::Subscribed => {
            let (filter, options, replay) = subscription(fields)?;
            SessionRecord::Subscribed { filter, options, replay }
        }
        RecordKind::Unsubscribed => SessionRecord::Unsubscribed { filter: Arc::from(fields.text()?) },
        RecordKind::Replayed => SessionRecord::Replayed { filter: Arc::from(fields.text()?) },
        RecordKind::Received => SessionRecord::Received(fields.small()?),
        RecordKind::Completed => SessionRecord::Completed(fields.small()?),
        RecordKind::WillChanged => SessionRecord::WillChanged(will(fields)?),
        RecordKind::Offline => SessionRecord::Offline { at_ms: fields.number()?, expiry: fields.small()? },
        _ => SessionRecord::Ended,
    })
}

const WILL_RETAIN: u8 = 1 << 2;
const WILL_EXPIRES: u8 = 1 << 3;

pub(super) fn put_will(out: &mut Vec<u8>, will: Option<&Will>) {
    let Some(will) = will else { return out.push(0) };
    out.push(1);
    put_bytes(out, will.topic.as_bytes());
    put_bytes(out, &will.payload);
    put_bytes(out, &will.properties);
    let retain = if will.retain { WILL_RETAIN } else { 0 };
    let expires = if will.expiry.is_some() { WILL_EXPIRES } else { 0 };
    out.extend_from_slice(&[will.encoding as u8, will.qos as u8 | retain | expires]);
    put_number(out, u64::from(will.delay));
    will.expiry.iter().for_each(|expiry| put_number(out, u64::from(*expiry)));
}

pub(super) fn will(fields: &mut Fields<'_>) -> Result<Option<Box<Will>>, Malformed> {
    match fields.byte()? {
        0 => return Ok(None),
        1 => {}
        _ => return Err(Malformed::NoMeaning("a flag")),
    }
    let topic = Arc::from(fields.text()?);
    let payload = bytes::Bytes::copy_from_slice(fields.bytes()?);
    let properties = bytes::Bytes::copy_from_slice(fields.bytes()?);
    let encoding =
        PropertyEncoding::from_number(fields.byte()?).ok_or(Malformed::NoMeaning("the encoding"))?;
    let flags = fields.byte()?;
    Ok(Some(Box::new(Will {
        topic,
        payload,
        properties,
        encoding,
        qos: qos_of(flags)?,
        retain: flags & WILL_RETAIN != 0,
        delay: fields.small()?,
        expiry: if flags & WILL_EXPIRES != 0 { Some(fields.small()?) } else { None },
    })))
}

fn put_group_record(out: &mut Vec<u8>, id: GroupId, record: &GroupRecord) {
    put_number(out, id.0);
    if let GroupRecord::Opened { name, filter } = record {
        put_bytes(out, name.as_bytes());
        put_bytes(out, filter.as_bytes());
    }
}

fn put_retained_record(out: &mut Vec<u8>, place: Place, record: &RetainedRecord, stored: Option<&Stored>) {
    match record {
        RetainedRecord::Set { topic, expires_at_ms, .. } => {
            put_bytes(out, topic.as_bytes());
            put_number(out, expires_at_ms.map_or(0, NonZeroU64::get));
            put_stored(out, place, stored);
        }
        RetainedRecord::Cleared(topic) => put_bytes(out, topic.as_bytes()),
    }
}

#[cfg(test)]
pub(super) mod tests;
