//! A subscriber with a durable session that goes on where the death of the broker has interrupted it, and holds the
//! broker to what it has acknowledged.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tercet_interop::lives::Lives;
use tercet_interop::packet::ack;
use tercet_interop::{Connect, Heard, Packet, Publish, Random, Version, Wire, id};

use crate::publisher::read_payload;

/// How long after its acknowledgement a message may still come back when the broker dies.
const GRACE: Duration = Duration::from_millis(100);
/// How long everything may take to arrive once the kills are over.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing may come before nothing more will.
const SILENCE: Duration = Duration::from_millis(300);

/// A message: topic, number, attempt.
type Key = (String, u64, u32);

/// What has arrived at one subscriber, or at all members of a shared subscription.
#[derive(Default)]
pub(crate) struct Ledger {
    arrived: Mutex<Arrived>,
}

#[derive(Default)]
struct Arrived {
    got: HashMap<Key, Got>,
    /// Topic to the numbers of its messages, and whether each has come.
    numbers: BTreeMap<String, Vec<bool>>,
    /// Messages that came again although they had been acknowledged: what, in which life, and when.
    returned: Vec<(String, usize, Instant)>,
}

struct Got {
    id: u16,
    acknowledged: Option<(usize, Instant)>,
}

/// How many messages each topic got, once that is certain.
pub(crate) type Totals = Mutex<Option<Vec<(String, u64)>>>;

/// How a subscriber behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Always there, acknowledges at once.
    Prompt,
    /// Always there, lets messages wait for their acknowledgement.
    Slow,
    /// Away most of the time.
    Absent,
}

pub(crate) struct Subscriber<'a> {
    lives: &'a Lives,
    ledger: Arc<Ledger>,
    name: String,
    version: Version,
    habit: Habit,
    is_member: bool,
    random: Random,
    link: Option<(Wire, usize)>,
    /// QoS 2 packet identifiers that were received and not released.
    unreleased: HashMap<u16, Key>,
    /// QoS 2 packet identifiers that were released, and when the last PUBCOMP was sent.
    completed: HashMap<u16, (usize, Instant)>,
    /// To be acknowledged on this connection.
    unacknowledged: Vec<(u8, u16, Key)>,
    /// What happened lately, for the text of a failure.
    lately: VecDeque<String>,
}

impl<'a> Subscriber<'a> {
    /// Connects and subscribes to everything, or as a member of a shared subscription.
    pub(crate) fn new(
        lives: &'a Lives,
        ledger: &Arc<Ledger>,
        name: &str,
        version: Version,
        (habit, is_member): (Habit, bool),
        random: Random,
    ) -> Self {
        let (mut wire, life, present) = lives.connect(&connect(name, version));
        assert!(!present, "{name}: a session out of nowhere");
        let share = if is_member { "$share/g/" } else { "" };
        wire.subscribe(&format!("{share}+/1"), 1);
        wire.subscribe(&format!("{share}+/2"), 2);
        Self {
            lives,
            ledger: ledger.clone(),
            name: name.to_owned(),
            version,
            habit,
            is_member,
            random,
            link: Some((wire, life)),
            unreleased: HashMap::new(),
            completed: HashMap::new(),
            unacknowledged: Vec::new(),
            lately: VecDeque::new(),
        }
    }

    /// Receives until everything that `totals` will name has come, and nothing more comes.
    pub(crate) fn run(mut self, totals: &Totals) {
        let mut deadline = None;
        let mut quiet_since = Instant::now();
        loop {
            let certain = totals.lock().unwrap().is_some();
            if certain {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                assert!(Instant::now() < deadline, "{}: {}", self.name, self.missing(totals));
            } else if self.habit == Habit::Absent && self.random.once_in(100) {
                self.go_away();
            }
            if self.link.is_none() {
                self.resume();
            }
            if let Some(packet) = self.hear(Duration::from_millis(5)) {
                quiet_since = Instant::now();
                self.take(packet);
            }
            if certain || self.habit != Habit::Slow || self.random.once_in(20) {
                self.acknowledge();
            }
            if certain && quiet_since.elapsed() > SILENCE && self.missing(totals).is_empty() {
                break;
            }
        }
        assert!(self.unreleased.is_empty(), "{}: never released: {:?}", self.name, self.unreleased);
        self.expect_nothing_left();
    }

