//! Whether something that exists is what is declared again, and the texts if it is not.

use tercet_amqp::field::{Table, Value};

use crate::exchange::headers::is_same;
use crate::exchange::kind::type_name;
use crate::refusal::Refusal;

/// A value as RabbitMQ's texts show it.
pub(crate) fn shown(value: &Value<'_>) -> String {
    match value {
        Value::LongStr(bytes) | Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Bool(value) => value.to_string(),
        Value::F32(value) => format!("{value:?}"),
        Value::F64(value) => format!("{value:?}"),
        Value::Timestamp(value) => value.to_string(),
        Value::Void => "undefined".to_owned(),
        other => other.as_i64().map_or_else(|| format!("{other:?}"), |number| number.to_string()),
    }
}

/// An argument with its type, or `none`.
fn described(value: Option<&Value<'_>>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!("the value '{}' of type '{}'", shown(value), type_name(value)),
    }
}

fn inequivalent(field: &str, what: &str, received: &str, current: &str) -> Refusal {
    Refusal::precondition_failed(format!(
        "inequivalent arg '{field}' for {what}: received {received} but current is {current}"
    ))
}

/// Compares a field that is no argument. `what` names the thing: `queue 'q' in vhost '/'`.
pub(crate) fn field(
    name: &str,
    what: &str,
    received: impl ToString,
    current: impl ToString,
) -> Result<(), Refusal> {
    let (received, current) = (received.to_string(), current.to_string());
    if received == current {
        return Ok(());
    }
    Err(inequivalent(name, what, &format!("'{received}'"), &format!("'{current}'")))
}

/// Compares one argument. Integers of any width are one type.
pub(crate) fn argument(
    name: &str,
    what: &str,
    received: &Table<'_>,
    current: &Table<'_>,
) -> Result<(), Refusal> {
    match (received.get(name), current.get(name)) {
        (None, None) => Ok(()),
        (Some(received), Some(current)) if is_same(&received, &current) => Ok(()),
        (Some(received), Some(current)) => {
            let quoted = |value| format!("'{}'", shown(&value));
            Err(inequivalent(name, what, &quoted(received), &quoted(current)))
        }
        (received, current) => {
            Err(inequivalent(name, what, &described(received.as_ref()), &described(current.as_ref())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::field::TableBuf;

    #[test]
    fn arguments_are_compared_in_rabbitmqs_words() {
        let table = |value: Option<Value<'_>>| {
            let mut table = TableBuf::new();
            if let Some(value) = value {
                table.put("x-message-ttl", value).expect("short");
            }
            table
        };
        let text = |received: Option<Value<'_>>, current: Option<Value<'_>>| {
            let (received, current) = (table(received), table(current));
            let compared = argument(
                "x-message-ttl",
                "queue 'q' in vhost '/'",
                &received.as_table(),
                &current.as_table(),
            );
            compared.err().map(|refusal| refusal.text)
        };
        let differs = |rest: &str| {
            Some(format!("inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received {rest}"))
        };
        assert_eq!(text(None, None), None);
        assert_eq!(text(Some(Value::I16(5)), Some(Value::I64(5))), None);
        assert_eq!(
            text(None, Some(Value::I32(1000))),
            differs("none but current is the value '1000' of type 'signedint'")
        );
        assert_eq!(
            text(Some(Value::from("a")), None),
            differs("the value 'a' of type 'longstr' but current is none")
        );
        assert_eq!(text(Some(Value::I32(1)), Some(Value::I64(2))), differs("'1' but current is '2'"));
        assert!(field("durable", "queue 'q' in vhost '/'", true, true).is_ok());
        assert_eq!(
            field("type", "exchange 'x' in vhost '/'", "fanout", "direct").unwrap_err().text,
            "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'"
        );
    }
}
