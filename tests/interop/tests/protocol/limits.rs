//! Limits: what is over one is refused, dropped or slowed as configured, and the rest goes on.

use std::time::{Duration, Instant};

use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

fn offline(broker: &Broker, version: Version) {
    let mut wire = Wire::connect(broker, &Connect::new(version, "s").durable());
    wire.subscribe("t", 1);
    wire.disconnect();
}

fn publish_many(broker: &Broker, count: usize, payload: &str) {
    let mut publisher = Wire::connect(broker, &Connect::v311("p"));
    for n in 0..count {
        publisher.publish(Publish::new("t", format!("{n}{payload}")).qos(1));
    }
}

fn drain(broker: &Broker, version: Version) -> Vec<String> {
    let mut wire = Wire::connect(broker, &Connect::new(version, "s").durable());
    let mut publisher = Wire::connect(broker, &Connect::v311("p"));
    let mut seen = Vec::new();
    publisher.publish(Publish::new("t", "end").qos(1));
    loop {
        let (_, text) = wire.take();
        if text == "end" {
            return seen;
        }
        seen.push(text);
    }
}

#[test]
fn a_full_offline_queue_drops_the_oldest_or_the_newest() {
    for version in [Version::V311, Version::V5] {
        let broker = Broker::configured("[limits]\nmax-queued-messages = 10\n");
        offline(&broker, version);
        publish_many(&broker, 30, "");
        // The end marker itself may push one out.
        let seen = drain(&broker, version);
        assert!((9..=10).contains(&seen.len()), "{seen:?}");
        assert_eq!(seen.last().unwrap(), "29");

        let broker =
            Broker::configured("[limits]\nmax-queued-messages = 10\nqueue-overflow = \"drop-newest\"\n");
        offline(&broker, version);
        publish_many(&broker, 30, "");
        let mut wire = Wire::connect(&broker, &Connect::new(version, "s").durable());
        for n in 0..10 {
            assert_eq!(wire.take().1, n.to_string());
        }
        wire.ping();
    }
}

#[test]
fn bytes_count_too() {
    let broker = Broker::configured("[limits]\nmax-queued-bytes = 20000\n");
    offline(&broker, Version::V5);
    publish_many(&broker, 50, &"x".repeat(1000));
    let seen = drain(&broker, Version::V5);
    assert!((10..20).contains(&seen.len()), "{}", seen.len());
    assert!(seen.last().unwrap().starts_with("49x"));
}

#[test]
fn qos_0_is_not_queued_for_those_who_are_away() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("s").durable());
    wire.subscribe("t", 1);
    wire.disconnect();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "zero"));
    publisher.publish(Publish::new("t", "one").qos(1));
    let mut wire = Wire::connect(&broker, &Connect::v5("s").durable());
    assert_eq!(wire.take().1, "one");
}

/// What one read brought is handled at once; the client then waits until its rate allows the next.
#[test]
fn a_client_over_its_message_rate_is_read_more_slowly_and_loses_nothing() {
    let broker = Broker::configured("[limits]\nmessage-rate = 100\n");
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("t", 0);
    let mut fast = Wire::connect(&broker, &Connect::v5("fast"));
    let start = Instant::now();
    for n in 0..300 {
        fast.send(&Publish::new("t", n.to_string()).encode(Version::V5));
    }
    for n in 0..300 {
        assert_eq!(subscriber.take().1, n.to_string());
    }
    // Others are not slowed.
    let asked = Instant::now();
    let mut other = Wire::connect(&broker, &Connect::v5("other"));
    other.publish(Publish::new("u", "x").qos(1));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    fast.ping();
    // One second's worth may go at once, the other 200 take two.
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
}

