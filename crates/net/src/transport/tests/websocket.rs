use std::io::{self, IoSlice};

use rustls::pki_types::ServerName;

use super::pair::{Pair, stand_in, tcp_sockets, unix_sockets};
use crate::tls::test_certificates::Authority;
use crate::tls::{ClientSettings, Roots, ServerSettings, client_config, server_config};
use crate::transport::{Received, Transport};
use crate::websocket::{CloseCode, Limits, ProtocolError, Role};

fn framed(transport: Transport, role: Role) -> Transport {
    transport.websocket(&[], role, Limits::default())
}

fn plain_pair() -> Pair {
    let (client, server) = tcp_sockets();
    Pair::new(framed(Transport::plain(client), Role::Client), framed(Transport::plain(server), Role::Server))
}

fn secure_pair() -> Pair {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(directory.path(), "ca");
    let (certificate, key) = authority.issue("localhost");
    let settings = ClientSettings { roots: Roots::File(authority.file.clone()), ..ClientSettings::default() };
    let (client, server) = tcp_sockets();
    let name = ServerName::try_from("localhost").unwrap();
    let client = Transport::tls_client(client, client_config(&settings).unwrap(), name).unwrap();
    let config = server_config(&ServerSettings::new(certificate, key)).unwrap();
    let server = Transport::tls(server, config).unwrap();
    Pair::new(framed(client, Role::Client), framed(server, Role::Server))
}

/// A raw client in front of a framed server.
fn raw_pair(leftover: &[u8]) -> Pair {
    let (client, server) = tcp_sockets();
    let server = Transport::plain(server).websocket(leftover, Role::Server, Limits { max_frame: 1000 });
    Pair::new(Transport::plain(client), server)
}

#[test]
fn bytes_pass_over_ws_and_wss() {
    for scratch in [1, 100, 256 * 1024] {
        for mut pair in [plain_pair(), secure_pair()] {
            pair.client.scratch = scratch;
            pair.server.scratch = scratch;
            pair.exchange(if scratch < 1000 { 50_000 } else { 1_000_000 });
            assert!(!pair.server.transport.wants_write());
        }
    }
}

#[test]
fn a_sleeping_peer_costs_at_most_one_frame() {
    for mut pair in [plain_pair(), secure_pair()] {
        pair.exchange(10);
        pair.exchange_with_sleeper(40_000_000);
    }
}

#[test]
fn a_blocked_sender_keeps_one_frame_and_frees_it() {
    let mut pair = plain_pair();
    let chunk = vec![7; 1_000_000];
    let blocked = loop {
        match pair.server.transport.send(&[IoSlice::new(&chunk)]) {
            Ok(taken) => assert!(taken <= 64 * 1024),
            Err(error) => break error,
        }
    };
    assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
    fn held(pair: &Pair) -> usize {
        pair.server.transport.layers.as_ref().unwrap().websocket.as_ref().unwrap().held()
    }
    assert!((1..=128 * 1024).contains(&held(&pair)), "{}", held(&pair));
    pair.run_until(|pair| !pair.server.transport.wants_write());
    assert_eq!(held(&pair), 0);
}

#[test]
fn pings_are_answered_at_once_and_pile_up_nowhere() {
    let mut pair = raw_pair(&[]);
    pair.client.outbox = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i'].repeat(1000);
    pair.client.outbox.extend_from_slice(&[0x82, 0x81, 0, 0, 0, 0, b'x']);
    pair.run_until(|pair| pair.server.inbox == b"x" && !pair.client.inbox.is_empty());
    let answers = &pair.client.inbox;
    assert!(answers.chunks(4).all(|pong| pong == [0x8A, 0x02, b'h', b'i']), "{answers:02X?}");
    assert!(answers.len() <= 4000);
}

#[test]
fn bytes_read_with_the_request_come_first() {
    // A frame that began with the request and ends on the wire.
    let mut pair = raw_pair(&[0x82, 0x86, 1, 2, 3, 4, b'f' ^ 1, b'i' ^ 2]);
    pair.run_until(|pair| pair.server.inbox == b"fi");
    pair.client.outbox = vec![b'r' ^ 3, b's' ^ 4, b't' ^ 1, b'!' ^ 2];
    pair.run_until(|pair| pair.server.inbox == b"first!");
}

#[test]
fn violations_close_with_their_code_after_the_good_bytes() {
    let good: &[u8] = &[0x82, 0x82, 0, 0, 0, 0, b'o', b'k'];
    let cases: [(&[u8], ProtocolError, u16); 5] = [
        (&[0x82, 0x01, b'x'], ProtocolError::Unmasked, 1002),
        (&[0x81, 0x81, 0, 0, 0, 0, b'x'], ProtocolError::TextMessage, 1003),
        (
            &[0x82, 0xFE, 0x03, 0xE9, 0, 0, 0, 0],
            ProtocolError::FrameTooLong { length: 1001, limit: 1000 },
            1009,
        ),
        (&[0x82, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0], ProtocolError::MalformedLength, 1002),
        (&[0xC2, 0x80, 0, 0, 0, 0], ProtocolError::ReservedBits, 1002),
    ];
    for (bad, expected, code) in cases {
        let mut pair = raw_pair(&[]);
        pair.client.outbox = [good, bad].concat();
        pair.run_until(|pair| pair.server.ended() && pair.client.inbox.len() >= 4);
        assert_eq!(pair.server.inbox, b"ok");
        let error = pair.server.error.as_ref().unwrap();
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ProtocolError>());
        assert_eq!(inner, Some(&expected));
        let [high, low] = code.to_be_bytes();
        assert_eq!(pair.client.inbox, [0x88, 0x02, high, low]);
        assert!(pair.server.transport.receive(&mut [0; 100]).is_err(), "it stays failed");
    }
}

#[test]
fn either_side_may_close() {
    for mut pair in [plain_pair(), secure_pair()] {
        pair.exchange(1000);
        pair.server.outbox = b"last words".to_vec();
        pair.run_until(|pair| pair.server.outbox.is_empty());
        pair.server.transport.close_notify_with(CloseCode::GOING_AWAY);
        assert!(pair.server.transport.wants_write());
        assert_eq!(
            pair.server.transport.send(&[IoSlice::new(b"x")]).unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        pair.run_until(|pair| pair.client.closed && pair.server.closed);
        assert_eq!(pair.client.inbox, b"last words");
    }
}

#[test]
fn a_peer_that_vanishes_is_noticed() {
    for mut pair in [plain_pair(), secure_pair()] {
        pair.exchange(1000);
        assert!(pair.hang_up(stand_in()).ended());
    }
}

#[test]
fn a_farewell_waits_behind_what_is_blocked() {
    let (client, server) = unix_sockets();
    let mut client = Transport::plain(client);
    let mut server = framed(Transport::plain(server), Role::Server);
    let chunk = vec![0x55; 10_000];
    let mut taken = 0;
    while let Ok(n) = server.send(&[IoSlice::new(&chunk)]) {
        taken += n;
    }
    server.close_notify();
    assert!(!server.flush().unwrap());
    let mut seen = Vec::new();
    let mut scratch = vec![0; 100_000];
    while !server.flush().unwrap() || !seen.ends_with(&[0x88, 0x02, 0x03, 0xE8]) {
        if let Received::Data(n) | Received::More(n) = client.receive(&mut scratch).unwrap() {
            seen.extend_from_slice(&scratch[..n]);
        }
    }
    assert_eq!(seen.iter().filter(|byte| **byte == 0x55).count(), taken);
}
