//! What survives a restart.

use std::sync::Arc;

use super::{World, settings};
use crate::crossing::address::TopicMapping;
use crate::journal::Position;
use crate::named_queue::dead_letter::{DeadLetter, DeathReason};
use crate::named_queue::{NamedQueue, Outcome, QueueKind, QueueSettings, RetryCondition, RetryPolicy};
use crate::record::{NamedQueueRecord, OwnedRecord};

/// What of a queue survives, in words.
fn survivors(queue: &Arc<NamedQueue>) -> Vec<String> {
    queue.records_of().iter().map(|record| format!("{record:?}")).collect()
}

/// The queue as the records rebuild it.
fn rebuilt(world: &mut World, queue: &Arc<NamedQueue>, settings: QueueSettings) -> Arc<NamedQueue> {
    let copy = NamedQueue::new(queue.id(), queue.description().clone(), Arc::new(settings));
    for record in world.journal.records() {
        if let OwnedRecord::NamedQueue(id, record) = record
            && id == queue.id()
        {
            copy.replay(record);
        }
    }
    world.with_context(|cx| copy.restored(cx));
    copy
}

#[test]
fn only_what_the_log_has_is_handed_out() {
    let mut world = World::default();
    let queue = world.queue(QueueKind::Classic, true, settings(|_| {}));
    let line = world.line();
    world.consumer(&queue, &line, "c", 0);
    world.journal.hold();
    let position = world.persist(&queue, "1").position;
    world.publish(&queue, "transient, behind it");
    assert!(position > world.vhost.durable());
    assert!(line.take().is_empty());
    world.sync();
    assert_eq!(line.bodies(), ["1", "transient, behind it"]);
    assert_eq!(world.publish(&queue, "alone").position, Default::default());
    assert_eq!(line.bodies(), ["alone"]);
}

#[test]
fn what_is_persistent_survives_with_everything_about_it() {
    for (kind, all) in [(QueueKind::Classic, false), (QueueKind::Quorum, true)] {
        let configure = |settings: &mut QueueSettings| {
            settings.delivery_limit = Some(10);
            settings.max_priority = Some(9);
            settings.retry =
                Some(RetryPolicy { condition: RetryCondition::Failed, min_ms: 1000, max_ms: 1000 });
        };
        let mut world = World::default();
        let queue = world.queue(kind, true, settings(configure));
        let persistent =
            tercet_amqp::content::BasicProperties { delivery_mode: Some(2), ..Default::default() };
        for number in 0..6 {
            let properties = tercet_amqp::content::BasicProperties { priority: Some(number), ..persistent };
            world.publish_with(&queue, &number.to_string(), properties);
        }
        let expiring = tercet_amqp::content::BasicProperties { expiration: Some("60000"), ..persistent };
        world.publish_with(&queue, "expires", expiring);
        world.publish(&queue, "transient");
        let (five, four, three) =
            (world.get(&queue).unwrap(), world.get(&queue).unwrap(), world.get(&queue).unwrap());
        world.settle_got(&five, Outcome::Ack);
        world.settle_got(&four, Outcome::Reject { requeue: true });
        world.settle_got(&three, Outcome::Nack { requeue: true });
        world.with_context(|cx| queue.pause(true, cx));

        let copy = rebuilt(&mut world, &queue, settings(configure));
        assert_eq!(survivors(&copy), survivors(&queue), "{kind:?}");
        assert!(copy.is_paused());
        world.with_context(|cx| copy.pause(false, cx));
        let got = world.get(&copy).unwrap();
        assert_eq!((&*got.message.payload, got.delivery_count, got.redelivered), (&b"3"[..], Some(1), true));
        world.settle_got(&got, Outcome::Ack);
        assert_eq!(copy.stats().delayed, 1, "what waits goes on waiting");
        let mut rest = vec!["2", "1", "0", "expires"];
        rest.extend(all.then_some("transient"));
        assert_eq!(world.drain(&copy), rest);
        world.pass(1000);
        assert_eq!(world.drain(&copy), ["4"]);
    }
}

