//! Random walks over connect, subscribe, publish and leave, each step compared with a model of what MQTT promises:
//! every message once, at its quality, in its order, to whom it belongs, with its flags.

use std::collections::{BTreeMap, VecDeque};

use tercet_interop::packet::subscribe;
use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Wire, id};

/// SplitMix64: the seed in a failure's text makes it happen again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

const TOPICS: [&str; 10] = ["a", "b", "a/b", "a/c", "a/b/c", "/a", "a/", "$x/a", "b/b", "a//b"];
const FILTERS: [&str; 14] =
    ["#", "+", "a", "a/b", "a/+", "a/#", "+/b", "+/+", "+/+/+", "/+", "$x/#", "b/#", "a/+/c", "a/b/#"];

/// §4.7, written for the model alone.
fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('#') || filter.starts_with('+')) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(f), Some(t)) if f == t => {}
            _ => return false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    topic: String,
    text: String,
    qos: u8,
    retain: bool,
    numbers: Vec<u32>,
}

#[derive(Clone)]
struct Subscription {
    options: u8,
    number: Option<u32>,
}

struct Client {
    name: String,
    version: Version,
    wire: Option<Wire>,
    durable: bool,
    has_session: bool,
    subscriptions: BTreeMap<&'static str, Subscription>,
    queue: VecDeque<Expected>,
}

