//! Publishers and subscribers with durable sessions that die and come back all the time, also by taking over from
//! themselves, while messages flow: QoS 1 loses nothing, QoS 2 arrives exactly once, publishers that live on are heard
//! in order, and a shared group handles everything.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;

use tercet_interop::packet::ack;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire, id};

/// Those that die and come back, `p0` and on; as many again, `q0` and on, live through.
const PUBLISHERS: usize = 3;
const MESSAGES: usize = 300;

struct Random(u64);

impl Random {
    /// True once in `n` times.
    fn once_in(&mut self, n: u64) -> bool {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).is_multiple_of(n)
    }
}

fn connect(address: SocketAddr, name: &str, version: Version, window: u32) -> Wire {
    let mut connect = Connect::new(version, name).durable().keep_alive(0);
    if version == Version::V5 {
        connect = connect.number(id::RECEIVE_MAXIMUM, window);
    }
    Wire::connect_at(address, &connect)
}

/// Dies, with or without a successor that takes over while the old connection is open.
fn come_back(old: Wire, random: &mut Random, address: SocketAddr, name: &str, window: u32) -> Wire {
    let version = if random.once_in(2) { Version::V5 } else { Version::V311 };
    if random.once_in(2) {
        let new = connect(address, name, version, window);
        drop(old);
        new
    } else {
        drop(old);
        connect(address, name, version, window)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Published,
    Released,
}

/// Publishes `MESSAGES` at QoS 1 to `NAME/1` and as many at QoS 2 to `NAME/2`, alternating, through many lives.
fn publish_through_crashes(address: SocketAddr, name: &str, seed: u64) {
    let lives_on = name.starts_with('q');
    let mut random = Random(seed);
    let mut wire = connect(address, name, Version::V5, 100);
    // Message number to its state; the packet identifier is the number plus one.
    let mut open: BTreeMap<usize, Sent> = BTreeMap::new();
    let mut next = 0;
    let packet = |n: usize| {
        Publish::new(&format!("{name}/{}", 1 + n % 2), (n / 2).to_string())
            .qos(1 + (n % 2) as u8)
            .id((n + 1) as u16)
    };
    while next < 2 * MESSAGES || !open.is_empty() {
        if !lives_on && random.once_in(25) {
            wire = come_back(wire, &mut random, address, name, 100);
            for (n, sent) in &open {
                match sent {
                    Sent::Published => wire.send(&packet(*n).dup().encode(wire.version())),
                    Sent::Released => wire.send(&ack(0x62, (n + 1) as u16)),
                }
            }
        }
        if next < 2 * MESSAGES && open.len() < 20 {
            wire.send(&packet(next).encode(wire.version()));
            open.insert(next, Sent::Published);
            next += 1;
            continue;
        }
        match wire.receive() {
            Packet::Puback(ack) => {
                assert!(ack.code < 0x80);
                open.remove(&(usize::from(ack.id) - 1));
            }
            Packet::Pubrec(record) => {
                let n = usize::from(record.id) - 1;
                if let Some(sent) = open.get_mut(&n) {
                    *sent = Sent::Released;
                    wire.send(&ack(0x62, record.id));
                }
            }
            Packet::Pubcomp(done) => {
                open.remove(&(usize::from(done.id) - 1));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    wire.disconnect();
}

/// A subscriber's memory that outlives its connections.
#[derive(Default)]
struct Inbox {
    /// QoS 2 packet identifiers that were received and not released.
    unreleased: HashSet<u16>,
}

impl Inbox {
    /// Takes one packet; a message that is new is returned.
    fn take(&mut self, wire: &mut Wire) -> Option<Publish> {
        match wire.receive() {
            Packet::Publish(publish) => match publish.qos {
                1 => {
                    wire.send(&ack(0x40, publish.id));
                    Some(publish)
                }
                2 => {
                    let is_new = self.unreleased.insert(publish.id);
                    assert!(
                        is_new || publish.dup,
                        "identifier {} is used again before its PUBREL",
                        publish.id
                    );
                    wire.send(&ack(0x50, publish.id));
                    is_new.then_some(publish)
                }
                _ => Some(publish),
            },
            Packet::Pubrel(release) => {
                self.unreleased.remove(&release.id);
                wire.send(&ack(0x70, release.id));
                None
            }
            other => panic!("{other:?}"),
        }
    }
}

fn subscribe_through_crashes(address: SocketAddr, name: &str, mut wire: Wire, seed: u64) {
    let mut random = Random(seed);
    let mut inbox = Inbox::default();
    let mut seen: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    // What happened lately, for the text of a failure.
    let mut trace: VecDeque<String> = VecDeque::new();
    while seen.len() < 4 * PUBLISHERS || seen.values().any(|numbers| numbers.len() < MESSAGES) {
        if trace.len() > 40 {
            trace.pop_front();
        }
        if random.once_in(100) {
            wire = come_back(wire, &mut random, address, name, 10);
            trace.push_back(format!("back as {:?}", wire.version()));
        }
        let Some(publish) = inbox.take(&mut wire) else { continue };
        trace.push_back(format!(
            "{} {} id {} dup {}",
            publish.topic,
            publish.text(),
            publish.id,
            publish.dup
        ));
        let n: usize = publish.text().parse().unwrap();
        let numbers = seen.entry(publish.topic.clone()).or_default();
        let is_out_of_order = n > numbers.len();
        let is_new = numbers.insert(n);
        if is_out_of_order || publish.qos == 2 && !is_new {
            panic!("{name}: {} came to {n} out of order or once more: {trace:#?}", publish.topic);
        }
    }
}

fn publish_all(address: SocketAddr) {
    thread::scope(|scope| {
        for n in 0..PUBLISHERS {
            for kind in ["p", "q"] {
                scope.spawn(move || publish_through_crashes(address, &format!("{kind}{n}"), 7 + n as u64));
            }
        }
    });
}

#[test]
fn nothing_is_lost_or_doubled() {
    let mut broker = Broker::configured("[log]\nconnections = false\n");
    let address = broker.mqtt();
    thread::scope(|scope| {
        for n in 0..4 {
            let name = format!("s{n}");
            let mut wire = connect(address, &name, Version::V5, 10);
            wire.subscribe("+/1", 1);
            wire.subscribe("+/2", 2);
            scope.spawn(move || subscribe_through_crashes(address, &name, wire, 1000 + n));
        }
        publish_all(address);
    });
    broker.assert_alive();
}

/// The members of a group die and come back; each message is handled by one of them at least, at QoS 2 by exactly one.
#[test]
fn a_shared_group_handles_everything() {
    let mut broker = Broker::configured("[log]\nconnections = false\n");
    let address = broker.mqtt();
    let seen: Mutex<BTreeMap<(String, usize), usize>> = Mutex::default();
    let all = 4 * PUBLISHERS * MESSAGES;
    let mut members: Vec<Wire> = (0..3)
        .map(|n| {
            let mut wire = connect(address, &format!("m{n}"), Version::V5, 10);
            wire.subscribe("$share/g/+/1", 1);
            wire.subscribe("$share/g/+/2", 2);
            wire.subscribe("stop", 1);
            wire
        })
        .collect();
    thread::scope(|scope| {
        for (n, mut wire) in members.drain(..).enumerate() {
            let seen = &seen;
            scope.spawn(move || {
                let name = format!("m{n}");
                let mut random = Random(50 + n as u64);
                let mut inbox = Inbox::default();
                loop {
                    if random.once_in(100) {
                        wire = come_back(wire, &mut random, address, &name, 10);
                    }
                    let Some(publish) = inbox.take(&mut wire) else { continue };
                    if publish.topic == "stop" {
                        return;
                    }
                    let n: usize = publish.text().parse().unwrap();
                    *seen.lock().unwrap().entry((publish.topic, n)).or_default() += 1;
                }
            });
        }
        publish_all(address);
        let end = std::time::Instant::now() + tercet_interop::wire::PATIENCE;
        while seen.lock().unwrap().len() < all && std::time::Instant::now() < end {
            thread::sleep(std::time::Duration::from_millis(10));
        }
        connect(address, "stopper", Version::V5, 10).publish(Publish::new("stop", "").qos(1));
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), all, "messages handled");
    let doubled = seen.iter().filter(|((topic, _), count)| topic.ends_with("/2") && **count > 1).count();
    assert_eq!(doubled, 0, "QoS 2 messages that were handled twice");
    broker.assert_alive();
}
