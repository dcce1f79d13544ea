//! When a will is published, and when not.

use crate::support::{Client, ConnectOptions, World};
use tercet_broker::vhost::connection::Ending;

fn watched() -> (World, Client) {
    let mut world = World::default();
    let watcher = world.connect(ConnectOptions::clean("watcher"));
    world.subscribe(&watcher, "will", 0);
    (world, watcher)
}

#[test]
fn a_will_is_published_unless_the_client_says_goodbye() {
    for expiry in [0, 60] {
        for (ending, count) in [(Ending::Normal, 0), (Ending::Abnormal, 1)] {
            let (mut world, watcher) = watched();
            let client = world.connect(ConnectOptions::durable("c").expiry(expiry).will("will", 0));
            world.disconnect(client, ending);
            assert_eq!(watcher.payloads().len(), count, "{ending:?}, expiry {expiry}");
            world.pass(120);
            assert!(watcher.take().is_empty(), "and never again");
        }
    }
}

#[test]
fn a_delayed_will_waits_for_its_delay_or_the_sessions_end_whichever_comes_first() {
    for (delay, expiry, after) in [(5, 60, 5), (60, 5, 5), (60, 0, 0), (7, u32::MAX, 7)] {
        let (mut world, watcher) = watched();
        let client = world.connect(ConnectOptions::durable("c").expiry(expiry).will("will", delay));
        world.disconnect(client, Ending::Abnormal);
        if after > 0 {
            world.pass(after - 1);
            assert!(watcher.take().is_empty(), "delay {delay}, expiry {expiry}: too early");
            world.pass(1);
        }
        assert_eq!(watcher.payloads(), ["will"], "delay {delay}, expiry {expiry}");
        world.pass(100);
        assert!(watcher.take().is_empty(), "delay {delay}, expiry {expiry}: again");
    }
}

#[test]
fn a_reconnect_in_time_cancels_a_delayed_will_and_sets_the_new_one() {
    let (mut world, watcher) = watched();
    let client = world.connect(ConnectOptions::durable("c").will("will", 5));
    world.disconnect(client, Ending::Abnormal);
    world.pass(4);
    let client = world.connect(ConnectOptions::durable("c"));
    world.pass(20);
    assert!(watcher.take().is_empty());
    world.disconnect(client, Ending::Abnormal);
    world.pass(20);
    assert!(watcher.take().is_empty(), "the new connection named no will");
}

#[test]
fn a_takeover_publishes_the_will_unless_it_was_to_be_delayed_and_the_session_goes_on() {
    // (expiry, delay, clean start of the new connection) -> published
    for (expiry, delay, clean_start, published) in [
        (60, 0, false, true),
        (60, 5, false, false),
        (60, 5, true, true),
        (60, 0, true, true),
        (0, 5, false, true),
        (0, 0, true, true),
    ] {
        let (mut world, watcher) = watched();
        world.connect(ConnectOptions::durable("c").expiry(expiry).will("will", delay));
        let again = ConnectOptions { clean_start, ..ConnectOptions::durable("c") };
        let again = world.connect(again);
        world.pass(20);
        let count = watcher.payloads().len();
        assert_eq!(
            count,
            usize::from(published),
            "expiry {expiry}, delay {delay}, clean start {clean_start}"
        );
        world.disconnect(again, Ending::Abnormal);
        world.pass(20);
        assert!(watcher.take().is_empty(), "the new connection named no will");
    }
}

#[test]
fn a_clean_start_on_an_absent_session_publishes_its_delayed_will_at_once() {
    let (mut world, watcher) = watched();
    let client = world.connect(ConnectOptions::durable("c").will("will", 60));
    world.disconnect(client, Ending::Abnormal);
    assert!(watcher.take().is_empty());
    world.connect(ConnectOptions::clean("c"));
    assert_eq!(watcher.payloads(), ["will"]);
}

#[test]
fn a_removed_session_publishes_its_will() {
    let (mut world, watcher) = watched();
    world.connect(ConnectOptions::durable("c").will("will", 60));
    world.vhost.remove_session("c", world.now, &mut world.effects);
    world.settle();
    assert_eq!(watcher.payloads(), ["will"]);
}

#[test]
fn a_will_can_be_retained() {
    let (mut world, _) = watched();
    let mut options = ConnectOptions::clean("c").will("will", 0);
    if let Some(will) = &mut options.will {
        will.retain = true;
    }
    let client = world.connect(options);
    world.disconnect(client, Ending::Abnormal);
    assert_eq!(world.vhost.retained().len(), 1);
}
