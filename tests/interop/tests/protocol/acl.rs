//! Access rules in Mosquitto's format: who may publish and subscribe what, what the refused are told, and that rights
//! are looked at again when something old is replayed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use tercet_interop::broker::new_directory;
use tercet_interop::packet::{ack, subscribe};
use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Will, Wire};

use crate::passwords::argon2id;

const CONFIG: &str = "[auth]\npassword-file = \"{dir}/passwords\"\nacl-file = \"{dir}/acl\"\n";

fn write_acl(directory: &Path, acl: &str) {
    fs::write(directory.join("acl"), acl).unwrap();
}

/// A broker with users `alice`, `bob` and `#`, whose passwords are their names.
fn start(acl: &str) -> (Broker, Arc<TempDir>) {
    let directory = new_directory();
    let mut passwords = String::new();
    for name in ["alice", "bob", "+", "a"] {
        passwords += &format!("{name}:{}\n", argon2id(name));
    }
    fs::write(directory.path().join("passwords"), passwords).unwrap();
    write_acl(directory.path(), acl);
    (Broker::in_directory(directory.clone(), CONFIG), directory)
}

/// Puts another ACL file in force and waits until it is.
fn reload(broker: &Broker, directory: &TempDir, acl: &str) {
    write_acl(directory.path(), acl);
    broker.signal("HUP");
    broker.await_line("reload");
}

fn user(version: Version, name: &str) -> Connect {
    Connect::new(version, &format!("{name}-{version:?}")).login(name, name)
}

#[test]
fn a_denied_publish_is_silently_acknowledged_in_3x_and_0x87_in_v5() {
    let (broker, _) = start("user alice\ntopic readwrite ok/#\ntopic read no/#\n");
    let mut watcher = Wire::connect(&broker, &user(Version::V311, "alice"));
    watcher.subscribe("ok/#", 0);
    watcher.subscribe("no/#", 0);
    for version in Version::ALL {
        let mut wire = Wire::connect(&broker, &user(version, "alice").resume());
        let denied = if version == Version::V5 { 0x87 } else { 0 };
        if version == Version::V311 {
            // The watcher has the same identifier; it was taken over.
            watcher = Wire::connect(&broker, &Connect::v311("watcher").login("alice", "alice"));
            watcher.subscribe("#", 0);
        }
        for qos in 1..=2 {
            assert_eq!(wire.publish(Publish::new("no/t", "x").qos(qos)), denied, "{version:?} QoS {qos}");
        }
        wire.publish(Publish::new("no/t", "x"));
        wire.publish(Publish::new("ok/t", "fine").qos(1));
        assert_eq!(watcher.take(), ("ok/t".into(), "fine".into()));
    }
}

#[test]
fn a_denied_subscription_is_0x80_in_3x_and_0x87_in_v5() {
    let (broker, _) = start("user alice\ntopic read ok/#\ntopic subscribe ok/#\n");
    for (version, code) in [(Version::V31, 0x80), (Version::V311, 0x80), (Version::V5, 0x87)] {
        let mut wire = Wire::connect(&broker, &user(version, "alice"));
        assert_eq!(
            wire.subscribe_many(&[("ok/a", 1), ("no/a", 1), ("#", 0), ("ok/#", 2)]),
            [1, code, code, 2],
            "{version:?}"
        );
        wire.disconnect();
    }
}

/// Mosquitto's way: a filter may be wider than what may be read; the deliveries are filtered.
#[test]
fn a_wide_subscription_receives_only_what_may_be_read() {
    let (broker, _) = start("user alice\ntopic read ok/#\ntopic deny ok/secret\nuser bob\ntopic write #\n");
    for version in Version::ALL {
        let mut reader = Wire::connect(&broker, &user(version, "alice"));
        reader.subscribe("#", 1);
        let mut writer = Wire::connect(&broker, &user(version, "bob"));
        for topic in ["no", "ok/secret", "ok/a"] {
            writer.publish(Publish::new(topic, "x").qos(1));
        }
        assert_eq!(reader.take().0, "ok/a", "{version:?}");
        reader.disconnect();
    }
}

