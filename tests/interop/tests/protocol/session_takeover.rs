//! A second connection with the same client identifier ends the first [MQTT-3.1.4-3], also in a storm.

use std::thread;

use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Will, Wire, id};

#[test]
fn the_older_connection_is_told_0x8e_and_closed() {
    let broker = Broker::start();
    let mut old = Wire::connect(&broker, &Connect::v5("same"));
    let mut new = Wire::connect(&broker, &Connect::v5("same"));
    let properties = old.expect_disconnect(0x8E);
    assert_eq!(properties, Properties::new());
    new.ping();
}

#[test]
fn a_3x_connection_is_closed_without_a_packet() {
    let broker = Broker::start();
    for version in [Version::V31, Version::V311] {
        let mut old = Wire::connect(&broker, &Connect::new(version, "same"));
        let mut new = Wire::connect(&broker, &Connect::new(version, "same"));
        old.expect_closed();
        new.ping();
    }
}

#[test]
fn versions_take_over_from_each_other() {
    let broker = Broker::start();
    let mut old = Wire::connect(&broker, &Connect::v311("same").durable());
    old.subscribe("a/#", 1);
    let (mut new, present, _) = Wire::connect_full(&broker, &Connect::v5("same").durable());
    assert!(present, "the session is the same whatever version resumes it");
    old.expect_closed();
    let mut other = Wire::connect(&broker, &Connect::v311("other"));
    other.publish(Publish::new("a/b", "x").qos(1));
    assert_eq!(new.take(), ("a/b".into(), "x".into()));
}

#[test]
fn a_taken_over_session_keeps_its_subscriptions_and_unacknowledged_messages() {
    let broker = Broker::start();
    let mut old = Wire::connect(&broker, &Connect::v5("same").durable());
    old.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("publisher"));
    publisher.publish(Publish::new("t", "1").qos(1));
    let first = old.receive_publish();
    let (mut new, present, _) = Wire::connect_full(&broker, &Connect::v5("same").durable());
    assert!(present);
    old.expect_disconnect(0x8E);
    let again = new.take_publish();
    assert!(again.dup, "[MQTT-3.3.1-1]");
    assert_eq!((again.id, again.payload), (first.id, first.payload));
}

#[test]
fn a_clean_takeover_discards_the_session() {
    let broker = Broker::start();
    let mut old = Wire::connect(&broker, &Connect::v5("same").durable());
    old.subscribe("t", 1);
    let (mut new, present, _) = Wire::connect_full(&broker, &Connect::v5("same").expiry(3600));
    assert!(!present);
    old.expect_disconnect(0x8E);
    let mut publisher = Wire::connect(&broker, &Connect::v5("publisher"));
    publisher.publish(Publish::new("t", "gone").qos(1));
    new.subscribe("u", 0);
    publisher.publish(Publish::new("u", "here"));
    assert_eq!(new.take(), ("u".into(), "here".into()));
}

#[test]
fn takeover_sends_the_will_of_the_older_connection() {
    let broker = Broker::start();
    let mut watcher = Wire::connect(&broker, &Connect::v5("watcher"));
    watcher.subscribe("will", 0);
    for version in Version::ALL {
        let _old = Wire::connect(&broker, &Connect::new(version, "same").will(Will::new("will", "old")));
        let new = Wire::connect(&broker, &Connect::new(version, "same"));
        assert_eq!(
            watcher.take(),
            ("will".into(), "old".into()),
            "{version:?}: the connection was not ended by DISCONNECT 0"
        );
        new.disconnect();
    }
}

#[test]
fn takeover_that_resumes_cancels_a_delayed_will() {
    let broker = Broker::start();
    let mut watcher = Wire::connect(&broker, &Connect::v5("watcher"));
    watcher.subscribe("#", 0);
    let will = Will::new("will", "late").properties(Properties::new().number(id::WILL_DELAY, 1));
    let mut old = Wire::connect(&broker, &Connect::v5("same").durable().will(will));
    let (new, present, _) = Wire::connect_full(&broker, &Connect::v5("same").durable());
    assert!(present);
    old.expect_disconnect(0x8E);
    // Another delayed will is set off at the same time with a longer delay: when it comes, the first had its chance.
    let longer = Will::new("other", "x").properties(Properties::new().number(id::WILL_DELAY, 2));
    drop(Wire::connect(&broker, &Connect::v5("clock").durable().will(longer)));
    assert_eq!(watcher.take(), ("other".into(), "x".into()));
    new.disconnect();
}

#[test]
fn a_storm_leaves_one_connection_and_a_whole_session() {
    let mut broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("publisher"));
    Wire::connect(&broker, &Connect::v5("storm").durable()).subscribe("t", 1);
    thread::scope(|scope| {
        for worker in 0..8 {
            let broker = &broker;
            scope.spawn(move || {
                for round in 0..25 {
                    let version = Version::ALL[(worker + round) % 3];
                    let mut connect = Connect::new(version, "storm").resume();
                    if version == Version::V5 {
                        connect = connect.expiry(3600);
                    }
                    let mut wire = Wire::open(broker.mqtt(), version);
                    // It may be taken over at any point, even before it sees its CONNACK.
                    let _ = wire.try_send(&connect.encode());
                    if round % 2 == 0 {
                        let _ = wire.next_packet();
                    }
                }
            });
        }
    });
    let (mut last, present, _) = Wire::connect_full(&broker, &Connect::v5("storm").durable());
    assert!(present, "none of them asked for a clean start");
    publisher.publish(Publish::new("t", "after").qos(1));
    assert_eq!(last.take(), ("t".into(), "after".into()));
    broker.assert_alive();
}

#[test]
fn a_storm_of_clean_and_resuming_connections_with_traffic_ends_well() {
    let mut broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v311("publisher"));
    thread::scope(|scope| {
        for worker in 0..6 {
            let broker = &broker;
            scope.spawn(move || {
                for round in 0..20 {
                    let mut connect = Connect::v5("storm").expiry(3600);
                    if (worker + round) % 2 == 0 {
                        connect = connect.resume();
                    }
                    let mut wire = Wire::open(broker.mqtt(), Version::V5);
                    let _ = wire.try_send(&connect.encode());
                    let subscribe =
                        tercet_interop::packet::subscribe(Version::V5, 1, &Properties::new(), &[("t", 2)]);
                    let _ = wire.try_send(&subscribe);
                    let _ = wire.next_packet();
                }
            });
        }
        for n in 0..200 {
            publisher.publish(Publish::new("t", n.to_string()).qos(2));
        }
    });
    let mut last = Wire::connect(&broker, &Connect::v5("storm"));
    last.subscribe("t", 1);
    publisher.publish(Publish::new("t", "after").qos(1));
    assert_eq!(last.take(), ("t".into(), "after".into()));
    assert!(matches!(
        {
            last.send(&[0xC0, 0]);
            last.receive()
        },
        Packet::Pingresp
    ));
    broker.assert_alive();
}
