//! A subscriber that never reads.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;

use tercet_interop::memory::anonymous;
use tercet_interop::packet::subscribe;
use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Wire};

use crate::witness::Witness;

const MIB: u64 = 1 << 20;

/// Connects and subscribes, then never reads again.
fn never_reads(broker: &Broker, client: &str, qos: u8) -> Wire {
    let mut wire = Wire::connect(broker, &Connect::v311(client).keep_alive(0));
    wire.send(&subscribe(Version::V311, 1, &Properties::new(), &[("flood", qos)]));
    assert!(matches!(wire.receive(), Packet::Suback(..)));
    wire
}

#[test]
fn qos_0_to_it_is_dropped_and_memory_stays_bounded() {
    let mut broker = Broker::start();
    let stuck = never_reads(&broker, "stuck", 0);
    let mut reader = Wire::connect(&broker, &Connect::v5("reader").keep_alive(0));
    reader.subscribe("count", 0);
    let witness = Witness::new(&broker);
    let before = anonymous(broker.pid());
    let mut publisher = Wire::connect(&broker, &Connect::v311("p").keep_alive(0));
    let packet = Publish::new("flood", vec![b'x'; 10_000]).encode(Version::V311);
    // 200 MiB, against an outbox of 8 MiB and the kernel's buffers.
    for n in 0..20_000_u32 {
        publisher.send(&packet);
        if n % 2000 == 0 {
            publisher.publish(Publish::new("count", n.to_string()));
            assert_eq!(reader.take().1, n.to_string(), "the publisher is not blocked");
        }
    }
    publisher.publish(Publish::new("count", "end"));
    assert_eq!(reader.take().1, "end");
    let after = anonymous(broker.pid());
    assert!(after < before + 64 * MIB, "{} MiB more", (after - before) / MIB);
    witness.finish();
    broker.assert_alive();
    drop(stuck);
}

#[test]
fn qos_1_to_it_is_bounded_by_its_window_and_queue() {
    let mut broker = Broker::configured("[limits]\nmax-queued-bytes = \"8MiB\"\n");
    let stuck = never_reads(&broker, "stuck", 1);
    let witness = Witness::new(&broker);
    let before = anonymous(broker.pid());
    let mut publisher = Wire::connect(&broker, &Connect::v311("p").keep_alive(0));
    for _ in 0..60 {
        let mut batch = Vec::new();
        for id in 1..=100 {
            batch.extend(Publish::new("flood", vec![b'x'; 10_000]).qos(1).id(id).encode(Version::V311));
        }
        publisher.send(&batch);
        for _ in 0..100 {
            assert!(matches!(publisher.receive(), Packet::Puback(_)));
        }
    }
    let after = anonymous(broker.pid());
    assert!(after < before + 64 * MIB, "{} MiB more", (after.saturating_sub(before)) / MIB);
    witness.finish();
    broker.assert_alive();
    drop(stuck);
}

/// CVE-2020-13849 and its kind: many of them at once.
#[test]
fn many_of_them_do_not_stop_the_others() {
    let mut broker = Broker::start();
    let stuck: Vec<Wire> = (0..50).map(|n| never_reads(&broker, &format!("stuck{n}"), 0)).collect();
    let witness = Witness::new(&broker);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p").keep_alive(0));
    let packet = Publish::new("flood", vec![b'x'; 1000]).encode(Version::V311);
    for _ in 0..5000 {
        publisher.send(&packet);
    }
    publisher.publish(Publish::new("other", "x").qos(1));
    witness.finish();
    broker.assert_alive();
    drop(stuck);
}

#[test]
fn a_slow_subscriber_may_be_disconnected_instead() {
    let broker = Broker::configured("[limits]\noutbox = \"64KiB\"\nslow-subscriber = \"disconnect\"\n");
    let mut stuck = never_reads(&broker, "stuck", 0);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p").keep_alive(0));
    let packet = Publish::new("flood", vec![b'x'; 10_000]).encode(Version::V311);
    for _ in 0..2000 {
        publisher.send(&packet);
    }
    publisher.ping();
    // What was sent before can still be read; then comes the end.
    while stuck.next_packet().is_some() {}
}

