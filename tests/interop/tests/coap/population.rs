//! Ten thousand devices that came by DTLS and stay: each costs what its association costs.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Instant;

use tercet_interop::Broker;
use tercet_interop::broker::new_directory;
use tercet_interop::memory::anonymous;
use tercet_net::dtls::{DtlsClientConfig, DtlsClientSettings, DtlsCredentials, DtlsSession, SessionEvent};

use crate::wire::{CON, CONTENT, GET, Message, PUT, Peer};

const PEERS: usize = 10_000;
const THREADS: usize = 4;
/// The DTLS engine takes 7 KiB for each side that stands, and the allocator its share.
const EACH: usize = 12 << 10;

fn config() -> DtlsClientConfig {
    let credentials =
        DtlsCredentials::PreSharedKey { identity: b"sensor".to_vec(), key: b"sesame".to_vec().into() };
    DtlsClientConfig::load(&DtlsClientSettings { credentials, server_name: "localhost".into() }).unwrap()
}

/// What a session had to say.
#[derive(Default)]
struct Said {
    datagrams: Vec<Vec<u8>>,
    answer: Option<Message>,
}

impl Said {
    fn heed(&mut self, event: SessionEvent<'_>) {
        match event {
            SessionEvent::Transmit(bytes) => self.datagrams.push(bytes.to_vec()),
            SessionEvent::Plaintext(bytes) => {
                self.answer = Some(Message::decode(bytes).expect("well-formed"));
            }
            SessionEvent::Connected | SessionEvent::Closed => {}
        }
    }
}

/// A device that shakes hands, asks for a value and goes silent.
fn visit(config: &DtlsClientConfig, from: Ipv4Addr, server: SocketAddr) {
    let peer = Peer::at(from, server);
    let (mut said, now) = (Said::default(), Instant::now());
    let mut session = DtlsSession::connect(config, now, &mut |event| said.heed(event)).unwrap();
    // It is kept until the handshake is over.
    let request = Message::request(CON, GET, 7, "ps/v").encode();
    session.send(&request, now, &mut |event| said.heed(event)).unwrap();
    let answer = loop {
        for datagram in said.datagrams.drain(..) {
            peer.send(&datagram);
        }
        if let Some(answer) = said.answer {
            break answer;
        }
        let datagram = peer.receive();
        session.receive(&datagram, Instant::now(), &mut |event| said.heed(event)).unwrap();
    };
    assert_eq!((answer.code, &answer.payload[..]), (CONTENT, &b"v"[..]));
}

#[test]
fn ten_thousand_devices_by_dtls() {
    let directory = new_directory();
    std::fs::write(directory.path().join("keys"), "sensor:736573616d65\n").unwrap();
    let mut broker = Broker::in_directory(directory, "[coap]\npsk-file = \"{dir}/keys\"\n");
    let server = broker.address("coaps");
    Peer::new(broker.address("coap")).call(PUT, "ps/v", b"v");
    let config = config();
    let before = anonymous(broker.pid());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let config = &config;
            scope.spawn(move || {
                for number in 0..PEERS / THREADS {
                    let [.., third, fourth] = (number as u32).to_be_bytes();
                    visit(config, Ipv4Addr::new(127, 20 + thread as u8, third, fourth.max(1)), server);
                }
            });
        }
    });
    let grown = anonymous(broker.pid()).saturating_sub(before) as usize;
    assert!(grown < PEERS * EACH, "{} bytes for each of {PEERS}", grown / PEERS);
    // They hinder nobody.
    visit(&config, Ipv4Addr::LOCALHOST, server);
    broker.assert_alive();
}
