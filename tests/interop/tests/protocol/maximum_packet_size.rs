//! Maximum Packet Size both ways (§3.1.2.11.4, §3.2.2.3.6).

use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Wire, id};

#[test]
fn what_is_too_large_for_a_subscriber_is_dropped_for_that_one_only() {
    let broker = Broker::start();
    let mut small = Wire::connect(&broker, &Connect::v5("small").number(id::MAXIMUM_PACKET_SIZE, 100));
    let mut large = Wire::connect(&broker, &Connect::v5("large"));
    for subscriber in [&mut small, &mut large] {
        subscriber.subscribe("t", 2);
    }
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for qos in 0..=2 {
        publisher.publish(Publish::new("t", [b'x'; 200]).qos(qos));
        publisher.publish(Publish::new("t", "fits").qos(qos));
        assert_eq!(small.take().1, "fits", "[MQTT-3.1.2-25] at QoS {qos}");
        assert_eq!(large.take().1.len(), 200);
        assert_eq!(large.take().1, "fits");
    }
}

/// A dropped message acts as if it were sent (§3.1.2.11.4): it takes no place in the window.
#[test]
fn what_was_dropped_takes_no_place_in_the_window() {
    let broker = Broker::start();
    let connect = Connect::v5("s").number(id::MAXIMUM_PACKET_SIZE, 100).number(id::RECEIVE_MAXIMUM, 1);
    let mut subscriber = Wire::connect(&broker, &connect);
    subscriber.subscribe("t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for _ in 0..3 {
        publisher.publish(Publish::new("t", [b'x'; 200]).qos(1));
    }
    publisher.publish(Publish::new("t", "fits").qos(1));
    assert_eq!(subscriber.take().1, "fits");
}

#[test]
fn the_exact_size_fits() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s").number(id::MAXIMUM_PACKET_SIZE, 50));
    subscriber.subscribe("t", 0);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    // Fixed header 2, topic 3, properties 1: 44 bytes of payload make 50.
    publisher.publish(Publish::new("t", [b'b'; 45]));
    publisher.publish(Publish::new("t", [b'a'; 44]));
    assert_eq!(subscriber.take().1, "a".repeat(44));
}

#[test]
fn ours_is_told_and_enforced_with_0x95() {
    let broker =
        Broker::configured("[[listener]]\nname = \"small\"\nbind = \"127.0.0.1:0\"\nmax-packet-size = 200\n");
    let small = broker.address("small");
    let (mut wire, _, properties) = Wire::open(small, Version::V5).handshake(&Connect::v5("c"));
    assert_eq!(properties.get_number(id::MAXIMUM_PACKET_SIZE), Some(200));
    // 2 bytes of length: 3 + 3 + 1 + 193 = 200.
    let fits = Publish::new("t", [b'x'; 193]);
    assert_eq!(fits.encode(Version::V5).len(), 200);
    wire.publish(fits);
    wire.send(&Publish::new("t", [b'x'; 194]).encode(Version::V5));
    wire.expect_disconnect(0x95);

    let mut wire = Wire::connect_at(small, &Connect::v311("c"));
    wire.send(&Publish::new("t", [b'x'; 300]).encode(Version::V311));
    wire.expect_closed();

    // A CONNECT over the limit, too.
    let mut wire = Wire::open(small, Version::V5);
    wire.send(&Connect::v5(&"c".repeat(300)).encode());
    match wire.next_packet() {
        None => {}
        Some(Packet::Connack { code: 0x95, .. }) => wire.expect_closed(),
        other => panic!("{other:?}"),
    }
    // Other listeners keep their own.
    let (mut wire, _, properties) = Wire::connect_full(&broker, &Connect::v5("c"));
    assert_eq!(properties.get_number(id::MAXIMUM_PACKET_SIZE), Some(1 << 20));
    wire.publish(Publish::new("t", [b'x'; 300]));
}

/// The refusal is told from the fixed header: nothing of the body is waited for.
#[test]
fn the_fixed_header_alone_is_enough_to_refuse() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    wire.send(&[0x30, 0x80, 0x80, 0x80, 0x01]);
    wire.expect_disconnect(0x95);
}

/// A reason string or user property that would make an acknowledgement too large is left out [MQTT-3.4.2-2].
#[test]
fn answers_keep_to_a_tiny_maximum() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c").number(id::MAXIMUM_PACKET_SIZE, 64));
    wire.publish(Publish::new("t", "x").qos(1));
    wire.publish(Publish::new("t", "x").qos(2));
    let codes = wire.subscribe_with(&Properties::new(), &[("a", 0), ("b", 1), ("c", 2)]);
    assert_eq!(codes, [0, 1, 2]);
}
