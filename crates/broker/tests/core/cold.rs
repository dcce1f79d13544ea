//! Messages that are only in the log: they go there when too many are in memory, and are back in time.

use std::sync::Arc;

use tercet_broker::body::{Body, Stored};
use tercet_broker::limits::Limits;
use tercet_broker::read_back::Bodies;
use tercet_broker::record::{GroupRecord, OwnedRecord, QueueRecord, Record, RetainedRecord, SessionRecord};
use tercet_broker::vhost::connection::Ending;

use crate::support::{Client, ConnectOptions, Random, World};

/// No durable message stays in memory.
fn cold() -> Limits {
    Limits { message_memory: 0, ..Limits::default() }
}

/// A reader that is away, to whom `count` messages of QoS 1 are sent.
fn backlog(limits: Limits, filter: &str, count: usize) -> (World, Client) {
    let mut world = World::with(limits);
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, filter, 1);
    world.disconnect(reader, Ending::Normal);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for number in 0..count {
        world.publish(&mut writer, "t", &number.to_string(), 1);
    }
    (world, writer)
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// The records of the messages that were enqueued, in order.
fn enqueued(world: &World) -> Vec<Stored> {
    let records = world.journal.records();
    let entries = records.iter().filter_map(|record| match record.as_record() {
        Record::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { entry, .. }))
        | Record::Group(_, GroupRecord::Queue(QueueRecord::Enqueued { entry, .. })) => entry.body.stored(),
        _ => None,
    });
    entries.collect()
}

#[test]
fn a_long_queue_is_in_the_log_only_and_comes_back_in_order() {
    const COUNT: usize = 100_000;
    let (mut world, _writer) = backlog(cold(), "t", COUNT);
    let census = world.vhost.census();
    assert_eq!((census.queued, census.in_memory, census.memory), (COUNT, 0, 0));
    let fast = world.connect(ConnectOptions::durable("reader").window(1000));
    assert_eq!(world.consume(&fast), numbers(COUNT));
    assert_eq!(world.journal.reads(), COUNT as u64, "each is read once");
    let census = world.vhost.census();
    assert_eq!((census.queued, census.in_memory), (0, 0));
    assert_eq!(world.vhost.body_budget().used(), 0);
}

#[test]
fn a_slow_client_gets_a_long_queue_with_little_in_memory() {
    const COUNT: usize = 100_000;
    let (mut world, _writer) = backlog(cold(), "t", COUNT);
    let slow = world.connect(ConnectOptions::durable("reader").window(3));
    let mut got = Vec::new();
    while got.len() < COUNT {
        let before = got.len();
        got.extend(slow.take());
        assert!((1..=3).contains(&(got.len() - before)), "one window at a time");
        let answers: Vec<_> = got.iter().skip(before).map(|got| done(got.id())).collect();
        world.acknowledge(&slow, &answers);
        if got.len().is_multiple_of(999) {
            assert!(world.vhost.census().in_memory <= 64, "{:?}", world.vhost.census());
        }
    }
    assert!(got.iter().map(|got| got.payload().to_owned()).eq(numbers(COUNT)));
}

fn done(id: u16) -> tercet_broker::acknowledgement::Acknowledgement {
    tercet_broker::acknowledgement::Acknowledgement::Done(id)
}

#[test]
fn within_the_budget_everything_stays_in_memory() {
    let (mut world, _writer) = backlog(Limits::default(), "t", 1000);
    assert_eq!(world.vhost.census().in_memory, 1000);
    let reader = world.connect(ConnectOptions::durable("reader"));
    assert_eq!(world.consume(&reader), numbers(1000));
    assert_eq!(world.journal.reads(), 0);
}

#[test]
fn what_is_in_memory_stays_near_the_budget_and_is_given_back() {
    let limits = Limits { message_memory: 100_000, ..Limits::default() };
    let (mut world, mut writer) = backlog(limits.clone(), "t", 5000);
    let (used, census) = (world.vhost.body_budget().used(), world.vhost.census());
    assert!(used <= 101_000 && census.memory <= 101_000, "{used} {census:?}");
    assert!(census.in_memory < 1000 && census.in_memory > 0, "{census:?}");
    world.vhost.set_limits(Limits { message_memory: 10_000, ..limits });
    world.publish(&mut writer, "t", "last", 1);
    (0..128).for_each(|_| world.tick());
    assert!(world.vhost.census().memory <= 10_000, "{:?}", world.vhost.census());
    world.vhost.remove_session("reader", world.now, &mut world.effects);
    world.effects = Default::default();
    assert_eq!(world.vhost.body_budget().used(), 0);
}

