//! What is recorded, what is not, and which position each answer waits for.

use crate::support::{ConnectOptions, World, subscription};
use tercet_broker::acknowledgement::Acknowledgement;
use tercet_broker::filter::RetainHandling;
use tercet_broker::journal::Position;
use tercet_broker::limits::Limits;
use tercet_broker::record::{OwnedRecord, SettleReason};
use tercet_broker::vhost::connection::Ending;
use tercet_broker::vhost::publishing::Published;

fn position(published: Published) -> Position {
    match published {
        Published::Routed { position, .. } => position,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_recorded_for_clean_sessions_whatever_they_do() {
    let mut world = World::with(Limits { queue_qos0: true, ..Limits::default() });
    let clients: Vec<_> = (0..3)
        .map(|number| world.connect(ConnectOptions::clean(&format!("c{number}")).will("w", 0)))
        .collect();
    for client in &clients {
        for filter in ["#", "t", "$share/g/t"] {
            assert_eq!(
                world.subscribe_with(client, filter, subscription(2), RetainHandling::SendAtSubscribe),
                Ok(Position::NONE)
            );
        }
        assert_eq!(world.vhost.receive_once(&client.attachment, 1), (true, Position::NONE));
        assert_eq!(world.vhost.receive_once(&client.attachment, 1), (false, Position::NONE));
        assert_eq!(world.vhost.complete(&client.attachment, 1), (true, Position::NONE));
    }
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for qos in 0..3 {
        assert_eq!(position(world.publish(&mut writer, "t", "x", qos)), Position::NONE);
    }
    for client in clients {
        world.consume(&client);
        assert_eq!(world.unsubscribe(&client, "t"), (true, Position::NONE));
        world.disconnect(client, Ending::Abnormal);
    }
    assert_eq!(world.journal.len(), 0, "{:#?}", world.journal.records());
}

#[test]
fn nothing_is_recorded_for_qos_0_not_even_if_it_is_queued() {
    let mut world = World::with(Limits { queue_qos0: true, ..Limits::default() });
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "t", 1);
    world.subscribe(&reader, "most/once", 0);
    world.subscribe(&reader, "$share/g/t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    let before = world.journal.len();
    let traffic = |world: &mut World, writer: &mut _| {
        world.publish(writer, "t", "x", 0);
        world.publish(writer, "most/once", "x", 2);
        world.publish(writer, "nobody", "x", 2);
    };
    traffic(&mut world, &mut writer);
    assert_eq!(world.journal.len(), before);
    world.disconnect(reader, Ending::Normal);
    let before = world.journal.len();
    traffic(&mut world, &mut writer);
    assert_eq!(world.journal.len(), before);
    let reader = world.connect(ConnectOptions::durable("reader"));
    assert_eq!(reader.take().len(), 2);
    assert_eq!(world.journal.len(), before + 1, "only that the session was opened");
}

#[test]
fn a_delivery_costs_one_record_in_and_one_out() {
    for filter in ["t", "$share/g/t"] {
        let mut world = World::default();
        let reader = world.connect(ConnectOptions::durable("reader"));
        world.subscribe(&reader, filter, 1);
        let mut writer = world.connect(ConnectOptions::clean("writer"));
        let before = world.journal.len();
        world.publish(&mut writer, "t", "x", 1);
        assert_eq!(world.journal.len(), before + 1, "{filter}");
        world.consume(&reader);
        assert_eq!(world.journal.len(), before + 2, "{filter}");
    }
}

#[test]
fn answers_wait_for_their_own_records() {
    let mut world = World::default();
    let (reader, opened) = world.connect_at(ConnectOptions::durable("reader").will("w", 0));
    assert_eq!(opened, world.journal.last());
    assert!(opened > Position::NONE);

    let subscribed = world.subscribe_with(&reader, "t", subscription(2), RetainHandling::DoNotSend);
    assert_eq!(subscribed, Ok(world.journal.last()));
    let subscribed = world.subscribe_with(&reader, "$share/g/s", subscription(2), RetainHandling::DoNotSend);
    assert_eq!(subscribed, Ok(world.journal.last()));

    let mut writer = world.connect(ConnectOptions::durable("writer"));
    for (topic, qos) in [("t", 1), ("t", 2), ("s", 1), ("s", 2)] {
        let before = world.journal.last();
        let at = position(world.publish(&mut writer, topic, "x", qos));
        assert_eq!(at, world.journal.last(), "{topic} QoS {qos}");
        assert!(at > before);
    }
    let (fresh, at) = world.vhost.receive_once(&writer.attachment, 9);
    assert_eq!((fresh, at), (true, world.journal.last()));
    let (fresh, again) = world.vhost.receive_once(&writer.attachment, 9);
    assert!(!fresh && again >= at, "the repeated answer waits as well");
    let (known, at) = world.vhost.complete(&writer.attachment, 9);
    assert_eq!((known, at), (true, world.journal.last()));
    let (known, again) = world.vhost.complete(&writer.attachment, 9);
    assert!(!known && again >= at, "the repeated answer waits as well");

    let retained = position(world.publish_retained(&mut writer, "value", "x", 1));
    assert_eq!(retained, world.journal.last());
    let volatile = position(world.publish_retained(&mut writer, "value", "y", 0));
    assert_eq!(volatile, Position::NONE, "QoS 0 has no answer that could wait");

    let (removed, at) = world.unsubscribe(&reader, "t");
    assert_eq!((removed, at), (true, world.journal.last()));
}

#[test]
fn nothing_counts_as_durable_before_the_log_says_so() {
    let mut world = World::default();
    world.journal.hold();
    let (reader, opened) = world.connect_at(ConnectOptions::durable("reader"));
    assert!(opened > world.vhost.durable());
    world.journal.sync();
    assert!(opened <= world.vhost.durable());
    world.subscribe(&reader, "t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    let at = position(world.publish(&mut writer, "t", "x", 1));
    assert!(at > world.vhost.durable());
    world.journal.sync();
    assert!(at <= world.vhost.durable());
}

#[test]
fn a_resume_that_keeps_nothing_is_recorded_as_the_end() {
    let mut world = World::default();
    world.connect(ConnectOptions::durable("c"));
    let client = world.connect(ConnectOptions::durable("c").expiry(0));
    let before = world.journal.len();
    world.subscribe(&client, "t", 1);
    world.subscribe(&client, "$share/g/t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "x", 1);
    assert_eq!(world.consume(&client), ["x", "x"]);
    assert_eq!(world.journal.len(), before);
    assert!(world.restarted(usize::MAX).vhost.sessions().is_empty());
}

#[test]
fn a_group_is_recorded_while_it_has_a_durable_member() {
    let mut world = World::default();
    let clean = world.connect(ConnectOptions::clean("clean").window(1));
    world.subscribe(&clean, "$share/g/t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for text in ["1", "2", "3"] {
        world.publish(&mut writer, "t", text, 1);
    }
    assert_eq!(world.journal.len(), 0);
    let (durable, _) = world.connect_only(ConnectOptions::durable("durable"));
    world.subscribe(&durable, "$share/g/t", 1);
    let mut restarted = world.restarted(usize::MAX);
    let reader = restarted.connect(ConnectOptions::durable("durable"));
    assert_eq!(restarted.consume(&reader), ["1", "2", "3"], "what was there when the group became durable");
    world.unsubscribe(&durable, "$share/g/t");
    let before = world.journal.len();
    world.publish(&mut writer, "t", "4", 1);
    assert_eq!(world.journal.len(), before);
    assert_eq!(world.restarted(usize::MAX).vhost.subscriptions(), 0);
}

#[test]
fn a_qos_2_message_moves_from_the_group_to_its_member_in_one_record() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "$share/g/t", 2);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "x", 2);
    let records = world.journal.len();
    // Wherever the log is cut behind its arrival, the message is there exactly once.
    for cut in records - 1..=records {
        let mut world = world.restarted(cut);
        let reader = world.connect(ConnectOptions::durable("reader"));
        assert_eq!(reader.payloads(), ["x"], "cut at {cut} of {records}");
    }
}

#[test]
fn records_say_why_an_entry_left() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions { max_packet: 3, ..ConnectOptions::durable("reader") });
    world.subscribe(&reader, "t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "ok", 1);
    world.publish(&mut writer, "t", "large", 1);
    world.publish_with(&mut writer, "t", "old", 1, false, Some(0));
    let id = reader.take()[0].id();
    world.acknowledge(&reader, &[Acknowledgement::Done(id)]);
    let mut reasons = Vec::new();
    for record in world.journal.records() {
        use tercet_broker::record::{QueueRecord, SessionRecord};
        if let OwnedRecord::Session(_, SessionRecord::Queue(QueueRecord::Settled { reason, .. })) = record {
            reasons.push(reason);
        }
    }
    assert_eq!(reasons, [SettleReason::Undeliverable, SettleReason::Expired, SettleReason::Acknowledged]);
}

#[test]
fn the_brokers_own_retained_topics_are_not_recorded() {
    let mut world = World::default();
    let publication = tercet_broker::message::Publication {
        topic: "$SYS/broker/uptime",
        payload: b"1",
        properties: tercet_broker::message::Properties::NONE,
        qos: tercet_broker::message::Qos::AtMostOnce,
        retain: true,
        expiry: None,
        publisher: tercet_broker::session::SessionId::BROKER,
    };
    world.vhost.publish_own(&publication, world.now, &mut world.effects);
    assert_eq!((world.vhost.retained().len(), world.journal.len()), (1, 0));
    assert!(world.vhost.durable_records().is_empty());
}
