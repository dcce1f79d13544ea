//! Keep alive and the time limits of a connection.

use std::time::{Duration, Instant};

use tercet_interop::{Broker, Connect, Packet, Version, Wire, id};

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    let broker = Broker::start();
    for version in Version::ALL {
        let mut wire = Wire::connect(&broker, &Connect::new(version, "c").keep_alive(1));
        let start = Instant::now();
        wire.expect_disconnect(0x8D);
        assert!(start.elapsed() >= Duration::from_millis(1400), "{:?} is before 1.5 s", start.elapsed());
    }
}

#[test]
fn any_packet_keeps_it_alive() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v311("c").keep_alive(1));
    let mut other = Wire::connect(&broker, &Connect::v311("other").keep_alive(1));
    let start = Instant::now();
    let mut turn = 0;
    while start.elapsed() < Duration::from_millis(2500) {
        std::thread::sleep(Duration::from_millis(400));
        turn += 1;
        wire.ping();
        other.publish(tercet_interop::Publish::new("t", "x").qos(turn % 3));
    }
}

#[test]
fn a_keep_alive_of_zero_never_ends_it() {
    let broker = Broker::start();
    let mut zero = Wire::connect(&broker, &Connect::v5("zero").keep_alive(0));
    let mut one = Wire::connect(&broker, &Connect::v5("one").keep_alive(1));
    one.expect_disconnect(0x8D);
    zero.ping();
}

/// What the broker sends does not count: it is the client that must show a sign of life.
#[test]
fn packets_to_the_client_do_not_count() {
    let broker = Broker::start();
    let mut silent = Wire::connect(&broker, &Connect::v5("silent").keep_alive(1));
    silent.subscribe("t", 0);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let start = Instant::now();
    loop {
        publisher.publish(tercet_interop::Publish::new("t", "x"));
        match silent.next_packet() {
            Some(Packet::Publish(_)) => {}
            Some(Packet::Disconnect(0x8D, _)) => break,
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it lives on");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_longest_keep_alive_can_be_set_and_is_told() {
    let broker = Broker::configured(
        "[[listener]]\nname = \"strict\"\nbind = \"127.0.0.1:0\"\nmax-keep-alive = \"1s\"\n",
    );
    for asked in [0, 600] {
        let connect = Connect::v5("c").keep_alive(asked);
        let (mut wire, _, properties) = Wire::open(broker.address("strict"), Version::V5).handshake(&connect);
        assert_eq!(properties.get_number(id::SERVER_KEEP_ALIVE), Some(1), "[MQTT-3.2.2-21] for {asked}");
        wire.expect_disconnect(0x8D);
    }
    let (_, _, properties) = Wire::connect_full(&broker, &Connect::v5("c").keep_alive(30));
    assert_eq!(properties.get_number(id::SERVER_KEEP_ALIVE), None);
}

const HURRIED: &str =
    "[[listener]]\nname = \"hurried\"\nbind = \"127.0.0.1:0\"\nconnect-timeout = \"500ms\"\n";

#[test]
fn the_connect_must_come_in_time() {
    let broker = Broker::configured(HURRIED);
    let mut silent = Wire::open(broker.address("hurried"), Version::V5);
    let start = Instant::now();
    silent.expect_closed();
    assert!(start.elapsed() >= Duration::from_millis(400));
}

/// NATS CVE-2026-58210: half a CONNECT, parked.
#[test]
fn half_a_connect_does_not_buy_time() {
    let broker = Broker::configured(HURRIED);
    let connect = Connect::v311("c").encode();
    let mut half = Wire::open(broker.address("hurried"), Version::V311);
    half.send(&connect[..connect.len() / 2]);
    half.expect_closed();
    // Nor does one byte after the other.
    let mut drip = Wire::open(broker.address("hurried"), Version::V311);
    let start = Instant::now();
    drip.set_patience(Duration::from_millis(100));
    for byte in Connect::v311(&"x".repeat(200)).encode() {
        if drip.try_send(&[byte]).is_err() {
            break;
        }
        match drip.try_next_raw() {
            Ok(None) => break,
            Ok(Some(packet)) => panic!("{packet:02x?}"),
            Err(_) => assert!(start.elapsed() < Duration::from_secs(10), "the drip lives on"),
        }
    }
}

#[test]
fn a_connect_in_pieces_is_accepted() {
    let broker = Broker::start();
    for version in Version::ALL {
        let mut wire = Wire::open(broker.mqtt(), version);
        for byte in Connect::new(version, "pieces").encode() {
            wire.send(&[byte]);
        }
        assert!(matches!(wire.receive(), Packet::Connack { code: 0, .. }));
        for byte in tercet_interop::Publish::new("t", "x").qos(1).id(5).encode(version) {
            wire.send(&[byte]);
        }
        assert!(matches!(wire.receive(), Packet::Puback(ack) if ack.id == 5));
    }
}

#[test]
fn packets_sent_with_the_connect_are_handled_after_it() {
    let broker = Broker::start();
    for version in Version::ALL {
        let mut wire = Wire::open(broker.mqtt(), version);
        let mut bytes = Connect::new(version, "eager").encode();
        bytes.extend(tercet_interop::packet::subscribe(
            version,
            1,
            &tercet_interop::Properties::new(),
            &[("e", 0)],
        ));
        bytes.extend(tercet_interop::Publish::new("e", "x").encode(version));
        wire.send(&bytes);
        assert!(matches!(wire.receive(), Packet::Connack { code: 0, .. }));
        assert!(matches!(wire.receive(), Packet::Suback(1, _, _)));
        assert_eq!(wire.take().1, "x", "§3.1.4");
        wire.disconnect();
    }
}
