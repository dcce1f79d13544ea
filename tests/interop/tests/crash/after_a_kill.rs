//! What a broker knows after it was killed: one thing per test.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;
use tercet_interop::broker::new_directory;
use tercet_interop::packet::ack;
use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Will, Wire, id};

/// After so long what a subscriber has acknowledged is on disk, with a margin for slow machines.
const ACKNOWLEDGED: Duration = Duration::from_millis(300);

fn start(directory: &Arc<TempDir>) -> Broker {
    Broker::durable(directory, "")
}

fn restart(broker: Broker, directory: &Arc<TempDir>) -> Broker {
    broker.kill();
    start(directory)
}

fn durable(version: Version, name: &str) -> Connect {
    Connect::new(version, name).durable()
}

#[test]
fn sessions_are_there_and_clean_ones_are_not() {
    let directory = new_directory();
    let broker = start(&directory);
    let mut kept = Vec::new();
    for version in Version::ALL {
        kept.push(Wire::connect(&broker, &durable(version, &format!("durable{version:?}"))));
        kept.push(Wire::connect(&broker, &Connect::new(version, &format!("clean{version:?}"))));
    }
    let ended = Wire::connect(&broker, &durable(Version::V5, "ended"));
    ended.disconnect();
    Wire::connect(&broker, &Connect::v5("ended")).disconnect();
    let broker = restart(broker, &directory);
    for version in Version::ALL {
        let durable = durable(version, &format!("durable{version:?}"));
        let (_, present, _) = Wire::connect_full(&broker, &durable);
        // 3.1 has no such flag in its CONNACK.
        assert_eq!(present, version != Version::V31, "{version:?}");
        let clean = Connect::new(version, &format!("clean{version:?}")).resume();
        assert!(!Wire::connect_full(&broker, &clean).1, "{version:?}");
    }
    assert!(!Wire::connect_full(&broker, &Connect::v5("ended").resume()).1, "a clean start ended it");
}

#[test]
fn what_was_in_flight_comes_again_under_its_identifier() {
    for version in Version::ALL {
        for qos in [1, 2] {
            let directory = new_directory();
            let broker = start(&directory);
            let mut subscriber = Wire::connect(&broker, &durable(version, "s"));
            subscriber.subscribe("t", qos);
            let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
            for text in ["a", "b", "c"] {
                publisher.publish(Publish::new("t", text).qos(qos));
            }
            let sent: Vec<Publish> = (0..3).map(|_| subscriber.receive_publish()).collect();
            let mut broker = broker;
            for _ in 0..2 {
                broker = restart(broker, &directory);
                let (mut subscriber, present, _) = Wire::connect_full(&broker, &durable(version, "s"));
                assert_eq!(present, version != Version::V31);
                for publish in &sent {
                    assert_eq!(subscriber.receive_publish(), publish.clone().dup(), "{version:?}");
                }
            }
        }
    }
}

#[test]
fn qos_2_to_a_subscriber_goes_on_where_it_was() {
    for version in Version::ALL {
        let directory = new_directory();
        let broker = start(&directory);
        let mut subscriber = Wire::connect(&broker, &durable(version, "s"));
        subscriber.subscribe("t", 2);
        Wire::connect(&broker, &Connect::v5("p")).publish(Publish::new("t", "a").qos(2));
        let publish = subscriber.receive_publish();
        subscriber.send(&ack(0x50, publish.id));
        assert!(matches!(subscriber.receive(), Packet::Pubrel(release) if release.id == publish.id));
        let broker = restart(broker, &directory);
        // The broker was told that the message is here: it does not come again, its release does.
        let mut subscriber = Wire::connect(&broker, &durable(version, "s"));
        assert!(
            matches!(subscriber.receive(), Packet::Pubrel(release) if release.id == publish.id),
            "{version:?}"
        );
        subscriber.send(&ack(0x70, publish.id));
        subscriber.ping();
        sleep(ACKNOWLEDGED);
        let broker = restart(broker, &directory);
        Wire::connect(&broker, &durable(version, "s")).ping();
    }
}

