//! MQTT over WebSocket (§6, RFC 6455): packets and frames are cut independently, and hostile frames end the connection.

use std::io::Write;
use std::net::TcpStream;

use tercet_interop::packet::subscribe;
use tercet_interop::websocket::{WebSocket, exchange, opcode, request};
use tercet_interop::{Broker, Connect, Packet, Properties, Publish, Version, Wire};

fn connect(broker: &Broker, client: &str) -> Wire {
    WebSocket::open(broker.address("http")).wire(Version::V5).handshake(&Connect::v5(client)).0
}

#[test]
fn every_version_works_at_slash_mqtt() {
    let broker = Broker::start();
    let mut tcp = Wire::connect(&broker, &Connect::v311("tcp"));
    tcp.subscribe("t", 2);
    for version in Version::ALL {
        let connect = Connect::new(version, "ws");
        let (mut wire, ..) = WebSocket::open(broker.address("http")).wire(version).handshake(&connect);
        wire.subscribe("t", 2);
        for qos in 0..=2 {
            for length in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
                let payload = vec![b'x'; length];
                wire.publish(Publish::new("t", &payload).qos(qos));
                assert!(wire.take_publish().payload == payload, "{length}");
                assert!(tcp.take_publish().payload == payload, "{length}");
            }
        }
        wire.disconnect();
    }
}

#[test]
fn packets_may_span_frames_and_frames_may_hold_many_packets() {
    let broker = Broker::start();
    let mut socket = WebSocket::open(broker.address("http"));
    for byte in Connect::v5("c").encode() {
        socket.frame(true, opcode::BINARY, &[byte]).unwrap();
    }
    let mut many = subscribe(Version::V5, 1, &Properties::new(), &[("t", 0)]);
    for n in 0..50 {
        many.extend(Publish::new("t", n.to_string()).encode(Version::V5));
    }
    // One message in three fragments, the cuts within packets.
    socket.frame(false, opcode::BINARY, &many[..7]).unwrap();
    socket.frame(false, opcode::CONTINUATION, &[]).unwrap();
    socket.frame(false, opcode::CONTINUATION, &many[7..23]).unwrap();
    socket.frame(true, opcode::CONTINUATION, &many[23..]).unwrap();
    let mut wire = socket.wire(Version::V5);
    assert!(matches!(wire.receive(), Packet::Connack { code: 0, .. }));
    assert!(matches!(wire.receive(), Packet::Suback(..)));
    for n in 0..50 {
        assert_eq!(wire.take().1, n.to_string());
    }
}

#[test]
fn a_ping_is_answered_also_between_fragments() {
    let broker = Broker::start();
    let mut socket = WebSocket::open(broker.address("http"));
    let bytes = Connect::v5("c").encode();
    socket.frame(false, opcode::BINARY, &bytes[..5]).unwrap();
    socket.frame(true, opcode::PING, b"are you there").unwrap();
    assert_eq!(socket.next_frame(), Some((opcode::PONG, b"are you there".to_vec())));
    socket.frame(true, opcode::PONG, b"unasked").unwrap();
    socket.frame(true, opcode::CONTINUATION, &bytes[5..]).unwrap();
    let mut wire = socket.wire(Version::V5);
    assert!(matches!(wire.receive(), Packet::Connack { code: 0, .. }));
}

#[test]
fn a_close_frame_is_answered_and_ends_the_connection() {
    let broker = Broker::start();
    let mut watcher = Wire::connect(&broker, &Connect::v5("watcher"));
    watcher.subscribe("will", 0);
    let mut socket = WebSocket::open(broker.address("http"));
    let will = tercet_interop::Will::new("will", "closed");
    socket.frame(true, opcode::BINARY, &Connect::v5("c").will(will).encode()).unwrap();
    assert!(matches!(socket.next_frame(), Some((opcode::BINARY, _))));
    socket.frame(true, opcode::CLOSE, &1000_u16.to_be_bytes()).unwrap();
    let (code, payload) = socket.next_frame().expect("RFC 6455 §5.5.1");
    assert_eq!((code, payload.get(..2)), (opcode::CLOSE, Some(&1000_u16.to_be_bytes()[..])));
    assert_eq!(socket.next_frame(), None);
    assert_eq!(watcher.take().1, "closed", "it is no DISCONNECT");
}

