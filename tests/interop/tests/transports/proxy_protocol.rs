//! The PROXY protocol, versions 1 and 2: who is believed, and what is refused.

use std::net::SocketAddr;

use tercet_interop::{Broker, Connect, Packet, Version, Wire};

const CONFIG: &str = r#"
[[listener]]
name = "both"
bind = "127.0.0.1:0"
anonymous = "allow"
proxy-protocol = "both"
proxy-trusted = ["127.0.0.1"]
[[listener]]
name = "v1"
bind = "127.0.0.1:0"
anonymous = "allow"
proxy-protocol = "v1"
proxy-trusted = ["127.0.0.1"]
[[listener]]
name = "stranger"
bind = "127.0.0.1:0"
proxy-protocol = "both"
proxy-trusted = ["10.0.0.0/8"]
[[listener]]
name = "loopback"
bind = "127.0.0.1:0"
anonymous = "loopback"
proxy-protocol = "both"
proxy-trusted = ["127.0.0.1"]
"#;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend((addresses.len() as u16).to_be_bytes());
    bytes.extend(addresses);
    bytes
}

/// Source 203.0.113.9:4444, destination 127.0.0.1:1883.
const IPV4: [u8; 12] = [203, 0, 113, 9, 127, 0, 0, 1, 0x11, 0x5c, 0x07, 0x5b];

/// What came of a CONNECT behind this header: the CONNACK's code, or `None` for a close.
fn attempt(address: SocketAddr, header: &[u8]) -> Option<u8> {
    let mut wire = Wire::open(address, Version::V5);
    let mut bytes = header.to_vec();
    bytes.extend(Connect::v5("c").encode());
    let _ = wire.try_send(&bytes);
    match wire.next_packet() {
        None => None,
        Some(Packet::Connack { code, .. }) => Some(code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_headers_of_both_versions() {
    let broker = Broker::configured(CONFIG);
    let mut ipv6 = vec![0; 36];
    ipv6[0] = 0x20;
    let mut with_extension = IPV4.to_vec();
    with_extension.extend([0x04, 0, 2, 0, 0]);
    for header in [
        b"PROXY TCP4 203.0.113.9 127.0.0.1 4444 1883\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::9 ::1 4444 1883\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN whatever stands here\r\n".to_vec(),
        v2(1, 0x11, &IPV4),
        v2(1, 0x21, &ipv6),
        v2(1, 0x11, &with_extension),
        v2(0, 0x00, &[]),
    ] {
        assert_eq!(attempt(broker.address("both"), &header), Some(0), "{}", String::from_utf8_lossy(&header));
    }
}

#[test]
fn a_header_in_pieces_is_accepted() {
    let broker = Broker::configured(CONFIG);
    for header in [b"PROXY TCP4 203.0.113.9 127.0.0.1 4444 1883\r\n".to_vec(), v2(1, 0x11, &IPV4)] {
        let mut wire = Wire::open(broker.address("both"), Version::V5);
        for byte in header {
            wire.send(&[byte]);
        }
        let (mut wire, ..) = wire.handshake(&Connect::v5("c"));
        wire.ping();
    }
}

#[test]
fn bad_headers_are_closed() {
    let broker = Broker::configured(CONFIG);
    let mut wrong_version = v2(1, 0x11, &IPV4);
    wrong_version[12] = 0x11;
    for header in [
        b"".to_vec(),
        b"PROXY TCP4 203.0.113.9\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.999 127.0.0.1 4444 1883\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9 127.0.0.1 99999 1883\r\n".to_vec(),
        b"PROXY TCP5 203.0.113.9 127.0.0.1 4444 1883\r\n".to_vec(),
        format!("PROXY UNKNOWN {}\r\n", "x".repeat(200)).into_bytes(),
        v2(1, 0x11, &IPV4[..8]),
        v2(7, 0x11, &IPV4),
        wrong_version,
    ] {
        assert_eq!(attempt(broker.address("both"), &header), None, "{}", String::from_utf8_lossy(&header));
    }
    assert_eq!(attempt(broker.address("v1"), &v2(1, 0x11, &IPV4)), None, "only version 1 there");
    assert_eq!(attempt(broker.address("v1"), b"PROXY TCP4 203.0.113.9 127.0.0.1 4444 1883\r\n"), Some(0));
}

#[test]
fn only_trusted_peers_are_believed() {
    let broker = Broker::configured(CONFIG);
    let header = b"PROXY TCP4 203.0.113.9 127.0.0.1 4444 1883\r\n";
    assert_eq!(attempt(broker.address("stranger"), header), None);
    // Without the option a header is a protocol error.
    assert_eq!(attempt(broker.mqtt(), header), None);
}

/// "loopback" is judged by the real client: a proxy on this machine does not make strangers local.
#[test]
fn the_address_in_the_header_decides_who_is_local() {
    let broker = Broker::configured(CONFIG);
    let address = broker.address("loopback");
    assert_eq!(attempt(address, b"PROXY TCP4 203.0.113.9 127.0.0.1 4444 1883\r\n"), Some(0x87));
    assert_eq!(attempt(address, b"PROXY TCP4 127.0.0.1 127.0.0.1 4444 1883\r\n"), Some(0));
}
