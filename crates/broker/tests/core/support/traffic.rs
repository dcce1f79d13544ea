//! Random traffic: every operation that clients can cause, in any order.

use tercet_broker::acknowledgement::Acknowledgement;
use tercet_broker::filter::{RetainHandling, SubscriptionOptions};
use tercet_broker::limits::{Limits, Overflow, SharedStrategy};
use tercet_broker::message::Qos;
use tercet_broker::vhost::connection::Ending;

use super::{Client, ConnectOptions, Got, Random, World};

const CLIENTS: [&str; 5] = ["ann", "bob", "cid", "dot", "eve"];
const TOPICS: [&str; 6] = ["a", "a/b", "a/c", "b", "b/c", "c"];
const FILTERS: [&str; 8] = ["#", "a/#", "a/+", "+", "b/c", "$share/g/a/#", "$share/g/b", "$share/h/#"];

pub struct Traffic {
    pub world: World,
    pub random: Random,
    pub clients: Vec<Option<Client>>,
    /// What was done, to be shown when a seed fails.
    pub done: Vec<String>,
    /// Whether clients sometimes answer with the wrong packet, which leaves a message in flight for good.
    pub mistakes: bool,
    unanswered: Vec<Vec<Acknowledgement>>,
    number: u32,
}

impl Traffic {
    pub fn new(seed: u64) -> Self {
        Self::in_world(seed, World::with)
    }

    /// Traffic in the world that `make` makes with these limits.
    pub fn in_world(seed: u64, make: impl FnOnce(Limits) -> World) -> Self {
        let mut random = Random::new(seed);
        let strategies = [
            SharedStrategy::RoundRobin,
            SharedStrategy::Random,
            SharedStrategy::Sticky,
            SharedStrategy::LeastInflight,
        ];
        let limits = Limits {
            max_queued_messages: *random.pick(&[3, 10, 1000]),
            overflow: *random.pick(&[Overflow::DropNew, Overflow::DropOldest]),
            queue_qos0: random.one_in(2),
            max_retained: 4,
            shared_strategy: *random.pick(&strategies),
            // With nothing everything durable is in the log only; it must make no difference.
            message_memory: *random.pick(&[0, 0, 600, usize::MAX]),
            ..Limits::default()
        };
        Self {
            world: make(limits),
            random,
            clients: CLIENTS.iter().map(|_| None).collect(),
            done: Vec::new(),
            mistakes: true,
            unanswered: CLIENTS.iter().map(|_| Vec::new()).collect(),
            number: 0,
        }
    }

    /// The connections are gone without a word.
    pub fn forget_connections(&mut self) {
        self.clients.iter_mut().for_each(|client| *client = None);
        self.unanswered.iter_mut().for_each(Vec::clear);
    }

    /// Does one operation.
    pub fn step(&mut self) {
        let who = self.random.below(CLIENTS.len());
        let Some(client) = self.clients[who].take() else {
            if self.random.one_in(3) {
                self.pass();
            } else {
                self.connect(who);
            }
            return;
        };
        self.clients[who] = Some(client);
        match self.random.below(20) {
            0 => self.disconnect(who),
            1 => self.connect(who),
            2..5 => self.subscribe(who),
            5 => self.unsubscribe(who),
            6..13 => self.publish(who),
            13 => self.receive_once(who),
            14 => self.pass(),
            15 => self.remove(who),
            _ => self.answer(who),
        }
    }

    fn note(&mut self, text: String) {
        self.done.push(text);
    }

    fn connect(&mut self, who: usize) {
        let mut options = ConnectOptions::clean(CLIENTS[who]);
        options.clean_start = self.random.one_in(4);
        options.expiry = *self.random.pick(&[0, 2, 100, u32::MAX, u32::MAX]);
        options.window = *self.random.pick(&[1, 2, 100]);
        if self.random.one_in(3) {
            options.user = Some((*self.random.pick(&["u", "v"])).to_owned());
        }
        if self.random.one_in(2) {
            options = options.will(TOPICS[self.random.below(TOPICS.len())], *self.random.pick(&[0, 1, 5]));
        }
        self.note(format!(
            "connect {} clean_start={} expiry={} window={} will={:?}",
            CLIENTS[who],
            options.clean_start,
            options.expiry,
            options.window,
            options.will.as_ref().map(|will| (&will.topic, will.delay)),
        ));
        self.unanswered[who].clear();
        let client = self.world.connect(options);
        self.clients[who] = Some(client);
    }

    fn disconnect(&mut self, who: usize) {
        let ending = *self.random.pick(&[Ending::Normal, Ending::Abnormal]);
        let expiry = *self.random.pick(&[None, None, Some(0), Some(3)]);
        self.note(format!("disconnect {} {ending:?} expiry={expiry:?}", CLIENTS[who]));
        if let Some(client) = self.clients[who].take() {
            self.world.disconnect_with(client, ending, expiry);
        }
    }