#[test]
fn one_record_says_that_many_are_settled() {
    let mut world = World::default();
    let queue = world.queue(QueueKind::Classic, true, settings(|_| {}));
    let line = world.line();
    world.consumer(&queue, &line, "c", 0);
    for number in 0..10 {
        world.persist(&queue, &number.to_string());
    }
    let got = line.take();
    let before = world.journal.records().len();
    world.settle(Outcome::Ack, &[&got[..4], &got[5..9]].concat());
    let records = world.journal.records();
    let runs: Vec<_> = records[before..]
        .iter()
        .map(|record| match record {
            OwnedRecord::NamedQueue(_, NamedQueueRecord::SettledRun { first, count, .. }) => (*first, *count),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(runs, [(got[0].sequence, 4), (got[5].sequence, 4)]);
    assert_eq!(world.journal.held_messages(), 2);
    let copy = rebuilt(&mut world, &queue, QueueSettings::default());
    assert_eq!(survivors(&copy), survivors(&queue));
    assert_eq!(copy.stats().ready, 2);
}

#[test]
fn a_queue_is_purged_of_what_is_ready() {
    let mut world = World::default();
    let queue = world.queue(QueueKind::Classic, true, settings(|_| {}));
    for number in 0..20_000 {
        match number % 2 {
            0 => world.persist(&queue, "p"),
            _ => world.publish(&queue, "t"),
        };
    }
    let held = world.get(&queue).unwrap();
    let (purged, _) = world.with_context(|cx| queue.purge(cx));
    assert_eq!((purged, queue.stats().ready, queue.stats().unacked), (19_999, 0, 1));
    assert_eq!(world.journal.held_messages(), 1);
    world.settle_got(&held, Outcome::Requeue);
    let copy = rebuilt(&mut world, &queue, QueueSettings::default());
    assert_eq!(survivors(&copy), survivors(&queue));
    assert_eq!(world.drain(&copy), ["p"]);
}

#[test]
fn beyond_the_budget_messages_are_only_in_the_log() {
    let limits = crate::limits::Limits { message_memory: 4096, ..crate::limits::Limits::default() };
    let mut world = World::with(limits);
    let queue = world.queue(QueueKind::Classic, true, settings(|settings| settings.max_priority = Some(1)));
    let body = "x".repeat(200);
    for number in 0..500_u32 {
        let properties = tercet_amqp::content::BasicProperties {
            delivery_mode: Some(2),
            priority: Some((number % 2) as u8),
            ..Default::default()
        };
        world.publish_with(&queue, &format!("{number} {body}"), properties);
    }
    assert!(queue.stats().in_memory < 50, "{}", queue.stats().in_memory);
    let line = world.line();
    world.consumer(&queue, &line, "c", 7);
    let mut numbers = Vec::new();
    loop {
        let got = line.take();
        if got.is_empty() {
            break;
        }
        numbers.extend(got.iter().map(|delivered| {
            delivered.body.split(' ').next().and_then(|number| number.parse::<u32>().ok()).unwrap()
        }));
        world.settle(Outcome::Ack, &got);
    }
    let expected: Vec<u32> = (1..500).step_by(2).chain((0..500).step_by(2)).collect();
    assert_eq!(numbers, expected);
    assert_eq!((world.journal.held_messages(), queue.stats().memory), (0, 0));
}

/// Between the decision that a message leaves and its way out no lock is held: the queue may let go of it in memory.
#[test]
fn what_leaves_is_not_lost_when_its_entry_goes_cold_meanwhile() {
    let mut world = World::with(crate::limits::Limits::default());
    let dead_letters = settings(|settings| settings.dead_letter_exchange = Some("".into()));
    let queue = world.queue(QueueKind::Classic, true, dead_letters);
    world.persist(&queue, "dying");
    world.sync();
    let sequence = queue.state.lock().queue.front_sequence();
    let letter = {
        let state = queue.state.lock();
        let (entry, ..) = state.queue.entry(sequence).expect("it is there");
        let message = entry.body.message().expect("it is in memory");
        DeadLetter::entry(&queue, sequence, message, DeathReason::Rejected)
    };
    queue.state.lock().queue.cool(Position::new(u64::MAX), 0, 10);
    assert!(queue.state.lock().queue.entry(sequence).expect("it is there").0.body.message().is_none());
    let letter = letter.write(0, TopicMapping::default()).expect("there is where to send it");
    assert_eq!(&*letter.message.payload, b"dying");
}
