//! The ports file: the real address of every listener, for whoever started the broker with port 0.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};
use tercet_server::BoundListener;
use tercet_server::config::Protocol;

/// Writes the file atomically: a reader sees all of it or nothing.
pub(super) fn write(path: &Path, listeners: &[BoundListener]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary)
        .and_then(|mut file| writeln!(file, "{}", content(listeners)))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// One key per face with the address of its default listener, or of the first that speaks it likewise,
/// and all of them by name.
fn content(listeners: &[BoundListener]) -> Value {
    let find = |name: &str, protocol: Protocol, tls: bool| {
        let default = listeners.iter().find(|listener| listener.name == name);
        let first = || listeners.iter().find(|listener| listener.protocol == protocol && listener.tls == tls);
        default.or_else(first).map(|listener| listener.address.clone())
    };
    let face = |name, protocol| find(name, protocol, false);
    let secure = |name, protocol| find(name, protocol, true);
    let all: Map<String, Value> =
        listeners.iter().map(|listener| (listener.name.clone(), listener.address.clone().into())).collect();
    json!({
        "mqtt": face("mqtt", Protocol::Mqtt),
        "amqp": face("amqp", Protocol::Amqp),
        "coap": face("coap", Protocol::Coap),
        "coap-tcp": face("coap-tcp", Protocol::CoapTcp),
        "coaps": secure("coaps", Protocol::Coap),
        "coaps-tcp": secure("coaps-tcp", Protocol::CoapTcp),
        "http": face("http", Protocol::Http),
        "listeners": all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str, protocol: Protocol, tls: bool, address: &str) -> BoundListener {
        BoundListener { name: name.into(), protocol, tls, address: address.into() }
    }

    #[test]
    fn faces_and_listeners() {
        let listeners = [
            listener("secure", Protocol::Mqtt, true, "0.0.0.0:8883"),
            listener("field", Protocol::Mqtt, false, "10.0.0.1:1883"),
            listener("ws", Protocol::Ws, false, "127.0.0.1:9001"),
            listener("amqp", Protocol::Amqp, false, "127.0.0.1:5672"),
            listener("coap", Protocol::Coap, false, "127.0.0.1:5683"),
            listener("field-coaps", Protocol::Coap, true, "127.0.0.1:5684"),
        ];
        let expected = json!({"mqtt": "10.0.0.1:1883", "amqp": "127.0.0.1:5672",
            "coap": "127.0.0.1:5683", "coap-tcp": null, "coaps": "127.0.0.1:5684", "coaps-tcp": null, "http": null,
            "listeners": {"secure": "0.0.0.0:8883", "field": "10.0.0.1:1883", "ws": "127.0.0.1:9001",
            "amqp": "127.0.0.1:5672", "coap": "127.0.0.1:5683", "field-coaps": "127.0.0.1:5684"}});
        assert_eq!(content(&listeners), expected);
    }

    #[test]
    fn the_file_replaces_an_older_one_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ports.json");
        fs::write(&path, "old").unwrap();
        write(&path, &[listener("mqtt", Protocol::Mqtt, false, "127.0.0.1:1883")]).unwrap();
        let read: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(read["mqtt"], "127.0.0.1:1883");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("missing").join("ports.json"), &[]).is_err());
    }
}
