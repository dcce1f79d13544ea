//! CoAP as these tests speak it: a codec written from RFC 7252 §3 and not shared with the broker, and a client of raw
//! datagrams.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// How long a test waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) const CON: u8 = 0;
pub(crate) const NON: u8 = 1;
pub(crate) const ACK: u8 = 2;
pub(crate) const RST: u8 = 3;

/// The code `class.detail`.
pub(crate) const fn code(class: u8, detail: u8) -> u8 {
    class << 5 | detail
}

pub(crate) const EMPTY: u8 = code(0, 0);
pub(crate) const GET: u8 = code(0, 1);
pub(crate) const POST: u8 = code(0, 2);
pub(crate) const PUT: u8 = code(0, 3);
pub(crate) const DELETE: u8 = code(0, 4);
pub(crate) const CREATED: u8 = code(2, 1);
pub(crate) const CHANGED: u8 = code(2, 4);
pub(crate) const CONTENT: u8 = code(2, 5);
pub(crate) const CONTINUE: u8 = code(2, 31);

pub(crate) const OBSERVE: u16 = 6;
pub(crate) const URI_PATH: u16 = 11;
pub(crate) const BLOCK1: u16 = 27;
pub(crate) const REQUEST_TAG: u16 = 292;

/// A code as people write it.
pub(crate) fn spell(code: u8) -> String {
    format!("{}.{:02}", code >> 5, code & 31)
}

/// A decoded datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) id: u16,
    pub(crate) token: Vec<u8>,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// A request whose token is its message id.
    pub(crate) fn request(kind: u8, code: u8, id: u16, path: &str) -> Self {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let options = segments.map(|segment| (URI_PATH, segment.as_bytes().to_vec())).collect();
        Self { kind, code, id, token: id.to_be_bytes().to_vec(), options, payload: Vec::new() }
    }

    /// Adds an option behind those of the same number.
    pub(crate) fn option(mut self, number: u16, value: &[u8]) -> Self {
        let at = self.options.partition_point(|(other, _)| *other <= number);
        self.options.insert(at, (number, value.to_vec()));
        self
    }

    /// Adds an option with an unsigned value in its shortest form.
    pub(crate) fn uint(self, number: u16, value: u32) -> Self {
        let bytes = value.to_be_bytes();
        self.option(number, &bytes[value.leading_zeros() as usize / 8..])
    }

    pub(crate) fn token(mut self, token: &[u8]) -> Self {
        self.token = token.to_vec();
        self
    }

    pub(crate) fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let token = u8::try_from(self.token.len()).unwrap();
        let mut out = vec![1 << 6 | self.kind << 4 | token, self.code];
        out.extend(self.id.to_be_bytes());
        out.extend(&self.token);
        encode_body(&self.options, &self.payload, &mut out);
        out
    }

    /// Decodes what the broker sends, which must be in the canonical form.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let [first, code, high, low, rest @ ..] = bytes else { return Err("a runt".into()) };
        if first >> 6 != 1 {
            return Err(format!("version {}", first >> 6));
        }
        let token = extended_token(first & 15, rest)?;
        let (options, payload) = decode_body(&rest[token.end..])?;
        if *code == EMPTY && bytes.len() != 4 {
            return Err("an empty message that is not empty".into());
        }
        let token = rest[token].to_vec();
        let id = u16::from_be_bytes([*high, *low]);
        Ok(Self { kind: first >> 4 & 3, code: *code, id, token, options, payload })
    }

    /// The values of an option.
    pub(crate) fn all(&self, number: u16) -> Vec<&[u8]> {
        self.options.iter().filter(|(other, _)| *other == number).map(|(_, value)| &value[..]).collect()
    }

    /// The value of an unsigned option.
    pub(crate) fn number(&self, number: u16) -> Option<u32> {
        let value = *self.all(number).first()?;
        Some(value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }
}

/// Where the token is: RFC 7252 §3, with the longer ones of RFC 8974 §2.1.
fn extended_token(nibble: u8, rest: &[u8]) -> Result<std::ops::Range<usize>, String> {
    let (start, length) = match (nibble, rest) {
        (0..=8, _) => (0, usize::from(nibble)),
        (13, [one, ..]) => (1, usize::from(*one) + 13),
        (14, [high, low, ..]) => (2, usize::from(u16::from_be_bytes([*high, *low])) + 269),
        _ => return Err(format!("token length {nibble}")),
    };
    if rest.len() < start + length { Err("half a token".into()) } else { Ok(start..start + length) }
}

