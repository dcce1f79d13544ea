//! Several subscriptions of one session that match the same message, and No Local.

use crate::support::{Client, ConnectOptions, Got, World, subscription};
use tercet_broker::filter::{RetainHandling, SubscriptionOptions};

fn subscribe(world: &mut World, client: &Client, filter: &str, options: SubscriptionOptions) {
    world.subscribe_with(client, filter, options, RetainHandling::DoNotSend).unwrap();
}

#[test]
fn a_message_comes_once_with_the_highest_qos_and_every_identifier() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::clean("reader"));
    for (filter, qos, id) in [("a/b", 0, Some(1)), ("a/+", 2, Some(2)), ("#", 1, None), ("a/#", 1, Some(4))] {
        subscribe(&mut world, &reader, filter, SubscriptionOptions { id, ..subscription(qos) });
    }
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "a/b", "x", 2);
    let got = reader.take();
    let [Got::Publish { qos: 2, ids, .. }] = &got[..] else { panic!("{got:?}") };
    let mut ids = ids.clone();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 4]);
}

#[test]
fn more_sessions_than_are_searched_linearly_are_merged_as_well() {
    let mut world = World::default();
    let readers: Vec<_> = (0..30).map(|n| world.connect(ConnectOptions::clean(&format!("r{n}")))).collect();
    for filter in ["t/x", "t/+", "#"] {
        for reader in &readers {
            world.subscribe(reader, filter, 1);
        }
    }
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t/x", "once", 1);
    for reader in &readers {
        assert_eq!(reader.payloads(), ["once"]);
    }
}

#[test]
fn subscribing_again_replaces_the_options() {
    let mut world = World::default();
    let reader = world.connect(ConnectOptions::clean("reader"));
    subscribe(&mut world, &reader, "t", SubscriptionOptions { id: Some(1), ..subscription(2) });
    subscribe(&mut world, &reader, "t", SubscriptionOptions { id: Some(2), ..subscription(0) });
    assert_eq!(world.vhost.subscriptions(), 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "x", 2);
    assert!(matches!(&reader.take()[..], [Got::Publish { qos: 0, ids, .. }] if ids[..] == [2]));
}

#[test]
fn no_local_holds_back_only_what_comes_through_it_alone() {
    let no_local = |id| SubscriptionOptions { no_local: true, id: Some(id), ..subscription(2) };
    let plain = |id| SubscriptionOptions { id: Some(id), ..subscription(1) };
    // (subscriptions, what the client's own message brings, what another's brings): QoS and identifiers.
    type Brings = Option<(u8, &'static [u32])>;
    type Case<'a> = (&'a [(&'a str, SubscriptionOptions)], Brings, Brings);
    let cases: [Case<'_>; 4] = [
        (&[("t", no_local(1))], None, Some((2, &[1]))),
        (&[("t", no_local(1)), ("#", no_local(2))], None, Some((2, &[1, 2]))),
        (&[("t", no_local(1)), ("#", plain(2))], Some((1, &[2])), Some((2, &[1, 2]))),
        (&[("t", plain(1)), ("+", no_local(2)), ("#", plain(3))], Some((1, &[1, 3])), Some((2, &[1, 2, 3]))),
    ];
    for (subscriptions, own, others) in cases {
        let mut world = World::default();
        let mut client = world.connect(ConnectOptions::clean("client"));
        let mut other = world.connect(ConnectOptions::clean("other"));
        for (filter, options) in subscriptions {
            subscribe(&mut world, &client, filter, *options);
        }
        let seen = |client: &Client| match &client.take()[..] {
            [] => None,
            [Got::Publish { qos, ids, .. }] => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                Some((*qos, ids))
            }
            more => panic!("{more:?}"),
        };
        let expected = |brings: Brings| brings.map(|(qos, ids)| (qos, ids.to_vec()));
        world.publish(&mut client, "t", "mine", 2);
        assert_eq!(seen(&client), expected(own), "{subscriptions:?}");
        world.publish(&mut other, "t", "theirs", 2);
        assert_eq!(seen(&client), expected(others), "{subscriptions:?}");
    }
}

#[test]
fn no_local_applies_to_retained_messages_of_the_same_client() {
    let mut world = World::default();
    let mut client = world.connect(ConnectOptions::clean("client"));
    let mut other = world.connect(ConnectOptions::clean("other"));
    world.publish_retained(&mut client, "mine", "x", 1);
    world.publish_retained(&mut other, "theirs", "x", 1);
    let options = SubscriptionOptions { no_local: true, ..subscription(1) };
    world.subscribe_with(&client, "#", options, RetainHandling::SendAtSubscribe).unwrap();
    assert!(matches!(&client.take()[..], [Got::Publish { topic, .. }] if topic == "theirs"));
}

#[test]
fn the_retain_flag_survives_live_delivery_only_as_published() {
    for (as_published, expected) in [(false, false), (true, true)] {
        let mut world = World::default();
        let reader = world.connect(ConnectOptions::clean("reader"));
        let options = SubscriptionOptions { retain_as_published: as_published, ..subscription(1) };
        subscribe(&mut world, &reader, "t", options);
        let mut writer = world.connect(ConnectOptions::clean("writer"));
        for qos in 0..2 {
            world.publish_retained(&mut writer, "t", "x", qos);
            assert!(matches!(&reader.take()[..], [Got::Publish { retain, .. }] if *retain == expected));
        }
    }
}
