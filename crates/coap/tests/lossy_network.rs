//! Two endpoints over a network that loses, repeats, delays and reorders datagrams: whatever the seed, a Confirmable request
//! has exactly one effect, every exchange ends, and nothing is remembered for ever (RFC 7252 §4.2, §4.5; RFC 7641 §4.5).
#![allow(clippy::panic, reason = "a failed step of a test may panic anywhere")]

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;
use tercet_coap::{
    Code, Time,
    endpoint::{Endpoint, Event, Heading, Incoming, Outgoing, Reply, Settings, Tag},
    reliability::Transmission,
};

/// Which of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Host {
    Client,
    Server,
}

/// Numbers from a seed: an LCG of 64 bits, its upper half.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn hits(&mut self, percent: u8) -> bool {
        self.below(100) < u64::from(percent)
    }
}

#[derive(Clone, Copy, Debug)]
struct Weather {
    lost: u8,
    repeated: u8,
    /// Milliseconds.
    slowest: u64,
}

/// Both hosts and what is on its way between them.
struct World {
    now: Time,
    dice: Dice,
    weather: Weather,
    client: Endpoint<Host>,
    server: Endpoint<Host>,
    /// Datagrams by when they arrive; the number keeps them apart.
    flying: BTreeMap<(Time, u64), (Host, Vec<u8>)>,
    serial: u64,
    /// What the server did, by the request's token.
    effects: HashMap<Vec<u8>, u32>,
    /// Requests whose answer the server does not know yet, and when it does.
    pending: Vec<(Time, bool, Reply<Host>, Vec<u8>)>,
    answered: HashSet<Vec<u8>>,
    acknowledged: HashSet<Tag>,
    failed: Vec<(Host, Tag)>,
    /// The last state that the client was notified of.
    notified: u64,
}

impl World {
    fn new(seed: u64, weather: Weather, nstart: u16) -> Self {
        let transmission = Transmission { nstart, ..Transmission::default() };
        let settings = Settings { transmission, ..Settings::default() };
        Self {
            now: Time::from_secs(1),
            dice: Dice(seed),
            weather,
            // The same seed: both sides use the same Message IDs.
            client: Endpoint::new(settings.clone(), seed),
            server: Endpoint::new(settings, seed),
            flying: BTreeMap::new(),
            serial: 0,
            effects: HashMap::new(),
            pending: Vec::new(),
            answered: HashSet::new(),
            acknowledged: HashSet::new(),
            failed: Vec::new(),
            notified: 0,
        }
    }

    fn fly(&mut self, out: &Outgoing<Host>) {
        for (&to, bytes) in out.iter() {
            if self.dice.hits(self.weather.lost) {
                continue;
            }
            let copies = 1 + u64::from(self.dice.hits(self.weather.repeated));
            for _ in 0..copies {
                let delay = Time::from_millis(1 + self.dice.below(self.weather.slowest));
                self.serial += 1;
                self.flying.insert((self.now + delay, self.serial), (to, bytes.to_vec()));
            }
        }
    }

    fn request(&mut self, number: u64) {
        let mut out = Outgoing::new();
        let heading = Heading { code: Code::POST, token: &number.to_be_bytes(), tag: Tag(number) };
        let sent = self.client.send_confirmable(Host::Server, heading, |_| {}, self.now, &mut out);
        sent.expect("there is room");
        self.fly(&out);
    }

