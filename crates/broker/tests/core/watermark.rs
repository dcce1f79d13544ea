//! Nothing is told to anybody before the log has it: deliveries and releases wait for the watermark, and none is
//! forgotten when it moves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::support::{Client, ConnectOptions, Got, Traffic, World};
use tercet_broker::acknowledgement::Acknowledgement;
use tercet_broker::body::Body;
use tercet_broker::journal::Position;
use tercet_broker::limits::{Limits, Overflow};
use tercet_broker::record::{GroupRecord, OwnedRecord, QueueRecord, Record, SessionRecord};
use tercet_broker::vhost::connection::Ending;

/// A broker whose watermark stands still until it is told to move, with a publisher.
fn held() -> (World, Client) {
    held_with(Limits::default())
}

fn held_with(limits: Limits) -> (World, Client) {
    let mut world = World::with(limits);
    world.journal.hold();
    let writer = world.connect(ConnectOptions::clean("writer"));
    (world, writer)
}

fn reader(world: &mut World, filter: &str, qos: u8) -> Client {
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, filter, qos);
    world.sync();
    assert!(world.effects.deferred.is_empty());
    reader
}

#[test]
fn a_durable_queue_hands_out_its_durable_prefix_and_no_more() {
    for qos in 1..3 {
        let (mut world, mut writer) = held();
        let reader = reader(&mut world, "t", 2);
        let mut positions = Vec::new();
        for text in ["a", "b", "c", "d"] {
            world.publish(&mut writer, "t", text, qos);
            positions.push(world.journal.last());
        }
        assert!(reader.take().is_empty());
        assert_eq!(world.effects.deferred.len(), 1, "one visit for all of them");
        for (position, text) in positions.iter().zip(["a", "b", "c"]) {
            world.journal.sync_to(*position);
            world.settle();
            assert_eq!(reader.payloads(), [text]);
            assert_eq!(world.effects.deferred.len(), 1);
        }
        world.sync();
        assert_eq!(reader.payloads(), ["d"]);
        assert!(world.effects.deferred.is_empty());
        world.publish(&mut writer, "t", "e", qos);
        assert_eq!(world.effects.deferred.len(), 1, "and again from the beginning");
        world.sync();
        assert_eq!(reader.payloads(), ["e"]);
    }
}

#[test]
fn what_needs_no_log_does_not_wait_for_it() {
    let (mut world, mut writer) = held();
    let clean = world.connect(ConnectOptions::clean("clean"));
    let durable = world.connect(ConnectOptions::durable("durable"));
    for filter in ["t", "$share/c/t"] {
        world.subscribe(&clean, filter, 2);
    }
    world.subscribe(&durable, "zero", 0);
    world.sync();
    for qos in 0..3 {
        world.publish(&mut writer, "t", "x", qos);
        world.publish(&mut writer, "zero", "x", qos);
    }
    assert_eq!(clean.payloads().len(), 6);
    assert_eq!(durable.payloads().len(), 3);
    assert!(world.effects.deferred.is_empty());
}

#[test]
fn the_window_is_kept_when_much_becomes_durable_at_once() {
    let (mut world, mut writer) = held();
    let reader = world.connect(ConnectOptions::durable("reader").window(3));
    world.subscribe(&reader, "t", 1);
    for number in 0..10 {
        world.publish(&mut writer, "t", &number.to_string(), 1);
    }
    world.sync();
    let first = reader.take();
    assert_eq!(first.len(), 3);
    world.acknowledge(&reader, &[Acknowledgement::Done(first[0].id())]);
    assert_eq!(reader.payloads(), ["3"]);
}

#[test]
fn what_waits_for_the_log_only_is_no_backlog() {
    for overflow in [Overflow::DropNew, Overflow::DropOldest] {
        let limits = Limits { max_queued_messages: 2, overflow, ..Limits::default() };
        for filter in ["t", "$share/g/t"] {
            let (mut world, mut writer) = held_with(limits.clone());
            let reader = world.connect(ConnectOptions::durable("reader").window(5));
            world.subscribe(&reader, filter, 1);
            world.sync();
            for number in 0..5 {
                world.publish(&mut writer, "t", &number.to_string(), 1);
            }
            world.sync();
            assert_eq!(reader.payloads(), ["0", "1", "2", "3", "4"], "{filter}: all fit into the window");
            for number in 5..9 {
                world.publish(&mut writer, "t", &number.to_string(), 1);
            }
            world.sync();
            assert!(reader.take().is_empty());
            assert_eq!(world.effects.counters.dropped_queue_full, 2, "{filter}: the window is full");
        }
    }
}

