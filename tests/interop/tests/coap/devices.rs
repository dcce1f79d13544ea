//! Devices that come by DTLS: ten thousand that stay, and one whose association is to outlive strangers, but not the broker.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use tempfile::TempDir;
use tercet_interop::Broker;
use tercet_interop::broker::new_directory;
use tercet_interop::memory::anonymous;
use tercet_net::dtls::{DtlsClientConfig, DtlsClientSettings, DtlsCredentials, DtlsSession, SessionEvent};

use crate::wire::{CON, CONTENT, GET, Message, PUT, Peer};

const PEERS: usize = 10_000;
const THREADS: usize = 4;
/// The DTLS engine takes 7 KiB for each side that stands, and the allocator its share.
const EACH: usize = 12 << 10;
const CONFIG: &str = "[coap]\npsk-file = \"{dir}/keys\"\n";

fn with_keys() -> Arc<TempDir> {
    let directory = new_directory();
    std::fs::write(directory.path().join("keys"), "sensor:736573616d65\n").unwrap();
    directory
}

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

struct Device {
    peer: Peer,
    session: DtlsSession,
    said: Said,
}

impl Device {
    /// Begins a handshake.
    fn new(config: &DtlsClientConfig, peer: Peer) -> Self {
        let mut said = Said::default();
        let session = DtlsSession::connect(config, Instant::now(), &mut |event| said.heed(event)).unwrap();
        Self { peer, session, said }
    }

    /// Asks for the value; before the handshake is over that is kept until then.
    fn ask(&mut self) {
        let request = Message::request(CON, GET, self.peer.id(), "ps/v").encode();
        self.session.send(&request, Instant::now(), &mut |event| self.said.heed(event)).unwrap();
        let answer = loop {
            for datagram in self.said.datagrams.drain(..) {
                self.peer.send(&datagram);
            }
            if let Some(answer) = self.said.answer.take() {
                break answer;
            }
            let datagram = self.peer.receive();
            self.session.receive(&datagram, Instant::now(), &mut |event| self.said.heed(event)).unwrap();
        };
        assert_eq!((answer.code, &answer.payload[..]), (CONTENT, &b"v"[..]));
    }
}

#[test]
fn ten_thousand_devices_by_dtls() {
    let mut broker = Broker::in_directory(with_keys(), CONFIG);
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
                    let address = Ipv4Addr::new(127, 20 + thread as u8, third, fourth.max(1));
                    // It goes silent without a word.
                    Device::new(config, Peer::at(address, server)).ask();
                }
            });
        }
    });
    let grown = anonymous(broker.pid()).saturating_sub(before) as usize;
    assert!(grown < PEERS * EACH, "{} bytes for each of {PEERS}", grown / PEERS);
    // They hinder nobody.
    Device::new(&config, Peer::new(server)).ask();
    broker.assert_alive();
}

/// RFC 6347 §4.2.8: a hello from the address of a peer proves nothing, and its association goes on.
#[test]
fn a_hello_from_the_same_address_leaves_the_association() {
    let broker = Broker::in_directory(with_keys(), CONFIG);
    Peer::new(broker.address("coap")).call(PUT, "ps/v", b"v");
    let mut device = Device::new(&config(), Peer::new(broker.address("coaps")));
    device.ask();
    let Device { said, .. } = Device::new(&config(), Peer::new(broker.address("coaps")));
    for hello in &said.datagrams {
        device.peer.send(hello);
        // The request for a cookie is not for this association: it does not look at it.
        assert_eq!(device.peer.receive()[13], 3);
    }
    device.ask();
}

/// What the broker forgot by a restart is made anew from the same address; records of before get no answer but an alert.
#[test]
fn a_restarted_broker_takes_a_new_handshake_from_the_same_address() {
    let directory = with_keys();
    let broker = Broker::durable(&directory, CONFIG);
    let server = broker.address("coaps");
    Peer::new(broker.address("coap")).call(PUT, "ps/v", b"v");
    let mut device = Device::new(&config(), Peer::new(server));
    device.ask();
    broker.kill();
    let toml = format!("[listen]\ncoaps = \"{server}\"\n{CONFIG}");
    let broker = Broker::durable(&directory, &toml);
    assert_eq!(broker.address("coaps"), server);
    let request = Message::request(CON, GET, 1, "ps/v").encode();
    let mut stale = Vec::new();
    let transmit = &mut |event: SessionEvent<'_>| {
        if let SessionEvent::Transmit(bytes) = event {
            stale.push(bytes.to_vec());
        }
    };
    device.session.send(&request, Instant::now(), transmit).unwrap();
    for datagram in stale {
        device.peer.send(&datagram);
    }
    Device::new(&config(), device.peer).ask();
    broker.stop();
}
