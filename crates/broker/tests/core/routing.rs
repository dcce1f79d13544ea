//! From a publication to those who are subscribed, with order, caches and wake-ups.

use crate::support::{ConnectOptions, World};
use tercet_broker::vhost::publishing::Published;

#[test]
fn every_subscriber_gets_each_publishers_messages_in_order_at_every_qos() {
    for qos in 0..3 {
        let mut world = World::default();
        let readers: Vec<_> = (0..3)
            .map(|number| world.connect(ConnectOptions::durable(&format!("r{number}")).window(7)))
            .collect();
        for reader in &readers {
            world.subscribe(reader, "t/#", 2);
        }
        let mut one = world.connect(ConnectOptions::clean("one"));
        let mut two = world.connect(ConnectOptions::clean("two"));
        let mut received = vec![Vec::new(); readers.len()];
        for number in 0..200 {
            world.publish(&mut one, "t/x", &format!("one {number}"), qos);
            world.publish(&mut two, "t/x", &format!("two {number}"), qos);
            if number % 10 == 0 {
                for (reader, received) in readers.iter().zip(&mut received) {
                    received.extend(world.consume(reader));
                }
            }
        }
        for (reader, mut received) in readers.iter().zip(received) {
            received.extend(world.consume(reader));
            for publisher in ["one", "two"] {
                let of: Vec<_> = received.iter().filter(|text| text.starts_with(publisher)).collect();
                let expected: Vec<_> = (0..200).map(|number| format!("{publisher} {number}")).collect();
                assert_eq!(of, expected.iter().collect::<Vec<_>>(), "QoS {qos}");
            }
        }
    }
}

#[test]
fn a_kept_route_follows_every_change_of_subscriptions() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::clean("reader"));
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    let mut reaches = |world: &mut World| {
        world.publish(&mut writer, "a/b", "x", 0);
        reader.take().len()
    };
    assert_eq!(reaches(&mut world), 0);
    for filter in ["a/b", "a/+", "+/b", "#", "a/#", "+/+", "$share/g/a/b", "$share/g/#", "$queue/a/b"] {
        world.subscribe(&reader, filter, 0);
        assert_eq!(reaches(&mut world), 1, "{filter}");
        world.unsubscribe(&reader, filter);
        assert_eq!(reaches(&mut world), 0, "{filter}");
    }
}

#[test]
fn a_kept_route_does_not_reach_a_session_that_ended() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::clean("reader"));
    world.subscribe(&reader, "t", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "one", 1);
    let again = world.connect(ConnectOptions::clean("reader"));
    let published = world.publish(&mut writer, "t", "two", 1);
    assert!(matches!(published, Published::Routed { matched: false, .. }));
    assert!(again.take().is_empty());
    assert_eq!(world.vhost.subscriptions(), 0);
}

#[test]
fn a_connection_is_woken_once_however_much_it_is_sent() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::clean("reader"));
    world.subscribe(&reader, "#", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    let publication = |text: &'static str| tercet_broker::message::Publication {
        topic: "t",
        payload: text.as_bytes(),
        properties: tercet_broker::message::Properties::NONE,
        qos: tercet_broker::message::Qos::AtLeastOnce,
        retain: false,
        expiry: None,
        publisher: tercet_broker::session::SessionId(99),
    };
    for text in ["one", "two", "three"] {
        world.vhost.publish(&mut writer.attachment, &publication(text), world.now, &mut world.effects);
    }
    assert_eq!(world.effects.wakes, [reader.connection]);
    world.settle();
    world.vhost.publish(&mut writer.attachment, &publication("four"), world.now, &mut world.effects);
    assert_eq!(world.effects.wakes, [reader.connection], "and again after it was drained");
    assert_eq!(reader.payloads(), ["one", "two", "three", "four"]);
}

#[test]
fn a_topic_with_a_leading_dollar_is_not_matched_by_leading_wildcards() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::clean("reader"));
    for filter in ["#", "+/x", "$share/g/#"] {
        world.subscribe(&reader, filter, 0);
    }
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "$other/x", "hidden", 0);
    assert!(reader.take().is_empty());
    world.subscribe(&reader, "$other/#", 0);
    world.publish(&mut writer, "$other/x", "seen", 0);
    assert_eq!(reader.payloads(), ["seen"]);
}