#[test]
fn a_queue_to_which_nothing_happens_gives_its_memory_to_others() {
    let limits = Limits { message_memory: 100_000, ..Limits::default() };
    let (mut world, mut writer) = backlog(limits, "t", 330);
    assert_eq!(world.vhost.census().in_memory, 330);
    let other = world.connect(ConnectOptions::durable("other"));
    world.subscribe(&other, "u", 1);
    world.disconnect(other, Ending::Normal);
    for number in 0..100 {
        world.publish(&mut writer, "u", &number.to_string(), 1);
    }
    (0..128).for_each(|_| world.tick());
    let census = world.vhost.census();
    assert!(census.in_memory <= 100, "{census:?}");
    assert_eq!(census.queued, 430);
}

#[test]
fn what_is_not_durable_stays_in_memory() {
    let mut world = World::with(cold());
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "t", 1);
    world.disconnect(reader, Ending::Normal);
    world.journal.hold();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "a", 1);
    let first = world.journal.last();
    world.publish(&mut writer, "t", "b", 1);
    assert_eq!(world.vhost.census().in_memory, 2);
    world.journal.sync_to(first);
    world.settle();
    assert_eq!(world.vhost.census().in_memory, 1);
    world.sync();
    assert_eq!(world.vhost.census().in_memory, 0);
}

#[test]
fn what_a_transient_session_holds_stays_in_memory() {
    let mut world = World::with(cold());
    let reader = world.connect(ConnectOptions::clean("reader").window(1));
    let keeper = world.connect(ConnectOptions::durable("keeper").window(1));
    world.subscribe(&reader, "t", 1);
    world.subscribe(&keeper, "t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for number in 0..100 {
        world.publish(&mut writer, "t", &number.to_string(), 1);
    }
    assert!(world.vhost.census().in_memory >= 100);
    assert_eq!(world.consume(&reader), numbers(100));
    assert_eq!(world.consume(&keeper), numbers(100));
}

#[test]
fn a_fast_client_asks_before_it_runs_dry() {
    let (mut world, _writer) = backlog(cold(), "t", 10_000);
    world.vhost.set_limits(Limits { message_memory: usize::MAX, ..Limits::default() });
    world.reading = false;
    let reader = world.connect(ConnectOptions::durable("reader").window(20));
    assert!(reader.take().is_empty());
    let read = |world: &mut World| {
        let some = world.vhost.read_back(&*world.journal, world.now, &mut world.effects);
        world.settle();
        some
    };
    assert!(read(&mut world), "the first one is missing");
    let mut got = 0;
    while got < 10_000 {
        let answers: Vec<_> = reader.take().iter().map(|got| done(got.id())).collect();
        assert!(!answers.is_empty(), "ran dry at {got}");
        got += answers.len();
        world.acknowledge(&reader, &answers);
        read(&mut world);
    }
    assert!(!read(&mut world));
}

#[test]
fn a_message_that_cannot_be_read_is_dropped_and_holds_up_nobody() {
    let (mut world, _writer) = backlog(cold(), "t", 1000);
    let stored = enqueued(&world);
    for lost in [0, 7, 300, 301, 999] {
        world.journal.damage(stored[lost]);
    }
    let reader = world.connect(ConnectOptions::durable("reader"));
    let expected: Vec<_> = numbers(1000)
        .into_iter()
        .filter(|text| !["0", "7", "300", "301", "999"].contains(&&**text))
        .collect();
    assert_eq!(world.consume(&reader), expected);
    assert_eq!(world.effects.counters.dropped_unreadable, 5);
    assert!(world.journal.holders().is_empty(), "nobody holds what is lost");
    let rebuilt = world.restarted(usize::MAX);
    assert_eq!(rebuilt.vhost.census().queued, 0, "it does not come back");
}

#[test]
fn a_message_that_has_moved_meanwhile_is_read_where_it_is_now() {
    // What is read is put in only where the entry is still the same: here it is gone by then.
    let (mut world, _writer) = backlog(cold(), "t", 3);
    world.reading = false;
    let reader = world.connect(ConnectOptions::durable("reader"));
    struct Meanwhile<'a>(&'a World);
    impl Bodies for Meanwhile<'_> {
        fn read(
            &self,
            records: &[Stored],
        ) -> Vec<Result<Arc<tercet_broker::message::Message>, tercet_broker::read_back::Unreadable>> {
            let read = self.0.journal.read(records);
            let mut effects = Default::default();
            self.0.vhost.remove_session("reader", self.0.now, &mut effects);
            read
        }
    }
    let mut effects = std::mem::take(&mut world.effects);
    while world.vhost.read_back(&Meanwhile(&world), world.now, &mut effects) {}
    world.effects = effects;
    world.settle();
    assert!(reader.take().is_empty());
    assert_eq!(world.vhost.census().queued, 0);
}

