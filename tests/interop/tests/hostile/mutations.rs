//! Well-formed conversations with bytes changed, cut, doubled and swapped (as NanoMQ's and RMQTT's attackers did):
//! whatever comes, the broker answers or closes, lives on, and keeps nothing of it.

use std::thread;
use std::time::Duration;

use tercet_interop::memory::anonymous;
use tercet_interop::packet::{ack, auth, disconnect, frame, subscribe, unsubscribe};
use tercet_interop::{Broker, Connect, Properties, Publish, Version, Will, Wire, id};

use crate::witness::Witness;

/// SplitMix64: a fixed seed makes every run the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn conversation(version: Version, client: &str, random: &mut Random) -> Vec<Vec<u8>> {
    let v5 = version == Version::V5;
    let mut properties = Properties::new();
    if v5 && random.below(2) == 0 {
        properties = properties
            .number(id::MESSAGE_EXPIRY, 60)
            .text(id::CONTENT_TYPE, "a/b")
            .text(id::RESPONSE_TOPIC, "r")
            .number(id::TOPIC_ALIAS, 1 + random.below(40) as u32)
            .user("k", "v");
    }
    let mut connect = Connect::new(version, client).will(Will::new("m/will", "w").qos(1));
    if random.below(2) == 0 {
        connect = connect.durable();
    }
    let topic = ["m/a", "m/b/c", "$share/x", "m//", "m/\u{e9}"][random.below(5)];
    let publish = Publish::new(topic, vec![b'x'; random.below(300)]).properties(properties);
    let mut list = vec![
        connect.encode(),
        subscribe(version, 1, &Properties::new(), &[("m/#", 2), ("$share/g/m/+", 1), ("+/a", 0)]),
        publish.clone().encode(version),
        publish.clone().qos(1).id(2).encode(version),
        publish.clone().qos(2).id(3).encode(version),
        publish.retain().qos(2).id(4).encode(version),
        ack(0x62, 3),
        ack(0x40, 1),
        ack(0x50, 1),
        ack(0x70, 1),
        unsubscribe(version, 9, &["m/#", "none"]),
        vec![0xC0, 0],
    ];
    if v5 {
        list.push(auth(0x18, &Properties::new().text(id::AUTH_METHOD, "SCRAM-SHA-256")));
        list.push(disconnect(4, &Properties::new().number(id::SESSION_EXPIRY, 5)));
    } else {
        list.push(frame(0xE0, &[]));
    }
    list
}

fn mutate(packets: &mut Vec<Vec<u8>>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        // The CONNECT is spared half of the time, so that what follows is looked at.
        let from = random.below(2);
        let at = from + random.below(packets.len() - from);
        match random.below(7) {
            0 => {
                let packet = &mut packets[at];
                let byte = random.below(packet.len());
                packet[byte] ^= 1 << random.below(8);
            }
            1 => {
                let packet = &mut packets[at];
                let byte = random.below(packet.len());
                packet[byte] = [0, 1, 0x7f, 0x80, 0xff, b'#', b'+'][random.below(7)];
            }
            2 => {
                let packet = &mut packets[at];
                let byte = random.below(packet.len());
                packet.insert(byte, random.next() as u8);
            }
            3 => {
                let packet = &mut packets[at];
                if packet.len() > 2 {
                    let byte = random.below(packet.len());
                    packet.remove(byte);
                }
            }
            4 => {
                let copy = packets[at].clone();
                packets.insert(at, copy);
            }
            5 => {
                let other = from + random.below(packets.len() - from);
                packets.swap(at, other);
            }
            _ => {
                // A remaining length that says something else.
                let packet = &mut packets[at];
                packet[1] = random.next() as u8;
            }
        }
    }
}

#[test]
fn mutated_conversations_end_and_leave_nothing_behind() {
    // A changed client identifier may make one more durable session, which then queues; that is no leak.
    let mut broker = Broker::configured(
        "[log]\nconnections = false\nlevel = \"error\"\n[limits]\nmax-queued-messages = 20\n",
    );
    let witness = Witness::new(&broker);
    let mut before = 0;
    for (round, conversations) in [500, 1500].into_iter().enumerate() {
        thread::scope(|scope| {
            for worker in 0..4_u64 {
                let address = broker.mqtt();
                scope.spawn(move || {
                    let mut random = Random(1 + worker + 100 * round as u64);
                    for n in 0..conversations {
                        let version = Version::ALL[n % 3];
                        let mut packets = conversation(version, &format!("m{worker}"), &mut random);
                        mutate(&mut packets, &mut random);
                        let mut wire = Wire::open(address, version);
                        wire.set_patience(Duration::from_secs(10));
                        let _ = wire.try_send(&packets.concat());
                        wire.end();
                        // Whatever it answers: it must close, as no more can come. Answers are not decoded, as a
                        // changed version byte changes their form.
                        loop {
                            match wire.try_next_raw() {
                                Ok(Some(_)) => {}
                                Ok(None) => break,
                                Err(error) => {
                                    panic!("worker {worker}, conversation {n}: not closed: {error}")
                                }
                            }
                        }
                    }
                });
            }
        });
        if round == 0 {
            before = anonymous(broker.pid());
        }
    }
    let after = anonymous(broker.pid());
    // Sessions of the four clients and a handful of retained topics remain.
    assert!(
        after < before + (24 << 20),
        "{} KiB more after 6000 conversations",
        after.saturating_sub(before) >> 10
    );
    witness.finish();
    broker.assert_alive();
}

/// The same over a connection that stays: a valid prefix, then noise.
#[test]
fn noise_after_a_good_start_ends_only_its_connection() {
    let mut broker = Broker::configured("[log]\nconnections = false\nlevel = \"error\"\n");
    let witness = Witness::new(&broker);
    let mut random = Random(42);
    for n in 0..300 {
        let version = Version::ALL[n % 3];
        let mut wire = Wire::connect(&broker, &Connect::new(version, "noise"));
        let noise: Vec<u8> = (0..random.below(2000)).map(|_| random.next() as u8).collect();
        let _ = wire.try_send(&noise);
        wire.end();
        while let Some(bytes) = wire.next_raw() {
            assert!(!bytes.is_empty());
        }
    }
    witness.finish();
    broker.assert_alive();
}

/// Thousands of user properties in one CONNECT, again and again (Mosquitto 2.0.12): no hold on the processor.
#[test]
fn connects_full_of_user_properties_disturb_nobody() {
    let mut broker = Broker::configured("[log]\nconnections = false\nlevel = \"error\"\n");
    let witness = Witness::new(&broker);
    let mut list = Vec::new();
    for _ in 0..60_000 {
        list.extend([id::USER_PROPERTY, 0, 1, b'a', 0, 1, b'b']);
    }
    let mut body = b"\0\x04MQTT\x05\x02\x00\x3c".to_vec();
    let mut length = list.len();
    while length >= 0x80 {
        body.push(length as u8 | 0x80);
        length >>= 7;
    }
    body.push(length as u8);
    body.extend(&list);
    body.extend(b"\0\x01c");
    let connect = frame(0x10, &body);
    for _ in 0..50 {
        let mut wire = Wire::open(broker.mqtt(), Version::V5);
        let _ = wire.try_send(&connect);
        wire.end();
        while wire.next_raw().is_some() {}
    }
    witness.finish();
    broker.assert_alive();
}
