//! Wills: when they are sent, when not, with what, and how Will Delay and Session Expiry race (§3.1.2.5, §3.1.3.2.2).

use std::time::Instant;

use tercet_interop::packet::disconnect;
use tercet_interop::{Broker, Connect, Properties, Publish, Version, Will, Wire, id};

fn watcher(broker: &Broker) -> Wire {
    let mut wire = Wire::connect(broker, &Connect::v5("watcher"));
    wire.subscribe("will/#", 2);
    wire
}

fn delayed(topic: &str, text: &str, seconds: u32) -> Will {
    Will::new(topic, text).properties(Properties::new().number(id::WILL_DELAY, seconds))
}

#[test]
fn a_lost_connection_sends_it_and_a_goodbye_does_not() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    for version in Version::ALL {
        for qos in 0..=2 {
            let connect = Connect::new(version, "c").will(Will::new("will/t", "polite").qos(qos));
            Wire::connect(&broker, &connect).disconnect();
            let connect = Connect::new(version, "c").will(Will::new("will/t", "lost").qos(qos));
            drop(Wire::connect(&broker, &connect));
            let will = watcher.take_publish();
            assert_eq!((will.text().as_str(), will.qos, will.retain), ("lost", qos, false), "{version:?}");
        }
    }
}

#[test]
fn disconnect_0x04_asks_for_it() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    let mut wire = Wire::connect(&broker, &Connect::v5("c").will(Will::new("will/t", "asked")));
    wire.send(&disconnect(4, &Properties::new()));
    wire.expect_closed();
    assert_eq!(watcher.take().1, "asked");
}

#[test]
fn a_protocol_error_sends_it() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    for version in Version::ALL {
        let mut wire = Wire::connect(&broker, &Connect::new(version, "c").will(Will::new("will/t", "error")));
        wire.send(&[0x36, 0x00]);
        wire.expect_disconnect(0x81);
        assert_eq!(watcher.take().1, "error", "{version:?}");
    }
}

#[test]
fn keep_alive_that_runs_out_sends_it() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    let will = Will::new("will/t", "silent");
    let _silent = Wire::connect(&broker, &Connect::v311("c").keep_alive(1).will(will));
    assert_eq!(watcher.take().1, "silent");
}

#[test]
fn a_retained_will_is_retained() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    drop(Wire::connect(&broker, &Connect::v5("c").will(Will::new("will/r", "kept").qos(1).retain())));
    assert!(!watcher.take_publish().retain);
    let mut late = Wire::connect(&broker, &Connect::v5("late"));
    late.subscribe("will/r", 1);
    let publish = late.take_publish();
    assert_eq!((publish.text().as_str(), publish.retain), ("kept", true));
}

#[test]
fn an_empty_retained_will_clears() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    watcher.publish(Publish::new("will/r", "online").retain());
    assert_eq!(watcher.take().1, "online");
    drop(Wire::connect(&broker, &Connect::v5("c").will(Will::new("will/r", "").retain())));
    assert_eq!(watcher.take().1, "");
    let mut late = Wire::connect(&broker, &Connect::v5("late"));
    late.subscribe("will/r", 0);
    late.ping();
}

#[test]
fn all_its_properties_travel() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    let properties = Properties::new()
        .number(id::PAYLOAD_FORMAT, 1)
        .text(id::CONTENT_TYPE, "text/plain")
        .text(id::RESPONSE_TOPIC, "answers")
        .text(id::CORRELATION_DATA, [0, 255])
        .user("a", "1")
        .user("a", "2");
    let will = Will::new("will/t", "x").properties(properties.clone().number(id::MESSAGE_EXPIRY, 600));
    drop(Wire::connect(&broker, &Connect::v5("c").will(will)));
    let mut seen = watcher.take_publish().properties;
    let expiry = seen.get_number(id::MESSAGE_EXPIRY).expect("its expiry");
    assert!((590..=600).contains(&expiry));
    seen.0.retain(|(id, _)| *id != id::MESSAGE_EXPIRY);
    seen.0.sort_by_key(|(id, _)| *id);
    assert_eq!(seen, properties, "and no Will Delay Interval");
}

