//! Many, loud and lying clients: the broker answers the others, and its memory stays bounded.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tercet_interop::Broker;
use tercet_interop::memory::anonymous;

use crate::wire::{BLOCK1, CON, CONTENT, GET, Message, NON, OBSERVE, PUT, Peer, REQUEST_TAG, code, spell};

/// What a flood may cost at most.
const ROOM: u64 = 96 << 20;

fn start(toml: &str) -> (Broker, SocketAddr, u64) {
    let broker = Broker::configured(toml);
    let address = broker.address("coap");
    Peer::new(address).call(PUT, "ps/v", b"0");
    let before = anonymous(broker.pid());
    (broker, address, before)
}

/// The broker answers somebody new within a bound, and did not grow beyond `ROOM`.
fn assert_sound(broker: &mut Broker, address: SocketAddr, before: u64) {
    let end = Instant::now() + Duration::from_secs(15);
    let answered = std::iter::from_fn(|| (Instant::now() < end).then_some(())).any(|()| {
        let peer = Peer::new(address);
        peer.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        peer.send(&Message::request(CON, GET, 7, "ps/v").encode());
        let mut buffer = [0; 2048];
        peer.socket.recv(&mut buffer).is_ok_and(|length| {
            Message::decode(&buffer[..length]).is_ok_and(|answer| answer.code == CONTENT && answer.id == 7)
        })
    });
    assert!(answered, "the broker answers");
    let grown = anonymous(broker.pid()).saturating_sub(before);
    assert!(grown < ROOM, "grew by {} KiB", grown >> 10);
    broker.assert_alive();
}

/// Class 11 and issue §4: 100,000 sources, each with a confirmable request whose answer is kept, and an observation.
#[test]
fn a_hundred_thousand_sources() {
    let (mut broker, address, before) = start("");
    let mut sources = 0;
    'all: for third in 0..=255 {
        for fourth in 1..=254 {
            let ip = Ipv4Addr::new(127, 7, third, fourth);
            // Ports above the ephemeral ones would do as well; two of each address are enough.
            for port in [40_001, 40_002] {
                let Ok(socket) = UdpSocket::bind((ip, port)) else { continue };
                let put = Message::request(CON, PUT, 1, "ps/flood").payload(b"x").encode();
                let observe = Message::request(NON, GET, 2, "ps/v").option(OBSERVE, b"").encode();
                // Nobody listens to the answers: the sockets are gone when they come.
                let _ = socket.send_to(&put, address);
                let _ = socket.send_to(&observe, address);
                sources += 1;
                if sources == 100_000 {
                    break 'all;
                }
            }
        }
        if third % 8 == 7 {
            // What is sent faster than it is read is lost in the socket and tests nothing.
            Peer::new(address).settle();
        }
    }
    assert_eq!(sources, 100_000);
    assert_sound(&mut broker, address, before);
}

/// Class 12: first blocks of bodies that never come to an end.
#[test]
fn first_blocks_by_the_thousand() {
    let (mut broker, address, before) = start("");
    let body = vec![b'x'; 1024];
    for source in 0..200_u32 {
        let [.., high, low] = source.to_be_bytes();
        let mut peer = Peer::at(Ipv4Addr::new(127, 8, high, low.max(1)), address);
        for tag in 0..64_u32 {
            let request = Message::request(CON, PUT, peer.id(), "ps/b")
                .uint(BLOCK1, 0xE)
                .option(REQUEST_TAG, &tag.to_be_bytes())
                .payload(&body);
            peer.send(&request.encode());
        }
        for answer in peer.settled() {
            let expected = [code(2, 31), code(4, 29), code(5, 3), code(4, 13)];
            assert!(expected.contains(&answer.code), "{}", spell(answer.code));
        }
    }
    assert_sound(&mut broker, address, before);
}

/// Class 12: announced sizes are not believed.
#[test]
fn announced_sizes_cost_nothing() {
    let (mut broker, address, before) = start("");
    for source in 1..=250 {
        let mut peer = Peer::at(Ipv4Addr::new(127, 9, 0, source), address);
        for size in [u32::MAX, 1 << 30, 1 << 21, 1 << 20] {
            let request = Message::request(CON, PUT, peer.id(), "ps/b")
                .uint(BLOCK1, 0x8)
                .uint(60, size)
                .payload(&[b'x'; 16]);
            let answer = peer.ask(&request);
            let expected = [code(2, 31), code(4, 13), code(4, 29), code(5, 3)];
            assert!(expected.contains(&answer.code), "{}", spell(answer.code));
        }
    }
    assert_sound(&mut broker, address, before);
}

/// Class 14: observations without end, from one client and from many, up to the limits.
#[test]
fn observers_up_to_the_limits() {
    let toml = "[coap]\nmax-observers = 2000\nmax-observers-per-peer = 100\n";
    let (mut broker, address, before) = start(toml);
    let mut established = 0;
    for source in 1..=50 {
        let mut peer = Peer::at(Ipv4Addr::new(127, 10, 0, source), address);
        let mut own = 0;
        for _ in 0..200 {
            let id = peer.id();
            let answer = peer.ask(&Message::request(CON, GET, id, "ps/v").option(OBSERVE, b""));
            // One that is not taken in is answered as a GET (RFC 7641 §4.1).
            assert_eq!((spell(answer.code), &answer.payload[..]), ("2.05".into(), &b"0"[..]));
            own += usize::from(!answer.all(OBSERVE).is_empty());
        }
        assert!(own <= 100, "{own} of one client");
        established += own;
    }
    // Each reactor may count its own.
    assert!((100..=2000).contains(&established), "{established} in all");
    Peer::new(address).call(PUT, "ps/v", b"1");
    assert_sound_value(&mut broker, address, before);
}

/// As [`assert_sound`], and all the dead observers of a value are given up in the end.
fn assert_sound_value(broker: &mut Broker, address: SocketAddr, before: u64) {
    for value in [b"2", b"3", b"4"] {
        Peer::new(address).call(PUT, "ps/v", value);
    }
    assert_sound(broker, address, before);
}

/// Random and mutated datagrams, by a seed that `TERCET_SEED` repeats.
#[test]
fn noise() {
    let (mut broker, address, before) = start("");
    let mut random = tercet_interop::Random::seeded("coap noise");
    let mut peer = Peer::new(address);
    let whole = Message::request(CON, PUT, 1, "ps/noise")
        .option(4, b"tag")
        .uint(12, 50)
        .uint(BLOCK1, 6)
        .option(258, &[26])
        .payload(b"payload")
        .encode();
    for round in 0..40_000_u64 {
        let mut bytes = if round % 4 == 0 {
            (0..random.below(40)).map(|_| random.below(256) as u8).collect()
        } else {
            whole.clone()
        };
        for _ in 0..random.below(4) {
            if !bytes.is_empty() {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
        }
        bytes.truncate(random.below(bytes.len() as u64 + 1).max(bytes.len() as u64 / 2) as usize);
        peer.send(&bytes);
        if round % 128 == 127 {
            // What it answers is well-formed.
            for answer in peer.settle() {
                Message::decode(&answer).unwrap_or_else(|why| panic!("{why}: {answer:02x?}"));
            }
            peer = Peer::new(address);
        }
    }
    assert_sound(&mut broker, address, before);
}
