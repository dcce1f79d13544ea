//! What happens when a queue is full, a message too old or a packet too large.

use crate::support::{ConnectOptions, Got, World};
use tercet_broker::limits::{Limits, Overflow};
use tercet_broker::vhost::connection::Ending;

fn absent_reader(limits: Limits) -> World {
    let mut world = World::with(limits);
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "t", 1);
    world.disconnect(reader, Ending::Normal);
    world
}

fn publish_five(world: &mut World) {
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for text in ["1", "2", "3", "4", "5"] {
        world.publish(&mut writer, "t", text, 1);
    }
}

#[test]
fn a_full_queue_drops_the_new_or_the_oldest_as_configured() {
    // A message counts its topic and payload: two bytes each.
    let by_count = Limits { max_queued_messages: 3, ..Limits::default() };
    let by_bytes = Limits { max_queued_bytes: 7, ..Limits::default() };
    for limits in [by_count, by_bytes] {
        for (overflow, kept) in
            [(Overflow::DropNew, ["1", "2", "3"]), (Overflow::DropOldest, ["3", "4", "5"])]
        {
            let mut world = absent_reader(Limits { overflow, ..limits.clone() });
            publish_five(&mut world);
            assert_eq!(world.effects.counters.dropped_queue_full, 2);
            let reader = world.connect(ConnectOptions::durable("reader"));
            assert_eq!(world.consume(&reader), kept, "{overflow:?}");
            publish_five(&mut world);
            assert_eq!(world.consume(&reader).len(), 5, "there is room again");
        }
    }
}

#[test]
fn a_message_larger_than_the_queue_drops_nothing_else() {
    let limits = Limits { max_queued_bytes: 10, overflow: Overflow::DropOldest, ..Limits::default() };
    let mut world = absent_reader(limits);
    publish_five(&mut world);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "much too large", 1);
    let reader = world.connect(ConnectOptions::durable("reader"));
    assert_eq!(world.consume(&reader), ["1", "2", "3", "4", "5"]);
}

#[test]
fn what_is_under_way_is_not_dropped_for_what_is_new() {
    let limits = Limits { max_queued_messages: 2, overflow: Overflow::DropOldest, ..Limits::default() };
    let mut world = World::with(limits);
    let reader = world.connect(ConnectOptions::clean("reader").window(1));
    world.subscribe(&reader, "t", 1);
    publish_five(&mut world);
    assert_eq!(world.consume(&reader), ["1", "4", "5"]);
}

#[test]
fn a_limit_of_nothing_still_serves_those_who_keep_up() {
    let limits = Limits { max_queued_messages: 0, overflow: Overflow::DropOldest, ..Limits::default() };
    let mut world = World::with(limits);
    let reader = world.connect(ConnectOptions::clean("reader").window(2));
    world.subscribe(&reader, "t", 1);
    publish_five(&mut world);
    assert_eq!(world.consume(&reader), ["1", "2"]);
}

#[test]
fn a_message_expires_in_the_queue_and_tells_what_time_is_left() {
    let mut world = absent_reader(Limits::default());
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish_with(&mut writer, "t", "short", 1, false, Some(5));
    world.publish_with(&mut writer, "t", "long", 1, false, Some(100));
    world.publish_with(&mut writer, "t", "at once", 1, false, Some(0));
    world.pass(5);
    let reader = world.connect(ConnectOptions::durable("reader"));
    let got = reader.take();
    assert!(matches!(&got[..], [Got::Publish { payload, expiry: Some(95), .. }] if payload == "long"));
    assert_eq!(world.effects.counters.dropped_expired, 2);
}

#[test]
fn a_packet_too_large_for_one_subscriber_is_dropped_for_that_one_alone() {
    for qos in 0..3 {
        let mut world = World::default();
        let small =
            world.connect(ConnectOptions { max_packet: 3, ..ConnectOptions::durable("small").window(1) });
        let large = world.connect(ConnectOptions::durable("large"));
        world.subscribe(&small, "t", 2);
        world.subscribe(&large, "t", 2);
        let mut writer = world.connect(ConnectOptions::clean("writer"));
        world.publish(&mut writer, "t", "large", qos);
        world.publish(&mut writer, "t", "ok", qos);
        assert_eq!(small.payloads(), ["ok"], "QoS {qos}: it takes no place in the window");
        assert_eq!(world.consume(&large), ["large", "ok"]);
        assert_eq!(world.effects.counters.dropped_too_large, 1);
        let again = world.connect(ConnectOptions::durable("small"));
        let left = world.consume(&again);
        assert!(!left.contains(&"large".to_owned()), "QoS {qos}: it is never offered again");
    }
}

#[test]
fn qos_0_is_dropped_for_those_who_do_not_read_and_nobody_waits() {
    let mut world = World::default();
    let stuck = world.connect(ConnectOptions { limit: 2, ..ConnectOptions::clean("stuck") });
    let quick = world.connect(ConnectOptions::clean("quick"));
    world.subscribe(&stuck, "t", 0);
    world.subscribe(&quick, "t", 0);
    stuck.line().reading = false;
    publish_five(&mut world);
    assert_eq!(quick.payloads(), ["1", "2", "3", "4", "5"]);
    assert_eq!(stuck.payloads(), ["1", "2"]);
    assert_eq!(world.effects.counters.dropped_outbox_full, 3);
}

#[test]
fn qos_0_waits_for_an_absent_session_only_if_that_is_configured() {
    for queue_qos0 in [false, true] {
        let mut world = absent_reader(Limits { queue_qos0, ..Limits::default() });
        let mut writer = world.connect(ConnectOptions::clean("writer"));
        world.publish(&mut writer, "t", "x", 0);
        let reader = world.connect(ConnectOptions::durable("reader"));
        assert_eq!(reader.payloads().len(), usize::from(queue_qos0));
    }
}
