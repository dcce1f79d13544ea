//! Accounts and their permissions hold over MQTT, too: `amq.topic` is the topic space.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use tercet_server::RunningServer;

use crate::api::ask;
use crate::client::{connect, start};

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind, u8::try_from(body.len()).unwrap()];
    packet.extend_from_slice(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    let mut encoded = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    encoded.extend_from_slice(text.as_bytes());
    encoded
}

/// Connects as a user of MQTT 5: the stream, and the reason code of CONNACK.
fn log_in(server: &RunningServer, user: &str, password: &str) -> (TcpStream, u8) {
    let mut stream = connect(server, "mqtt");
    let mut body = text("MQTT");
    body.extend([5, 0b1100_0010, 0, 60, 0]);
    for field in [user, user, password] {
        body.extend(text(field));
    }
    stream.write_all(&packet(0x10, &body)).unwrap();
    let answer = read(&mut stream);
    assert_eq!(answer[0], 0x20);
    (stream, answer[3])
}

/// One packet of less than 128 bytes.
fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).unwrap();
    let length = usize::from(packet[1]);
    packet.resize(2 + length, 0);
    stream.read_exact(&mut packet[2..]).unwrap();
    packet
}

/// The reason code of PUBACK.
fn publish(stream: &mut TcpStream, topic: &str) -> u8 {
    let mut body = text(topic);
    body.extend([0, 1, 0, b'x']);
    stream.write_all(&packet(0x32, &body)).unwrap();
    let answer = read(stream);
    assert_eq!(answer[0], 0x40, "{answer:?}");
    answer.get(4).copied().unwrap_or(0)
}

/// The reason code of SUBACK.
fn subscribe(stream: &mut TcpStream, filter: &str) -> u8 {
    let mut body = vec![0, 2, 0];
    body.extend(text(filter));
    body.push(0);
    stream.write_all(&packet(0x82, &body)).unwrap();
    let answer = read(stream);
    assert_eq!(answer[0], 0x90, "{answer:?}");
    *answer.last().unwrap()
}

fn permit(server: &RunningServer, write: &str, read: &str) {
    let body = format!(r#"{{"configure":"","write":"{write}","read":"{read}"}}"#);
    assert_eq!(ask(server, "PUT", "permissions/%2F/ann", &body).status, 204);
}

#[test]
fn what_is_not_allowed_on_the_topic_exchange_is_not_allowed_with_topics() {
    const DENIED: u8 = 0x87;
    let server = start(|_| {});
    assert_eq!(ask(&server, "PUT", "users/ann", r#"{"password":"pw"}"#).status, 201);
    assert_eq!(log_in(&server, "ann", "pw").1, DENIED, "there is no permission yet");
    assert_eq!(log_in(&server, "ann", "no").1, 0x86);
    permit(&server, "", "^amq");
    let (mut ann, code) = log_in(&server, "ann", "pw");
    assert_eq!(code, 0);
    assert_eq!((publish(&mut ann, "a/b"), subscribe(&mut ann, "a/#")), (DENIED, 0));
    permit(&server, ".*", "");
    assert!([0, 0x10].contains(&publish(&mut ann, "b/b")), "the right is there at once");
    assert_eq!(subscribe(&mut ann, "b/#"), DENIED);
    permit(&server, ".*", ".*");
    let topics = r#"{"exchange":"amq.topic","write":"^{client_id}\\.","read":"^all\\."}"#;
    assert_eq!(ask(&server, "PUT", "topic-permissions/%2F/ann", topics).status, 204);
    assert_eq!((publish(&mut ann, "other/x"), subscribe(&mut ann, "#")), (DENIED, DENIED));
    assert!([0, 0x10].contains(&publish(&mut ann, "ann/x")));
    assert_eq!(subscribe(&mut ann, "all/+"), 0);
    assert_eq!(ask(&server, "DELETE", "users/ann", "").status, 204);
    assert_eq!((publish(&mut ann, "ann/x"), subscribe(&mut ann, "all/+")), (DENIED, DENIED));
}

#[test]
fn connections_count_against_the_limits_of_users() {
    let server = start(|_| {});
    assert_eq!(ask(&server, "PUT", "users/ann", r#"{"password":"pw"}"#).status, 201);
    permit(&server, ".*", ".*");
    assert_eq!(ask(&server, "PUT", "user-limits/ann", r#"{"max-connections":1}"#).status, 204);
    let first = log_in(&server, "ann", "pw");
    assert_eq!((first.1, log_in(&server, "ann", "pw").1), (0, 0x97));
    assert!(ask(&server, "GET", "vhosts/%2F", "").body.contains(r#""connections":1"#));
    drop(first);
    crate::client::eventually(0, || log_in(&server, "ann", "pw").1);
}
