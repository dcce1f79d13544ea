//! Queues as clients see them: declared by name, published to through exchanges, dead-lettered into each other.

use std::sync::Arc;

use tercet_amqp::content::{BasicProperties, Properties};
use tercet_amqp::field::{ArrayBuf, TableBuf, Value};

use super::World;
use crate::actor::{Actor, AllRights, ConnectionId};
use crate::consumer::ConsumerOutbox;
use crate::exchange::request::DeclareQueue;
use crate::exchange::route_cache::ExchangeRoutes;
use crate::exchange_publication::{ExchangePublication, Published};
use crate::message::{Properties as Encoded, PropertyEncoding};
use crate::named_queue::{Consume, GetOutcome, Got, NamedQueue, Outcome, Peeking};
use crate::record::{NamedQueueRecord, OwnedRecord};
use crate::refusal::{Refusal, ReplyCode};

fn actor() -> Actor {
    Actor {
        user: "guest".into(),
        vhost: "/".into(),
        connection: ConnectionId(1),
        rights: Arc::new(AllRights),
    }
}

fn declare(world: &mut World, name: &str, arguments: &[(&str, Value<'_>)]) -> Arc<NamedQueue> {
    declare_with(world, name, arguments, |_| {})
}

fn declare_with(
    world: &mut World,
    name: &str,
    arguments: &[(&str, Value<'_>)],
    change: impl FnOnce(&mut DeclareQueue<'_>),
) -> Arc<NamedQueue> {
    let mut table = TableBuf::new();
    for (name, value) in arguments {
        table.put(name, *value).unwrap();
    }
    let mut request =
        DeclareQueue { name, durable: true, arguments: table.as_table(), ..DeclareQueue::default() };
    change(&mut request);
    world.vhost.declare_queue(&actor(), &request, world.now, &mut world.effects).unwrap();
    world.vhost.find_queue(name).unwrap()
}

/// Publishes to the default exchange, persistent.
fn publish(world: &mut World, key: &str, body: &str) -> Published {
    publish_with(world, key, body, &[0x10, 0, 2])
}

fn publish_with(world: &mut World, key: &str, body: &str, bytes: &[u8]) -> Published {
    let publication = ExchangePublication {
        exchange: "",
        routing_key: key,
        properties: Encoded { encoding: PropertyEncoding::Amqp, bytes },
        payload: body.as_bytes(),
        mandatory: false,
    };
    let mut routes = ExchangeRoutes::default();
    let published = world
        .vhost
        .publish_to_exchange(&actor(), &mut routes, &publication, world.now, &mut world.effects)
        .unwrap();
    world.settle_down();
    published
}

/// The queues and counts of a message's deaths.
fn deaths(got: &Got) -> Vec<String> {
    let headers =
        Properties::from_bytes(&got.message.properties).unwrap().headers().unwrap().unwrap_or_default();
    let Some(Value::Array(deaths)) = headers.get("x-death") else { return Vec::new() };
    let described = deaths.iter().map(|death| {
        let Value::Table(death) = death else { panic!("{death:?}") };
        let text = |name: &str| death.get(name).and_then(|value| value.as_str()).unwrap();
        let count = death.get("count").and_then(|value| value.as_i64()).unwrap();
        format!("{} {} {count}", text("queue"), text("reason"))
    });
    described.collect()
}

#[test]
fn a_rejected_message_is_in_one_queue_at_any_time() {
    let mut world = World::default();
    let dead = [("x-dead-letter-exchange", Value::from("")), ("x-dead-letter-routing-key", "dead".into())];
    let source = declare(&mut world, "source", &dead);
    let target = declare(&mut world, "dead", &[]);
    publish(&mut world, "source", "1");
    let got = world.get(&source).unwrap();
    let before = world.journal.records().len();
    world.settle_got(&got, Outcome::Reject { requeue: false });
    assert_eq!((source.stats().ready, source.stats().unacked, target.stats().ready), (0, 0, 1));
    let records = world.journal.records();
    let kinds: Vec<_> = records[before..]
        .iter()
        .map(|record| match record {
            OwnedRecord::NamedQueue(id, NamedQueueRecord::Enqueued { .. }) => (*id, "enqueued"),
            OwnedRecord::NamedQueue(id, NamedQueueRecord::Settled { .. }) => (*id, "settled"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [(target.id(), "enqueued"), (source.id(), "settled")]);
    assert_eq!(world.journal.together_since(before), 1, "both or none");
    let got = world.get(&target).unwrap();
    assert_eq!(deaths(&got), ["source rejected 1"]);
    assert_eq!((&*got.message.topic, got.message.exchange.as_deref()), ("dead", Some("")));
    assert_eq!(world.journal.held_messages(), 1);
}

#[test]
fn a_message_goes_in_circles_only_if_somebody_rejects_it() {
    let mut world = World::default();
    let around = |to: &'static str| {
        [("x-dead-letter-exchange", Value::from("")), ("x-dead-letter-routing-key", to.into())]
    };
    let retry =
        declare(&mut world, "retry", &[&around("work")[..], &[("x-message-ttl", 100.into())]].concat());
    let work = declare(&mut world, "work", &around("retry"));
    publish(&mut world, "work", "1");
    for round in 1..=3 {
        let got = world.get(&work).unwrap();
        if round > 1 {
            let expected = [format!("retry expired {}", round - 1), format!("work rejected {}", round - 1)];
            assert_eq!(deaths(&got), expected);
        }
        world.settle_got(&got, Outcome::Reject { requeue: false });
        assert_eq!(retry.stats().ready, 1);
        world.pass(100);
    }
    // Two queues that expire into each other: it goes round once and is gone.
    let expiring = |to| [&around(to)[..], &[("x-message-ttl", 10.into())]].concat();
    let a = declare(&mut world, "a", &expiring("b"));
    let b = declare(&mut world, "b", &expiring("a"));
    publish(&mut world, "a", "1");
    world.pass(10);
    assert_eq!((a.stats().ready, b.stats().ready), (0, 1));
    world.pass(10);
    assert_eq!((a.stats().ready, b.stats().ready), (0, 0));
}

#[test]
fn without_its_exchange_a_dead_letter_is_dropped() {
    let mut world = World::default();
    let queue = declare(
        &mut world,
        "q",
        &[("x-dead-letter-exchange", Value::from("missing")), ("x-max-length", 1.into())],
    );
    publish(&mut world, "q", "1");
    publish(&mut world, "q", "2");
    assert_eq!((queue.stats().ready, world.journal.held_messages()), (1, 1));
}

#[test]
fn a_refused_message_is_said_to_be_refused_and_dead_lettered() {
    let mut world = World::default();
    let full = [
        ("x-max-length", Value::from(1)),
        ("x-overflow", "reject-publish-dlx".into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "dead".into()),
    ];
    declare(&mut world, "q", &full);
    let dead = declare(&mut world, "dead", &[]);
    let refused = [1, 2, 3].map(|number: u32| publish(&mut world, "q", &number.to_string()).refused);
    assert_eq!(refused, [false, true, true]);
    assert_eq!(deaths(&world.get(&dead).unwrap()), ["q maxlen 1"]);
    assert_eq!(world.drain(&dead), ["3"]);
}

#[test]
fn a_queue_goes_with_its_last_consumer_if_it_was_declared_so() {
    for auto_delete in [false, true] {
        let mut world = World::default();
        declare_with(&mut world, "q", &[], |request| request.auto_delete = auto_delete);
        let line = world.line();
        let consume = |world: &mut World, tag: &str| {
            let request = Consume {
                queue: "q",
                tag: tag.into(),
                channel: 1,
                no_ack: true,
                exclusive: false,
                priority: 0,
                prefetch: 0,
                arguments: Default::default(),
                outbox: Arc::clone(&line) as Arc<dyn ConsumerOutbox>,
            };
            world.vhost.consume(&actor(), &request, world.now, &mut world.effects).unwrap()
        };
        let (a, b) = (consume(&mut world, "a"), consume(&mut world, "b"));
        world.cancel(&a);
        assert!(world.vhost.find_queue("q").is_some());
        world.cancel(&b);
        assert_eq!(world.vhost.find_queue("q").is_none(), auto_delete);
    }
}

#[test]
fn an_unused_queue_goes_when_its_time_has_come() {
    let mut world = World::default();
    let queue = declare(&mut world, "q", &[("x-expires", 500.into())]);
    publish(&mut world, "q", "1");
    world.pass(499);
    assert!(world.vhost.find_queue("q").is_some());
    world.pass(1);
    assert!(world.vhost.find_queue("q").is_none() && queue.is_deleted());
    assert_eq!(world.journal.held_messages(), 0);
}

fn get(world: &mut World, name: &str) -> Result<GetOutcome, Refusal> {
    let line = world.line() as Arc<dyn ConsumerOutbox>;
    world.vhost.get(&actor(), name, false, &line, world.now, &mut world.effects)
}

#[test]
fn fetching_is_refused_where_it_makes_no_sense() {
    let mut world = World::default();
    declare(
        &mut world,
        "single",
        &[("x-queue-type", "quorum".into()), ("x-single-active-consumer", true.into())],
    );
    declare(&mut world, "stream", &[("x-queue-type", "stream".into())]);
    for (name, code) in [
        ("single", ReplyCode::ResourceLocked),
        ("stream", ReplyCode::NotImplemented),
        ("missing", ReplyCode::NotFound),
    ] {
        assert_eq!(get(&mut world, name).unwrap_err().code, code, "{name}");
    }
}

#[test]
fn looking_into_a_queue_changes_nothing() {
    let mut world = World::default();
    let queue = declare(&mut world, "q", &[("x-max-priority", 3.into())]);
    for number in 0..5 {
        publish(&mut world, "q", &number.to_string());
    }
    let durable = world.vhost.durable();
    queue.with_queue(|queue| queue.make_cold(1, durable));
    let held = world.get(&queue).unwrap();
    let journal = Arc::clone(&world.journal);
    let mut seen = Vec::new();
    let mut from = 0;
    loop {
        let part = world.vhost.peek(&actor(), "q", Peeking { from, most: 2 }, &*journal).unwrap();
        let Some(last) = part.last() else { break };
        from = last.sequence + 1;
        seen.extend(part.iter().map(|peeked| {
            let body = String::from_utf8(peeked.message.as_ref().unwrap().payload.to_vec()).unwrap();
            (body, peeked.ready, peeked.redelivered)
        }));
    }
    let expected: Vec<_> = (0..5).map(|number| (number.to_string(), number > 0, number == 0)).collect();
    assert_eq!(seen, expected);
    world.settle_got(&held, Outcome::Requeue);
    assert_eq!(world.drain(&queue), ["0", "1", "2", "3", "4"]);
}

#[test]
fn messages_are_moved_each_as_one_change() {
    let mut world = World::default();
    let from = declare(&mut world, "from", &[]);
    let to =
        declare(&mut world, "to", &[("x-max-length", 7.into()), ("x-overflow", "reject-publish".into())]);
    for number in 0..10 {
        publish(&mut world, "from", &number.to_string());
    }
    let durable = world.vhost.durable();
    from.with_queue(|queue| queue.cool(durable, 0, 4));
    let journal = Arc::clone(&world.journal);
    let moving = |world: &mut World, most| {
        let moved = world
            .vhost
            .move_messages(&actor(), "from", "to", most, &*journal, world.now, &mut world.effects)
            .unwrap();
        world.settle_down();
        moved.0
    };
    let before = world.journal.records().len();
    assert_eq!(moving(&mut world, 3), 3);
    assert_eq!(world.journal.records().len() - before, 6);
    assert_eq!(world.journal.together_since(before), 3);
    assert_eq!(moving(&mut world, u64::MAX), 4, "the other queue is full");
    assert_eq!(to.stats().ready, 7);
    let left: Vec<_> = std::iter::from_fn(|| world.get(&from)).map(|got| got.redelivered).collect();
    assert!(left.iter().all(|redelivered| !redelivered) && !left.is_empty(), "what stays is as it was");
}

#[test]
fn keys_that_nobody_sees_count_again_for_a_dead_letter() {
    let mut world = World::default();
    let dead = [("x-dead-letter-exchange", Value::from("")), ("x-message-ttl", 10.into())];
    let source = declare(&mut world, "source", &dead);
    let (seen, hidden) = (declare(&mut world, "seen", &dead), declare(&mut world, "hidden", &[]));
    let mut keys = ArrayBuf::new();
    keys.push("hidden").unwrap();
    let mut headers = TableBuf::new();
    headers.put("BCC", keys.as_array()).unwrap();
    let (mut list, mut bytes) = (Vec::new(), Vec::new());
    let properties = BasicProperties {
        headers: Some(headers.as_table()),
        delivery_mode: Some(2),
        ..BasicProperties::default()
    };
    properties.encode(&mut list).unwrap().write(&mut bytes);
    publish_with(&mut world, "source", "1", &bytes);
    assert_eq!((source.stats().ready, hidden.stats().ready), (1, 1));
    let hides = |got: &Got| {
        let headers = Properties::from_bytes(&got.message.properties).unwrap().headers().unwrap();
        headers.unwrap_or_default().get("BCC").is_none()
    };
    assert!(hides(&world.get(&source).unwrap()) && hides(&world.get(&hidden).unwrap()));
    let record = world.journal.records().into_iter().find_map(|record| match record {
        OwnedRecord::NamedQueue(_, NamedQueueRecord::Enqueued { entry, .. }) => entry.body.message().cloned(),
        _ => None,
    });
    assert!(record.unwrap().blind_copies.is_some(), "a restart does not forget them");
    publish_with(&mut world, "seen", "2", &bytes);
    assert_eq!((seen.stats().ready, hidden.stats().ready), (1, 1));
    world.pass(10);
    let got = world.get(&hidden).unwrap();
    assert!(hides(&got));
    // Its own key leads in a circle, the hidden one does not.
    let got = world.get(&hidden).unwrap();
    assert_eq!(deaths(&got), ["seen expired 1"]);
    assert!(hides(&got) && world.get(&hidden).is_none());
}