#[test]
fn qos_2_from_a_publisher_goes_on_where_it_was() {
    for version in Version::ALL {
        let directory = new_directory();
        let broker = start(&directory);
        Wire::connect(&broker, &durable(version, "s")).subscribe("t", 2);
        let mut publisher = Wire::connect(&broker, &durable(version, "p"));
        let publish = Publish::new("t", "once").qos(2).id(7);
        publisher.send(&publish.encode(version));
        assert!(matches!(publisher.receive(), Packet::Pubrec(record) if record.id == 7 && record.code == 0));
        let broker = restart(broker, &directory);
        let mut publisher = Wire::connect(&broker, &durable(version, "p"));
        publisher.send(&publish.clone().dup().encode(version));
        assert!(matches!(publisher.receive(), Packet::Pubrec(record) if record.id == 7 && record.code == 0));
        publisher.send(&ack(0x62, 7));
        assert!(matches!(publisher.receive(), Packet::Pubcomp(done) if done.id == 7 && done.code == 0));
        let broker = restart(broker, &directory);
        // The identifier is free again: this is another message.
        let mut publisher = Wire::connect(&broker, &durable(version, "p"));
        publisher.send(&Publish::new("t", "another").qos(2).id(7).encode(version));
        assert!(matches!(publisher.receive(), Packet::Pubrec(record) if record.id == 7 && record.code == 0));
        let mut subscriber = Wire::connect(&broker, &durable(version, "s"));
        assert_eq!(subscriber.take().1, "once");
        assert_eq!(subscriber.take().1, "another");
        subscriber.ping();
    }
}

#[test]
fn subscriptions_keep_their_options() {
    let directory = new_directory();
    let broker = start(&directory);
    let mut subscriber = Wire::connect(&broker, &durable(Version::V5, "s"));
    let numbered = Properties::new().number(id::SUBSCRIPTION_ID, 42);
    // QoS 1, no local, retain as published.
    assert_eq!(subscriber.subscribe_with(&numbered, &[("a", 0x0d)]), [1]);
    subscriber.subscribe("b", 0);
    subscriber.subscribe("c", 2);
    subscriber.subscribe("d", 1);
    assert_eq!(subscriber.unsubscribe(&["d"]), [0]);
    // Replaced: the last counts.
    subscriber.subscribe("c", 1);
    let broker = restart(broker, &directory);
    let mut subscriber = Wire::connect(&broker, &durable(Version::V5, "s"));
    subscriber.publish(Publish::new("a", "own").qos(1));
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("d", "nobody").qos(1));
    for topic in ["a", "b", "c"] {
        publisher.publish(Publish::new(topic, topic).qos(2).retain());
    }
    let seen: Vec<_> = (0..3)
        .map(|_| {
            let publish = subscriber.take_publish();
            (publish.text(), publish.qos, publish.retain, publish.properties.get_number(id::SUBSCRIPTION_ID))
        })
        .collect();
    let expected = [("a", 1, true, Some(42)), ("b", 0, false, None), ("c", 1, false, None)]
        .map(|(text, qos, retain, id)| (text.to_owned(), qos, retain, id));
    assert_eq!(seen, expected);
    subscriber.ping();
}

#[test]
fn retained_values_keep_everything_they_had() {
    let directory = new_directory();
    let broker = start(&directory);
    let properties = Properties::new()
        .number(id::PAYLOAD_FORMAT, 1)
        .text(id::CONTENT_TYPE, "text/plain")
        .text(id::RESPONSE_TOPIC, "answers")
        .text(id::CORRELATION_DATA, [0, 1, 255])
        .user("a", "1")
        .user("a", "2");
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("r/replaced", "old").qos(1).retain());
    publisher.publish(Publish::new("r/replaced", "new").qos(2).retain());
    publisher.publish(Publish::new("r/gone", "x").qos(1).retain());
    publisher.publish(Publish::new("r/gone", "").qos(1).retain());
    publisher.publish(Publish::new("r/rich", "ü").qos(1).retain().properties(properties.clone()));
    let broker = restart(broker, &directory);
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("r/#", 2);
    let mut seen = [subscriber.take_publish(), subscriber.take_publish()];
    seen.sort_by_key(|publish| publish.topic.clone());
    assert_eq!((seen[0].topic.as_str(), seen[0].text().as_str(), seen[0].qos), ("r/replaced", "new", 2));
    assert_eq!((seen[1].topic.as_str(), seen[1].text().as_str(), seen[1].qos), ("r/rich", "ü", 1));
    let mut there = seen[1].properties.0.clone();
    let mut expected = properties.0;
    // The order of different properties is free.
    there.sort_by_key(|(id, _)| *id);
    expected.sort_by_key(|(id, _)| *id);
    assert_eq!(there, expected);
    subscriber.ping();
}

