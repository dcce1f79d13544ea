//! Tables that must not grow with what clients do.

use crate::support::{ConnectOptions, World, subscription};
use tercet_broker::filter::RetainHandling;
use tercet_broker::limits::Limits;
use tercet_broker::vhost::connection::Ending;
use tercet_broker::vhost::subscribing::Refused;

#[test]
fn a_client_that_reconnects_in_a_loop_has_one_deadline() {
    let mut world = World::default();
    for round in 0..1000 {
        let expiry = 60 + round % 7;
        let client = world.connect(ConnectOptions::durable("c").expiry(expiry).will("w", 30));
        assert_eq!(world.vhost.next_deadline(), None, "connected: nothing is due");
        world.disconnect(client, Ending::Abnormal);
        let at = world.vhost.next_deadline().expect("the will is due");
        assert_eq!(at, world.now.monotonic + std::time::Duration::from_secs(30));
    }
    world.pass(100);
    assert_eq!(world.vhost.next_deadline(), None);
    assert!(world.vhost.sessions().is_empty());
    assert_eq!(world.effects.counters.wills, 1);
    assert_eq!(world.effects.counters.sessions_expired, 1);
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let mut world = World::default();
    for round in 0..500 {
        let mut client = world.connect(ConnectOptions::clean(&format!("c{round}")).will("w", 60));
        for filter in ["a/b", "a/#", "+", "$share/g/x", "$share/h/#", "$queue/y"] {
            world.subscribe(&client, filter, 2);
        }
        world.publish(&mut client, "a/b", "x", 2);
        world.publish(&mut client, "x", "x", 1);
        let ending = if round % 2 == 0 { Ending::Normal } else { Ending::Abnormal };
        world.disconnect(client, ending);
    }
    assert!(world.vhost.sessions().is_empty());
    assert_eq!(world.vhost.subscriptions(), 0);
    assert_eq!(world.vhost.next_deadline(), None);
    assert_eq!(world.journal.len(), 0);
}

#[test]
fn subscriptions_are_limited_per_session_and_replacing_one_is_free() {
    let mut world = World::with(Limits { max_subscriptions: 2, ..Limits::default() });
    let client = world.connect(ConnectOptions::clean("c"));
    world.subscribe(&client, "a", 1);
    world.subscribe(&client, "$share/g/b", 1);
    for filter in ["c", "$share/g/c"] {
        let refused = world.subscribe_with(&client, filter, subscription(1), RetainHandling::DoNotSend);
        assert_eq!(refused, Err(Refused::Quota));
    }
    world.subscribe(&client, "a", 2);
    world.subscribe(&client, "$share/g/b", 2);
    assert_eq!(world.vhost.subscriptions(), 2);
}

#[test]
fn a_connection_that_lost_its_session_cannot_subscribe() {
    let mut world = World::default();
    for clean_start in [false, true] {
        let old = world.connect(ConnectOptions::durable("c"));
        let _new = world.connect(ConnectOptions { clean_start, ..ConnectOptions::durable("c") });
        for filter in ["t", "$share/g/t"] {
            let refused = world.subscribe_with(&old, filter, subscription(1), RetainHandling::DoNotSend);
            assert_eq!(refused, Err(Refused::Gone));
        }
        assert_eq!(world.vhost.subscriptions(), 0);
    }
}

#[test]
fn the_work_of_one_tick_is_bounded() {
    let mut world = World::default();
    for number in 0..2500 {
        let client = world.connect(ConnectOptions::durable(&format!("c{number}")).expiry(5));
        world.disconnect(client, Ending::Normal);
    }
    world.now = world.now.after(std::time::Duration::from_secs(6));
    assert!(world.vhost.tick(world.now, &mut world.effects));
    assert_eq!(world.vhost.sessions().len(), 1500);
    world.tick();
    assert!(world.vhost.sessions().is_empty());
}

#[test]
fn what_happens_to_a_session_is_told_as_events() {
    let mut world = World::default();
    let client = world.connect(ConnectOptions::durable("c").expiry(5).will("w", 0));
    world.disconnect(client, Ending::Abnormal);
    let client = world.connect(ConnectOptions::durable("c").expiry(5));
    world.disconnect(client, Ending::Normal);
    world.pass(5);
    let told: Vec<String> = world.events.0.lock().unwrap().iter().map(|event| format!("{event:?}")).collect();
    let expected = [
        r#"Connected { client_id: "c", session_present: false }"#,
        r#"Disconnected { client_id: "c" }"#,
        r#"WillPublished { client_id: "c", topic: "w" }"#,
        r#"Connected { client_id: "c", session_present: true }"#,
        r#"Disconnected { client_id: "c" }"#,
        r#"SessionEnded { client_id: "c", expired: true }"#,
    ];
    assert_eq!(told, expected);
}
