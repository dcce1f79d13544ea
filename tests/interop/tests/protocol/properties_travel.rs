//! What a publisher says about a message reaches every subscriber, and nothing else does (§3.3.2.3).

use tercet_interop::{Broker, Connect, Properties, Publish, Version, Wire, id};

fn all() -> Properties {
    Properties::new()
        .number(id::PAYLOAD_FORMAT, 1)
        .text(id::CONTENT_TYPE, "application/json; charset=utf-8")
        .text(id::RESPONSE_TOPIC, "answers/to/me")
        .text(id::CORRELATION_DATA, [0, 1, 2, 254, 255])
        .user("name", "value")
        .user("name", "a second value")
        .user("", "")
        .user("ключ", "значение")
}

#[test]
fn live_retained_and_queued_messages_carry_them_unaltered() {
    let broker = Broker::start();
    let mut away = Wire::connect(&broker, &Connect::v5("away").durable());
    away.subscribe("t", 2);
    away.disconnect();
    let mut live = Wire::connect(&broker, &Connect::v5("live"));
    live.subscribe("t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for qos in 0..=2 {
        publisher.publish(Publish::new("t", "x").qos(qos).retain().properties(all()));
        assert_eq!(sorted(live.take_publish()), all(), "QoS {qos}");
    }
    let mut away = Wire::connect(&broker, &Connect::v5("away").durable());
    for _ in 1..=2 {
        assert_eq!(sorted(away.take_publish()), all(), "queued");
    }
    let mut late = Wire::connect(&broker, &Connect::v5("late"));
    late.subscribe("t", 2);
    assert_eq!(sorted(late.take_publish()), all(), "retained");
}

/// The order of user properties is kept [MQTT-3.3.2-18]; that of different properties is free.
fn sorted(publish: Publish) -> Properties {
    let mut properties = publish.properties;
    properties.0.sort_by_key(|(id, _)| *id);
    properties
}

#[test]
fn a_3x_subscriber_gets_the_message_without_them() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
    subscriber.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "x").qos(1).properties(all()));
    assert_eq!(subscriber.take(), ("t".into(), "x".into()));
}

#[test]
fn a_3x_publisher_adds_none() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("t", 1);
    for version in [Version::V31, Version::V311] {
        let mut publisher = Wire::connect(&broker, &Connect::new(version, "p"));
        publisher.publish(Publish::new("t", "x").qos(1));
        assert_eq!(subscriber.take_publish().properties, Properties::new());
    }
}

#[test]
fn many_user_properties_arrive_in_order() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let mut properties = Properties::new();
    for n in 0..500 {
        properties = properties.user("n", &n.to_string());
    }
    publisher.publish(Publish::new("t", "x").qos(1).properties(properties.clone()));
    assert_eq!(subscriber.take_publish().properties, properties);
}

/// A correct request and its answer (§4.10), end to end.
#[test]
fn a_request_finds_its_answer() {
    let broker = Broker::start();
    let mut responder = Wire::connect(&broker, &Connect::v5("responder"));
    responder.subscribe("ask", 1);
    let mut requester = Wire::connect(&broker, &Connect::v5("requester"));
    requester.subscribe("answer/requester", 1);
    let properties =
        Properties::new().text(id::RESPONSE_TOPIC, "answer/requester").text(id::CORRELATION_DATA, [7, 0, 7]);
    requester.publish(Publish::new("ask", "2+2").qos(1).properties(properties));
    let question = responder.take_publish();
    let to = String::from_utf8(question.properties.get_text(id::RESPONSE_TOPIC).unwrap().to_vec()).unwrap();
    let data = question.properties.get_text(id::CORRELATION_DATA).unwrap().to_vec();
    responder.publish(
        Publish::new(&to, "4").qos(1).properties(Properties::new().text(id::CORRELATION_DATA, &data)),
    );
    let answer = requester.take_publish();
    assert_eq!(answer.text(), "4");
    assert_eq!(answer.properties.get_text(id::CORRELATION_DATA), Some(&[7, 0, 7][..]));
}

#[test]
fn nobody_listening_is_reason_0x10() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    for qos in [1, 2] {
        assert_eq!(wire.publish(Publish::new("nobody", "x").qos(qos)), 0x10);
    }
    wire.subscribe("somebody", 0);
    assert_eq!(wire.publish(Publish::new("somebody", "x").qos(1)), 0);
    wire.take_publish();
}
