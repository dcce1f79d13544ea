//! The arguments of queue.declare: which there are, what they may be, and what they wish.

use std::sync::Arc;

use tercet_amqp::field::{Table, Value};

use crate::exchange::deduplication::Deduplication;
use crate::exchange::equivalence::{self, shown};
use crate::exchange::kind::type_name;
use crate::named_queue::{QueueKind, QueueOverflow};
use crate::policy::wishes::{DeliveryLimit, Wishes, max_age_ms, overflow, retry_condition};
use crate::refusal::Refusal;

/// Ten years in milliseconds: the longest time to live.
pub(crate) const LONGEST_MS: i64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// Longest name and routing key, in bytes: a short string of AMQP.
pub(crate) const LONGEST_NAME: usize = 255;

/// To which kinds of queues an argument means something.
#[derive(Clone, Copy)]
enum For {
    /// Classic and quorum queues.
    Messages,
    Classic,
    Quorum,
    Stream,
    All,
}

/// Every argument that means something to queues of some kind, in the order in which RabbitMQ compares them.
const KNOWN: [(&str, For); 27] = [
    ("x-expires", For::Messages),
    ("x-message-ttl", For::Messages),
    ("x-dead-letter-exchange", For::Messages),
    ("x-dead-letter-routing-key", For::Messages),
    ("x-max-length", For::Messages),
    ("x-max-length-bytes", For::All),
    ("x-max-in-memory-length", For::Quorum),
    ("x-max-in-memory-bytes", For::Quorum),
    ("x-max-priority", For::Classic),
    ("x-overflow", For::Messages),
    ("x-queue-mode", For::Classic),
    ("x-queue-version", For::Classic),
    ("x-single-active-consumer", For::Messages),
    ("x-delivery-limit", For::Messages),
    ("x-delayed-retry-type", For::Messages),
    ("x-delayed-retry-min", For::Messages),
    ("x-delayed-retry-max", For::Messages),
    ("x-consumer-timeout", For::All),
    ("x-dead-letter-strategy", For::Quorum),
    ("x-quorum-initial-group-size", For::Quorum),
    ("x-quorum-target-group-size", For::Quorum),
    ("x-max-age", For::Stream),
    ("x-stream-max-segment-size-bytes", For::Stream),
    ("x-stream-filter-size-bytes", For::Stream),
    ("x-initial-cluster-size", For::Stream),
    ("x-queue-leader-locator", For::All),
    ("x-queue-master-locator", For::Classic),
];

/// Whether an argument for these queues means something to one of this kind.
fn concerns(whom: For, kind: QueueKind) -> bool {
    match (whom, kind) {
        (For::All, _)
        | (For::Classic, QueueKind::Classic)
        | (For::Quorum, QueueKind::Quorum)
        | (For::Stream, QueueKind::Stream) => true,
        (For::Messages, kind) => kind != QueueKind::Stream,
        _ => false,
    }
}

/// The name of a kind in `x-queue-type`.
#[must_use]
pub const fn kind_name(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
        QueueKind::Stream => "stream",
    }
}

/// The kind that arguments ask for; `Err` with the reason if there is none.
fn parse_kind(arguments: &Table<'_>) -> Result<QueueKind, String> {
    match arguments.get("x-queue-type") {
        None => Ok(QueueKind::Classic),
        Some(Value::LongStr(name)) => match name {
            b"classic" => Ok(QueueKind::Classic),
            b"quorum" => Ok(QueueKind::Quorum),
            b"stream" => Ok(QueueKind::Stream),
            other => Err(format!("\"unsupported queue type '{}'\"", String::from_utf8_lossy(other))),
        },
        Some(other) => Err(unacceptable(&other)),
    }
}

/// The kind that the arguments of a queue that exists ask for.
#[must_use]
pub fn kind_of(arguments: &Table<'_>) -> QueueKind {
    parse_kind(arguments).unwrap_or_default()
}

