//! As much of the CoAP wire format (RFC 7252 §3) as the load needs: requests are encoded once and patched,
//! answers are read in place.

/// Option numbers.
pub mod option {
    /// RFC 7641: registration and order of notifications.
    pub const OBSERVE: u16 = 6;
    /// One path segment.
    pub const URI_PATH: u16 = 11;
    /// RFC 7959: which block of a response body.
    pub const BLOCK2: u16 = 23;
    /// RFC 7959: which block of a request body.
    pub const BLOCK1: u16 = 27;
    /// RFC 7967: which classes of responses are of no interest.
    pub const NO_RESPONSE: u16 = 258;
}

/// Codes, class in the upper three bits.
pub mod code {
    /// 0.00, no message but an acknowledgement, a reset or a ping.
    pub const EMPTY: u8 = 0;
    /// 0.01.
    pub const GET: u8 = 0x01;
    /// 0.03.
    pub const PUT: u8 = 0x03;
    /// 2.01.
    pub const CREATED: u8 = 0x41;
    /// 2.04.
    pub const CHANGED: u8 = 0x44;
    /// 2.05.
    pub const CONTENT: u8 = 0x45;
    /// 2.31.
    pub const CONTINUE: u8 = 0x5F;

    /// `4.04` of 0x84.
    pub fn dotted(code: u8) -> String {
        format!("{}.{:02}", code >> 5, code & 0x1F)
    }
}

/// Type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CON.
    Confirmable,
    /// NON.
    NonConfirmable,
    /// ACK.
    Acknowledgement,
    /// RST.
    Reset,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Confirmable, Kind::NonConfirmable, Kind::Acknowledgement, Kind::Reset];
}

/// Bytes of every token that the load makes.
pub const TOKEN: usize = 4;
/// Bytes before the token.
pub const HEADER: usize = 4;
/// What starts a payload.
const MARKER: u8 = 0xFF;
const VERSION: u8 = 1;

/// The 64 bytes that small resources hold, so that an answer can be checked without state.
pub const SMALL: &[u8; 64] = b"A small reading, always the same, so that everybody can check it";

/// An encoded request but for its Message ID and token.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: Vec<u8>,
    payload_at: usize,
}

impl Template {
    /// A request with `options`, which must be in ascending order.
    pub fn new(kind: Kind, code: u8, options: &[(u16, &[u8])], payload: &[u8]) -> Self {
        let mut bytes = header(kind, code, 0, &[0; TOKEN]).to_vec();
        let mut previous = 0;
        for (number, value) in options {
            write_option(&mut bytes, number - previous, value);
            previous = *number;
        }
        if !payload.is_empty() {
            bytes.push(MARKER);
        }
        let payload_at = bytes.len();
        bytes.extend_from_slice(payload);
        Template { bytes, payload_at }
    }

    /// Another payload of whatever length; the template must have been made with one.
    pub fn set_payload(&mut self, payload: &[u8]) {
        self.bytes.truncate(self.payload_at);
        self.bytes.extend_from_slice(payload);
    }

    /// Appends the request to `buffer`.
    pub fn write(&self, buffer: &mut Vec<u8>, id: u16, token: [u8; TOKEN]) {
        let at = buffer.len();
        buffer.extend_from_slice(&self.bytes);
        buffer[at + 2..at + HEADER].copy_from_slice(&id.to_be_bytes());
        buffer[at + HEADER..at + HEADER + TOKEN].copy_from_slice(&token);
    }
}

/// The Uri-Path options of a path of segments between slashes.
pub fn path(text: &str) -> Vec<(u16, &[u8])> {
    text.split('/').map(|segment| (option::URI_PATH, segment.as_bytes())).collect()
}

/// The shortest form of an unsigned option value (RFC 7252 §3.2).
pub fn uint(value: u32) -> Vec<u8> {
    value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect()
}

/// Header and token.
fn header(kind: Kind, code: u8, id: u16, token: &[u8; TOKEN]) -> [u8; HEADER + TOKEN] {
    let [high, low] = id.to_be_bytes();
    let [a, b, c, d] = *token;
    [VERSION << 6 | (kind as u8) << 4 | TOKEN as u8, code, high, low, a, b, c, d]
}

/// An empty message: an acknowledgement, a reset, or a ping (CON).
pub fn empty(kind: Kind, id: u16) -> [u8; HEADER] {
    let [high, low] = id.to_be_bytes();
    [VERSION << 6 | (kind as u8) << 4, code::EMPTY, high, low]
}

fn write_option(bytes: &mut Vec<u8>, delta: u16, value: &[u8]) {
    let (delta_nibble, delta_rest) = extended(usize::from(delta));
    let (length_nibble, length_rest) = extended(value.len());
    bytes.push(delta_nibble << 4 | length_nibble);
    bytes.extend_from_slice(&delta_rest);
    bytes.extend_from_slice(&length_rest);
    bytes.extend_from_slice(value);
}

