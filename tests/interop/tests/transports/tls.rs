//! TLS: server certificates, client certificates as identities, ALPN, reload without dropping connections.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tempfile::TempDir;
use tercet_interop::broker::new_directory;
use tercet_interop::certificates::Authority;
use tercet_interop::tls::Tls;
use tercet_interop::websocket::WebSocket;
use tercet_interop::wire::PATIENCE;
use tercet_interop::{Broker, Connect, Packet, Publish, Version, Wire};

const CONFIG: &str = r#"
[auth]
acl-file = "{dir}/acl"
[[listener]]
name = "tls"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
[[listener]]
name = "wss"
protocol = "ws"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
[[listener]]
name = "cn"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
client-ca = "{dir}/ca.pem"
client-auth = "required"
use-identity-as-username = "cn"
[[listener]]
name = "san"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
client-ca = "{dir}/ca.pem"
client-auth = "required"
use-identity-as-username = "san-dns"
[[listener]]
name = "optional"
bind = "127.0.0.1:0"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
client-ca = "{dir}/ca.pem"
client-auth = "optional"
"#;

/// Only the owner of a topic may write it, everybody else is refused: that shows who a connection is.
const ACL: &str = "topic readwrite anonymous/#\npattern readwrite of/%u/#\n";

fn start() -> (Broker, Authority, Arc<TempDir>) {
    let directory = new_directory();
    let authority = Authority::new("test authority");
    authority.write_server(directory.path());
    fs::write(directory.path().join("acl"), ACL).unwrap();
    (Broker::in_directory(directory.clone(), CONFIG), authority, directory)
}

fn wire(broker: &Broker, listener: &str, authority: &Authority, version: Version) -> Wire {
    Tls::open(broker.address(listener), authority, None, &[]).unwrap().wire(version)
}

#[test]
fn every_version_works_over_tls() {
    let (broker, authority, _directory) = start();
    for version in Version::ALL {
        let connect = Connect::new(version, "c");
        let (mut tls, ..) = wire(&broker, "tls", &authority, version).handshake(&connect);
        tls.subscribe("anonymous/#", 2);
        let payload = vec![7; 200_000];
        for qos in 0..=2 {
            tls.publish(Publish::new("anonymous/t", &payload).qos(qos));
            assert!(tls.take_publish().payload == payload);
        }
        tls.disconnect();
    }
}

#[test]
fn a_websocket_works_over_tls() {
    let (broker, authority, _directory) = start();
    let tls = Tls::open(broker.address("wss"), &authority, None, &["http/1.1"]).unwrap();
    let (mut wire, ..) = WebSocket::upgrade(tls).wire(Version::V5).handshake(&Connect::v5("c"));
    wire.subscribe("anonymous/t", 1);
    wire.publish(Publish::new("anonymous/t", "x").qos(1));
    assert_eq!(wire.take().1, "x");
}

#[test]
fn alpn_mqtt_is_agreed_on_and_others_are_refused() {
    let (broker, authority, _directory) = start();
    let tls = Tls::open(broker.address("tls"), &authority, None, &["mqtt"]).unwrap();
    assert_eq!(tls.protocol().as_deref(), Some("mqtt"));
    let _ = tls.wire(Version::V5).handshake(&Connect::v5("c"));
    let tls = Tls::open(broker.address("tls"), &authority, None, &["x", "mqtt"]).unwrap();
    assert_eq!(tls.protocol().as_deref(), Some("mqtt"));
    assert!(Tls::open(broker.address("tls"), &authority, None, &["h2"]).is_err());
}

#[test]
fn the_certificate_is_the_identity() {
    let (broker, authority, _directory) = start();
    let alice = authority.client("alice", &["alice.devices.example"]);
    for (listener, name) in [("cn", "alice"), ("san", "alice.devices.example")] {
        for version in Version::ALL {
            let tls = Tls::open(broker.address(listener), &authority, Some(&alice), &[]).unwrap();
            // A user name in the CONNECT does not count.
            let connect = Connect::new(version, "c").login("bob", "x");
            let (mut wire, ..) = tls.wire(version).handshake(&connect);
            wire.subscribe(&format!("of/{name}/#"), 1);
            wire.publish(Publish::new(&format!("of/{name}/t"), "mine").qos(1));
            assert_eq!(wire.take().1, "mine");
            if version == Version::V5 {
                assert_eq!(wire.publish(Publish::new("of/bob/t", "x").qos(1)), 0x87);
            }
            wire.disconnect();
        }
    }
}