#[test]
fn a_release_waits_for_its_record_and_keeps_its_place() {
    let (mut world, mut writer) = held();
    let reader = reader(&mut world, "t", 2);
    for text in ["a", "b", "c"] {
        world.publish(&mut writer, "t", text, 2);
    }
    world.sync();
    let ids: Vec<u16> = reader.take().iter().map(Got::id).collect();
    for id in [ids[1], ids[0]] {
        world.acknowledge(&reader, &[Acknowledgement::Received(id)]);
    }
    let first_two = world.journal.last();
    world.acknowledge(&reader, &[Acknowledgement::Received(ids[2])]);
    // The client repeats itself: the answer must not overtake the record either.
    world.acknowledge(&reader, &[Acknowledgement::Received(ids[1])]);
    assert!(reader.take().is_empty());
    world.journal.sync_to(first_two);
    world.settle();
    assert_eq!(reader.take(), [Got::Release(ids[1]), Got::Release(ids[0])]);
    world.sync();
    assert_eq!(reader.take(), [Got::Release(ids[2]), Got::Release(ids[1])]);
    world.acknowledge(&reader, &[Acknowledgement::Received(ids[1])]);
    assert_eq!(reader.take(), [Got::Release(ids[1])], "its record is durable");
}

#[test]
fn a_takeover_while_entries_and_releases_wait_sends_them_once_in_order() {
    let (mut world, mut writer) = held();
    let old = reader(&mut world, "t", 2);
    for text in ["a", "b", "c"] {
        world.publish(&mut writer, "t", text, 2);
    }
    world.sync();
    let ids: Vec<u16> = old.take().iter().map(Got::id).collect();
    world.acknowledge(&old, &[Acknowledgement::Received(ids[0])]);
    world.sync();
    assert_eq!(old.take(), [Got::Release(ids[0])]);
    world.acknowledge(&old, &[Acknowledgement::Received(ids[1])]);
    world.publish(&mut writer, "t", "d", 2);
    let (new, _) = world.connect_only(ConnectOptions::durable("reader"));
    world.settle();
    world.journal.sync_to(Position::NONE);
    world.vhost.start_redelivery(&new.attachment, world.now, &mut world.effects);
    world.settle();
    assert_eq!(new.payloads(), ["c"], "durable and sent before");
    world.sync();
    assert_eq!(new.payloads(), ["(release)", "(release)", "d"]);
    assert!(old.take().is_empty());
    assert!(world.effects.deferred.is_empty());
}

#[test]
fn the_watermark_may_move_between_the_takeover_and_the_redelivery() {
    let (mut world, mut writer) = held();
    let old = reader(&mut world, "t", 2);
    world.publish(&mut writer, "t", "a", 2);
    world.sync();
    let id = old.take()[0].id();
    world.acknowledge(&old, &[Acknowledgement::Received(id)]);
    world.publish(&mut writer, "t", "b", 2);
    let (new, _) = world.connect_only(ConnectOptions::durable("reader"));
    world.sync();
    assert!(new.take().is_empty(), "nothing comes before the answer to the connect");
    world.vhost.start_redelivery(&new.attachment, world.now, &mut world.effects);
    world.settle();
    assert_eq!(new.payloads(), ["(release)", "b"]);
}

#[test]
fn what_waits_when_the_client_leaves_is_there_when_it_comes_back() {
    let (mut world, mut writer) = held();
    let reader = reader(&mut world, "t", 2);
    world.publish(&mut writer, "t", "a", 2);
    world.sync();
    let id = reader.take()[0].id();
    world.acknowledge(&reader, &[Acknowledgement::Received(id)]);
    world.publish(&mut writer, "t", "b", 1);
    world.disconnect(reader, Ending::Abnormal);
    world.publish(&mut writer, "t", "c", 1);
    assert_eq!(world.effects.deferred.len(), 1, "visited without a connection as well");
    world.sync();
    assert!(world.effects.deferred.is_empty());
    world.publish(&mut writer, "t", "d", 1);
    let reader = world.connect(ConnectOptions::durable("reader"));
    assert_eq!(reader.payloads(), ["(release)", "b", "c"]);
    world.sync();
    assert_eq!(reader.payloads(), ["d"]);
}

