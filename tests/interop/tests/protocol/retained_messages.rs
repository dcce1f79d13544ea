//! Retained messages: set, replaced, cleared, delivered to new subscriptions as their options say.

use tercet_interop::{Broker, Connect, Properties, Publish, Version, Wire, id};

fn retain(wire: &mut Wire, topic: &str, text: &str, qos: u8) {
    wire.publish(Publish::new(topic, text).qos(qos).retain());
}

#[test]
fn the_last_one_is_kept_and_an_empty_one_clears() {
    let broker = Broker::start();
    for version in Version::ALL {
        let mut publisher = Wire::connect(&broker, &Connect::new(version, "p"));
        retain(&mut publisher, "r", "1", 0);
        retain(&mut publisher, "r", "2", 1);
        retain(&mut publisher, "r", "3", 2);
        let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s"));
        subscriber.subscribe("r", 2);
        let publish = subscriber.take_publish();
        assert_eq!((publish.text().as_str(), publish.qos, publish.retain), ("3", 2, true), "{version:?}");
        retain(&mut publisher, "r", "", 1);
        let cleared = subscriber.take_publish();
        assert_eq!(
            (cleared.payload.len(), cleared.retain),
            (0, false),
            "an empty message to current subscribers"
        );
        subscriber.disconnect();
        let mut late = Wire::connect(&broker, &Connect::new(version, "late"));
        late.subscribe("r", 2);
        late.ping();
        late.disconnect();
    }
}

#[test]
fn quality_is_the_lower_of_both() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for qos in 0..=2 {
        retain(&mut publisher, &format!("r/{qos}"), "x", qos);
    }
    for granted in 0..=2 {
        let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
        subscriber.subscribe("r/+", granted);
        let mut seen: Vec<(String, u8)> =
            (0..3).map(|_| subscriber.take_publish()).map(|p| (p.topic, p.qos)).collect();
        seen.sort();
        let expected: Vec<(String, u8)> = (0..=2).map(|qos| (format!("r/{qos}"), qos.min(granted))).collect();
        assert_eq!(seen, expected);
        subscriber.disconnect();
    }
}

#[test]
fn a_subscription_that_is_made_again_gets_them_again() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    retain(&mut publisher, "r", "x", 1);
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
    for _ in 0..2 {
        subscriber.subscribe("r", 1);
        assert_eq!(subscriber.take().1, "x", "[MQTT-3.8.4-3]");
    }
}

#[test]
fn retain_handling_says_when_they_are_sent() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    retain(&mut publisher, "r", "x", 1);
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("r", 0x20 | 1);
    subscriber.ping();
    subscriber.subscribe("r", 0x10 | 1);
    // [MQTT-3.3.1-10]: the subscription exists already.
    subscriber.ping();
    subscriber.subscribe("r", 1);
    assert_eq!(subscriber.take().1, "x", "[MQTT-3.3.1-9]");
    subscriber.unsubscribe(&["r"]);
    subscriber.subscribe("r", 0x10 | 1);
    assert_eq!(subscriber.take().1, "x", "handling 1, new subscription");
    subscriber.unsubscribe(&["r"]);
    subscriber.subscribe("r", 0x20 | 1);
    subscriber.ping();
}

#[test]
fn retain_as_published_keeps_the_flag_of_live_messages() {
    let broker = Broker::start();
    let mut plain = Wire::connect(&broker, &Connect::v5("plain"));
    plain.subscribe("r", 0);
    let mut kept = Wire::connect(&broker, &Connect::v5("kept"));
    kept.subscribe("r", 0x08);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for flag in [true, false] {
        let mut publish = Publish::new("r", "x");
        publish.retain = flag;
        publisher.publish(publish);
        assert!(!plain.take_publish().retain, "[MQTT-3.3.1-12]");
        assert_eq!(kept.take_publish().retain, flag, "[MQTT-3.3.1-13]");
    }
}

