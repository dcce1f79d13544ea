//! Random traffic against a model of MQTT routing that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Client, ConnectOptions, Got, Random, World, share};
use tercet_broker::acknowledgement::Acknowledgement;
use tercet_broker::filter::{self, RetainHandling, SubscriptionOptions};
use tercet_broker::limits::{Limits, SharedStrategy};
use tercet_broker::message::Qos;
use tercet_broker::vhost::connection::Ending;

const CLIENTS: [&str; 4] = ["ann", "bob", "cid", "dot"];
const TOPICS: [&str; 8] = ["a", "a/b", "a/b/c", "/", "b", "b/", "$x/y", "c/b"];
const FILTERS: [&str; 12] =
    ["#", "a/#", "+", "+/b", "a/b", "+/+", "b/#", "$x/#", "/+", "$share/g/#", "$share/g/a/#", "$share/h/a/b"];
/// Identifiers from here on belong to shared subscriptions.
const SHARED: u32 = 100;

/// What a client is to receive: topic, payload, QoS, retain flag, subscription identifiers in order.
type Expected = (String, String, u8, bool, Vec<u32>);

#[derive(Default)]
struct Session {
    online: bool,
    keeps: bool,
    subscriptions: BTreeMap<String, SubscriptionOptions>,
    expected: Vec<Expected>,
}

#[derive(Clone)]
struct Value {
    payload: String,
    qos: u8,
    author: usize,
}

/// The model: who is subscribed, what is retained, what each client and group is owed.
#[derive(Default)]
struct Model {
    sessions: BTreeMap<usize, Session>,
    retained: BTreeMap<String, Value>,
    owed_to_groups: BTreeMap<String, Vec<(String, u8)>>,
}

impl Model {
    fn connect(&mut self, who: usize, clean_start: bool, keeps: bool) -> bool {
        let found = self.sessions.get(&who).is_some_and(|session| session.keeps) && !clean_start;
        if !found {
            self.sessions.remove(&who);
        }
        let session = self.sessions.entry(who).or_default();
        session.online = true;
        session.keeps = keeps;
        found
    }

    fn disconnect(&mut self, who: usize) {
        let keeps = self.sessions[&who].keeps;
        if keeps {
            self.sessions.get_mut(&who).unwrap().online = false;
        } else {
            self.sessions.remove(&who);
        }
    }

    fn members(&self, group: &str) -> Vec<usize> {
        let of = |session: &Session| session.subscriptions.contains_key(group);
        self.sessions.iter().filter(|(_, session)| of(session)).map(|(who, _)| *who).collect()
    }

    fn subscribe(&mut self, who: usize, name: &str, options: SubscriptionOptions, handling: RetainHandling) {
        let session = self.sessions.get_mut(&who).unwrap();
        let existed = session.subscriptions.insert(name.to_owned(), options).is_some();
        let wanted = match handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => !existed,
            RetainHandling::DoNotSend => false,
        };
        if !wanted || share(name).0.is_some() {
            return;
        }
        for (topic, value) in &self.retained {
            if filter::matches(name, topic) && !(options.no_local && value.author == who) {
                let qos = value.qos.min(options.qos as u8);
                let ids = options.id.into_iter().collect();
                session.expected.push((topic.clone(), value.payload.clone(), qos, true, ids));
            }
        }
    }

    fn publish(&mut self, who: usize, topic: &str, payload: &str, qos: u8, retain: bool) {
        if retain && payload.is_empty() {
            self.retained.remove(topic);
        } else if retain {
            self.retained.insert(topic.to_owned(), Value { payload: payload.to_owned(), qos, author: who });
        }
        let mut groups = BTreeSet::new();
        for (receiver, session) in &mut self.sessions {
            let mut plain = Vec::new();
            for (name, options) in &session.subscriptions {
                let (share, path) = share(name);
                if !filter::matches(path, topic) {
                    continue;
                }
                if share.is_some() {
                    groups.insert(name.clone());
                } else if !(options.no_local && *receiver == who) {
                    plain.push(*options);
                }
            }
            let Some(best) = plain.iter().map(|options| options.qos as u8).max() else { continue };
            let qos = qos.min(best);
            if !session.online && qos == 0 {
                continue;
            }
            let retain = retain && plain.iter().any(|options| options.retain_as_published);
            let mut ids: Vec<u32> = plain.iter().filter_map(|options| options.id).collect();
            ids.sort_unstable();
            session.expected.push((topic.to_owned(), payload.to_owned(), qos, retain, ids));
        }
        for group in groups {
            let online = self.members(&group).iter().any(|who| self.sessions[who].online);
            if qos > 0 || online {
                self.owed_to_groups.entry(group).or_default().push((payload.to_owned(), qos));
            }
        }
    }

    /// A group without members owes nothing.
    fn forget_groups(&mut self) {
        let gone: Vec<String> =
            self.owed_to_groups.keys().filter(|group| self.members(group).is_empty()).cloned().collect();
        for group in gone {
            self.owed_to_groups.remove(&group);
        }
    }
}

