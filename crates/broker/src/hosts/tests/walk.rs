//! Random operations in random virtual hosts.

use std::sync::Arc;
use std::time::Duration;

use tercet_amqp::content::BasicProperties;
use tercet_amqp::field::TableBuf;
use tercet_log::engine::ShardLog;
use tercet_log::sim::Chance;

use super::World;
use super::world::{PATIENCE, Waiter};
use crate::clock::Now;
use crate::consumer::ConsumerOutbox;
use crate::exchange::request::{Bind, DeclareExchange, DeclareQueue, Destination};
use crate::hosts::VhostId;
use crate::message::{Properties, PropertyEncoding};
use crate::named_queue::{GetOutcome, Incoming, NamedQueue, Outcome, Settlement};
use crate::record::DuplicateScope;
use crate::vhost::Vhost;

/// See the module documentation.
pub(in crate::hosts) struct Walk {
    pub(in crate::hosts) world: World,
    pub(in crate::hosts) random: Chance,
    /// What was fetched and not settled.
    unacked: Vec<(VhostId, Settlement)>,
    /// Whether messages may expire and wait.
    timed: bool,
    number: u64,
    pub(in crate::hosts) done: Vec<String>,
}

impl Walk {
    pub(in crate::hosts) fn new(seed: u64, world: World, timed: bool) -> Self {
        Self { world, random: Chance::new(seed), unacked: Vec::new(), timed, number: 0, done: Vec::new() }
    }

    /// Another process serves from now on: what was fetched has come back.
    pub(in crate::hosts) fn goes_on_in(&mut self, world: World) {
        self.unacked.clear();
        self.world = world;
    }

    fn host(&mut self) -> Arc<Vhost> {
        let all = self.world.hosts.all();
        Arc::clone(&all[self.random.below(all.len() as u64) as usize])
    }

    fn queue(&mut self, host: &Vhost) -> Option<Arc<NamedQueue>> {
        let mut all = host.queues();
        all.sort_by(|a, b| a.queue.name().cmp(b.queue.name()));
        let index = self.random.below(all.len() as u64) as usize;
        all.get(index).map(|info| Arc::clone(&info.queue))
    }

    fn name(&mut self, prefix: &str, count: u64) -> String {
        format!("{prefix}{}", self.random.below(count))
    }

    /// Does something. What has records is one change.
    pub(in crate::hosts) fn step(&mut self) {
        let host = self.host();
        let what = self.random.below(26);
        // What hands out waits for the log first.
        if (10..16).contains(&what) {
            self.world.settle();
        }
        let default = Arc::clone(self.world.hosts.default_host());
        let said = default.together(|| match what {
            0..=2 => self.declare_queue(&host),
            3 => self.declare_exchange(&host),
            4 | 5 => self.bind(&host),
            6 => self.delete(&host),
            7..=9 | 16..=20 => self.publish(&host),
            10..=12 => self.fetch(&host),
            13..=15 => self.settle_some(),
            21 => self.define(),
            22 => self.remember(&host),
            23 => self.pause_or_purge(&host),
            24 => self.change_hosts(),
            _ => self.pass_time(),
        });
        self.done.push(format!("{} in {}", said, host.name()));
        if self.random.one_in(3) {
            default.flush();
        }
    }

    fn declare_queue(&mut self, host: &Vhost) -> String {
        let name = self.name("q", 5);
        let (durable, exclusive) = (!self.random.one_in(4), self.random.one_in(8));
        let mut table = TableBuf::default();
        let kind = self.random.below(4);
        match kind {
            0 => drop(table.put("x-max-priority", 5_i32).unwrap()),
            1 if durable && !exclusive => drop(table.put("x-queue-type", "quorum").unwrap()),
            2 if self.timed => drop(table.put("x-message-ttl", 200_i32).unwrap()),
            _ => {}
        }
        let arguments = table.as_table();
        let request = DeclareQueue { name: &name, durable, exclusive, arguments, ..DeclareQueue::default() };
        let (now, effects) = (self.world.now, &mut self.world.effects);
        let made = host.declare_queue(&World::actor(host), &request, now, effects).is_ok();
        format!("declare {name} durable {durable} exclusive {exclusive} kind {kind}: {made}")
    }

    fn declare_exchange(&mut self, host: &Vhost) -> String {
        let name = self.name("e", 4);
        let kind = ["direct", "fanout", "topic", "headers"][self.random.below(4) as usize];
        let durable = !self.random.one_in(4);
        let auto_delete = self.random.one_in(4);
        let request =
            DeclareExchange { name: &name, kind, durable, auto_delete, ..DeclareExchange::default() };
        let (now, effects) = (self.world.now, &mut self.world.effects);
        let made = host.declare_exchange(&World::actor(host), &request, now, effects).is_ok();
        format!("declare {name} {kind} durable {durable} auto-delete {auto_delete}: {made}")
    }

