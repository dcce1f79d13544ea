//! The control API as the commands see it.

use clap::ArgMatches;
use serde_json::{Value, json};

use super::client;
use super::connection::Connection;
use super::table::Table;
use crate::exit::Failure;
use crate::output::data;

/// The broker, and who asks it.
pub(super) struct Api {
    connection: Connection,
}

impl Api {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// What is at a path.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        client::send(&self.connection, "GET", path, None)
    }

    /// Changes what is at a path.
    pub(super) fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        client::send(&self.connection, "PUT", path, Some(body))
    }

    /// Has something done.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        client::send(&self.connection, "POST", path, Some(body))
    }

    /// Removes what is at a path.
    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        client::send(&self.connection, "DELETE", path, None)
    }

    /// Removes what the body describes.
    pub(super) fn delete_with(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        client::send(&self.connection, "DELETE", path, Some(body))
    }

    /// A whole list, page by page.
    pub(super) fn list(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut asked = format!("{path}?limit=5000");
            let fixed = query.iter().map(|(name, value)| (*name, *value));
            for (name, value) in fixed.chain(after.as_deref().map(|after| ("after", after))) {
                asked.push_str(&format!("&{name}={}", segment(value)));
            }
            let mut page = self.get(&asked)?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }
}

/// A name as one segment of a path, or as a value in a query.
pub(super) fn segment(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Prints a list: as JSON if that is asked for, else the columns of it for people.
pub(super) fn print_list(
    matches: &ArgMatches,
    items: Vec<Value>,
    columns: &[(&'static str, &'static str)],
) -> Result<(), Failure> {
    if matches.get_flag("json") {
        return data(&format!("{}\n", Value::Array(items)));
    }
    let mut table = Table::new(columns.iter().map(|(title, _)| *title));
    for item in &items {
        table.row(columns.iter().map(|(_, member)| shown(item.pointer(member).unwrap_or(&Value::Null))));
    }
    data(&table.to_string())
}

/// Prints one value: as JSON if that is asked for, else what `people` says of it.
pub(super) fn print(
    matches: &ArgMatches,
    value: &Value,
    people: impl FnOnce(&Value) -> String,
) -> Result<(), Failure> {
    if matches.get_flag("json") { data(&format!("{value}\n")) } else { data(&people(value)) }
}

/// Says that something was done: as JSON on stdout if that is asked for, else in words.
pub(super) fn done(matches: &ArgMatches, value: Value, words: &str) -> Result<(), Failure> {
    if matches.get_flag("json") {
        let value = if value.is_null() { json!({ "ok": true }) } else { value };
        return data(&format!("{value}\n"));
    }
    crate::output::talk(words);
    Ok(())
}

/// A value in a column.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => format!("{number:.1}"),
            None => number.to_string(),
        },
        Value::Array(values) if values.iter().all(Value::is_string) => {
            values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        Value::Object(members) if members.is_empty() => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_and_values_shown() {
        assert_eq!(segment("a b/c%ü"), "a%20b%2Fc%25%C3%BC");
        let cases = [
            (json!(null), "-"),
            (json!(""), "\"\""),
            (json!("x"), "x"),
            (json!(7), "7"),
            (json!(2.25), "2.2"),
            (json!(["a", "b"]), "a,b"),
            (json!({}), "-"),
            (json!({"a": 1}), "{\"a\":1}"),
        ];
        for (value, expected) in cases {
            assert_eq!(shown(&value), expected);
        }
    }
}
