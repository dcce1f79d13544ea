//! Random walks against a queue written down without any cleverness.

use std::sync::Arc;

use proptest::prelude::*;
use tercet_amqp::content::BasicProperties;

use super::world::Delivered;
use super::{Line, World, settings};
use crate::named_queue::{Consumption, NamedQueue, Outcome, QueueKind, QueueSettings};
use crate::record::OwnedRecord;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        persistent: bool,
        priority: u8,
        expiration: Option<u8>,
    },
    Consume {
        prefetch: u16,
        no_ack: bool,
        priority: i32,
    },
    Cancel(usize),
    /// What becomes of some outstanding delivery, and of as many behind it.
    Settle(usize, usize, Outcome),
    Get(bool),
    Pass(u8),
    Pause(bool),
    Purge,
}

#[derive(Clone, Debug)]
struct Entry {
    sequence: u64,
    body: String,
    priority: u8,
    deadline: Option<u64>,
    ready: bool,
    redelivered: bool,
    returns: u32,
    persistent: bool,
}

struct Model {
    entries: Vec<Entry>,
    settings: QueueSettings,
    paused: bool,
}

impl Model {
    fn first(&self) -> Option<usize> {
        let ready = self.entries.iter().enumerate().filter(|(_, entry)| entry.ready);
        let prior = self.settings.max_priority.is_some();
        ready
            .min_by_key(|(_, entry)| (if prior { u8::MAX - entry.priority } else { 0 }, entry.sequence))
            .map(|(index, _)| index)
    }

    fn ready(&self) -> usize {
        self.entries.iter().filter(|entry| entry.ready).count()
    }

    fn expire(&mut self, now: u64, fresh: Option<&str>) {
        while let Some(first) = self.first()
            && self.entries[first].deadline.is_some_and(|at| at <= now)
            && fresh != Some(&*self.entries[first].body)
        {
            self.entries.remove(first);
        }
    }

    fn drop_excess(&mut self, now: u64) {
        while self.settings.max_length.is_some_and(|most| self.ready() as u64 > most) {
            let prior = self.settings.max_priority.is_some();
            let ready = self.entries.iter().enumerate().filter(|(_, entry)| entry.ready);
            let lowest = ready
                .min_by_key(|(_, entry)| (if prior { entry.priority } else { 0 }, entry.sequence))
                .map(|(index, _)| index);
            self.entries.remove(lowest.unwrap());
        }
        self.expire(now, None);
    }

    fn come_back(&mut self, sequence: u64) {
        let Some(index) = self.entries.iter().position(|entry| entry.sequence == sequence) else { return };
        let entry = &mut self.entries[index];
        (entry.ready, entry.redelivered, entry.returns) = (true, true, entry.returns + 1);
        if self.settings.delivery_limit.is_some_and(|limit| entry.returns > limit) {
            self.entries.remove(index);
        }
    }

    fn settle(&mut self, sequence: u64) {
        self.entries.retain(|entry| entry.sequence != sequence);
    }
}

struct Walk {
    world: World,
    queue: Arc<NamedQueue>,
    line: Arc<Line>,
    consumers: Vec<Arc<Consumption>>,
    outstanding: Vec<Delivered>,
    model: Model,
    published: u32,
    tags: u32,
}

impl Walk {
    /// Each delivery has to be the first ready entry at that time.
    fn check_deliveries(&mut self, fresh: Option<&str>) {
        let now = self.world.now.utc_ms;
        for delivered in self.line.take() {
            self.model.expire(now, fresh);
            assert!(!self.model.paused);
            let first = self.model.first().expect("something is ready");
            let entry = &mut self.model.entries[first];
            assert_eq!((&*delivered.body, delivered.redelivered), (&*entry.body, entry.redelivered));
            if delivered.owned {
                entry.sequence = delivered.sequence;
            }
            entry.ready = false;
            let consumption = self.consumers.iter().find(|known| known.tag == delivered.tag).unwrap();
            if consumption.no_ack {
                self.model.entries.remove(first);
            } else {
                self.outstanding.push(delivered);
            }
        }
        self.model.expire(now, None);
    }