/// Takes and answers everything a client is sent.
fn exchange(world: &mut World, client: &Client) -> Vec<Got> {
    let mut all = Vec::new();
    loop {
        let got = client.take();
        if got.is_empty() {
            return all;
        }
        let mut answers = Vec::new();
        for item in got {
            match &item {
                Got::Release(id) => answers.push(Acknowledgement::Completed(*id)),
                Got::Publish { qos: 1, id, .. } => answers.push(Acknowledgement::Done(*id)),
                Got::Publish { qos: 2, id, .. } => answers.push(Acknowledgement::Received(*id)),
                Got::Publish { .. } => {}
            }
            if matches!(item, Got::Publish { .. }) {
                all.push(item);
            }
        }
        assert_eq!(world.acknowledge(client, &answers), []);
    }
}

struct Run {
    seed: u64,
    world: World,
    model: Model,
    clients: Vec<Option<Client>>,
    done: Vec<String>,
    /// Names of the groups by the identifier of their subscriptions.
    groups: BTreeMap<u32, &'static str>,
}

impl Run {
    fn step(&mut self, random: &mut Random, number: usize) {
        let who = random.below(CLIENTS.len());
        let name = CLIENTS[who];
        if self.clients[who].is_none() || random.one_in(20) {
            let clean_start = random.one_in(3);
            let keeps = random.one_in(2);
            self.done.push(format!("connect {name} clean_start={clean_start} keeps={keeps}"));
            let expiry = if keeps { u32::MAX } else { 0 };
            let options = ConnectOptions { clean_start, expiry, ..ConnectOptions::clean(name) };
            let client = self.world.connect(options);
            let found = self.model.connect(who, clean_start, keeps);
            assert_eq!(client.session_present, found, "seed {}\n{}", self.seed, self.done.join("\n"));
            self.clients[who] = Some(client);
            return;
        }
        match random.below(12) {
            0 => {
                self.done.push(format!("disconnect {name}"));
                if let Some(client) = self.clients[who].take() {
                    self.world.disconnect(client, Ending::Normal);
                }
                self.model.disconnect(who);
            }
            1..4 => self.subscribe(random, who),
            4 => {
                let filter = *random.pick(&FILTERS);
                self.done.push(format!("unsubscribe {name} {filter}"));
                let client = self.clients[who].as_ref().unwrap();
                let (removed, _) = self.world.unsubscribe(client, filter);
                let session = self.model.sessions.get_mut(&who).unwrap();
                assert_eq!(removed, session.subscriptions.remove(filter).is_some());
            }
            _ => {
                let topic = *random.pick(&TOPICS);
                let qos = random.below(3) as u8;
                let retain = random.one_in(4);
                let payload = if retain && random.one_in(3) { String::new() } else { number.to_string() };
                self.done.push(format!("publish {name} {topic} {payload:?} qos={qos} retain={retain}"));
                let client = self.clients[who].as_mut().unwrap();
                self.world.publish_with(client, topic, &payload, qos, retain, None);
                self.model.publish(who, topic, &payload, qos, retain);
            }
        }
    }

