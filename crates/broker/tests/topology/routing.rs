//! Where messages go, by the type of the exchange.

use tercet_amqp::field::{TableBuf, Value};
use tercet_broker::exchange::request::Destination;

use crate::world::{World, table};

#[test]
fn each_type_routes_by_its_rule() {
    let mut world = World::default();
    for name in ["a", "b", "c"] {
        world.queue(name);
    }
    for (exchange, kind) in [("d", "direct"), ("f", "fanout"), ("t", "topic"), ("m", "x-modulus-hash")] {
        world.exchange(exchange, kind);
        world.bind(exchange, "a", "one.two");
        world.bind(exchange, "b", "one.*");
        world.bind(exchange, "c", "#");
    }
    let none: [&str; 0] = [];
    assert_eq!(world.key_reaches("", "a"), ["a"]);
    assert_eq!(world.key_reaches("", "z"), none);
    assert_eq!(world.key_reaches("d", "one.two"), ["a"]);
    assert_eq!(world.key_reaches("d", "one.three"), none);
    assert_eq!(world.key_reaches("f", "whatever"), ["a", "b", "c"]);
    assert_eq!(world.key_reaches("t", "one.two"), ["a", "b", "c"]);
    assert_eq!(world.key_reaches("t", "one"), ["c"]);
    assert_eq!(world.key_reaches("m", "one").len(), 1);
}

#[test]
fn amq_topic_routes_as_any_other_topic_exchange() {
    let mut world = World::default();
    world.exchange("own", "topic");
    let keys = [
        "", "a", "a.b", "a..b", ".", "$a", "$a.b", "a/b", "a.b/c", "%", "%25", "%2E", "a%2Eb", "+", "a.+",
        "*", "#", "a.*",
    ];
    let patterns = [
        "#", "*", "a.*", "a.#", "#.b", "*.*", "$a.#", "", "a/b", "%", "%25", "%2E", "a%2Eb", "+", "%2B",
        "a.#.b",
    ];
    for (index, pattern) in patterns.into_iter().enumerate() {
        for exchange in ["own", "amq.topic"] {
            let queue = format!("{}-{index}", exchange.trim_start_matches("amq."));
            world.queue(&queue);
            world.bind(exchange, &queue, pattern);
        }
    }
    for key in keys {
        let reached = |world: &mut World, exchange: &str| -> Vec<String> {
            let prefix = format!("{}-", exchange.trim_start_matches("amq."));
            let reached = world.key_reaches(exchange, key);
            reached.iter().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect()
        };
        let own = reached(&mut world, "own");
        assert_eq!(reached(&mut world, "amq.topic"), own, "{key:?}");
        assert!(own.contains(&"0".to_owned()), "# matches {key:?}");
    }
}

#[test]
fn headers_decide_where_nothing_else_does() {
    let mut world = World::default();
    for (queue, mode) in [("all", "all"), ("any", "any")] {
        world.queue(queue);
        let wanted =
            table(&[("x-match", Value::from(mode)), ("color", Value::from("red")), ("size", Value::I32(5))]);
        world.try_bind("amq.headers", Destination::Queue(queue), "", wanted.as_table()).unwrap();
    }
    world.queue("everything");
    world.bind("amq.headers", "everything", "");
    let (red, five) = (("color", Value::from("red")), ("size", Value::I64(5)));
    assert_eq!(world.reached("amq.headers", "k", &table(&[red, five])), ["all", "any", "everything"]);
    assert_eq!(world.reached("amq.headers", "k", &table(&[red])), ["any", "everything"]);
    assert_eq!(world.reached("amq.headers", "k", &table(&[five])), ["any", "everything"]);
    assert_eq!(world.reached("amq.headers", "k", &TableBuf::new()), ["everything"]);
}