    fn bind(&mut self, host: &Vhost) -> String {
        let source = match self.random.below(4) {
            0 => "amq.topic".to_owned(),
            1 => "amq.fanout".to_owned(),
            _ => self.name("e", 4),
        };
        let (queue, exchange, key) = (self.name("q", 5), self.name("e", 4), self.name("k.", 3));
        let destination = match self.random.one_in(4) {
            true => Destination::Exchange(&exchange),
            false => Destination::Queue(&queue),
        };
        let bind = Bind { source: &source, destination, key: &key, arguments: Default::default() };
        let unbinds = self.random.one_in(4);
        let (now, effects) = (self.world.now, &mut self.world.effects);
        let actor = World::actor(host);
        let done = match unbinds {
            true => host.unbind(&actor, &bind, now, effects).is_ok(),
            false => host.bind(&actor, &bind, now, effects).is_ok(),
        };
        format!("bind (un: {unbinds}) {source} to {destination:?} by {key}: {done}")
    }

    fn delete(&mut self, host: &Vhost) -> String {
        let (queue, exchange) = (self.name("q", 5), self.name("e", 4));
        let actor = World::actor(host);
        let (now, effects) = (self.world.now, &mut self.world.effects);
        if self.random.one_in(2) {
            let done = host.delete_queue(&actor, &queue, false, false, now, effects).is_ok();
            format!("delete {queue}: {done}")
        } else {
            let done = host.delete_exchange(&actor, &exchange, false, now, effects).is_ok();
            format!("delete {exchange}: {done}")
        }
    }

    fn publish(&mut self, host: &Arc<Vhost>) -> String {
        let mut queues: Vec<_> = (0..=self.random.below(3)).filter_map(|_| self.queue(host)).collect();
        queues.sort_by_key(|queue| queue.id());
        queues.dedup_by_key(|queue| queue.id());
        self.number += 1;
        let payload = format!("{}{}", self.number, ".".repeat(self.random.below(300) as usize));
        let persistent = !self.random.one_in(4);
        let expiration = (self.timed && self.random.one_in(3)).then(|| self.random.below(300).to_string());
        let properties = BasicProperties {
            delivery_mode: Some(if persistent { 2 } else { 1 }),
            priority: self.random.one_in(2).then(|| self.random.below(8) as u8),
            expiration: expiration.as_deref(),
            ..BasicProperties::default()
        };
        let (mut list, mut encoded) = (Vec::new(), Vec::new());
        properties.encode(&mut list).expect("small").write(&mut encoded);
        let properties = Properties { encoding: PropertyEncoding::Amqp, bytes: &encoded };
        let (exchange, key) = (Arc::from("amq.fanout"), Arc::from("key"));
        let mut incoming = Incoming::published(&exchange, &key, properties, payload.as_bytes());
        if queues.len() > 1 {
            incoming = incoming.for_several(true);
        }
        host.with_context(self.world.now, &mut self.world.effects, |cx| {
            queues.iter().for_each(|queue| {
                queue.enqueue(&mut incoming, cx);
            });
        });
        host.work_off(self.world.now, &mut self.world.effects);
        let names: Vec<_> = queues.iter().map(|queue| queue.name()).collect();
        format!("publish {} persistent {persistent} {expiration:?} to {names:?}", self.number)
    }

    fn fetch(&mut self, host: &Arc<Vhost>) -> String {
        let Some(queue) = self.queue(host) else { return "fetch from nowhere".to_owned() };
        let waiter = Arc::new(Waiter) as Arc<dyn ConsumerOutbox>;
        let no_ack = self.random.one_in(3);
        let (now, effects) = (self.world.now, &mut self.world.effects);
        let outcome = host.get(&World::actor(host), queue.name(), no_ack, &waiter, now, effects);
        let sequence = match outcome {
            Ok(GetOutcome::Got(got)) => Some(got.sequence),
            _ => None,
        };
        if let Some(sequence) = sequence.filter(|_| !no_ack) {
            let settlement =
                Settlement { queue: Arc::clone(&queue), sequence, consumption: None, outcome: Outcome::Ack };
            self.unacked.push((host.id(), settlement));
        }
        format!("fetch {sequence:?} of {} no-ack {no_ack}", queue.name())
    }

