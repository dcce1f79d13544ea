//! Clean start, session expiry, and what a session keeps while its client is away.

use tercet_interop::packet::disconnect;
use tercet_interop::{Broker, Connect, Properties, Publish, Version, Wire, id};

fn resume(version: Version, client: &str) -> Connect {
    Connect::new(version, client).durable()
}

#[test]
fn a_session_keeps_subscriptions_and_queues_qos_1_and_2() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v311("publisher"));
    for version in Version::ALL {
        let name = format!("{version:?}");
        let (mut first, present, _) = Wire::connect_full(&broker, &resume(version, &name));
        assert!(!present);
        first.subscribe("q/#", 2);
        first.disconnect();
        for n in 0..30 {
            publisher.publish(Publish::new("q/t", format!("{n}")).qos(1 + n % 2));
        }
        let (mut second, present, _) = Wire::connect_full(&broker, &resume(version, &name));
        // [MQTT-3.2.2-2]; the CONNACK of 3.1 has no such flag.
        assert!(present || version == Version::V31, "{version:?}");
        for n in 0..30 {
            let publish = second.take_publish();
            assert_eq!((publish.text(), publish.qos, publish.dup), (format!("{n}"), 1 + n % 2, false));
        }
        assert_eq!(second.unsubscribe(&["q/#"]).len(), usize::from(version == Version::V5));
        second.disconnect();
    }
}

#[test]
fn clean_start_forgets_everything() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v311("publisher"));
    for version in Version::ALL {
        let mut first = Wire::connect(&broker, &resume(version, "c"));
        first.subscribe("t", 1);
        first.disconnect();
        publisher.publish(Publish::new("t", "lost").qos(1));
        let (second, present, _) = Wire::connect_full(&broker, &Connect::new(version, "c"));
        assert!(!present, "[MQTT-3.1.2-4] {version:?}");
        second.disconnect();
        let (mut third, present, _) = Wire::connect_full(&broker, &resume(version, "c"));
        assert!(!present, "{version:?}");
        third.subscribe("end", 0);
        publisher.publish(Publish::new("t", "nobody").qos(1));
        publisher.publish(Publish::new("end", ""));
        assert_eq!(third.take().0, "end");
        third.unsubscribe(&["end"]);
        third.disconnect();
        Wire::connect(&broker, &Connect::new(version, "c")).disconnect();
    }
}

#[test]
fn without_session_expiry_a_v5_session_ends_with_its_connection() {
    let broker = Broker::start();
    Wire::connect(&broker, &Connect::v5("c").resume()).disconnect();
    let (_, present, _) = Wire::connect_full(&broker, &Connect::v5("c").resume());
    assert!(!present, "[MQTT-3.1.2-23]");
}

#[test]
fn session_expiry_runs_from_the_end_of_the_connection() {
    let broker = Broker::start();
    let mut first = Wire::connect(&broker, &Connect::v5("c").expiry(1));
    first.subscribe("t", 1);
    drop(first);
    // Waits for the expiry by asking; each question is a connection of its own under another identifier.
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    let end = std::time::Instant::now() + tercet_interop::wire::PATIENCE;
    loop {
        // 0x10: nobody is subscribed.
        if publisher.publish(Publish::new("t", "x").qos(1)) == 0x10 {
            break;
        }
        assert!(std::time::Instant::now() < end, "the session never expired");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let (_, present, _) = Wire::connect_full(&broker, &Connect::v5("c").resume());
    assert!(!present);
}

#[test]
fn disconnect_may_shorten_or_lengthen_session_expiry() {
    let broker = Broker::start();
    let expiry = |seconds| disconnect(0, &Properties::new().number(id::SESSION_EXPIRY, seconds));
    let mut wire = Wire::connect(&broker, &Connect::v5("c").expiry(3600));
    wire.send(&expiry(0));
    wire.expect_closed();
    let (mut wire, present, _) = Wire::connect_full(&broker, &Connect::v5("c").resume().expiry(1));
    assert!(!present, "the DISCONNECT said 0");
    wire.send(&expiry(u32::MAX));
    wire.expect_closed();
    let (_, present, _) = Wire::connect_full(&broker, &Connect::v5("c").resume());
    assert!(present, "0xFFFFFFFF never expires");
}

#[test]
fn a_subscription_is_replaced_not_doubled() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c").durable());
    wire.subscribe("t", 0);
    wire.subscribe("t", 1);
    wire.disconnect();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "1").qos(1));
    publisher.publish(Publish::new("t", "2").qos(1));
    let mut wire = Wire::connect(&broker, &Connect::v5("c").durable());
    assert_eq!(wire.take().1, "1");
    assert_eq!(wire.take().1, "2");
}

#[test]
fn max_session_expiry_is_granted_and_told() {
    let broker = Broker::configured("[limits]\nmax-session-expiry = \"1h\"\n");
    let (_, _, properties) = Wire::connect_full(&broker, &Connect::v5("a").expiry(u32::MAX));
    assert_eq!(properties.get_number(id::SESSION_EXPIRY), Some(3600));
    let (_, _, properties) = Wire::connect_full(&broker, &Connect::v5("b").expiry(60));
    assert_eq!(properties.get_number(id::SESSION_EXPIRY), None, "what was asked for is granted");
}

#[test]
fn session_present_is_not_set_for_other_clients() {
    let broker = Broker::start();
    Wire::connect(&broker, &Connect::v311("a").durable()).disconnect();
    let (_, present, _) = Wire::connect_full(&broker, &Connect::v311("b").durable());
    assert!(!present);
}
