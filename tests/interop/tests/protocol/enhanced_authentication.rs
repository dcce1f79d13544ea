//! Enhanced authentication (§4.12) with SCRAM-SHA-256 (RFC 5802, RFC 7677): the client's side is written here.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tercet_interop::broker::new_directory;
use tercet_interop::packet::auth;
use tercet_interop::{Broker, Connect, Packet, Properties, Version, Wire, id};

use crate::passwords::argon2id;

const METHOD: &str = "SCRAM-SHA-256";

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().into()
}

fn salted(password: &str, salt: &[u8], iterations: u32) -> [u8; 32] {
    pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, iterations)
}

/// A line of the password file with SCRAM credentials.
fn line(user: &str, password: &str) -> String {
    let salt = b"0123456789abcdef";
    let salted = salted(password, salt, 4096);
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    let (salt, stored, server) = (BASE64.encode(salt), BASE64.encode(stored), BASE64.encode(server));
    format!("{user}:{}:$scram-sha-256$4096${salt}${stored}${server}\n", argon2id(password))
}

fn start() -> Broker {
    let directory = new_directory();
    fs::write(directory.path().join("passwords"), line("alice", "secret") + &line("bob", "other")).unwrap();
    Broker::in_directory(directory, "[auth]\nanonymous = \"deny\"\npassword-file = \"{dir}/passwords\"\n")
}

struct Scram {
    password: String,
    first_bare: String,
    server_signature: Vec<u8>,
}

impl Scram {
    fn new(user: &str, password: &str) -> Self {
        let first_bare = format!("n={user},r=client-nonce-of-{user}");
        Self { password: password.into(), first_bare, server_signature: Vec::new() }
    }

    fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    fn last(&mut self, server_first: &str) -> String {
        let field = |name: &str| {
            let part = server_first.split(',').find(|part| part.starts_with(name));
            part.unwrap_or_else(|| panic!("no {name} in {server_first}"))[2..].to_owned()
        };
        let nonce = field("r=");
        assert!(
            nonce.len() > 20 && self.first_bare.ends_with(&nonce[..nonce.len().min(16)])
                || nonce.starts_with("client-nonce")
        );
        let salted =
            salted(&self.password, &BASE64.decode(field("s=")).unwrap(), field("i=").parse().unwrap());
        let without_proof = format!("c=biws,r={nonce}");
        let message = format!("{},{server_first},{without_proof}", self.first_bare);
        let key = hmac(&salted, b"Client Key");
        let signature = hmac(&Sha256::digest(key), message.as_bytes());
        let proof: Vec<u8> = key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        self.server_signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes()).to_vec();
        format!("{without_proof},p={}", BASE64.encode(proof))
    }

    fn check(&self, server_last: &[u8]) {
        let expected = format!("v={}", BASE64.encode(&self.server_signature));
        assert_eq!(String::from_utf8_lossy(server_last), expected);
    }
}

fn data(method: &str, text: &str) -> Properties {
    Properties::new().text(id::AUTH_METHOD, method).text(id::AUTH_DATA, text)
}

fn connect(client: &str, scram: &Scram) -> Connect {
    Connect::v5(client).text(id::AUTH_METHOD, METHOD).text(id::AUTH_DATA, scram.first())
}

fn challenge(wire: &mut Wire) -> String {
    match wire.receive() {
        Packet::Auth(0x18, properties) => {
            assert_eq!(properties.get_text(id::AUTH_METHOD), Some(METHOD.as_bytes()), "[MQTT-4.12.0-5]");
            String::from_utf8(properties.get_text(id::AUTH_DATA).unwrap().to_vec()).unwrap()
        }
        other => panic!("expected AUTH 0x18, got {other:?}"),
    }
}

fn log_in(broker: &Broker, client: &str, user: &str, password: &str) -> Wire {
    let mut scram = Scram::new(user, password);
    let mut wire = Wire::open(broker.mqtt(), Version::V5);
    wire.send(&connect(client, &scram).encode());
    let server_first = challenge(&mut wire);
    wire.send(&auth(0x18, &data(METHOD, &scram.last(&server_first))));
    match wire.receive() {
        Packet::Connack { code: 0, properties, .. } => {
            assert_eq!(properties.get_text(id::AUTH_METHOD), Some(METHOD.as_bytes()));
            scram.check(properties.get_text(id::AUTH_DATA).unwrap());
        }
        other => panic!("{other:?}"),
    }
    wire
}

#[test]
fn scram_logs_in_and_proves_the_server() {
    let broker = start();
    let mut wire = log_in(&broker, "c", "alice", "secret");
    wire.ping();
}

#[test]
fn a_wrong_password_is_refused_at_the_last_step() {
    let broker = start();
    for (user, password) in [("alice", "wrong"), ("nobody", "x")] {
        let mut scram = Scram::new(user, password);
        let mut wire = Wire::open(broker.mqtt(), Version::V5);
        wire.send(&connect("c", &scram).encode());
        match wire.receive() {
            // Who exists must not show: the exchange goes on for everybody, or ends for everybody.
            Packet::Auth(0x18, properties) => {
                let text = String::from_utf8(properties.get_text(id::AUTH_DATA).unwrap().to_vec()).unwrap();
                wire.send(&auth(0x18, &data(METHOD, &scram.last(&text))));
                let answer = wire.receive();
                assert!(matches!(answer, Packet::Connack { code: 0x86 | 0x87, .. }), "{answer:?}");
            }
            other => panic!("{user}: {other:?}"),
        }
        wire.expect_closed();
    }
}

