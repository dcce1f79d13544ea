use std::io;
use std::net::Shutdown;

use super::pair::{Pair, stand_in, tcp_sockets, unix_sockets};
use crate::peer::PeerAddress;
use crate::transport::{Received, Transport};

fn plain((client, server): (crate::Socket, crate::Socket)) -> Pair {
    Pair::new(Transport::plain(client), Transport::plain(server))
}

#[test]
fn bytes_pass_over_tcp_and_unix_sockets() {
    for sockets in [tcp_sockets(), unix_sockets()] {
        let mut pair = plain(sockets);
        pair.exchange(3_000_000);
        assert!(pair.server.transport.layers.is_none(), "a plain transport owns no buffer");
        assert!(!pair.server.transport.is_handshaking());
    }
}

#[test]
fn a_peer_that_does_not_read_blocks_only_the_sender() {
    plain(tcp_sockets()).exchange_with_sleeper(40_000_000);
    plain(unix_sockets()).exchange_with_sleeper(4_000_000);
}

#[test]
fn the_end_of_the_stream_is_seen_behind_the_last_bytes() {
    let mut pair = plain(tcp_sockets());
    pair.client.outbox = b"bye".to_vec();
    pair.run_until(|pair| pair.client.outbox.is_empty());
    pair.client.transport.shutdown(Shutdown::Write).unwrap();
    pair.run_until(|pair| pair.server.closed);
    assert_eq!(pair.server.inbox, b"bye");
}

#[test]
fn a_reset_is_an_error_and_not_a_clean_end() {
    let (client, server) = tcp_sockets();
    let mut pair = plain((client, server));
    pair.exchange(10);
    let crate::socket::StdSocket::Tcp(stream) =
        std::mem::replace(&mut pair.client.transport, stand_in()).socket.into_std()
    else {
        panic!("it was a TCP connection")
    };
    pair.client.closed = true;
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    pair.run_until(|pair| pair.server.ended());
    assert_eq!(pair.server.error.unwrap().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn an_empty_scratch_is_the_callers_mistake() {
    let (client, _server) = unix_sockets();
    let error = Transport::plain(client).receive(&mut []).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn peers_are_known_by_their_socket() {
    let (client, server) = tcp_sockets();
    let expected = PeerAddress::Ip(client.local_address().unwrap().unwrap());
    let mut transport = Transport::plain(server);
    assert_eq!(transport.peer().address(), expected);
    assert_eq!(Transport::plain(unix_sockets().0).peer().address(), PeerAddress::Unix);
    assert_eq!(transport.receive(&mut [0; 10]).unwrap(), Received::WouldBlock);
    assert!(transport.flush().unwrap());
}

#[test]
fn a_full_scratch_announces_more() {
    let (client, server) = unix_sockets();
    let (mut client, mut server) = (Transport::plain(client), Transport::plain(server));
    client.send(&[io::IoSlice::new(b"four"), io::IoSlice::new(b"more")]).unwrap();
    let mut scratch = [0; 5];
    assert_eq!(server.receive(&mut scratch).unwrap(), Received::More(5));
    assert_eq!(server.receive(&mut scratch).unwrap(), Received::Data(3));
    assert_eq!(server.receive(&mut scratch).unwrap(), Received::WouldBlock);
    drop(client);
    assert_eq!(server.receive(&mut scratch).unwrap(), Received::Closed);
}