    /// Does the next thing that happens; `false` when nothing will.
    fn step(&mut self) -> bool {
        let arrival = self.flying.keys().next().map(|&(at, _)| at);
        let answer = self.pending.iter().map(|&(at, ..)| at).min();
        let next = [arrival, answer, self.client.next_due(), self.server.next_due()];
        let Some(next) = next.into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        let mut out = Outgoing::new();
        let failed = &mut self.failed;
        self.client.run_due(self.now, &mut out, |Event::Failed { tag, .. }| failed.push((Host::Client, tag)));
        self.server.run_due(self.now, &mut out, |Event::Failed { tag, .. }| failed.push((Host::Server, tag)));
        self.answer_pending(&mut out);
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, bytes) = entry.remove();
            match to {
                Host::Client => self.arrive_at_client(&bytes, &mut out),
                Host::Server => self.arrive_at_server(&bytes, &mut out),
            }
        }
        self.fly(&out);
        true
    }

    fn arrive_at_client(&mut self, bytes: &[u8], out: &mut Outgoing<Host>) {
        match self.client.receive(Host::Server, bytes, self.now, out) {
            Incoming::Response { receipt, message, .. } => {
                if let Ok(state) = message.payload.try_into() {
                    self.notified = self.notified.max(u64::from_be_bytes(state));
                } else {
                    self.answered.insert(message.token.to_vec());
                }
                if !receipt.is_piggybacked() {
                    self.client.accept(receipt, out);
                }
            }
            Incoming::Acknowledged { tag } => assert!(self.acknowledged.insert(tag), "{tag:?} twice"),
            Incoming::Nothing => {}
            other => panic!("{other:?}"),
        }
    }

    fn arrive_at_server(&mut self, bytes: &[u8], out: &mut Outgoing<Host>) {
        match self.server.receive(Host::Client, bytes, self.now, out) {
            Incoming::Request { reply, message } => {
                *self.effects.entry(message.token.to_vec()).or_default() += 1;
                let later = self.dice.hits(50);
                let delay = Time::from_millis(if later { self.dice.below(10_000) } else { 0 });
                self.pending.push((self.now + delay, later, reply, message.token.to_vec()));
            }
            Incoming::Acknowledged { tag } => assert!(self.acknowledged.insert(tag), "{tag:?} twice"),
            Incoming::Nothing => {}
            other => panic!("{other:?}"),
        }
    }

    /// The server answers what it knows the answer of, and acknowledges what takes long.
    fn answer_pending(&mut self, out: &mut Outgoing<Host>) {
        for (at, later, mut reply, token) in std::mem::take(&mut self.pending) {
            if at <= self.now {
                reply
                    .set_tag(Tag(1_000_000 + u64::from_be_bytes(token[..].try_into().expect("eight bytes"))));
                self.server.respond(reply, Code::CHANGED, &token, |_| {}, self.now, out);
            } else {
                if later {
                    self.server.acknowledge_later(&mut reply, self.now, out);
                }
                self.pending.push((at, later, reply, token));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.flying.is_empty()
            && [&self.client, &self.server].iter().all(|endpoint| {
                (endpoint.exchange_count(), endpoint.peer_count(), endpoint.seen_count()) == (0, 0, 0)
            })
    }
}

fn weather() -> impl Strategy<Value = Weather> {
    (0..60_u8, 0..60_u8, prop_oneof![1..200_u64, 1..20_000_u64])
        .prop_map(|(lost, repeated, slowest)| Weather { lost, repeated, slowest })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn confirmable_requests_have_one_effect_and_end(
        seed: u64, weather in weather(), requests in 1..60_u64, nstart in 1..5_u16,
    ) {
        let mut world = World::new(seed, weather, nstart);
        for number in 0..requests {
            world.request(number);
        }
        while world.step() {
            prop_assert!(world.now < Time::from_secs(100 * 60 + 1000), "it never ends");
            prop_assert!(world.server.seen_count() <= 64 && world.client.seen_count() <= 64);
        }
        prop_assert!(world.is_empty());
        let failed: HashSet<Tag> = world.failed.iter().map(|&(_, tag)| tag).collect();
        for number in 0..requests {
            let token = number.to_be_bytes().to_vec();
            let effects = world.effects.get(&token).copied().unwrap_or_default();
            prop_assert!(effects <= 1, "request {number} had {effects} effects");
            let answered = world.answered.contains(&token);
            prop_assert!(!answered || effects == 1, "request {number} was answered and had no effect");
            // Unless a side gave up, the answer came.
            let gave_up = failed.contains(&Tag(number)) || failed.contains(&Tag(1_000_000 + number));
            prop_assert!(answered || gave_up, "request {number} is lost");
        }
    }

    /// However often the state changes while a notification is under way, the observer ends with the last state.
    #[test]
    fn observers_end_with_the_last_state(
        seed: u64, weather in weather(), changes in proptest::collection::vec(0..8_000_u64, 1..40),
    ) {
        let mut world = World::new(seed, weather, 1);
        let mut handle = None;
        let mut state = 0_u64;
        let mut tag = 0;
        for wait in changes {
            state += 1;
            let mut out = Outgoing::new();
            let heading = Heading { code: Code::CONTENT, token: b"observer", tag: Tag(tag) };
            let replaced = handle.is_some_and(|handle| {
                world.server.replace(handle, heading, |writer| {
                    writer.payload(&state.to_be_bytes());
                })
            });
            if !replaced {
                tag += 1;
                let heading = Heading { tag: Tag(tag), ..heading };
                let sent = world.server.send_confirmable(Host::Client, heading, |writer| {
                    writer.payload(&state.to_be_bytes());
                }, world.now, &mut out);
                handle = Some(sent.expect("there is room"));
            }
            prop_assert_eq!(world.server.exchange_count(), 1, "at most one at a time");
            world.fly(&out);
            let until = world.now + Time::from_millis(wait);
            while world.now < until && world.step() {}
        }
        while world.step() {}
        prop_assert!(world.is_empty());
        prop_assert!(world.notified == state || !world.failed.is_empty(), "{} of {state}", world.notified);
    }
}