#[test]
fn members_share_what_is_in_the_log_only() {
    const COUNT: usize = 20_000;
    let (mut world, _writer) = backlog(cold(), "$share/g/t", COUNT);
    let census = world.vhost.census();
    assert_eq!((census.queued, census.in_memory), (COUNT, 0));
    for lost in [0, 5000] {
        world.journal.damage(enqueued(&world)[lost]);
    }
    let one = world.connect(ConnectOptions::durable("reader").window(10));
    let two = world.connect(ConnectOptions::clean("two").window(100));
    world.subscribe(&two, "$share/g/t", 1);
    let mut got = [Vec::new(), Vec::new()];
    loop {
        let before = got[0].len() + got[1].len();
        for (client, got) in [&one, &two].into_iter().zip(&mut got) {
            let new = client.take();
            let answers: Vec<_> = new.iter().map(|got| done(got.id())).collect();
            got.extend(new.iter().map(|got| got.payload().parse::<usize>().unwrap()));
            world.acknowledge(client, &answers);
        }
        if got[0].len() + got[1].len() == before {
            break;
        }
    }
    assert!(got.iter().all(|got| got.is_sorted() && got.len() > 1000), "both got some, in order");
    let mut all = got.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..COUNT).filter(|number| ![0, 5000].contains(number))));
    assert_eq!(world.effects.counters.dropped_unreadable, 2);
    assert_eq!(world.vhost.census().queued, 0);
}

#[test]
fn a_session_that_leaves_keeps_nothing_in_memory_and_gets_it_all_again() {
    let (mut world, _writer) = backlog(cold(), "t", 1000);
    let reader = world.connect(ConnectOptions::durable("reader").window(50));
    assert_eq!(reader.take().len(), 50);
    assert!(world.vhost.census().in_memory > 0, "some were read ahead");
    world.disconnect(reader, Ending::Abnormal);
    assert_eq!(world.vhost.census().in_memory, 0);
    let reader = world.connect(ConnectOptions::durable("reader"));
    assert_eq!(world.consume(&reader), numbers(1000));
}

#[test]
fn retained_values_are_in_the_log_only_and_are_sent_in_the_order_of_their_topics() {
    let mut world = World::with(cold());
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    let topics: Vec<_> = (0..5000).map(|number| format!("r/{number:05}")).collect();
    for topic in &topics {
        world.publish_retained(&mut writer, topic, topic, 1);
    }
    world.pass(1);
    assert_eq!(world.vhost.retained().memory(), 0);
    assert_eq!(world.vhost.body_budget().used(), 0);
    for qos in [0, 1] {
        let reader = world.connect(ConnectOptions::clean("reader"));
        world.subscribe(&reader, "r/#", qos);
        assert_eq!(world.consume(&reader), topics, "QoS {qos}");
    }
    assert_eq!(world.journal.reads(), 10_000);
    let read = world.vhost.read_retained("r/00042", &*world.journal).unwrap().unwrap();
    assert_eq!(&*read.payload, b"r/00042");
    assert!(world.vhost.read_retained("r/nothing", &*world.journal).unwrap().is_none());
}

