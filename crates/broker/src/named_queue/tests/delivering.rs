//! Who gets what.

use std::sync::Arc;
use std::time::Duration;

use super::{World, settings};
use crate::named_queue::{Outcome, QueueKind};
use crate::refusal::ReplyCode;

#[test]
fn what_nobody_has_to_keep_goes_straight_to_a_consumer() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    let line = world.line();
    world.try_consume(&queue, &line, "c", |request| request.no_ack = true).unwrap();
    world.publish(&queue, "one");
    world.persist(&queue, "two");
    let got = line.take();
    assert!(got.iter().all(|delivered| !delivered.owned && !delivered.redelivered));
    assert_eq!(got.iter().map(|delivered| &*delivered.body).collect::<Vec<_>>(), ["one", "two"]);
    let stats = queue.stats();
    assert_eq!((stats.ready, stats.unacked, stats.totals.delivered, stats.totals.acknowledged), (0, 0, 2, 2));
    assert!(world.journal.records().is_empty(), "a transient queue never touches the log");
}

#[test]
fn order_is_kept_when_the_output_was_full() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    let line = world.line();
    let consumption = world.try_consume(&queue, &line, "c", |request| request.no_ack = true).unwrap();
    line.set_room(1);
    for body in ["1", "2", "3"] {
        world.publish(&queue, body);
    }
    assert_eq!(line.bodies(), ["1"]);
    line.set_room(10);
    world.publish(&queue, "4");
    assert_eq!(line.bodies(), Vec::<String>::new(), "nothing before it is resumed, and nothing overtakes");
    world.vhost.resume_consumers(&[consumption], world.now, &mut world.effects);
    assert_eq!(line.bodies(), ["2", "3", "4"]);
}

#[test]
fn consumers_take_turns_as_far_as_their_prefetch_goes() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    let line = world.line();
    for (tag, prefetch) in [("a", 1), ("b", 3), ("c", 0)] {
        world.consumer(&queue, &line, tag, prefetch);
    }
    for number in 0..9 {
        world.publish(&queue, &number.to_string());
    }
    let got = line.take();
    let tags: Vec<_> = got.iter().map(|delivered| &*delivered.tag).collect();
    assert_eq!(tags, ["a", "b", "c", "b", "c", "b", "c", "c", "c"]);
    world.settle(Outcome::Ack, &got[..2]);
    world.publish(&queue, "x");
    world.publish(&queue, "y");
    let tags: Vec<_> = line.take().iter().map(|delivered| delivered.tag.to_string()).collect();
    assert_eq!(tags, ["a", "b"]);
}

#[test]
fn consumers_of_a_higher_priority_come_first_while_they_have_credit() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    let line = world.line();
    for (tag, priority, prefetch) in [("low", -1, 0), ("high", 10, 2), ("high2", 10, 1), ("mid", 0, 1)] {
        world
            .try_consume(&queue, &line, tag, |request| {
                (request.priority, request.prefetch) = (priority, prefetch)
            })
            .unwrap();
    }
    for number in 0..6 {
        world.publish(&queue, &number.to_string());
    }
    let tags: Vec<_> = line.take().iter().map(|delivered| delivered.tag.to_string()).collect();
    assert_eq!(tags, ["high", "high2", "high", "mid", "low", "low"]);
}

#[test]
fn a_consumer_gets_nothing_before_it_has_started_or_after_it_was_cancelled() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    let line = world.line();
    world.publish(&queue, "early");
    let consumption = world.consumer(&queue, &line, "c", 0);
    let early = line.take();
    assert_eq!(early.len(), 1);
    world.cancel(&consumption);
    world.publish(&queue, "late");
    assert!(line.take().is_empty());
    assert_eq!((queue.stats().ready, queue.stats().unacked, queue.stats().consumers), (1, 1, 0));
    // What it got is still its own.
    world.settle(Outcome::Ack, &early);
    assert_eq!(queue.stats().unacked, 0);
}

#[test]
fn who_wants_to_be_alone_is_alone() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    let line = world.line();
    let alone = world.try_consume(&queue, &line, "alone", |request| request.exclusive = true).unwrap();
    for exclusive in [false, true] {
        let refused =
            world.try_consume(&queue, &line, "b", |request| request.exclusive = exclusive).unwrap_err();
        assert_eq!(refused.code, ReplyCode::AccessRefused);
        assert_eq!(refused.text, format!("queue '{}' in vhost '/' in exclusive use", queue.name()));
    }
    world.cancel(&alone);
    world.consumer(&queue, &line, "b", 0);
    assert!(world.try_consume(&queue, &line, "alone", |request| request.exclusive = true).is_err());
    let single = world.transient(settings(|settings| settings.single_active = true));
    assert!(world.try_consume(&single, &line, "alone", |request| request.exclusive = true).is_err());
}

