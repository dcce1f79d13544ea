//! Exchanges that route a message later.

use tercet_amqp::content::{BasicProperties, Properties};
use tercet_amqp::field::{TableBuf, Value};
use tercet_broker::exchange::request::{DeclareExchange, DeclareQueue, Destination};

use crate::world::{World, refused, table};

fn world(kind: &str) -> World {
    let mut world = World::default();
    world.exchange_with("x", "x-delayed-message", &table(&[("x-delayed-type", kind.into())]));
    world.queue("q");
    world.bind("x", "q", "k");
    world
}

fn delayed(ms: i64) -> TableBuf {
    table(&[("x-delay", Value::I64(ms))])
}

fn waiting(world: &World) -> u64 {
    world.vhost.find_queue("amq.delayed.x").map_or(0, |queue| queue.stats().delayed)
}

#[test]
fn a_message_comes_when_its_time_has_come_and_not_a_millisecond_sooner() {
    let mut world = world("direct");
    assert!(world.publish_with("x", "k", &delayed(100), "late"));
    assert!(world.publish_with("x", "k", &delayed(50), "soon"));
    assert!(world.publish_with("x", "k", &delayed(50), "soon after"));
    assert!(world.publish("x", "k", "now"));
    assert_eq!((world.payloads("q"), waiting(&world)), (vec!["now".to_owned()], 3));
    world.pass(49);
    assert_eq!(world.payloads("q").len(), 1);
    world.pass(1);
    assert_eq!(world.payloads("q"), ["now", "soon", "soon after"]);
    world.pass(49);
    assert_eq!(waiting(&world), 1);
    world.pass(1);
    assert_eq!(world.payloads("q").last().map(String::as_str), Some("late"));
    assert_eq!(waiting(&world), 0);
}

#[test]
fn without_a_delay_a_message_is_routed_at_once() {
    let mut world = world("direct");
    for delay in [Value::I32(0), Value::I32(-5), Value::from("100"), Value::Bool(true)] {
        assert!(world.publish_with("x", "k", &table(&[("x-delay", delay)]), "m"));
        assert_eq!(world.payloads("q").len(), 1, "{delay:?}");
        let (now, effects) = (world.now, &mut world.effects);
        world.vhost.purge_queue(&world.actor, "q", now, effects).expect("there");
    }
    assert!(!world.publish_with("x", "nowhere", &delayed(0), "m"));
    assert!(world.publish_with("x", "nowhere", &delayed(1), "m"), "nobody knows yet where it will lead");
}

#[test]
fn it_is_routed_by_what_is_bound_when_its_time_has_come() {
    let mut world = world("topic");
    world.publish_with("x", "a.b", &delayed(1000), "m");
    world.unbind("x", "q", "k");
    world.queue("later");
    world.bind("x", "later", "a.*");
    world.pass(1000);
    assert_eq!(world.payloads("later"), ["m"]);
    let message = world.messages("later").remove(0);
    assert_eq!((&*message.topic, message.exchange.as_deref()), ("a.b", Some("x")));
}

#[test]
fn the_delay_turns_negative_and_the_expiration_counts_from_the_end_of_it() {
    let mut world = world("direct");
    let headers = table(&[("x-delay", Value::I32(60_000)), ("mine", 1.into())]);
    let properties = BasicProperties {
        headers: Some(headers.as_table()),
        expiration: Some("10"),
        priority: Some(3),
        ..BasicProperties::default()
    };
    world.try_publish("x", "k", &properties, "m").expect("allowed");
    world.pass(60_000);
    let message = world.messages("q").remove(0);
    let properties = Properties::from_bytes(&message.properties).expect("flags");
    let headers = properties.headers().expect("valid").expect("there");
    assert_eq!(headers.get("x-delay"), Some(Value::I64(-60_000)));
    assert_eq!(headers.get("mine"), Some(Value::I32(1)));
    assert_eq!((properties.priority(), properties.expiration()), (Ok(Some(3)), Ok(Some("10"))));
    world.pass(10);
    assert!(world.payloads("q").is_empty());
}

