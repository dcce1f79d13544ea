//! Receive Maximum both ways (§3.3.4, §4.9): how many QoS 1 and 2 messages may be on their way.

use tercet_interop::packet::ack;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire, id};

#[test]
fn the_broker_keeps_to_the_clients_receive_maximum() {
    let broker = Broker::start();
    for qos in [1, 2] {
        let mut subscriber = Wire::connect(&broker, &Connect::v5("s").number(id::RECEIVE_MAXIMUM, 3));
        subscriber.subscribe("t", qos);
        let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
        for n in 0..10 {
            publisher.publish(Publish::new("t", n.to_string()).qos(qos));
        }
        let mut window: Vec<Publish> = (0..3).map(|_| subscriber.receive_publish()).collect();
        subscriber.ping();
        for n in 3..10 {
            let first = window.remove(0);
            subscriber.acknowledge(&first);
            let next = subscriber.receive_publish();
            assert_eq!(next.text(), n.to_string(), "QoS {qos}");
            window.push(next);
            subscriber.ping();
        }
        subscriber.disconnect();
    }
}

#[test]
fn qos_0_is_not_held_back_by_a_full_window() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").number(id::RECEIVE_MAXIMUM, 1));
    subscriber.subscribe("t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "one").qos(1));
    publisher.publish(Publish::new("t", "two").qos(1));
    publisher.publish(Publish::new("t", "zero"));
    let first = subscriber.receive_publish();
    assert_eq!(first.text(), "one");
    assert_eq!(subscriber.receive_publish().text(), "zero");
    subscriber.acknowledge(&first);
    assert_eq!(subscriber.take().1, "two");
}

/// A QoS 2 message keeps its place until PUBCOMP, not until PUBREC.
#[test]
fn pubrec_does_not_free_a_place() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").number(id::RECEIVE_MAXIMUM, 1));
    subscriber.subscribe("t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "1").qos(2));
    publisher.publish(Publish::new("t", "2").qos(2));
    let first = subscriber.receive_publish();
    subscriber.send(&ack(0x50, first.id));
    assert!(matches!(subscriber.receive(), Packet::Pubrel(_)));
    subscriber.ping();
    subscriber.send(&ack(0x70, first.id));
    assert_eq!(subscriber.take().1, "2");
}

const SMALL: &str = r#"
[[listener]]
name = "small"
bind = "127.0.0.1:0"
receive-maximum = 4
[[listener]]
name = "tolerant"
bind = "127.0.0.1:0"
receive-maximum = 4
receive-maximum-policy = "tolerate"
"#;

#[test]
fn our_receive_maximum_is_told_and_enforced_with_0x93() {
    let broker = Broker::configured(SMALL);
    let (mut wire, _, properties) =
        Wire::open(broker.address("small"), Version::V5).handshake(&Connect::v5("c"));
    assert_eq!(properties.get_number(id::RECEIVE_MAXIMUM), Some(4));
    for n in 1..=4 {
        wire.send(&Publish::new("t", "x").qos(2).id(n).encode(Version::V5));
        assert!(matches!(wire.receive(), Packet::Pubrec(_)));
    }
    wire.send(&Publish::new("t", "x").qos(2).id(5).encode(Version::V5));
    wire.expect_disconnect(0x93);
}

#[test]
fn a_window_that_is_freed_can_be_filled_again() {
    let broker = Broker::configured(SMALL);
    let mut wire = Wire::connect_at(broker.address("small"), &Connect::v5("c"));
    for round in 0..5 {
        for n in 1..=4 {
            wire.send(&Publish::new("t", "x").qos(2).id(n).encode(Version::V5));
            assert!(matches!(wire.receive(), Packet::Pubrec(_)), "round {round}");
        }
        for n in 1..=4 {
            wire.send(&ack(0x62, n));
            assert!(matches!(wire.receive(), Packet::Pubcomp(_)));
        }
    }
}

#[test]
fn the_window_counts_again_from_nothing_after_reconnect() {
    let broker = Broker::configured(SMALL);
    let mut wire = Wire::connect_at(broker.address("small"), &Connect::v5("c").durable());
    for n in 1..=4 {
        wire.send(&Publish::new("t", "x").qos(2).id(n).encode(Version::V5));
        assert!(matches!(wire.receive(), Packet::Pubrec(_)));
    }
    drop(wire);
    // The same packets again, as [MQTT-4.4.0-1] asks of the client.
    let mut wire = Wire::connect_at(broker.address("small"), &Connect::v5("c").durable());
    for n in 1..=4 {
        wire.send(&Publish::new("t", "x").qos(2).id(n).dup().encode(Version::V5));
        assert!(matches!(wire.receive(), Packet::Pubrec(_)));
    }
}

#[test]
fn tolerate_lets_the_client_wait_instead() {
    let broker = Broker::configured(SMALL);
    for connect in [Connect::v5("c"), Connect::v311("c")] {
        let listener = if connect.version == Version::V5 { "tolerant" } else { "small" };
        let mut wire = Wire::connect_at(broker.address(listener), &connect);
        for n in 1..=6 {
            wire.send(&Publish::new("t", "x").qos(2).id(n).encode(connect.version));
        }
        for n in 1..=4 {
            assert!(matches!(wire.receive(), Packet::Pubrec(ack) if ack.id == n));
        }
        for n in 1..=6 {
            wire.send(&ack(0x62, n));
        }
        let mut done = Vec::new();
        let mut received = 4;
        while done.len() < 6 || received < 6 {
            match wire.receive() {
                Packet::Pubcomp(ack) => done.push(ack.id),
                Packet::Pubrec(_) => received += 1,
                other => panic!("{other:?}"),
            }
        }
        wire.ping();
        wire.disconnect();
    }
}

/// CVE-2023-28366: QoS 2 messages that are never released must stay bounded and disturb nobody.
#[test]
fn a_flood_of_unreleased_qos_2_is_bounded_and_disturbs_nobody() {
    let mut broker = Broker::start();
    let mut retained = Wire::connect(&broker, &Connect::v311("r"));
    retained.publish(Publish::new("kept", "value").qos(1).retain());
    let mut flood = Wire::connect(&broker, &Connect::v5("flood"));
    for n in 1..=2000_u16 {
        if flood.try_send(&Publish::new("f", "x").qos(2).id(n).encode(Version::V5)).is_err() {
            break;
        }
    }
    let mut received = 0;
    loop {
        match flood.next_packet() {
            Some(Packet::Pubrec(_)) => received += 1,
            Some(Packet::Disconnect(code, _)) => {
                assert_eq!(code, 0x93);
                break;
            }
            None => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(received <= 1024, "{received} were taken");
    let mut reader = Wire::connect(&broker, &Connect::v311("reader"));
    reader.subscribe("kept", 1);
    assert_eq!(reader.take(), ("kept".into(), "value".into()));
    broker.assert_alive();
}

/// The same identifier again and again, never released: one message.
#[test]
fn the_same_qos_2_identifier_again_is_one_message() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("f", 0);
    let mut flood = Wire::connect(&broker, &Connect::v5("flood"));
    for _ in 0..2000 {
        flood.send(&Publish::new("f", "x").qos(2).id(1).encode(Version::V5));
    }
    for _ in 0..2000 {
        assert!(matches!(flood.receive(), Packet::Pubrec(ack) if ack.id == 1));
    }
    flood.publish(Publish::new("f", "end"));
    assert_eq!(subscriber.take().1, "x");
    assert_eq!(subscriber.take().1, "end");
}
