//! Bindings between exchanges in every shape, cycles included, against a plain search.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tercet_amqp::field::{TableBuf, Value};

use crate::world::{World, table};

const EXCHANGES: [(&str, &str); 5] =
    [("d", "direct"), ("f", "fanout"), ("t", "topic"), ("g", "fanout"), ("amq.topic", "topic")];
const KEYS: [&str; 3] = ["a", "b", "a.b"];
const PATTERNS: [&str; 6] = ["a", "b", "a.b", "#", "a.*", "*"];

#[derive(Clone, Debug)]
struct Shape {
    /// From, to, pattern.
    between: Vec<(usize, usize, usize)>,
    /// From, queue, pattern.
    to_queues: Vec<(usize, usize, usize)>,
    alternates: Vec<Option<usize>>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let exchange = 0..EXCHANGES.len();
    let between = prop::collection::vec((exchange.clone(), exchange.clone(), 0..PATTERNS.len()), 0..12);
    let to_queues = prop::collection::vec((exchange.clone(), 0_usize..4, 0..PATTERNS.len()), 0..10);
    // `amq.topic` has no arguments.
    let alternates = prop::collection::vec(prop::option::of(exchange), EXCHANGES.len() - 1);
    (between, to_queues, alternates).prop_map(|(between, to_queues, alternates)| Shape {
        between,
        to_queues,
        alternates,
    })
}

fn word_match(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => (0..=key.len()).any(|skip| word_match(rest, &key[skip..])),
        (["*", rest @ ..], [_, key @ ..]) => word_match(rest, key),
        ([word, rest @ ..], [first, key @ ..]) => word == first && word_match(rest, key),
        _ => false,
    }
}

fn matches(exchange: usize, pattern: usize, key: &str) -> bool {
    let pattern = PATTERNS[pattern];
    match EXCHANGES[exchange].1 {
        "direct" => pattern == key,
        "fanout" => true,
        _ => {
            let words = |text: &'static str| text.split('.').collect::<Vec<_>>();
            word_match(&words(pattern), &key.split('.').collect::<Vec<_>>())
        }
    }
}

/// The rules, read literally.
fn reachable(shape: &Shape, from: usize, key: &str) -> Vec<String> {
    let (mut seen, mut pending, mut queues) = (BTreeSet::from([from]), vec![from], BTreeSet::new());
    while let Some(exchange) = pending.pop() {
        let mut routed = false;
        for (_, to, _) in shape.between.iter().filter(|(at, _, p)| *at == exchange && matches(*at, *p, key)) {
            routed = true;
            if seen.insert(*to) {
                pending.push(*to);
            }
        }
        for (_, queue, _) in
            shape.to_queues.iter().filter(|(at, _, p)| *at == exchange && matches(*at, *p, key))
        {
            routed = true;
            queues.insert(format!("q{queue}"));
        }
        let alternate = shape.alternates.get(exchange).copied().flatten();
        if let Some(alternate) = alternate.filter(|_| !routed)
            && seen.insert(alternate)
        {
            pending.push(alternate);
        }
    }
    queues.into_iter().collect()
}

fn build(shape: &Shape) -> World {
    let mut world = World::default();
    for ((name, kind), alternate) in EXCHANGES.iter().zip(&shape.alternates) {
        let arguments = match alternate {
            Some(other) => table(&[("alternate-exchange", Value::from(EXCHANGES[*other].0))]),
            None => TableBuf::new(),
        };
        world.exchange_with(name, kind, &arguments);
    }
    (0..4).for_each(|queue| world.queue(&format!("q{queue}")));
    for (from, to, pattern) in &shape.between {
        world.bind_exchange(EXCHANGES[*from].0, EXCHANGES[*to].0, PATTERNS[*pattern]);
    }
    for (from, queue, pattern) in &shape.to_queues {
        world.bind(EXCHANGES[*from].0, &format!("q{queue}"), PATTERNS[*pattern]);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_queue_that_is_reachable_gets_a_message_once(shape in shape()) {
        let mut world = build(&shape);
        for (index, (exchange, _)) in EXCHANGES.iter().enumerate() {
            for key in KEYS {
                let expected = reachable(&shape, index, key);
                // Found by a search, then by the route that was kept.
                prop_assert_eq!(&world.key_reaches(exchange, key), &expected, "{} {}", exchange, key);
                prop_assert_eq!(&world.key_reaches(exchange, key), &expected, "{} {} again", exchange, key);
            }
        }
    }

    #[test]
    fn what_was_made_can_be_unmade(shape in shape()) {
        let mut world = build(&shape);
        let mut left = BTreeMap::new();
        for (from, to, pattern) in &shape.between {
            let destination = tercet_broker::exchange::request::Destination::Exchange(EXCHANGES[*to].0);
            world.try_unbind(EXCHANGES[*from].0, destination, PATTERNS[*pattern]).unwrap();
        }
        for (from, queue, pattern) in &shape.to_queues {
            left.entry(format!("q{queue}")).or_insert((from, pattern));
        }
        left.keys().for_each(|queue| { world.delete_queue(queue); });
        let sources: Vec<_> =
            world.vhost.bindings().into_iter().filter(|b| !b.source.is_empty()).map(|b| b.source).collect();
        prop_assert!(sources.is_empty(), "{:?}", sources);
        prop_assert_eq!(world.vhost.subscriptions(), 0);
    }
}
