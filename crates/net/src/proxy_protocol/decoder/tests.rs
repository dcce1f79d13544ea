use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, body].concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xC3, 0x50, 0x07, 0x5B];

fn decode(bytes: &[u8]) -> Result<Progress, ProxyError> {
    HeaderDecoder::new().feed(bytes)
}

fn header(bytes: &[u8]) -> Header {
    match decode(bytes) {
        Ok(Progress::Complete { header, used }) => {
            assert_eq!(used, bytes.len());
            header
        }
        other => panic!("{other:?} from {bytes:02X?}"),
    }
}

fn client(bytes: &[u8]) -> Option<PeerAddress> {
    header(bytes).proxied.unwrap().client
}

fn ip(text: &str) -> PeerAddress {
    PeerAddress::Ip(text.parse::<SocketAddr>().unwrap())
}

#[test]
fn addresses_are_read_from_both_versions() {
    let v6_text = b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 1883\r\n";
    let v6 = [
        &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..],
        &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0xC3, 0x50, 0x07, 0x5B],
    ]
    .concat();
    let text = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n";
    assert_eq!(client(text), Some(ip("192.0.2.7:50000")));
    assert_eq!(client(v6_text), Some(ip("[2001:db8::7]:50000")));
    assert_eq!(client(&v2(0x21, 0x11, &V4)), Some(ip("192.0.2.7:50000")));
    assert_eq!(client(&v2(0x21, 0x21, &v6)), Some(ip("[2001:db8::7]:50000")));
    assert_eq!(client(&v2(0x21, 0x31, &[0; 216])), Some(PeerAddress::Unix));
    let destination = header(&v2(0x21, 0x11, &V4)).proxied.unwrap().destination;
    assert_eq!(destination, Some("198.51.100.1:1883".parse().unwrap()));
}

#[test]
fn unknown_clients_keep_the_real_address_without_being_local() {
    let socket = ip("127.0.0.1:9");
    for bytes in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff:: ffff:: 1 1\r\n".to_vec(),
        v2(0x21, 0x00, b""),
        v2(0x21, 0x00, b"anything"),
    ] {
        let peer = header(&bytes).into_peer(socket);
        assert_eq!(peer.address(), socket);
        assert!(!peer.is_loopback(), "{bytes:02X?}");
    }
}

#[test]
fn local_connections_are_the_proxys_own() {
    for bytes in [v2(0x20, 0x00, b""), v2(0x20, 0x11, &V4), v2(0x20, 0xFF, &[0xAA; 300])] {
        let socket = ip("127.0.0.1:9");
        assert_eq!(header(&bytes).into_peer(socket), Peer::direct(socket));
    }
}

#[test]
fn fields_of_version_2_are_understood() {
    let ssl = |client: u8, verify: u32| {
        let cn = [field(0x21, b"TLSv1.3"), field(0x22, b"device-7")].concat();
        field(0x20, &[&[client][..], &verify.to_be_bytes(), &cn].concat())
    };
    let with = |fields: &[u8]| header(&v2(0x21, 0x11, &[&V4[..], fields].concat())).proxied.unwrap();
    let known =
        [field(0x01, b"mqtt"), field(0x02, b"broker.example"), field(0xEE, b"?"), ssl(0x07, 0)].concat();
    let peer = with(&known);
    assert_eq!(peer.alpn.as_deref(), Some(&b"mqtt"[..]));
    assert_eq!(peer.authority.as_deref(), Some("broker.example"));
    assert_eq!(peer.certificate_common_name.as_deref(), Some("device-7"));
    // No certificate shown, or one that did not verify: the name means nothing.
    assert_eq!(with(&ssl(0x01, 0)).certificate_common_name, None);
    assert_eq!(with(&ssl(0x07, 1)).certificate_common_name, None);
}

#[test]
fn long_fields_are_skipped_without_being_kept() {
    let body =
        [&V4[..], &field(0x01, b"mqtt"), &field(0xEE, &[0xAB; 60_000]), &field(0x02, b"late")].concat();
    let wire = [v2(0x21, 0x11, &body), b"payload".to_vec()].concat();
    let mut decoder = HeaderDecoder::new();
    let Ok(Progress::Complete { header, used }) = decoder.feed(&wire) else { panic!("it is all there") };
    assert_eq!(&wire[used..], b"payload");
    assert!(decoder.kept.capacity() <= 2 * MAX_KEPT);
    let peer = header.proxied.unwrap();
    assert_eq!((peer.alpn.as_deref(), peer.authority), (Some(&b"mqtt"[..]), None));
}

