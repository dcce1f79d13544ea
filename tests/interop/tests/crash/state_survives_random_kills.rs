//! A broker is killed at random moments while retained values change and a session subscribes and unsubscribes: whatever
//! was confirmed last is what the next life knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tercet_interop::lives::Lives;
use tercet_interop::packet::{self, ack};
use tercet_interop::{Connect, Heard, Packet, Properties, Publish, Random, Version, Wire};

use crate::end_of_kills;
use crate::queues_survive_random_kills::QUIET;

const TOPICS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);

/// Versions of the retained value of a topic. Every fourth version of a topic above 3 is a deletion.
#[derive(Default)]
struct Versions {
    /// The last that was confirmed.
    confirmed: AtomicU64,
    /// The last that was sent.
    sent: AtomicU64,
}

fn is_deletion(topic: usize, version: u64) -> bool {
    topic >= TOPICS / 2 && version.is_multiple_of(4)
}

#[test]
fn state_survives_random_kills() {
    let mut random = Random::seeded("state_survives_random_kills");
    let lives = Lives::begin(QUIET);
    let versions: [Versions; TOPICS] = Default::default();
    let writer = Writer::new(&lives, &versions, random.fork());
    lives.connect(&changer()).0.subscribe("probe/end", 1);
    let end = end_of_kills();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| writer.run(&over));
        scope.spawn(|| check_retained(&lives, &versions, &over));
        let changes = random.fork();
        scope.spawn(|| change_subscriptions(&lives, changes, &over));
        let mut killer = random.fork();
        let kills = lives.storm(&mut killer, end);
        over.store(true, Ordering::SeqCst);
        eprintln!("{kills} kills");
    });
    check_deletions(&lives, &versions);
    lives.finish();
}

/// Sets retained values one after the other, in a durable session, at QoS 1 and 2.
struct Writer<'a> {
    lives: &'a Lives,
    versions: &'a [Versions; TOPICS],
    random: Random,
    wire: Wire,
}

impl<'a> Writer<'a> {
    /// Gives each topic its first value.
    fn new(lives: &'a Lives, versions: &'a [Versions; TOPICS], random: Random) -> Self {
        let (wire, _, present) = lives.connect(&Self::connect());
        assert!(!present);
        let mut writer = Self { lives, versions, random, wire };
        for topic in 0..TOPICS {
            writer.set(topic);
        }
        writer
    }

    fn run(mut self, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) {
            let topic = self.random.below(TOPICS as u64) as usize;
            self.set(topic);
        }
    }

    /// Goes on until the value is confirmed, through as many lives as it takes.
    fn set(&mut self, topic: usize) {
        let version = self.versions[topic].sent.load(Ordering::SeqCst) + 1;
        self.versions[topic].sent.store(version, Ordering::SeqCst);
        let text = if is_deletion(topic, version) { String::new() } else { version.to_string() };
        let qos = 1 + self.random.below(2) as u8;
        let id = self.wire.packet_id();
        let publish = Publish::new(&format!("ret/{topic}"), text).qos(qos).id(id).retain();
        let mut bytes = publish.encode(Version::V5);
        let mut released = false;
        let mut alive = self.wire.try_send(&bytes).is_ok();
        loop {
            if !alive {
                let (wire, life, present) = self.lives.connect(&Self::connect());
                assert!(present, "the session is gone in life {life}");
                self.wire = wire;
                bytes = if released { ack(0x62, id) } else { publish.clone().dup().encode(Version::V5) };
                alive = self.wire.try_send(&bytes).is_ok();
                continue;
            }
            match self.wire.hear(PATIENCE) {
                Heard::Packet(Packet::Puback(done)) if done.id == id && done.code < 0x80 => break,
                Heard::Packet(Packet::Pubrec(done)) if done.id == id && done.code < 0x80 => {
                    released = true;
                    alive = self.wire.try_send(&ack(0x62, id)).is_ok();
                }
                Heard::Packet(Packet::Pubcomp(done)) if done.id == id => break,
                Heard::Closed => alive = false,
                other => panic!("{publish:?}: {other:?}"),
            }
        }
        self.versions[topic].confirmed.store(version, Ordering::SeqCst);
    }

    fn connect() -> Connect {
        Connect::v5("writer").durable().keep_alive(0)
    }
}

/// Reads the values that are never deleted again and again, as a new client.
fn check_retained(lives: &Lives, versions: &[Versions; TOPICS], over: &AtomicBool) {
    let mut rounds = 0;
    while !over.load(Ordering::SeqCst) {
        let filters = ["ret/0", "ret/1", "ret/2", "ret/3"];
        let (mut wire, life, _) = lives.connect(&Connect::v5("reader").keep_alive(0));
        let confirmed = versions.each_ref().map(|versions| versions.confirmed.load(Ordering::SeqCst));
        let list = filters.map(|filter| (filter, 1));
        if wire.try_send(&packet::subscribe(Version::V5, 1, &Properties::new(), &list)).is_err() {
            continue;
        }
        let mut seen = BTreeMap::new();
        while seen.len() < filters.len() {
            match wire.hear(PATIENCE) {
                // A value that changes meanwhile comes as it is now, or as the message that changes it.
                Heard::Packet(Packet::Publish(publish)) => {
                    // The broker may be dead by now.
                    let _ = wire.try_send(&ack(0x40, publish.id));
                    seen.insert(publish.topic.clone(), publish.text());
                }
                Heard::Packet(Packet::Suback(..)) => {}
                Heard::Closed => break,
                other => panic!("life {life}: {seen:?} and then {other:?}"),
            }
        }
        for (topic, text) in seen {
            let n: usize = topic.rsplit('/').next().unwrap().parse().unwrap();
            let version: u64 = text.parse().unwrap();
            let sent = versions[n].sent.load(Ordering::SeqCst);
            assert!(
                (confirmed[n]..=sent).contains(&version),
                "life {life}: {topic} has version {version}, confirmed was {}, sent {sent}",
                confirmed[n]
            );
            rounds += 1;
        }
    }
    assert!(rounds > 0, "the retained values were never read");
}

