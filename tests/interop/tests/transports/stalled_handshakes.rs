//! Handshakes below MQTT count into the time for the CONNECT: whoever stalls in one is cut, and holds next to nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tercet_interop::broker::new_directory;
use tercet_interop::certificates::Authority;
use tercet_interop::memory::anonymous;
use tercet_interop::websocket::{WebSocket, opcode, request};
use tercet_interop::wire::PATIENCE;
use tercet_interop::{Broker, Connect, Packet, Version, Wire};

const CONFIG: &str = r#"
[[listener]]
name = "tls"
bind = "127.0.0.1:0"
connect-timeout = "500ms"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
[[listener]]
name = "ws"
protocol = "ws"
bind = "127.0.0.1:0"
connect-timeout = "500ms"
[[listener]]
name = "wss"
protocol = "ws"
bind = "127.0.0.1:0"
connect-timeout = "500ms"
[listener.tls]
cert = "{dir}/server.pem"
key = "{dir}/server.key"
[[listener]]
name = "proxy"
bind = "127.0.0.1:0"
connect-timeout = "500ms"
proxy-protocol = "both"
proxy-trusted = ["127.0.0.1"]
"#;

/// Sends the beginning of something and waits for the end of the connection.
fn stall(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let start = Instant::now();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{address}: {error}"),
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn who_stalls_in_a_handshake_is_cut() {
    let directory = new_directory();
    Authority::new("test authority").write_server(directory.path());
    let mut broker = Broker::in_directory(directory, CONFIG);
    let upgrade = request("/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n");
    let half_connect = [upgrade.as_bytes(), &[0x82, 0x90, 0, 0, 0, 0, 0x10, 0x0e]].concat();
    let table = [
        ("tls", &b""[..]),
        ("tls", &[0x16, 3, 1, 0x02, 0, 1]),
        ("wss", &[0x16, 3, 1, 0x02, 0, 1]),
        ("ws", b""),
        ("ws", b"GET /mqtt HTT"),
        ("ws", &upgrade.as_bytes()[..upgrade.len() - 4]),
        // Upgraded, and then no CONNECT, or half of one.
        ("ws", upgrade.as_bytes()),
        ("ws", &half_connect),
        ("proxy", b""),
        ("proxy", b"PROXY TCP4 203.0"),
        ("proxy", b"\r\n\r\n\0\r\nQUIT\n"),
        ("proxy", b"PROXY TCP4 127.0.0.1 127.0.0.1 4444 1883\r\n"),
    ];
    thread::scope(|scope| {
        for (listener, bytes) in table {
            let address = broker.address(listener);
            scope.spawn(move || stall(address, bytes));
        }
    });
    broker.assert_alive();
    Wire::connect(&broker, &Connect::v5("c")).ping();
}

/// A WebSocket frame announces its length; nothing is set aside for it.
#[test]
fn announced_frames_are_not_reserved() {
    let mut broker = Broker::start();
    let before = anonymous(broker.pid());
    let mut parked = Vec::new();
    for n in 0..100 {
        let mut socket = WebSocket::open(broker.address("http"));
        socket.frame(true, opcode::BINARY, &Connect::v5(&format!("c{n}")).encode()).unwrap();
        assert!(matches!(socket.next_frame(), Some((opcode::BINARY, _))));
        // 64 MiB are announced, of which a part of a PUBLISH comes.
        let mut frame = vec![0x82, 0xFF, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
        frame.extend([0x30, 0xF0, 0xFF, 0x3F, 0, 1, b't']);
        let _ = socket.raw(&frame);
        parked.push(socket);
    }
    let mut other =
        WebSocket::open(broker.address("http")).wire(Version::V5).handshake(&Connect::v5("other")).0;
    other.ping();
    let after = anonymous(broker.pid());
    assert!(
        after < before + (32 << 20),
        "{} MiB for 100 announced frames",
        after.saturating_sub(before) >> 20
    );
    broker.assert_alive();
}

/// A WebSocket that is gone without a word: the will goes out at once, not after the keep alive.
#[test]
fn a_lost_websocket_is_noticed() {
    let broker = Broker::start();
    let mut watcher = Wire::connect(&broker, &Connect::v5("watcher"));
    watcher.subscribe("will", 0);
    for with_data in [false, true] {
        let mut socket = WebSocket::open(broker.address("http"));
        let will = tercet_interop::Will::new("will", "lost");
        let connect = Connect::v5("c").keep_alive(0).will(will).encode();
        socket.frame(true, opcode::BINARY, &connect).unwrap();
        let (_, bytes) = socket.next_frame().unwrap();
        assert!(matches!(
            Packet::decode(Version::V5, bytes[0], &bytes[2..]),
            Packet::Connack { code: 0, .. }
        ));
        if with_data {
            socket.frame(true, opcode::BINARY, &[0xC0, 0]).unwrap();
        }
        drop(socket);
        assert_eq!(watcher.take().1, "lost");
    }
}
