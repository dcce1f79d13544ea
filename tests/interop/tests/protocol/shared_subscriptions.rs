//! Shared subscriptions (§4.8.2): one queue with competing consumers.

use std::collections::BTreeMap;

use tercet_interop::packet::ack;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire, id};

fn members(broker: &Broker, count: usize, filter: &str, qos: u8) -> Vec<Wire> {
    (0..count)
        .map(|n| {
            let mut wire = Wire::connect(broker, &Connect::v5(&format!("m{n}")));
            wire.subscribe(filter, qos);
            wire
        })
        .collect()
}

fn publish(wire: &mut Wire, topic: &str, from: usize, count: usize, qos: u8) {
    for n in from..from + count {
        wire.publish(Publish::new(topic, n.to_string()).qos(qos));
    }
}

#[test]
fn each_message_goes_to_one_member_in_turn() {
    let broker = Broker::start();
    for qos in 0..=2 {
        let mut members = members(&broker, 3, "$share/g/t/+", qos);
        let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
        publish(&mut publisher, "t/x", 0, 30, qos);
        let mut seen = Vec::new();
        for member in &mut members {
            let mut own: Vec<usize> = (0..10).map(|_| member.take().1.parse().unwrap()).collect();
            assert!(own.is_sorted(), "each member sees them in order");
            seen.append(&mut own);
            member.ping();
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..30).collect::<Vec<_>>(), "QoS {qos}");
        for member in members {
            member.disconnect();
        }
    }
}

#[test]
fn every_version_can_share() {
    let broker = Broker::start();
    let mut members: Vec<Wire> = Version::ALL
        .iter()
        .map(|version| {
            let mut wire = Wire::connect(&broker, &Connect::new(*version, &format!("{version:?}")));
            wire.subscribe("$share/g/t", 1);
            wire
        })
        .collect();
    let mut publisher = Wire::connect(&broker, &Connect::v311("p"));
    publish(&mut publisher, "t", 0, 6, 1);
    for member in &mut members {
        assert_eq!(member.take().0, "t");
        assert_eq!(member.take().0, "t");
        member.ping();
    }
}

#[test]
fn groups_and_plain_subscriptions_each_get_every_message() {
    let broker = Broker::start();
    let mut first = Wire::connect(&broker, &Connect::v5("1"));
    first.subscribe("$share/one/t", 0);
    let mut second = Wire::connect(&broker, &Connect::v5("2"));
    second.subscribe("$share/two/t", 0);
    let mut plain = Wire::connect(&broker, &Connect::v5("3"));
    plain.subscribe("t", 0);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, 10, 0);
    for wire in [&mut first, &mut second, &mut plain] {
        for n in 0..10 {
            assert_eq!(wire.take().1, n.to_string());
        }
    }
}

#[test]
fn a_client_with_both_gets_both() {
    let broker = Broker::start();
    let mut wire = Wire::connect(&broker, &Connect::v5("c"));
    wire.subscribe("$share/g/t", 0);
    wire.subscribe("t", 0);
    wire.publish(Publish::new("t", "x"));
    assert_eq!(wire.take().1, "x");
    assert_eq!(wire.take().1, "x");
    assert_eq!(wire.unsubscribe(&["t"]), [0]);
    wire.publish(Publish::new("t", "y"));
    assert_eq!(wire.take().1, "y", "the shared one is still there");
    assert_eq!(wire.unsubscribe(&["$share/g/t"]), [0]);
    wire.publish(Publish::new("t", "z"));
    wire.ping();
}