/// Once nothing changes any more, and after another kill: each topic has its last value, or none.
fn check_deletions(lives: &Lives, versions: &[Versions; TOPICS]) {
    lives.kill();
    lives.revive();
    let (mut wire, _, _) = lives.connect(&Connect::v5("reader"));
    wire.subscribe("ret/#", 1);
    let expected: BTreeMap<String, String> = versions
        .iter()
        .enumerate()
        .map(|(topic, versions)| (topic, versions.confirmed.load(Ordering::SeqCst)))
        .filter(|(topic, version)| !is_deletion(*topic, *version))
        .map(|(topic, version)| (format!("ret/{topic}"), version.to_string()))
        .collect();
    let mut seen = BTreeMap::new();
    while seen.len() < expected.len() {
        let (topic, text) = wire.take();
        seen.insert(topic, text);
    }
    assert_eq!(seen, expected);
    wire.ping();
}

/// Subscribes and unsubscribes in a durable session, and looks after each death of the broker which of eight topics it
/// gets.
fn change_subscriptions(lives: &Lives, mut random: Random, over: &AtomicBool) {
    let mut subscribed: BTreeSet<usize> = BTreeSet::new();
    // The topic whose subscription may be there or not, as its change was not confirmed.
    let mut uncertain = None;
    let mut probe = 0;
    while !over.load(Ordering::SeqCst) {
        let (mut wire, life, present) = lives.connect(&changer());
        assert!(present, "the session is gone in life {life}");
        probe += 1;
        let Some(seen) = probe_subscriptions(lives, &mut wire, probe) else { continue };
        for topic in 0..TOPICS {
            let is_certain = uncertain != Some(topic);
            let expected = subscribed.contains(&topic);
            assert!(
                !is_certain || seen.contains(&topic) == expected,
                "life {life}: probe/{topic} should be {expected}, got {seen:?}"
            );
        }
        if let Some(topic) = uncertain.take() {
            set_member(&mut subscribed, topic, seen.contains(&topic));
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && !over.load(Ordering::SeqCst) {
            let topic = random.below(TOPICS as u64) as usize;
            let wanted = !subscribed.contains(&topic);
            uncertain = Some(topic);
            if !change(&mut wire, topic, wanted) {
                break;
            }
            uncertain = None;
            set_member(&mut subscribed, topic, wanted);
        }
    }
}

fn changer() -> Connect {
    Connect::v5("changer").durable().keep_alive(0)
}

fn set_member(set: &mut BTreeSet<usize>, topic: usize, is_in: bool) {
    if is_in {
        set.insert(topic);
    } else {
        set.remove(&topic);
    }
}

/// Changes one subscription; false if it is not known whether it was changed.
fn change(wire: &mut Wire, topic: usize, wanted: bool) -> bool {
    let id = wire.packet_id();
    let filter = format!("probe/{topic}");
    let bytes = if wanted {
        packet::subscribe(Version::V5, id, &Properties::new(), &[(&filter, 1)])
    } else {
        packet::unsubscribe(Version::V5, id, &[&filter])
    };
    if wire.try_send(&bytes).is_err() {
        return false;
    }
    loop {
        match wire.hear(PATIENCE) {
            Heard::Packet(Packet::Suback(seen, codes, _)) if seen == id => {
                assert_eq!(codes, [1]);
                return true;
            }
            Heard::Packet(Packet::Unsuback(seen, codes, _)) if seen == id => {
                assert_eq!(codes, [0]);
                return true;
            }
            // A message of an earlier probe.
            Heard::Packet(Packet::Publish(publish)) => {
                if wire.try_send(&ack(0x40, publish.id)).is_err() {
                    return false;
                }
            }
            Heard::Closed => return false,
            other => panic!("{other:?}"),
        }
    }
}

/// Which topics arrive when each is published to once; `None` if the broker dies meanwhile.
fn probe_subscriptions(lives: &Lives, wire: &mut Wire, probe: u64) -> Option<BTreeSet<usize>> {
    let (mut publisher, _, _) = lives.connect(&Connect::v311("prober").keep_alive(0));
    let topics = (0..TOPICS).map(|topic| topic.to_string()).chain(["end".to_owned()]);
    for (n, topic) in topics.enumerate() {
        let publish = Publish::new(&format!("probe/{topic}"), probe.to_string()).qos(1).id(n as u16 + 1);
        publisher.try_send(&publish.encode(Version::V311)).ok()?;
    }
    let mut seen = BTreeSet::new();
    loop {
        match wire.hear(PATIENCE) {
            Heard::Packet(Packet::Publish(publish)) => {
                wire.try_send(&ack(0x40, publish.id)).ok()?;
                // Others are left over from an earlier probe.
                if publish.text() == probe.to_string() {
                    match publish.topic.rsplit('/').next().and_then(|topic| topic.parse().ok()) {
                        Some(topic) => seen.insert(topic),
                        None => return Some(seen),
                    };
                }
            }
            Heard::Closed => return None,
            other => panic!("{other:?}"),
        }
    }
}
