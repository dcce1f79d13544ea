//! A broker that is asked to end loses nothing at all, and its successor has little to read.

use std::fs;

use tercet_interop::broker::new_directory;
use tercet_interop::{Broker, Connect, Packet, Publish, Wire};

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