#[test]
fn a_retained_value_at_qos_0_is_on_disk_within_a_second() {
    let directory = new_directory();
    let broker = start(&directory);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for n in 0..50 {
        publisher.publish(Publish::new("r", n.to_string()).retain());
    }
    sleep(Duration::from_millis(1500));
    let broker = restart(broker, &directory);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
    subscriber.subscribe("r", 0);
    assert_eq!(subscriber.take().1, "49");
}

#[test]
fn a_message_expires_by_the_clock_also_while_the_broker_is_dead() {
    let directory = new_directory();
    let broker = start(&directory);
    Wire::connect(&broker, &durable(Version::V5, "s")).subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for (text, seconds) in [("short", 1), ("long", 1000)] {
        let expiry = Properties::new().number(id::MESSAGE_EXPIRY, seconds);
        publisher.publish(Publish::new("t", text).qos(1).properties(expiry));
    }
    broker.kill();
    sleep(Duration::from_millis(1500));
    let broker = start(&directory);
    let mut subscriber = Wire::connect(&broker, &durable(Version::V5, "s"));
    let publish = subscriber.take_publish();
    let left = publish.properties.get_number(id::MESSAGE_EXPIRY).unwrap();
    assert_eq!(publish.text(), "long");
    assert!((1..1000).contains(&left), "{left}");
    subscriber.ping();
}

#[test]
fn a_session_ends_by_the_clock_also_while_the_broker_is_dead() {
    let directory = new_directory();
    let broker = start(&directory);
    let short = Connect::v5("short").resume().expiry(1);
    for connect in [&short, &durable(Version::V5, "long")] {
        let mut subscriber = Wire::connect(&broker, connect);
        subscriber.subscribe("t", 1);
        subscriber.disconnect();
    }
    // That both are offline is in the log before this.
    let mut witness = Wire::connect(&broker, &Connect::v5("w"));
    witness.publish(Publish::new("t", "").qos(1));
    broker.kill();
    sleep(Duration::from_millis(1500));
    let broker = start(&directory);
    assert!(!Wire::connect_full(&broker, &short).1);
    assert!(Wire::connect_full(&broker, &durable(Version::V5, "long")).1);
}

#[test]
fn a_shared_subscription_holds_what_nobody_took() {
    let directory = new_directory();
    let broker = start(&directory);
    for name in ["a", "b"] {
        let mut member = Wire::connect(&broker, &durable(Version::V5, name));
        member.subscribe("$share/g/t", 1);
        member.disconnect();
    }
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for text in ["1", "2", "3"] {
        publisher.publish(Publish::new("t", text).qos(1));
    }
    let broker = restart(broker, &directory);
    let (mut member, present, _) = Wire::connect_full(&broker, &durable(Version::V5, "a"));
    assert!(present);
    for text in ["1", "2", "3"] {
        assert_eq!(member.take().1, text);
    }
    member.ping();
    Wire::connect(&broker, &durable(Version::V5, "b")).ping();
}

