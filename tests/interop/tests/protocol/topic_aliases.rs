//! Topic aliases both ways (§3.3.2.3.4). What is refused stands in the malformed table.

use std::collections::HashMap;

use tercet_interop::{Broker, Connect, Properties, Publish, Version, Wire, id};

fn alias(n: u32) -> Properties {
    Properties::new().number(id::TOPIC_ALIAS, n)
}

#[test]
fn a_client_may_use_up_to_the_maximum_it_was_told() {
    let broker = Broker::start();
    let (mut publisher, _, properties) = Wire::connect_full(&broker, &Connect::v5("p"));
    let maximum = properties.get_number(id::TOPIC_ALIAS_MAXIMUM).unwrap_or(0);
    assert!(maximum >= 10, "{maximum}");
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("t/#", 0);
    for n in 1..=maximum {
        publisher.publish(Publish::new(&format!("t/{n}"), "named").properties(alias(n)));
    }
    for n in 1..=maximum {
        assert_eq!(subscriber.take(), (format!("t/{n}"), "named".into()));
    }
    for n in (1..=maximum).rev() {
        publisher.publish(Publish::new("", "alias").properties(alias(n)));
        let publish = subscriber.take_publish();
        assert_eq!((publish.topic.as_str(), publish.text().as_str()), (&*format!("t/{n}"), "alias"));
        assert_eq!(publish.properties.get_number(id::TOPIC_ALIAS), None, "the subscriber allowed none");
    }
}

#[test]
fn an_alias_can_be_given_another_topic() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
    subscriber.subscribe("#", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("a", "1").qos(1).properties(alias(1)));
    publisher.publish(Publish::new("b", "2").qos(2).properties(alias(1)));
    publisher.publish(Publish::new("", "3").properties(alias(1)));
    for (topic, text) in [("a", "1"), ("b", "2"), ("b", "3")] {
        assert_eq!(subscriber.take(), (topic.into(), text.into()));
    }
}

#[test]
fn aliases_end_with_the_connection() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p").durable());
    publisher.publish(Publish::new("a", "1").properties(alias(1)));
    publisher.disconnect();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p").durable());
    publisher.send(&Publish::new("", "2").properties(alias(1)).encode(Version::V5));
    let answer = publisher.receive();
    assert!(
        matches!(answer, tercet_interop::Packet::Disconnect(0x82 | 0x94, _)),
        "[MQTT-3.3.2-7]: {answer:?}"
    );
    publisher.expect_closed();
}

/// The broker may use aliases towards a client that allows them, and then never more than it allows.
#[test]
fn the_broker_uses_aliases_within_the_clients_maximum() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").number(id::TOPIC_ALIAS_MAXIMUM, 2));
    subscriber.subscribe("#", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let mut known: HashMap<u32, String> = HashMap::new();
    let mut used = 0;
    for round in 0..4 {
        for n in 0..4 {
            let topic = format!("a/rather/long/topic/{n}");
            publisher.publish(Publish::new(&topic, round.to_string()).qos(n % 2));
            let publish = subscriber.take_publish();
            let seen = match publish.properties.get_number(id::TOPIC_ALIAS) {
                None => publish.topic.clone(),
                Some(alias) => {
                    assert!((1..=2).contains(&alias), "[MQTT-3.3.2-12]: {alias}");
                    used += 1;
                    if !publish.topic.is_empty() {
                        known.insert(alias, publish.topic.clone());
                    }
                    known.get(&alias).expect("[MQTT-3.3.2-7] an alias that was set before").clone()
                }
            };
            assert_eq!((seen, publish.text()), (topic, round.to_string()));
        }
    }
    if !tercet_interop::broker::is_mosquitto() {
        assert!(used > 0, "no alias was used though the client allows two");
    }
}
