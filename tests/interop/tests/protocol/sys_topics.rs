//! `$SYS/broker/...`: there, with Mosquitto's names, read-only, out of reach of leading wildcards.

use std::collections::BTreeMap;

use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

const FAST: &str = "[server]\nsys-interval = \"1s\"\n";

fn start() -> Broker {
    if tercet_interop::broker::is_mosquitto() { Broker::start() } else { Broker::configured(FAST) }
}

#[test]
fn the_usual_names_are_there() {
    let broker = start();
    let mut wire = Wire::connect(&broker, &Connect::v311("c"));
    wire.subscribe("$SYS/#", 0);
    let mut missing = vec![
        "$SYS/broker/version",
        "$SYS/broker/uptime",
        "$SYS/broker/clients/connected",
        "$SYS/broker/clients/disconnected",
        "$SYS/broker/clients/total",
        "$SYS/broker/clients/maximum",
        "$SYS/broker/messages/received",
        "$SYS/broker/messages/sent",
        "$SYS/broker/publish/messages/received",
        "$SYS/broker/publish/messages/sent",
        "$SYS/broker/publish/messages/dropped",
        "$SYS/broker/bytes/received",
        "$SYS/broker/bytes/sent",
        "$SYS/broker/subscriptions/count",
        "$SYS/broker/retained messages/count",
        "$SYS/broker/store/messages/count",
    ];
    let mut seen = BTreeMap::new();
    let connected = |seen: &BTreeMap<String, String>| {
        seen.get("$SYS/broker/clients/connected").is_some_and(|text| text.parse::<u64>().unwrap() >= 1)
    };
    // The first values may be from before this client.
    while !missing.is_empty() || !connected(&seen) {
        let (topic, text) = wire.take();
        missing.retain(|name| *name != topic);
        seen.insert(topic, text);
    }
    assert!(!seen["$SYS/broker/version"].is_empty());
}

#[test]
fn leading_wildcards_do_not_see_them() {
    let broker = start();
    let mut wire = Wire::connect(&broker, &Connect::v311("c"));
    for filter in ["#", "+/broker/#", "+/#"] {
        wire.subscribe(filter, 0);
    }
    let mut watcher = Wire::connect(&broker, &Connect::v311("w"));
    watcher.subscribe("$SYS/broker/uptime", 0);
    // At least one round is published in between.
    for _ in 0..2 {
        watcher.take();
    }
    wire.ping();
}

#[test]
fn clients_cannot_write_them() {
    let broker = start();
    let mut watcher = Wire::connect(&broker, &Connect::v311("w"));
    watcher.subscribe("$SYS/broker/forged", 0);
    watcher.subscribe("end", 0);
    let mut old = Wire::connect(&broker, &Connect::v311("old"));
    for qos in 0..=2 {
        old.publish(Publish::new("$SYS/broker/forged", "x").qos(qos).retain());
    }
    let mut new = Wire::connect(&broker, &Connect::v5("new"));
    assert_eq!(new.publish(Publish::new("$SYS/broker/forged", "x").qos(1)), 0x87);
    assert_eq!(new.publish(Publish::new("$SYS/broker/forged", "x").qos(2)), 0x87);
    new.publish(Publish::new("$SYS/broker/forged", "x"));
    new.publish(Publish::new("end", ""));
    assert_eq!(watcher.take().0, "end");
    let mut late = Wire::connect(&broker, &Connect::v311("late"));
    late.subscribe("$SYS/broker/forged", 0);
    late.ping();
}

/// A topic of a client's own under `$` is no business of the broker's (CVE-2018-12543).
#[test]
fn other_dollar_topics_are_ordinary() {
    let mut broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    wire.subscribe("$unknown/x", 1);
    wire.publish(Publish::new("$unknown/x", "1").qos(1));
    assert_eq!(wire.take().1, "1");
    wire.send(&Publish::new("$", "1").qos(1).id(900).encode(Version::V5));
    assert!(matches!(wire.receive(), Packet::Puback(_)));
    broker.assert_alive();
}