#[test]
fn each_overlapping_filter_gets_them_once() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    retain(&mut publisher, "a/b", "x", 1);
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    let codes = subscriber.subscribe_many(&[("a/+", 1), ("a/#", 0), ("a/b", 1)]);
    assert_eq!(codes, [1, 0, 1]);
    for _ in 0..3 {
        let publish = subscriber.take_publish();
        assert!(publish.retain && publish.text() == "x");
    }
    subscriber.ping();
}

#[test]
fn wildcards_find_every_level_and_leave_out_dollar_topics() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for topic in ["a", "a/b", "a/b/c", "/a", "a/", "$hidden/a", "b"] {
        retain(&mut publisher, topic, topic, 0);
    }
    let table: [(&str, &[&str]); 8] = [
        ("#", &["/a", "a", "a/", "a/b", "a/b/c", "b"]),
        ("+", &["a", "b"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c"]),
        ("a/+", &["a/", "a/b"]),
        ("+/a", &["/a"]),
        ("+/+/#", &["/a", "a/", "a/b", "a/b/c"]),
        ("$hidden/#", &["$hidden/a"]),
        ("a/b/c/#", &["a/b/c"]),
    ];
    for (filter, expected) in table {
        let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
        subscriber.subscribe(filter, 0);
        let mut seen: Vec<String> = expected.iter().map(|_| subscriber.take().0).collect();
        seen.sort();
        assert_eq!(seen, expected, "{filter}");
        subscriber.ping();
        subscriber.disconnect();
    }
}

#[test]
fn properties_are_kept_with_them() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let properties = Properties::new()
        .number(id::PAYLOAD_FORMAT, 1)
        .text(id::CONTENT_TYPE, "text/plain")
        .text(id::RESPONSE_TOPIC, "answers")
        .text(id::CORRELATION_DATA, [0, 1, 255])
        .user("k", "1")
        .user("k", "2");
    publisher.publish(Publish::new("r", "x").qos(1).retain().properties(properties.clone()));
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("r", 1);
    let mut seen = subscriber.take_publish().properties;
    seen.0.sort_by_key(|(id, _)| *id);
    assert_eq!(seen, properties);
}

#[test]
fn a_retained_message_outlives_its_publisher_and_its_session() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    retain(&mut publisher, "r", "x", 0);
    publisher.disconnect();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("r", 0);
    assert_eq!(subscriber.take().1, "x");
}

#[test]
fn limits_on_retained_messages_hold() {
    let broker = Broker::configured("[limits]\nmax-retained-messages = 2\n");
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    assert!(publisher.publish(Publish::new("r/1", "x").qos(1).retain()) < 0x80);
    assert!(publisher.publish(Publish::new("r/2", "x").qos(1).retain()) < 0x80);
    assert_eq!(publisher.publish(Publish::new("r/3", "x").qos(1).retain()), 0x97, "quota exceeded");
    assert!(publisher.publish(Publish::new("r/2", "replaced").qos(1).retain()) < 0x80);
    assert!(publisher.publish(Publish::new("r/1", "").qos(1).retain()) < 0x80);
    assert!(publisher.publish(Publish::new("r/3", "x").qos(1).retain()) < 0x80);
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("r/+", 0);
    let mut seen = [subscriber.take(), subscriber.take()];
    seen.sort();
    assert_eq!(seen, [("r/2".into(), "replaced".into()), ("r/3".into(), "x".into())]);
    subscriber.ping();
}

#[test]
fn retained_messages_can_be_switched_off() {
    let broker = Broker::configured("[mqtt]\nretain = false\n");
    let (mut wire, _, properties) = Wire::connect_full(&broker, &Connect::v5("c"));
    assert_eq!(properties.get_number(id::RETAIN_AVAILABLE), Some(0));
    wire.send(&Publish::new("r", "x").retain().encode(Version::V5));
    wire.expect_disconnect(0x9A);
}