/// Options and payload as every transport carries them.
pub(crate) fn encode_body(options: &[(u16, Vec<u8>)], payload: &[u8], out: &mut Vec<u8>) {
    let mut previous = 0;
    for (number, value) in options {
        let (delta, delta_more) = extend(usize::from(number - previous));
        let (length, length_more) = extend(value.len());
        previous = *number;
        out.push(delta << 4 | length);
        out.extend(delta_more);
        out.extend(length_more);
        out.extend(value);
    }
    if !payload.is_empty() {
        out.push(0xFF);
        out.extend(payload);
    }
}

fn extend(value: usize) -> (u8, Vec<u8>) {
    match value {
        0..=12 => (value as u8, Vec::new()),
        13..=268 => (13, vec![(value - 13) as u8]),
        _ => (14, ((value - 269) as u16).to_be_bytes().to_vec()),
    }
}

type Body = (Vec<(u16, Vec<u8>)>, Vec<u8>);

pub(crate) fn decode_body(mut rest: &[u8]) -> Result<Body, String> {
    let (mut options, mut number) = (Vec::new(), 0);
    while let [first, after @ ..] = rest {
        if *first == 0xFF {
            return if after.is_empty() { Err("no payload".into()) } else { Ok((options, after.to_vec())) };
        }
        let (delta, after) = reduce(first >> 4, after)?;
        let (length, after) = reduce(first & 15, after)?;
        number += delta;
        let short = u16::try_from(number).map_err(|_| format!("option {number}"))?;
        let value = after.get(..length).ok_or("half an option")?;
        options.push((short, value.to_vec()));
        rest = &after[length..];
    }
    Ok((options, Vec::new()))
}

fn reduce(nibble: u8, rest: &[u8]) -> Result<(usize, &[u8]), String> {
    match (nibble, rest) {
        (0..=12, _) => Ok((usize::from(nibble), rest)),
        (13, [one, rest @ ..]) => Ok((usize::from(*one) + 13, rest)),
        (14, [high, low, rest @ ..]) => Ok((usize::from(u16::from_be_bytes([*high, *low])) + 269, rest)),
        _ => Err(format!("nibble {nibble}")),
    }
}

/// A client on a port of its own.
pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    next: u16,
}

impl Peer {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, server)
    }

    /// A client with another of loopback's addresses.
    pub(crate) fn at(address: Ipv4Addr, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, next: 0x7000 }
    }

    /// A message id that the tables do not use.
    pub(crate) fn id(&mut self) -> u16 {
        self.next += 1;
        self.next
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.socket.send(bytes).expect("the broker's socket is open");
    }

    /// The next datagram.
    pub(crate) fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65536];
        let length = self.socket.recv(&mut buffer).expect("an answer in time");
        buffer.truncate(length);
        buffer
    }

    /// The next datagram, which must be well-formed.
    pub(crate) fn take(&self) -> Message {
        let bytes = self.receive();
        Message::decode(&bytes).unwrap_or_else(|why| panic!("{why}: {bytes:02x?}"))
    }

    /// Sends a message and takes the next datagram.
    pub(crate) fn ask(&self, message: &Message) -> Message {
        self.send(&message.encode());
        self.take()
    }

    /// A confirmable request and its answer.
    pub(crate) fn call(&mut self, code: u8, path: &str, payload: &[u8]) -> Message {
        let request = Message::request(CON, code, self.id(), path).payload(payload);
        let answer = self.ask(&request);
        assert_eq!((answer.kind, answer.id, &answer.token), (ACK, request.id, &request.token), "{answer:?}");
        answer
    }

    /// All that came before the answer to a ping: what was sent before it was dealt with.
    pub(crate) fn settle(&mut self) -> Vec<Vec<u8>> {
        let [high, low] = self.id().to_be_bytes();
        self.send(&[0x40, 0, high, low]);
        let mut seen = Vec::new();
        loop {
            let bytes = self.receive();
            if bytes == [0x70, 0, high, low] {
                return seen;
            }
            seen.push(bytes);
        }
    }

    /// As [`Peer::settle`], decoded.
    pub(crate) fn settled(&mut self) -> Vec<Message> {
        self.settle().iter().map(|bytes| Message::decode(bytes).expect("well-formed")).collect()
    }
}
