//! What an operation records becomes durable as a whole: all of it is one batch.

use crate::support::{ConnectOptions, World};
use tercet_broker::limits::Limits;
use tercet_broker::record::{OwnedRecord, QueueRecord, SessionRecord};
use tercet_broker::vhost::connection::Ending;
use tercet_broker::vhost::publishing::{Published, PublishedOnce};

/// Runs an operation; how many records its batches have.
fn batches(world: &mut World, operation: impl FnOnce(&mut World)) -> Vec<usize> {
    let before = world.journal.len();
    operation(world);
    world.journal.batches_behind(before)
}

#[test]
fn a_publication_to_many_is_one_batch() {
    let mut world = World::default();
    for name in ["a", "b", "c"] {
        let reader = world.connect(ConnectOptions::durable(name).window(1));
        world.subscribe(&reader, "t", 1);
        world.subscribe(&reader, "$share/g/t", 1);
    }
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    assert_eq!(
        batches(&mut world, |world| {
            world.publish_retained(&mut writer, "t", "x", 1);
        }),
        [5]
    );
    assert_eq!(
        batches(&mut world, |world| {
            world.publish(&mut writer, "t", "x", 1);
        }),
        [4]
    );
    assert_eq!(
        batches(&mut world, |world| {
            world.publish(&mut writer, "t", "x", 0);
        }),
        [] as [usize; 0]
    );
}

#[test]
fn the_receipt_of_a_qos_2_publication_is_one_batch_with_what_comes_of_it() {
    let mut world = World::default();
    for name in ["a", "b"] {
        let reader = world.connect(ConnectOptions::durable(name));
        world.subscribe(&reader, "t", 2);
    }
    let mut writer = world.connect(ConnectOptions::durable("writer"));
    let before = world.journal.len();
    let done = world.publish_once(&mut writer, 7, true, "t", "x", false);
    let position = world.journal.last();
    let published = Published::Routed { matched: true, position };
    assert_eq!(done, PublishedOnce::New { published, taken: true, position });
    assert_eq!(world.journal.batches_behind(before), [3]);
    let repeated = world.publish_once(&mut writer, 7, true, "t", "x", false);
    assert_eq!(repeated, PublishedOnce::Repeated { position });
    assert_eq!(world.journal.batches_behind(before), [3]);
    world.vhost.complete(&writer.attachment, 7);
    assert!(matches!(
        world.publish_once(&mut writer, 7, true, "t", "x", false),
        PublishedOnce::New { taken: true, .. }
    ));
}

#[test]
fn a_refused_qos_2_publication_leaves_its_identifier_free_where_the_client_is_told() {
    for refusal_ends in [true, false] {
        let mut world = World::with(Limits { max_retained: 0, ..Limits::default() });
        let reader = world.connect(ConnectOptions::durable("reader"));
        world.subscribe(&reader, "t", 2);
        let mut writer = world.connect(ConnectOptions::durable("writer"));
        let before = world.journal.len();
        let done = world.publish_once(&mut writer, 7, refusal_ends, "t", "x", true);
        let position = world.journal.last();
        let published = Published::NotRetained { position };
        assert_eq!(done, PublishedOnce::New { published, taken: !refusal_ends, position });
        assert_eq!(world.journal.batches_behind(before), [2 + usize::from(refusal_ends)]);
        assert_eq!(world.vhost.is_unreleased(&writer.attachment, 7), !refusal_ends);

        let before = world.journal.len();
        let done = world.publish_once(&mut writer, 8, refusal_ends, "$SYS/own", "x", false);
        assert!(
            matches!(done, PublishedOnce::New { published: Published::Denied, taken, .. } if taken != refusal_ends)
        );
        assert_eq!(
            world.journal.len() - before,
            usize::from(!refusal_ends),
            "the identifier, if it is taken"
        );
    }
}

#[test]
fn a_takeover_and_the_will_it_sets_free_are_one_batch() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "w", 1);
    for (expiry, clean_start) in [(100, false), (100, true), (0, false), (0, true)] {
        world.connect(ConnectOptions::durable("c").will("w", 0));
        let before = world.journal.len();
        let options = ConnectOptions { clean_start, expiry, ..ConnectOptions::durable("c").will("w", 0) };
        let (client, position) = world.connect_only(options);
        assert_eq!(position, world.journal.last(), "expiry {expiry}, clean start {clean_start}");
        let wills = world.journal.records().into_iter().skip(before);
        let wills = wills.filter(|record| {
            matches!(record, OwnedRecord::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { .. })))
        });
        assert_eq!(wills.count(), 1);
        assert_eq!(
            world.journal.batches_behind(before).len(),
            1,
            "expiry {expiry}, clean start {clean_start}"
        );
        world.disconnect_with(client, Ending::Normal, Some(0));
    }
}

#[test]
fn the_end_of_a_session_is_one_batch_with_what_it_leaves() {
    let member = |world: &mut World| {
        let client = world.connect(ConnectOptions::durable("c").expiry(1).will("w", 0));
        world.subscribe(&client, "$share/g/t", 1);
        client
    };
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "w", 1);

    let client = member(&mut world);
    let gone = batches(&mut world, |world| world.disconnect_with(client, Ending::Abnormal, Some(0)));
    assert_eq!(gone.len(), 1, "left: {gone:?}");

    let client = member(&mut world);
    world.disconnect(client, Ending::Normal);
    let gone = batches(&mut world, |world| world.pass(2));
    assert_eq!(gone.len(), 1, "expired: {gone:?}");

    let client = member(&mut world);
    let gone = batches(&mut world, |world| {
        world.vhost.remove_session("c", world.now, &mut world.effects);
        world.settle();
    });
    assert_eq!(gone.len(), 1, "removed: {gone:?}");
    drop(client);
    assert!(world.vhost.sessions().get("c").is_none());
}

#[test]
fn a_group_that_becomes_durable_is_one_batch_with_the_subscription() {
    let mut world = World::default();
    let clean = world.connect(ConnectOptions::clean("clean").window(1));
    world.subscribe(&clean, "$share/g/t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for text in ["1", "2", "3"] {
        world.publish(&mut writer, "t", text, 1);
    }
    let (member, _) = world.connect_only(ConnectOptions::durable("member"));
    let joined = batches(&mut world, |world| world.subscribe(&member, "$share/g/t", 1));
    assert_eq!(joined, [5], "subscribed, opened, three messages");
    let left = batches(&mut world, |world| {
        world.unsubscribe(&member, "$share/g/t");
    });
    assert_eq!(left, [2], "unsubscribed, ended");
}
