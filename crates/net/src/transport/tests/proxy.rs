use std::io::{self, IoSlice};

use super::pair::{Pair, stand_in, tcp_sockets, unix_sockets};
use crate::peer::PeerAddress;
use crate::proxy_protocol::{ProxyError, TrustedProxies};
use crate::transport::{Received, Transport};

fn loopback() -> TrustedProxies {
    TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()])
}

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n";

#[test]
fn the_header_replaces_the_peer_and_the_stream_begins_behind_it() {
    let (client, server) = tcp_sockets();
    let real = PeerAddress::Ip(client.local_address().unwrap().unwrap());
    let server = Transport::plain(server).expect_proxy(&loopback()).unwrap();
    assert!(server.is_handshaking());
    let mut pair = Pair::new(Transport::plain(client), server);
    pair.client.outbox = [LINE, b"first"].concat();
    pair.run_until(|pair| pair.server.inbox == b"first");
    assert!(!pair.server.transport.is_handshaking());
    let peer = pair.server.transport.peer();
    assert_eq!(peer.address(), PeerAddress::Ip("192.0.2.7:50000".parse().unwrap()));
    assert_eq!(peer.socket_address(), real);
    assert!(!peer.is_loopback());
    pair.server.inbox.clear();
    pair.exchange(100_000);
}

#[test]
fn a_header_in_single_bytes_is_one_header() {
    let (client, server) = unix_sockets();
    let mut client = Transport::plain(client);
    let mut server = Transport::plain(server).expect_proxy(&TrustedProxies::default()).unwrap();
    let mut scratch = [0; 1000];
    for byte in LINE {
        assert!(server.is_handshaking());
        client.send(&[IoSlice::new(&[*byte])]).unwrap();
        assert_eq!(server.receive(&mut scratch).unwrap(), Received::WouldBlock);
    }
    assert!(!server.is_handshaking());
    assert_eq!(server.peer().to_string(), "192.0.2.7:50000 via unix");
}

#[test]
fn strangers_may_not_claim_to_be_others() {
    let (_client, server) = tcp_sockets();
    let elsewhere = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let error = Transport::plain(server).expect_proxy(&elsewhere).unwrap_err();
    assert!(matches!(error, ProxyError::Untrusted(_)), "{error}");
}

#[test]
fn a_connection_without_header_is_refused() {
    let (client, server) = tcp_sockets();
    let server = Transport::plain(server).expect_proxy(&loopback()).unwrap();
    let mut pair = Pair::new(Transport::plain(client), server);
    pair.client.outbox = b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id".to_vec();
    pair.run_until(|pair| pair.server.ended());
    let error = pair.server.error.unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ProxyError>());
    assert_eq!(inner, Some(&ProxyError::Missing));
    assert!(pair.server.inbox.is_empty());
}

#[test]
fn a_connection_that_ends_within_the_header_is_just_closed() {
    let (client, server) = tcp_sockets();
    let server = Transport::plain(server).expect_proxy(&loopback()).unwrap();
    let mut pair = Pair::new(Transport::plain(client), server);
    pair.client.outbox = LINE[..20].to_vec();
    pair.run_until(|pair| pair.client.outbox.is_empty());
    let server = pair.hang_up(stand_in());
    assert!(server.closed && server.inbox.is_empty(), "{:?}", server.error);
}
