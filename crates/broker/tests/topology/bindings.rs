//! Binding and unbinding.

use tercet_amqp::field::{Table, TableBuf, Value};
use tercet_broker::exchange::request::Destination;

use crate::world::{World, refused, table};

#[test]
fn a_binding_is_made_once_however_often_it_is_asked_for() {
    let mut world = World::default();
    world.queue("q");
    let in_order = table(&[("a", Value::I32(1)), ("b", Value::I32(2))]);
    let other_order = table(&[("b", Value::I32(2)), ("a", Value::I32(1))]);
    for arguments in [&in_order, &other_order, &in_order] {
        world.try_bind("amq.direct", Destination::Queue("q"), "k", arguments.as_table()).unwrap();
    }
    let count = |world: &World| world.vhost.bindings().iter().filter(|b| &*b.source == "amq.direct").count();
    assert_eq!(count(&world), 1);
    world.bind("amq.direct", "q", "k");
    assert_eq!(count(&world), 2, "other arguments make another binding");
    assert_eq!(world.key_reaches("amq.direct", "k"), ["q"]);
    world.unbind("amq.direct", "q", "k");
    assert_eq!(world.key_reaches("amq.direct", "k"), ["q"], "one is left");
    world.unbind("amq.direct", "q", "other");
    assert_eq!(count(&world), 1);
}

#[test]
fn both_ends_of_a_binding_exist() {
    let mut world = World::default();
    world.queue("q");
    let bind = |world: &mut World, source: &str, destination: Destination<'_>| {
        refused(world.try_bind(source, destination, "k", Table::default()))
    };
    let queue = Destination::Queue;
    assert_eq!(bind(&mut world, "nox", queue("noq")), "NOT_FOUND - no exchange 'nox' in vhost '/'");
    assert_eq!(bind(&mut world, "amq.direct", queue("noq")), "NOT_FOUND - no queue 'noq' in vhost '/'");
    let exchange = Destination::Exchange("nox");
    assert_eq!(bind(&mut world, "amq.direct", exchange), "NOT_FOUND - no exchange 'nox' in vhost '/'");
    for (source, destination) in
        [("nox", queue("q")), ("amq.direct", queue("noq")), ("amq.direct", Destination::Exchange("nox"))]
    {
        assert_eq!(
            world.try_unbind(source, destination, "k"),
            Ok(()),
            "what is not bound need not be unbound"
        );
    }
}

#[test]
fn the_default_exchange_is_left_alone() {
    let mut world = World::default();
    world.queue("q");
    let denied = "ACCESS_REFUSED - operation not permitted on the default exchange";
    for (source, destination) in [
        ("", Destination::Queue("q")),
        ("", Destination::Exchange("amq.direct")),
        ("amq.direct", Destination::Exchange("")),
    ] {
        assert_eq!(refused(world.try_bind(source, destination, "k", Table::default())), denied);
        assert_eq!(refused(world.try_unbind(source, destination, "k")), denied);
    }
    let reply = Destination::Queue("amq.rabbitmq.reply-to.abc");
    let bound = refused(world.try_bind("amq.direct", reply, "k", Table::default()));
    assert!(bound.starts_with("ACCESS_REFUSED"), "{bound}");
}

#[test]
fn keys_and_arguments_are_judged_by_the_type_of_the_exchange() {
    let mut world = World::default();
    world.queue("q");
    world.exchange("hash", "x-consistent-hash");
    let bind = |world: &mut World, source: &str, key: &str, arguments: &TableBuf| {
        world.try_bind(source, Destination::Queue("q"), key, arguments.as_table())
    };
    let none = TableBuf::new();
    let bad = table(&[("x-match", Value::from("some"))]);
    assert!(refused(bind(&mut world, "amq.headers", "", &bad)).contains("Invalid x-match field value"));
    assert!(refused(bind(&mut world, "hash", "heavy", &none)).contains("must be an integer"));
    for topic in ["amq.topic", "amq.rabbitmq.trace"] {
        assert!(refused(bind(&mut world, topic, "#.a.#.b.#", &none)).contains("more than 2 '#' words"));
        assert_eq!(bind(&mut world, topic, "#.a.#", &none), Ok(()));
    }
    assert_eq!(bind(&mut world, "amq.direct", "#.#.#", &bad), Ok(()));
}

#[test]
fn bindings_go_with_their_ends() {
    let mut world = World::default();
    for name in ["x", "y"] {
        world.exchange(name, "fanout");
    }
    world.queue("q");
    world.bind("x", "q", "");
    world.bind("amq.topic", "q", "#");
    world.bind_exchange("x", "y", "");
    world.bind_exchange("y", "x", "");
    world.bind("y", "q", "");
    assert_eq!(world.key_reaches("x", ""), ["q"]);
    world.try_delete_exchange("y", false).unwrap();
    assert_eq!(world.key_reaches("x", ""), ["q"]);
    world.delete_queue("q");
    let sources: Vec<_> = world.vhost.bindings().iter().map(|binding| binding.source.clone()).collect();
    assert!(sources.is_empty(), "{sources:?}");
    assert!(!world.publish("amq.topic", "a", ""), "nor is one left in the topic space");
    assert_eq!(world.vhost.subscriptions(), 0);
}

#[test]
fn whoever_binds_gets_the_recent_history() {
    let mut world = World::default();
    world.exchange_with("x", "x-recent-history", &table(&[("x-recent-history-length", Value::I32(2))]));
    for payload in ["1", "2", "3"] {
        world.publish("x", "k", payload);
    }
    let no_store = table(&[("x-recent-history-no-store", Value::Bool(true))]);
    world.publish_with("x", "k", &no_store, "secret");
    world.queue("q");
    world.bind("x", "q", "");
    assert_eq!(world.payloads("q"), ["2", "3"]);
    world.bind("x", "q", "");
    assert_eq!(world.payloads("q"), ["2", "3"], "it was bound already");
    world.publish("x", "k", "4");
    assert_eq!(world.payloads("q"), ["2", "3", "4"]);
    world.queue("behind");
    world.exchange("y", "direct");
    world.bind("y", "behind", "k");
    world.bind_exchange("x", "y", "");
    assert_eq!(world.payloads("behind"), ["3", "4"], "through an exchange as well");
}

#[test]
fn the_bindings_of_a_queue_are_shown() {
    let mut world = World::default();
    world.queue("q");
    world.bind("amq.topic", "q", "a.*");
    world.bind("amq.direct", "q", "k");
    let queue = world.vhost.find_queue("q").unwrap();
    let shown: Vec<(String, String)> = world
        .vhost
        .bindings_of(&queue)
        .into_iter()
        .map(|info| (info.source.to_string(), info.key.to_string()))
        .collect();
    let expected = [("", "q"), ("amq.direct", "k"), ("amq.topic", "a.*")];
    assert_eq!(shown, expected.map(|(source, key)| (source.to_owned(), key.to_owned())));
}