    fn check(&self) {
        let stats = self.queue.stats();
        assert_eq!(stats.ready as usize, self.model.ready());
        let unacked = self.model.entries.len() - self.model.ready();
        assert_eq!(stats.unacked as usize, unacked);
        let able = self.consumers.iter().any(|consumption| consumption.is_able());
        assert!(!able || self.model.paused || stats.ready == 0, "somebody waits for what is ready");
        for consumption in &self.consumers {
            assert!(consumption.prefetch == 0 || consumption.unacked() <= u32::from(consumption.prefetch));
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.world.now.utc_ms;
        match step {
            Step::Publish { persistent, priority, expiration } => {
                self.published += 1;
                let body = self.published.to_string();
                let text = expiration.map(|ms| ms.to_string());
                let properties = BasicProperties {
                    delivery_mode: persistent.then_some(2),
                    priority: Some(priority),
                    expiration: text.as_deref(),
                    ..BasicProperties::default()
                };
                let ttl = [expiration.map(u64::from), self.model.settings.message_ttl_ms]
                    .into_iter()
                    .flatten()
                    .min();
                let sequence = self.queue.with_queue(|queue| queue.next_sequence());
                self.world.publish_with(&self.queue, &body, properties);
                self.model.entries.push(Entry {
                    sequence,
                    body: body.clone(),
                    priority: priority.min(self.model.settings.max_priority.unwrap_or(0)),
                    deadline: ttl.map(|ms| now + ms),
                    ready: true,
                    redelivered: false,
                    returns: 0,
                    persistent,
                });
                self.check_deliveries(Some(&body));
                self.model.drop_excess(now);
            }
            Step::Consume { prefetch, no_ack, priority } => {
                if self.consumers.len() < 4 {
                    self.tags += 1;
                    let tag = self.tags.to_string();
                    let (queue, line) = (Arc::clone(&self.queue), Arc::clone(&self.line));
                    let made = self.world.try_consume(&queue, &line, &tag, |request| {
                        (request.prefetch, request.no_ack, request.priority) = (prefetch, no_ack, priority);
                    });
                    self.consumers.push(made.unwrap());
                    self.check_deliveries(None);
                }
            }
            Step::Cancel(index) => {
                if !self.consumers.is_empty() {
                    let consumption = self.consumers.remove(index % self.consumers.len());
                    self.world.cancel(&consumption);
                    self.check_deliveries(None);
                }
            }
            Step::Settle(index, more, outcome) => {
                if !self.outstanding.is_empty() {
                    let from = index % self.outstanding.len();
                    let to = (from + 1 + more).min(self.outstanding.len());
                    let settled: Vec<_> = self.outstanding.drain(from..to).collect();
                    self.world.settle(outcome, &settled);
                    for delivered in settled {
                        match outcome.comes_back() {
                            true => self.model.come_back(delivered.sequence),
                            false => self.model.settle(delivered.sequence),
                        }
                    }
                    if outcome.comes_back() {
                        self.model.drop_excess(u64::MIN);
                    }
                    self.check_deliveries(None);
                }
            }
            Step::Get(requeue) => {
                self.model.expire(now, None);
                let queue = Arc::clone(&self.queue);
                let got = self.world.get(&queue);
                let first = self.model.first().filter(|_| !self.model.paused);
                assert_eq!(got.is_some(), first.is_some());
                if let (Some(got), Some(first)) = (got, first) {
                    let entry = &mut self.model.entries[first];
                    assert_eq!(&*got.message.payload, entry.body.as_bytes());
                    assert_eq!(got.redelivered, entry.redelivered);
                    (entry.sequence, entry.ready) = (got.sequence, false);
                    self.model.expire(now, None);
                    assert_eq!(got.remaining as usize, self.model.ready());
                    let outcome = if requeue { Outcome::Requeue } else { Outcome::Ack };
                    self.world.settle_got(&got, outcome);
                    match requeue {
                        true => {
                            self.model.come_back(got.sequence);
                            self.model.drop_excess(u64::MIN);
                        }
                        false => self.model.settle(got.sequence),
                    }
                    self.check_deliveries(None);
                }
            }
            Step::Pass(ms) => {
                self.world.pass(ms.into());
                self.check_deliveries(None);
            }
            Step::Pause(paused) => {
                self.model.paused = paused;
                let queue = Arc::clone(&self.queue);
                self.world.with_context(|cx| queue.pause(paused, cx));
                self.check_deliveries(None);
            }
            Step::Purge => {
                let queue = Arc::clone(&self.queue);
                let (purged, _) = self.world.with_context(|cx| queue.purge(cx));
                assert_eq!(purged as usize, self.model.ready());
                self.model.entries.retain(|entry| !entry.ready);
            }
        }
        self.check();
    }

    /// What the records rebuild is what is persistent here.
    fn check_recovery(&mut self) {
        let description = self.queue.description().clone();
        let copy = NamedQueue::new(self.queue.id(), description, self.queue.settings());
        for record in self.world.journal.records() {
            if let OwnedRecord::NamedQueue(_, record) = record {
                copy.replay(record);
            }
        }
        let words = |queue: &NamedQueue| {
            queue.records_of().iter().map(|record| format!("{record:?}")).collect::<Vec<_>>()
        };
        assert_eq!(words(&copy), words(&self.queue));
        let persistent = self.model.entries.iter().filter(|entry| entry.persistent).count();
        if self.queue.is_recorded() {
            assert_eq!(self.world.journal.held_messages(), persistent);
        }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Ack),
        1 => Just(Outcome::Requeue),
        1 => any::<bool>().prop_map(|requeue| Outcome::Reject { requeue }),
        1 => any::<bool>().prop_map(|requeue| Outcome::Nack { requeue }),
        1 => Just(Outcome::ChannelGone),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), 0..6_u8, prop::option::weighted(0.2, 1..50_u8)).prop_map(
            |(persistent, priority, expiration)| Step::Publish { persistent, priority, expiration }
        ),
        1 => (0..4_u16, prop::bool::weighted(0.2), -1..2_i32)
            .prop_map(|(prefetch, no_ack, priority)| Step::Consume { prefetch, no_ack, priority }),
        1 => any::<usize>().prop_map(Step::Cancel),
        5 => (any::<usize>(), 0..5_usize, outcome()).prop_map(|(at, more, outcome)| Step::Settle(at, more, outcome)),
        2 => any::<bool>().prop_map(Step::Get),
        2 => (1..30_u8).prop_map(Step::Pass),
        1 => prop::bool::weighted(0.3).prop_map(Step::Pause),
        1 => Just(Step::Purge),
    ]
}

proptest! {
    #[test]
    fn a_queue_behaves_like_its_model(
        durable in any::<bool>(),
        max_length in prop::option::of(1..6_u64),
        max_priority in prop::option::of(1..6_u8),
        message_ttl_ms in prop::option::weighted(0.3, 1..60_u64),
        delivery_limit in prop::option::weighted(0.3, 0..3_u32),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let chosen = settings(|settings| {
            settings.max_length = max_length;
            settings.max_priority = max_priority;
            settings.message_ttl_ms = message_ttl_ms;
            settings.delivery_limit = delivery_limit;
        });
        let mut world = World::default();
        let queue = world.queue(QueueKind::Classic, durable, chosen.clone());
        let line = world.line();
        let model = Model { entries: Vec::new(), settings: chosen, paused: false };
        let mut walk =
            Walk { world, queue, line, consumers: Vec::new(), outstanding: Vec::new(), model, published: 0, tags: 0 };
        for step in steps {
            walk.step(step);
        }
        walk.check_recovery();
    }
}
