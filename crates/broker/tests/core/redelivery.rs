//! What a session that comes back is sent again.

use crate::support::{Client, ConnectOptions, Got, World};
use tercet_broker::acknowledgement::Acknowledgement;
use tercet_broker::vhost::connection::Ending;

fn reader(window: u16) -> ConnectOptions {
    ConnectOptions::durable("reader").window(window)
}

fn dups(client: &Client) -> Vec<(String, bool)> {
    let told = |got: &Got| match got {
        Got::Publish { payload, dup, .. } => (payload.clone(), *dup),
        Got::Release(_) => ("(release)".to_owned(), false),
    };
    client.take().iter().map(told).collect()
}

#[test]
fn unacknowledged_messages_come_again_as_duplicates_in_their_order_before_new_ones() {
    let mut world = World::default();
    let first = world.connect(reader(3));
    world.subscribe(&first, "t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for number in 0..5 {
        world.publish(&mut writer, "t", &number.to_string(), 1);
    }
    let sent = first.take();
    world.acknowledge(&first, &[Acknowledgement::Done(sent[1].id())]);
    assert_eq!(first.payloads(), ["3"]);
    world.disconnect(first, Ending::Abnormal);
    world.publish(&mut writer, "t", "5", 1);

    let second = world.connect(reader(100));
    let expected = [("0", true), ("2", true), ("3", true), ("4", false), ("5", false)];
    assert_eq!(dups(&second), expected.map(|(text, dup)| (text.to_owned(), dup)));
}

#[test]
fn the_window_holds_after_a_resume_with_releases_counted_in() {
    let mut world = World::default();
    let first = world.connect(reader(10));
    world.subscribe(&first, "t", 2);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for number in 0..6 {
        world.publish(&mut writer, "t", &number.to_string(), 2);
    }
    let sent = first.take();
    let received = |got: &Got| Acknowledgement::Received(got.id());
    world.acknowledge(&first, &[received(&sent[0]), received(&sent[1])]);
    first.take();

    let second = world.connect(reader(3));
    let again = second.take();
    assert_eq!(again[..2], [Got::Release(sent[0].id()), Got::Release(sent[1].id())]);
    assert_eq!(again[2..].iter().map(Got::payload).collect::<Vec<_>>(), ["2"]);
    world.acknowledge(&second, &[Acknowledgement::Completed(sent[0].id())]);
    assert_eq!(second.payloads(), ["3"]);
    assert_eq!(again[2].id(), sent[2].id());
}

#[test]
fn a_window_smaller_than_what_awaits_completion_sends_nothing_new() {
    let mut world = World::default();
    let first = world.connect(reader(10));
    world.subscribe(&first, "t", 2);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for number in 0..4 {
        world.publish(&mut writer, "t", &number.to_string(), 2);
    }
    let ids: Vec<u16> = first.take().iter().map(Got::id).collect();
    let received: Vec<_> = ids[..3].iter().map(|id| Acknowledgement::Received(*id)).collect();
    world.acknowledge(&first, &received);
    let second = world.connect(reader(1));
    assert_eq!(second.take(), [Got::Release(ids[0]), Got::Release(ids[1]), Got::Release(ids[2])]);
    world.acknowledge(&second, &[Acknowledgement::Completed(ids[0]), Acknowledgement::Completed(ids[1])]);
    assert!(second.take().is_empty());
    world.acknowledge(&second, &[Acknowledgement::Completed(ids[2])]);
    assert_eq!(second.payloads(), ["3"]);
}

#[test]
fn nothing_overtakes_redelivery_between_the_answer_and_its_start() {
    let mut world = World::default();
    let first = world.connect(reader(10));
    world.subscribe(&first, "t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "one", 1);
    let (second, _) = world.connect_only(reader(10));
    world.publish(&mut writer, "t", "two", 1);
    assert!(second.take().is_empty());
    world.vhost.start_redelivery(&second.attachment, world.now, &mut world.effects);
    world.settle();
    assert_eq!(dups(&second), [("one".to_owned(), true), ("two".to_owned(), false)]);
}

#[test]
fn a_client_that_does_not_read_is_not_flooded_by_its_backlog() {
    let mut world = World::default();
    let first = world.connect(reader(10));
    world.subscribe(&first, "t", 1);
    world.disconnect(first, Ending::Normal);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for number in 0..100 {
        world.publish(&mut writer, "t", &number.to_string(), 1);
    }
    let (second, _) = world.connect_only(ConnectOptions { room: 4, ..reader(1000) });
    second.line().reading = false;
    world.vhost.start_redelivery(&second.attachment, world.now, &mut world.effects);
    world.settle();
    assert_eq!(second.line().got.len(), 4);
    world.set_reading(&second, true);
    assert_eq!(second.payloads(), (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn qos_2_publications_are_known_again_until_they_are_released() {
    let mut world = World::default();
    let first = world.connect(reader(10));
    assert!(world.vhost.receive_once(&first.attachment, 5).0);
    assert!(!world.vhost.receive_once(&first.attachment, 5).0);
    let second = world.connect(reader(10));
    assert_eq!(world.vhost.unreleased(&second.attachment), 1);
    assert!(!world.vhost.receive_once(&second.attachment, 5).0);
    assert!(world.vhost.complete(&second.attachment, 5).0);
    assert!(!world.vhost.complete(&second.attachment, 5).0);
    assert!(world.vhost.receive_once(&second.attachment, 5).0);
}

#[test]
fn queued_qos_0_stays_in_order_with_what_arrives_while_it_is_delivered() {
    let limits = tercet_broker::limits::Limits { queue_qos0: true, ..Default::default() };
    let mut world = World::with(limits);
    let first = world.connect(reader(10));
    world.subscribe(&first, "t", 0);
    world.disconnect(first, Ending::Normal);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for number in 0..6 {
        world.publish(&mut writer, "t", &number.to_string(), 0);
    }
    let (second, _) = world.connect_only(ConnectOptions { room: 2, ..reader(10) });
    second.line().reading = false;
    world.publish(&mut writer, "t", "6", 0);
    world.vhost.start_redelivery(&second.attachment, world.now, &mut world.effects);
    world.publish(&mut writer, "t", "7", 0);
    world.set_reading(&second, true);
    assert_eq!(second.payloads(), ["0", "1", "2", "3", "4", "5", "6", "7"]);
}