struct Walk {
    broker: Broker,
    random: Random,
    clients: Vec<Client>,
    /// Topic to text, quality and author.
    retained: BTreeMap<&'static str, (String, u8, usize)>,
    steps: Vec<String>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let clients = (0..4)
            .map(|n| Client {
                name: format!("c{n}"),
                version: Version::V5,
                wire: None,
                durable: false,
                has_session: false,
                subscriptions: BTreeMap::new(),
                queue: VecDeque::new(),
            })
            .collect();
        let random = Random(seed);
        Self {
            broker: Broker::start(),
            random,
            clients,
            retained: BTreeMap::new(),
            steps: vec![format!("seed {seed}")],
        }
    }

    fn step(&mut self) {
        let at = self.random.below(self.clients.len());
        if self.clients[at].wire.is_none() || self.random.below(12) == 0 {
            self.connect(at);
        } else {
            match self.random.below(10) {
                0 => self.leave(at),
                1..=2 => self.subscribe(at),
                3 => self.unsubscribe(at),
                _ => self.publish(at),
            }
        }
        self.settle();
    }

    /// Connects, or takes over when the client is connected already.
    fn connect(&mut self, at: usize) {
        let version = Version::ALL[self.random.below(3)];
        let durable = self.random.below(3) > 0;
        let resume = durable || self.random.below(2) == 0;
        let client = &mut self.clients[at];
        // A 3.x session is either clean on both ends or on neither.
        let resume = if version == Version::V5 { resume } else { durable };
        let mut connect = Connect::new(version, &client.name);
        if resume {
            connect = connect.resume();
        }
        if version == Version::V5 && durable {
            connect = connect.expiry(3600);
        }
        self.steps.push(format!("{} connects, {version:?}, resume {resume}, durable {durable}", client.name));
        let old = client.wire.take();
        let (wire, present, _) = Wire::connect_full(&self.broker, &connect);
        drop(old);
        // A session that ends with its connection ends when another takes over [MQTT-3.1.2-6 of 3.1.1, §3.1.2.11.2].
        let kept = resume && client.has_session && client.durable;
        assert!(version == Version::V31 || present == kept, "session present is {present}");
        if !kept {
            client.subscriptions.clear();
            client.queue.clear();
        }
        client.version = version;
        client.durable = durable;
        client.has_session = true;
        client.wire = Some(wire);
    }

    fn leave(&mut self, at: usize) {
        let client = &mut self.clients[at];
        self.steps.push(format!("{} leaves", client.name));
        client.wire.take().unwrap().disconnect();
        if !client.durable {
            client.has_session = false;
            client.subscriptions.clear();
            client.queue.clear();
        }
    }

    fn subscribe(&mut self, at: usize) {
        let filter = self.random.pick(&FILTERS);
        let v5 = self.clients[at].version == Version::V5;
        let mut options = self.random.below(3) as u8;
        let mut number = None;
        if v5 {
            options |= [0, 4][self.random.below(2)]
                | [0, 8][self.random.below(2)]
                | [0, 0x10, 0x20][self.random.below(3)];
            number = (self.random.below(2) == 0).then(|| 1 + self.random.below(1000) as u32);
        }
        let client = &mut self.clients[at];
        self.steps.push(format!("{} subscribes {filter} {options:#04x} {number:?}", client.name));
        let mut properties = Properties::new();
        if let Some(number) = number {
            properties = properties.number(id::SUBSCRIPTION_ID, number);
        }
        let wire = client.wire.as_mut().unwrap();
        wire.send(&subscribe(client.version, 1, &properties, &[(filter, options)]));
        assert!(matches!(wire.answer(), Packet::Suback(1, codes, _) if codes == [options & 3]));
        let is_new = client.subscriptions.insert(filter, Subscription { options, number }).is_none();
        if options & 0x30 == 0x20 || options & 0x30 == 0x10 && !is_new {
            return;
        }
        // The order among retained messages is free.
        let mut expected: Vec<Expected> = self
            .retained
            .iter()
            // [MQTT-3.8.3-3] speaks of retained messages of a client's own, too.
            .filter(|(topic, (_, _, author))| matches(filter, topic) && !(options & 4 != 0 && *author == at))
            .map(|(topic, (text, qos, _))| Expected {
                topic: (*topic).into(),
                text: text.clone(),
                qos: (*qos).min(options & 3),
                retain: true,
                numbers: number.into_iter().collect(),
            })
            .collect();
        let mut seen: Vec<Expected> = expected.iter().map(|_| observe(wire)).collect();
        expected.sort();
        seen.sort();
        assert_eq!(seen, expected, "retained messages");
    }

    fn unsubscribe(&mut self, at: usize) {
        let filter = self.random.pick(&FILTERS);
        let client = &mut self.clients[at];
        self.steps.push(format!("{} unsubscribes {filter}", client.name));
        let was = client.subscriptions.remove(filter).is_some();
        let codes = client.wire.as_mut().unwrap().unsubscribe(&[filter]);
        if client.version == Version::V5 {
            assert_eq!(codes, [if was { 0 } else { 0x11 }]);
        }
    }

    fn publish(&mut self, at: usize) {
        let topic = self.random.pick(&TOPICS);
        let qos = self.random.below(3) as u8;
        let retain = self.random.below(3) == 0;
        let text =
            if retain && self.random.below(3) == 0 { String::new() } else { self.steps.len().to_string() };
        self.steps
            .push(format!("{} publishes {topic} {text:?} QoS {qos} retain {retain}", self.clients[at].name));
        if retain {
            if text.is_empty() {
                self.retained.remove(topic);
            } else {
                self.retained.insert(topic, (text.clone(), qos, at));
            }
        }
        let mut publish = Publish::new(topic, &text).qos(qos);
        publish.retain = retain;
        let mut somebody = false;
        for (n, client) in self.clients.iter_mut().enumerate() {
            let matching: Vec<&Subscription> = client
                .subscriptions
                .iter()
                .filter(|(filter, sub)| matches(filter, topic) && !(n == at && sub.options & 4 != 0))
                .map(|(_, sub)| sub)
                .collect();
            let Some(granted) = matching.iter().map(|sub| sub.options & 3).max() else { continue };
            somebody = true;
            let qos = qos.min(granted);
            if client.wire.is_none() && qos == 0 {
                continue;
            }
            let mut numbers: Vec<u32> = matching.iter().filter_map(|sub| sub.number).collect();
            numbers.sort_unstable();
            client.queue.push_back(Expected {
                topic: topic.into(),
                text: text.clone(),
                qos,
                retain: retain && matching.iter().any(|sub| sub.options & 8 != 0),
                numbers,
            });
        }
        let client = &mut self.clients[at];
        let code = client.wire.as_mut().unwrap().publish(publish);
        if qos > 0 && client.version == Version::V5 {
            assert!(code == if somebody { 0 } else { 0x10 } || code == 0 && !somebody, "{code:#04x}");
        }
    }

    /// Takes what is due at every connected client, and nothing else.
    fn settle(&mut self) {
        for client in &mut self.clients {
            let Some(wire) = client.wire.as_mut() else { continue };
            while let Some(mut expected) = client.queue.pop_front() {
                if client.version != Version::V5 {
                    // What 3.x cannot be told.
                    expected.numbers.clear();
                }
                assert_eq!(observe(wire), expected, "at {}", client.name);
            }
            wire.ping();
        }
    }
}

fn observe(wire: &mut Wire) -> Expected {
    let publish = wire.take_publish();
    assert!(!publish.dup, "nothing was left unacknowledged");
    let mut numbers = publish.properties.numbers(id::SUBSCRIPTION_ID);
    numbers.sort_unstable();
    Expected { text: publish.text(), topic: publish.topic, qos: publish.qos, retain: publish.retain, numbers }
}

/// Prints the way there when a step fails.
struct Trace(Walk);

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.0.steps.len().saturating_sub(60);
            eprintln!("{}\n{}", self.0.steps[0], self.0.steps[from..].join("\n"));
        }
    }
}

fn walk(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut trace = Trace(Walk::new(seed));
        for _ in 0..400 {
            trace.0.step();
        }
    }
}

#[test]
fn walks_a() {
    walk(0..8);
}

#[test]
fn walks_b() {
    walk(100..108);
}
