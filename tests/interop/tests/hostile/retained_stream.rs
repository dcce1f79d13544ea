//! Very many retained messages: they stream to a subscriber as it reads, complete, while others go on.

use std::thread;

use tercet_interop::memory::anonymous;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

use crate::witness::Witness;

const TOPICS: usize = 100_000;

fn fill(broker: &Broker) {
    let mut publisher = Wire::connect(broker, &Connect::v311("filler").keep_alive(0));
    for start in (0..TOPICS).step_by(500) {
        let mut batch = Vec::new();
        for n in start..start + 500 {
            let topic = format!("fleet/{}/{}/state", n / 1000, n % 1000);
            let id = (n % 60_000 + 1) as u16;
            batch.extend(Publish::new(&topic, n.to_string()).qos(1).id(id).retain().encode(Version::V311));
        }
        publisher.send(&batch);
        for _ in 0..500 {
            assert!(matches!(publisher.receive(), Packet::Puback(_)));
        }
    }
}

/// mosquitto#2887, emqx#15605: a burst over every queue limit arrives whole, at QoS 0 and 1, also when the
/// subscriber pauses; meanwhile others are served and memory does not double (nanomq#2266).
#[test]
fn a_hundred_thousand_arrive_without_loss_at_a_slow_subscriber() {
    let mut broker = Broker::configured("[limits]\nmax-queued-messages = 1000\noutbox = \"64KiB\"\n");
    fill(&broker);
    let before = anonymous(broker.pid());
    let witness = Witness::new(&broker);
    thread::scope(|scope| {
        for qos in 0..=1 {
            let broker = &broker;
            scope.spawn(move || {
                let mut wire = Wire::connect(broker, &Connect::v311(&format!("slow{qos}")).keep_alive(0));
                let mut seen = vec![false; TOPICS];
                wire.subscribe("fleet/#", qos);
                for count in 0..TOPICS {
                    let publish = wire.take_publish();
                    assert!(publish.retain && publish.qos == qos);
                    let n: usize = publish.text().parse().unwrap();
                    assert!(!std::mem::replace(&mut seen[n], true), "{n} came twice");
                    if count % 20_000 == 0 {
                        // A pause in which far more than its outbox would pile up.
                        thread::sleep(std::time::Duration::from_millis(200));
                    }
                }
                wire.ping();
            });
        }
    });
    let after = anonymous(broker.pid());
    assert!(after < before + (32 << 20), "{} MiB more", (after.saturating_sub(before)) >> 20);
    witness.finish();
    broker.assert_alive();
}

/// A subscriber that asks for everything and never reads holds nobody up.
#[test]
fn a_subscriber_that_never_reads_the_replay_holds_nobody_up() {
    let broker = Broker::start();
    fill(&broker);
    let before = anonymous(broker.pid());
    let mut stuck: Vec<Wire> =
        (0..10).map(|n| Wire::connect(&broker, &Connect::v311(&format!("stuck{n}")).keep_alive(0))).collect();
    let packet =
        tercet_interop::packet::subscribe(Version::V311, 1, &tercet_interop::Properties::new(), &[("#", 0)]);
    for wire in &mut stuck {
        wire.send(&packet);
    }
    let mut reader = Wire::connect(&broker, &Connect::v311("reader"));
    reader.subscribe("fleet/7/#", 1);
    for _ in 0..1000 {
        reader.take();
    }
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    publisher.publish(Publish::new("fleet/7/0/state", "live").qos(1));
    assert_eq!(reader.take().1, "live");
    let after = anonymous(broker.pid());
    assert!(after < before + (64 << 20), "{} MiB more", (after.saturating_sub(before)) >> 20);
}

/// What is published while the replay runs must not be overtaken by its older value.
#[test]
fn values_never_go_back_while_the_replay_runs() {
    const COUNT: usize = 20_000;
    let broker = Broker::configured("[limits]\noutbox = \"64KiB\"\n");
    let mut publisher = Wire::connect(&broker, &Connect::v311("p").keep_alive(0));
    let round = |publisher: &mut Wire, value: usize| {
        for start in (0..COUNT).step_by(500) {
            let mut batch = Vec::new();
            for n in start..start + 500 {
                let publish =
                    Publish::new(&format!("v/{n}"), value.to_string()).qos(1).id((n + 1) as u16).retain();
                batch.extend(publish.encode(Version::V311));
            }
            publisher.send(&batch);
            for _ in 0..500 {
                assert!(matches!(publisher.receive(), Packet::Puback(_)));
            }
        }
    };
    round(&mut publisher, 1);
    let mut reader = Wire::connect(&broker, &Connect::v311("r").keep_alive(0));
    reader.subscribe("v/#", 1);
    let writer = thread::spawn(move || {
        round(&mut publisher, 2);
        round(&mut publisher, 3);
        publisher.publish(Publish::new("v/end", "4").qos(1));
        publisher
    });
    let mut last = vec![0; COUNT];
    let mut ended = false;
    while !ended || last.iter().any(|value| *value != 3) {
        let (topic, text) = reader.take();
        let Ok(n) = topic[2..].parse::<usize>() else {
            ended = true;
            continue;
        };
        let value: usize = text.parse().unwrap();
        assert!(value >= last[n], "{topic} went from {} back to {value}", last[n]);
        last[n] = value;
    }
    drop(writer.join().expect("the publisher is not blocked"));
}

/// A subscription that goes away takes the rest of its replay with it.
#[test]
fn unsubscribing_ends_the_replay() {
    let broker = Broker::configured("[limits]\noutbox = \"64KiB\"\n");
    fill(&broker);
    let mut wire = Wire::connect(&broker, &Connect::v311("c").keep_alive(0));
    wire.subscribe("fleet/#", 0);
    for _ in 0..100 {
        wire.take();
    }
    wire.unsubscribe(&["fleet/#"]);
    wire.send(&[0xC0, 0]);
    let mut after = 0;
    while let Packet::Publish(_) = wire.receive() {
        after += 1;
    }
    assert!(after < TOPICS - 100, "the whole replay came all the same");
    wire.ping();
}