    fn resume(&mut self) {
        let (wire, life, present) = self.lives.connect(&connect(&self.name, self.version));
        assert!(present, "{}: the session is gone in life {life}", self.name);
        self.link = Some((wire, life));
        self.note(format!("connected in life {life}"));
    }

    fn note(&mut self, what: String) {
        if self.lately.len() >= 120 {
            self.lately.pop_front();
        }
        self.lately.push_back(what);
    }

    fn take(&mut self, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.take_publish(&publish),
            Packet::Pubrel(release) => self.take_release(release.id),
            other => panic!("{}: {other:?}", self.name),
        }
    }

    fn take_publish(&mut self, publish: &Publish) {
        let (number, attempt) = read_payload(publish);
        let key = (publish.topic.clone(), number, attempt);
        self.note(format!("{key:?} as {} dup {}", publish.id, publish.dup));
        let life = self.life();
        let mut arrived = self.ledger.arrived.lock().unwrap();
        let what = || format!("{}: {key:?} as {} in life {life}", self.name, publish.id);
        if publish.qos == 2 {
            match self.unreleased.get(&publish.id) {
                Some(known) => {
                    assert_eq!(*known, key, "{}: an identifier is used again before PUBREL", self.name)
                }
                None => {
                    assert!(!arrived.got.contains_key(&key), "{} came once more", what());
                    self.unreleased.insert(publish.id, key.clone());
                }
            }
        }
        if let Some(earlier) = arrived.got.get(&key) {
            if let Some((then, at)) = earlier.acknowledged {
                assert!(then != life, "{} was acknowledged in this life", what());
                arrived.returned.push((what(), then, at));
            } else if !self.is_member {
                assert_eq!(earlier.id, publish.id, "{}: its identifier changed", what());
                assert!(publish.dup, "{} comes again without DUP", what());
            }
        } else {
            arrived.got.insert(key.clone(), Got { id: publish.id, acknowledged: None });
            let numbers = arrived.numbers.entry(publish.topic.clone()).or_default();
            let at = number as usize;
            // The members of a group have no common order.
            let lost = !self.is_member && numbers.len() < at;
            assert!(!lost, "{} comes when {} is due: {:#?}", what(), numbers.len(), self.lately);
            if numbers.len() <= at {
                numbers.resize(at + 1, false);
            }
            numbers[at] = true;
        }
        drop(arrived);
        self.unacknowledged.push((publish.qos, publish.id, key));
    }

    fn take_release(&mut self, id: u16) {
        let life = self.life();
        if let Some(key) = self.unreleased.remove(&id) {
            let arrived = self.ledger.arrived.lock().unwrap();
            assert!(arrived.got[&key].acknowledged.is_some(), "{}: PUBREL {id} before PUBREC", self.name);
        } else {
            let Some((then, at)) = self.completed.get(&id).copied() else {
                panic!("{}: PUBREL {id} out of nowhere", self.name)
            };
            let what = format!("{}: PUBREL {id} in life {life}", self.name);
            assert!(then != life, "{what} was answered in this life");
            self.ledger.arrived.lock().unwrap().returned.push((what, then, at));
        }
        if self.send(&ack(0x70, id)) {
            self.completed.insert(id, (life, Instant::now()));
        } else {
            // Whether it was heard is not known; it may be released again at any time.
            self.completed.insert(id, (life, Instant::now() + PATIENCE));
        }
    }

    /// Acknowledges what has come, in its order [MQTT-4.6.0-2].
    fn acknowledge(&mut self) {
        if self.unacknowledged.is_empty() {
            return;
        }
        let life = self.life();
        let list = mem::take(&mut self.unacknowledged);
        let bytes: Vec<u8> =
            list.iter().flat_map(|(qos, id, _)| ack(if *qos == 1 { 0x40 } else { 0x50 }, *id)).collect();
        let sent = self.send(&bytes);
        // If it is not known whether they were heard, they may come again.
        let at = if sent { Instant::now() } else { Instant::now() + PATIENCE };
        let mut arrived = self.ledger.arrived.lock().unwrap();
        for (_, _, key) in list {
            if let Some(got) = arrived.got.get_mut(&key) {
                got.acknowledged = Some((life, at));
            }
        }
    }

    /// Leaves politely, and stays away for a while.
    fn go_away(&mut self) {
        self.acknowledge();
        self.note("goes away".to_owned());
        if self.send(&[0xE0, 0]) {
            // What is still on its way will come again.
            while self.hear(PATIENCE).is_some() {}
        }
        self.link = None;
        self.unacknowledged.clear();
        std::thread::sleep(Duration::from_millis(self.random.below(600)));
    }

    /// Comes back once more: the session is there, and empty.
    fn expect_nothing_left(mut self) {
        self.go_away();
        self.resume();
        assert!(self.send(&[0xC0, 0]));
        let packet = self.hear(PATIENCE);
        assert_eq!(packet, Some(Packet::Pingresp), "{}: something is left", self.name);
        let packet = self.hear(SILENCE);
        assert_eq!(packet, None, "{}: something is left", self.name);
    }

    fn missing(&self, totals: &Totals) -> String {
        let arrived = self.ledger.arrived.lock().unwrap();
        let mut text = String::new();
        for (topic, total) in totals.lock().unwrap().iter().flatten() {
            let numbers = arrived.numbers.get(topic).map(Vec::as_slice).unwrap_or_default();
            let missing: Vec<u64> =
                (0..*total).filter(|n| !numbers.get(*n as usize).copied().unwrap_or_default()).collect();
            if !missing.is_empty() {
                let _ = write!(
                    text,
                    "{topic} lacks {} of {total}: {:?} ",
                    missing.len(),
                    &missing[..missing.len().min(20)]
                );
            }
        }
        text
    }

    fn life(&self) -> usize {
        self.link.as_ref().map_or(usize::MAX, |(_, life)| *life)
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.link.as_mut().is_some_and(|(wire, _)| wire.try_send(bytes).is_ok());
        if !sent {
            self.lost();
        }
        sent
    }

    fn hear(&mut self, patience: Duration) -> Option<Packet> {
        match self.link.as_mut()?.0.hear(patience) {
            Heard::Packet(packet) => return Some(packet),
            Heard::Nothing => {}
            Heard::Closed => self.lost(),
        }
        None
    }

    fn lost(&mut self) {
        self.link = None;
        self.unacknowledged.clear();
    }
}

impl Ledger {
    /// Panics if something came back that was acknowledged early enough: earlier than [`GRACE`] and the slowest
    /// confirmation of that life before its end. Returns what happened, in words.
    pub(crate) fn judge(&self, lives: &Lives) -> String {
        let arrived = self.arrived.lock().unwrap();
        assert!(!arrived.got.is_empty(), "nothing arrived");
        let mut late = Vec::new();
        let mut longest = Duration::ZERO;
        for (what, life, at) in &arrived.returned {
            let (before, slowest) = lives.before_end(*life, *at);
            longest = longest.max(before);
            if before > GRACE + slowest {
                late.push(format!(
                    "{what}, acknowledged {before:?} before the kill, slowest confirmation {slowest:?}"
                ));
            }
        }
        assert!(late.is_empty(), "came back although acknowledged: {late:#?}");
        let (count, returned) = (arrived.got.len(), arrived.returned.len());
        format!("{count} messages, {returned} came back, at most {longest:?} after their acknowledgement")
    }
}

fn connect(name: &str, version: Version) -> Connect {
    let connect = Connect::new(version, name).durable().keep_alive(0);
    if version == Version::V5 { connect.number(id::RECEIVE_MAXIMUM, 10) } else { connect }
}
