//! basic.get.

use super::{World, settings};
use crate::named_queue::{GetOutcome, Outcome, QueueKind};

#[test]
fn messages_are_fetched_one_by_one_and_counted() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    assert!(world.get(&queue).is_none());
    for body in ["1", "2", "3"] {
        world.publish(&queue, body);
    }
    let first = world.get(&queue).unwrap();
    assert_eq!((first.remaining, first.redelivered, &*first.message.topic), (2, false, "key"));
    let second = world.get(&queue).unwrap();
    world.settle_got(&first, Outcome::Requeue);
    let again = world.get(&queue).unwrap();
    assert_eq!((again.sequence, again.redelivered, again.remaining), (first.sequence, true, 1));
    world.settle_got(&second, Outcome::Ack);
    world.settle_got(&again, Outcome::Ack);
    assert_eq!((queue.stats().ready, queue.stats().unacked), (1, 0));
    let line = world.line();
    assert!(matches!(world.try_get(&queue, &line, true), GetOutcome::Got(got) if got.remaining == 0));
    assert_eq!((queue.stats().ready, queue.stats().unacked), (0, 0));
}

#[test]
fn what_the_log_does_not_have_yet_is_waited_for() {
    let mut world = World::default();
    world.journal.hold();
    let queue = world.queue(QueueKind::Classic, true, settings(|_| {}));
    world.sync();
    world.persist(&queue, "1");
    let line = world.line();
    assert!(matches!(world.try_get(&queue, &line, false), GetOutcome::Wait));
    assert_eq!(line.again(), 0);
    world.sync();
    assert_eq!(line.again(), 1);
    assert!(matches!(world.try_get(&queue, &line, false), GetOutcome::Got(_)));
    assert!(matches!(world.try_get(&queue, &line, false), GetOutcome::Empty));
}

#[test]
fn what_is_only_in_the_log_is_read_back_first() {
    let mut world = World::default();
    let queue = world.queue(QueueKind::Classic, true, settings(|_| {}));
    for body in ["1", "2"] {
        world.persist(&queue, body);
    }
    let durable = world.vhost.durable();
    queue.with_queue(|queue| queue.cool(durable, 0, 10));
    assert_eq!(queue.stats().in_memory, 0);
    let line = world.line();
    assert!(matches!(world.try_get(&queue, &line, false), GetOutcome::Wait));
    assert_eq!(line.again(), 1);
    assert_eq!(world.drain(&queue), ["1", "2"]);
    assert_eq!(world.journal.held_messages(), 0);
}
