//! A subscriber that acknowledges late, in pieces, and dies in between, with windows of every size: each message is
//! completed once, first seen in order, and never comes again after it was acknowledged.

use std::collections::BTreeMap;

use tercet_interop::packet::ack;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire, id};

const MESSAGES: usize = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// PUBLISH was seen.
    Seen,
    /// PUBREC was sent and the broker has taken it.
    Recorded,
    /// PUBACK or PUBCOMP was sent and the broker has taken it.
    Done,
}

struct Subscriber {
    seed: u64,
    wire: Wire,
    version: Version,
    window: usize,
    states: BTreeMap<usize, State>,
    /// Packet identifier to message and quality, of what is not done.
    open: BTreeMap<u16, (usize, u8)>,
    /// PUBLISH packets of this connection that are not done.
    outstanding: Vec<u16>,
    highest: Option<usize>,
}

impl Subscriber {
    fn random(&mut self, n: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % n
    }

    fn connect(broker: &Broker, version: Version, window: usize) -> Wire {
        let mut connect = Connect::new(version, "s").durable();
        if version == Version::V5 {
            connect = connect.number(id::RECEIVE_MAXIMUM, window as u32);
        }
        Wire::connect(broker, &connect)
    }

    fn crash(&mut self, broker: &Broker) {
        // A 3.x client cannot name a window; the broker's own is far larger than this test.
        self.version = Version::ALL[self.random(3)];
        self.window = if self.version == Version::V5 { 1 + self.random(6) } else { usize::MAX };
        self.wire = Self::connect(broker, self.version, self.window.min(65_535));
        self.outstanding.clear();
    }

    /// Waits for one packet and looks whether it may come.
    fn receive(&mut self) {
        match self.wire.receive() {
            Packet::Publish(publish) => {
                let n: usize = publish.text().parse().unwrap();
                match self.states.get(&n) {
                    None => {
                        assert!(
                            self.highest.is_none_or(|highest| n > highest),
                            "{n} is first seen out of order"
                        );
                        self.highest = Some(n);
                        self.states.insert(n, State::Seen);
                    }
                    Some(State::Seen) => assert!(publish.dup, "{n} comes again without DUP"),
                    Some(state) => panic!("{n} comes again though it is {state:?}"),
                }
                if let Some((other, _)) = self.open.insert(publish.id, (n, publish.qos)) {
                    assert_eq!(other, n, "identifier {} stands for two messages", publish.id);
                }
                self.outstanding.push(publish.id);
                assert!(
                    self.outstanding.len() <= self.window,
                    "{} in a window of {}",
                    self.outstanding.len(),
                    self.window
                );
            }
            Packet::Pubrel(release) => {
                let (n, _) = self.open[&release.id];
                assert_eq!(self.states[&n], State::Recorded);
                self.complete(0x70, release.id, n);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Acknowledges one message that is open, one step further.
    fn acknowledge(&mut self, at: usize) {
        let at = at % self.outstanding.len();
        let packet_id = self.outstanding[at];
        let (n, qos) = self.open[&packet_id];
        if qos == 1 {
            return self.complete(0x40, packet_id, n);
        }
        if self.states[&n] == State::Seen {
            self.wire.send(&ack(0x50, packet_id));
            // The PUBREL tells that the PUBREC was taken.
            let answer = self.answer();
            assert!(matches!(&answer, Packet::Pubrel(release) if release.id == packet_id), "{answer:?}");
            self.states.insert(n, State::Recorded);
            // Some go on to PUBCOMP later, or die before: then the next connection gets the PUBREL again.
            if self.random(2) == 0 {
                return;
            }
        }
        self.complete(0x70, packet_id, n);
    }

    /// The next packet that is neither a PUBLISH nor a PUBREL sent again after a reconnect; those are completed.
    fn answer(&mut self) -> Packet {
        loop {
            match self.wire.answer() {
                Packet::Pubrel(release) if self.states[&self.open[&release.id].0] == State::Recorded => {
                    let (n, _) = self.open[&release.id];
                    self.wire.send(&ack(0x70, release.id));
                    self.close(release.id, n);
                }
                other => return other,
            }
        }
    }

    fn complete(&mut self, first: u8, packet_id: u16, n: usize) {
        self.wire.send(&ack(first, packet_id));
        self.wire.send(&[0xC0, 0]);
        assert_eq!(self.answer(), Packet::Pingresp);
        self.close(packet_id, n);
    }

    fn close(&mut self, packet_id: u16, n: usize) {
        self.states.insert(n, State::Done);
        self.open.remove(&packet_id);
        self.outstanding.retain(|id| *id != packet_id);
    }

    fn done(&self) -> usize {
        self.states.values().filter(|state| **state == State::Done).count()
    }
}

#[test]
fn every_message_is_completed_once() {
    for seed in 0..10 {
        let broker = Broker::start();
        let mut wire = Subscriber::connect(&broker, Version::V5, 3);
        wire.subscribe("t", 2);
        let mut subscriber = Subscriber {
            seed,
            wire,
            version: Version::V5,
            window: 3,
            states: BTreeMap::new(),
            open: BTreeMap::new(),
            outstanding: Vec::new(),
            highest: None,
        };
        let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
        let mut published = 0;
        while subscriber.done() < MESSAGES {
            match subscriber.random(12) {
                0 => subscriber.crash(&broker),
                1..=3 if published < MESSAGES => {
                    publisher
                        .publish(Publish::new("t", published.to_string()).qos(1 + (published % 2) as u8));
                    published += 1;
                }
                4..=7
                    if subscriber.outstanding.len() < subscriber.window
                        && subscriber.states.len() < published =>
                {
                    subscriber.receive();
                }
                _ if !subscriber.outstanding.is_empty() => {
                    let at = subscriber.random(subscriber.outstanding.len());
                    subscriber.acknowledge(at);
                }
                _ if subscriber.done() < published => subscriber.receive(),
                _ => {}
            }
        }
        subscriber.wire.ping();
    }
}