/// Judges the arguments of a new queue. `what` names it for texts: `queue 'q' in vhost '/'`.
///
/// # Errors
/// 406 in RabbitMQ's words.
pub(crate) fn check(what: &str, arguments: &Table<'_>) -> Result<QueueKind, Refusal> {
    let invalid = |name: &str, why: String| {
        Refusal::precondition_failed(format!("invalid arg '{name}' for {what}: {why}"))
    };
    let kind = parse_kind(arguments).map_err(|why| invalid("x-queue-type", why))?;
    Deduplication::parse(false, arguments)?;
    for (name, _) in KNOWN {
        let Some(value) = arguments.get(name) else { continue };
        check_value(name, &value, arguments).map_err(|why| invalid(name, why))?;
    }
    let is_foreign = |(name, whom): &(&str, For)| !concerns(*whom, kind) && arguments.get(name).is_some();
    if let Some((name, _)) = KNOWN.into_iter().find(is_foreign) {
        return Err(Refusal::precondition_failed(format!(
            "invalid arg '{name}' for {what} of queue type rabbit_{}_queue",
            kind_name(kind)
        )));
    }
    Ok(kind)
}

/// Judges what else a queue of this kind is declared as.
///
/// # Errors
/// 406 in RabbitMQ's words.
pub(crate) fn check_properties(
    kind: QueueKind,
    what: &str,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
) -> Result<(), Refusal> {
    if kind == QueueKind::Classic {
        return Ok(());
    }
    let wrong = [(auto_delete, "auto-delete"), (exclusive, "exclusive"), (!durable, "non-durable")];
    match wrong.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, property)) => {
            Err(Refusal::precondition_failed(format!("invalid property '{property}' for {what}")))
        }
        None => Ok(()),
    }
}

/// Compares the arguments of a queue that exists with those it is declared with again.
///
/// # Errors
/// 406 in RabbitMQ's words.
pub(crate) fn compare(
    what: &str,
    kind: QueueKind,
    received: &Table<'_>,
    current: &Table<'_>,
) -> Result<(), Refusal> {
    let kinds = [received, current].map(|arguments| match parse_kind(arguments) {
        Ok(kind) => kind_name(kind).to_owned(),
        Err(_) => arguments.get("x-queue-type").map(|value| shown(&value)).unwrap_or_default(),
    });
    for (name, _) in KNOWN.into_iter().filter(|(_, whom)| concerns(*whom, kind)) {
        equivalence::argument(name, what, received, current)?;
    }
    let [received, current] = kinds;
    equivalence::field("x-queue-type", what, received, current)
}

fn unacceptable(value: &Value<'_>) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}

fn integer(value: &Value<'_>) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("\"expected integer, got {}\"", type_name(value)))
}

fn text<'a>(value: &Value<'a>) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| unacceptable(value))
}

fn natural(value: &Value<'_>) -> Result<i64, String> {
    match integer(value)? {
        negative if negative < 0 => Err(format!("{{value_negative,{negative}}}")),
        natural => Ok(natural),
    }
}

fn duration(value: &Value<'_>) -> Result<i64, String> {
    match natural(value)? {
        long if long > LONGEST_MS => Err(format!("{{value_too_big,{long}}}")),
        short => Ok(short),
    }
}

fn positive_duration(value: &Value<'_>) -> Result<i64, String> {
    match duration(value)? {
        0 => Err("{value_zero,0}".to_owned()),
        positive => Ok(positive),
    }
}

/// Judges one argument; the error is the reason as RabbitMQ shows it.
pub(crate) fn check_value(name: &str, value: &Value<'_>, arguments: &Table<'_>) -> Result<(), String> {
    let one_of = |known: bool, why: &str| if known { Ok(()) } else { Err(why.to_owned()) };
    match name {
        "x-expires" => positive_duration(value).map(drop),
        "x-message-ttl" => duration(value).map(drop),
        "x-dead-letter-exchange" => text(value).map(drop),
        "x-dead-letter-routing-key" => {
            // It becomes a routing key, which is a short string.
            if text(value)?.len() > LONGEST_NAME {
                return Err("value_too_long".to_owned());
            }
            one_of(arguments.get("x-dead-letter-exchange").is_some(), "routing_key_but_no_dlx_defined")
        }
        "x-max-priority" => match natural(value)? {
            high if high > 255 => Err(format!("{{max_value_exceeded,{high}}}")),
            _ => Ok(()),
        },
        "x-overflow" => one_of(overflow(text(value)?).is_some(), "invalid_overflow"),
        "x-queue-mode" => one_of(["default", "lazy"].contains(&text(value)?), "invalid_queue_mode"),
        "x-queue-version" => match integer(value)? {
            1 | 2 => Ok(()),
            other => Err(format!("{{unsupported_queue_version,{other}}}")),
        },
        "x-single-active-consumer" => match value {
            Value::Bool(_) => Ok(()),
            other => Err(unacceptable(other)),
        },
        "x-max-age" => one_of(max_age_ms(text(value)?).is_some(), "invalid_max_age"),
        "x-dead-letter-strategy" => {
            one_of(["at-most-once", "at-least-once"].contains(&text(value)?), "invalid_dlx_strategy")
        }
        "x-delayed-retry-type" => {
            let kind = text(value)?;
            one_of(kind == "disabled" || retry_condition(kind).is_some(), "invalid_delayed_retry_type")
        }
        "x-delayed-retry-min" | "x-delayed-retry-max" | "x-consumer-timeout" => duration(value).map(drop),
        "x-delivery-limit" => integer(value).map(drop),
        "x-queue-master-locator" | "x-queue-leader-locator" => text(value).map(drop),
        _ => natural(value).map(drop),
    }
}