/// TLS 1.3 tells a client only with the first read that its certificate was refused.
fn is_refused(opened: std::io::Result<Tls>) -> bool {
    let Ok(tls) = opened else { return true };
    let mut wire = tls.wire(Version::V5);
    if wire.try_send(&Connect::v5("c").encode()).is_err() {
        return true;
    }
    match wire.try_next_raw() {
        Ok(None) | Err(_) => true,
        Ok(Some(bytes)) => {
            matches!(Packet::decode(Version::V5, bytes[0], &bytes[2..]), Packet::Connack { code, .. } if code != 0)
        }
    }
}

#[test]
fn certificates_of_others_and_none_at_all_are_refused() {
    let (broker, authority, _directory) = start();
    let stranger = Authority::new("another authority").client("alice", &[]);
    let address = broker.address("cn");
    assert!(is_refused(Tls::open(address, &authority, None, &[])));
    assert!(is_refused(Tls::open(address, &authority, Some(&stranger), &[])));
    let optional = broker.address("optional");
    assert!(is_refused(Tls::open(optional, &authority, Some(&stranger), &[])));
    assert!(!is_refused(Tls::open(optional, &authority, None, &[])));
    let known = authority.client("alice", &[]);
    assert!(!is_refused(Tls::open(optional, &authority, Some(&known), &[])));
}

/// CVE-2017-7653 in certificates: a common name that cannot be a user name lets nobody in as somebody.
#[test]
fn a_common_name_with_wildcards_opens_nothing() {
    let (broker, authority, _directory) = start();
    for name in ["#", "+", "a/b"] {
        let identity = authority.client(name, &[]);
        let Ok(tls) = Tls::open(broker.address("cn"), &authority, Some(&identity), &[]) else { continue };
        let mut wire = tls.wire(Version::V5);
        wire.send(&Connect::v5("c").encode());
        match wire.next_packet() {
            None => continue,
            Some(Packet::Connack { code, .. }) if code != 0 => continue,
            Some(Packet::Connack { .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(wire.publish(Publish::new("of/alice/t", "x").qos(1)), 0x87, "{name}");
    }
}

#[test]
fn a_reload_takes_a_new_certificate_and_keeps_connections() {
    let (broker, old, directory) = start();
    let (mut before, ..) = wire(&broker, "tls", &old, Version::V5).handshake(&Connect::v5("before"));
    let new = Authority::new("the next authority");
    new.write_server(directory.path());
    broker.signal("HUP");
    broker.await_line("reload");
    let (mut after, ..) = wire(&broker, "tls", &new, Version::V5).handshake(&Connect::v5("after"));
    assert!(
        Tls::open(broker.address("tls"), &old, None, &[]).is_err(),
        "the old authority signed nothing of it"
    );
    // The authority of clients changed too.
    assert!(!is_refused(Tls::open(broker.address("cn"), &new, Some(&new.client("alice", &[])), &[])));
    assert!(is_refused(Tls::open(broker.address("cn"), &new, Some(&old.client("alice", &[])), &[])));
    before.subscribe("anonymous/t", 1);
    after.publish(Publish::new("anonymous/t", "x").qos(1));
    assert_eq!(before.take().1, "x");
}

#[test]
fn a_reload_with_a_broken_certificate_keeps_the_old_one() {
    let (broker, authority, directory) = start();
    fs::write(directory.path().join("server.pem"), "no certificate").unwrap();
    broker.signal("HUP");
    broker.await_line("server.pem");
    let (mut wire, ..) = wire(&broker, "tls", &authority, Version::V5).handshake(&Connect::v5("c"));
    wire.ping();
}

#[test]
fn plain_mqtt_at_the_tls_port_is_closed() {
    let (mut broker, ..) = start();
    let mut stream = TcpStream::connect(broker.address("tls")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&Connect::v5("c").encode()).unwrap();
    // An alert may come first; it is no MQTT packet.
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => assert!(answer.len() < 64, "{answer:02x?}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    broker.assert_alive();
}