#[test]
fn a_client_over_its_byte_rate_is_read_more_slowly() {
    let broker = Broker::configured("[limits]\nbyte-rate = 100000\n");
    let mut fast = Wire::connect(&broker, &Connect::v311("fast"));
    let start = Instant::now();
    for _ in 0..30 {
        fast.send(&Publish::new("t", [0; 10_000]).encode(Version::V311));
    }
    fast.ping();
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn connections_per_listener_and_in_all() {
    let broker = Broker::configured(
        "[[listener]]\nname = \"two\"\nbind = \"127.0.0.1:0\"\nmax-connections = 2\n[limits]\nmax-connections = 4\n",
    );
    let two = broker.address("two");
    let mut first = Wire::connect_at(two, &Connect::v5("1"));
    let _second = Wire::connect_at(two, &Connect::v5("2"));
    let refused = |address, client: &str| {
        let mut wire = Wire::open(address, Version::V5);
        let _ = wire.try_send(&Connect::v5(client).encode());
        match wire.next_packet() {
            None => true,
            Some(Packet::Connack { code, .. }) => code >= 0x80,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(two, "3"));
    let third = Wire::connect(&broker, &Connect::v5("3"));
    let _fourth = Wire::connect(&broker, &Connect::v5("4"));
    assert!(refused(broker.mqtt(), "5"));
    first.ping();
    third.disconnect();
    // The place becomes free once the broker has seen the close.
    let end = Instant::now() + tercet_interop::wire::PATIENCE;
    while refused(broker.mqtt(), "5") {
        assert!(Instant::now() < end, "the place was never freed");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn topic_levels_and_length() {
    let broker = Broker::configured("[limits]\nmax-topic-levels = 4\nmax-topic-length = 20\n");
    let good = "a/b/c/d";
    for bad in ["a/b/c/d/e", "123456789012345678901"] {
        let mut wire = Wire::connect(&broker, &Connect::v5("c"));
        wire.subscribe(good, 0);
        wire.publish(Publish::new(good, "x"));
        wire.take();
        wire.send(&Publish::new(bad, "x").qos(1).id(1).encode(Version::V5));
        match wire.receive() {
            Packet::Puback(ack) => assert!(ack.code >= 0x80),
            Packet::Disconnect(code, _) => assert!(matches!(code, 0x90 | 0x97), "{code:#04x}"),
            other => panic!("{other:?}"),
        }
        let mut wire = Wire::connect(&broker, &Connect::v5("c"));
        wire.send(&tercet_interop::packet::subscribe(
            Version::V5,
            1,
            &tercet_interop::Properties::new(),
            &[(bad, 0)],
        ));
        match wire.receive() {
            Packet::Suback(_, codes, _) => assert!(codes[0] >= 0x80),
            Packet::Disconnect(code, _) => assert!(matches!(code, 0x8F | 0x97), "{code:#04x}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_limit_that_is_reached_is_logged() {
    let broker = Broker::configured("[limits]\nmax-queued-messages = 5\n");
    offline(&broker, Version::V5);
    publish_many(&broker, 20, "");
    broker.await_line("max-queued-messages");
}

#[test]
fn new_connections_over_the_rate_wait_and_are_served() {
    let broker = Broker::configured("[limits]\nconnect-rate = 20\n");
    let start = Instant::now();
    let mut wires: Vec<Wire> = (0..60).map(|_| Wire::open(broker.mqtt(), Version::V311)).collect();
    for (n, wire) in wires.iter_mut().enumerate() {
        wire.send(&Connect::v311(&format!("c{n}")).encode());
    }
    for wire in &mut wires {
        assert!(matches!(wire.receive(), Packet::Connack { code: 0, .. }));
    }
    // One second's worth may come at once, the other 40 take two.
    assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
}

/// A client that names no Receive Maximum, as none of 3.x can, is held to `max-inflight`.
#[test]
fn messages_in_flight_to_a_3x_client() {
    let broker = Broker::configured("[limits]\nmax-inflight = 5\n");
    for version in Version::ALL {
        let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s"));
        subscriber.subscribe("t", 1);
        publish_many(&broker, 12, "");
        let window: Vec<Publish> = (0..5).map(|_| subscriber.receive_publish()).collect();
        subscriber.ping();
        for publish in &window {
            subscriber.acknowledge(publish);
        }
        for n in 5..12 {
            assert_eq!(subscriber.take().1, n.to_string(), "{version:?}");
        }
        subscriber.disconnect();
    }
}

#[test]
fn a_durable_3x_session_may_be_given_an_end() {
    let broker = Broker::configured("[mqtt]\npersistent-client-expiration = \"1s\"\n");
    offline(&broker, Version::V311);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let end = Instant::now() + tercet_interop::wire::PATIENCE;
    // 0x10: nobody is subscribed any more.
    while publisher.publish(Publish::new("t", "x").qos(1)) != 0x10 {
        assert!(Instant::now() < end, "the session never expired");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (_, present, _) = Wire::connect_full(&broker, &Connect::v311("s").durable());
    assert!(!present);
}

#[test]
fn user_properties_of_one_packet() {
    let broker = Broker::configured("[limits]\nmax-user-properties = 10\n");
    let with = |count: usize| {
        let list =
            (0..count).fold(tercet_interop::Properties::new(), |list, n| list.user("n", &n.to_string()));
        Publish::new("t", "x").properties(list)
    };
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    wire.publish(with(10));
    wire.send(&with(11).encode(Version::V5));
    match wire.receive() {
        Packet::Disconnect(code, _) => assert!(matches!(code, 0x97 | 0x95 | 0x83 | 0x82), "{code:#04x}"),
        other => panic!("{other:?}"),
    }
    wire.expect_closed();
}

#[test]
fn bytes_of_retained_messages() {
    let broker = Broker::configured("[limits]\nmax-retained-bytes = 10000\n");
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    assert!(wire.publish(Publish::new("r/1", [b'x'; 6000]).qos(1).retain()) < 0x80);
    assert_eq!(wire.publish(Publish::new("r/2", [b'x'; 6000]).qos(1).retain()), 0x97);
    assert!(wire.publish(Publish::new("r/1", "small").qos(1).retain()) < 0x80);
    assert!(wire.publish(Publish::new("r/2", [b'x'; 6000]).qos(1).retain()) < 0x80);
}
