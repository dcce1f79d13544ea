//! Packet identifiers: who may reuse which, and when.

use std::collections::HashSet;

use tercet_interop::packet::{ack, subscribe, unsubscribe};
use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Wire};

#[test]
fn the_two_directions_have_identifiers_of_their_own() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    wire.subscribe("t", 1);
    wire.send(&Publish::new("t", "x").qos(1).id(1).encode(Version::V5));
    assert!(matches!(wire.answer(), Packet::Puback(ack) if ack.id == 1));
    let publish = wire.receive_publish();
    wire.send(&Publish::new("u", "y").qos(1).id(publish.id).encode(Version::V5));
    assert!(matches!(wire.answer(), Packet::Puback(ack) if ack.id == publish.id));
    wire.acknowledge(&publish);
    wire.ping();
}

#[test]
fn identifiers_in_flight_are_distinct_and_never_zero() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
    subscriber.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for n in 0..500_u16 {
        publisher.send(&Publish::new("t", n.to_string()).qos(1).id(n + 1).encode(Version::V311));
    }
    let ids: HashSet<u16> = (0..500).map(|_| subscriber.receive_publish().id).collect();
    assert_eq!(ids.len(), 500);
    assert!(!ids.contains(&0));
}

#[test]
fn identifiers_wrap_around_without_zero() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
    subscriber.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    let total: usize = 70_000;
    let batch = 500;
    for start in (0..total).step_by(batch) {
        let mut bytes = Vec::new();
        for n in start..start + batch {
            let id = (n % 65_535 + 1) as u16;
            bytes.extend(Publish::new("t", "x").qos(1).id(id).encode(Version::V311));
        }
        publisher.send(&bytes);
        let mut acks = Vec::new();
        for _ in 0..batch {
            let publish = subscriber.receive_publish();
            acks.extend(ack(0x40, publish.id));
        }
        subscriber.send(&acks);
        for _ in 0..batch {
            assert!(matches!(publisher.receive(), Packet::Puback(_)));
        }
    }
}

#[test]
fn subscribe_and_unsubscribe_answer_with_the_identifier_they_got() {
    let broker = Broker::start();
    for version in Version::ALL {
        let mut wire = Wire::connect(&broker, &Connect::new(version, "c"));
        for id in [1, 255, 256, 65_535] {
            wire.send(&subscribe(version, id, &Properties::new(), &[("t", 0)]));
            assert!(matches!(wire.receive(), Packet::Suback(seen, _, _) if seen == id));
            wire.send(&unsubscribe(version, id, &["t"]));
            assert!(matches!(wire.receive(), Packet::Unsuback(seen, _, _) if seen == id));
        }
        wire.disconnect();
    }
}

#[test]
fn a_qos_1_identifier_may_be_reused_at_once() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    for _ in 0..5 {
        wire.send(&Publish::new("t", "x").qos(1).id(42).encode(Version::V5));
        assert!(matches!(wire.receive(), Packet::Puback(ack) if ack.id == 42));
    }
}

/// An acknowledgement of the wrong kind must not release the message.
#[test]
fn an_acknowledgement_of_the_wrong_kind_releases_nothing() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    subscriber.subscribe("t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    publisher.publish(Publish::new("t", "x").qos(2));
    let publish = subscriber.receive_publish();
    // A broker may close for it, or ignore it.
    subscriber.send(&ack(0x40, publish.id));
    drop(subscriber);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    let again = subscriber.take_publish();
    assert_eq!((again.text().as_str(), again.id), ("x", publish.id));
}