/// What arguments wish, that were judged.
pub(crate) fn wishes(arguments: &Table<'_>) -> Wishes {
    let natural = |name: &str| {
        arguments.get(name).and_then(|value| value.as_i64()).and_then(|value| u64::try_from(value).ok())
    };
    let text = |name: &str| arguments.get(name).and_then(|value| value.as_str());
    let arc = |name: &str| text(name).map(Arc::<str>::from);
    Wishes {
        message_ttl_ms: natural("x-message-ttl"),
        expires_ms: natural("x-expires"),
        max_length: natural("x-max-length"),
        max_length_bytes: natural("x-max-length-bytes"),
        overflow: text("x-overflow").and_then(overflow),
        max_priority: natural("x-max-priority").and_then(|value| u8::try_from(value).ok()),
        single_active: arguments.get("x-single-active-consumer").map(|value| value == Value::Bool(true)),
        dead_letter_exchange: arc("x-dead-letter-exchange"),
        dead_letter_key: arc("x-dead-letter-routing-key"),
        delivery_limit: arguments
            .get("x-delivery-limit")
            .and_then(|value| value.as_i64())
            .map(DeliveryLimit::from_number),
        retry_type: text("x-delayed-retry-type").map(retry_condition),
        retry_min_ms: natural("x-delayed-retry-min"),
        retry_max_ms: natural("x-delayed-retry-max"),
        consumer_timeout_ms: natural("x-consumer-timeout"),
        max_age_ms: text("x-max-age").and_then(max_age_ms),
        segment_bytes: natural("x-stream-max-segment-size-bytes"),
    }
}