#[test]
fn what_is_no_scram_message_is_refused() {
    let broker = start();
    for first in
        ["", "x", "n,,", "n,,n=alice", "y,,n=alice,r=x", "p=tls-unique,,n=alice,r=x", "n,,m=x,n=alice,r=x"]
    {
        let mut wire = Wire::open(broker.mqtt(), Version::V5);
        wire.send(&Connect::v5("c").text(id::AUTH_METHOD, METHOD).text(id::AUTH_DATA, first).encode());
        match wire.receive() {
            Packet::Connack { code, .. } => {
                assert!(code >= 0x80, "{first}");
                wire.expect_closed();
            }
            // An empty first message may be answered by an empty challenge; "y" is an ordinary first message.
            Packet::Auth(0x18, _) => {}
            other => panic!("{first}: {other:?}"),
        }
    }
}

#[test]
fn nothing_but_auth_is_allowed_in_between() {
    let broker = start();
    for bytes in [
        tercet_interop::Publish::new("t", "x").encode(Version::V5),
        vec![0xC0, 0],
        tercet_interop::packet::subscribe(Version::V5, 1, &Properties::new(), &[("t", 0)]),
    ] {
        let mut wire = Wire::open(broker.mqtt(), Version::V5);
        wire.send(&connect("c", &Scram::new("alice", "secret")).encode());
        challenge(&mut wire);
        wire.send(&bytes);
        match wire.next_packet() {
            None => {}
            Some(Packet::Connack { code, .. } | Packet::Disconnect(code, _)) if code >= 0x80 => {
                wire.expect_closed()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_method_must_not_change() {
    let broker = start();
    let mut scram = Scram::new("alice", "secret");
    let mut wire = Wire::open(broker.mqtt(), Version::V5);
    wire.send(&connect("c", &scram).encode());
    let server_first = challenge(&mut wire);
    wire.send(&auth(0x18, &data("OTHER", &scram.last(&server_first))));
    match wire.next_packet() {
        None => {}
        Some(Packet::Connack { code, .. } | Packet::Disconnect(code, _)) if code >= 0x80 => {
            wire.expect_closed()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_may_authenticate_again() {
    let broker = start();
    let mut wire = log_in(&broker, "c", "alice", "secret");
    for _ in 0..2 {
        let mut scram = Scram::new("alice", "secret");
        wire.send(&auth(0x19, &data(METHOD, &scram.first())));
        let server_first = challenge(&mut wire);
        // Ordinary packets go on meanwhile (§4.12.1).
        wire.ping();
        wire.send(&auth(0x18, &data(METHOD, &scram.last(&server_first))));
        match wire.receive() {
            Packet::Auth(0, properties) => scram.check(properties.get_text(id::AUTH_DATA).unwrap()),
            other => panic!("{other:?}"),
        }
        wire.ping();
    }
}

#[test]
fn authenticating_again_with_a_wrong_password_ends_the_connection() {
    let broker = start();
    let mut wire = log_in(&broker, "c", "alice", "secret");
    let mut scram = Scram::new("alice", "wrong");
    wire.send(&auth(0x19, &data(METHOD, &scram.first())));
    let server_first = challenge(&mut wire);
    wire.send(&auth(0x18, &data(METHOD, &scram.last(&server_first))));
    wire.expect_disconnect(0x87);
}

#[test]
fn authenticating_again_as_somebody_else_ends_the_connection() {
    let broker = start();
    let mut wire = log_in(&broker, "c", "alice", "secret");
    let mut scram = Scram::new("bob", "other");
    wire.send(&auth(0x19, &data(METHOD, &scram.first())));
    match wire.receive() {
        Packet::Disconnect(0x87, _) => wire.expect_closed(),
        Packet::Auth(0x18, properties) => {
            let text = String::from_utf8(properties.get_text(id::AUTH_DATA).unwrap().to_vec()).unwrap();
            wire.send(&auth(0x18, &data(METHOD, &scram.last(&text))));
            wire.expect_disconnect(0x87);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_method_when_authenticating_again_is_a_protocol_error() {
    let broker = start();
    let mut wire = log_in(&broker, "c", "alice", "secret");
    wire.send(&auth(0x19, &data("OTHER", "x")));
    wire.expect_disconnect(0x82);
}

#[test]
fn scram_can_be_switched_off() {
    let directory = new_directory();
    fs::write(directory.path().join("passwords"), line("alice", "secret")).unwrap();
    let broker =
        Broker::in_directory(directory, "[auth]\nscram = false\npassword-file = \"{dir}/passwords\"\n");
    assert_eq!(Wire::refused(&broker, &connect("c", &Scram::new("alice", "secret"))).0, 0x8C);
}
