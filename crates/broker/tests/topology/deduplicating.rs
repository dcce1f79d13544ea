//! Exchanges and queues that take a message once.

use tercet_amqp::field::{TableBuf, Value};
use tercet_broker::exchange::request::{DeclareExchange, DeclareQueue};

use crate::world::{World, refused, table};

const ON: (&str, Value<'static>) = ("x-message-deduplication", Value::Bool(true));

fn mark(value: &str) -> TableBuf {
    table(&[("x-deduplication-header", value.into())])
}

#[test]
fn an_exchange_lets_a_message_through_once() {
    for (kind, arguments) in [
        ("fanout", table(&[ON, ("x-cache-size", Value::I32(10))])),
        ("x-message-deduplication", table(&[("x-cache-size", Value::I32(10))])),
        ("x-delayed-message", table(&[ON, ("x-delayed-type", "fanout".into())])),
    ] {
        let mut world = World::default();
        world.exchange_with("x", kind, &arguments);
        world.queue("q");
        world.bind("x", "q", "");
        for (payload, value) in [("a", "1"), ("b", "2"), ("c", "1"), ("d", "2"), ("e", "3")] {
            assert!(
                world.publish_with("x", "", &mark(value), payload),
                "a duplicate is no news to its publisher"
            );
        }
        world.publish("x", "", "unmarked");
        world.publish("x", "", "unmarked");
        assert_eq!(world.payloads("q"), ["a", "b", "e", "unmarked", "unmarked"], "{kind}");
    }
}

#[test]
fn a_message_that_is_to_come_later_counts_as_let_through() {
    let mut world = World::default();
    world.exchange_with("x", "x-delayed-message", &table(&[ON, ("x-delayed-type", "fanout".into())]));
    world.queue("q");
    world.bind("x", "q", "");
    let headers = table(&[("x-deduplication-header", "1".into()), ("x-delay", Value::I32(10))]);
    world.publish_with("x", "", &headers, "first");
    world.publish_with("x", "", &mark("1"), "second");
    world.pass(10);
    assert_eq!(world.payloads("q"), ["first"]);
}

#[test]
fn the_memory_of_an_exchange_is_bounded_in_number_and_time() {
    let mut world = World::default();
    let arguments = [ON, ("x-cache-size", Value::I32(2)), ("x-cache-ttl", Value::I32(1000))];
    world.exchange_with("x", "fanout", &table(&arguments));
    world.queue("q");
    world.bind("x", "q", "");
    for (payload, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "1"), ("e", "3")] {
        world.publish_with("x", "", &mark(value), payload);
    }
    assert_eq!(world.payloads("q"), ["a", "b", "c", "d"]);
    world.pass(999);
    world.publish_with("x", "", &mark("3"), "f");
    world.pass(1);
    world.publish_with("x", "", &mark("3"), "g");
    assert_eq!(world.payloads("q"), ["a", "b", "c", "d", "g"]);
}

#[test]
fn an_exchange_forgets_with_its_end() {
    let mut world = World::default();
    for _ in 0..2 {
        world.exchange_with("x", "fanout", &table(&[ON]));
        world.queue("q");
        world.bind("x", "q", "");
        world.publish_with("x", "", &mark("1"), "m");
        assert_eq!(world.payloads("q"), ["m"]);
        world.try_delete_exchange("x", false).expect("allowed");
        world.delete_queue("q");
    }
}

#[test]
fn what_a_queue_refuses_may_come_again() {
    let mut world = World::default();
    world.exchange_with("x", "fanout", &table(&[ON]));
    let arguments = table(&[("x-max-length", Value::I32(1)), ("x-overflow", "reject-publish".into())]);
    let request = DeclareQueue { name: "q", arguments: arguments.as_table(), ..DeclareQueue::default() };
    world.try_queue(&request).expect("valid");
    world.bind("x", "q", "");
    world.publish_with("x", "", &mark("1"), "a");
    world.publish_with("x", "", &mark("2"), "refused");
    let (now, effects) = (world.now, &mut world.effects);
    world.vhost.purge_queue(&world.actor, "q", now, effects).expect("there");
    world.publish_with("x", "", &mark("2"), "b");
    assert_eq!(world.payloads("q"), ["b"]);
}

#[test]
fn a_queue_takes_a_message_once() {
    let mut world = World::default();
    let named = [ON, ("x-deduplication-header", "order".into()), ("x-cache-size", Value::I32(2))];
    for (name, arguments, header) in [("q", &named[..1], "x-deduplication-header"), ("n", &named, "order")] {
        let arguments = table(arguments);
        let request = DeclareQueue { name, arguments: arguments.as_table(), ..DeclareQueue::default() };
        world.try_queue(&request).expect("valid");
        for (payload, value) in [("a", "1"), ("b", "1"), ("c", "2")] {
            world.publish_with("", name, &table(&[(header, value.into())]), payload);
        }
        assert_eq!(world.payloads(name), ["a", "c"]);
    }
    world.publish_with("", "n", &table(&[("order", "3".into())]), "d");
    world.publish_with("", "n", &table(&[("order", "1".into())]), "e");
    assert_eq!(world.payloads("n"), ["a", "c", "d", "e"]);
}

#[test]
fn bad_arguments_are_refused() {
    let mut world = World::default();
    for bad in
        [("x-cache-size", Value::I32(0)), ("x-cache-ttl", "1".into()), ("x-deduplication-header", 1.into())]
    {
        let arguments = table(&[ON, bad]);
        let arguments = arguments.as_table();
        let exchange = DeclareExchange { name: "x", kind: "fanout", arguments, ..DeclareExchange::default() };
        assert!(refused(world.try_declare(&exchange)).starts_with("PRECONDITION_FAILED"), "{bad:?}");
        let queue = DeclareQueue { name: "q", arguments, ..DeclareQueue::default() };
        assert!(refused(world.try_queue(&queue)).starts_with("PRECONDITION_FAILED"), "{bad:?}");
    }
}
