//! Connecting, taking over, expiring.

use crate::support::{ConnectOptions, World};
use tercet_broker::limits::Limits;
use tercet_broker::outbox::CloseReason;
use tercet_broker::vhost::connection::Ending;

#[test]
fn state_is_found_only_where_the_earlier_connection_left_some() {
    // (earlier expiry, earlier connection still there, clean start) -> session present
    for (expiry, there, clean_start, present) in [
        (0, false, false, false),
        (0, true, false, false),
        (0, true, true, false),
        (60, false, false, true),
        (60, true, false, true),
        (60, false, true, false),
        (60, true, true, false),
        (u32::MAX, false, false, true),
    ] {
        let mut world = World::default();
        let first = world.connect(ConnectOptions::durable("c").expiry(expiry));
        world.subscribe(&first, "t", 1);
        let line = std::sync::Arc::clone(&first.line);
        if !there {
            world.disconnect(first, Ending::Normal);
        }
        let second = world.connect(ConnectOptions { clean_start, ..ConnectOptions::durable("c") });
        let case = format!("expiry {expiry}, there {there}, clean start {clean_start}");
        assert_eq!(second.session_present, present, "{case}");
        assert_eq!(line.lock().unwrap().close, there.then_some(CloseReason::TakenOver), "{case}");
        assert_eq!(world.vhost.subscriptions(), usize::from(present), "{case}");
        assert_eq!(world.vhost.sessions().len(), 1, "{case}");
    }
}

#[test]
fn a_session_ends_when_its_expiry_has_passed_and_not_before() {
    let mut world = World::default();
    let client = world.connect(ConnectOptions::durable("c").expiry(10));
    world.subscribe(&client, "t", 1);
    world.pass(60);
    assert_eq!(world.vhost.sessions().len(), 1, "connected");
    world.disconnect(client, Ending::Abnormal);
    world.pass(9);
    assert_eq!(world.vhost.sessions().len(), 1);
    world.pass(1);
    assert_eq!((world.vhost.sessions().len(), world.vhost.subscriptions()), (0, 0));
    assert_eq!(world.effects.counters.sessions_expired, 1);
}

#[test]
fn a_reconnect_in_time_starts_the_expiry_anew() {
    let mut world = World::default();
    for _ in 0..5 {
        let client = world.connect(ConnectOptions::durable("c").expiry(10));
        world.disconnect(client, Ending::Normal);
        world.pass(9);
    }
    assert!(world.connect(ConnectOptions::durable("c").expiry(10)).session_present);
}

#[test]
fn a_client_that_leaves_can_shorten_or_prolong_its_session_but_not_revive_one_that_ends() {
    for (connect, leave, lives) in
        [(100, Some(0), 0), (100, Some(5), 5), (5, Some(100), 100), (0, Some(100), 0)]
    {
        let mut world = World::default();
        let client = world.connect(ConnectOptions::durable("c").expiry(connect));
        world.disconnect_with(client, Ending::Normal, leave);
        let alive = |world: &World| !world.vhost.sessions().is_empty();
        assert_eq!(alive(&world), lives > 0, "{connect} {leave:?}");
        if lives > 0 {
            world.pass(lives - 1);
            assert!(alive(&world), "{connect} {leave:?}");
            world.pass(1);
            assert!(!alive(&world), "{connect} {leave:?}");
        }
    }
}

#[test]
fn a_resume_that_wants_nothing_kept_still_delivers_what_was_kept_and_then_ends() {
    let mut world = World::default();
    let client = world.connect(ConnectOptions::durable("c"));
    world.subscribe(&client, "t", 1);
    world.disconnect(client, Ending::Normal);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "kept", 1);
    let client = world.connect(ConnectOptions::durable("c").expiry(0));
    assert!(client.session_present);
    assert_eq!(world.consume(&client), ["kept"]);
    world.disconnect(client, Ending::Abnormal);
    assert!(world.vhost.sessions().get("c").is_none());
    assert_eq!(world.vhost.durable_records().len(), 0);
}

#[test]
fn the_limit_of_sessions_refuses_new_clients_but_not_known_ones() {
    let mut world = World::with(Limits { max_sessions: 1, ..Limits::default() });
    let client = world.connect(ConnectOptions::durable("c"));
    let request = tercet_broker::vhost::connection::Connect {
        client_id: "other".into(),
        user: None,
        clean_start: true,
        expiry: 0,
        window: 1,
        will: None,
        outbox: Box::new(crate::support::TestOutbox {
            connection: client.connection,
            line: std::sync::Arc::clone(&client.line),
        }),
    };
    assert!(world.vhost.connect(request, world.now, &mut world.effects).is_err());
    assert!(world.connect(ConnectOptions::durable("c")).session_present);
}

#[test]
fn an_administrator_ends_a_session_with_its_connection() {
    let mut world = World::default();
    let client = world.connect(ConnectOptions::durable("c"));
    world.subscribe(&client, "t", 1);
    assert!(world.vhost.remove_session("c", world.now, &mut world.effects));
    world.settle();
    assert_eq!(client.closed(), Some(CloseReason::AdministrativeAction));
    assert!(!world.vhost.remove_session("c", world.now, &mut world.effects));
    assert_eq!(world.vhost.subscriptions(), 0);
    assert!(!world.connect(ConnectOptions::durable("c")).session_present);
}

#[test]
fn the_disconnect_of_an_earlier_connection_does_not_touch_the_new_one() {
    let mut world = World::default();
    let first = world.connect(ConnectOptions::durable("c").will("will", 0));
    let second = world.connect(ConnectOptions::durable("c"));
    world.subscribe(&second, "#", 0);
    world.disconnect(first, Ending::Abnormal);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", "x", 0);
    assert_eq!(second.payloads(), ["x"]);
}
