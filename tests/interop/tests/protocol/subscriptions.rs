//! Subscriptions: wildcards, overlap, identifiers, No Local, and how they end.

use tercet_interop::packet::subscribe;
use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Wire, id};

#[test]
fn filters_match_what_they_say() {
    let table: [(&str, &[&str], &[&str]); 13] = [
        ("a", &["a"], &["/a", "a/", "A", "a/b", "ab"]),
        ("a/b", &["a/b"], &["a", "a/b/c", "a/B", "a//b"]),
        ("+", &["a", "b"], &["/a", "a/", "a/b"]),
        ("+/+", &["a/b", "/a", "a/", "/"], &["a", "a/b/c"]),
        ("/+", &["/a", "/"], &["a", "/a/b"]),
        ("a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/d/c"]),
        ("#", &["a", "/", "a/b/c", "a/"], &[]),
        ("a/#", &["a", "a/", "a/b", "a/b/c"], &["b", "ab"]),
        ("+/#", &["a", "a/b", "/"], &[]),
        ("a/+/#", &["a/b", "a/", "a/b/c"], &["a"]),
        ("//", &["//"], &["/", "///", "a//"]),
        ("+/", &["a/", "/"], &["a", "a/b"]),
        ("ü/日本/🙂", &["ü/日本/🙂"], &["u/日本/🙂"]),
    ];
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for (filter, matching, others) in table {
        for version in [Version::V31, Version::V5] {
            let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s"));
            subscriber.subscribe(filter, 0);
            for topic in others {
                publisher.publish(Publish::new(topic, "no"));
            }
            for topic in matching {
                publisher.publish(Publish::new(topic, "yes"));
                assert_eq!(subscriber.take(), ((*topic).into(), "yes".into()), "{filter}");
            }
            subscriber.disconnect();
        }
    }
}

#[test]
fn leading_wildcards_do_not_match_dollar_topics() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    for filter in ["#", "+/x", "+/#", "$own/+"] {
        subscriber.subscribe(filter, 0);
    }
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("$own/x", "1"));
    publisher.publish(Publish::new("$other/x", "2"));
    publisher.publish(Publish::new("end", ""));
    assert_eq!(subscriber.take(), ("$own/x".into(), "1".into()), "[MQTT-4.7.2-1]: by $own/+ alone");
    assert_eq!(subscriber.take().0, "end");
}

/// A server may send one copy for all overlapping filters or one for each (§3.3.4); with the highest granted
/// quality, and with every matching identifier either way.
#[test]
fn overlapping_filters_carry_all_their_identifiers() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    for (filter, qos, number) in [("a/+", 0, 1), ("a/#", 1, 2), ("a/b", 2, 268_435_455)] {
        let properties = Properties::new().number(id::SUBSCRIPTION_ID, number);
        assert_eq!(subscriber.subscribe_with(&properties, &[(filter, qos)]), [qos]);
    }
    subscriber.subscribe("+/b", 0);
    subscriber.subscribe("end", 0);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("a/b", "x").qos(2));
    publisher.publish(Publish::new("end", ""));
    let mut copies = Vec::new();
    loop {
        let publish = subscriber.take_publish();
        if publish.topic == "end" {
            break;
        }
        copies.push(publish);
    }
    let mut numbers: Vec<u32> =
        copies.iter().flat_map(|publish| publish.properties.numbers(id::SUBSCRIPTION_ID)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 268_435_455], "[MQTT-3.3.4-4, 3.3.4-5]");
    assert_eq!(copies.iter().map(|publish| publish.qos).max(), Some(2), "[MQTT-3.3.4-2]");
    if !tercet_interop::broker::is_mosquitto() {
        assert_eq!(copies.len(), 1, "one copy for one client");
    }
}

#[test]
fn a_new_subscription_replaces_the_identifier() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for (properties, expected) in [
        (Properties::new().number(id::SUBSCRIPTION_ID, 5), vec![5]),
        (Properties::new().number(id::SUBSCRIPTION_ID, 6), vec![6]),
        (Properties::new(), vec![]),
    ] {
        subscriber.subscribe_with(&properties, &[("t", 0)]);
        publisher.publish(Publish::new("t", "x"));
        assert_eq!(subscriber.take_publish().properties.numbers(id::SUBSCRIPTION_ID), expected);
    }
}

#[test]
fn identifiers_come_with_retained_and_queued_messages() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "kept").qos(1).retain());
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").durable());
    subscriber.subscribe_with(&Properties::new().number(id::SUBSCRIPTION_ID, 7), &[("t", 1)]);
    assert_eq!(subscriber.take_publish().properties.numbers(id::SUBSCRIPTION_ID), [7]);
    subscriber.disconnect();
    publisher.publish(Publish::new("t", "queued").qos(1));
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").durable());
    let queued = subscriber.take_publish();
    assert_eq!((queued.text().as_str(), queued.properties.numbers(id::SUBSCRIPTION_ID)), ("queued", vec![7]));
}