#[test]
fn a_hash_may_be_of_a_header() {
    let mut world = World::default();
    world.exchange_with("h", "x-consistent-hash", &table(&[("hash-header", Value::from("id"))]));
    for name in ["a", "b", "c", "d"] {
        world.queue(name);
        world.bind("h", name, "10");
    }
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..60 {
        let id = table(&[("id", Value::I32(n))]);
        let first = world.reached("h", "same key", &id);
        assert_eq!(first.len(), 1);
        assert_eq!(world.reached("h", "another key", &id), first, "the key makes no difference");
        seen.extend(first);
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn what_leads_nowhere_goes_to_the_alternate_exchange() {
    let mut world = World::default();
    for (name, alternate) in [("a", "b"), ("b", "c"), ("c", "missing"), ("loop", "loop2"), ("loop2", "loop")]
    {
        let arguments = table(&[("alternate-exchange", Value::from(alternate))]);
        world.exchange_with(name, "direct", &arguments);
    }
    let none: [&str; 0] = [];
    for (exchange, queue) in [("a", "qa"), ("b", "qb"), ("c", "qc")] {
        world.queue(queue);
        world.bind(exchange, queue, queue);
    }
    assert_eq!(world.key_reaches("a", "qa"), ["qa"]);
    assert_eq!(world.key_reaches("a", "qb"), ["qb"]);
    assert_eq!(world.key_reaches("a", "qc"), ["qc"], "one after the other");
    assert_eq!(world.key_reaches("a", "nowhere"), none);
    assert_eq!(world.key_reaches("loop", "nowhere"), none);
    world.exchange("missing", "fanout");
    world.bind("missing", "qa", "");
    assert_eq!(world.key_reaches("a", "nowhere"), ["qa"], "it exists by now");
}

#[test]
fn an_exchange_that_leads_to_another_leads_somewhere() {
    let mut world = World::default();
    world.exchange_with("x", "direct", &table(&[("alternate-exchange", Value::from("amq.fanout"))]));
    world.exchange("dead end", "direct");
    world.queue("q");
    world.bind("amq.fanout", "q", "");
    world.bind_exchange("x", "dead end", "k");
    let none: [&str; 0] = [];
    assert_eq!(world.key_reaches("x", "other"), ["q"]);
    assert_eq!(world.key_reaches("x", "k"), none);
}

#[test]
fn an_alternate_exchange_may_be_the_default_one() {
    let mut world = World::default();
    world.exchange_with("x", "direct", &table(&[("alternate-exchange", Value::from(""))]));
    world.queue("q");
    assert_eq!(world.key_reaches("x", "q"), ["q"]);
    world.delete_queue("q");
    assert!(!world.publish("x", "q", ""));
    world.queue("q");
    assert_eq!(world.key_reaches("x", "q"), ["q"]);
}

#[test]
fn a_route_that_is_kept_follows_every_change() {
    let mut world = World::default();
    let none: [&str; 0] = [];
    world.exchange("x", "direct");
    world.exchange("y", "fanout");
    world.queue("q");
    world.queue("r");
    assert_eq!(world.key_reaches("x", "k"), none);
    world.bind("x", "q", "k");
    assert_eq!(world.key_reaches("x", "k"), ["q"]);
    world.bind_exchange("x", "y", "k");
    assert_eq!(world.key_reaches("x", "k"), ["q"]);
    world.bind("y", "r", "");
    assert_eq!(world.key_reaches("x", "k"), ["q", "r"]);
    world.delete_queue("q");
    assert_eq!(world.key_reaches("x", "k"), ["r"]);
    world.queue("q");
    assert_eq!(world.key_reaches("x", "k"), ["r"], "another queue of that name is not bound");
    assert_eq!(world.key_reaches("", "q"), ["q"]);
    world.delete_queue("q");
    assert_eq!(world.key_reaches("", "q"), none);
    world.queue("q");
    assert_eq!(world.key_reaches("", "q"), ["q"]);
    world.try_delete_exchange("y", false).unwrap();
    assert_eq!(world.key_reaches("x", "k"), none);
}