    fn subscribe(&mut self, random: &mut Random, who: usize) {
        let index = random.below(FILTERS.len());
        let filter = FILTERS[index];
        let shared = share(filter).0.is_some();
        let id = if shared {
            self.groups.insert(SHARED + index as u32, filter);
            Some(SHARED + index as u32)
        } else {
            random.one_in(2).then(|| 1 + random.below(9) as u32)
        };
        let options = SubscriptionOptions {
            qos: Qos::from_number(random.below(3) as u8).unwrap(),
            no_local: !shared && random.one_in(3),
            retain_as_published: random.one_in(2),
            id,
        };
        let handling = *random.pick(&[
            RetainHandling::SendAtSubscribe,
            RetainHandling::SendIfNew,
            RetainHandling::DoNotSend,
        ]);
        self.done.push(format!("subscribe {} {filter} {options:?} {handling:?}", CLIENTS[who]));
        let client = self.clients[who].as_ref().unwrap();
        self.world.subscribe_with(client, filter, options, handling).unwrap();
        self.model.subscribe(who, filter, options, handling);
    }

    fn check(&mut self) {
        let mut by_group: BTreeMap<&str, Vec<(String, u8, usize)>> = BTreeMap::new();
        for (who, client) in self.clients.iter().enumerate() {
            let Some(client) = client else { continue };
            let mut plain = Vec::new();
            for got in exchange(&mut self.world, client) {
                let Got::Publish { topic, payload, qos, retain, mut ids, dup, .. } = got else { continue };
                assert!(!dup, "everything is acknowledged at once");
                ids.sort_unstable();
                match ids.first().and_then(|id| self.groups.get(id)) {
                    Some(group) => by_group.entry(group).or_default().push((payload, qos, who)),
                    None => plain.push((topic, payload, qos, retain, ids)),
                }
            }
            let expected = std::mem::take(&mut self.model.sessions.get_mut(&who).unwrap().expected);
            assert_eq!(plain, expected, "{} seed {}\n{}", CLIENTS[who], self.seed, self.done.join("\n"));
        }
        self.model.forget_groups();
        for group in FILTERS {
            let mut got = by_group.remove(group).unwrap_or_default();
            got.sort();
            let members = self.model.members(group);
            let online = members.iter().any(|who| self.model.sessions[who].online);
            let owed = match online {
                true => self.model.owed_to_groups.remove(group).unwrap_or_default(),
                false => Vec::new(),
            };
            let mut owed: Vec<(String, u8)> = owed;
            owed.sort();
            let story = || format!("{group} seed {}\n{}", self.seed, self.done.join("\n"));
            let payloads =
                |list: &[(String, u8, usize)]| list.iter().map(|got| got.0.clone()).collect::<Vec<_>>();
            assert_eq!(
                payloads(&got),
                owed.iter().map(|owed| owed.0.clone()).collect::<Vec<_>>(),
                "{}",
                story()
            );
            let mut qos: Vec<_> =
                got.iter().map(|(payload, qos, who)| (payload.clone(), *qos, *who)).collect();
            for (payload, published) in owed {
                let member = |who: &usize| self.model.sessions[who].subscriptions.get(group);
                let fits = |(text, qos, who): &(String, u8, usize)| {
                    *text == payload
                        && member(who).is_some_and(|options| *qos == published.min(options.qos as u8))
                };
                let at = qos.iter().position(fits);
                assert!(at.is_some(), "{payload} {}", story());
                qos.swap_remove(at.unwrap());
            }
        }
    }
}

#[test]
fn every_client_gets_exactly_what_the_model_says() {
    let strategies = [
        SharedStrategy::RoundRobin,
        SharedStrategy::Random,
        SharedStrategy::Sticky,
        SharedStrategy::LeastInflight,
    ];
    for seed in 0..1_500 {
        let mut random = Random::new(seed);
        let limits = Limits {
            shared_strategy: strategies[seed as usize % 4],
            message_memory: if seed.is_multiple_of(3) { usize::MAX } else { 0 },
            ..Limits::default()
        };
        let mut run = Run {
            seed,
            world: World::with(limits),
            model: Model::default(),
            clients: CLIENTS.iter().map(|_| None).collect(),
            done: Vec::new(),
            groups: BTreeMap::new(),
        };
        for number in 0..100 {
            run.step(&mut random, number);
            run.check();
        }
        assert_eq!(run.world.vhost.retained().len(), run.model.retained.len());
    }
}
