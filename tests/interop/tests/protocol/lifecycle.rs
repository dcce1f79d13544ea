//! Starting, reloading and ending: what operators and scripts rely on.

use tercet_interop::{Broker, Connect, Publish, Version, Wire};

#[test]
fn sigterm_tells_clients_and_ends_with_0() {
    let mut broker = Broker::start();
    let mut new = Wire::connect(&broker, &Connect::v5("new"));
    let mut old = Wire::connect(&broker, &Connect::v311("old"));
    let mut idle = Wire::open(broker.mqtt(), Version::V5);
    broker.signal("TERM");
    new.expect_disconnect(0x8B);
    old.expect_closed();
    idle.expect_closed();
    drop((new, old, idle));
    assert_eq!(broker.await_end(), Some(0));
}

#[test]
fn what_is_on_its_way_is_still_delivered_on_sigterm() {
    let mut broker = Broker::start();
    let mut subscriber = Wire::connect(&broker, &Connect::v311("s"));
    subscriber.subscribe("t", 0);
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    for n in 0..1000 {
        publisher.send(&Publish::new("t", n.to_string()).encode(Version::V311));
    }
    publisher.ping();
    broker.signal("TERM");
    for n in 0..1000 {
        assert_eq!(subscriber.take().1, n.to_string());
    }
    subscriber.expect_closed();
    drop((subscriber, publisher));
    assert_eq!(broker.await_end(), Some(0));
}

#[test]
fn sighup_does_not_disturb_connections() {
    let broker = Broker::configured("[limits]\nmax-queued-messages = 10\n");
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    wire.subscribe("t", 1);
    broker.signal("HUP");
    broker.await_line("reload");
    wire.publish(Publish::new("t", "x").qos(1));
    assert_eq!(wire.take().1, "x");
}

#[test]
fn the_ready_line_is_the_only_one_of_its_kind() {
    let broker = Broker::start();
    Wire::connect(&broker, &Connect::v5("c")).disconnect();
    let log = broker.log();
    assert_eq!(log.lines().filter(|line| line.contains("ready in")).count(), 1, "{log}");
}

#[test]
fn a_connect_and_a_disconnect_are_one_line_each() {
    let broker = Broker::start();
    Wire::connect(&broker, &Connect::v5("somebody")).disconnect();
    broker.await_line("somebody");
    broker.await_line("somebody");
}