/// Whether the broker closes a connection whose client goes on sending but never reads.
fn is_cut_off(stuck: &mut Wire) -> bool {
    loop {
        if let Err(error) = stuck.try_send(&[0xC0, 0]) {
            return matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        }
    }
}

/// Publishes until a subscriber that does not read has more than the kernel takes for it.
fn block(broker: &Broker) {
    let mut publisher = Wire::connect(broker, &Connect::v311("p").keep_alive(0));
    let packet = Publish::new("flood", vec![b'x'; 10_000]).encode(Version::V311);
    for _ in 0..2000 {
        publisher.send(&packet);
    }
    publisher.ping();
}

#[test]
fn it_is_cut_off_when_its_session_is_taken_over() {
    let broker = Broker::start();
    let mut stuck = never_reads(&broker, "stuck", 0);
    block(&broker);
    let mut successor = Wire::connect(&broker, &Connect::v5("stuck").keep_alive(0));
    assert!(is_cut_off(&mut stuck));
    successor.ping();
}

#[test]
fn it_is_cut_off_by_policy_without_reading_a_byte() {
    let broker = Broker::configured("[limits]\noutbox = \"64KiB\"\nslow-subscriber = \"disconnect\"\n");
    let mut stuck = never_reads(&broker, "stuck", 0);
    block(&broker);
    assert!(is_cut_off(&mut stuck));
}

/// A client that sends requests and never takes the answers is held back, not collected.
#[test]
fn answers_that_are_never_read_are_bounded() {
    let mut broker = Broker::start();
    let witness = Witness::new(&broker);
    let before = anonymous(broker.pid());
    let stream = TcpStream::connect(broker.mqtt()).unwrap();
    stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    let mut wire = Wire::over(stream, Version::V311);
    wire.send(&Connect::v311("talker").keep_alive(0).encode());
    assert!(matches!(wire.receive(), Packet::Connack { .. }));
    let pings = vec![[0xC0, 0]; 32 * 1024].concat();
    // Up to 64 MiB of PINGREQ ask for as much PINGRESP; the write times out once the broker stops reading.
    for _ in 0..1000 {
        if wire.try_send(&pings).is_err() {
            break;
        }
    }
    let after = anonymous(broker.pid());
    assert!(after < before + 48 * MIB, "{} MiB more", (after.saturating_sub(before)) / MIB);
    witness.finish();
    broker.assert_alive();
}

/// A subscriber that reads slowly, but reads, gets every QoS 1 message in order.
#[test]
fn a_slow_reader_loses_no_acknowledged_message() {
    let broker = Broker::start();
    let mut slow = Wire::connect(&broker, &Connect::v311("slow").keep_alive(0));
    slow.subscribe("flood", 1);
    let address = broker.mqtt();
    let publisher = thread::spawn(move || {
        let mut publisher = Wire::connect_at(address, &Connect::v311("p").keep_alive(0));
        for start in (0..5000).step_by(500) {
            let mut batch = Vec::new();
            for n in start..start + 500 {
                let id = (n % 60_000 + 1) as u16;
                let mut payload = n.to_string().into_bytes();
                payload.resize(4000, b' ');
                batch.extend(Publish::new("flood", payload).qos(1).id(id).encode(Version::V311));
            }
            publisher.send(&batch);
            for _ in 0..500 {
                assert!(matches!(publisher.receive(), Packet::Puback(_)));
            }
        }
    });
    publisher.join().expect("the publisher is not blocked by the slow one");
    for n in 0..5000 {
        let (_, text) = slow.take();
        assert_eq!(text.trim_end(), n.to_string());
    }
}