#[test]
fn a_delayed_will_waits() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    let start = Instant::now();
    drop(Wire::connect(&broker, &Connect::v5("late").expiry(60).will(delayed("will/late", "x", 1))));
    drop(Wire::connect(&broker, &Connect::v5("now").expiry(60).will(Will::new("will/now", "x"))));
    assert_eq!(watcher.take().0, "will/now");
    assert_eq!(watcher.take().0, "will/late");
    assert!(start.elapsed().as_millis() >= 900, "the delay is a lower bound: {:?}", start.elapsed());
}

#[test]
fn a_client_that_comes_back_cancels_it() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    drop(Wire::connect(&broker, &Connect::v5("back").expiry(60).will(delayed("will/back", "x", 1))));
    let back = Wire::connect(&broker, &Connect::v5("back").resume().expiry(60));
    drop(Wire::connect(&broker, &Connect::v5("clock").expiry(60).will(delayed("will/clock", "x", 2))));
    assert_eq!(watcher.take().0, "will/clock");
    back.disconnect();
}

/// §3.1.2.5: the will is sent when the session ends, if that is earlier than the delay (CVE-2019-11778).
#[test]
fn the_end_of_the_session_sends_it_before_its_delay() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    drop(Wire::connect(&broker, &Connect::v5("ends").expiry(1).will(delayed("will/ends", "x", 3600))));
    assert_eq!(watcher.take().0, "will/ends");
    drop(Wire::connect(&broker, &Connect::v5("at once").expiry(0).will(delayed("will/once", "x", 3600))));
    assert_eq!(watcher.take().0, "will/once", "a session expiry of 0 ends with the connection");
}

/// A clean start ends the old session, and with it the delay [MQTT-3.1.3-9].
#[test]
fn a_clean_start_during_the_delay_sends_it() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    drop(Wire::connect(&broker, &Connect::v5("c").expiry(3600).will(delayed("will/t", "x", 3600))));
    let _new = Wire::connect(&broker, &Connect::v5("c"));
    assert_eq!(watcher.take().0, "will/t");
}

#[test]
fn disconnect_that_ends_the_session_drops_the_will() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    let mut wire = Wire::connect(&broker, &Connect::v5("c").expiry(60).will(delayed("will/t", "x", 1)));
    wire.send(&disconnect(0, &Properties::new().number(id::SESSION_EXPIRY, 0)));
    wire.expect_closed();
    drop(Wire::connect(&broker, &Connect::v5("clock").will(Will::new("will/clock", "x"))));
    assert_eq!(watcher.take().0, "will/clock", "[MQTT-3.14.4-3]");
}

#[test]
fn the_will_of_the_last_connect_counts() {
    let broker = Broker::start();
    let mut watcher = watcher(&broker);
    let connect = |text: &str| Connect::v5("c").durable().will(Will::new("will/t", text));
    Wire::connect(&broker, &connect("first")).disconnect();
    drop(Wire::connect(&broker, &connect("second")));
    assert_eq!(watcher.take().1, "second");
}

/// Wills to topics that only the broker writes are not published (Mosquitto 2.0.16).
#[test]
fn a_will_to_sys_is_not_published() {
    let broker = Broker::start();
    let mut watcher = Wire::connect(&broker, &Connect::v311("watcher"));
    watcher.subscribe("will/#", 0);
    watcher.subscribe("$SYS/broker/forged", 0);
    let mut wire = Wire::open(broker.mqtt(), Version::V5);
    wire.send(&Connect::v5("forger").will(Will::new("$SYS/broker/forged", "x")).encode());
    // Refusing the CONNECT is as good as dropping the will.
    let _ = wire.next_packet();
    drop(wire);
    drop(Wire::connect(&broker, &Connect::v5("clock").will(Will::new("will/clock", "x"))));
    assert_eq!(watcher.take().0, "will/clock");
}

/// [MQTT-3.2.2-12, MQTT-3.2.2-13]: a will that could not be published is refused with the CONNECT.
#[test]
fn a_will_beyond_what_is_offered_is_refused() {
    let broker = Broker::configured("[mqtt]\nmax-qos = 1\nretain = false\n");
    let refused = |will: Will| Wire::refused(&broker, &Connect::v5("c").will(will)).0;
    assert_eq!(refused(Will::new("t", "x").qos(2)), 0x9B);
    assert_eq!(refused(Will::new("t", "x").retain()), 0x9A);
    let _accepted = Wire::connect(&broker, &Connect::v5("c").will(Will::new("t", "x").qos(1)));
}