#[test]
fn no_local_keeps_a_clients_own_messages_away() {
    let broker = Broker::start();
    let mut own = Wire::connect(&broker, &Connect::v5("own"));
    own.subscribe("t", 0x04 | 1);
    own.subscribe("end", 0);
    own.publish(Publish::new("t", "mine").qos(1));
    let mut other = Wire::connect(&broker, &Connect::v5("other"));
    other.publish(Publish::new("t", "theirs").qos(1));
    own.publish(Publish::new("end", ""));
    assert_eq!(own.take().1, "theirs", "[MQTT-3.8.3-3]");
    assert_eq!(own.take().0, "end");
    own.subscribe("t", 1);
    own.publish(Publish::new("t", "mine").qos(1));
    assert_eq!(own.take().1, "mine", "without the option");
}

#[test]
fn unsubscribe_ends_delivery_and_says_whether_there_was_one() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    wire.subscribe("a", 1);
    wire.subscribe("b/+", 0);
    assert_eq!(wire.unsubscribe(&["a", "b/x", "b/+", "b/+"]), [0x00, 0x11, 0x00, 0x11]);
    wire.subscribe("end", 0);
    for topic in ["a", "b/x", "end"] {
        wire.publish(Publish::new(topic, ""));
    }
    assert_eq!(wire.take().0, "end");
}

#[test]
fn many_filters_in_one_packet() {
    let broker = Broker::start();
    for version in Version::ALL {
        let mut wire = Wire::connect(&broker, &Connect::new(version, "c"));
        let filters: Vec<String> = (0..500).map(|n| format!("f/{n}")).collect();
        let list: Vec<(&str, u8)> =
            filters.iter().enumerate().map(|(n, filter)| (filter.as_str(), (n % 3) as u8)).collect();
        let codes = wire.subscribe_many(&list);
        assert_eq!(codes, list.iter().map(|(_, qos)| *qos).collect::<Vec<u8>>());
        wire.publish(Publish::new("f/499", "x"));
        assert_eq!(wire.take().0, "f/499");
        let names: Vec<&str> = filters.iter().map(String::as_str).collect();
        wire.unsubscribe(&names);
        wire.publish(Publish::new("f/499", "x"));
        wire.ping();
        wire.disconnect();
    }
}

/// A client gets its own SUBACK and later deliveries, though others come and go on the same filters.
#[test]
fn subscriptions_of_others_do_not_interfere() {
    let broker = Broker::start();
    let mut stays = Wire::connect(&broker, &Connect::v5("stays"));
    stays.subscribe("t/+", 1);
    for n in 0..20 {
        let mut guest = Wire::connect(&broker, &Connect::v5(&format!("guest{n}")));
        guest.subscribe("t/+", 0);
        if n % 2 == 0 {
            guest.unsubscribe(&["t/+"]);
        }
        guest.publish(Publish::new("t/x", n.to_string()).qos(1));
        assert_eq!(stays.take().1, n.to_string());
    }
}

#[test]
fn the_subscription_limit_is_0x97() {
    let broker = Broker::configured("[limits]\nmax-subscriptions = 2\n");
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    assert_eq!(wire.subscribe_many(&[("a", 0), ("b", 0), ("c", 0)]), [0, 0, 0x97]);
    assert_eq!(wire.subscribe_many(&[("a", 1)]), [1], "one that is there already may change");
    wire.unsubscribe(&["b"]);
    assert_eq!(wire.subscribe_many(&[("c", 2)]), [2]);
    let mut old = Wire::connect(&broker, &Connect::v311("old"));
    assert_eq!(old.subscribe_many(&[("a", 0), ("b", 0), ("c", 0)]), [0, 0, 0x80]);
}

#[test]
fn features_that_are_switched_off_are_told_and_refused() {
    let broker = Broker::configured(
        "[mqtt]\nwildcard-subscriptions = false\nshared-subscriptions = false\nsubscription-identifiers = false\nmax-qos = 1\n",
    );
    let connected = || Wire::connect_full(&broker, &Connect::v5("c"));
    let (mut wire, _, properties) = connected();
    for id in [id::WILDCARD_AVAILABLE, id::SHARED_AVAILABLE, id::SUBSCRIPTION_IDS_AVAILABLE] {
        assert_eq!(properties.get_number(id), Some(0), "{id:#04x}");
    }
    assert_eq!(properties.get_number(id::MAXIMUM_QOS), Some(1));
    assert_eq!(wire.subscribe_many(&[("plain", 2)]), [1], "[MQTT-3.2.2-10]");
    wire.send(&Publish::new("t", "x").qos(2).encode(Version::V5));
    wire.expect_disconnect(0x9B);
    for (filter, code, properties) in [
        ("a/#", 0xA2, Properties::new()),
        ("$share/g/a", 0x9E, Properties::new()),
        ("a", 0xA1, Properties::new().number(id::SUBSCRIPTION_ID, 1)),
    ] {
        let (mut wire, ..) = connected();
        wire.send(&subscribe(Version::V5, 1, &properties, &[(filter, 0)]));
        match wire.receive() {
            Packet::Suback(_, codes, _) => assert_eq!(codes, [code], "{filter}"),
            Packet::Disconnect(seen, _) => assert_eq!(seen, code, "{filter}"),
            other => panic!("{other:?}"),
        }
    }
}
