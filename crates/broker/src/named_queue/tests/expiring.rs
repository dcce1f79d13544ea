//! x-message-ttl, expiration, x-expires.

use super::{World, settings};
use crate::named_queue::{Condition, NotDeleted, Outcome, QueueKind};

#[test]
fn messages_go_to_the_millisecond() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.message_ttl_ms = Some(100)));
    world.publish(&queue, "queue's");
    world.publish_for(&queue, "own", "40");
    world.publish_for(&queue, "longer", "5000");
    world.pass(99);
    assert_eq!(queue.stats().ready, 3, "what is out of date behind the head waits for it");
    world.pass(1);
    assert_eq!(queue.stats().ready, 0);
    assert_eq!(queue.stats().totals.dropped, 3);
    assert!(world.vhost.schedule().is_empty());
}

#[test]
fn the_next_one_is_looked_at_when_the_head_has_gone_otherwise() {
    for by in ["ack", "purge", "limit", "consume"] {
        let mut world = World::default();
        let queue = world.transient(settings(|settings| settings.max_length = Some(2)));
        world.publish(&queue, "stays");
        world.publish_for(&queue, "goes", "50");
        let line = world.line();
        match by {
            "ack" => drop(world.get(&queue)),
            "purge" => drop(world.with_context(|cx| queue.purge(cx))),
            "limit" => drop(world.publish(&queue, "one more")),
            _ => drop(world.consumer(&queue, &line, "c", 1)),
        }
        world.pass(50);
        let left = queue.stats().ready;
        assert_eq!(left, u64::from(by == "limit"), "{by}");
    }
}

#[test]
fn what_comes_back_keeps_its_deadline() {
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.message_ttl_ms = Some(100)));
    world.publish(&queue, "1");
    let got = world.get(&queue).unwrap();
    world.pass(500);
    assert_eq!(queue.stats().unacked, 1, "what somebody has does not expire");
    world.settle_got(&got, Outcome::Requeue);
    assert_eq!((queue.stats().ready, queue.stats().unacked), (0, 0));
}

#[test]
fn without_time_it_is_now_or_never() {
    for durable in [false, true] {
        for (queues, own) in [(Some(0), None), (None, Some("0"))] {
            let mut world = World::default();
            let queue = world.queue(
                QueueKind::Classic,
                durable,
                settings(|settings| settings.message_ttl_ms = queues),
            );
            world.journal.hold();
            let publish = |world: &mut World, body: &str| {
                let properties = tercet_amqp::content::BasicProperties {
                    expiration: own,
                    delivery_mode: Some(2),
                    ..Default::default()
                };
                world.publish_with(&queue, body, properties)
            };
            publish(&mut world, "never");
            assert_eq!(queue.stats().ready, 0);
            let line = world.line();
            world.consumer(&queue, &line, "c", 1);
            publish(&mut world, "now");
            publish(&mut world, "too much");
            assert_eq!(line.bodies(), ["now"]);
            assert_eq!((queue.stats().ready, queue.stats().unacked), (0, 1));
        }
    }
}

#[test]
fn nobody_gets_what_is_out_of_date() {
    let mut world = World::default();
    let queue = world.transient(settings(|_| {}));
    world.publish(&queue, "1");
    world.publish_for(&queue, "2", "10");
    world.publish(&queue, "3");
    // The scheduler is late.
    world.now = world.now.after(std::time::Duration::from_millis(20));
    let line = world.line();
    world.consumer(&queue, &line, "c", 0);
    assert_eq!(line.bodies(), ["1", "3"]);
}

#[test]
fn a_queue_that_nobody_uses_may_go() {
    let expired = Condition { if_expired: true, ..Condition::default() };
    let mut world = World::default();
    let queue = world.transient(settings(|settings| settings.expires_ms = Some(1000)));
    let line = world.line();
    let try_it = |world: &mut World, queue: &std::sync::Arc<crate::named_queue::NamedQueue>| {
        world.with_context(|cx| queue.delete(expired, cx)).map(drop)
    };
    world.pass(999);
    assert_eq!(try_it(&mut world, &queue), Err(NotDeleted::InUse));
    // Each of these is a use.
    world.get(&queue);
    world.pass(999);
    world.with_context(|cx| queue.declared(cx));
    world.pass(999);
    let consumption = world.consumer(&queue, &line, "c", 0);
    world.pass(5000);
    assert_eq!(try_it(&mut world, &queue), Err(NotDeleted::InUse));
    world.cancel(&consumption);
    world.pass(999);
    world.publish(&queue, "to publish is none");
    assert_eq!(try_it(&mut world, &queue), Err(NotDeleted::InUse));
    assert!(world.vhost.schedule().next_due().is_some(), "somebody will look");
    world.pass(1);
    assert!(queue.is_deleted());
    assert_eq!(try_it(&mut world, &queue), Err(NotDeleted::Gone));
}