/// A member gets five messages, acknowledges one and leaves; another member must get the other four.
fn leave_four_to_another(leave: impl FnOnce(Wire)) {
    let broker = Broker::start();
    let mut leaver = Wire::connect(&broker, &Connect::v5("leaver"));
    leaver.subscribe("$share/g/t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, 5, 1);
    let unacknowledged: Vec<Publish> = (0..5).map(|_| leaver.receive_publish()).collect();
    leaver.send(&ack(0x40, unacknowledged[0].id));
    leaver.ping();
    let mut stays = Wire::connect(&broker, &Connect::v5("stays"));
    stays.subscribe("$share/g/t", 1);
    leave(leaver);
    let mut seen: Vec<String> = (0..4).map(|_| stays.take().1).collect();
    seen.sort();
    assert_eq!(seen, ["1", "2", "3", "4"]);
    stays.ping();
}

/// [MQTT-3.10.4-3]: what was sent before the UNSUBSCRIBE is completed with that member, as it is still there.
#[test]
fn a_member_that_unsubscribes_completes_what_it_got() {
    let broker = Broker::start();
    let mut leaver = Wire::connect(&broker, &Connect::v5("leaver"));
    leaver.subscribe("$share/g/t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, 5, 1);
    let unacknowledged: Vec<Publish> = (0..5).map(|_| leaver.receive_publish()).collect();
    let mut stays = Wire::connect(&broker, &Connect::v5("stays"));
    stays.subscribe("$share/g/t", 1);
    assert_eq!(leaver.unsubscribe(&["$share/g/t"]), [0]);
    publish(&mut publisher, "t", 5, 5, 1);
    for n in 5..10 {
        assert_eq!(stays.take().1, n.to_string());
    }
    for publish in &unacknowledged {
        leaver.acknowledge(publish);
    }
    leaver.ping();
    stays.ping();
}

#[test]
fn a_member_that_says_goodbye_leaves_what_is_unacknowledged_to_the_others() {
    leave_four_to_another(Wire::disconnect);
}

#[test]
fn a_member_that_dies_leaves_what_is_unacknowledged_to_the_others() {
    leave_four_to_another(drop);
}

/// §4.8.2: a QoS 2 message in flight completes with its member when that one comes back.
#[test]
fn qos_2_in_flight_stays_with_its_member() {
    let broker = Broker::start();
    let mut leaver = Wire::connect(&broker, &Connect::v5("leaver").durable());
    leaver.subscribe("$share/g/t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "two").qos(2));
    let publish = leaver.receive_publish();
    assert_eq!(publish.qos, 2);
    leaver.send(&ack(0x50, publish.id));
    assert!(matches!(leaver.receive(), Packet::Pubrel(_)));
    let mut stays = Wire::connect(&broker, &Connect::v5("stays"));
    stays.subscribe("$share/g/t", 2);
    drop(leaver);
    publisher.publish(Publish::new("t", "end").qos(1));
    assert_eq!(stays.take().1, "end", "the QoS 2 message did not move");
    let mut leaver = Wire::connect(&broker, &Connect::v5("leaver").durable());
    assert!(matches!(leaver.receive(), Packet::Pubrel(release) if release.id == publish.id));
    leaver.send(&ack(0x70, publish.id));
    leaver.ping();
}

#[test]
fn a_full_window_passes_the_turn_on() {
    let broker = Broker::start();
    let mut slow = Wire::connect(&broker, &Connect::v5("slow").number(id::RECEIVE_MAXIMUM, 1));
    slow.subscribe("$share/g/t", 1);
    let mut fast = Wire::connect(&broker, &Connect::v5("fast"));
    fast.subscribe("$share/g/t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, 20, 1);
    let held = slow.receive_publish();
    for _ in 0..19 {
        fast.take_publish();
    }
    fast.ping();
    slow.acknowledge(&held);
    slow.ping();
}

#[test]
fn messages_wait_for_a_group_whose_members_are_all_away() {
    let broker = Broker::start();
    let mut member = Wire::connect(&broker, &Connect::v5("m").durable());
    member.subscribe("$share/g/t", 1);
    member.disconnect();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, 5, 1);
    let mut member = Wire::connect(&broker, &Connect::v5("m").durable());
    for n in 0..5 {
        assert_eq!(member.take().1, n.to_string());
    }
}

#[test]
fn members_that_are_away_are_passed_over() {
    let broker = Broker::start();
    let mut away = Wire::connect(&broker, &Connect::v5("away").durable());
    away.subscribe("$share/g/t", 1);
    away.disconnect();
    let mut here = Wire::connect(&broker, &Connect::v5("here"));
    here.subscribe("$share/g/t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, 10, 1);
    for n in 0..10 {
        assert_eq!(here.take().1, n.to_string());
    }
}

#[test]
fn retained_messages_are_not_sent_to_a_group() {
    let broker = Broker::start();
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "kept").retain());
    let mut member = Wire::connect(&broker, &Connect::v5("m"));
    member.subscribe("$share/g/t", 1);
    member.ping();
    publisher.publish(Publish::new("t", "live"));
    assert_eq!(member.take().1, "live");
}

#[test]
fn the_old_queue_prefix_is_one_common_group() {
    let broker = Broker::start();
    let mut members = members(&broker, 2, "$queue/t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, 10, 1);
    let mut seen = Vec::new();
    for member in &mut members {
        for _ in 0..5 {
            seen.push(member.take().1.parse::<usize>().unwrap());
        }
        member.ping();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}

#[test]
fn the_identifier_of_a_shared_subscription_is_told() {
    let broker = Broker::start();
    let mut member = Wire::connect(&broker, &Connect::v5("m"));
    let properties = tercet_interop::Properties::new().number(id::SUBSCRIPTION_ID, 9);
    member.subscribe_with(&properties, &[("$share/g/t", 0)]);
    member.publish(Publish::new("t", "x"));
    assert_eq!(member.take_publish().properties.numbers(id::SUBSCRIPTION_ID), [9]);
}

fn share_of(broker: &Broker, messages: usize) -> BTreeMap<usize, usize> {
    let mut members = members(broker, 3, "$share/g/t", 0);
    let mut publisher = Wire::connect(broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, messages, 0);
    let mut counts = BTreeMap::new();
    for (n, member) in members.iter_mut().enumerate() {
        member.subscribe("end", 0);
        publisher.publish(Publish::new("end", ""));
        while member.take().0 != "end" {
            *counts.entry(n).or_default() += 1;
        }
        member.unsubscribe(&["end"]);
    }
    counts
}

#[test]
fn other_strategies_can_be_configured() {
    let broker = Broker::configured("[mqtt]\nshared-strategy = \"sticky\"\n");
    assert_eq!(share_of(&broker, 60).values().copied().collect::<Vec<_>>(), [60], "one member gets all");
    let broker = Broker::configured("[mqtt]\nshared-strategy = \"random\"\n");
    let counts = share_of(&broker, 300);
    assert_eq!((counts.len(), counts.values().sum::<usize>()), (3, 300), "{counts:?}");
    let broker = Broker::configured("[mqtt]\nshared-strategy = \"least-inflight\"\n");
    assert_eq!(share_of(&broker, 60).values().sum::<usize>(), 60);
}

#[test]
fn least_inflight_prefers_the_member_that_acknowledges() {
    let broker = Broker::configured("[mqtt]\nshared-strategy = \"least-inflight\"\n");
    let mut busy = Wire::connect(&broker, &Connect::v5("busy"));
    busy.subscribe("$share/g/t", 1);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publish(&mut publisher, "t", 0, 5, 1);
    let held: Vec<Publish> = (0..5).map(|_| busy.receive_publish()).collect();
    let mut free = Wire::connect(&broker, &Connect::v5("free"));
    free.subscribe("$share/g/t", 1);
    for n in 0..5 {
        publish(&mut publisher, "t", n, 1, 1);
        assert_eq!(free.take().1, n.to_string());
        free.ping();
    }
    assert_eq!(held.len(), 5);
    busy.ping();
}

/// [MQTT-4.8.2-4]: so does one of which only the PUBLISH was sent.
#[test]
fn a_qos_2_publish_without_pubrec_stays_too() {
    let broker = Broker::start();
    let mut leaver = Wire::connect(&broker, &Connect::v5("leaver").durable());
    leaver.subscribe("$share/g/t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "two").qos(2));
    let publish = leaver.receive_publish();
    let mut stays = Wire::connect(&broker, &Connect::v5("stays"));
    stays.subscribe("$share/g/t", 2);
    drop(leaver);
    publisher.publish(Publish::new("t", "end").qos(1));
    assert_eq!(stays.take().1, "end", "the QoS 2 message did not move");
    let mut leaver = Wire::connect(&broker, &Connect::v5("leaver").durable());
    let again = leaver.take_publish();
    assert_eq!((again.text().as_str(), again.id, again.dup), ("two", publish.id, true));
}

/// [MQTT-4.8.2-5]: nor does it move when its member's session ends.
#[test]
fn a_qos_2_publish_in_flight_ends_with_its_session() {
    let broker = Broker::start();
    let mut leaver = Wire::connect(&broker, &Connect::v5("leaver"));
    leaver.subscribe("$share/g/t", 2);
    let mut publisher = Wire::connect(&broker, &Connect::v5("p"));
    publisher.publish(Publish::new("t", "two").qos(2));
    leaver.receive_publish();
    let mut stays = Wire::connect(&broker, &Connect::v5("stays"));
    stays.subscribe("$share/g/t", 2);
    leaver.disconnect();
    publisher.publish(Publish::new("t", "end").qos(1));
    assert_eq!(stays.take().1, "end");
}
