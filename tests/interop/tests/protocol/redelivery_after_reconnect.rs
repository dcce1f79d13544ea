//! What was not acknowledged comes again after a reconnect: with DUP, with its identifier, in its order
//! [MQTT-4.4.0-1, MQTT-4.6.0-1].

use tercet_interop::packet::ack;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

fn fill(broker: &Broker, version: Version, qos: u8, texts: &[&str]) -> Vec<u16> {
    let mut subscriber = Wire::connect(broker, &Connect::new(version, "s").durable());
    subscriber.subscribe("t", qos);
    let mut publisher = Wire::connect(broker, &Connect::v5("p"));
    for text in texts {
        publisher.publish(Publish::new("t", text).qos(qos));
    }
    texts
        .iter()
        .map(|text| {
            let publish = subscriber.receive_publish();
            assert_eq!((publish.text().as_str(), publish.dup), (*text, false));
            publish.id
        })
        .collect()
}

#[test]
fn qos_1_comes_again_in_order() {
    for version in Version::ALL {
        let broker = Broker::start();
        let ids = fill(&broker, version, 1, &["a", "b", "c"]);
        for _ in 0..2 {
            let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s").durable());
            for (text, id) in ["a", "b", "c"].iter().zip(&ids) {
                let publish = subscriber.receive_publish();
                assert_eq!(
                    (publish.text().as_str(), publish.id, publish.dup),
                    (*text, *id, true),
                    "{version:?}"
                );
            }
        }
        let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s").durable());
        for _ in 0..3 {
            subscriber.take_publish();
        }
        subscriber.ping();
    }
}

#[test]
fn what_was_acknowledged_does_not_come_again() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    subscriber.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for text in ["a", "b", "c"] {
        publisher.publish(Publish::new("t", text).qos(1));
    }
    let list: Vec<Publish> = (0..3).map(|_| subscriber.receive_publish()).collect();
    subscriber.send(&ack(0x40, list[1].id));
    subscriber.ping();
    drop(subscriber);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    assert_eq!(subscriber.take().1, "a");
    assert_eq!(subscriber.take().1, "c");
    subscriber.ping();
}

#[test]
fn qos_2_resumes_where_it_was() {
    for version in Version::ALL {
        let broker = Broker::start();
        let ids = fill(&broker, version, 2, &["a", "b"]);
        // Nothing was said: both messages come again.
        let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s").durable());
        let first = subscriber.receive_publish();
        assert_eq!((first.id, first.dup), (ids[0], true));
        assert_eq!(subscriber.receive_publish().id, ids[1]);
        subscriber.send(&ack(0x50, ids[0]));
        assert!(matches!(subscriber.receive(), Packet::Pubrel(release) if release.id == ids[0]));
        drop(subscriber);
        // The first was received: only its PUBREL comes again, before or after the second message.
        let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s").durable());
        let mut packets = [subscriber.receive(), subscriber.receive()];
        packets.sort_by_key(|packet| matches!(packet, Packet::Publish(_)));
        assert!(matches!(&packets[0], Packet::Pubrel(release) if release.id == ids[0]), "{packets:?}");
        assert!(matches!(&packets[1], Packet::Publish(p) if p.id == ids[1] && p.dup), "{packets:?}");
        subscriber.send(&ack(0x70, ids[0]));
        subscriber.send(&ack(0x50, ids[1]));
        assert!(matches!(subscriber.receive(), Packet::Pubrel(release) if release.id == ids[1]));
        subscriber.send(&ack(0x70, ids[1]));
        subscriber.ping();
        drop(subscriber);
        let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s").durable());
        subscriber.ping();
    }
}

#[test]
fn in_flight_messages_come_before_queued_ones() {
    let broker = Broker::start();
    fill(&broker, Version::V5, 1, &["1", "2"]);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p2"));
    for text in ["3", "4"] {
        publisher.publish(Publish::new("t", text).qos(1));
    }
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").durable());
    for (text, dup) in [("1", true), ("2", true), ("3", false), ("4", false)] {
        let publish = subscriber.take_publish();
        assert_eq!((publish.text().as_str(), publish.dup), (text, dup));
    }
}

/// A 5.0 server must not resend while the connection lives [MQTT-4.4.0-1].
#[test]
fn nothing_is_resent_on_a_living_connection() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").durable().keep_alive(1));
    subscriber.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "x").qos(1));
    let publish = subscriber.receive_publish();
    for _ in 0..8 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        subscriber.ping();
    }
    subscriber.acknowledge(&publish);
    subscriber.ping();
}