#[test]
fn a_session_that_ends_while_it_waits_is_forgotten() {
    let (mut world, mut writer) = held();
    let reader = reader(&mut world, "t", 1);
    world.publish(&mut writer, "t", "a", 1);
    world.vhost.remove_session("reader", world.now, &mut world.effects);
    world.settle();
    world.sync();
    assert!(reader.take().is_empty());
    assert!(world.effects.deferred.is_empty());
}

#[test]
fn a_group_hands_out_its_durable_prefix() {
    let (mut world, mut writer) = held();
    let reader = reader(&mut world, "$share/g/t", 1);
    let other = world.connect(ConnectOptions::clean("other"));
    world.subscribe(&other, "$share/g/t", 1);
    world.publish(&mut writer, "t", "a", 1);
    let first = world.journal.last();
    for text in ["b", "c", "d"] {
        world.publish(&mut writer, "t", text, 1);
    }
    assert!(reader.take().is_empty() && other.take().is_empty());
    world.journal.sync_to(first);
    world.settle();
    let mut got = [reader.payloads(), other.payloads()].concat();
    assert_eq!(got, ["a"]);
    world.sync();
    got.extend([reader.payloads(), other.payloads()].concat());
    got.sort();
    assert_eq!(got, ["a", "b", "c", "d"]);
    assert!(world.effects.deferred.is_empty());
}

#[test]
fn a_qos_2_message_is_seen_when_its_move_from_the_group_is_durable() {
    for options in [ConnectOptions::durable("member"), ConnectOptions::clean("member")] {
        let (mut world, mut writer) = held();
        // Makes the group durable; takes nothing, as it has no window left.
        let keeper = world.connect(ConnectOptions::durable("keeper").window(1));
        world.subscribe(&keeper, "full", 1);
        world.publish(&mut writer, "full", "x", 1);
        world.subscribe(&keeper, "$share/g/t", 2);
        let member = world.connect(options);
        world.subscribe(&member, "$share/g/t", 2);
        world.sync();
        assert_eq!(keeper.payloads(), ["x"]);
        for text in ["a", "b"] {
            world.publish(&mut writer, "t", text, 2);
        }
        world.sync();
        assert!(member.take().is_empty(), "durable in the group; the move is not");
        let moves = |record: &OwnedRecord| {
            matches!(
                record,
                OwnedRecord::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { from: Some(_), .. }))
                    | OwnedRecord::Group(_, GroupRecord::Queue(QueueRecord::Settled { .. }))
            )
        };
        assert_eq!(world.journal.records().iter().filter(|record| moves(record)).count(), 2);
        world.sync();
        assert_eq!(member.payloads(), ["a", "b"]);
        assert!(world.effects.deferred.is_empty());
    }
}

#[test]
fn a_retained_message_for_a_durable_session_waits_like_any_other() {
    let (mut world, mut writer) = held();
    for number in 0..2000 {
        world.publish_retained(&mut writer, &format!("r/{number:04}"), "x", 1);
    }
    world.sync();
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "r/#", 1);
    assert!(reader.take().is_empty());
    let mut count = 0;
    loop {
        world.sync();
        let got = world.consume(&reader).len();
        count += got;
        if got == 0 && world.effects.deferred.is_empty() {
            break;
        }
    }
    assert_eq!(count, 2000, "more than the replay puts into the queue at once");
}

/// What the records say of messages and releases, by session and by payload or identifier: the position that makes each
/// durable.
#[derive(Default)]
struct Durability {
    looked_at: usize,
    /// Sessions that are durable; others may get messages of their own at once.
    durable: HashSet<u64>,
    sessions: HashMap<(u64, String), Position>,
    groups: HashMap<String, Position>,
    released: HashMap<(u64, u16), Position>,
    /// The group that has just become durable: what it holds already was never promised to be.
    opening: Option<u64>,
}

