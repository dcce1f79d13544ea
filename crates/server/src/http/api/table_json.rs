//! Arguments between field tables and JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value as Json, json};
use tercet_amqp::field::{ArrayBuf, Table, TableBuf, Value};

use super::problem::Problem;

/// Deepest nesting that is shown or taken.
const DEPTH: u8 = 16;

/// Shows the fields of an encoded table.
pub(super) fn show_encoded(fields: &[u8]) -> Json {
    Table::parse(fields, DEPTH).map_or(Json::Null, show)
}

/// Shows a table. Bytes that are no text are shown as `{"base64": ...}`.
pub(super) fn show(table: Table<'_>) -> Json {
    let member =
        |(name, value): (&[u8], Value<'_>)| (String::from_utf8_lossy(name).into_owned(), shown(value));
    Json::Object(table.iter().map(member).collect())
}

fn shown(value: Value<'_>) -> Json {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::F32(number) => json!(number),
        Value::F64(number) => json!(number),
        Value::Decimal { scale, value } => json!(f64::from(value) / 10_f64.powi(i32::from(scale))),
        Value::LongStr(bytes) => std::str::from_utf8(bytes).map_or_else(|_| encoded(bytes), Json::from),
        Value::Bytes(bytes) => encoded(bytes),
        Value::Array(array) => Json::Array(array.iter().map(shown).collect()),
        Value::Timestamp(seconds) => json!(seconds),
        Value::Table(table) => show(table),
        other => other.as_i64().map_or(Json::Null, Json::from),
    }
}

/// Bytes that are no text.
pub(super) fn encoded(bytes: &[u8]) -> Json {
    json!({ "base64": BASE64.encode(bytes) })
}

/// Makes a table of a JSON object.
pub(super) fn table(members: &Map<String, Json>) -> Result<TableBuf, Problem> {
    fill(members, DEPTH).ok_or_else(|| {
        Problem::bad_request(
            "the arguments cannot be written as a field table",
            "names have at most 255 bytes",
        )
    })
}

fn fill(members: &Map<String, Json>, depth: u8) -> Option<TableBuf> {
    let depth = depth.checked_sub(1)?;
    let mut table = TableBuf::new();
    for (name, value) in members {
        let put = match value {
            Json::Null => table.put(name, Value::Void),
            Json::Bool(flag) => table.put(name, *flag),
            Json::Number(number) => table.put(name, numeric(number)?),
            Json::String(text) => table.put(name, text.as_str()),
            Json::Array(values) => table.put(name, array(values, depth)?.as_array()),
            Json::Object(members) => table.put(name, fill(members, depth)?.as_table()),
        };
        put.ok()?;
    }
    Some(table)
}

fn array(values: &[Json], depth: u8) -> Option<ArrayBuf> {
    let depth = depth.checked_sub(1)?;
    let mut filled = ArrayBuf::new();
    for value in values {
        let pushed = match value {
            Json::Null => filled.push(Value::Void),
            Json::Bool(flag) => filled.push(*flag),
            Json::Number(number) => filled.push(numeric(number)?),
            Json::String(text) => filled.push(text.as_str()),
            Json::Array(values) => filled.push(array(values, depth)?.as_array()),
            Json::Object(members) => filled.push(fill(members, depth)?.as_table()),
        };
        pushed.ok()?;
    }
    Some(filled)
}

fn numeric(number: &serde_json::Number) -> Option<Value<'static>> {
    number.as_i64().map(Value::I64).or_else(|| number.as_f64().map(Value::F64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_through_a_table_and_back() {
        let given = json!({"x-max-length": 10, "x-overflow": "reject-publish", "deep": {"a": [1, "b", [true]]},
            "f": 1.5, "n": null, "neg": -3});
        let members = given.as_object().unwrap();
        assert_eq!(show(table(members).unwrap().as_table()), given);
        let mut deep = json!(1);
        for _ in 0..20 {
            deep = json!({ "d": deep });
        }
        assert!(table(deep.as_object().unwrap()).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_base64() {
        let mut table = TableBuf::new();
        table.put("b", Value::LongStr(b"\xff\x00")).unwrap().put("t", Value::Timestamp(7)).unwrap();
        assert_eq!(show(table.as_table()), json!({"b": {"base64": "/wA="}, "t": 7}));
        assert_eq!(show_encoded(b"\xff"), Json::Null);
    }
}
