//! What the pages say, and what a client gets that does not behave.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tercet_server::config::{Bind, Limit, Protocol, ProxyProtocol};

use crate::client::{Answer, address, connect, eventually, get, http, listener, network, request, start};

#[test]
fn pages_of_a_server_that_is_well() {
    let server = start(|_| {});
    let cases = [
        ("GET", "/healthz", 200, "text/plain; charset=utf-8", "ok"),
        ("GET", "/readyz", 200, "application/json", r#"{"ready":true}"#),
        ("GET", "/readyz?verbose", 200, "application/json", r#"{"ready":true}"#),
        ("GET", "/nothing", 404, "application/json", "/healthz, /readyz, /metrics"),
        ("GET", "/healthz/", 404, "application/json", "hint"),
        ("GET", "/", 404, "application/json", "hint"),
        ("POST", "/healthz", 405, "application/json", "use GET or HEAD"),
        ("DELETE", "/readyz", 405, "application/json", "use GET or HEAD"),
    ];
    for (method, path, status, kind, body) in cases {
        let answer =
            request(&server, "http", &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some(kind), "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        assert!(answer.body.contains(body), "{method} {path}: {}", answer.body);
        assert_eq!(answer.header("allow").is_some(), status == 405, "{method} {path}");
    }
}

#[test]
fn several_requests_share_a_connection() {
    let server = start(|_| {});
    let mut stream = connect(&server, "http");
    for path in ["/healthz", "/readyz", "/nothing"] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    let statuses: Vec<_> = (0..3).map(|_| Answer::read(&mut stream).status).collect();
    assert_eq!(statuses, [200, 200, 404]);
}

#[test]
fn a_server_that_goes_is_healthy_but_not_ready() {
    let server = start(|_| {});
    server.shared().health.set_draining();
    assert_eq!(get(&server, "/healthz").status, 200);
    let answer = get(&server, "/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, r#"{"ready":false,"reasons":["the server is shutting down"]}"#);
}

#[test]
fn a_websocket_listener_serves_nothing_else() {
    let server = start(|config| config.listeners.push(listener("sockets", Protocol::Ws)));
    for path in ["/healthz", "/readyz", "/metrics", "/"] {
        let answer = request(&server, "sockets", &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("only MQTT over WebSocket at /mqtt"), "{path}: {}", answer.body);
    }
}

#[test]
fn requests_that_are_not_http_are_refused() {
    let server = start(|_| {});
    let long = format!("GET /healthz HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    let cases = [
        ("GET /healthz HTTP/1.1\r\nX-\0: y\r\n\r\n", Some(400)),
        ("\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a\r\n\r\n", Some(400)),
        (long.as_str(), Some(431)),
        (many.as_str(), Some(431)),
    ];
    for (bytes, status) in cases {
        let shown = &bytes[..bytes.len().min(40)];
        let mut stream = connect(&server, "http");
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        let found = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert_eq!(found, status, "{shown:?}: {text}");
    }
    assert_eq!(get(&server, "/healthz").status, 200);
}

#[test]
fn a_client_that_is_slow_with_its_headers_is_cut() {
    let server = start(|config| http(config).connect_timeout = Duration::from_millis(200));
    let mut stream = connect(&server, "http");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    eventually(Some(0), || server.open_connections("http"));
}

#[test]
fn connections_beyond_the_limit_of_the_listener_are_closed() {
    let server = start(|config| http(config).max_connections = Limit::At(2.try_into().unwrap()));
    let first = connect(&server, "http");
    let second = connect(&server, "http");
    eventually(Some(2), || server.open_connections("http"));
    let mut third = connect(&server, "http");
    assert_eq!(third.read(&mut [0; 8]).unwrap_or(0), 0);
    assert_eq!(server.shared().vhost.metrics().totals().sockets_refused, 1);
    drop((first, second));
    eventually(Some(0), || server.open_connections("http"));
    assert_eq!(get(&server, "/healthz").status, 200);
}

#[test]
fn only_the_configured_version_of_the_proxy_header_is_read() {
    let server = start(|config| {
        let http = http(config);
        http.proxy_protocol = ProxyProtocol::V2;
        http.proxy_trusted = vec![network("127.0.0.0/8")];
    });
    let mut stream = connect(&server, "http");
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 80\r\n").unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0);
    let mut stream = connect(&server, "http");
    stream
        .write_all(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\xc3\x50\x00\x50")
        .unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut stream).status, 200);
}

#[test]
fn a_unix_socket_serves_the_pages_and_its_file_goes_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let server = start(|config| {
        config.listeners.push(tercet_server::config::Listener {
            bind: Bind::Unix(path.clone()),
            ..listener("local", Protocol::Http)
        });
    });
    assert_eq!(address(&server, "local"), format!("unix:{}", path.display()));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(Answer::read(&mut stream).status, 200);
    drop(server);
    assert!(!path.exists());
}

#[test]
fn a_proxy_header_comes_before_the_request() {
    let server = start(|config| {
        let http = http(config);
        http.proxy_protocol = ProxyProtocol::Both;
        http.proxy_trusted = vec![network("127.0.0.0/8")];
        http.connect_timeout = Duration::from_millis(500);
    });
    let good =
        "PROXY TCP4 192.0.2.7 198.51.100.1 50000 80\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(request(&server, "http", good).status, 200);
    for bad in ["GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "PROXY TCP4 nonsense\r\n", "PROXY TCP4 1"]
    {
        let mut stream = connect(&server, "http");
        stream.write_all(bad.as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0, "{bad:?}");
    }
    eventually(Some(0), || server.open_connections("http"));
}
