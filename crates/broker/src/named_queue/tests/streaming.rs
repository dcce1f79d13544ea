//! Queues that keep what was read.

use std::sync::Arc;

use tercet_amqp::content::BasicProperties;
use tercet_amqp::field::{TableBuf, Value};

use super::world::Delivered;
use super::{Line, World, settings};
use crate::limits::Limits;
use crate::named_queue::{Consumption, NamedQueue, Outcome, QueueKind, QueueSettings};
use crate::record::OwnedRecord;

fn stream(world: &mut World, change: impl FnOnce(&mut QueueSettings)) -> Arc<NamedQueue> {
    world.queue(QueueKind::Stream, true, settings(change))
}

fn read(
    world: &mut World,
    queue: &Arc<NamedQueue>,
    line: &Arc<Line>,
    prefetch: u16,
    arguments: &[(&str, Value<'_>)],
) -> Result<Arc<Consumption>, String> {
    let mut table = TableBuf::new();
    for (name, value) in arguments {
        table.put(name, *value).expect("short");
    }
    // Arguments live as long as the request.
    let table = table;
    let consumption = world.try_consume(queue, line, "c", |request| {
        request.prefetch = prefetch;
        request.arguments = tercet_amqp::field::Table::parse(leak(&table), 4).expect("valid");
    });
    consumption.map_err(|refusal| refusal.to_string())
}

/// A test's few bytes may stay.
fn leak(table: &TableBuf) -> &'static [u8] {
    Box::leak(table.as_table().as_bytes().into())
}

fn first() -> (&'static str, Value<'static>) {
    ("x-stream-offset", "first".into())
}

fn fill(world: &mut World, queue: &Arc<NamedQueue>, numbers: std::ops::Range<u32>) {
    for number in numbers {
        world.publish(queue, &number.to_string());
    }
}

fn offsets(delivered: &[Delivered]) -> Vec<u64> {
    delivered.iter().map(|delivered| delivered.offset.expect("of a stream")).collect()
}

#[test]
fn everybody_reads_everything_from_where_he_begins() {
    let mut world = World::default();
    let queue = stream(&mut world, |_| {});
    fill(&mut world, &queue, 0..5);
    let lines: Vec<_> = (0..6).map(|_| world.line()).collect();
    for (line, start) in lines.iter().zip([
        Some("first".into()),
        Some("last".into()),
        Some("next".into()),
        Some(Value::I32(3)),
        // Waits for that one.
        Some(Value::I64(1_000)),
        None,
    ]) {
        let arguments: Vec<_> = start.map(|value| ("x-stream-offset", value)).into_iter().collect();
        read(&mut world, &queue, line, 100, &arguments).expect("consumes");
    }
    fill(&mut world, &queue, 5..7);
    let seen: Vec<_> = lines.iter().map(|line| line.take()).collect();
    let expected: [&[u64]; 6] = [&[0, 1, 2, 3, 4, 5, 6], &[4, 5, 6], &[5, 6], &[3, 4, 5, 6], &[], &[5, 6]];
    for (seen, expected) in seen.iter().zip(expected) {
        assert_eq!(offsets(seen), expected);
        assert!(seen.iter().all(|delivered| !delivered.redelivered && delivered.count.is_none()));
        assert!(seen.iter().all(|delivered| delivered.body == delivered.sequence.to_string()));
    }
    assert_eq!(queue.stats().ready, 7);
    assert_eq!(world.journal.held_messages(), 7);
}

#[test]
fn whatever_is_said_of_a_delivery_only_makes_room() {
    let mut world = World::default();
    let queue = stream(&mut world, |_| {});
    fill(&mut world, &queue, 0..10);
    let line = world.line();
    let consumption = read(&mut world, &queue, &line, 2, &[first()]).expect("consumes");
    let mut seen = Vec::new();
    for outcome in
        [Outcome::Ack, Outcome::Nack { requeue: true }, Outcome::Reject { requeue: false }, Outcome::Requeue]
    {
        let got = line.take();
        assert_eq!(got.len(), 2);
        assert!(consumption.unacked() == 2);
        world.settle(outcome, &got);
        seen.extend(offsets(&got));
    }
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
    let last = line.take();
    world.settle(Outcome::Ack, &last[..1]);
    assert!(line.take().is_empty());
    assert_eq!((queue.stats().ready, consumption.unacked()), (10, 1));
    world.cancel(&consumption);
    fill(&mut world, &queue, 10..11);
    assert!(line.take().is_empty());
}

#[test]
fn a_consumer_has_to_acknowledge_and_to_bound_what_it_gets() {
    let mut world = World::default();
    let queue = stream(&mut world, |_| {});
    let line = world.line();
    let unbounded = read(&mut world, &queue, &line, 0, &[]).expect_err("refused");
    assert_eq!(
        unbounded,
        "PRECONDITION_FAILED - consumer prefetch count is not set for stream queue 'q1' in vhost '/'"
    );
    let automatic = world.try_consume(&queue, &line, "c", |request| {
        (request.no_ack, request.prefetch) = (true, 10);
    });
    let refused = automatic.expect_err("refused").to_string();
    let expected = "automatic acknowledgement not supported by stream queues queue 'q1' in vhost '/'";
    assert_eq!(refused, format!("NOT_IMPLEMENTED - {expected}"));
    assert!(read(&mut world, &queue, &line, 1, &[("x-stream-offset", "soon".into())]).is_err());
}

#[test]
fn only_what_the_log_has_is_read() {
    let mut world = World::default();
    let queue = stream(&mut world, |_| {});
    let line = world.line();
    read(&mut world, &queue, &line, 10, &[first()]).expect("consumes");
    world.journal.hold();
    let position = world.publish(&queue, "0").position;
    assert!(position > world.vhost.durable());
    assert!(line.take().is_empty());
    world.sync();
    assert_eq!(line.bodies(), ["0"]);
}

#[test]
fn a_time_is_met_to_the_millisecond() {
    let mut world = World::default();
    let queue = stream(&mut world, |_| {});
    let start = world.now.utc_ms;
    for number in 0..50 {
        world.publish(&queue, &number.to_string());
        world.pass(99);
    }
    for wanted in [0, 1, 7, 10, 11, 12, 30, 35] {
        let ms = start + wanted * 99;
        // What the argument says is in whole seconds; an interval says milliseconds here.
        let line = world.line();
        let seconds = ms.div_ceil(1000);
        let expected = (0..50).find(|number| start + number * 99 >= seconds * 1000).expect("in time");
        read(&mut world, &queue, &line, 1, &[("x-stream-offset", Value::Timestamp(seconds))])
            .expect("consumes");
        assert_eq!(offsets(&line.take()), [expected], "{wanted}");
    }
    let line = world.line();
    read(&mut world, &queue, &line, 1, &[("x-stream-offset", "2s".into())]).expect("consumes");
    let expected = (0..50).find(|number| start + number * 99 >= world.now.utc_ms - 2000);
    assert_eq!(offsets(&line.take()), [expected.expect("in time")]);
    let line = world.line();
    read(&mut world, &queue, &line, 1, &[("x-stream-offset", "1h".into())]).expect("consumes");
    assert_eq!(offsets(&line.take()), [0]);
}

#[test]
fn what_is_old_goes_within_a_second() {
    let mut world = World::default();
    let queue = stream(&mut world, |settings| settings.retention.max_age_ms = Some(10_000));
    for number in 0..20 {
        world.publish(&queue, &number.to_string());
        world.pass(500);
    }
    assert_eq!(queue.stats().ready, 20, "nothing is older than ten seconds");
    let mut before = 20;
    for _ in 0..24 {
        world.pass(500);
        let ready = queue.stats().ready;
        assert!(before - ready <= 2, "{before} {ready}");
        before = ready;
    }
    assert_eq!(before, 0);
    assert_eq!(world.journal.held_messages(), 0);
    let line = world.line();
    read(&mut world, &queue, &line, 10, &[first()]).expect("consumes");
    world.publish(&queue, "20");
    assert_eq!(offsets(&line.take()), [20], "offsets go on");
}

#[test]
fn what_is_too_much_goes_from_the_front() {
    let mut world = World::default();
    let queue = stream(&mut world, |settings| settings.max_length_bytes = Some(10));
    for _ in 0..10 {
        world.publish(&queue, "four");
    }
    assert_eq!((queue.stats().ready, queue.stats().ready_bytes), (2, 8));
    world.publish(&queue, "larger than all that may be");
    assert_eq!(queue.stats().ready, 1);
    let line = world.line();
    read(&mut world, &queue, &line, 10, &[first()]).expect("consumes");
    assert_eq!(offsets(&line.take()), [10]);
}

#[test]
fn a_filter_lets_through_what_it_names() {
    let mut world = World::default();
    let queue = stream(&mut world, |_| {});
    let line = world.line();
    let mut values = tercet_amqp::field::ArrayBuf::new();
    values.push("red").expect("short").push("blue").expect("short");
    let filter = [first(), ("x-stream-filter", values.as_array().into())];
    read(&mut world, &queue, &line, 10, &filter).expect("consumes");
    let all = world.line();
    let with_others =
        [filter[0], ("x-stream-filter", "red".into()), ("x-stream-match-unfiltered", true.into())];
    read(&mut world, &queue, &all, 10, &with_others).expect("consumes");
    for value in [Some("red"), None, Some("green"), Some("blue"), Some("")] {
        let mut headers = TableBuf::new();
        if let Some(value) = value {
            headers.put("x-stream-filter-value", value).expect("short");
        }
        let properties = BasicProperties { headers: Some(headers.as_table()), ..BasicProperties::default() };
        world.publish_with(&queue, value.unwrap_or("none"), properties);
    }
    assert_eq!(line.bodies(), ["red", "blue"]);
    assert_eq!(all.bodies(), ["red", "none"]);
}

#[test]
fn readers_of_a_long_stream_share_little_memory() {
    let mut world = World::with(Limits { message_memory: 100_000, ..Limits::default() });
    let queue = stream(&mut world, |_| {});
    let body = "x".repeat(200);
    for _ in 0..5_000 {
        world.publish(&queue, &body);
    }
    world.sync();
    assert!(queue.stats().memory < 105_000, "{}", queue.stats().memory);
    let lines: Vec<_> = (0..3).map(|_| world.line()).collect();
    let starts = [0, 1_000, 4_000];
    for (line, start) in lines.iter().zip(starts) {
        read(&mut world, &queue, line, 100, &[("x-stream-offset", Value::I64(start))]).expect("consumes");
    }
    let mut seen = [0; 3];
    loop {
        let mut some = false;
        for (line, count) in lines.iter().zip(&mut seen) {
            let got = line.take();
            some |= !got.is_empty();
            *count += got.len() as i64;
            world.settle(Outcome::Ack, &got);
            assert!(queue.stats().memory < 600_000, "{}", queue.stats().memory);
        }
        if !some {
            break;
        }
    }
    assert_eq!(seen, starts.map(|start| 5_000 - start));
    assert_eq!(queue.stats().ready, 5_000);
    assert!(queue.stats().memory < 200_000, "{}", queue.stats().memory);
}

#[test]
fn a_stream_comes_back_from_its_records() {
    let mut world = World::default();
    let configure = |settings: &mut QueueSettings| settings.retention.max_age_ms = Some(10_000);
    let queue = stream(&mut world, configure);
    for number in 0..30 {
        world.publish(&queue, &number.to_string());
        world.pass(500);
    }
    let copy = NamedQueue::new(queue.id(), queue.description().clone(), Arc::new(settings(configure)));
    for record in world.journal.records() {
        if let OwnedRecord::NamedQueue(id, record) = record
            && id == queue.id()
        {
            copy.replay(record);
        }
    }
    assert_eq!(copy.stats().ready, queue.stats().ready);
    assert_eq!(copy.extras_of(0..100), queue.extras_of(0..100));
    world.with_context(|cx| copy.restored(cx));
    let line = world.line();
    read(&mut world, &copy, &line, 100, &[first()]).expect("consumes");
    let seen = line.take();
    assert_eq!(offsets(&seen).last(), Some(&29));
    assert!(seen.iter().all(|delivered| !delivered.redelivered));
    // Only one of them can be the queue.
    drop(queue);
    world.pass(12_000);
    assert_eq!(copy.stats().ready, 0, "age counts on after a restart");
}
