//! Policies of users and operators.

use tercet_amqp::field::Value;
use tercet_broker::exchange::request::DeclareQueue;
use tercet_broker::policy::{ApplyTo, Policy, PolicyKind};

use crate::world::{World, table};

fn set(
    world: &mut World,
    kind: PolicyKind,
    name: &str,
    pattern: &str,
    to: ApplyTo,
    definition: &[(&str, Value<'_>)],
) {
    let policy = Policy::new(kind, name, pattern, to, 0, &table(definition).as_table()).unwrap();
    world.vhost.set_policy(kind, policy, world.now, &mut world.effects);
}

#[test]
fn a_policy_counts_for_queues_that_are_there_and_for_those_that_come() {
    let mut world = World::default();
    world.queue("a1");
    for payload in ["1", "2", "3"] {
        world.publish("", "a1", payload);
    }
    set(&mut world, PolicyKind::User, "short", "^a", ApplyTo::Queues, &[("max-length", Value::I32(2))]);
    assert_eq!(world.payloads("a1"), ["2", "3"], "what is too much goes at once");
    world.queue("a2");
    world.queue("b");
    for queue in ["a2", "b"] {
        for payload in ["1", "2", "3"] {
            world.publish("", queue, payload);
        }
    }
    assert_eq!((world.payloads("a2").len(), world.payloads("b").len()), (2, 3));
    let shown = |world: &World, name: &str| {
        let info = world.vhost.queue_info(world.vhost.find_queue(name).unwrap());
        (info.policy.map(|name| name.to_string()), info.operator_policy.map(|name| name.to_string()))
    };
    assert_eq!(shown(&world, "a1"), (Some("short".into()), None));
    set(&mut world, PolicyKind::Operator, "limit", "", ApplyTo::Queues, &[("max-length", Value::I32(1))]);
    assert_eq!(shown(&world, "a1"), (Some("short".into()), Some("limit".into())));
    assert_eq!((world.payloads("a1").len(), world.payloads("b").len()), (1, 1));
    let clear = |world: &mut World, kind, name: &str| {
        world.vhost.clear_policy(kind, name, world.now, &mut world.effects)
    };
    assert!(clear(&mut world, PolicyKind::Operator, "limit"));
    assert!(!clear(&mut world, PolicyKind::Operator, "limit"), "it is gone");
    assert!(clear(&mut world, PolicyKind::User, "short"));
    for _ in 0..5 {
        world.publish("", "a1", "m");
    }
    assert_eq!(world.payloads("a1").len(), 6);
}

#[test]
fn an_argument_beats_a_policy_where_no_number_decides() {
    let mut world = World::default();
    let definition = [
        ("dead-letter-exchange", Value::from("theirs")),
        ("message-ttl", Value::I32(5)),
        ("max-length", Value::I32(50)),
    ];
    set(&mut world, PolicyKind::User, "p", "", ApplyTo::All, &definition);
    let arguments =
        table(&[("x-dead-letter-exchange", Value::from("mine")), ("x-max-length", Value::I32(3))]);
    let request = DeclareQueue { name: "q", arguments: arguments.as_table(), ..Default::default() };
    world.try_queue(&request).unwrap();
    let settings = world.vhost.find_queue("q").unwrap().settings();
    assert_eq!(settings.dead_letter_exchange.as_deref(), Some("mine"));
    assert_eq!((settings.message_ttl_ms, settings.max_length), (Some(5), Some(3)));
    assert!(world.try_queue(&request).is_ok(), "what a policy says is not compared");
}

#[test]
fn an_exchange_gets_an_alternate_by_policy() {
    let mut world = World::default();
    world.exchange("x1", "direct");
    world.queue("q");
    world.bind("amq.fanout", "q", "");
    let none: [&str; 0] = [];
    assert_eq!(world.key_reaches("x1", "k"), none);
    let alternate = [("alternate-exchange", Value::from("amq.fanout"))];
    set(&mut world, PolicyKind::User, "ae", "^x", ApplyTo::Exchanges, &alternate);
    assert_eq!(world.key_reaches("x1", "k"), ["q"]);
    world.exchange("x2", "direct");
    assert_eq!(world.key_reaches("x2", "k"), ["q"]);
    world.exchange_with("x3", "direct", &table(&[("alternate-exchange", Value::from("nowhere"))]));
    assert_eq!(world.key_reaches("x3", "k"), none, "its own argument counts");
    assert_eq!(world.vhost.find_exchange("x1").unwrap().policy.as_deref(), Some("ae"));
    world.vhost.clear_policy(PolicyKind::User, "ae", world.now, &mut world.effects);
    assert_eq!(world.key_reaches("x1", "k"), none);
}

#[test]
fn no_policy_counts_for_messages_that_wait_for_their_time() {
    let mut world = World::default();
    world.exchange_with("later", "x-delayed-message", &table(&[("x-delayed-type", Value::from("fanout"))]));
    world.queue("q");
    world.bind("later", "q", "");
    let delay = table(&[("x-delay", Value::I32(1000))]);
    world.publish_with("later", "", &delay, "1");
    let definition = [("max-length", Value::I32(1)), ("message-ttl", Value::I32(1))];
    set(&mut world, PolicyKind::User, "p", "^[^q]", ApplyTo::All, &definition);
    world.publish_with("later", "", &delay, "2");
    world.pass(999);
    assert!(world.payloads("q").is_empty());
    world.pass(1);
    assert_eq!(world.payloads("q"), ["1", "2"]);
    let bound_by_name: Vec<_> =
        world.vhost.bindings().into_iter().filter(|binding| binding.source.is_empty()).collect();
    assert_eq!(bound_by_name.len(), 1, "{bound_by_name:?}");
}
