//! The windows of QoS 1 and 2, and what is answered to acknowledgements that fit nothing.

use crate::support::{ConnectOptions, Got, World};
use tercet_broker::acknowledgement::{Acknowledgement, Unknown};

#[test]
fn no_more_than_the_window_is_unacknowledged() {
    for qos in 1..3 {
        let mut world = World::default();
        let reader = world.connect(ConnectOptions::clean("reader").window(3));
        world.subscribe(&reader, "t", 2);
        let mut writer = world.connect(ConnectOptions::clean("writer"));
        for number in 0..10 {
            world.publish(&mut writer, "t", &number.to_string(), qos);
        }
        let first = reader.take();
        assert_eq!(first.len(), 3);
        let answer = |id| match qos {
            1 => Acknowledgement::Done(id),
            _ => Acknowledgement::Received(id),
        };
        world.acknowledge(&reader, &[answer(first[1].id())]);
        let next = reader.take();
        if qos == 1 {
            assert_eq!(next.len(), 1, "an acknowledgement out of order frees its place");
        } else {
            assert_eq!(next, [Got::Release(first[1].id())], "a release does not free a place");
            world.acknowledge(&reader, &[Acknowledgement::Completed(first[1].id())]);
            assert_eq!(reader.take().len(), 1);
        }
    }
}

#[test]
fn an_acknowledgement_of_something_unknown_is_reported_and_changes_nothing() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::clean("reader").window(1));
    world.subscribe(&reader, "t", 2);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "one", 2);
    world.publish(&mut writer, "t", "two", 2);
    let id = reader.take()[0].id();
    let unknown = |packet_id, release| [Unknown { packet_id, release }];
    assert_eq!(world.acknowledge(&reader, &[Acknowledgement::Done(500)]), unknown(500, false));
    assert_eq!(world.acknowledge(&reader, &[Acknowledgement::Received(500)]), unknown(500, true));
    assert_eq!(world.acknowledge(&reader, &[Acknowledgement::Completed(500)]), unknown(500, false));
    // The second message waits in the queue; it was never sent.
    assert_eq!(world.acknowledge(&reader, &[Acknowledgement::Done(id + 1)]), unknown(id + 1, false));
    assert_eq!(world.acknowledge(&reader, &[Acknowledgement::Done(id)]), []);
    assert_eq!(world.acknowledge(&reader, &[Acknowledgement::Completed(id)]), []);
    assert!(reader.take().is_empty(), "of the wrong kind, so the exchange stands where it was");
    assert_eq!(world.consume(&reader), Vec::<String>::new());
    world.acknowledge(&reader, &[Acknowledgement::Received(id), Acknowledgement::Completed(id)]);
    assert_eq!(reader.payloads(), ["(release)", "two"]);
}

#[test]
fn a_refused_qos_2_message_ends_without_a_release() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader").window(1));
    world.subscribe(&reader, "t", 2);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "one", 2);
    world.publish(&mut writer, "t", "two", 2);
    let id = reader.take()[0].id();
    world.acknowledge(&reader, &[Acknowledgement::Refused(id)]);
    assert_eq!(reader.payloads(), ["two"]);
}

#[test]
fn a_repeated_pubrec_repeats_the_release_without_another_record() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "t", 2);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "one", 2);
    let id = reader.take()[0].id();
    world.acknowledge(&reader, &[Acknowledgement::Received(id)]);
    let records = world.journal.len();
    world.acknowledge(&reader, &[Acknowledgement::Received(id)]);
    assert_eq!(reader.take(), [Got::Release(id), Got::Release(id)]);
    assert_eq!(world.journal.len(), records);
}

#[test]
fn packet_identifiers_stay_unambiguous_when_one_stays_unacknowledged_for_long() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::clean("reader").window(10));
    world.subscribe(&reader, "t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "stays", 1);
    let kept = reader.take()[0].id();
    let mut sent = 0;
    for _ in 0..70_000 {
        world.publish(&mut writer, "t", "goes", 1);
        for got in reader.take() {
            assert_ne!(got.id(), kept);
            sent += 1;
            world.acknowledge(&reader, &[Acknowledgement::Done(got.id())]);
        }
    }
    assert_eq!(sent, 65_534, "then the identifiers have come round and the rest waits");
    world.acknowledge(&reader, &[Acknowledgement::Done(kept)]);
    assert_eq!(world.consume(&reader).len(), 70_000 - 65_534);
}

#[test]
fn an_earlier_connection_has_no_say_any_more() {
    let mut world = World::default();
    let old = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&old, "t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "one", 1);
    let id = old.take()[0].id();
    let new = world.connect(ConnectOptions::durable("reader"));
    world.acknowledge(&old, &[Acknowledgement::Done(id)]);
    assert!(!world.vhost.receive_once(&old.attachment, 7).0);
    assert!(world.vhost.receive_once(&new.attachment, 7).0, "so it was not noted before");
    assert!(!world.vhost.complete(&old.attachment, 7).0);
    assert!(world.vhost.is_unreleased(&new.attachment, 7));
    assert!(!world.unsubscribe(&old, "t").0);
    assert_eq!(world.consume(&new), ["one"]);
}