impl Durability {
    fn look(&mut self, world: &World) {
        for (record, position) in world.journal.positions_behind(self.looked_at) {
            self.looked_at += 1;
            let text = |entry: &tercet_broker::record::Entry| {
                let message = match &entry.body {
                    Body::Memory(message) => Arc::clone(message),
                    Body::Log(stored) => world.journal.message(*stored),
                };
                String::from_utf8_lossy(&message.payload).into_owned()
            };
            let mut opening = None;
            match record.as_record() {
                Record::Session(id, SessionRecord::Opened { .. }) => drop(self.durable.insert(id.0)),
                Record::Session(id, SessionRecord::Ended) => drop(self.durable.remove(&id.0)),
                Record::Session(id, SessionRecord::Queue(QueueRecord::Enqueued { entry, .. })) => {
                    self.sessions.entry((id.0, text(entry))).or_insert(position);
                }
                Record::Session(id, SessionRecord::Queue(QueueRecord::Released { sequence })) => {
                    self.released.insert((id.0, tercet_broker::session::packet_id(*sequence)), position);
                }
                Record::Group(id, GroupRecord::Opened { .. }) => opening = Some(id.0),
                Record::Group(id, GroupRecord::Queue(QueueRecord::Enqueued { entry, .. })) => {
                    let position = if self.opening == Some(id.0) { Position::NONE } else { position };
                    opening = self.opening.filter(|opening| *opening == id.0);
                    let known = self.groups.entry(text(entry)).or_insert(position);
                    *known = position.min(*known);
                }
                _ => {}
            }
            self.opening = opening;
        }
    }

    /// Looks at all that the clients were sent and have not looked at.
    fn check(&mut self, traffic: &Traffic, seed: u64) {
        self.look(&traffic.world);
        let durable = traffic.world.vhost.durable();
        for client in traffic.clients.iter().flatten() {
            let id = client.attachment.session.id().0;
            if !self.durable.contains(&id) {
                continue;
            }
            for got in &client.line().got {
                let position = match got {
                    Got::Publish { qos: 0, .. } => continue,
                    Got::Publish { payload, .. } => {
                        let own = self.sessions.get(&(id, payload.clone()));
                        [own, self.groups.get(payload)].into_iter().flatten().min()
                    }
                    Got::Release(packet) => self.released.get(&(id, *packet)),
                };
                let position = position.copied().unwrap_or_default();
                assert!(
                    position <= durable,
                    "seed {seed}: {got:?} at {position}\n{}",
                    traffic.done.join("\n")
                );
            }
        }
    }
}

#[test]
fn whenever_the_watermark_moves_nothing_comes_before_it_and_everything_behind_it() {
    for seed in 0..3_000 {
        let mut traffic = Traffic::new(seed);
        traffic.mistakes = false;
        traffic.world.journal.hold();
        let mut durability = Durability::default();
        for _ in 0..80 {
            traffic.step();
            durability.check(&traffic, seed);
            if traffic.random.one_in(4) {
                let ahead = traffic.world.journal.last().number() - traffic.world.vhost.durable().number();
                let moved = traffic.random.below(ahead as usize + 1) as u64;
                let to = Position::new(traffic.world.vhost.durable().number() + moved);
                traffic.done.push(format!("durable up to {to}"));
                traffic.world.journal.sync_to(to);
                if traffic.random.one_in(2) {
                    traffic.world.settle();
                }
                durability.check(&traffic, seed);
            }
        }
        traffic.settle_everything();
        let world = &traffic.world;
        assert!(world.effects.deferred.is_empty(), "seed {seed}");
        for client in traffic.clients.iter().flatten() {
            let backlog = client.attachment.session.backlog();
            assert_eq!(
                backlog,
                (0, 0),
                "seed {seed}: {:?}\n{}",
                client.attachment.session,
                traffic.done.join("\n")
            );
        }
        let connected = traffic.clients.iter().flatten().count();
        let census = world.vhost.census();
        if connected == census.sessions {
            assert_eq!(census.queued, 0, "seed {seed}\n{}", traffic.done.join("\n"));
        }
    }
}
