//! Deliveries that come back.

use super::{World, settings};
use crate::named_queue::{Outcome, QueueKind, RetryCondition, RetryPolicy};

const BACK: [Outcome; 4] = [
    Outcome::Requeue,
    Outcome::Reject { requeue: true },
    Outcome::Nack { requeue: true },
    Outcome::ChannelGone,
];

#[test]
fn what_comes_back_is_where_it_was() {
    for outcome in BACK {
        let mut world = World::default();
        let queue = world.transient(settings(|_| {}));
        let line = world.line();
        let consumption = world.consumer(&queue, &line, "c", 3);
        for number in 1..=5 {
            world.publish(&queue, &number.to_string());
        }
        let got = line.take();
        world.cancel(&consumption);
        // In whichever order they come back.
        world.settle(outcome, &[got[2].clone(), got[0].clone()]);
        let other = world.line();
        world.consumer(&queue, &other, "d", 0);
        let again = other.take();
        let bodies: Vec<_> = again.iter().map(|delivered| &*delivered.body).collect();
        assert_eq!(bodies, ["1", "3", "4", "5"], "{outcome:?}");
        let redelivered: Vec<_> = again.iter().map(|delivered| delivered.redelivered).collect();
        assert_eq!(redelivered, [true, true, false, false]);
        assert!(again.iter().all(|delivered| delivered.count.is_none()), "a classic queue does not count");
    }
}

#[test]
fn a_delivery_is_settled_once() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    let line = world.line();
    world.consumer(&queue, &line, "c", 1);
    world.publish(&queue, "1");
    let got = line.take();
    world.settle(Outcome::Ack, &got);
    world.settle(Outcome::Requeue, &got);
    assert_eq!((queue.stats().ready, queue.stats().unacked), (0, 0));
}

#[test]
fn returns_are_counted_and_limited() {
    for kind in [QueueKind::Classic, QueueKind::Quorum] {
        for outcome in BACK {
            let mut world = World::default();
            let queue = world.queue(kind, true, settings(|settings| settings.delivery_limit = Some(2)));
            let line = world.line();
            world.consumer(&queue, &line, "c", 1);
            world.persist(&queue, "poison");
            let mut counts = Vec::new();
            while let [delivered] = &line.take()[..] {
                counts.push(delivered.count);
                world.settle(outcome, std::slice::from_ref(delivered));
            }
            assert_eq!(counts, [None, Some(1), Some(2)], "{kind:?} {outcome:?}");
            assert_eq!((queue.stats().ready, queue.stats().unacked, queue.stats().totals.dropped), (0, 0, 1));
            assert_eq!(world.journal.held_messages(), 0);
        }
    }
}

#[test]
fn a_quorum_queue_shows_how_often_without_a_limit() {
    let mut world = World::default();
    let queue = world.queue(QueueKind::Quorum, false, settings(|_| {}));
    world.publish(&queue, "1");
    for count in [None, Some(1), Some(2)] {
        let got = world.get(&queue).unwrap();
        assert_eq!((got.delivery_count, got.redelivered), (count, count.is_some()));
        world.settle_got(&got, Outcome::Nack { requeue: true });
    }
}

#[test]
fn what_came_back_waits_longer_each_time() {
    let policy = |condition| RetryPolicy { condition, min_ms: 100, max_ms: 250 };
    for (condition, outcome, waits) in [
        (RetryCondition::All, Outcome::Nack { requeue: true }, true),
        (RetryCondition::All, Outcome::ChannelGone, true),
        (RetryCondition::Failed, Outcome::Reject { requeue: true }, true),
        (RetryCondition::Failed, Outcome::Nack { requeue: true }, false),
        (RetryCondition::Returned, Outcome::Nack { requeue: true }, true),
        (RetryCondition::Returned, Outcome::Reject { requeue: true }, false),
    ] {
        let mut world = World::default();
        let queue = world.transient(settings(|settings| settings.retry = Some(policy(condition))));
        let line = world.line();
        world.consumer(&queue, &line, "c", 1);
        world.publish(&queue, "1");
        world.publish(&queue, "2");
        let mut got = line.take();
        world.settle(outcome, &got);
        got = line.take();
        if !waits {
            assert_eq!(got[0].body, "1", "{condition:?} {outcome:?}");
            continue;
        }
        assert_eq!(got[0].body, "2", "it does not hold up those behind it");
        world.settle(Outcome::Ack, &got);
        for delay in [100, 200, 250, 250] {
            assert_eq!((queue.stats().ready, queue.stats().delayed), (0, 1));
            world.pass(delay - 1);
            assert!(line.take().is_empty(), "{delay}");
            world.pass(1);
            got = line.take();
            assert_eq!((&*got[0].body, got[0].redelivered), ("1", true));
            world.settle(outcome, &got);
        }
    }
}

#[test]
fn a_consumer_that_takes_too_long_is_cancelled() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.consumer_timeout_ms = Some(1000)));
    let (slow, quick) = (world.line(), world.line());
    world.consumer(&queue, &slow, "slow", 2);
    world.publish(&queue, "1");
    world.pass(600);
    world.publish(&queue, "2");
    world.pass(399);
    let late = slow.take();
    assert_eq!((late.len(), slow.cancelled().len()), (2, 0));
    world.consumer(&queue, &quick, "quick", 2);
    world.pass(1);
    assert_eq!(slow.cancelled().len(), 1);
    let again = quick.take();
    assert_eq!(again.iter().map(|delivered| &*delivered.body).collect::<Vec<_>>(), ["1", "2"]);
    // It notices too late; the deliveries are somebody else's.
    world.settle(Outcome::Ack, &late);
    assert_eq!(queue.stats().unacked, 2);
    world.settle(Outcome::Ack, &again);
    assert_eq!((queue.stats().unacked, queue.stats().consumers), (0, 1));
    world.pass(10_000);
    assert_eq!(quick.cancelled().len(), 0);
}
