//! A broker that is asked to end loses nothing at all, and its successor has little to read.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use tercet_interop::broker::new_directory;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

use crate::queues_survive_random_kills::QUIET;

#[test]
fn everything_comes_back() {
    let directory = new_directory();
    let broker = Broker::durable(&directory, "");
    Wire::connect(&broker, &Connect::v5("s").durable()).subscribe("t/#", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for n in 0..100 {
        publisher.publish(Publish::new("t/1", n.to_string()).qos(1));
        publisher.publish(Publish::new("t/2", n.to_string()).qos(2));
    }
    // Nothing waits for a retained value at QoS 0, but the end of the broker does.
    for n in 0..100 {
        publisher.publish(Publish::new(&format!("r/{n}"), n.to_string()).retain());
    }
    broker.stop();
    let broker = Broker::durable(&directory, "");
    let mut reader = Wire::connect(&broker, &Connect::v311("reader"));
    reader.subscribe("r/#", 0);
    let mut seen: Vec<usize> = (0..100).map(|_| reader.take().1.parse().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    let (mut subscriber, present, _) = Wire::connect_full(&broker, &Connect::v5("s").durable());
    assert!(present);
    for n in 0..100 {
        assert_eq!(subscriber.take(), ("t/1".into(), n.to_string()));
        assert_eq!(subscriber.take(), ("t/2".into(), n.to_string()));
    }
    subscriber.ping();
}

/// What one life leaves in a checkpoint and the next adds to the log is one state for the third.
#[test]
fn a_checkpoint_and_what_follows_it_make_one_state() {
    let directory = new_directory();
    let broker = Broker::durable(&directory, "");
    Wire::connect(&broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for n in 0..50 {
        publisher.publish(Publish::new("t", n.to_string()).qos(1).retain());
    }
    broker.stop();
    assert!(fs::metadata(directory.path().join("data/shard-0/checkpoint")).is_ok(), "there is a checkpoint");
    let broker = Broker::durable(&directory, "");
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 0..20 {
        assert_eq!(subscriber.take().1, n.to_string());
    }
    // The broker has read the acknowledgements.
    subscriber.send(&[0xC0, 0]);
    assert_eq!(subscriber.answer(), Packet::Pingresp);
    drop(subscriber);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for n in 50..80 {
        publisher.publish(Publish::new("t", n.to_string()).qos(1).retain());
    }
    broker.kill();
    let broker = Broker::durable(&directory, "");
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 20..80 {
        assert_eq!(subscriber.take().1, n.to_string());
    }
    subscriber.ping();
    subscriber.subscribe("t", 1);
    assert_eq!(subscriber.take().1, "79", "the retained value");
}

#[test]
fn without_syncs_a_killed_process_loses_nothing_either() {
    let directory = new_directory();
    let toml = "[server]\ndurability = \"os\"\n";
    let broker = Broker::durable(&directory, toml);
    Wire::connect(&broker, &Connect::v311("s").durable()).subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for n in 0..50 {
        publisher.publish(Publish::new("t", n.to_string()).qos(1));
    }
    broker.kill();
    let broker = Broker::durable(&directory, toml);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 0..50 {
        assert_eq!(subscriber.take().1, n.to_string());
    }
    subscriber.ping();
}

#[test]
fn in_memory_nothing_is_written_and_everything_forgotten() {
    let directory = new_directory();
    let toml = "[server]\ndurability = \"memory\"\n";
    let broker = Broker::durable(&directory, toml);
    Wire::connect(&broker, &Connect::v311("s").durable()).subscribe("t", 1);
    Wire::connect(&broker, &Connect::v311("p")).publish(Publish::new("t", "x").qos(1).retain());
    broker.stop();
    assert!(!directory.path().join("data").exists(), "a data directory was made");
    let broker = Broker::durable(&directory, toml);
    assert!(!Wire::connect_full(&broker, &Connect::v311("s").durable()).1);
}

#[test]
fn a_data_directory_belongs_to_one_broker() {
    let directory = new_directory();
    let first = Broker::durable(&directory, "");
    let mut second = Broker::launch(&directory, "");
    assert_eq!(second.await_end(), Some(1));
    assert!(second.log().contains("is in use by another process"), "{}", second.log());
    // The first did not notice.
    Wire::connect(&first, &Connect::v311("c")).ping();
    first.stop();
}

/// More than one part of everything: queues, retained topics and sessions that a checkpoint has in several pieces, and changes of
/// them that are in the log behind it.
#[test]
fn large_states_come_back_from_checkpoint_and_log() {
    const MANY: usize = 9000;
    let directory = new_directory();
    let broker = Broker::durable(&directory, QUIET);
    Wire::connect(&broker, &Connect::v311("s").durable()).subscribe("q", 1);
    for n in 0..500 {
        Wire::connect(&broker, &Connect::v311(&format!("c{n}")).durable()).subscribe(&format!("c/{n}"), 1);
    }
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    let queued = |n: usize| Publish::new("q", n.to_string());
    let retained = |n: usize, text: &str| Publish::new(&format!("r/{n}"), text).retain();
    stream(&mut publisher, (0..MANY).flat_map(|n| [queued(n), retained(n, "old")]));
    broker.stop();
    let broker = Broker::durable(&directory, QUIET);
    // Every third value is changed, every third deleted; a thousand messages are taken, a thousand come.
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    let changes = (0..MANY).filter(|n| n % 3 > 0).map(|n| retained(n, if n % 3 == 1 { "new" } else { "" }));
    stream(&mut publisher, changes);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 0..1000 {
        assert_eq!(subscriber.take().1, n.to_string());
    }
    stream(&mut publisher, (MANY..MANY + 1000).map(queued));
    drop(subscriber);
    sleep(Duration::from_millis(300));
    broker.kill();
    let broker = Broker::durable(&directory, QUIET);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s").durable());
    for n in 1000..MANY + 1000 {
        assert_eq!(subscriber.take().1, n.to_string());
    }
    subscriber.ping();
    subscriber.subscribe("r/+", 1);
    let mut seen: Vec<(usize, String)> = (0..MANY / 3 * 2)
        .map(|_| {
            let (topic, text) = subscriber.take();
            (topic[2..].parse().unwrap(), text)
        })
        .collect();
    seen.sort_unstable();
    let expected = (0..MANY).filter(|n| n % 3 < 2);
    let expected = expected.map(|n| (n, if n % 3 == 1 { "new" } else { "old" }.to_owned()));
    assert!(seen.into_iter().eq(expected), "the retained values");
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for n in (0..500).step_by(50) {
        publisher.publish(Publish::new(&format!("c/{n}"), "x").qos(1));
        let (mut one, present, _) = Wire::connect_full(&broker, &Connect::v311(&format!("c{n}")).durable());
        assert!(present);
        assert_eq!(one.take().1, "x");
    }
}

/// Publishes at QoS 1, many at a time.
fn stream(wire: &mut Wire, messages: impl Iterator<Item = Publish>) {
    let mut unconfirmed = 0;
    for publish in messages {
        let id = wire.packet_id();
        wire.send(&publish.qos(1).id(id).encode(Version::V311));
        unconfirmed += 1;
        while unconfirmed >= 200 {
            assert!(matches!(wire.receive(), Packet::Puback(_)));
            unconfirmed -= 1;
        }
    }
    for _ in 0..unconfirmed {
        assert!(matches!(wire.receive(), Packet::Puback(_)));
    }
}
