//! `x-death`: where a message was, and why it could not stay.
//!
//! One entry for each queue and reason, the most recent first; a repeated one moves to the front and counts on, everything
//! else in it stays as it was the first time. What a client has sent under this name is replaced, and never interpreted.

use smallvec::SmallVec;
use tercet_amqp::EncodeError;
use tercet_amqp::content::{BasicProperties, Properties, Property, PropertyValue};
use tercet_amqp::field::{ArrayBuf, Table, TableBuf, Value};

use crate::message::{Message, PropertyEncoding, Qos};
use crate::named_queue::dead_letter::DeathReason;

/// The exchange of messages that came by MQTT.
const TOPIC_EXCHANGE: &str = "amq.topic";

/// The properties of a dead letter.
pub(in crate::named_queue) struct Written {
    /// Flags and list, encoded.
    pub properties: Vec<u8>,
    /// Queues it would reach in a circle that nobody has broken by rejecting it.
    pub excluded: SmallVec<[Box<str>; 2]>,
}

/// Writes down that a message has died in `queue`. With `rerouted` it gets another routing key, so that the keys it had
/// beside its own (`CC`) lead nowhere any more.
pub(in crate::named_queue) fn record(
    message: &Message,
    queue: &str,
    reason: DeathReason,
    rerouted: bool,
    now_ms: u64,
) -> Written {
    let properties = match message.encoding {
        PropertyEncoding::Amqp => Properties::from_bytes(&message.properties).unwrap_or_default(),
        PropertyEncoding::Mqtt5 | PropertyEncoding::None => Properties::default(),
    };
    let headers = properties.headers().ok().flatten().unwrap_or_default();
    let before: SmallVec<[Table<'_>; 4]> = match headers.get("x-death") {
        Some(Value::Array(array)) if message.dead_lettered => array.iter().filter_map(table).collect(),
        _ => SmallVec::new(),
    };
    let excluded = circle(&before, queue, reason);
    let written = write(message, properties, headers, &before, queue, reason, rerouted, now_ms);
    // What cannot be written down any more, for it would be too long, is passed on as it was.
    let properties = written.unwrap_or_else(|_| message.properties.to_vec());
    Written { properties, excluded }
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

#[expect(clippy::too_many_arguments)]
fn write(
    message: &Message,
    properties: Properties<'_>,
    headers: Table<'_>,
    before: &[Table<'_>],
    queue: &str,
    reason: DeathReason,
    rerouted: bool,
    now_ms: u64,
) -> Result<Vec<u8>, EncodeError> {
    let exchange = message.exchange.as_deref().unwrap_or(TOPIC_EXCHANGE);
    let mut deaths = ArrayBuf::new();
    let same = before
        .iter()
        .find(|death| text(death, "queue") == Some(queue) && text(death, "reason") == Some(reason.name()));
    match same {
        Some(same) => deaths.push(again(same)?.as_table())?,
        None => {
            deaths.push(first(message, properties, headers, queue, reason, exchange, now_ms)?.as_table())?
        }
    };
    for death in before.iter().filter(|death| same.is_none_or(|same| same != *death)) {
        deaths.push(*death)?;
    }
    let mut fields: Vec<(&[u8], Value<'_>)> =
        headers.iter().filter(|(name, _)| keeps(name, rerouted)).collect();
    fields.push((b"x-death", deaths.as_array().into()));
    let names: [[&str; 3]; 2] = [
        ["x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"],
        ["x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"],
    ];
    let now = [exchange, queue, reason.name()];
    for (name, value) in names[0].iter().zip(now) {
        let earlier = headers.get(name).filter(|_| !before.is_empty());
        fields.push((name.as_bytes(), earlier.unwrap_or_else(|| value.into())));
    }
    fields.extend(names[1].iter().zip(now).map(|(name, value)| (name.as_bytes(), value.into())));
    // As RabbitMQ does whenever it adds headers; of several with one name the first counts.
    fields.sort_by_key(|(name, _)| *name);
    fields.dedup_by_key(|(name, _)| *name);
    let mut table = TableBuf::new();
    for (name, value) in fields {
        table.put(name, value)?;
    }
    encode(message, properties, table.as_table())
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
fn first(
    message: &Message,
    properties: Properties<'_>,
    headers: Table<'_>,
    queue: &str,
    reason: DeathReason,
    exchange: &str,
    now_ms: u64,
) -> Result<TableBuf, EncodeError> {
    let mut death = TableBuf::new();
    if let Ok(Some(expiration)) = properties.expiration() {
        death.put("original-expiration", expiration)?;
    }
    death.put("count", Value::I64(1))?;
    death.put("reason", reason.name())?;
    death.put("queue", queue)?;
    death.put("time", Value::Timestamp(now_ms / 1000))?;
    death.put("exchange", exchange)?;
    let mut keys = ArrayBuf::new();
    keys.push(&*message.topic)?;
    if let Some(Value::Array(others)) = headers.get("CC") {
        for key in others.iter().filter(|key| matches!(key, Value::LongStr(_))) {
            keys.push(key)?;
        }
    }
    death.put("routing-keys", keys.as_array())?;
    Ok(death)
}

/// The properties with these headers and without expiration.
fn encode(message: &Message, properties: Properties<'_>, headers: Table<'_>) -> Result<Vec<u8>, EncodeError> {
    let (mut with_headers, mut list) = (Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    if message.encoding != PropertyEncoding::Amqp {
        let delivery_mode = (message.qos > Qos::AtMostOnce).then_some(2);
        let fresh = BasicProperties { delivery_mode, headers: Some(headers), ..BasicProperties::default() };
        fresh.encode(&mut list)?.write(&mut bytes);
        return Ok(bytes);
    }
    let changed =
        properties.with(Property::Headers, Some(PropertyValue::Table(headers)), &mut with_headers)?;
    changed.with(Property::Expiration, None, &mut list)?.write(&mut bytes);
    Ok(bytes)
}
