use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::peer::PeerAddress;

fn accept_within_a_second(listener: &mut Listener) -> Socket {
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(4);
    poll.registry().register(listener, Token(0), Interest::READABLE).unwrap();
    let accepted = loop {
        if let Some(socket) = listener.accept().unwrap() {
            break socket;
        }
        poll.poll(&mut events, None).unwrap();
    };
    poll.registry().deregister(listener).unwrap();
    accepted
}

#[test]
fn tcp_listener_picks_a_port_and_sets_nodelay() {
    let mut listener = Listener::bind_tcp(&TcpOptions::new("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.tcp_address().unwrap();
    assert_ne!(address.port(), 0);
    assert!(listener.accept().unwrap().is_none());
    let client = std::net::TcpStream::connect(address).unwrap();
    let socket = accept_within_a_second(&mut listener);
    assert_eq!(socket.peer_address().unwrap(), PeerAddress::from(client.local_addr().unwrap()));
    assert_eq!(socket.local_address().unwrap(), Some(address));
    let Socket::Tcp(stream) = &socket else { panic!("a TCP listener gives TCP sockets") };
    assert!(stream.nodelay().unwrap());
}

#[test]
fn accepted_transports_know_their_peer() {
    let listener = Listener::bind_tcp(&TcpOptions::new("127.0.0.1:0".parse().unwrap())).unwrap();
    let client = std::net::TcpStream::connect(listener.tcp_address().unwrap()).unwrap();
    let expected = PeerAddress::from(client.local_addr().unwrap());
    // The connection is in the backlog once connect() has returned, even if the client is gone again.
    socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let transport = listener.accept_transport().unwrap().unwrap();
    assert_eq!(transport.peer().address(), expected);
    assert!(listener.accept_transport().unwrap().is_none());
}

#[test]
fn dual_stack_listener_takes_ipv4_and_shows_it_as_such() {
    let Ok(mut listener) = Listener::bind_tcp(&TcpOptions::new("[::]:0".parse().unwrap())) else {
        return; // This machine has no IPv6.
    };
    let port = listener.tcp_address().unwrap().port();
    let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let socket = accept_within_a_second(&mut listener);
    assert_eq!(socket.peer_address().unwrap(), PeerAddress::Ip(client.local_addr().unwrap()));
}

#[test]
fn address_in_use_says_what_to_do() {
    let first = Listener::bind_tcp(&TcpOptions::new("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = first.tcp_address().unwrap();
    let error = Listener::bind_tcp(&TcpOptions::new(address)).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {address}: address in use \
             (another broker? stop it, or move all ports with --port-offset)"
        )
    );
}

#[test]
fn an_address_of_another_machine_says_so() {
    let error = Listener::bind_tcp(&TcpOptions::new("192.0.2.1:0".parse().unwrap())).unwrap_err();
    assert!(error.to_string().contains("no interface has this address"), "{error}");
}

#[test]
fn unix_listener_has_its_mode_and_removes_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    let mut listener =
        Listener::bind_unix(&UnixOptions { mode: Some(0o600), ..UnixOptions::new(&path) }).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = UnixStream::connect(&path).unwrap();
    let mut socket = accept_within_a_second(&mut listener);
    assert_eq!(socket.peer_address().unwrap(), PeerAddress::Unix);
    socket.write_all(b"hello").unwrap();
    let mut buffer = [0; 5];
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the standard library leaves the file behind");
    let listener = Listener::bind_unix(&UnixOptions::new(&path)).unwrap();
    let error = Listener::bind_unix(&UnixOptions::new(&path)).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_file_of_a_successor_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    let listener = Listener::bind_unix(&UnixOptions::new(&path)).unwrap();
    // Kept under another name so that its inode number cannot be reused.
    fs::rename(&path, directory.path().join("old.sock")).unwrap();
    let successor = Listener::bind_unix(&UnixOptions::new(&path)).unwrap();
    drop(listener);
    assert!(path.exists());
    drop(successor);
    assert!(!path.exists());
}

#[test]
fn an_ordinary_file_in_the_way_is_never_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious.txt");
    fs::write(&path, "data").unwrap();
    let error = Listener::bind_unix(&UnixOptions::new(&path)).unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"data");
}

#[test]
fn unusable_unix_paths_are_explained() {
    let missing = Listener::bind_unix(&UnixOptions::new("/nonexistent-directory/x.sock")).unwrap_err();
    assert!(missing.to_string().contains("directory does not exist"), "{missing}");
    let long = Listener::bind_unix(&UnixOptions::new("x".repeat(200))).unwrap_err();
    assert!(long.to_string().contains("at most about 100 bytes"), "{long}");
}

#[test]
fn running_out_of_files_is_recognised() {
    assert!(is_exhaustion(&io::Error::from_raw_os_error(24)));
    assert!(!is_exhaustion(&io::Error::from_raw_os_error(9)));
}

#[test]
fn a_tcp_listener_can_be_given_to_another_runtime() {
    let listener = Listener::bind_tcp(&TcpOptions::new("127.0.0.1:0".parse().unwrap())).unwrap();
    let address = listener.tcp_address().unwrap();
    let StdListener::Tcp(listener) = listener.into_std() else { panic!("it listens on TCP") };
    assert_eq!(listener.local_addr().unwrap(), address);
}
