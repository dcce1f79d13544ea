//! Looking into a queue without taking anything out: `/queues/{vhost}/{name}/messages`, with a cursor.

use serde_json::{Map, Value, json};
use tercet_amqp::content::{Properties, Property, PropertyValue};
use tercet_broker::crossing::address::TopicMapping;
use tercet_broker::crossing::to_amqp::{amqp_key, amqp_properties};
use tercet_broker::message::{Message, PropertyEncoding};
use tercet_broker::named_queue::{Peeked, Peeking};

use super::call::{Call, Reply};
use super::problem::Problem;
use super::table_json;

/// Messages of one answer unless the request says otherwise.
const SHOWN: u64 = 10;
/// Most messages of one answer.
const MAX_SHOWN: u64 = 1000;
/// Bytes of a payload that are shown unless the request says otherwise.
const TRUNCATED: u64 = 4096;
/// Bytes of all payloads of one answer that are shown at most.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Messages that are in memory at a time: they may be large, and may have to be read back.
const AT_ONCE: usize = 8;

/// `/queues/{vhost}/{name}/messages?from=SEQUENCE&limit=N&truncate=BYTES`
pub(super) async fn peek(call: &Call<'_>, vhost: &str, name: &str) -> Result<Reply, Problem> {
    if call.verb() != "GET" {
        return Err(Problem::method("GET"));
    }
    let limit = call.target.number("limit")?.unwrap_or(SHOWN);
    if !(1..=MAX_SHOWN).contains(&limit) {
        return Err(Problem::bad_request("limit is out of range", format!("between 1 and {MAX_SHOWN}")));
    }
    let truncate = call.target.number("truncate")?.unwrap_or(TRUNCATED);
    let truncate = usize::try_from(truncate).unwrap_or(usize::MAX);
    let mut from = call.target.number("from")?.unwrap_or(0);
    let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
    let (host, actor) = call.act(vhost)?;
    let (name, bodies) = (name.to_owned(), call.bodies());
    let mapping = host.topic_mapping();
    let looked = call.aside(move |_, _| {
        let (mut items, mut bytes, mut next) = (Vec::new(), 0, None);
        while left > 0 && bytes < MAX_BYTES {
            let peeking = Peeking { from, most: left.min(AT_ONCE) };
            let peeked = host.peek(&actor, &name, peeking, &*bodies)?;
            let Some(last) = peeked.last().map(|peeked| peeked.sequence) else {
                next = None;
                break;
            };
            left -= peeked.len().min(left);
            bytes += peeked.iter().map(|peeked| shown_bytes(peeked, truncate)).sum::<usize>();
            items.extend(peeked.iter().map(|peeked| show(peeked, truncate, mapping)));
            from = last.saturating_add(1);
            next = Some(from);
        }
        Ok::<_, Problem>(json!({ "items": items, "next": next }))
    });
    Ok(Reply::value(looked.await??))
}

fn shown_bytes(peeked: &Peeked, truncate: usize) -> usize {
    peeked.message.as_ref().map_or(0, |message| message.payload.len().min(truncate))
}

/// A message as a consumer of AMQP would get it.
fn show(peeked: &Peeked, truncate: usize, mapping: TopicMapping) -> Value {
    let mut shown = json!({
        "sequence": peeked.sequence,
        "state": if peeked.ready { "ready" } else { "taken" },
        "redelivered": peeked.redelivered,
        "returns": peeked.extras.deliveries,
        "priority": peeked.extras.priority,
        "expires_ms": peeked.extras.deadline_ms,
        "not_before_ms": peeked.extras.not_before_ms,
    });
    let (Value::Object(members), Some(message)) = (&mut shown, &peeked.message) else { return shown };
    let payload = message.payload.get(..truncate).unwrap_or(&message.payload);
    let (text, encoding) = match text(payload, payload.len() < message.payload.len()) {
        Some(text) => (Value::from(text), "text"),
        None => (table_json::encoded(payload), "base64"),
    };
    members.insert("exchange".into(), json!(message.exchange.as_deref().unwrap_or("amq.topic")));
    members.insert("routing_key".into(), json!(amqp_key(message, mapping)));
    members.insert("arrived_ms".into(), json!(message.ingress_ms));
    members.insert("protocol".into(), json!(protocol(message)));
    members.insert("properties".into(), properties(message, mapping));
    members.insert("payload_bytes".into(), json!(message.payload.len()));
    members.insert("payload_encoding".into(), json!(encoding));
    members.insert("payload".into(), text);
    shown
}

/// The payload as text; of one that was cut, without half a character at its end.
fn text(payload: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(payload) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(payload.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

const fn protocol(message: &Message) -> &'static str {
    match message.encoding {
        PropertyEncoding::Amqp => "amqp",
        PropertyEncoding::Coap => "coap",
        PropertyEncoding::None | PropertyEncoding::Mqtt5 => "mqtt",
    }
}

/// The properties of a message under the names that clients of AMQP use.
fn properties(message: &Message, mapping: TopicMapping) -> Value {
    let mut bytes = Vec::new();
    amqp_properties(message, mapping, &mut bytes);
    let mut shown = Map::new();
    let Some(list) = Properties::from_bytes(&bytes) else { return json!({}) };
    for property in Property::ALL {
        // What is malformed is not shown: it was checked when it came.
        let Ok(Some(value)) = list.get(property) else { continue };
        let value = match value {
            PropertyValue::Text(text) => json!(text),
            PropertyValue::Octet(number) => json!(number),
            PropertyValue::Timestamp(seconds) => json!(seconds),
            PropertyValue::Table(table) => table_json::show(table),
        };
        shown.insert(name(property).to_owned(), value);
    }
    Value::Object(shown)
}

const fn name(property: Property) -> &'static str {
    match property {
        Property::ContentType => "content_type",
        Property::ContentEncoding => "content_encoding",
        Property::Headers => "headers",
        Property::DeliveryMode => "delivery_mode",
        Property::Priority => "priority",
        Property::CorrelationId => "correlation_id",
        Property::ReplyTo => "reply_to",
        Property::Expiration => "expiration",
        Property::MessageId => "message_id",
        Property::Timestamp => "timestamp",
        Property::Type => "type",
        Property::UserId => "user_id",
        Property::AppId => "app_id",
        Property::ClusterId => "cluster_id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_text_where_they_are() {
        let cut = "grün".as_bytes();
        let cases: [(&[u8], bool, Option<&str>); 6] = [
            (b"plain", false, Some("plain")),
            (b"", false, Some("")),
            (&cut[..3], true, Some("gr")),
            (&cut[..3], false, None),
            (b"\xff\xfe", true, None),
            (b"a\xff\xfe", true, None),
        ];
        for (payload, is_cut, expected) in cases {
            assert_eq!(text(payload, is_cut), expected, "{payload:?}");
        }
    }
}
