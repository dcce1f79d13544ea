//! What an acceptor holds, and whom it believes.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::network::{Client, Server, connect, exchange};
use crate::dtls::{DtlsLimits, PeerGone};

fn server() -> Server {
    Server::new(DtlsLimits::default())
}

/// The two hellos that a client sends: without a cookie, and with the one it was given.
fn hellos(server: &mut Server, port: u16) -> (Client, Vec<u8>, Vec<u8>) {
    let mut client = Client::new(&server.device(), port, server.now);
    let first = client.sent.pop_front().unwrap();
    server.receive(client.address, &first);
    let (_, challenge) = server.seen.sent.pop_back().unwrap();
    let now = server.now;
    client.with(|session, on| session.receive(&challenge, now, on));
    let second = client.sent.pop_front().unwrap();
    (client, first, second)
}

#[test]
fn spoofed_hellos_leave_nothing_and_get_no_more_than_they_brought() {
    let mut server = server();
    let hello = Client::new(&server.device(), 1, server.now).sent.pop_front().unwrap();
    for source in 0..100_000_u32 {
        server.receive(SocketAddr::from((source.to_be_bytes(), 5684)), &hello);
        let (_, answer) = server.seen.sent.pop_front().unwrap();
        assert!(answer.len() <= hello.len(), "{} > {}", answer.len(), hello.len());
    }
    assert_eq!((server.acceptor.peers(), server.acceptor.handshakes()), (0, 0));
    assert_eq!(server.acceptor.next_due(), None);
}

#[test]
fn a_cookie_is_good_for_its_address_its_client_and_its_time_alone() {
    let mut server = server();
    let (client, first, second) = hellos(&mut server, 1);
    let another = SocketAddr::from(([192, 0, 2, 2], 1));
    server.receive(another, &second);
    assert_eq!(server.acceptor.handshakes(), 0, "another address");

    let mut changed = second.clone();
    changed[30] ^= 1;
    server.receive(client.address, &changed);
    assert_eq!(server.acceptor.handshakes(), 0, "another random");

    server.receive(client.address, &second);
    assert_eq!(server.acceptor.handshakes(), 1);
    server.receive(client.address, &first);
    assert_eq!(server.acceptor.handshakes(), 1, "a late copy of the first hello");

    let (client, _, second) = hellos(&mut server, 2);
    server.wait(Duration::from_secs(3600));
    server.receive(client.address, &second);
    assert_eq!(server.acceptor.handshakes(), 0, "an hour later");
}

#[test]
fn a_new_hello_does_not_end_the_association_that_stands_until_it_is_proven() {
    let mut server = server();
    let config = server.device();
    let mut old = connect(&mut server, &config, 1);
    let (first, _) = server.seen.opened[0].clone();

    // Someone who can read the client's datagrams, but has no key, begins anew.
    let intruder = server.psk("device", &[9; 16]);
    let intruder = connect(&mut server, &intruder, 1);
    assert!(!intruder.is_connected());
    old.send(b"still here", server.now);
    exchange(&mut server, &mut old, |_| false);
    assert_eq!(server.seen.received, [(first, b"still here".to_vec())]);
    assert!(server.seen.closed.is_empty());

    // The client has restarted.
    let mut restarted = connect(&mut server, &config, 1);
    assert!(restarted.is_connected(), "{:?}", restarted.error);
    let (second, _) = server.seen.opened[1].clone();
    assert_ne!(first.serial, second.serial);
    assert_eq!(server.seen.closed, [(first, PeerGone::Replaced)]);
    assert_eq!(server.acceptor.peers(), 1);
    server.send(first, b"lost");
    server.send(second, b"found");
    exchange(&mut server, &mut restarted, |_| false);
    assert_eq!(restarted.received, [b"found"]);
}

#[test]
fn clear_records_do_not_disturb_an_association_that_stands() {
    let mut server = server();
    let config = server.device();
    let mut client = connect(&mut server, &config, 1);
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    let cipher_change = [20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 1];
    let forged = [
        23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8,
        9, 0,
    ];
    for _ in 0..100 {
        server.receive(client.address, &alert);
        server.receive(client.address, &cipher_change);
        server.receive(client.address, &forged);
    }
    client.send(b"still here", server.now);
    exchange(&mut server, &mut client, |_| false);
    assert_eq!(server.seen.received.len(), 1);
    assert!(server.seen.closed.is_empty(), "{:?}", server.seen.closed);
}

