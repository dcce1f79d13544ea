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
