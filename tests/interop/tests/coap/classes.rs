//! Weaknesses that other implementations had, by the numbers of docs/coap-conformance.md: those that no table shows.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use tempfile::TempDir;
use tercet_interop::broker::new_directory;
use tercet_interop::{Broker, Random};

use crate::wire::{CON, CONTENT, GET, Message, PUT, Peer, code};

/// A broker that also listens for DTLS, with one key.
fn secure() -> (Broker, SocketAddr) {
    let directory = new_directory();
    fs::write(directory.path().join("keys"), "sensor:736573616d65\n").unwrap();
    let broker = Broker::in_directory(directory, "[coap]\npsk-file = \"{dir}/keys\"\n");
    let address = broker.address("coaps");
    (broker, address)
}

fn launch(directory: &Arc<TempDir>, key: &str, file: &[u8]) -> Option<i32> {
    fs::write(directory.path().join("file"), file).unwrap();
    let toml = format!("[coap]\n{key} = \"{{dir}}/file\"\n");
    let mut broker = Broker::launch(directory, &toml);
    broker.await_end()
}

#[test]
fn class_01_bad_files_are_refused_at_the_start() {
    let long = [&b"name:"[..], &vec![b'0'; 100_001]].concat();
    let files: [&[u8]; 9] = [
        b"name",
        b"name:xyz",
        b"name:abc",
        b":00",
        b"name:",
        b"a:00\na:01",
        b"\xff\xfe:00",
        b"a:0\x000",
        &long,
    ];
    let directory = new_directory();
    for file in files {
        let end = launch(&directory, "psk-file", file);
        assert_eq!(end, Some(78), "{:?}", String::from_utf8_lossy(&file[..file.len().min(40)]));
    }
    let mut random = Random::seeded("coap key files");
    for _ in 0..5 {
        let noise: Vec<_> = (0..random.below(300) + 1).map(|_| random.below(255) as u8 + 1).collect();
        assert_eq!(launch(&directory, "oscore-file", &noise), Some(78), "{noise:02x?}");
    }
}

/// A record of DTLS 1.2.
fn record(kind: u8, epoch: u16, sequence: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut out = vec![kind, 0xFE, 0xFD];
    out.extend(epoch.to_be_bytes());
    out.extend([0, 0, 0, 0, 0, sequence]);
    out.extend(length.to_be_bytes());
    out.extend(body);
    out
}

/// A part of a handshake message.
fn handshake(kind: u8, length: u32, sequence: u16, offset: u32, fragment: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(&length.to_be_bytes()[1..]);
    out.extend(sequence.to_be_bytes());
    out.extend(&offset.to_be_bytes()[1..]);
    out.extend(&u32::try_from(fragment.len()).unwrap().to_be_bytes()[1..]);
    out.extend(fragment);
    out
}

/// A ClientHello for a pre-shared key (RFC 7925), without a cookie.
fn client_hello(cookie: &[u8]) -> Vec<u8> {
    let mut body = vec![0xFE, 0xFD];
    body.extend([7; 32]);
    body.push(0);
    body.push(u8::try_from(cookie.len()).unwrap());
    body.extend(cookie);
    // TLS_PSK_WITH_AES_128_CCM_8, no compression, the extended master secret.
    body.extend([0, 2, 0xC0, 0xA8, 1, 0, 0, 4, 0, 0x17, 0, 0]);
    body
}

/// What comes back on one port before a witness on another one has been served.
fn reaction(peer: &Peer, plain: &mut Peer, datagrams: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for datagram in datagrams {
        peer.send(datagram);
    }
    // A hello of an ordinary client is answered behind them.
    peer.send(&record(22, 0, 99, &handshake(1, 48, 0, 0, &client_hello(b""))));
    let mut seen = Vec::new();
    loop {
        let answer = peer.receive();
        let verify = answer.first() == Some(&22) && answer.get(13) == Some(&3);
        if verify {
            break;
        }
        seen.push(answer);
    }
    assert_eq!(plain.call(GET, "ps/v", b"").code, CONTENT);
    seen
}

