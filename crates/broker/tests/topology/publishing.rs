//! What is looked at when something is published.

use std::sync::Arc;

use tercet_amqp::content::{BasicProperties, Properties};
use tercet_amqp::field::{TableBuf, Value};
use tercet_broker::actor::Right;
use tercet_broker::exchange::request::DeclareExchange;

use crate::world::{Denied, World, array, refused, table};

fn none() -> BasicProperties<'static> {
    BasicProperties::default()
}

#[test]
fn publications_are_refused_in_rabbitmqs_order_and_words() {
    let rights = Arc::new(Denied::default());
    let mut world = World::with_rights(&rights);
    world.exchange("t", "topic");
    world
        .try_declare(&DeclareExchange { name: "i", kind: "topic", internal: true, ..Default::default() })
        .unwrap();
    let cc = table(&[("CC", Value::from("x"))]);
    // Each one is wrong in everything that is looked at later.
    let mut wrong = BasicProperties {
        expiration: Some("-1"),
        headers: Some(cc.as_table()),
        user_id: Some("mallory"),
        ..none()
    };
    rights.deny(Right::Write, "nox");
    rights.deny_topic(Right::Write, "k");
    let text = |world: &mut World, exchange: &str, properties: &BasicProperties<'_>| {
        refused(world.try_publish(exchange, "k", properties, ""))
    };
    assert_eq!(
        text(&mut world, "nox", &wrong),
        "ACCESS_REFUSED - write access to exchange 'nox' in vhost '/' refused for user 'guest'"
    );
    assert_eq!(text(&mut world, "gone", &wrong), "NOT_FOUND - no exchange 'gone' in vhost '/'");
    assert_eq!(
        text(&mut world, "i", &wrong),
        "ACCESS_REFUSED - cannot publish to internal exchange 'i' in vhost '/'"
    );
    assert_eq!(
        text(&mut world, "t", &wrong),
        "PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}"
    );
    wrong.expiration = Some("5");
    assert_eq!(
        text(&mut world, "t", &wrong),
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}"
    );
    wrong.headers = None;
    assert_eq!(
        text(&mut world, "t", &wrong),
        "ACCESS_REFUSED - write access to topic 'k' in exchange 't' in vhost '/' refused for user 'guest'"
    );
    let published = world.try_publish("t", "other", &wrong, "");
    assert_eq!(
        refused(published),
        "PRECONDITION_FAILED - user_id property set to 'mallory' but authenticated user was 'guest'"
    );
    wrong.user_id = Some("guest");
    assert!(world.try_publish("t", "other", &wrong, "").is_ok());
}

#[test]
fn what_is_to_be_published_later_is_judged_at_once() {
    let mut world = World::default();
    world.queue("q");
    let check = |world: &mut World, exchange: &str, properties: &BasicProperties<'_>| {
        let bytes = crate::world::encoded(properties);
        let publication = tercet_broker::exchange_publication::ExchangePublication {
            exchange,
            routing_key: "q",
            properties: tercet_broker::message::Properties {
                encoding: tercet_broker::message::PropertyEncoding::Amqp,
                bytes: &bytes,
            },
            payload: b"",
            mandatory: false,
        };
        world.vhost.check_publication(&world.actor, &mut world.routes, &publication)
    };
    assert_eq!(check(&mut world, "", &none()), Ok(()));
    assert_eq!(refused(check(&mut world, "gone", &none())), "NOT_FOUND - no exchange 'gone' in vhost '/'");
    let wrong = BasicProperties { expiration: Some("x"), ..none() };
    assert!(refused(check(&mut world, "", &wrong)).contains("invalid expiration 'x': no_integer"));
    assert!(world.payloads("q").is_empty());
}

#[test]
fn copies_go_to_further_keys_and_blind_ones_are_not_seen() {
    let mut world = World::default();
    for name in ["a", "b", "c", "d"] {
        world.queue(name);
    }
    let (cc, bcc) = (array(&["b", "c"]), array(&["c", "d", "a"]));
    let headers = table(&[
        ("CC", Value::Array(cc.as_array())),
        ("kept", Value::I32(1)),
        ("BCC", Value::Array(bcc.as_array())),
    ]);
    assert!(world.publish_with("", "a", &headers, "m"));
    for name in ["a", "b", "c", "d"] {
        let messages = world.messages(name);
        assert_eq!(messages.len(), 1, "{name} once");
        assert_eq!(&*messages[0].topic, "a", "the key is that of the publication");
        let properties = Properties::from_bytes(&messages[0].properties).unwrap();
        let headers = properties.headers().unwrap().unwrap();
        assert!(headers.get("BCC").is_none());
        assert_eq!(headers.get("kept"), Some(Value::I32(1)));
        assert!(headers.get("CC").is_some());
    }
}

