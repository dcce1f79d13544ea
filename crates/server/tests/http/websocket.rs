//! MQTT over WebSocket: the handshake, and what becomes of the connection after it.

use std::io::{Read, Write};
use std::time::Duration;

use tercet_net::websocket::{ClientHandshake, Codec, Limits, Outcome, Role};
use tercet_server::RunningServer;
use tercet_server::config::{Limit, Listener, Protocol, ProxyProtocol};

use crate::client::{
    Answer, Stream, certificate, connect, connect_tls, eventually, http, listener, network, request, start,
};

/// An MQTT 3.1.1 CONNECT of client "a", and the CONNACK that it gets.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";
const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const PINGREQ: &[u8] = b"\xc0\x00";
const PINGRESP: &[u8] = b"\xd0\x00";
const DISCONNECT: &[u8] = b"\xe0\x00";

const GOOD: [(&str, &str); 6] = [
    ("Host", "localhost"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Protocol", "mqtt"),
];

/// An upgrade request with one header replaced, or removed when `value` is empty.
fn upgrade(line: &str, name: &str, value: &str) -> String {
    let mut headers: Vec<_> = GOOD.into_iter().filter(|(other, _)| *other != name).collect();
    if !value.is_empty() {
        headers.push((name, value));
    }
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line}\r\n{headers}\r\n")
}

/// The client's end of a WebSocket.
struct WebSocket<S> {
    stream: S,
    codec: Codec,
    received: Vec<u8>,
}

impl<S: Stream> WebSocket<S> {
    /// Opens it; `early` is sent together with the request.
    fn open(mut stream: S, early: &[u8]) -> Self {
        let handshake = ClientHandshake::new("localhost", "/mqtt", "mqtt", &[]).unwrap();
        let mut codec = Codec::new(Role::Client, Limits::default());
        let mut request = handshake.request().to_vec();
        if !early.is_empty() {
            codec.encode(early, &mut request).unwrap();
        }
        stream.write_all(&request).unwrap();
        let answer = Answer::read(&mut stream);
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), Some("mqtt"));
        handshake.response(answer.head.as_bytes()).unwrap().unwrap();
        Self { stream, codec, received: Vec::new() }
    }

    /// Sends bytes in one frame.
    fn send(&mut self, bytes: &[u8]) {
        let mut frame = Vec::new();
        self.codec.encode(bytes, &mut frame).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    /// Reads until this has come.
    fn expect(&mut self, expected: &[u8]) {
        while self.received.len() < expected.len() {
            let mut buffer = [0; 4096];
            let length = self.stream.read(&mut buffer).unwrap();
            assert!(length > 0, "closed after {:?}", self.received);
            let decoded = self.codec.decode(&mut buffer[..length]);
            assert!(!matches!(decoded.outcome, Outcome::Failed(_)), "{decoded:?}");
            self.received.extend_from_slice(&buffer[..decoded.len]);
        }
        assert_eq!(self.received, expected);
        self.received.clear();
    }
}

/// Every count of connections goes back to nothing.
fn expect_nobody(server: &RunningServer, name: &str) {
    eventually(Some(0), || server.open_connections(name));
    eventually(0, || server.shared().connections());
}