#[test]
fn of_several_consumers_only_one_is_active() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.single_active = true));
    let line = world.line();
    let first = world.consumer(&queue, &line, "first", 1);
    world.consumer(&queue, &line, "second", 0);
    world.try_consume(&queue, &line, "important", |request| request.priority = 5).unwrap();
    for body in ["1", "2", "3"] {
        world.publish(&queue, body);
    }
    let got = line.take();
    assert_eq!(got.iter().map(|delivered| &*delivered.tag).collect::<Vec<_>>(), ["first"]);
    let active: Vec<_> = queue.consumers().into_iter().filter(|info| info.active).collect();
    assert_eq!(active.iter().map(|info| &*info.consumption.tag).collect::<Vec<_>>(), ["first"]);
    world.cancel(&first);
    let tags: Vec<_> = line.take().iter().map(|delivered| delivered.tag.to_string()).collect();
    assert_eq!(tags, ["important", "important"], "the next one in the order of priority and arrival");
}

#[test]
fn a_more_important_consumer_takes_over_once_the_active_one_has_nothing_outstanding() {
    let mut world = World::default();
    let queue = world.queue(QueueKind::Quorum, false, settings(|settings| settings.single_active = true));
    let line = world.line();
    world.consumer(&queue, &line, "first", 10);
    world.publish(&queue, "1");
    let got = line.take();
    world.try_consume(&queue, &line, "important", |request| request.priority = 5).unwrap();
    world.publish(&queue, "2");
    assert!(line.take().is_empty(), "the active one gets no more, the other one not yet");
    world.settle(Outcome::Ack, &got);
    assert_eq!(
        line.take().iter().map(|delivered| delivered.tag.to_string()).collect::<Vec<_>>(),
        ["important"]
    );
}

#[test]
fn higher_priorities_are_delivered_first() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.max_priority = Some(5)));
    for (body, priority) in [("none", None), ("5", Some(5)), ("1", Some(1)), ("9", Some(9)), ("0", Some(0))] {
        let properties = tercet_amqp::content::BasicProperties { priority, ..Default::default() };
        world.publish_with(&queue, body, properties);
    }
    let (line, got) = (world.line(), world.get(&queue).unwrap());
    world.settle_got(&got, Outcome::Requeue);
    world.consumer(&queue, &line, "c", 0);
    let got = line.take();
    let bodies: Vec<_> = got.iter().map(|delivered| &*delivered.body).collect();
    assert_eq!(bodies, ["5", "9", "1", "none", "0"], "what is above the highest counts as the highest");
    assert_eq!(got.iter().map(|delivered| delivered.redelivered).collect::<Vec<_>>()[..2], [true, false]);
}

#[test]
fn a_paused_queue_keeps_what_comes() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    let line = world.line();
    world.consumer(&queue, &line, "c", 0);
    world.with_context(|cx| queue.pause(true, cx));
    world.publish(&queue, "1");
    assert!(line.take().is_empty() && world.get(&queue).is_none());
    assert!(queue.stats().paused);
    world.with_context(|cx| queue.pause(false, cx));
    assert_eq!(line.bodies(), ["1"]);
}

#[test]
fn who_goes_with_its_queue_is_told() {
    let mut world = World::default();
    let queue = world.queue(QueueKind::Classic, true, settings(|_| {}));
    let line = world.line();
    world.consumer(&queue, &line, "c", 1);
    for body in ["1", "2", "3"] {
        world.persist(&queue, body);
    }
    let got = line.take();
    let deleted = world.with_context(|cx| queue.delete(Default::default(), cx)).unwrap();
    assert_eq!(deleted.0, 2);
    assert_eq!(line.cancelled().iter().map(|tag| &**tag).collect::<Vec<_>>(), ["c"]);
    assert_eq!(world.journal.held_messages(), 0);
    world.persist(&queue, "late");
    world.settle(Outcome::Ack, &got);
    assert_eq!((queue.stats().ready, queue.stats().unacked), (0, 0));
    assert!(world.try_consume(&queue, &line, "d", |_| {}).is_err());
}

#[test]
fn an_idle_queue_is_small() {
    let size = size_of::<super::super::NamedQueue>();
    // With the counts of its Arc it fits into a block of 512 bytes; the next larger one has 640.
    assert!(size <= 496, "a queue takes {size} bytes");
    let mut world = World::default();
    let (one, other) = (world.transient(settings(|_| {})), world.transient(settings(|_| {})));
    assert!(Arc::ptr_eq(&one.settings(), &other.settings()), "settings that say nothing are shared");
    world.pass(Duration::from_secs(1).as_millis() as u64);
}
