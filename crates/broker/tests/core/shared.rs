//! Shared subscriptions: one queue, competing consumers.

use std::collections::BTreeSet;

use crate::support::{Client, ConnectOptions, Got, World, subscription};
use tercet_broker::acknowledgement::Acknowledgement;
use tercet_broker::filter::{RetainHandling, SubscriptionOptions};
use tercet_broker::limits::{Limits, Overflow, SharedStrategy};
use tercet_broker::vhost::connection::Ending;

fn group(world: &mut World, members: &[&str], qos: u8) -> Vec<Client> {
    members
        .iter()
        .map(|name| {
            let member = world.connect(ConnectOptions::durable(name));
            world.subscribe(&member, "$share/g/t", qos);
            member
        })
        .collect()
}

fn strategy(shared_strategy: SharedStrategy) -> World {
    World::with(Limits { shared_strategy, ..Limits::default() })
}

fn publish(world: &mut World, texts: &[&str], qos: u8) {
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for text in texts {
        world.publish(&mut writer, "t", text, qos);
    }
}

const FOUR: [&str; 4] = ["1", "2", "3", "4"];

#[test]
fn round_robin_gives_each_member_its_turn() {
    for qos in 0..3 {
        let mut world = World::default();
        let members = group(&mut world, &["a", "b"], 2);
        publish(&mut world, &FOUR, qos);
        assert_eq!(members[0].payloads(), ["1", "3"], "QoS {qos}");
        assert_eq!(members[1].payloads(), ["2", "4"], "QoS {qos}");
    }
}

#[test]
fn sticky_stays_with_a_member_until_it_can_take_no_more() {
    let mut world = strategy(SharedStrategy::Sticky);
    let a = world.connect(ConnectOptions::clean("a").window(2));
    world.subscribe(&a, "$share/g/t", 1);
    let b = world.connect(ConnectOptions::clean("b"));
    world.subscribe(&b, "$share/g/t", 1);
    publish(&mut world, &["1", "2", "3", "4"], 1);
    assert_eq!(a.payloads(), ["1", "2"]);
    assert_eq!(b.payloads(), ["3", "4"]);
}