#[test]
fn handshakes_that_are_refused() {
    let server = start(|config| http(config).websocket_origins = vec!["https://app.example".into()]);
    let get = "GET /mqtt HTTP/1.1";
    let cases = [
        (get, "Upgrade", "", 426, Some(("upgrade", "websocket"))),
        (get, "Upgrade", "h2c", 426, Some(("upgrade", "websocket"))),
        (get, "Connection", "", 426, Some(("upgrade", "websocket"))),
        (get, "Connection", "close", 426, Some(("upgrade", "websocket"))),
        (get, "Sec-WebSocket-Version", "8", 426, Some(("sec-websocket-version", "13"))),
        (get, "Sec-WebSocket-Version", "", 426, Some(("sec-websocket-version", "13"))),
        (get, "Sec-WebSocket-Key", "", 400, None),
        (get, "Sec-WebSocket-Key", "c2hvcnQ=", 400, None),
        (get, "Sec-WebSocket-Protocol", "", 400, None),
        (get, "Sec-WebSocket-Protocol", "chat", 400, None),
        (get, "Origin", "https://evil.example", 403, None),
        ("POST /mqtt HTTP/1.1", "", "", 405, Some(("allow", "GET"))),
        ("GET /mqtt HTTP/1.0", "", "", 426, Some(("upgrade", "websocket"))),
        ("GET /other HTTP/1.1", "", "", 404, None),
        ("GET /mqtt/ HTTP/1.1", "", "", 404, None),
    ];
    for (line, name, value, status, header) in cases {
        let answer = request(&server, "http", &upgrade(line, name, value));
        assert_eq!(answer.status, status, "{line} {name}: {value}: {answer:?}");
        if let Some((name, value)) = header {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        assert!(answer.body.contains("\"error\"") && answer.body.contains("\"hint\""), "{}", answer.body);
    }
    expect_nobody(&server, "http");
}

#[test]
fn handshakes_that_are_granted() {
    let server = start(|config| http(config).websocket_origins = vec!["https://app.example".into()]);
    let cases = [
        ("Upgrade", "WebSocket", "mqtt"),
        ("Connection", "keep-alive, Upgrade", "mqtt"),
        ("Sec-WebSocket-Protocol", "mqttv3.1", "mqttv3.1"),
        ("Sec-WebSocket-Protocol", "chat, mqttv3.1, mqtt", "mqtt"),
        ("Sec-WebSocket-Extensions", "permessage-deflate", "mqtt"),
        ("Origin", "https://app.example", "mqtt"),
    ];
    for (name, value, protocol) in cases {
        let answer = request(&server, "http", &upgrade("GET /mqtt?token=1 HTTP/1.1", name, value));
        assert_eq!(answer.status, 101, "{name}: {value}: {answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer.header("sec-websocket-protocol"), Some(protocol));
        assert_eq!(answer.header("sec-websocket-extensions"), None);
    }
    expect_nobody(&server, "http");
}

#[test]
fn a_client_speaks_mqtt_and_leaves() {
    let server = start(|_| {});
    let mut client = WebSocket::open(connect(&server, "http"), &[]);
    client.send(CONNECT);
    client.expect(CONNACK);
    assert_eq!((server.open_connections("http"), server.shared().connections()), (Some(1), 1));
    client.send(PINGREQ);
    client.expect(PINGRESP);
    client.send(DISCONNECT);
    expect_nobody(&server, "http");
}

#[test]
fn what_comes_together_with_the_request_is_not_lost() {
    let server = start(|_| {});
    let mut client = WebSocket::open(connect(&server, "http"), CONNECT);
    client.expect(CONNACK);
    drop(client);
    expect_nobody(&server, "http");
}

#[test]
fn packets_span_frames_and_frames_hold_packets() {
    let server = start(|_| {});
    let mut client = WebSocket::open(connect(&server, "http"), &[]);
    for byte in CONNECT {
        client.send(std::slice::from_ref(byte));
    }
    client.expect(CONNACK);
    // One message in three fragments (RFC 6455 §5.4), a ping between them; the mask is zero.
    client.stream.write_all(b"\x02\x81\0\0\0\0\xc0").unwrap();
    client.stream.write_all(b"\x89\x80\0\0\0\0").unwrap();
    client.stream.write_all(b"\x00\x82\0\0\0\0\x00\xc0").unwrap();
    client.stream.write_all(b"\x80\x81\0\0\0\0\x00").unwrap();
    client.expect(&[PINGRESP, PINGRESP].concat());
    client.send(&[PINGREQ, PINGREQ, PINGREQ].concat());
    client.expect(&[PINGRESP, PINGRESP, PINGRESP].concat());
    drop(client);
    expect_nobody(&server, "http");
}

#[test]
fn tls_below_the_websocket() {
    let directory = tempfile::tempdir().unwrap();
    let tls = certificate(directory.path());
    let server = start(|config| {
        let secure = Listener { tls: Some(tls.clone()), ..listener("secure", Protocol::Http) };
        config.listeners.push(secure);
    });
    let mut stream = connect_tls(&server, "secure", &tls);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut stream).body, "ok");
    // The same connection is upgraded, with a packet that comes early.
    let mut client = WebSocket::open(stream, CONNECT);
    client.expect(CONNACK);
    for _ in 0..100 {
        client.send(PINGREQ);
        client.expect(PINGRESP);
    }
    client.send(DISCONNECT);
    drop(client);
    expect_nobody(&server, "secure");
}

#[test]
fn the_proxied_address_goes_along() {
    let server = start(|config| {
        let http = http(config);
        http.proxy_protocol = ProxyProtocol::Both;
        http.proxy_trusted = vec![network("127.0.0.1/32")];
    });
    // Anonymous access is for loopback alone, and the client behind the proxy is far away.
    let cases = [("192.0.2.7", b"\x20\x02\x00\x05"), ("127.0.0.1", b"\x20\x02\x00\x00")];
    for (client, connack) in cases {
        let mut stream = connect(&server, "http");
        write!(stream, "PROXY TCP4 {client} 198.51.100.1 50000 80\r\n").unwrap();
        let mut client = WebSocket::open(stream, CONNECT);
        client.expect(connack);
    }
    expect_nobody(&server, "http");
}

#[test]
fn a_client_that_never_connects_is_cut() {
    let server = start(|config| http(config).connect_timeout = Duration::from_millis(200));
    let mut client = WebSocket::open(connect(&server, "http"), &[]);
    let mut rest = Vec::new();
    // A close frame may come before the end.
    let _ = client.stream.read_to_end(&mut rest);
    expect_nobody(&server, "http");
}

#[test]
fn no_more_clients_than_the_server_may_have() {
    let server = start(|config| config.limits.max_connections = Limit::At(1.try_into().unwrap()));
    let mut client = WebSocket::open(connect(&server, "http"), CONNECT);
    client.expect(CONNACK);
    let refused = request(&server, "http", &upgrade("GET /mqtt HTTP/1.1", "", ""));
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("max-connections"), "{}", refused.body);
    server.shared().health.set_draining();
    let refused = request(&server, "http", &upgrade("GET /mqtt HTTP/1.1", "", ""));
    assert!(refused.body.contains("shutting down"), "{}", refused.body);
    drop(client);
    expect_nobody(&server, "http");
}

#[test]
fn a_path_of_ones_own() {
    let server = start(|config| http(config).websocket_path = "/broker/socket".into());
    assert_eq!(request(&server, "http", &upgrade("GET /mqtt HTTP/1.1", "", "")).status, 404);
    assert_eq!(request(&server, "http", &upgrade("GET /broker/socket HTTP/1.1", "", "")).status, 101);
}
