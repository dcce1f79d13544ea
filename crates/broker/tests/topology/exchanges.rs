//! Declaring and deleting exchanges.

use tercet_amqp::field::Value;
use tercet_broker::exchange::request::DeclareExchange;

use crate::world::{World, refused, table};

fn plain() -> DeclareExchange<'static> {
    DeclareExchange { name: "x", kind: "direct", ..DeclareExchange::default() }
}

#[test]
fn some_exchanges_are_always_there() {
    let mut world = World::default();
    let names: Vec<(String, &str, bool)> = world
        .vhost
        .exchanges()
        .into_iter()
        .map(|exchange| (exchange.name.to_string(), exchange.kind, exchange.internal))
        .collect();
    let expected = [
        ("", "direct", false),
        ("amq.direct", "direct", false),
        ("amq.fanout", "fanout", false),
        ("amq.headers", "headers", false),
        ("amq.match", "headers", false),
        ("amq.rabbitmq.trace", "topic", true),
        ("amq.topic", "topic", false),
    ];
    assert_eq!(names, expected.map(|(name, kind, internal)| (name.to_owned(), kind, internal)));
    // They may be declared as what they are.
    for (name, kind, internal) in expected.into_iter().skip(1) {
        let durable = DeclareExchange { name, kind, internal, durable: true, ..plain() };
        assert_eq!(world.try_declare(&durable), Ok(()), "{name}");
        let text = format!("ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed");
        assert_eq!(refused(world.try_delete_exchange(name, false)), text);
    }
    let denied = "ACCESS_REFUSED - operation not permitted on the default exchange";
    assert_eq!(refused(world.try_declare(&DeclareExchange { name: "", ..plain() })), denied);
    let passive = DeclareExchange { name: "", passive: true, ..plain() };
    assert_eq!(refused(world.try_declare(&passive)), denied);
    assert_eq!(refused(world.try_delete_exchange("", false)), denied);
}

#[test]
fn what_is_declared_again_has_to_be_the_same() {
    let mut world = World::default();
    world.try_declare(&plain()).unwrap();
    world.try_declare(&plain()).unwrap();
    let alternate = table(&[("alternate-exchange", Value::from("a"))]);
    let other = table(&[("foo", Value::from("bar"))]);
    for (request, difference) in [
        (DeclareExchange { kind: "fanout", ..plain() }, "'type' R 'fanout' C 'direct'"),
        (DeclareExchange { kind: "x-random", ..plain() }, "'type' R ''x-random'' C 'direct'"),
        (DeclareExchange { durable: true, ..plain() }, "'durable' R 'true' C 'false'"),
        (DeclareExchange { auto_delete: true, ..plain() }, "'auto_delete' R 'true' C 'false'"),
        (DeclareExchange { internal: true, ..plain() }, "'internal' R 'true' C 'false'"),
        (
            DeclareExchange { arguments: alternate.as_table(), ..plain() },
            "'alternate-exchange' R the value 'a' of type 'longstr' C none",
        ),
    ] {
        let expected = difference
            .replace(" R ", " for exchange 'x' in vhost '/': received ")
            .replace(" C ", " but current is ");
        let expected = format!("PRECONDITION_FAILED - inequivalent arg {expected}");
        assert_eq!(refused(world.try_declare(&request)), expected);
    }
    let unknown = DeclareExchange { arguments: other.as_table(), ..plain() };
    assert_eq!(world.try_declare(&unknown), Ok(()), "unknown arguments make no difference");
    let passive = DeclareExchange { kind: "nonsense", durable: true, passive: true, ..plain() };
    assert_eq!(world.try_declare(&passive), Ok(()), "who only asks compares nothing");
}