#[test]
fn no_horizon_is_too_far() {
    let mut world = world("direct");
    for ms in [u32::MAX.into(), 400 * 86_400_000, i64::MAX] {
        assert!(world.publish_with("x", "k", &delayed(ms), "m"));
    }
    assert_eq!(waiting(&world), 3);
    world.pass(50 * 86_400_000);
    assert_eq!((world.payloads("q").len(), waiting(&world)), (1, 2));
}

#[test]
fn what_waits_can_be_seen_and_cancelled() {
    let mut world = world("direct");
    for n in 0..5 {
        world.publish_with("x", "k", &delayed(100 + n), &n.to_string());
    }
    assert_eq!(world.payloads("amq.delayed.x"), ["0", "1", "2", "3", "4"]);
    let (now, effects) = (world.now, &mut world.effects);
    let purged = world.vhost.purge_queue(&world.actor, "amq.delayed.x", now, effects).expect("there");
    assert_eq!((purged.0, waiting(&world)), (5, 0));
    world.publish_with("x", "k", &delayed(100), "another");
    world.try_delete_exchange("x", false).expect("allowed");
    assert!(world.vhost.find_queue("amq.delayed.x").is_none());
    world.exchange_with("x", "x-delayed-message", &table(&[("x-delayed-type", "direct".into())]));
    world.bind("x", "q", "k");
    world.pass(1000);
    assert!(world.payloads("q").is_empty());
}

#[test]
fn an_exchange_that_goes_with_its_last_binding_takes_along_what_waits() {
    let mut world = World::default();
    let arguments = table(&[("x-delayed-type", "fanout".into())]);
    let request = DeclareExchange {
        name: "x",
        kind: "x-delayed-message",
        auto_delete: true,
        arguments: arguments.as_table(),
        ..DeclareExchange::default()
    };
    world.try_declare(&request).expect("valid");
    world.queue("q");
    world.bind("x", "q", "");
    world.publish_with("x", "", &delayed(10), "m");
    world.delete_queue("q");
    assert!(world.vhost.find_exchange("x").is_none());
    assert!(world.vhost.find_queue("amq.delayed.x").is_none());
}

#[test]
fn clients_leave_the_queue_of_what_waits_alone() {
    let mut world = world("direct");
    world.publish_with("x", "k", &delayed(10), "m");
    let text = "ACCESS_REFUSED - operation not permitted on queue 'amq.delayed.x' in vhost '/', where delayed messages wait";
    let destination = Destination::Queue("amq.delayed.x");
    let bound = world.try_bind("amq.direct", destination, "k", Default::default());
    assert_eq!(refused(bound), text);
    let (now, effects) = (world.now, &mut world.effects);
    let deleted = world.vhost.delete_queue(&world.actor, "amq.delayed.x", false, false, now, effects);
    assert_eq!(refused(deleted), text);
    let declared = world.try_queue(&DeclareQueue { name: "amq.delayed.y", ..DeclareQueue::default() });
    assert!(refused(declared).contains("reserved prefix"));
    assert!(!world.publish("", "amq.delayed.x", "straight in"));
    assert_eq!(waiting(&world), 1);
}

#[test]
fn blind_copies_are_sent_and_stay_blind() {
    let mut world = world("direct");
    world.queue("blind");
    world.bind("x", "blind", "secret");
    let mut keys = tercet_amqp::field::ArrayBuf::new();
    keys.push("secret").expect("short");
    let headers = table(&[("x-delay", Value::I32(5)), ("BCC", keys.as_array().into())]);
    world.publish_with("x", "k", &headers, "m");
    world.pass(5);
    for queue in ["q", "blind"] {
        let message = world.messages(queue).remove(0);
        let properties = Properties::from_bytes(&message.properties).expect("flags");
        let headers = properties.headers().expect("valid").expect("there");
        assert!(headers.get("BCC").is_none(), "{queue}");
    }
}