/// Whether an overflow that only classic queues have was asked for by another kind.
pub(crate) fn overflow_for(kind: QueueKind, wished: QueueOverflow) -> QueueOverflow {
    match kind {
        QueueKind::Stream => QueueOverflow::DropHead,
        QueueKind::Classic | QueueKind::Quorum => wished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::field::TableBuf;

    const WHAT: &str = "queue 'q' in vhost '/'";

    fn table(fields: &[(&str, Value<'_>)]) -> TableBuf {
        let mut table = TableBuf::new();
        for (name, value) in fields {
            table.put(name, *value).expect("short");
        }
        table
    }

    fn refused(fields: &[(&str, Value<'_>)]) -> Option<String> {
        check(WHAT, &table(fields).as_table()).err().map(|refusal| refusal.text)
    }

    #[test]
    fn arguments_are_refused_in_rabbitmqs_words() {
        let int = Value::I32;
        let dlx = ("x-dead-letter-exchange", Value::from("d"));
        let long = "k".repeat(256);
        for (fields, why) in [
            (vec![("x-expires", int(0))], "'x-expires' for W: {value_zero,0}"),
            (vec![("x-expires", int(-1))], "'x-expires' for W: {value_negative,-1}"),
            (vec![("x-expires", Value::from("5"))], "'x-expires' for W: \"expected integer, got longstr\""),
            (vec![("x-message-ttl", int(-1))], "'x-message-ttl' for W: {value_negative,-1}"),
            (
                vec![("x-message-ttl", Value::I64(LONGEST_MS + 1))],
                "'x-message-ttl' for W: {value_too_big,315360000001}",
            ),
            (
                vec![("x-dead-letter-exchange", int(1))],
                "'x-dead-letter-exchange' for W: {unacceptable_type,signedint}",
            ),
            (
                vec![("x-dead-letter-routing-key", Value::from("k"))],
                "'x-dead-letter-routing-key' for W: routing_key_but_no_dlx_defined",
            ),
            (
                vec![dlx, ("x-dead-letter-routing-key", Value::from(&*long))],
                "'x-dead-letter-routing-key' for W: value_too_long",
            ),
            (
                vec![dlx, ("x-dead-letter-routing-key", Value::Bool(true))],
                "'x-dead-letter-routing-key' for W: {unacceptable_type,bool}",
            ),
            (vec![("x-max-length", int(-3))], "'x-max-length' for W: {value_negative,-3}"),
            (
                vec![("x-max-length", Value::F64(1.0))],
                "'x-max-length' for W: \"expected integer, got double\"",
            ),
            (vec![("x-max-priority", int(256))], "'x-max-priority' for W: {max_value_exceeded,256}"),
            (vec![("x-overflow", Value::from("x"))], "'x-overflow' for W: invalid_overflow"),
            (vec![("x-queue-mode", Value::from("x"))], "'x-queue-mode' for W: invalid_queue_mode"),
            (
                vec![("x-single-active-consumer", Value::from("true"))],
                "'x-single-active-consumer' for W: {unacceptable_type,longstr}",
            ),
            (
                vec![("x-queue-type", Value::from("x"))],
                "'x-queue-type' for W: \"unsupported queue type 'x'\"",
            ),
            (
                vec![("x-queue-type", Value::from("stream")), ("x-max-age", Value::from("1w"))],
                "'x-max-age' for W: invalid_max_age",
            ),
            (vec![("x-max-age", Value::from("1h"))], "'x-max-age' for W of queue type rabbit_classic_queue"),
            (
                vec![("x-queue-type", Value::from("quorum")), ("x-max-priority", int(3))],
                "'x-max-priority' for W of queue type rabbit_quorum_queue",
            ),
            (
                vec![("x-queue-type", Value::from("stream")), ("x-message-ttl", int(3))],
                "'x-message-ttl' for W of queue type rabbit_stream_queue",
            ),
        ] {
            let expected = format!("invalid arg {}", why.replace('W', WHAT));
            assert_eq!(refused(&fields), Some(expected), "{fields:?}");
        }
    }

    #[test]
    fn what_is_right_or_unknown_is_accepted() {
        for fields in [
            vec![],
            vec![("x-foo", Value::from("bar"))],
            vec![("x-message-ttl", Value::I32(0))],
            vec![("x-message-ttl", Value::I64(LONGEST_MS))],
            vec![("x-max-length", Value::U8(0)), ("x-max-priority", Value::U8(255))],
            vec![("x-delivery-limit", Value::I32(-1)), ("x-delayed-retry-type", Value::from("failed"))],
            vec![("x-queue-type", Value::from("classic")), ("x-queue-mode", Value::from("lazy"))],
        ] {
            assert_eq!(refused(&fields), None, "{fields:?}");
        }
    }

    #[test]
    fn some_kinds_have_to_be_durable_and_shared() {
        let check = |durable, exclusive, auto_delete| {
            check_properties(QueueKind::Quorum, WHAT, durable, exclusive, auto_delete).err().map(|e| e.text)
        };
        assert_eq!(check(true, false, false), None);
        let refused = |property| Some(format!("invalid property '{property}' for {WHAT}"));
        assert_eq!(check(false, false, false), refused("non-durable"));
        assert_eq!(check(false, true, false), refused("exclusive"));
        assert_eq!(check(false, true, true), refused("auto-delete"));
        assert!(check_properties(QueueKind::Classic, WHAT, false, true, true).is_ok());
    }

    #[test]
    fn only_known_arguments_are_compared() {
        let compared = |received: &[(&str, Value<'_>)], current: &[(&str, Value<'_>)]| {
            let (received, current) = (table(received), table(current));
            let (received, current) = (received.as_table(), current.as_table());
            compare(WHAT, kind_of(&current), &received, &current).err().map(|refusal| refusal.text)
        };
        assert_eq!(compared(&[("x-foo", Value::I32(1))], &[]), None);
        assert_eq!(compared(&[("x-queue-type", Value::from("classic"))], &[]), None);
        assert_eq!(
            compared(&[("x-queue-type", Value::from("quorum"))], &[]),
            Some(format!(
                "inequivalent arg 'x-queue-type' for {WHAT}: received 'quorum' but current is 'classic'"
            ))
        );
        assert_eq!(
            compared(&[("x-max-length", Value::I32(1))], &[]),
            Some(format!(
                "inequivalent arg 'x-max-length' for {WHAT}: received the value '1' of type 'signedint' but current is none"
            ))
        );
        let wide = [("x-max-length", Value::I64(1))];
        assert_eq!(compared(&[("x-max-length", Value::U8(1))], &wide), None);
    }
}
