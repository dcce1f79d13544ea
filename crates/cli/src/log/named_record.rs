//! Records of exchanges, queues and bindings, as fields with names; arguments are shown as what they say.

use serde_json::{Map, Value, json};
use tercet_amqp::field::{self, Table};
use tercet_broker::record::{
    BindingDestination, BindingKey, DuplicateScope, ExchangeDeclaration, NamedQueueRecord, QueueDeclaration,
};

use super::record::{reason_in_words, stored_fields, time};
use crate::pubsub::base64;

/// Tables within tables that are looked into.
const DEPTH: u8 = 32;

pub(super) fn scope_field(scope: &DuplicateScope) -> (&'static str, Value) {
    match scope {
        DuplicateScope::Exchange(name) => ("exchange", json!(**name)),
        DuplicateScope::Queue(id) => ("queue", json!(id.0)),
    }
}

pub(super) fn declaration_fields(declared: &QueueDeclaration) -> Vec<(&'static str, Value)> {
    let mut fields = vec![("name", json!(*declared.name))];
    if declared.auto_delete {
        fields.push(("auto-delete", json!(true)));
    }
    fields.extend(arguments_field(&declared.arguments));
    fields
}

pub(super) fn exchange_fields(declared: &ExchangeDeclaration) -> Vec<(&'static str, Value)> {
    let mut fields = vec![("name", json!(*declared.name)), ("type", json!(*declared.kind))];
    if declared.auto_delete {
        fields.push(("auto-delete", json!(true)));
    }
    if declared.internal {
        fields.push(("internal", json!(true)));
    }
    fields.extend(arguments_field(&declared.arguments));
    fields
}

pub(super) fn binding_fields(binding: &BindingKey) -> Vec<(&'static str, Value)> {
    let destination = match &binding.destination {
        BindingDestination::Queue(name) => ("queue", json!(**name)),
        BindingDestination::Exchange(name) => ("exchange", json!(**name)),
    };
    let mut fields = vec![("source", json!(*binding.source)), destination, ("key", json!(*binding.key))];
    fields.extend(arguments_field(&binding.arguments));
    fields
}

pub(super) fn named_queue_fields(record: &NamedQueueRecord) -> Vec<(&'static str, Value)> {
    match record {
        NamedQueueRecord::Declared(declared) => declaration_fields(declared),
        NamedQueueRecord::Deleted => Vec::new(),
        NamedQueueRecord::Enqueued { sequence, entry, deadline_ms, priority } => {
            let mut fields = vec![("sequence", json!(sequence))];
            if *priority > 0 {
                fields.push(("priority", json!(priority)));
            }
            fields.extend(deadline_ms.map(|at| ("expires", time(at.get()))));
            fields.extend(stored_fields(&entry.body));
            fields
        }
        NamedQueueRecord::Settled { sequence, reason } => {
            vec![("sequence", json!(sequence)), ("reason", reason_in_words(*reason))]
        }
        NamedQueueRecord::SettledRun { first, count, reason } => {
            vec![("first", json!(first)), ("count", json!(count)), ("reason", reason_in_words(*reason))]
        }
        NamedQueueRecord::Returned { sequence, deliveries, not_before_ms } => {
            let mut fields = vec![("sequence", json!(sequence)), ("deliveries", json!(deliveries))];
            fields.extend(not_before_ms.map(|at| ("not-before", time(at.get()))));
            fields
        }
        NamedQueueRecord::Paused(paused) => vec![("paused", json!(paused))],
    }
}

fn arguments_field(arguments: &[u8]) -> Option<(&'static str, Value)> {
    if arguments.is_empty() {
        return None;
    }
    let value = match Table::parse(arguments, DEPTH) {
        Ok(table) => table_fields(&table),
        Err(_) => json!(base64(arguments)),
    };
    Some(("arguments", value))
}

fn table_fields(table: &Table<'_>) -> Value {
    let fields =
        table.iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), in_json(&value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn in_json(value: &field::Value<'_>) -> Value {
    match value {
        field::Value::Bool(value) => json!(value),
        field::Value::F32(value) => json!(value),
        field::Value::F64(value) => json!(value),
        field::Value::Decimal { scale, value } => json!(f64::from(*value) / 10_f64.powi(i32::from(*scale))),
        field::Value::Timestamp(seconds) => time(seconds.saturating_mul(1000)),
        field::Value::LongStr(bytes) => match value.as_str() {
            Some(text) => json!(text),
            None => json!(base64(bytes)),
        },
        field::Value::Bytes(bytes) => json!(base64(bytes)),
        field::Value::Array(values) => values.iter().map(|value| in_json(&value)).collect(),
        field::Value::Table(table) => table_fields(table),
        other => json!(other.as_i64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercet_amqp::field::TableBuf;

    #[test]
    fn arguments_are_shown_as_what_they_say() {
        let mut table = TableBuf::default();
        table.put("x-max-length", 10_i32).unwrap().put("x-queue-type", "quorum").unwrap();
        let (_, shown) = arguments_field(table.as_table().as_bytes()).unwrap();
        assert_eq!(shown, json!({"x-max-length": 10, "x-queue-type": "quorum"}));
        assert_eq!(arguments_field(b""), None);
        assert_eq!(arguments_field(b"\xff"), Some(("arguments", json!(base64(b"\xff")))));
    }
}