    fn settle_some(&mut self) -> String {
        let mut settled = 0;
        for _ in 0..=self.random.below(4) {
            if self.unacked.is_empty() {
                break;
            }
            let (id, mut settlement) =
                self.unacked.remove(self.random.below(self.unacked.len() as u64) as usize);
            settlement.outcome = match self.random.below(6) {
                0..=2 => Outcome::Ack,
                3 => Outcome::Reject { requeue: false },
                4 => Outcome::Nack { requeue: true },
                _ => Outcome::Requeue,
            };
            let Some(host) = self.world.hosts.by_id(id) else { continue };
            host.settle(&[settlement], self.world.now, &mut self.world.effects);
            settled += 1;
        }
        format!("settle {settled}")
    }

    /// All channels end, and what is due is done.
    pub(in crate::hosts) fn let_go(&mut self) {
        self.world.settle();
        for (id, mut settlement) in std::mem::take(&mut self.unacked) {
            settlement.outcome = Outcome::ChannelGone;
            if let Some(host) = self.world.hosts.by_id(id) {
                host.settle(&[settlement], self.world.now, &mut self.world.effects);
            }
        }
        self.world.hosts.run_due(self.world.now, &mut self.world.effects);
        self.world.settle();
    }

    fn define(&mut self) -> String {
        let (class, key) = (self.random.below(3) as u8, self.name("d", 5));
        let definitions = Arc::clone(self.world.hosts.definitions());
        if self.random.one_in(3) {
            definitions.remove(class, &key);
            return format!("undefine {class} {key}");
        }
        let value = self.random.bytes(5);
        definitions.put(class, &key, &value);
        format!("define {class} {key}")
    }

    fn remember(&mut self, host: &Vhost) -> String {
        let scope = match self.random.one_in(2) {
            true => DuplicateScope::Exchange(Arc::from(self.name("e", 4))),
            false => match self.queue(host).filter(|queue| queue.is_recorded()) {
                Some(queue) => DuplicateScope::Queue(queue.id()),
                None => return "remember nothing".to_owned(),
            },
        };
        // Only what survives remembers something that does.
        let durable = match &scope {
            DuplicateScope::Exchange(name) => host.find_exchange(name).is_some_and(|found| found.durable),
            DuplicateScope::Queue(_) => true,
        };
        if !durable {
            return "remember nothing".to_owned();
        }
        let key = self.name("m", 6);
        let journal = host.journal.as_deref();
        if self.random.one_in(3) {
            host.duplicates().forget(&scope, &key, journal);
        } else {
            host.duplicates().remember(&scope, &key, None, 4, self.world.now.utc_ms, journal);
        }
        format!("remember {key} of {scope:?}")
    }

    fn pause_or_purge(&mut self, host: &Arc<Vhost>) -> String {
        let Some(queue) = self.queue(host) else { return "purge nothing".to_owned() };
        let actor = World::actor(host);
        let (now, effects) = (self.world.now, &mut self.world.effects);
        if self.random.one_in(4) {
            let done = host.purge_queue(&actor, queue.name(), now, effects).is_ok();
            return format!("purge {}: {done}", queue.name());
        }
        let paused = self.random.one_in(3);
        let done = host.pause_queue(&actor, queue.name(), paused, now, effects).is_ok();
        format!("pause {} {paused}: {done}", queue.name())
    }

    fn change_hosts(&mut self) -> String {
        let name = self.name("h", 3);
        if self.random.one_in(3) {
            let done = self.world.hosts.delete(&name, self.world.now, &mut self.world.effects).is_ok();
            return format!("delete host {name}: {done}");
        }
        let done = self.world.hosts.create(&name).is_ok();
        format!("create host {name}: {done}")
    }

    fn pass_time(&mut self) -> String {
        let passed = Duration::from_millis(self.random.below(100));
        let Now { monotonic, utc_ms, .. } = self.world.now;
        self.world.now = Now { monotonic: monotonic + passed, utc_ms: utc_ms + passed.as_millis() as u64 };
        self.world.hosts.run_due(self.world.now, &mut self.world.effects);
        format!("{passed:?} pass")
    }

    /// Takes a checkpoint, or moves messages, or neither.
    pub(in crate::hosts) fn keep(&mut self) {
        let journal = Arc::clone(&self.world.journal);
        if self.random.one_in(2) {
            let extents = self.world.log.extents();
            let old = &extents[..extents.len() - 1];
            let moved = self.world.hosts.relocate(&journal, old, PATIENCE).expect("moves");
            assert_eq!(moved.unreadable, 0);
            self.done.push(format!("relocated {}", moved.messages));
        }
        if self.random.one_in(2) {
            let most = 1 + self.random.below(6) as usize;
            let done = self.world.hosts.checkpoint_in_slices(&journal, most, PATIENCE).expect("is written");
            self.world.log.trim(&done.dead).expect("trims");
            self.done.push(format!("checkpoint of {} images", done.images));
        }
    }
}
