//! What `/metrics` says, in both formats, while a client comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use tercet_server::RunningServer;
use tercet_server::config::Durability;
use tercet_server::metrics::table::{Kind, METRICS};

use crate::client::{Answer, connect, eventually, get, http, request, start};

/// The samples of a text, by name and labels, after a look at its form.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut described = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            match (words.next().unwrap(), words.next(), words.next()) {
                ("HELP", Some(_), Some(help)) => assert!(help.ends_with('.'), "{line}"),
                ("TYPE", Some(name), Some(kind)) => {
                    assert!(["counter", "gauge", "info"].contains(&kind), "{line}");
                    assert!(described.insert(name.to_owned()), "{line}");
                }
                ("UNIT", Some(name), Some(unit)) => assert!(name.ends_with(unit), "{line}"),
                ("EOF", None, None) => assert!(text.ends_with("# EOF\n")),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(!series.contains("{}"), "{line}");
        let known = ["", "_total", "_info"]
            .iter()
            .any(|ending| name.strip_suffix(ending).is_some_and(|family| described.contains(family)));
        assert!(known, "{line} has no description");
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line} is there twice");
    }
    samples
}

fn scrape(server: &RunningServer, accept: &str) -> Answer {
    request(server, "http", &format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"))
}

#[test]
fn both_formats_hold_every_metric_of_the_table() {
    let data = tempfile::tempdir().unwrap();
    let server = start(|config| {
        config.server.durability = Durability::Os;
        config.server.data = data.path().to_path_buf();
    });
    let accepts = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let openmetrics = scrape(&server, accepts);
    assert_eq!(openmetrics.status, 200);
    assert_eq!(
        openmetrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(openmetrics.body.ends_with("# EOF\n"));
    let prometheus = scrape(&server, "*/*");
    assert_eq!(prometheus.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!prometheus.body.contains("# EOF") && !prometheus.body.contains("# UNIT"));
    let samples = parse(&openmetrics.body);
    let same: Vec<_> = parse(&prometheus.body).into_keys().collect();
    assert_eq!(samples.keys().cloned().collect::<Vec<_>>(), same);
    for metric in METRICS {
        let found = samples.keys().any(|series| series.split('{').next() == Some(metric.name));
        assert!(found, "{} is missing", metric.name);
        let (old, new) = match metric.kind {
            Kind::Counter => (format!("# TYPE {} counter\n", metric.name), "counter"),
            Kind::Gauge => (format!("# TYPE {} gauge\n", metric.name), "gauge"),
            Kind::Info => (format!("# TYPE {} gauge\n", metric.name), "info"),
        };
        assert!(prometheus.body.contains(&old), "{old}");
        assert!(openmetrics.body.contains(&format!("# TYPE {} {new}\n", metric.family())), "{}", metric.name);
    }
    let version = format!("tercet_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(samples.get(&version), Some(&1.0));
}

#[test]
fn values_follow_a_client() {
    let server = start(|config| http(config).name = "we\"ird".into());
    let value = |series: &str| {
        let text = request(&server, "we\"ird", "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").body;
        parse(&text).get(series).copied()
    };
    assert_eq!(value("tercet_listener_connections{listener=\"mqtt\"}"), Some(0.0));
    assert_eq!(value("tercet_sessions{state=\"connected\"}"), Some(0.0));
    // The name of a listener is the only text of others here.
    assert_eq!(value("tercet_listener_connections{listener=\"we\\\"ird\"}"), Some(1.0));

    let mut client = connect(&server, "mqtt");
    client.write_all(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    // SUBSCRIBE to t, PUBLISH "hello" to t at QoS 1, which comes back at QoS 0.
    client.write_all(b"\x82\x06\x00\x01\x00\x01t\x00\x32\x0a\x00\x01t\x00\x02hello").unwrap();
    client.read_exact(&mut [0; 5 + 4 + 10]).unwrap();
    let expected = [
        ("tercet_listener_connections{listener=\"mqtt\"}", 1.0),
        ("tercet_sessions{state=\"connected\"}", 1.0),
        ("tercet_subscriptions", 1.0),
        ("tercet_connects_total", 1.0),
        ("tercet_packets_received_total", 3.0),
        ("tercet_packets_sent_total", 4.0),
        ("tercet_messages_received_total", 1.0),
        ("tercet_messages_received_bytes_total", 5.0),
        ("tercet_messages_sent_total", 1.0),
        ("tercet_messages_sent_bytes_total", 5.0),
        ("tercet_received_bytes_total", 35.0),
        ("tercet_sent_bytes_total", 23.0),
    ];
    for (series, expected) in expected {
        eventually(Some(expected), || value(series));
    }
    client.write_all(b"\xe0\x00").unwrap();
    eventually(Some(0.0), || value("tercet_listener_connections{listener=\"mqtt\"}"));
    eventually(Some(0.0), || value("tercet_sessions{state=\"connected\"}"));
    eventually(Some(1.0), || value("tercet_disconnects_total"));
}

#[test]
fn only_reading_is_allowed() {
    let server = start(|_| {});
    assert_eq!(get(&server, "/metrics").status, 200);
    let answer = request(&server, "http", "PUT /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer.status, 405);
    let mut stream = connect(&server, "http");
    stream.write_all(b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("\r\n\r\n"), "{all}");
}