/// The nibble of a delta or length and the bytes that extend it.
fn extended(value: usize) -> (u8, Vec<u8>) {
    match value {
        0..13 => (value as u8, Vec::new()),
        13..269 => (13, vec![(value - 13) as u8]),
        _ => (14, ((value - 269) as u16).to_be_bytes().to_vec()),
    }
}

/// A datagram from the server.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Its type.
    pub kind: Kind,
    /// Its code.
    pub code: u8,
    /// Its Message ID.
    pub id: u16,
    /// Its token.
    pub token: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads the header and the token; options are read when they are asked for.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let [first, code, high, low, rest @ ..] = bytes else { return None };
        if first >> 6 != VERSION {
            return None;
        }
        let (token, rest) = rest.split_at_checked(usize::from(first & 0x0F))?;
        let kind = Kind::ALL[usize::from(first >> 4 & 3)];
        Some(Datagram { kind, code: *code, id: u16::from_be_bytes([*high, *low]), token, rest })
    }

    /// The first option of a number as an unsigned integer.
    pub fn uint(&self, number: u16) -> Option<u32> {
        let (_, value) = self.options().find(|(at, _)| *at == number)?;
        Some(value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }

    /// The payload; empty when there is none.
    pub fn payload(&self) -> &'a [u8] {
        let mut options = self.options();
        options.by_ref().for_each(drop);
        options.rest.strip_prefix(&[MARKER]).unwrap_or_default()
    }

    fn options(&self) -> OptionIter<'a> {
        OptionIter { number: 0, rest: self.rest }
    }
}

/// Numbers and values; ends at the payload, and at the first octet that makes no sense.
#[derive(Debug)]
struct OptionIter<'a> {
    number: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for OptionIter<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (first, rest) = self.rest.split_first()?;
        if *first == MARKER {
            return None;
        }
        let (delta, rest) = whole(first >> 4, rest)?;
        let (length, rest) = whole(first & 0x0F, rest)?;
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        self.number = self.number.checked_add(delta)?;
        self.rest = rest;
        Some((self.number, value))
    }
}

fn whole(nibble: u8, rest: &[u8]) -> Option<(u16, &[u8])> {
    match (nibble, rest) {
        (0..13, rest) => Some((nibble.into(), rest)),
        (13, [byte, rest @ ..]) => Some((u16::from(*byte) + 13, rest)),
        (14, [high, low, rest @ ..]) => Some((u16::from_be_bytes([*high, *low]).checked_add(269)?, rest)),
        _ => None,
    }
}

/// Number, whether more follow, and size exponent of a Block option (RFC 7959 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Which block, counted from zero.
    pub number: u32,
    /// Whether more follow.
    pub more: bool,
    /// Blocks have 2^(exponent + 4) bytes.
    pub exponent: u8,
}

impl Block {
    /// The option's value.
    pub fn value(self) -> Vec<u8> {
        uint(self.number << 4 | u32::from(self.more) << 3 | u32::from(self.exponent))
    }

    /// Reads an option's value.
    pub fn of(value: u32) -> Self {
        Block { number: value >> 4, more: value & 8 != 0, exponent: (value & 7) as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_encoded_as_the_rfc_shows() {
        // RFC 7252 figure 16 with a token of four bytes, and deltas of one and two extension bytes.
        let options: Vec<_> = path("temperature").into_iter().chain([(258, &[26][..])]).collect();
        let mut bytes = Vec::new();
        Template::new(Kind::Confirmable, code::GET, &options, b"x").write(&mut bytes, 0x7d34, *b"abcd");
        assert_eq!(bytes, b"\x44\x01\x7d\x34abcd\xbbtemperature\xd1\xea\x1a\xffx");
        let read = Datagram::parse(&bytes).unwrap();
        assert_eq!((read.kind, read.code, read.id, read.token), (Kind::Confirmable, 1, 0x7d34, &b"abcd"[..]));
        assert_eq!((read.uint(option::NO_RESPONSE), read.payload()), (Some(26), &b"x"[..]));
        assert_eq!((read.uint(option::OBSERVE), code::dotted(0x84)), (None, "4.04".to_owned()));
    }

    #[test]
    fn what_makes_no_sense_is_no_message_or_has_no_payload() {
        for bytes in [&b""[..], b"\x44\x45\0", b"\x84\x45\0\x01abcd", b"\x45\x45\0\x01abcd"] {
            assert!(Datagram::parse(bytes).is_none(), "{bytes:?}");
        }
        for bytes in [&b"\x40\x45\0\x01\xf1xy"[..], b"\x40\x45\0\x01\xb9short", b"\x40\x45\0\x01\xe0\xff\xff"]
        {
            assert_eq!(Datagram::parse(bytes).unwrap().payload(), b"", "{bytes:?}");
        }
    }

    #[test]
    fn a_block_option_is_a_number_a_flag_and_an_exponent() {
        let block = Block { number: 63, more: true, exponent: 6 };
        assert_eq!(block.value(), [0x03, 0xfe]);
        assert_eq!(Block::of(0x03fe), block);
        assert!(Block { number: 0, more: false, exponent: 0 }.value().is_empty());
    }
}