#[test]
fn malformed_headers_close_the_connection() {
    let missing: &[&[u8]] =
        &[b"\x10\x0e\0\x04MQTT", b"GET / HTTP/1.1\r\n", b"PROXX", b"\r\n\r\n\0\r\nQUIX", b"Pr"];
    for bytes in missing {
        assert_eq!(decode(bytes), Err(ProxyError::Missing), "{bytes:02X?}");
    }
    let malformed: Vec<Vec<u8>> = vec![
        b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\n".to_vec(),
        b"PROXY TCP5 192.0.2.7 198.51.100.1 50000 1883\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883 \r\n".to_vec(),
        b"PROXY TCP4  192.0.2.7 198.51.100.1 50000 1883\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 70000 1883\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 +5 1883\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 05 1883\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.07 198.51.100.1 5 1883\r\n".to_vec(),
        b"PROXY TCP4 ::1 ::1 5 1883\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.7 198.51.100.1 5 1883\r\n".to_vec(),
        b"PROXY \xFF\r\n".to_vec(),
        b"PROXY \r\n".to_vec(),
        v2(0x11, 0x11, &V4),
        v2(0x31, 0x11, &V4),
        v2(0x22, 0x11, &V4),
        v2(0x21, 0x12, &V4),
        v2(0x21, 0x41, &V4),
        v2(0x21, 0x13, &V4),
        v2(0x21, 0x11, &V4[..11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x31, &[0; 215]),
        v2(0x21, 0x11, &[&V4[..], &[1, 0]].concat()),
        v2(0x21, 0x11, &[&V4[..], &[1, 0, 5, 1]].concat()),
        v2(0x21, 0x11, &[&V4[..], &field(0x02, b"bad\0name")].concat()),
        v2(0x21, 0x11, &[&V4[..], &field(0x02, b"")].concat()),
        v2(0x21, 0x11, &[&V4[..], &field(0x20, &[7, 0, 0, 0])].concat()),
        v2(0x21, 0x11, &[&V4[..], &field(0x20, &[7, 0, 0, 0, 0, 0x22, 0, 9])].concat()),
        v2(0x21, 0x11, &[&V4[..], &field(0x20, &[7, 0, 0, 0, 0, 0x22, 0, 2, b'a', 0])].concat()),
    ];
    for bytes in malformed {
        assert!(
            matches!(decode(&bytes), Err(ProxyError::Malformed(_))),
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn a_line_ends_within_107_bytes() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(longest.len(), 107);
    assert_eq!(header(longest.as_bytes()).proxied, Some(ProxiedPeer::default()));
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(108 - 16));
    assert_eq!(decode(longer.as_bytes()), Err(ProxyError::TooLong));
}

fn any_header() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| {
            format!("PROXY TCP4 {} 127.0.0.1 {port} 1\r\n", std::net::Ipv4Addr::from(ip)).into_bytes()
        }),
        (0x20..0x22u8, proptest::collection::vec(any::<u8>(), 0..900)).prop_map(|(command, value)| v2(
            command,
            0x11,
            &[&V4[..], &field(0xEE, &value)].concat()
        )),
    ]
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_header_and_leaves_the_stream(
        header in any_header(), tail: Vec<u8>, cuts in proptest::collection::vec(1..60usize, 1..6))
    {
        let wire = [header.clone(), tail.clone()].concat();
        let mut decoder = HeaderDecoder::new();
        let mut at = 0;
        for cut in cuts.iter().cycle() {
            let end = (at + cut).min(wire.len());
            match decoder.feed(&wire[at..end]).unwrap() {
                Progress::Incomplete => at = end,
                Progress::Complete { header: found, used } => {
                    prop_assert_eq!(at + used, header.len());
                    prop_assert_eq!(Ok(Progress::Complete { header: found, used: header.len() }), decode(&wire));
                    break;
                }
            }
            prop_assert!(at < header.len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(version in 0..3u8, bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let start: &[u8] = match version { 0 => b"", 1 => b"PROXY TCP4 ", _ => b"\r\n\r\n\0\r\nQUIT\n\x21" };
        let _ = decode(&[start, &bytes].concat());
    }
}
