//! `x-death`: where a message was, and why it could not stay.
//!
//! One entry for each queue and reason, the most recent first; a repeated one moves to the front and counts on, everything
//! else in it stays as it was the first time. What a client has sent under this name is replaced, and never interpreted.

use smallvec::SmallVec;
use tercet_amqp::EncodeError;
use tercet_amqp::content::{Properties, Property, PropertyValue};
use tercet_amqp::field::{Array, ArrayBuf, Table, TableBuf, Value};

use crate::named_queue::dead_letter::DeathReason;

/// Levels of arrays and tables in what was accepted once.
const DEPTH: u8 = 32;

/// The properties of a dead letter.
pub(in crate::named_queue) struct Written {
    /// Flags and list, encoded.
    pub properties: Vec<u8>,
    /// Queues it would reach in a circle that nobody has broken by rejecting it.
    pub excluded: SmallVec<[Box<str>; 2]>,
}

/// A message that cannot stay where it is.
#[derive(Clone, Copy)]
pub(in crate::named_queue) struct Dying<'a> {
    /// Its properties in AMQP's encoding.
    pub properties: Properties<'a>,
    /// The exchange it was published to.
    pub exchange: &'a str,
    /// The routing key it was published with.
    pub key: &'a str,
    /// Keys that its recipients do not see (`BCC`), as an encoded array: for its way on they are written down again.
    pub blind_copies: Option<&'a [u8]>,
    /// Whether the broker has dead-lettered it before.
    pub dead_lettered: bool,
    /// The queue it cannot stay in.
    pub queue: &'a str,
    /// Why.
    pub reason: DeathReason,
    /// Whether it gets another routing key, so that the keys it had beside its own (`CC`) lead nowhere any more.
    pub rerouted: bool,
    /// The time, UTC milliseconds.
    pub now_ms: u64,
}

/// Writes down that a message has died.
pub(in crate::named_queue) fn record(dying: &Dying<'_>) -> Written {
    let headers = dying.properties.headers().ok().flatten().unwrap_or_default();
    let before: SmallVec<[Table<'_>; 4]> = match headers.get("x-death") {
        Some(Value::Array(array)) if dying.dead_lettered => array.iter().filter_map(table).collect(),
        _ => SmallVec::new(),
    };
    // What cannot be written down any more, for it would be too long, is passed on as it was.
    let properties = write(dying, headers, &before).unwrap_or_else(|_| {
        let mut unchanged = Vec::new();
        dying.properties.write(&mut unchanged);
        unchanged
    });
    Written { properties, excluded: circle(&before, dying.queue, dying.reason) }
}

fn table(value: Value<'_>) -> Option<Table<'_>> {
    match value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

fn text<'a>(death: &Table<'a>, name: &str) -> Option<&'a str> {
    death.get(name).and_then(|value| value.as_str())
}

/// The queues that the message has been in since somebody last rejected it: it must not come back to them by itself.
fn circle(before: &[Table<'_>], queue: &str, reason: DeathReason) -> SmallVec<[Box<str>; 2]> {
    if reason == DeathReason::Rejected {
        return SmallVec::new();
    }
    let rejected = DeathReason::Rejected.name();
    let here = |death: &&Table<'_>| {
        text(death, "queue") == Some(queue) && text(death, "reason") == Some(reason.name())
    };
    let earlier = before.iter().filter(|death| !here(death));
    let earlier = earlier.take_while(|death| text(death, "reason") != Some(rejected));
    std::iter::once(queue).chain(earlier.filter_map(|death| text(death, "queue"))).map(Box::from).collect()
}

fn write(dying: &Dying<'_>, headers: Table<'_>, before: &[Table<'_>]) -> Result<Vec<u8>, EncodeError> {
    let &Dying { exchange, queue, reason, .. } = dying;
    let mut deaths = ArrayBuf::new();
    let same = before
        .iter()
        .find(|death| text(death, "queue") == Some(queue) && text(death, "reason") == Some(reason.name()));
    match same {
        Some(same) => deaths.push(again(same)?.as_table())?,
        None => deaths.push(first(dying, headers)?.as_table())?,
    };
    for death in before.iter().filter(|death| same.is_none_or(|same| same != *death)) {
        deaths.push(*death)?;
    }
    let mut fields: Vec<(&[u8], Value<'_>)> =
        headers.iter().filter(|(name, _)| keeps(name, dying.rerouted)).collect();
    fields.push((b"x-death", deaths.as_array().into()));
    let blind =
        dying.blind_copies.filter(|_| !dying.rerouted).and_then(|keys| Array::parse(keys, DEPTH).ok());
    if let Some(blind) = blind {
        fields.push((b"BCC", blind.into()));
    }
    let summary = [
        ("x-first-death-exchange", "x-last-death-exchange", exchange),
        ("x-first-death-queue", "x-last-death-queue", queue),
        ("x-first-death-reason", "x-last-death-reason", reason.name()),
    ];
    for (first, last, now) in summary {
        let earlier = headers.get(first).filter(|_| !before.is_empty());
        fields.push((first.as_bytes(), earlier.unwrap_or_else(|| now.into())));
        fields.push((last.as_bytes(), now.into()));
    }
    // As RabbitMQ does whenever it adds headers; of several with one name the first counts.
    fields.sort_by_key(|(name, _)| *name);
    fields.dedup_by_key(|(name, _)| *name);
    let mut table = TableBuf::new();
    for (name, value) in fields {
        table.put(name, value)?;
    }
    encode(dying.properties, table.as_table())
}

/// Whether a header stays as it was.
fn keeps(name: &[u8], rerouted: bool) -> bool {
    let own = name == b"x-death" || name.starts_with(b"x-first-death-") || name.starts_with(b"x-last-death-");
    !(own || rerouted && name == b"CC")
}

/// The entry of a repeated death.
fn again(same: &Table<'_>) -> Result<TableBuf, EncodeError> {
    let mut death = TableBuf::new();
    for (name, value) in same.iter() {
        let count = value.as_i64().filter(|_| name == b"count");
        death.put(name, count.map_or(value, |count| Value::I64(count.saturating_add(1))))?;
    }
    Ok(death)
}

/// The entry of the first death in this queue for this reason.
fn first(dying: &Dying<'_>, headers: Table<'_>) -> Result<TableBuf, EncodeError> {
    let mut death = TableBuf::new();
    if let Ok(Some(expiration)) = dying.properties.expiration() {
        death.put("original-expiration", expiration)?;
    }
    death.put("count", Value::I64(1))?;
    death.put("reason", dying.reason.name())?;
    death.put("queue", dying.queue)?;
    death.put("time", Value::Timestamp(dying.now_ms / 1000))?;
    death.put("exchange", dying.exchange)?;
    let mut keys = ArrayBuf::new();
    keys.push(dying.key)?;
    if let Some(Value::Array(others)) = headers.get("CC") {
        for key in others.iter().filter(|key| matches!(key, Value::LongStr(_))) {
            keys.push(key)?;
        }
    }
    death.put("routing-keys", keys.as_array())?;
    Ok(death)
}

/// The properties with these headers and without expiration.
fn encode(properties: Properties<'_>, headers: Table<'_>) -> Result<Vec<u8>, EncodeError> {
    let (mut with_headers, mut list, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    let headers = Some(PropertyValue::Table(headers));
    let changed = properties.with(Property::Headers, headers, &mut with_headers)?;
    changed.with(Property::Expiration, None, &mut list)?.write(&mut bytes);
    Ok(bytes)
}