#[test]
fn random_gives_each_message_to_one_member_and_every_member_some() {
    let mut world = strategy(SharedStrategy::Random);
    let members = group(&mut world, &["a", "b", "c"], 1);
    let texts: Vec<String> = (0..90).map(|number| number.to_string()).collect();
    publish(&mut world, &texts.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    let got: Vec<Vec<String>> = members.iter().map(Client::payloads).collect();
    assert!(got.iter().all(|got| got.len() > 10), "{:?}", got.iter().map(Vec::len).collect::<Vec<_>>());
    assert_eq!(got.concat().into_iter().collect::<BTreeSet<_>>(), texts.into_iter().collect());
    assert_eq!(got.concat().len(), 90);
}

#[test]
fn least_in_flight_spares_the_member_that_does_not_acknowledge() {
    let mut world = strategy(SharedStrategy::LeastInflight);
    let members = group(&mut world, &["slow", "quick"], 1);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    let mut quick = 0;
    for number in 0..20 {
        world.publish(&mut writer, "t", &number.to_string(), 1);
        quick += world.consume(&members[1]).len();
    }
    assert!(members[0].payloads().len() <= 2);
    assert!(quick >= 18);
}

#[test]
fn what_a_member_has_not_acknowledged_goes_to_others_when_its_connection_ends() {
    let mut world = World::default();
    let mut members = group(&mut world, &["a", "b"], 1);
    publish(&mut world, &FOUR, 1);
    let b = members.pop().unwrap();
    let a = members.pop().unwrap();
    assert_eq!(world.consume(&b), ["2", "4"]);
    let got = a.take();
    world.acknowledge(&a, &[Acknowledgement::Done(got[0].id())]);
    world.disconnect(a, Ending::Abnormal);
    assert_eq!(world.consume(&b), ["3"]);
    let a = world.connect(ConnectOptions::durable("a"));
    assert!(a.take().is_empty(), "nothing comes twice");
}

#[test]
fn what_a_replaced_session_held_goes_to_others() {
    let mut world = World::default();
    let members = group(&mut world, &["a", "b"], 1);
    publish(&mut world, &FOUR, 1);
    world.consume(&members[1]);
    world.connect(ConnectOptions::clean("a"));
    assert_eq!(world.consume(&members[1]), ["1", "3"]);
}

#[test]
fn qos_2_stays_with_its_member() {
    let mut world = World::default();
    let mut members = group(&mut world, &["a", "b"], 2);
    publish(&mut world, &["1", "2"], 2);
    let b = members.pop().unwrap();
    let a = members.pop().unwrap();
    assert_eq!(b.payloads(), ["2"]);
    world.disconnect(a, Ending::Abnormal);
    assert!(b.take().is_empty());
    let a = world.connect(ConnectOptions::durable("a"));
    assert!(matches!(&a.take()[..], [Got::Publish { payload, dup: true, qos: 2, .. }] if payload == "1"));
}

#[test]
fn messages_wait_for_a_member_and_go_to_the_first_that_comes() {
    let mut world = World::default();
    for member in group(&mut world, &["a", "b"], 1) {
        world.disconnect(member, Ending::Normal);
    }
    publish(&mut world, &FOUR, 1);
    let b = world.connect(ConnectOptions::durable("b"));
    assert_eq!(world.consume(&b), FOUR);
}

#[test]
fn a_backlog_is_worked_off_within_the_members_windows() {
    let mut world = World::default();
    let a = world.connect(ConnectOptions::clean("a").window(2));
    world.subscribe(&a, "$share/g/t", 1);
    let texts: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    publish(&mut world, &texts.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    assert_eq!(a.line().got.len(), 2);
    assert_eq!(world.consume(&a), texts);
}

#[test]
fn a_member_with_qos_0_gets_the_message_once_and_owes_nothing() {
    let mut world = World::default();
    let mut members = group(&mut world, &["a"], 0);
    publish(&mut world, &["1"], 2);
    let a = members.pop().unwrap();
    assert!(matches!(&a.take()[..], [Got::Publish { qos: 0, .. }]));
    world.disconnect(a, Ending::Abnormal);
    let a = world.connect(ConnectOptions::durable("a"));
    assert!(a.take().is_empty());
}

#[test]
fn a_member_that_unsubscribes_completes_what_it_holds() {
    let mut world = World::default();
    let a = world.connect(ConnectOptions::durable("a").window(2));
    let b = world.connect(ConnectOptions::durable("b"));
    world.subscribe(&a, "$share/g/t", 1);
    world.subscribe(&a, "plain", 1);
    world.subscribe(&b, "$share/g/t", 1);
    publish(&mut world, &FOUR, 1);
    world.consume(&b);
    let held = a.take();
    assert_eq!(held.len(), 2);
    assert!(world.unsubscribe(&a, "$share/g/t").0);
    assert!(b.take().is_empty(), "under way, so it is not repeated elsewhere");
    for got in &held {
        assert_eq!(world.acknowledge(&a, &[Acknowledgement::Done(got.id())]), []);
    }
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "plain", "x", 1);
    world.publish(&mut writer, "plain", "y", 1);
    assert_eq!(a.payloads(), ["x", "y"], "the whole window is free again");
    world.disconnect(a, Ending::Abnormal);
    assert!(b.take().is_empty());
}

#[test]
fn what_a_former_member_leaves_unacknowledged_goes_back_to_the_group() {
    let mut world = World::default();
    let mut members = group(&mut world, &["a", "b"], 1);
    publish(&mut world, &["1", "2"], 1);
    let b = members.pop().unwrap();
    let a = members.pop().unwrap();
    world.consume(&b);
    world.unsubscribe(&a, "$share/g/t");
    world.disconnect(a, Ending::Abnormal);
    assert_eq!(world.consume(&b), ["1"]);
}

#[test]
fn a_group_is_gone_with_its_last_member() {
    let mut world = World::default();
    let mut members = group(&mut world, &["a", "b"], 1);
    assert_eq!(world.vhost.subscriptions(), 1);
    let b = members.pop().unwrap();
    let a = members.pop().unwrap();
    world.unsubscribe(&a, "$share/g/t");
    assert_eq!(world.vhost.subscriptions(), 1);
    publish(&mut world, &["waits"], 1);
    world.disconnect_with(b, Ending::Normal, Some(0));
    assert_eq!(world.vhost.subscriptions(), 0);
    world.subscribe(&a, "$share/g/t", 1);
    assert!(a.take().is_empty(), "a new group has no past");
}

#[test]
fn groups_and_plain_subscriptions_each_get_their_own_copy() {
    let mut world = World::default();
    let a = world.connect(ConnectOptions::clean("a"));
    for filter in ["$share/g/t", "$share/h/t", "$share/g/#", "$queue/t", "t"] {
        world.subscribe(&a, filter, 1);
    }
    publish(&mut world, &["x"], 1);
    assert_eq!(world.consume(&a).len(), 5);
}

#[test]
fn a_member_gets_its_own_options_with_each_message() {
    let mut world = World::default();
    let a = world.connect(ConnectOptions::clean("a"));
    let options = SubscriptionOptions { id: Some(7), retain_as_published: true, ..subscription(1) };
    world.subscribe_with(&a, "$share/g/t", options, RetainHandling::SendAtSubscribe).unwrap();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for qos in 0..3 {
        world.publish_retained(&mut writer, "t", "x", qos);
        let got = a.take();
        let expected = qos.min(1);
        assert!(
            matches!(&got[..], [Got::Publish { qos, retain: true, ids, .. }] if *qos == expected && ids[..] == [7]),
            "{got:?}"
        );
    }
}

#[test]
fn a_group_gets_no_retained_messages() {
    let mut world = World::default();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish_retained(&mut writer, "t", "old", 1);
    let members = group(&mut world, &["a"], 1);
    assert!(members[0].take().is_empty());
}

#[test]
fn the_groups_queue_keeps_to_its_limits() {
    for (overflow, kept) in [(Overflow::DropNew, ["1", "2"]), (Overflow::DropOldest, ["3", "4"])] {
        let mut world = World::with(Limits { max_queued_messages: 2, overflow, ..Limits::default() });
        for member in group(&mut world, &["a"], 1) {
            world.disconnect(member, Ending::Normal);
        }
        publish(&mut world, &FOUR, 1);
        let a = world.connect(ConnectOptions::durable("a"));
        assert_eq!(world.consume(&a), kept, "{overflow:?}");
        assert_eq!(world.effects.counters.dropped_queue_full, 2);
    }
}

#[test]
fn expired_messages_do_not_reach_a_late_member() {
    let mut world = World::default();
    for member in group(&mut world, &["a"], 1) {
        world.disconnect(member, Ending::Normal);
    }
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish_with(&mut writer, "t", "short", 1, false, Some(2));
    world.publish_with(&mut writer, "t", "long", 1, false, Some(60));
    world.pass(3);
    let a = world.connect(ConnectOptions::durable("a"));
    assert!(matches!(&a.take()[..], [Got::Publish { payload, expiry: Some(57), .. }] if payload == "long"));
}