#[test]
fn patterns_stand_for_the_client_and_the_user() {
    let (broker, _) = start("pattern readwrite dev/%c/#\npattern readwrite home/%u\n");
    let mut wire = Wire::connect(&broker, &Connect::v5("sensor").login("alice", "alice"));
    wire.subscribe("dev/sensor/#", 1);
    wire.subscribe("home/alice", 1);
    assert_eq!(wire.publish(Publish::new("dev/sensor/t", "1").qos(1)), 0);
    assert_eq!(wire.take().0, "dev/sensor/t");
    assert_eq!(wire.publish(Publish::new("home/alice", "1").qos(1)), 0);
    assert_eq!(wire.take().0, "home/alice");
    for topic in ["dev/other/t", "home/bob", "home/alice/x", "dev"] {
        assert_eq!(wire.publish(Publish::new(topic, "1").qos(1)), 0x87, "{topic}");
    }
}

/// CVE-2017-7650: a name that is a wildcard must not widen a pattern.
#[test]
fn wildcards_in_names_open_nothing() {
    let (broker, _) =
        start("pattern readwrite dev/%c/t\npattern readwrite home/%u/t\nuser bob\ntopic readwrite #\n");
    for client in ["#", "+", "+/x", "a/b", "dev/#"] {
        let mut wire = Wire::open(broker.mqtt(), Version::V5);
        wire.send(&Connect::v5(client).login("+", "+").encode());
        match wire.next_packet() {
            // Refusing such names is as good.
            Some(Packet::Connack { code, .. }) if code != 0 => continue,
            Some(Packet::Connack { .. }) => {}
            other => panic!("{client}: {other:?}"),
        }
        for topic in ["dev/sensor/t", "home/alice/t", "dev/sensor/x/t"] {
            assert_eq!(wire.publish(Publish::new(topic, "x").qos(1)), 0x87, "{client} to {topic}");
        }
        let codes = wire.subscribe_many(&[("dev/+/t", 0), ("home/+/t", 0), ("#", 0)]);
        let mut writer = Wire::connect(&broker, &Connect::v5("w").login("bob", "bob"));
        writer.publish(Publish::new("dev/sensor/t", "secret"));
        writer.publish(Publish::new("home/alice/t", "secret"));
        wire.ping();
        drop(codes);
    }
}

#[test]
fn nobody_named_means_anonymous_clients() {
    let (broker, _) = start("topic read public/#\nuser alice\ntopic write public/#\n");
    let mut anonymous = Wire::connect(&broker, &Connect::v5("anonymous"));
    anonymous.subscribe("public/#", 0);
    assert_eq!(anonymous.publish(Publish::new("public/x", "1").qos(1)), 0x87);
    let mut alice = Wire::connect(&broker, &user(Version::V5, "alice"));
    assert_eq!(alice.publish(Publish::new("public/x", "2").qos(1)), 0);
    assert_eq!(anonymous.take().1, "2");
}

#[test]
fn a_will_needs_the_right_too() {
    let (broker, _) = start("user alice\ntopic read #\ntopic write ok/#\n");
    let mut watcher = Wire::connect(&broker, &Connect::v5("watcher").login("alice", "alice"));
    watcher.subscribe("#", 0);
    for topic in ["no/will", "ok/will"] {
        let mut wire = Wire::open(broker.mqtt(), Version::V5);
        wire.send(&user(Version::V5, "alice").will(Will::new(topic, "x")).encode());
        let _ = wire.next_packet();
    }
    assert_eq!(watcher.take().0, "ok/will");
}

#[test]
fn an_empty_acl_file_denies_everything() {
    let (broker, _) = start("# nothing is granted (CVE-2018-12550)\n");
    let mut wire = Wire::connect(&broker, &user(Version::V5, "alice"));
    assert_eq!(wire.publish(Publish::new("t", "x").qos(1)), 0x87);
    assert_eq!(wire.subscribe_many(&[("t", 0), ("#", 0)]), [0x87, 0x87]);
}

const ALL: &str = "user alice\ntopic readwrite #\nuser bob\ntopic readwrite #\n";
const ALICE_LOST: &str = "user alice\ntopic readwrite other/#\nuser bob\ntopic readwrite #\n";

