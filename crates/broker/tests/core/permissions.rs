//! Rights that change while messages and routes exist.

use crate::support::{ConnectOptions, World, subscription};
use tercet_broker::filter::RetainHandling;
use tercet_broker::permission::Permissions;
use tercet_broker::permission::acl_file;
use tercet_broker::vhost::connection::Ending;
use tercet_broker::vhost::publishing::Published;
use tercet_broker::vhost::subscribing::Refused;

fn rules(text: &str) -> Permissions {
    Permissions::new(&acl_file::parse(text).unwrap())
}

const ALL: &str = "topic readwrite #\nuser reader\ntopic readwrite #\nuser writer\ntopic readwrite #\n";
const BLIND: &str = "user reader\ntopic read open\nuser writer\ntopic readwrite #\n";

#[test]
fn a_right_that_was_taken_away_holds_back_what_is_queued_live_and_retained() {
    let mut world = World::default();
    world.vhost.set_permissions(rules(ALL));
    let reader = world.connect(ConnectOptions::durable("reader").user("reader").window(1));
    world.subscribe(&reader, "#", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer").user("writer"));
    world.publish_retained(&mut writer, "secret", "one", 1);
    world.publish(&mut writer, "secret", "two", 1);
    world.publish(&mut writer, "open", "three", 1);

    world.vhost.set_permissions(rules(BLIND));
    assert_eq!(world.consume(&reader), ["one", "three"], "the first was under way");
    assert_eq!(world.effects.counters.dropped_denied, 1);
    for qos in 0..2 {
        world.publish(&mut writer, "secret", "live", qos);
        world.publish(&mut writer, "open", "seen", qos);
        assert_eq!(world.consume(&reader), ["seen"], "QoS {qos}");
    }
    world.subscribe(&reader, "#", 1);
    assert!(reader.take().is_empty(), "retained");

    world.vhost.set_permissions(rules(ALL));
    world.publish(&mut writer, "secret", "again", 0);
    assert_eq!(reader.payloads(), ["again"]);
}

/// CVE-2018-12546: what somebody left before losing the right to publish is not handed out any more.
#[test]
fn a_retained_value_is_withheld_once_its_author_may_not_publish_it() {
    let mut world = World::default();
    world.vhost.set_permissions(rules(ALL));
    let mut writer = world.connect(ConnectOptions::clean("writer").user("writer"));
    world.publish_retained(&mut writer, "open", "left", 0);
    let reader = world.connect(ConnectOptions::clean("reader").user("reader"));

    world.vhost.set_permissions(rules("user reader\ntopic read open\nuser writer\ntopic read #\n"));
    world.subscribe(&reader, "open", 0);
    assert!(reader.take().is_empty());

    world.vhost.set_permissions(rules(ALL));
    world.subscribe(&reader, "open", 0);
    assert_eq!(reader.payloads(), ["left"]);
}

#[test]
fn a_kept_route_does_not_outlive_the_right_to_publish() {
    let mut world = World::default();
    world.vhost.set_permissions(rules(ALL));
    let mut writer = world.connect(ConnectOptions::clean("writer").user("writer"));
    assert!(matches!(world.publish(&mut writer, "t", "x", 1), Published::Routed { .. }));
    world.vhost.set_permissions(rules("user writer\ntopic read #\n"));
    assert_eq!(world.publish(&mut writer, "t", "x", 1), Published::Denied);
    assert_eq!(world.publish_retained(&mut writer, "t", "x", 1), Published::Denied);
    assert_eq!(world.vhost.retained().len(), 0);
    world.vhost.set_permissions(rules(ALL));
    assert!(matches!(world.publish(&mut writer, "t", "x", 1), Published::Routed { .. }));
}

#[test]
fn a_kept_route_follows_a_session_to_another_user() {
    let mut world = World::default();
    let text =
        "user reader\ntopic readwrite #\nuser other\ntopic readwrite open\nuser writer\ntopic readwrite #\n";
    world.vhost.set_permissions(rules(text));
    let reader = world.connect(ConnectOptions::durable("c").user("reader"));
    world.subscribe(&reader, "#", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer").user("writer"));
    world.publish(&mut writer, "secret", "seen", 0);
    assert_eq!(reader.payloads(), ["seen"]);
    let other = world.connect(ConnectOptions::durable("c").user("other"));
    world.publish(&mut writer, "secret", "hidden", 0);
    assert!(other.take().is_empty());
    let reader = world.connect(ConnectOptions::durable("c").user("reader"));
    world.publish(&mut writer, "secret", "seen again", 0);
    assert_eq!(reader.payloads(), ["seen again"]);
}

#[test]
fn a_subscription_without_the_right_is_refused() {
    let mut world = World::default();
    world.vhost.set_permissions(rules(BLIND));
    let reader = world.connect(ConnectOptions::clean("c").user("reader"));
    for (filter, expected) in [
        ("secret", Err(Refused::Denied)),
        ("$share/g/secret", Err(Refused::Denied)),
        ("open", Ok(())),
        ("$share/g/open", Ok(())),
    ] {
        let done = world.subscribe_with(&reader, filter, subscription(1), RetainHandling::DoNotSend);
        assert_eq!(done.map(|_| ()), expected, "{filter}");
    }
    assert_eq!(world.effects.counters.denied_subscribe, 2);
}

#[test]
fn a_shared_message_that_no_member_may_receive_does_not_hold_up_the_others() {
    let mut world = World::default();
    world.vhost.set_permissions(rules(ALL));
    let reader = world.connect(ConnectOptions::durable("c").user("reader"));
    world.subscribe(&reader, "$share/g/#", 1);
    world.disconnect(reader, Ending::Normal);
    let mut writer = world.connect(ConnectOptions::clean("writer").user("writer"));
    world.publish(&mut writer, "secret", "hidden", 1);
    world.publish(&mut writer, "open", "seen", 1);
    world.vhost.set_permissions(rules(BLIND));
    let reader = world.connect(ConnectOptions::durable("c").user("reader"));
    assert_eq!(world.consume(&reader), ["seen"]);
    assert_eq!(world.effects.counters.dropped_denied, 1);
}

#[test]
fn a_shared_message_goes_to_the_member_that_may_receive_it() {
    let mut world = World::default();
    world.vhost.set_permissions(rules(BLIND));
    let blind = world.connect(ConnectOptions::clean("a").user("reader"));
    let seeing = world.connect(ConnectOptions::clean("b").user("writer"));
    world.subscribe(&blind, "$share/g/#", 1);
    world.subscribe(&seeing, "$share/g/#", 1);
    let mut writer = world.connect(ConnectOptions::clean("writer").user("writer"));
    for qos in [0, 1, 2, 0, 1, 2] {
        world.publish(&mut writer, "secret", "x", qos);
    }
    assert!(blind.take().is_empty());
    assert_eq!(world.consume(&seeing).len(), 6);
}

#[test]
fn a_will_needs_the_right_to_publish_when_it_is_due() {
    let mut world = World::default();
    let watcher = world.connect(ConnectOptions::clean("watcher").user("writer"));
    world.subscribe(&watcher, "secret", 1);
    let client = world.connect(ConnectOptions::clean("c").user("reader").will("secret", 0));
    world.vhost.set_permissions(rules(BLIND));
    world.disconnect(client, Ending::Abnormal);
    assert!(watcher.take().is_empty());
}
