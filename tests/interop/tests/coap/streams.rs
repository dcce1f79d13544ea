//! CoAP over TCP (RFC 8323), byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::server::Server;
use crate::table::cases;
use crate::wire::{GET, PATIENCE, PUT, Peer, decode_body, spell};

const TABLE: &str = include_str!("streams.tbl");
const CSM: u8 = 0xE1;
const PONG: u8 = 0xE3;
const ABORT: u8 = 0xE5;
/// A CSM without options.
const HELLO: [u8; 2] = [0x00, CSM];

#[derive(Debug)]
struct Frame {
    code: u8,
    token: Vec<u8>,
    options: Vec<(u16, Vec<u8>)>,
    payload: Vec<u8>,
}

struct Stream {
    tcp: TcpStream,
}

impl Stream {
    /// Connects and reads the broker's CSM, which is its first message.
    fn open(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let mut stream = Self { tcp };
        let first = stream.next().expect("a CSM");
        assert_eq!((first.code, first.token.len(), first.payload.len()), (CSM, 0, 0), "{first:?}");
        stream
    }

    fn send(&mut self, bytes: &[u8]) {
        // The broker may have closed already.
        let _ = self.tcp.write_all(bytes);
    }

    fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        match self.tcp.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) => {
                let ended = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(ended.contains(&error.kind()), "nothing comes: {error}");
                None
            }
        }
    }

    /// The next message, or nothing at the end of the stream.
    fn next(&mut self) -> Option<Frame> {
        let first = self.exactly(1)?[0];
        let more = match first >> 4 {
            nibble @ 0..=12 => usize::from(nibble),
            13 => usize::from(self.exactly(1)?[0]) + 13,
            14 => self.exactly(2)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) + 269,
            _ => self.exactly(4)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) + 65805,
        };
        let code = self.exactly(1)?[0];
        let token = match first & 15 {
            nibble @ 0..=12 => usize::from(nibble),
            13 => usize::from(self.exactly(1)?[0]) + 13,
            nibble => panic!("token length {nibble}"),
        };
        let token = self.exactly(token)?;
        let (options, payload) = decode_body(&self.exactly(more)?).expect("well-formed");
        Some(Frame { code, token, options, payload })
    }

    /// What came until a further request is answered, and whether it was. A Pong would not do: it may overtake responses.
    fn settle(&mut self) -> (Vec<Frame>, bool) {
        self.send(b"\x58\x01are you?\xb2ps\x01m");
        let mut seen = Vec::new();
        while let Some(frame) = self.next() {
            if frame.token == b"are you?" {
                assert_eq!((spell(frame.code), &frame.payload[..]), ("2.05".into(), &b"value"[..]));
                return (seen, true);
            }
            seen.push(frame);
        }
        (seen, false)
    }
}

#[test]
fn every_shape_on_a_stream_gets_its_answer() {
    let mut server = Server::start();
    let address = server.tcp();
    let mut failures = Vec::new();
    for case in cases(TABLE) {
        let mut stream = Stream::open(address);
        stream.send(&HELLO);
        stream.send(&case.bytes);
        let (frames, alive) = stream.settle();
        let codes: Vec<_> = frames.iter().map(|frame| spell(frame.code)).collect();
        let seen = match &codes[..] {
            [] if alive => "nothing".into(),
            [] => "close".into(),
            [.., last] if last == "7.05" && !alive => "abort".into(),
            codes if alive => codes.join(" "),
            codes => format!("{} and close", codes.join(" ")),
        };
        if !case.answers.contains(&seen) {
            failures.push(format!("{}: expected {}, seen {seen}", case.name, case.answers.join(" or ")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    server.assert_alive();
}

/// RFC 8323 §5.3: the first message must be a CSM.
#[test]
fn who_does_not_begin_with_a_csm_is_sent_away() {
    let server = Server::start();
    let address = server.tcp();
    for first in [&[0x00, GET][..], &[0x00, 0xE2], &[0x00, 0x45], &[0x01, 0x00, 0xaa, 0x00, GET]] {
        let mut stream = Stream::open(address);
        stream.send(first);
        let (frames, alive) = stream.settle();
        let codes: Vec<_> = frames.iter().map(|frame| frame.code).collect();
        assert!(!alive && (codes.is_empty() || codes == [ABORT]), "{first:02x?}: {frames:?}");
    }
}

/// RFC 8323 §5.3: the Abort names the option that was not understood.
#[test]
fn a_bad_option_of_a_csm_is_named() {
    let server = Server::start();
    let address = server.tcp();
    let mut stream = Stream::open(address);
    stream.send(&[0x10, CSM, 0x90]);
    let abort = stream.next().expect("an Abort");
    assert_eq!((abort.code, &abort.options[..]), (ABORT, &[(2, vec![9])][..]));
    assert!(stream.next().is_none());
}

/// RFC 8323 §5.4.1: a Pong says Custody only behind the answers to what came before its Ping.
#[test]
fn custody_is_not_promised_too_early() {
    let server = Server::start();
    let address = server.tcp();
    let mut stream = Stream::open(address);
    stream.send(&HELLO);
    stream.send(b"\x51\x01\x07\xb2ps\x01m\x11\xe2\x09\x20");
    let frames = [stream.next().unwrap(), stream.next().unwrap()];
    let pong = frames.iter().position(|frame| frame.code == PONG).expect("a Pong");
    assert_eq!(frames[pong].token, [9]);
    let has_custody = frames[pong].options.iter().any(|(number, _)| *number == 2);
    assert!(pong == 1 || !has_custody, "{frames:?}");
}

/// Class 15: one byte at a time, while others are served.
#[test]
fn a_slow_sender_is_served_and_disturbs_nobody() {
    let server = Server::start();
    let address = server.tcp();
    let mut slow = Stream::open(address);
    for byte in HELLO.into_iter().chain([0x51, GET, 7, 0xB2, b'p', b's', 0x01, b'm']) {
        slow.send(&[byte]);
        let mut other = Stream::open(address);
        other.send(&HELLO);
        assert!(other.settle().1);
    }
    assert_eq!(spell(slow.next().unwrap().code), "2.05");
}

/// Half a message at the end of a stream is no message.
#[test]
fn half_a_message_does_nothing() {
    let server = Server::start();
    let address = server.tcp();
    let mut stream = Stream::open(address);
    stream.send(&HELLO);
    stream.send(&[0xD0, 0xF0, PUT, 0xB2, b'p', b's', 0x01, b'h', 0xFF, b'x']);
    stream.tcp.shutdown(Shutdown::Write).unwrap();
    assert!(stream.next().is_none());
    assert_eq!(spell(Peer::new(server.udp).call(GET, "ps/h", b"").code), "4.04");
}