#[test]
fn goodbye_is_heard_on_both_sides() {
    let mut server = server();
    let config = server.device();
    let mut client = connect(&mut server, &config, 1);
    let now = server.now;
    client.with(|session, on| {
        session.close(now, on);
        Ok(())
    });
    exchange(&mut server, &mut client, |_| false);
    assert_eq!(server.seen.closed[0].1, PeerGone::Closed);
    assert_eq!(server.acceptor.peers(), 0);

    let mut client = connect(&mut server, &config, 2);
    server.acceptor.close_all(now, &mut server.seen);
    exchange(&mut server, &mut client, |_| false);
    assert!(client.closed);
}

#[test]
fn one_handshake_too_many_ends_the_oldest() {
    let mut server = Server::new(DtlsLimits { handshakes: 2, ..Default::default() });
    let mut clients = Vec::new();
    for port in 1..=3 {
        let (mut client, _, second) = hellos(&mut server, port);
        client.sent.push_back(second);
        while let Some(datagram) = client.sent.pop_front() {
            server.receive(client.address, &datagram);
        }
        clients.push(client);
    }
    assert_eq!(server.acceptor.handshakes(), 2);
    let flights = std::mem::take(&mut server.seen.sent);
    for client in &mut clients {
        let (now, address) = (server.now, client.address);
        for (_, flight) in flights.iter().filter(|(to, _)| *to == address) {
            client.with(|session, on| session.receive(flight, now, on));
        }
        exchange(&mut server, client, |_| false);
    }
    let connected: Vec<_> = clients.iter().map(Client::is_connected).collect();
    assert_eq!(connected, [false, true, true]);
}

#[test]
fn who_is_silent_too_long_is_dropped_unless_it_is_needed() {
    let limits = DtlsLimits { idle: Duration::from_secs(600), ..Default::default() };
    let mut server = Server::new(limits);
    let config = server.device();
    let mut client = connect(&mut server, &config, 1);
    server.wait(Duration::from_secs(500));
    client.send(b"alive", server.now);
    exchange(&mut server, &mut client, |_| false);
    server.wait(Duration::from_secs(500));
    assert_eq!(server.acceptor.peers(), 1, "it has sent something");
    server.seen.needed = true;
    server.wait(Duration::from_secs(700));
    assert_eq!(server.acceptor.peers(), 1, "it is needed");
    server.seen.needed = false;
    server.wait(Duration::from_secs(700));
    assert_eq!(server.acceptor.peers(), 0);
    assert_eq!(server.seen.closed[0].1, PeerGone::Idle);
    assert_eq!(server.acceptor.next_due(), None);
}

#[test]
fn when_all_places_are_taken_only_the_silent_make_room() {
    let mut server = Server::new(DtlsLimits { peers: 2, ..Default::default() });
    let config = server.device();
    for port in 1..=2 {
        assert!(connect(&mut server, &config, port).is_connected());
    }
    assert!(!connect(&mut server, &config, 3).is_connected());
    server.wait(Duration::from_secs(61));
    assert!(connect(&mut server, &config, 4).is_connected());
    assert_eq!(server.acceptor.peers(), 2);
    assert_eq!(server.seen.closed.len(), 1);
}

proptest! {
    #[test]
    fn damaged_hellos_never_disturb(at in 0..200usize, flip in 1..=255u8, cut in 0..200usize) {
        let mut server = server();
        let (client, first, second) = hellos(&mut server, 1);
        for whole in [first, second] {
            let mut damaged = whole.clone();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            server.receive(client.address, &damaged);
            server.receive(client.address, &whole[..cut.min(whole.len())]);
        }
        let config = server.device();
        prop_assert!(connect(&mut server, &config, 2).is_connected());
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn ten_thousand_peers_take_bounded_memory() {
    const PEERS: u32 = 10_000;
    let mut server = server();
    let config = server.device();
    // The second half is measured: the first one has warmed up what all share.
    let mut half = 0;
    for peer in 0..PEERS {
        if peer == PEERS / 2 {
            half = resident();
        }
        let mut client = Client::new(&config, 1, server.now);
        client.address = SocketAddr::from((peer.to_be_bytes(), 5684));
        exchange(&mut server, &mut client, |_| false);
        assert!(client.is_connected());
        server.seen.opened.clear();
    }
    assert_eq!(server.acceptor.peers(), PEERS as usize);
    let each = resident().saturating_sub(half) / (PEERS as usize / 2);
    assert!(each < 12 * 1024, "{each} bytes per peer");
    server.wait(Duration::from_secs(3601));
    assert_eq!((server.acceptor.peers(), server.acceptor.next_due()), (0, None));
}