#[test]
fn values_that_change_during_a_replay_come_once_and_never_old_after_new() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut world = World::with(cold());
        let mut writer = world.connect(ConnectOptions::clean("writer"));
        let topics: Vec<_> = (0..700).map(|number| format!("r/{number:03}")).collect();
        for topic in &topics {
            world.publish_retained(&mut writer, topic, "old", 1);
        }
        world.pass(1);
        let damaged = world.vhost.retained().body("r/500").unwrap().stored().unwrap();
        world.journal.damage(damaged);
        let reader = world.connect(ConnectOptions { room: 40, ..ConnectOptions::clean("reader") });
        world.set_reading(&reader, false);
        world.subscribe(&reader, "r/#", random.below(2) as u8);
        let mut changed = Vec::new();
        let mut got = Vec::new();
        for _ in 0..200 {
            for _ in 0..random.below(4) {
                let topic = random.pick(&topics);
                let text = *random.pick(&["new", ""]);
                // Always the same QoS: order is kept within each.
                world.publish_retained(&mut writer, topic, text, 1);
                changed.push(topic.clone());
            }
            world.set_reading(&reader, true);
            world.set_reading(&reader, false);
            got.extend(reader.take());
            let answers: Vec<_> = got.iter().filter(|got| got.id() > 0).map(|got| done(got.id())).collect();
            world.acknowledge(&reader, &answers);
        }
        let mut last = "";
        for got in &got {
            let crate::support::Got::Publish { topic, payload, .. } = got else { panic!("{got:?}") };
            if payload == "old" {
                assert!(last < &**topic, "seed {seed}: in order, each once");
                last = topic;
            }
        }
        for topic in &topics {
            let of_topic: Vec<_> = got
                .iter()
                .filter(
                    |got| matches!(got, crate::support::Got::Publish { topic: found, .. } if found == topic),
                )
                .map(|got| got.payload())
                .collect();
            let old = of_topic.iter().position(|text| *text == "old");
            assert!(old.is_none_or(|old| old == 0), "seed {seed}: {topic} {of_topic:?}");
            let expected = usize::from(!changed.contains(topic) && topic != "r/500");
            assert!(of_topic.len() >= expected, "seed {seed}: {topic} is missing");
        }
    }
}

/// The retained values that records tell of from a point on: topic and text; none if it is cleared.
fn retained_records(world: &World, from: usize) -> Vec<(String, Option<String>)> {
    let records = world.journal.records().into_iter().skip(from);
    let values = records.filter_map(|record| match record {
        OwnedRecord::Retained(RetainedRecord::Set { topic, body: Body::Memory(message), .. }) => {
            Some((topic.to_string(), Some(String::from_utf8_lossy(&message.payload).into_owned())))
        }
        OwnedRecord::Retained(RetainedRecord::Cleared(topic)) => Some((topic.to_string(), None)),
        _ => None,
    });
    values.collect()
}

#[test]
fn retained_values_of_qos_0_are_written_behind_the_newest_of_each_topic() {
    let mut world = World::default();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for text in ["1", "2", "3"] {
        world.publish_retained(&mut writer, "a", text, 0);
        world.publish_retained(&mut writer, "b", text, 0);
    }
    world.publish_retained(&mut writer, "b", "", 0);
    assert_eq!(retained_records(&world, 0), [], "not at once");
    world.pass(1);
    assert_eq!(retained_records(&world, 0), [("a".into(), Some("3".into()))], "of b the log never knew");
    let from = world.journal.len();
    world.publish_retained(&mut writer, "a", "4", 0);
    assert_eq!(world.restarted(usize::MAX).vhost.retained().get("a").unwrap().payload.to_vec(), b"3");
    world.publish_retained(&mut writer, "a", "", 0);
    world.pass(1);
    assert_eq!(retained_records(&world, from), [("a".into(), None)]);
    assert!(world.journal.holders().is_empty());
    world.pass(5);
    assert_eq!(retained_records(&world, from).len(), 1);
}

#[test]
fn a_retained_value_of_qos_1_overtakes_what_is_written_behind() {
    let mut world = World::default();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish_retained(&mut writer, "a", "1", 1);
    world.publish_retained(&mut writer, "a", "2", 0);
    world.publish_retained(&mut writer, "a", "3", 1);
    world.publish_retained(&mut writer, "c", "1", 1);
    world.publish_retained(&mut writer, "c", "", 0);
    world.publish_retained(&mut writer, "c", "", 1);
    world.pass(2);
    let a = |text: &str| ("a".to_owned(), Some(text.to_owned()));
    let c = |text: Option<&str>| ("c".to_owned(), text.map(str::to_owned));
    assert_eq!(retained_records(&world, 0), [a("1"), a("3"), c(Some("1")), c(None)]);
    assert_eq!(world.journal.holders().len(), 1);
}

#[test]
fn what_is_written_behind_waits_while_the_log_is_full_and_is_written_at_the_end() {
    use tercet_broker::journal::Admission;
    let mut world = World::default();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish_retained(&mut writer, "a", "1", 0);
    world.journal.set_admission(Admission::Full);
    world.pass(3);
    assert_eq!(retained_records(&world, 0), []);
    world.journal.set_admission(Admission::Busy);
    world.pass(3);
    assert_eq!(retained_records(&world, 0), []);
    assert!(!world.vhost.write_behind(usize::MAX));
    assert_eq!(retained_records(&world, 0).len(), 1);
}