/// CVE-2018-12546: what a publisher retained goes away with its right, or is not sent to who may not read it.
#[test]
fn a_revoked_reader_gets_no_retained_message() {
    let (broker, directory) = start(ALL);
    let mut bob = Wire::connect(&broker, &user(Version::V5, "bob"));
    bob.publish(Publish::new("secret", "x").qos(1).retain());
    bob.publish(Publish::new("other/t", "y").qos(1).retain());
    reload(&broker, &directory, ALICE_LOST);
    let mut alice = Wire::connect(&broker, &user(Version::V5, "alice"));
    alice.subscribe("#", 1);
    assert_eq!(alice.take().0, "other/t");
    alice.ping();
}

/// CVE-2021-34434: a durable subscription does not outlive the right to it.
#[test]
fn a_revoked_subscription_delivers_nothing_more() {
    for version in Version::ALL {
        let (broker, directory) = start(ALL);
        let alice = user(version, "alice").durable();
        let mut wire = Wire::connect(&broker, &alice);
        wire.subscribe("secret", 1);
        wire.subscribe("other/t", 1);
        wire.disconnect();
        let mut bob = Wire::connect(&broker, &user(Version::V5, "bob"));
        bob.publish(Publish::new("secret", "queued").qos(1));
        reload(&broker, &directory, ALICE_LOST);
        bob.publish(Publish::new("secret", "later").qos(1));
        bob.publish(Publish::new("other/t", "end").qos(1));
        let mut wire = Wire::connect(&broker, &alice);
        assert_eq!(wire.take(), ("other/t".into(), "end".into()), "{version:?}");
        bob.publish(Publish::new("secret", "live").qos(1));
        bob.publish(Publish::new("other/t", "end").qos(1));
        assert_eq!(wire.take(), ("other/t".into(), "end".into()), "{version:?}");
    }
}

/// What is in flight is not sent again after the right was taken.
#[test]
fn unacknowledged_messages_are_not_replayed_to_the_revoked() {
    for qos in 1..=2 {
        let (broker, directory) = start(ALL);
        let alice = user(Version::V5, "alice").durable();
        let mut wire = Wire::connect(&broker, &alice);
        wire.subscribe("secret", 2);
        let mut bob = Wire::connect(&broker, &user(Version::V5, "bob"));
        bob.publish(Publish::new("secret", "x").qos(qos));
        wire.receive_publish();
        drop(wire);
        reload(&broker, &directory, ALICE_LOST);
        let mut wire = Wire::connect(&broker, &alice);
        wire.ping();
    }
}

/// A QoS 2 message whose publisher lost its right in between: with method B it was passed on before, so it must not
/// be passed on again, and the handshake ends well.
#[test]
fn an_unfinished_qos_2_publish_ends_without_a_second_delivery() {
    let (broker, directory) = start(ALL);
    let mut bob = Wire::connect(&broker, &user(Version::V5, "bob"));
    bob.subscribe("#", 2);
    let alice = user(Version::V5, "alice").durable();
    let mut wire = Wire::connect(&broker, &alice);
    wire.send(&Publish::new("secret", "once").qos(2).id(5).encode(Version::V5));
    assert!(matches!(wire.receive(), Packet::Pubrec(_)));
    assert_eq!(bob.take().1, "once");
    drop(wire);
    reload(&broker, &directory, ALICE_LOST);
    let mut wire = Wire::connect(&broker, &alice);
    wire.send(&Publish::new("secret", "once").qos(2).id(5).dup().encode(Version::V5));
    let answer = wire.receive();
    assert!(matches!(&answer, Packet::Pubrec(ack) if ack.id == 5), "{answer:?}");
    wire.send(&ack(0x62, 5));
    assert!(matches!(wire.receive(), Packet::Pubcomp(_)));
    bob.publish(Publish::new("end", ""));
    assert_eq!(bob.take().0, "end");
}

#[test]
fn a_reload_with_a_broken_file_keeps_what_is_in_force() {
    let (broker, directory) = start(ALL);
    write_acl(directory.path(), "user alice\ntopic readwritten #\n");
    broker.signal("HUP");
    broker.await_line("readwritten");
    let mut wire = Wire::connect(&broker, &user(Version::V5, "alice"));
    assert_eq!(wire.publish(Publish::new("t", "x").qos(1)), 0x10);
    wire.send(&subscribe(Version::V5, 1, &Properties::new(), &[("t", 0)]));
    assert!(matches!(wire.receive(), Packet::Suback(1, codes, _) if codes == [0]));
}