#[test]
fn headers_that_were_only_for_blind_copies_are_gone() {
    let mut world = World::default();
    world.queue("a");
    let bcc = array(&["a"]);
    let headers = table(&[("BCC", Value::Array(bcc.as_array()))]);
    let properties = BasicProperties { headers: Some(headers.as_table()), message_id: Some("id"), ..none() };
    assert!(world.try_publish("", "nobody", &properties, "m").unwrap().routed);
    let message = &world.messages("a")[0];
    let properties = Properties::from_bytes(&message.properties).unwrap();
    assert_eq!(properties.headers(), Ok(None));
    assert_eq!(properties.message_id(), Ok(Some("id")));
}

#[test]
fn copies_need_the_right_to_their_keys() {
    let rights = Arc::new(Denied::default());
    let mut world = World::with_rights(&rights);
    rights.deny_topic(Right::Write, "secret");
    for header in ["CC", "BCC"] {
        let keys = array(&["fine", "secret"]);
        let headers = table(&[(header, Value::Array(keys.as_array()))]);
        let properties = BasicProperties { headers: Some(headers.as_table()), ..none() };
        let text = refused(world.try_publish("amq.topic", "fine", &properties, ""));
        assert!(text.starts_with("ACCESS_REFUSED - write access to topic 'secret'"), "{text}");
    }
}

#[test]
fn odd_copies_are_refused_or_skipped() {
    let mut world = World::default();
    world.queue("a");
    let odd = table(&[("BCC", Value::I32(1))]);
    let properties = BasicProperties { headers: Some(odd.as_table()), ..none() };
    assert_eq!(
        refused(world.try_publish("", "a", &properties, "")),
        "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"BCC\",signedint}"
    );
    let mut mixed = tercet_amqp::field::ArrayBuf::new();
    mixed.push(5).unwrap().push("a").unwrap();
    let headers = table(&[("CC", Value::Array(mixed.as_array()))]);
    assert!(world.publish_with("", "nobody", &headers, "m"));
}

#[test]
fn a_right_that_is_taken_away_counts_at_once() {
    let rights = Arc::new(Denied::default());
    let mut world = World::with_rights(&rights);
    world.queue("q");
    assert!(world.publish("", "q", "1"));
    assert!(world.publish("", "q", "2"));
    rights.deny(Right::Write, "amq.default");
    let text = refused(world.try_publish("", "q", &none(), "3"));
    assert_eq!(
        text,
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'guest'"
    );
    assert_eq!(world.payloads("q"), ["1", "2"]);
}

#[test]
fn a_full_queue_that_refuses_says_so_for_all() {
    let mut world = World::default();
    let arguments = table(&[("x-max-length", Value::I32(1)), ("x-overflow", Value::from("reject-publish"))]);
    world
        .try_queue(&tercet_broker::exchange::request::DeclareQueue {
            name: "small",
            arguments: arguments.as_table(),
            ..Default::default()
        })
        .unwrap();
    world.queue("large");
    world.bind("amq.fanout", "small", "");
    world.bind("amq.fanout", "large", "");
    let publish = |world: &mut World| world.try_publish("amq.fanout", "", &none(), "m").unwrap();
    assert!(!publish(&mut world).refused);
    let published = publish(&mut world);
    assert!(published.refused && published.routed);
    assert_eq!((world.payloads("small").len(), world.payloads("large").len()), (1, 2));
}

#[test]
fn what_reaches_nobody_is_not_routed() {
    let mut world = World::default();
    assert!(!world.publish("", "nobody", ""));
    assert!(!world.publish("amq.direct", "nobody", ""));
    assert!(!world.publish("amq.topic", "nobody", ""));
    assert!(!world.publish_with("amq.headers", "", &TableBuf::new(), ""));
}
