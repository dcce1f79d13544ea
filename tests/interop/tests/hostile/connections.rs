//! Very many connections, and floods of them.

use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tercet_interop::memory::anonymous;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

use crate::witness::Witness;

/// As many as asked for, or as the open-file limit leaves room for; other tests may run in this process.
fn affordable(wanted: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    wanted.min(soft.saturating_sub(3000))
}

#[test]
fn twenty_thousand_connections_are_served() {
    let count = affordable(20_000);
    let mut broker = Broker::configured("[log]\nconnections = false\n");
    let before = anonymous(broker.pid());
    let mut wires: Vec<Wire> = Vec::with_capacity(count);
    for start in (0..count).step_by(500) {
        let end = count.min(start + 500);
        for n in start..end {
            let mut wire = Wire::open(broker.mqtt(), Version::V311);
            wire.send(&Connect::v311(&format!("c{n}")).keep_alive(0).encode());
            wires.push(wire);
        }
        for wire in &mut wires[start..end] {
            assert!(matches!(wire.receive(), Packet::Connack { code: 0, .. }));
        }
    }
    let per_connection = (anonymous(broker.pid()) - before) / count as u64;
    eprintln!("{count} connections, {per_connection} bytes of anonymous memory each");
    assert!(per_connection < 4096, "{per_connection} bytes each");
    let (first, last) = (0, count - 1);
    wires[last].subscribe("t", 1);
    wires[first].publish(Publish::new("t", "x").qos(1));
    assert_eq!(wires[last].take().1, "x");
    broker.assert_alive();
}

fn open_files(broker: &Broker) -> usize {
    fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap().count()
}

#[test]
fn a_flood_of_connects_disturbs_nobody_and_leaves_nothing_behind() {
    let mut broker = Broker::configured("[log]\nconnections = false\n");
    let witness = Witness::new(&broker);
    let round = |broker: &Broker, rounds: usize| {
        thread::scope(|scope| {
            for worker in 0..4 {
                let address = broker.mqtt();
                scope.spawn(move || {
                    for n in 0..rounds {
                        let mut wire = Wire::open(address, Version::V5);
                        let connect = Connect::v5(&format!("f{worker}-{n}")).encode();
                        // A third leaves at once, a third waits for the answer, a third sends half.
                        match n % 3 {
                            0 => drop(wire.try_send(&connect)),
                            1 => {
                                let _ = wire.try_send(&connect);
                                let _ = wire.next_packet();
                            }
                            _ => drop(wire.try_send(&connect[..connect.len() / 2])),
                        }
                    }
                });
            }
        });
    };
    let files = open_files(&broker);
    round(&broker, 500);
    let before = anonymous(broker.pid());
    round(&broker, 1500);
    let after = anonymous(broker.pid());
    assert!(after < before + (16 << 20), "{} KiB more after 6000 connections", (after - before) >> 10);
    // Every one of them was closed: none waits for a keep alive or for the rest of its CONNECT.
    let end = Instant::now() + Duration::from_secs(5);
    while open_files(&broker) > files + 4 {
        assert!(Instant::now() < end, "{} open files, {files} before", open_files(&broker));
        thread::sleep(Duration::from_millis(10));
    }
    witness.finish();
    broker.assert_alive();
}

#[test]
fn connections_that_send_nothing_are_closed_in_time() {
    let broker =
        Broker::configured("[[listener]]\nname = \"h\"\nbind = \"127.0.0.1:0\"\nconnect-timeout = \"1s\"\n");
    let mut idle: Vec<Wire> =
        (0..200).map(|_| Wire::over(TcpStream::connect(broker.address("h")).unwrap(), Version::V5)).collect();
    for wire in &mut idle {
        wire.expect_closed();
    }
}

/// 65,400 levels and their removal (CVE-2019-11779, CVE-2026-95844): no recursion, no crash, with the limits lifted.
#[test]
fn the_deepest_topics_and_filters_are_taken_and_dropped() {
    let mut broker = Broker::configured("[limits]\nmax-topic-levels = 65535\n");
    let witness = Witness::new(&broker);
    let deep = "/".repeat(65_400);
    let wild = format!("{}+", "+/".repeat(32_700));
    for _ in 0..3 {
        let mut wire = Wire::connect(&broker, &Connect::v311("deep").keep_alive(0));
        let codes = wire.subscribe_many(&[(&deep, 1), (&wild, 1), ("/#", 1)]);
        assert_eq!(codes.len(), 3);
        wire.publish(Publish::new(&deep, "x").qos(1).retain());
        while wire.take().1 != "x" {}
        wire.unsubscribe(&[&deep, &wild]);
        wire.publish(Publish::new(&deep, "").qos(1).retain());
    }
    witness.finish();
    broker.assert_alive();
}

/// Sessions without end (mosquitto#2455, vernemq#511): those of clean clients leave nothing behind.
#[test]
fn clean_sessions_leave_nothing_behind() {
    let broker = Broker::configured("[log]\nconnections = false\n");
    let cycle = |from: usize, to: usize| {
        for n in from..to {
            let mut wire = Wire::connect(&broker, &Connect::v311(&format!("once{n}")));
            wire.subscribe(&format!("own/{n}/#"), 1);
            wire.publish(Publish::new(&format!("own/{n}/t"), "x").qos(1));
            wire.receive_publish();
        }
    };
    cycle(0, 1000);
    let before = anonymous(broker.pid());
    cycle(1000, 4000);
    let after = anonymous(broker.pid());
    assert!(after < before + (8 << 20), "{} KiB more after 3000 sessions", (after - before) >> 10);
}
