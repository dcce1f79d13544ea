//! QoS 0, 1 and 2 in both directions: each message once at its quality, delivered at the lower of the two.

use tercet_interop::packet::ack;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

#[test]
fn every_pair_of_qualities_and_versions() {
    let broker = Broker::start();
    for sender in Version::ALL {
        for receiver in Version::ALL {
            let mut publisher = Wire::connect(&broker, &Connect::new(sender, "p"));
            let mut subscriber = Wire::connect(&broker, &Connect::new(receiver, "s"));
            for granted in 0..=2 {
                subscriber.subscribe("t", granted);
                for qos in 0..=2 {
                    publisher.publish(Publish::new("t", format!("{qos}{granted}")).qos(qos));
                    let publish = subscriber.take_publish();
                    assert_eq!(publish.text(), format!("{qos}{granted}"));
                    assert_eq!(publish.qos, qos.min(granted), "{sender:?} to {receiver:?}");
                    assert!(!publish.dup && !publish.retain);
                }
            }
            publisher.disconnect();
            subscriber.disconnect();
        }
    }
}

#[test]
fn payloads_of_every_size_arrive_whole() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v5("s"));
    subscriber.subscribe("t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for length in [0, 1, 117, 118, 119, 127, 128, 4095, 4096, 4097, 16_373, 16_384, 65_535, 65_536, 1_000_000]
    {
        let payload: Vec<u8> = (0..length).map(|n: u32| (n % 251) as u8).collect();
        for qos in 0..=2 {
            publisher.publish(Publish::new("t", &payload).qos(qos));
            let publish = subscriber.take_publish();
            assert!(publish.payload == payload, "{length} bytes at QoS {qos}");
        }
    }
}

/// The specification's method B (§4.3.3): a QoS 2 message is passed on when its PUBLISH comes.
#[test]
fn qos_2_is_passed_on_at_publish_and_never_twice() {
    let broker = Broker::start();
    for version in Version::ALL {
        let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s"));
        subscriber.subscribe("t", 2);
        let mut publisher = Wire::connect(&broker, &Connect::new(version, "p").durable());
        publisher.send(&Publish::new("t", "once").qos(2).id(7).encode(version));
        assert!(matches!(publisher.receive(), Packet::Pubrec(ack) if ack.id == 7));
        assert_eq!(subscriber.take().1, "once", "before any PUBREL");
        for _ in 0..3 {
            publisher.send(&Publish::new("t", "once").qos(2).id(7).dup().encode(version));
            assert!(matches!(publisher.receive(), Packet::Pubrec(ack) if ack.id == 7));
        }
        publisher.send(&ack(0x62, 7));
        assert!(matches!(publisher.receive(), Packet::Pubcomp(ack) if ack.id == 7));
        publisher.publish(Publish::new("t", "end").qos(1));
        assert_eq!(subscriber.take().1, "end", "{version:?}: no duplicate came between");
        // The identifier is free again: the same packet is a new message.
        publisher.send(&Publish::new("t", "second").qos(2).id(7).encode(version));
        assert!(matches!(publisher.receive(), Packet::Pubrec(ack) if ack.id == 7));
        assert_eq!(subscriber.take().1, "second");
        subscriber.disconnect();
        Wire::connect(&broker, &Connect::new(version, "p")).disconnect();
    }
}

#[test]
fn a_duplicate_after_reconnect_is_not_passed_on_again() {
    let broker = Broker::start();
    for version in Version::ALL {
        let mut subscriber = Wire::connect(&broker, &Connect::new(version, "s"));
        subscriber.subscribe("t", 2);
        let mut publisher = Wire::connect(&broker, &Connect::new(version, "p").durable());
        publisher.send(&Publish::new("t", "once").qos(2).id(9).encode(version));
        assert!(matches!(publisher.receive(), Packet::Pubrec(_)));
        drop(publisher);
        let mut publisher = Wire::connect(&broker, &Connect::new(version, "p").durable());
        publisher.send(&Publish::new("t", "once").qos(2).id(9).dup().encode(version));
        assert!(matches!(publisher.receive(), Packet::Pubrec(_)));
        publisher.send(&ack(0x62, 9));
        assert!(matches!(publisher.receive(), Packet::Pubcomp(_)));
        publisher.publish(Publish::new("t", "end").qos(2));
        assert_eq!(subscriber.take().1, "once");
        assert_eq!(subscriber.take().1, "end", "{version:?}");
        subscriber.disconnect();
        Wire::connect(&broker, &Connect::new(version, "p")).disconnect();
    }
}

#[test]
fn pubrec_with_an_error_ends_the_delivery() {
    let broker = Broker::start();
    let mut subscriber =
        Wire::connect(&broker, &Connect::v5("s").number(tercet_interop::id::RECEIVE_MAXIMUM, 1));
    subscriber.subscribe("t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    for text in ["refused", "next"] {
        publisher.publish(Publish::new("t", text).qos(2));
    }
    let refused = subscriber.receive_publish();
    subscriber.send(&tercet_interop::packet::frame(0x50, &[(refused.id >> 8) as u8, refused.id as u8, 0x97]));
    // No PUBREL follows, and the one place of the window is free again (§4.9).
    assert_eq!(subscriber.take().1, "next");
}

#[test]
fn order_is_kept_per_publisher_and_quality() {
    let broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
    subscriber.subscribe("#", 2);
    let mut publishers: Vec<Wire> =
        (0..4).map(|n| Wire::connect(&broker, &Connect::v311(&format!("p{n}")))).collect();
    for n in 0..100_u16 {
        for (at, publisher) in publishers.iter_mut().enumerate() {
            let qos = (at % 3) as u8;
            let publish = Publish::new(&format!("t/{at}"), n.to_string()).qos(qos).id(n + 1);
            publisher.send(&publish.encode(Version::V311));
            if qos == 2 {
                publisher.send(&ack(0x62, n + 1));
            }
        }
    }
    let mut next = [0; 4];
    let mut released = 0;
    while next.iter().sum::<u16>() < 400 || released < 100 {
        match subscriber.receive() {
            Packet::Publish(publish) => {
                let at: usize = publish.topic[2..].parse().unwrap();
                assert_eq!(publish.text(), next[at].to_string(), "from publisher {at}");
                next[at] += 1;
                match publish.qos {
                    0 => {}
                    1 => subscriber.send(&ack(0x40, publish.id)),
                    _ => subscriber.send(&ack(0x50, publish.id)),
                }
            }
            Packet::Pubrel(release) => {
                released += 1;
                subscriber.send(&ack(0x70, release.id));
            }
            other => panic!("{other:?}"),
        }
    }
}
