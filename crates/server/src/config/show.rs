//! The values in effect, as TOML or JSON: `tercet config show`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::load::Loaded;
use super::schema::Entry;
use super::tables;

/// The configuration as a TOML file that gives the same configuration again; with `origins`, each line says
/// where its value was set.
pub fn to_toml(loaded: &Loaded, origins: bool) -> String {
    let mut text = String::new();
    for (path, entries) in tables::current(&loaded.config, loaded.config.own_listeners()) {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", tables::display(&path));
        for entry in entries {
            let line = match &entry.value {
                Some(value) => format!("{} = {value}", entry.key),
                None => format!("# {} is not set", entry.key),
            };
            if origins {
                let _ = writeln!(text, "{line:<48} # {}", origin(loaded, &path, &entry));
            } else {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

fn origin(loaded: &Loaded, path: &str, entry: &Entry) -> String {
    loaded.origins.of(&format!("{path}.{}", entry.key)).describe(loaded.file.as_deref())
}

/// The configuration as JSON; with `origins`, each value is `{"value": ..., "origin": "..."}`.
pub fn to_json(loaded: &Loaded, origins: bool) -> Value {
    let mut root = Map::new();
    let mut listeners: Vec<Map<String, Value>> = Vec::new();
    for (path, entries) in tables::current(&loaded.config, loaded.config.own_listeners()) {
        let mut table = Map::new();
        for entry in &entries {
            let value = entry.value.as_deref().map_or(Value::Null, json_value);
            let value =
                if origins { json!({"value": value, "origin": origin(loaded, &path, entry)}) } else { value };
            table.insert(entry.key.clone(), value);
        }
        let parts: Vec<_> = path.split('.').collect();
        match (parts.as_slice(), listeners.last_mut()) {
            (["listener", _], _) => listeners.push(table),
            (["listener", _, nested], Some(listener)) => {
                listener.insert((*nested).to_owned(), Value::Object(table));
            }
            _ => {
                root.insert(path, Value::Object(table));
            }
        }
    }
    root.insert("listener".into(), listeners.into_iter().map(Value::Object).collect());
    Value::Object(root)
}

/// A TOML literal as JSON. The schema writes only strings, numbers, booleans, lists and tables of these.
fn json_value(literal: &str) -> Value {
    let parsed = toml::from_str::<Map<String, Value>>(&format!("value = {literal}"));
    parsed
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(literal.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Flag, Sources, load};

    const TEXT: &str = "[limits]\noutbox = \"1MiB\"\n[log]\nmodules = { mqtt = \"debug\" }\n\
        [[listener]]\nbind = \"127.0.0.1:1\"\nproxy-protocol = \"v1\"\nproxy-trusted = [\"10.0.0.0/8\"]\n\
        [listener.tls]\ncert = \"c\"\nkey = \"k\"\n";

    fn loaded(text: &str) -> Loaded {
        load(&Sources {
            file: Some(File { path: "t.toml".into(), text: text.into() }),
            env: vec![("TERCET_MQTT__MAX_QOS".into(), "1".into())],
            flags: vec![Flag { name: "--http", key: "listen.http", value: "off".into() }],
        })
        .unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn what_is_shown_gives_the_same_configuration_again() {
        let first = loaded(TEXT);
        let again = loaded(&to_toml(&first, false));
        assert_eq!(again.config, first.config);
        assert_eq!(loaded(&to_toml(&first, true)).config, first.config);
    }

    #[test]
    fn origins_are_shown() {
        let text = to_toml(&loaded(TEXT), true);
        let origin = |key: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{key} "))).unwrap();
            line.rsplit_once("# ").unwrap().1.to_owned()
        };
        assert_eq!(origin("outbox"), "t.toml:2:1");
        assert_eq!(origin("max-qos"), "$TERCET_MQTT__MAX_QOS");
        assert_eq!(origin("http"), "--http");
        assert_eq!(origin("data"), "default");
        assert_eq!(origin("cert"), "t.toml:10:1");
    }

    #[test]
    fn json_has_values_of_the_right_type() {
        let shown = to_json(&loaded(TEXT), false);
        assert_eq!(shown["limits"]["outbox"], json!("1MiB"));
        assert_eq!(shown["mqtt"]["max-qos"], json!(1));
        assert_eq!(shown["mqtt"]["versions"], json!(["3.1", "3.1.1", "5.0"]));
        assert_eq!(shown["server"]["ports-file"], Value::Null);
        assert_eq!(shown["log"]["modules"], json!({"mqtt": "debug"}));
        assert_eq!(shown["listener"][0]["tls"]["cert"], json!("c"));
        let with_origin = to_json(&loaded(TEXT), true);
        assert_eq!(with_origin["limits"]["outbox"], json!({"value": "1MiB", "origin": "t.toml:2:1"}));
    }
}