#[test]
fn a_qos_2_message_of_a_shared_subscription_stays_with_the_member_that_has_it() {
    let directory = new_directory();
    let broker = start(&directory);
    let mut first = Wire::connect(&broker, &durable(Version::V5, "a"));
    first.subscribe("$share/g/t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "x").qos(2));
    let publish = first.receive_publish();
    let mut second = Wire::connect(&broker, &durable(Version::V5, "b"));
    second.subscribe("$share/g/t", 2);
    let broker = restart(broker, &directory);
    let mut second = Wire::connect(&broker, &durable(Version::V5, "b"));
    second.ping();
    let mut first = Wire::connect(&broker, &durable(Version::V5, "a"));
    let again = first.receive_publish();
    assert_eq!((again.text().as_str(), again.id, again.dup), ("x", publish.id, true));
    first.acknowledge(&again);
    second.ping();
}

fn with_will(name: &str, delay: u32) -> Connect {
    let properties = Properties::new().number(id::WILL_DELAY, delay);
    durable(Version::V5, name).will(Will::new(&format!("will/{name}"), name).qos(1).properties(properties))
}

#[test]
fn delayed_wills_fire_after_the_restart() {
    let directory = new_directory();
    let broker = start(&directory);
    let mut watcher = Wire::connect(&broker, &durable(Version::V5, "watcher"));
    watcher.subscribe("will/#", 1);
    // One has lost its connection before the kill, one loses it by the kill; two more come back in time.
    drop(Wire::connect(&broker, &with_will("gone", 2)));
    let _connected = Wire::connect(&broker, &with_will("connected", 2));
    drop(Wire::connect(&broker, &with_will("returns", 600)));
    // One has said goodbye, one had its will already.
    Wire::connect(&broker, &with_will("goodbye", 2)).disconnect();
    drop(Wire::connect(&broker, &with_will("fired", 0)));
    assert_eq!(watcher.take().1, "fired");
    watcher.ping();
    sleep(ACKNOWLEDGED);
    let broker = restart(broker, &directory);
    let _back = Wire::connect(&broker, &with_will("returns", 600));
    let mut watcher = Wire::connect(&broker, &durable(Version::V5, "watcher"));
    let mut seen = [watcher.take().1, watcher.take().1];
    seen.sort();
    assert_eq!(seen, ["connected", "gone"]);
    watcher.ping();
    // They do not fire once more.
    sleep(ACKNOWLEDGED);
    let broker = restart(broker, &directory);
    let mut watcher = Wire::connect(&broker, &durable(Version::V5, "watcher"));
    sleep(Duration::from_millis(2500));
    watcher.ping();
}

#[test]
fn the_first_publish_after_a_kill_follows_what_was_queued() {
    let directory = new_directory();
    let broker = start(&directory);
    Wire::connect(&broker, &durable(Version::V5, "s")).subscribe("t", 1);
    Wire::connect(&broker, &Connect::v5("p")).publish(Publish::new("t", "before").qos(1));
    let broker = restart(broker, &directory);
    Wire::connect(&broker, &Connect::v5("p")).publish(Publish::new("t", "after").qos(1));
    let broker = restart(broker, &directory);
    let mut subscriber = Wire::connect(&broker, &durable(Version::V5, "s"));
    assert_eq!(subscriber.take().1, "before");
    assert_eq!(subscriber.take().1, "after");
    subscriber.ping();
}

#[test]
fn a_large_queue_comes_back_whole() {
    const MESSAGES: usize = 5000;
    let directory = new_directory();
    let broker = start(&directory);
    Wire::connect(&broker, &durable(Version::V311, "s")).subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for n in 0..MESSAGES {
        let publish = Publish::new("t", format!("{n} {}", "x".repeat(n % 1000))).qos(1).id(n as u16 + 1);
        publisher.send(&publish.encode(Version::V311));
        if n >= 100 {
            assert!(matches!(publisher.receive(), Packet::Puback(_)));
        }
    }
    for _ in 0..100 {
        assert!(matches!(publisher.receive(), Packet::Puback(_)));
    }
    let broker = restart(broker, &directory);
    let mut subscriber = Wire::connect(&broker, &durable(Version::V311, "s"));
    for n in 0..MESSAGES {
        assert_eq!(subscriber.take().1, format!("{n} {}", "x".repeat(n % 1000)));
    }
    subscriber.ping();
}