#[test]
fn what_cannot_be_declared_is_refused() {
    let mut world = World::default();
    let text = |world: &mut World, request: &DeclareExchange<'_>| refused(world.try_declare(request));
    assert_eq!(
        text(&mut world, &DeclareExchange { kind: "nonsense", ..plain() }),
        "PRECONDITION_FAILED - unknown exchange type 'nonsense'"
    );
    assert_eq!(
        text(&mut world, &DeclareExchange { name: "amq.new", ..plain() }),
        "ACCESS_REFUSED - exchange name 'amq.new' contains reserved prefix 'amq.*'"
    );
    for name in ["missing", "amq.missing"] {
        assert_eq!(
            text(&mut world, &DeclareExchange { name, passive: true, ..plain() }),
            format!("NOT_FOUND - no exchange '{name}' in vhost '/'")
        );
    }
    let odd = table(&[("alternate-exchange", Value::I32(1))]);
    assert_eq!(
        text(&mut world, &DeclareExchange { arguments: odd.as_table(), ..plain() }),
        "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'x' in vhost '/'"
    );
    let both = table(&[("hash-header", Value::from("h")), ("hash-property", Value::from("message_id"))]);
    assert_eq!(
        text(
            &mut world,
            &DeclareExchange { kind: "x-consistent-hash", arguments: both.as_table(), ..plain() }
        ),
        "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive"
    );
    assert_eq!(world.vhost.exchanges().len(), 7);
}

#[test]
fn line_breaks_in_names_are_ignored() {
    let mut world = World::default();
    world.try_declare(&DeclareExchange { name: "a\r\nb\n", ..plain() }).unwrap();
    assert!(world.vhost.find_exchange("ab").is_some());
    world.try_delete_exchange("\nab", false).unwrap();
    assert!(world.vhost.find_exchange("ab").is_none());
}

#[test]
fn an_exchange_in_use_is_not_deleted_if_that_was_asked_for() {
    let mut world = World::default();
    world.exchange("x", "direct");
    world.exchange("y", "fanout");
    world.queue("q");
    world.bind("x", "q", "k");
    world.bind_exchange("y", "x", "");
    let in_use = "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use";
    assert_eq!(refused(world.try_delete_exchange("x", true)), in_use);
    world.unbind("x", "q", "k");
    assert_eq!(world.try_delete_exchange("x", true), Ok(()), "to be a destination is no use");
    assert_eq!(world.try_delete_exchange("x", true), Ok(()), "what does not exist is deleted");
    assert!(world.vhost.bindings().iter().all(|binding| binding.source.is_empty()), "the bindings are gone");
}

#[test]
fn an_exchange_may_go_with_the_last_binding_from_it() {
    let mut world = World::default();
    for name in ["x", "y", "z"] {
        world.try_declare(&DeclareExchange { name, kind: "fanout", auto_delete: true, ..plain() }).unwrap();
    }
    world.queue("q");
    world.queue("r");
    assert!(world.vhost.find_exchange("x").is_some(), "before there was one it stays");
    world.bind("x", "q", "");
    world.bind("x", "r", "");
    world.bind_exchange("y", "x", "");
    world.bind_exchange("z", "y", "");
    world.unbind("x", "q", "");
    assert!(world.vhost.find_exchange("x").is_some());
    world.delete_queue("r");
    let left: Vec<_> = world
        .vhost
        .exchanges()
        .iter()
        .filter(|info| info.auto_delete)
        .map(|info| info.name.clone())
        .collect();
    assert!(left.is_empty(), "one after the other: {left:?}");
}

#[test]
fn names_and_keys_fit_a_short_string() {
    let mut world = World::default();
    let long = "n".repeat(256);
    let exchange = DeclareExchange { name: &long, ..plain() };
    let expected = |what: &str| format!("PRECONDITION_FAILED - {what} of more than 255 bytes");
    assert_eq!(refused(world.try_declare(&exchange)), expected("exchange name"));
    let queue = tercet_broker::exchange::request::DeclareQueue { name: &long, ..Default::default() };
    assert_eq!(refused(world.try_queue(&queue)), expected("queue name"));
    world.queue(&long[1..]);
    let to = tercet_broker::exchange::request::Destination::Queue(&long[1..]);
    let bound = world.try_bind("amq.direct", to, &long, tercet_amqp::field::Table::default());
    assert_eq!(refused(bound), expected("binding key"));
}