    fn subscribe(&mut self, who: usize) {
        let filter = *self.random.pick(&FILTERS);
        let shared = filter.starts_with('$');
        let options = SubscriptionOptions {
            qos: Qos::from_number(self.random.below(3) as u8).unwrap(),
            no_local: !shared && self.random.one_in(4),
            retain_as_published: self.random.one_in(2),
            id: self.random.one_in(2).then(|| 1 + self.random.below(9) as u32),
        };
        self.note(format!("subscribe {} {filter} {options:?}", CLIENTS[who]));
        if let Some(client) = &self.clients[who] {
            let handling = RetainHandling::SendAtSubscribe;
            self.world.subscribe_with(client, filter, options, handling).unwrap();
        }
    }

    fn unsubscribe(&mut self, who: usize) {
        let filter = *self.random.pick(&FILTERS);
        self.note(format!("unsubscribe {} {filter}", CLIENTS[who]));
        if let Some(client) = &self.clients[who] {
            self.world.unsubscribe(client, filter);
        }
    }

    fn publish(&mut self, who: usize) {
        let topic = *self.random.pick(&TOPICS);
        let qos = self.random.below(3) as u8;
        let retain = self.random.one_in(5);
        let expiry = self.random.one_in(4).then_some(3);
        self.number += 1;
        let payload = if retain && self.random.one_in(3) { String::new() } else { self.number.to_string() };
        self.note(format!(
            "publish {} {topic} {payload:?} qos={qos} retain={retain} {expiry:?}",
            CLIENTS[who]
        ));
        if let Some(client) = &mut self.clients[who] {
            self.world.publish_with(client, topic, &payload, qos, retain, expiry);
        }
    }

    fn receive_once(&mut self, who: usize) {
        let id = 1 + self.random.below(3) as u16;
        let complete = self.random.one_in(2);
        let topic = *self.random.pick(&TOPICS);
        let (retain, refusal_ends) = (self.random.one_in(5), self.random.one_in(2));
        self.number += 1;
        let payload = self.number.to_string();
        self.note(format!(
            "receive {} {id} complete={complete} {topic} {payload} retain={retain}",
            CLIENTS[who]
        ));
        if let Some(client) = &mut self.clients[who] {
            if complete {
                self.world.vhost.complete(&client.attachment, id);
            } else {
                self.world.publish_once(client, id, refusal_ends, topic, &payload, retain);
            }
        }
    }

    fn pass(&mut self) {
        let seconds = 1 + self.random.below(3) as u64;
        self.note(format!("pass {seconds}s"));
        self.world.pass(seconds);
    }

    fn remove(&mut self, who: usize) {
        if self.random.one_in(3) {
            self.note(format!("remove {}", CLIENTS[who]));
            self.world.vhost.remove_session(CLIENTS[who], self.world.now, &mut self.world.effects);
            self.world.settle();
            self.clients[who] = None;
        }
    }

    /// Makes everything durable and lets every client answer all it is sent, until nothing more comes.
    pub fn settle_everything(&mut self) {
        loop {
            self.world.sync();
            let mut moved = false;
            for who in 0..CLIENTS.len() {
                let Some(client) = &self.clients[who] else { continue };
                let pending = std::mem::take(&mut self.unanswered[who]);
                moved |= !pending.is_empty();
                self.world.acknowledge(client, &pending);
                for got in client.take() {
                    moved = true;
                    let answer = match got {
                        Got::Publish { qos: 1, id, .. } => Acknowledgement::Done(id),
                        Got::Publish { qos: 2, id, .. } => Acknowledgement::Received(id),
                        Got::Publish { .. } => continue,
                        Got::Release(id) => Acknowledgement::Completed(id),
                    };
                    self.world.acknowledge(client, &[answer]);
                }
            }
            if !moved && self.world.effects.deferred.is_empty() {
                return;
            }
        }
    }

    /// Answers some of what the client was sent, in order.
    fn answer(&mut self, who: usize) {
        let Some(client) = &self.clients[who] else { return };
        let pending = &mut self.unanswered[who];
        for got in client.take() {
            match got {
                Got::Publish { qos: 1, id, .. } if self.mistakes && self.random.one_in(12) => {
                    pending.push(Acknowledgement::Received(id));
                }
                Got::Publish { qos: 1, id, .. } => pending.push(Acknowledgement::Done(id)),
                Got::Publish { qos: 2, id, .. } if self.random.one_in(6) => {
                    pending.push(Acknowledgement::Refused(id));
                }
                Got::Publish { qos: 2, id, .. } => pending.push(Acknowledgement::Received(id)),
                Got::Publish { .. } => {}
                Got::Release(id) => pending.push(Acknowledgement::Completed(id)),
            }
        }
        let most = self.random.below(pending.len() + 1);
        let answers: Vec<_> = pending.drain(..most).collect();
        self.done.push(format!("answer {} {answers:?}", CLIENTS[who]));
        self.world.acknowledge(client, &answers);
    }
}