#[test]
fn class_03_records_that_do_not_authenticate_are_dropped() {
    let (mut broker, address) = secure();
    let mut plain = Peer::new(broker.address("coap"));
    plain.call(PUT, "ps/v", b"v");
    let records = [
        record(23, 1, 0, &[0; 40]),
        record(23, 1, 1, &[]),
        record(22, 1, 2, &[0xAA; 40]),
        record(21, 0, 3, &[2, 40]),
        record(20, 0, 4, &[1]),
        record(25, 1, 5, &[0; 60]),
        record(23, 0xFFFF, 6, &[0; 30]),
        vec![23, 0xFE, 0xFD],
        record(23, 1, 7, &[0; 20])[..20].to_vec(),
    ];
    let seen = reaction(&Peer::new(address), &mut plain, &records);
    assert_eq!(seen, Vec::<Vec<u8>>::new());
    broker.assert_alive();
}

/// RFC 6347 §4.2.1: before the cookie came back, answers are small and nothing is kept.
#[test]
fn class_09_no_answer_is_larger_than_its_question_before_the_cookie() {
    let (mut broker, address) = secure();
    let before = tercet_interop::memory::anonymous(broker.pid());
    for round in 0..2000_u32 {
        let peer = Peer::new(address);
        let cookie = if round % 2 == 0 { vec![] } else { vec![9; 32] };
        let body = client_hello(&cookie);
        let hello = record(22, 0, 0, &handshake(1, u32::try_from(body.len()).unwrap(), 0, 0, &body));
        peer.send(&hello);
        let answer = peer.receive();
        // A HelloVerifyRequest.
        assert_eq!((answer[0], answer[13]), (22, 3), "{answer:02x?}");
        assert!(answer.len() <= hello.len(), "{} bytes for {}", answer.len(), hello.len());
    }
    let grown = tercet_interop::memory::anonymous(broker.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "{} KiB", grown >> 10);
    broker.assert_alive();
}

#[test]
fn class_18_odd_client_hellos_disturb_nobody() {
    let (mut broker, address) = secure();
    let mut plain = Peer::new(broker.address("coap"));
    plain.call(PUT, "ps/v", b"v");
    let body = client_hello(b"");
    let part = |offset: u32, bytes: &[u8]| record(22, 0, 0, &handshake(1, 48, 0, offset, bytes));
    let cases: [(&str, Vec<Vec<u8>>); 8] = [
        ("overlapping fragments", vec![part(0, &body[..30]), part(20, &body[20..])]),
        ("a fragment behind the end", vec![part(45, &body[..20])]),
        ("an offset that wraps", vec![part(0x00FF_FFFF, &body[..20])]),
        ("no length at all", vec![record(22, 0, 0, &handshake(1, 0, 0, 0, b""))]),
        ("16 MiB announced", vec![record(22, 0, 0, &handshake(1, 0x00FF_FFFF, 0, 0, &body))]),
        ("half a header", vec![record(22, 0, 0, &[1, 0, 0])]),
        ("DTLS 1.0 as record version", vec![[&[22, 0xFE, 0xFF][..], &part(0, &body)[3..]].concat()]),
        ("a hello in epoch 1", vec![record(22, 1, 0, &handshake(1, 48, 0, 0, &body))]),
    ];
    for (name, datagrams) in cases {
        for answer in reaction(&Peer::new(address), &mut plain, &datagrams) {
            // Alerts and HelloVerifyRequests at the most.
            assert!(answer[0] == 21 || (answer[0], answer[13]) == (22, 3), "{name}: {answer:02x?}");
        }
    }
    broker.assert_alive();
}

/// Class 11: a stranger gets a block, and has to prove its address for more. The tests stand on the same machine, where nothing
/// is limited; so this one looks at what one request can bring about.
#[test]
fn class_11_a_stranger_gets_no_more_than_a_block() {
    let broker = Broker::start();
    let mut peer = Peer::new(broker.address("coap"));
    for number in 0..100 {
        peer.call(PUT, &format!("ps/{number}/{}", "x".repeat(200)), &[b'v'; 900]);
    }
    for path in ["ps", ".well-known/core", "ps/+/+", "ps/#"] {
        let request = Message::request(CON, GET, peer.id(), path);
        peer.send(&request.encode());
        let answers = peer.settle();
        assert_eq!(answers.len(), 1, "{path}");
        let answer = Message::decode(&answers[0]).unwrap();
        assert!(
            answer.payload.len() <= 1024 && answers[0].len() <= 1152,
            "{path}: {} bytes",
            answers[0].len()
        );
        assert!([CONTENT, code(4, 1)].contains(&answer.code), "{path}: {answer:?}");
    }
}