/// Each of these frames is refused, the connection ends, and the broker lives on.
#[test]
fn hostile_frames_end_the_connection() {
    let mut broker = Broker::start();
    let table: [(&str, Vec<u8>, bool); 12] = [
        ("unmasked", vec![0x82, 0x02, 0xC0, 0x00], true),
        ("reserved bit 1 without extension", vec![0xC2, 0x80, 0, 0, 0, 0], true),
        ("reserved bit 3", vec![0x92, 0x80, 0, 0, 0, 0], true),
        ("reserved opcode 3", vec![0x83, 0x80, 0, 0, 0, 0], true),
        ("reserved control opcode 11", vec![0x8B, 0x80, 0, 0, 0, 0], true),
        ("text [MQTT-6.0.0-1]", vec![0x81, 0x82, 0, 0, 0, 0, 0xC0, 0x00], true),
        ("fragmented ping", vec![0x09, 0x80, 0, 0, 0, 0], true),
        ("ping of 126 bytes", [vec![0x89, 0xFE, 0, 126, 0, 0, 0, 0], vec![0; 126]].concat(), true),
        ("continuation of nothing", vec![0x80, 0x80, 0, 0, 0, 0], true),
        ("length of 2^63", vec![0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], true),
        ("length of 2^64-1 (CVE-2026-27571)", [vec![0x82], vec![0xFF; 9], vec![0; 4]].concat(), true),
        ("a new message within a message", vec![0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0], true),
    ];
    for (name, bytes, connected) in table {
        let mut socket = WebSocket::open(broker.address("http"));
        if connected {
            socket.frame(true, opcode::BINARY, &Connect::v5("c").encode()).unwrap();
            assert!(matches!(socket.next_frame(), Some((opcode::BINARY, _))), "{name}");
        }
        let _ = socket.raw(&bytes);
        loop {
            match socket.next_frame() {
                None => break,
                Some((opcode::CLOSE | opcode::BINARY, _)) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    broker.assert_alive();
    connect(&broker, "c").ping();
}

#[test]
fn a_malformed_packet_gets_its_reason_code_over_websocket_too() {
    let broker = Broker::start();
    let mut wire = connect(&broker, "c");
    wire.send(&[0x36, 0]);
    wire.expect_disconnect(0x81);
}

#[test]
fn requests_that_are_no_upgrade_to_mqtt_are_refused() {
    let broker = Broker::configured(
        "[[listener]]\nname = \"strict\"\nprotocol = \"ws\"\nbind = \"127.0.0.1:0\"\n\
         websocket-origins = [\"https://good.example\"]\n",
    );
    let strict = broker.address("strict");
    let mqtt = "Sec-WebSocket-Protocol: mqtt\r\n";
    let ask = |request: String| exchange(strict, &request);
    let good = format!("{mqtt}Origin: https://good.example\r\n");
    assert!(ask(request("/mqtt", &good)).starts_with("HTTP/1.1 101"));
    for (name, text) in [
        ("another path", request("/other", &good)),
        ("another origin", request("/mqtt", &format!("{mqtt}Origin: https://evil.example\r\n"))),
        ("another version", request("/mqtt", &good).replace("Version: 13", "Version: 8")),
        ("no key", request("/mqtt", &good).replace("Sec-WebSocket-Key", "X-Key")),
        ("POST", request("/mqtt", &good).replace("GET", "POST")),
    ] {
        let answer = ask(text);
        assert!(answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    // Several subprotocols: ours is chosen [MQTT-6.0.0-3].
    let answer =
        ask(request("/mqtt", "Sec-WebSocket-Protocol: amqp, mqtt\r\nOrigin: https://good.example\r\n"));
    assert!(
        answer.starts_with("HTTP/1.1 101") && answer.to_lowercase().contains("protocol: mqtt"),
        "{answer}"
    );
}

/// NATS CVE-2026-33219: what comes before the CONNECT is bounded.
#[test]
fn endless_headers_are_cut_off() {
    let mut broker = Broker::start();
    let mut stream = TcpStream::connect(broker.address("http")).unwrap();
    stream.write_all(b"GET /mqtt HTTP/1.1\r\n").unwrap();
    let line = format!("X: {}\r\n", "x".repeat(1000));
    let refused = (0..20_000).any(|_| stream.write_all(line.as_bytes()).is_err());
    assert!(refused, "20 MB of headers were taken");
    broker.assert_alive();
    connect(&broker, "c").ping();
}

#[test]
fn the_http_listener_tells_its_health() {
    let broker = Broker::start();
    let ask = |path: &str| {
        exchange(
            broker.address("http"),
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
    };
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = ask(path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    assert!(ask("/no-such-page").starts_with("HTTP/1.1 404"));
}
