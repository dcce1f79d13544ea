//! x-max-length and x-max-length-bytes.

use tercet_amqp::content::BasicProperties;

use super::{World, settings};
use crate::named_queue::{Outcome, QueueKind, QueueOverflow};

#[test]
fn a_full_queue_lets_go_of_its_head() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.max_length = Some(2)));
    for body in ["1", "2", "3", "4"] {
        assert!(!world.publish(&queue, body).refused);
    }
    assert_eq!(world.drain(&queue), ["3", "4"]);
}

#[test]
fn only_payloads_of_what_is_ready_count() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.max_length_bytes = Some(10)));
    for body in ["aaaa", "bbbb", "cc"] {
        world.publish(&queue, body);
    }
    assert_eq!(queue.stats().ready, 3);
    let first = world.get(&queue).unwrap();
    world.publish(&queue, "dddd");
    assert_eq!((queue.stats().ready, queue.stats().ready_bytes), (3, 10));
    // What comes back counts again.
    world.settle_got(&first, Outcome::Requeue);
    assert_eq!(world.drain(&queue), ["bbbb", "cc", "dddd"]);
    world.publish(&queue, "much too long");
    assert_eq!(world.drain(&queue), Vec::<String>::new());
}

#[test]
fn a_full_queue_refuses_what_comes_if_it_is_told_to() {
    for overflow in [QueueOverflow::RejectPublish, QueueOverflow::RejectPublishDlx] {
        let mut world = World::default();
        let limited = |settings: &mut crate::named_queue::QueueSettings| {
            settings.max_length = Some(2);
            settings.overflow = overflow;
        };
        let queue = world.transient(settings(limited));
        let refused: Vec<_> =
            ["1", "2", "3"].iter().map(|body| world.publish(&queue, body).refused).collect();
        assert_eq!(refused, [false, false, true]);
        let got = world.get(&queue).unwrap();
        assert!(!world.publish(&queue, "4").refused);
        world.settle_got(&got, Outcome::Requeue);
        assert_eq!(world.drain(&queue), ["1", "2", "4"], "what comes back is never refused");
    }
}

#[test]
fn nothing_stays_in_a_queue_of_length_zero() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.max_length = Some(0)));
    world.publish(&queue, "1");
    assert_eq!(queue.stats().ready, 0);
    let line = world.line();
    world.consumer(&queue, &line, "c", 1);
    world.publish(&queue, "2");
    world.publish(&queue, "3");
    assert_eq!(line.bodies(), ["2"]);
}

#[test]
fn the_lowest_priority_goes_first() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| {
        settings.max_length = Some(3);
        settings.max_priority = Some(9);
    }));
    for (body, priority) in [("a", 1), ("b", 0), ("c", 5), ("d", 0), ("e", 7)] {
        let properties = BasicProperties { priority: Some(priority), ..Default::default() };
        world.publish_with(&queue, body, properties);
    }
    assert_eq!(world.drain(&queue), ["e", "c", "a"]);
}

#[test]
fn a_queue_is_not_full_because_the_disk_takes_a_moment() {
    let mut world = World::default();
    let queue = world.queue(QueueKind::Classic, true, settings(|settings| settings.max_length = Some(2)));
    let line = world.line();
    world.consumer(&queue, &line, "c", 4);
    world.journal.hold();
    for number in 1..=8 {
        world.persist(&queue, &number.to_string());
    }
    world.sync();
    let got = line.take();
    assert_eq!(got.len(), 4, "as many as the consumer has credit for");
    world.settle(Outcome::Ack, &got);
    let bodies: Vec<_> = got.into_iter().chain(line.take()).map(|delivered| delivered.body).collect();
    assert_eq!(bodies, ["3", "4", "5", "6", "7", "8"], "and two that wait");
}
