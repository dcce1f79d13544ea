//! Clients that send slowly, or half a packet and no more.

use std::time::{Duration, Instant};

use tercet_interop::memory::anonymous;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

use crate::witness::Witness;

/// One byte per second and per connection, after the CONNECT: nobody else waits, and the packet is taken in the end.
#[test]
fn one_byte_per_second_disturbs_nobody() {
    let broker = Broker::start();
    let witness = Witness::new(&broker);
    let mut slow: Vec<Wire> =
        (0..50).map(|n| Wire::connect(&broker, &Connect::v311(&format!("slow{n}")).keep_alive(0))).collect();
    let packet = Publish::new("t", "").qos(1).encode(Version::V311);
    for byte in &packet {
        for wire in &mut slow {
            wire.send(&[*byte]);
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    for wire in &mut slow {
        assert!(matches!(wire.receive(), Packet::Puback(_)));
    }
    witness.finish();
}

/// NATS CVE-2026-58210: connections that announce large packets and never send them hold next to nothing.
#[test]
fn announced_bytes_are_not_reserved() {
    let mut broker = Broker::start();
    let before = anonymous(broker.pid());
    let mut parked = Vec::new();
    for n in 0..500 {
        // Before the CONNECT: a packet of almost 1 MiB, its first bytes only.
        let mut fresh = Wire::open(broker.mqtt(), Version::V311);
        let _ = fresh.try_send(&[0x10, 0xF0, 0xFF, 0x3F, 0, 4, b'M', b'Q', b'T', b'T', 4]);
        parked.push(fresh);
        // After it: a PUBLISH of almost 1 MiB.
        let mut wire = Wire::connect(&broker, &Connect::v311(&format!("c{n}")));
        wire.send(&[0x30, 0xF0, 0xFF, 0x3F, 0, 1, b't', b'x']);
        parked.push(wire);
    }
    let after = anonymous(broker.pid());
    assert!(after < before + (64 << 20), "{} MiB for 1000 announced MiB", (after - before) >> 20);
    Wire::connect(&broker, &Connect::v311("other")).ping();
    broker.assert_alive();
}

#[test]
fn a_connect_that_never_comes_is_cut_and_the_slots_are_free_again() {
    let broker = Broker::configured(
        "[[listener]]\nname = \"small\"\nbind = \"127.0.0.1:0\"\nmax-connections = 20\nconnect-timeout = \"500ms\"\n",
    );
    let address = broker.address("small");
    let mut idle: Vec<Wire> = (0..20).map(|_| Wire::open(address, Version::V5)).collect();
    for wire in &mut idle {
        wire.expect_closed();
    }
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let mut wire = Wire::open(address, Version::V5);
        let _ = wire.try_send(&Connect::v5("c").encode());
        if wire.next_packet().is_some() {
            break;
        }
        assert!(Instant::now() < end, "no slot became free");
    }
}
