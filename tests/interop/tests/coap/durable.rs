//! What was confirmed to a CoAP client outlives a power cut.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tercet_interop::broker::new_directory;
use tercet_interop::{Broker, Random};

use crate::wire::{ACK, CON, CONTENT, DELETE, GET, Message, PUT, Peer};

fn read(address: SocketAddr, topic: &str) -> Option<Vec<u8>> {
    let answer = Peer::new(address).call(GET, &format!("ps/{topic}"), b"");
    (answer.code == CONTENT).then_some(answer.payload)
}

#[test]
fn a_value_is_there_after_a_restart() {
    let directory = new_directory();
    let broker = Broker::durable(&directory, "");
    let address = broker.address("coap");
    let mut peer = Peer::new(address);
    let put = Message::request(CON, PUT, peer.id(), "ps/a").option(12, &[50]).payload(b"{}");
    assert_eq!(peer.ask(&put).kind, ACK);
    peer.call(PUT, "ps/b", &[7; 900]);
    peer.call(PUT, "ps/c", b"gone");
    peer.call(DELETE, "ps/c", b"");
    broker.kill();
    let broker = Broker::durable(&directory, "");
    let address = broker.address("coap");
    let answer = Peer::new(address).call(GET, "ps/a", b"");
    assert_eq!((&answer.payload[..], answer.number(12)), (&b"{}"[..], Some(50)));
    assert_eq!(read(address, "b"), Some(vec![7; 900]));
    assert_eq!(read(address, "c"), None);
    broker.stop();
}

/// A small storm: values are written while the broker is killed again and again. What was confirmed is there, and what was
/// not is the value before or the one that was asked for.
#[test]
fn confirmed_values_survive_kills() {
    let mut random = Random::seeded("coap storm");
    let directory = new_directory();
    // What each topic may hold: the last confirmed value, and those asked for since.
    let mut allowed: BTreeMap<String, Vec<Option<Vec<u8>>>> = BTreeMap::new();
    let mut value = 0_u32;
    for _ in 0..8 {
        let broker = Broker::durable(&directory, "");
        let address = broker.address("coap");
        for (topic, values) in &mut allowed {
            let now = read(address, topic);
            assert!(values.contains(&now), "{topic} is {now:?}, and may be {values:?}");
            *values = vec![now];
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let until = 50 + random.below(150);
        let mut waiting: BTreeMap<u16, (String, Option<Vec<u8>>)> = BTreeMap::new();
        for id in 0..until as u16 {
            let topic = format!("t{}", random.below(20));
            value += 1;
            let body = random.below(5).checked_sub(1).map(|_| value.to_string().into_bytes());
            let request =
                Message::request(CON, if body.is_some() { PUT } else { DELETE }, id, &format!("ps/{topic}"));
            // A topic has one request under way, so that the order of the answers is the order of the values.
            if waiting.values().all(|(other, _)| *other != topic) {
                allowed.entry(topic.clone()).or_insert_with(|| vec![None]).push(body.clone());
                socket.send(&request.payload(body.as_deref().unwrap_or_default()).encode()).unwrap();
                waiting.insert(id, (topic, body));
            }
            while waiting.len() > 8 {
                confirm(&socket, &mut waiting, &mut allowed);
            }
        }
        if random.once_in(2) {
            while !waiting.is_empty() {
                confirm(&socket, &mut waiting, &mut allowed);
            }
        }
        broker.kill();
    }
}

/// Takes one confirmation, if it comes soon.
fn confirm(
    socket: &UdpSocket,
    waiting: &mut BTreeMap<u16, (String, Option<Vec<u8>>)>,
    allowed: &mut BTreeMap<String, Vec<Option<Vec<u8>>>>,
) {
    let mut buffer = [0; 2048];
    let Ok(length) = socket.recv(&mut buffer) else { return };
    let answer = Message::decode(&buffer[..length]).unwrap();
    // A separate response names its request by the token.
    let id = u16::from_be_bytes([answer.token[0], answer.token[1]]);
    let success = answer.code >> 5 == 2;
    if answer.kind == CON {
        let empty = Message { kind: ACK, code: 0, token: vec![], options: vec![], payload: vec![], ..answer };
        socket.send(&empty.encode()).unwrap();
    }
    if let Some((topic, body)) = waiting.remove(&id) {
        // A DELETE of what is not there is no failure of the storm.
        assert!(success || body.is_none(), "a write is not refused");
        if success {
            allowed.insert(topic, vec![body]);
        }
    }
}
