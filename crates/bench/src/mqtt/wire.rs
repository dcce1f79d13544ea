//! Just enough MQTT 3.1.1 and 5.0 to load a server: packets are encoded whole, parsing borrows.

use serde::{Deserialize, Serialize};

/// Protocol version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Version {
    /// MQTT 3.1.1 (protocol level 4).
    #[default]
    V311,
    /// MQTT 5.0 (protocol level 5).
    V5,
}

/// Quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Qos {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

/// Packet types, the high four bits of the first byte (MQTT 5.0 §2.1.2).
pub mod kind {
    #![allow(missing_docs)]
    pub const CONNECT: u8 = 1;
    pub const CONNACK: u8 = 2;
    pub const PUBLISH: u8 = 3;
    pub const PUBACK: u8 = 4;
    pub const PUBREC: u8 = 5;
    pub const PUBREL: u8 = 6;
    pub const PUBCOMP: u8 = 7;
    pub const SUBSCRIBE: u8 = 8;
    pub const SUBACK: u8 = 9;
    pub const PINGREQ: u8 = 12;
    pub const PINGRESP: u8 = 13;
    pub const DISCONNECT: u8 = 14;
}

/// A PINGREQ packet.
pub const PINGREQ: [u8; 2] = [0xC0, 0x00];

/// Bytes that are not the MQTT we speak.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// The remaining length has more than four bytes (MQTT 5.0 §2.1.4).
    #[error("remaining length is longer than four bytes")]
    RemainingLength,
    /// A packet ended before its fields did.
    #[error("packet of type {0} is too short")]
    Truncated(u8),
    /// PUBLISH with both QoS bits set [MQTT-3.3.1-4].
    #[error("PUBLISH with QoS 3")]
    Qos3,
    /// A packet that has no place here.
    #[error("unexpected packet of type {0}")]
    Unexpected(u8),
}

/// One packet in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The first byte: type and flags.
    pub first: u8,
    /// What follows the remaining length.
    pub body: &'a [u8],
    /// Bytes of the whole packet.
    pub total: usize,
}

impl Frame<'_> {
    /// The packet type, one of [`kind`].
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// The packet identifier at the start of the body.
    ///
    /// # Errors
    /// When the body is shorter than two bytes.
    pub fn packet_id(&self) -> Result<u16, WireError> {
        be16(self.body).ok_or(WireError::Truncated(self.kind()))
    }
}

/// A PUBLISH in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Delivery again after a reconnect.
    pub dup: bool,
    /// QoS 0 to 2.
    pub qos: u8,
    /// Topic name.
    pub topic: &'a [u8],
    /// Packet identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// Application message.
    pub payload: &'a [u8],
}

/// Splits the first packet off `bytes`; `None` when it is not complete.
///
/// # Errors
/// When the remaining length is malformed.
#[inline]
pub fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, WireError> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let Some((length, used)) = variable_int(rest)? else { return Ok(None) };
    let start = 1 + used;
    let end = start + length;
    Ok(bytes.get(start..end).map(|body| Frame { first, body, total: end }))
}

/// Reads the fields of a PUBLISH.
///
/// # Errors
/// When the packet is too short for its fields or has QoS 3.
#[inline]
pub fn publish<'a>(frame: &Frame<'a>, version: Version) -> Result<Publish<'a>, WireError> {
    let short = WireError::Truncated(kind::PUBLISH);
    let qos = (frame.first >> 1) & 0x03;
    let Some(topic_len) = be16(frame.body) else { return Err(short) };
    let Some((topic, mut rest)) = frame.body[2..].split_at_checked(usize::from(topic_len)) else {
        return Err(short);
    };
    let mut packet_id = 0;
    match qos {
        0 => {}
        3 => return Err(WireError::Qos3),
        _ => {
            let Some(id) = be16(rest) else { return Err(short) };
            packet_id = id;
            rest = &rest[2..];
        }
    }
    if version == Version::V5 {
        let Some((length, used)) = variable_int(rest)? else { return Err(short) };
        let Some(payload) = rest.get(used + length..) else { return Err(short) };
        rest = payload;
    }
    Ok(Publish { dup: frame.first & 0x08 != 0, qos, topic, packet_id, payload: rest })
}

/// What a CONNACK said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connack {
    /// Return code or reason code; 0 is success.
    pub code: u8,
    /// Whether the server resumed a session.
    pub session_present: bool,
    /// How many QoS 1 and 2 messages the server takes at once (MQTT 5.0 §3.2.2.3.3); 65,535 in 3.1.1.
    pub receive_maximum: u16,
}

/// Reads a CONNACK.
///
/// # Errors
/// When the packet is too short for its fields.
pub fn connack(frame: &Frame<'_>, version: Version) -> Result<Connack, WireError> {
    let &[flags, code, ref rest @ ..] = frame.body else {
        return Err(WireError::Truncated(kind::CONNACK));
    };
    let mut receive_maximum = u16::MAX;
    if version == Version::V5 {
        let Some((length, used)) = variable_int(rest)? else {
            return Err(WireError::Truncated(kind::CONNACK));
        };
        let properties = rest.get(used..used + length).unwrap_or_default();
        receive_maximum = find_receive_maximum(properties).unwrap_or(u16::MAX);
    }
    Ok(Connack { code, session_present: flags & 1 != 0, receive_maximum })
}

/// Walks CONNACK properties up to Receive Maximum (0x21), by the sizes of MQTT 5.0 §2.2.2.2.
fn find_receive_maximum(mut properties: &[u8]) -> Option<u16> {
    loop {
        let (&id, rest) = properties.split_first()?;
        let size = match id {
            0x21 => return be16(rest),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => 2 + usize::from(be16(rest)?),
            0x26 => {
                let key = 2 + usize::from(be16(rest)?);
                key + 2 + usize::from(be16(rest.get(key..)?)?)
            }
            _ => return None,
        };
        properties = rest.get(size..)?;
    }
}

/// A CONNECT packet; a session that is not clean never expires.
pub fn connect(version: Version, client_id: &str, clean: bool, keep_alive: u16) -> Vec<u8> {
    let mut body = Vec::with_capacity(32);
    string(&mut body, b"MQTT");
    body.push(match version {
        Version::V311 => 4,
        Version::V5 => 5,
    });
    body.push(if clean { 0x02 } else { 0x00 });
    body.extend_from_slice(&keep_alive.to_be_bytes());
    if version == Version::V5 {
        if clean {
            body.push(0);
        } else {
            body.extend_from_slice(&[5, 0x11, 0xFF, 0xFF, 0xFF, 0xFF]);
        }
    }
    string(&mut body, client_id.as_bytes());
    packet(kind::CONNECT << 4, &body)
}

/// A SUBSCRIBE packet for all `filters` at `qos`.
pub fn subscribe(version: Version, packet_id: u16, filters: &[String], qos: Qos) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&packet_id.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    for filter in filters {
        string(&mut body, filter.as_bytes());
        body.push(qos as u8);
    }
    packet(kind::SUBSCRIBE << 4 | 0x02, &body)
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP that says success (the short form in MQTT 5.0).
#[inline]
pub fn acknowledge(kind: u8, packet_id: u16) -> [u8; 4] {
    let flags = if kind == kind::PUBREL { 0x02 } else { 0 };
    let [high, low] = packet_id.to_be_bytes();
    [kind << 4 | flags, 2, high, low]
}

/// A packet from its first byte and body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 5);
    header(&mut bytes, first, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// A fixed header: the first byte and the remaining length.
#[inline]
pub(crate) fn header(bytes: &mut Vec<u8>, first: u8, remaining: usize) {
    bytes.push(first);
    put_variable_int(bytes, remaining);
}

/// A length-prefixed string.
pub(crate) fn string(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(text);
}

fn put_variable_int(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let digit = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return bytes.push(digit);
        }
        bytes.push(digit | 0x80);
    }
}

/// A variable byte integer and its size; `None` when it is not complete.
#[inline]
fn variable_int(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(WireError::RemainingLength) } else { Ok(None) }
}

#[inline]
fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_bytes_of_the_specification() {
        let cases: &[(Vec<u8>, &[u8])] = &[
            (
                connect(Version::V311, "ab", true, 60),
                &[0x10, 14, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 2, b'a', b'b'],
            ),
            (
                connect(Version::V5, "a", false, 0),
                &[
                    0x10, 19, 0, 4, b'M', b'Q', b'T', b'T', 5, 0, 0, 0, 5, 0x11, 255, 255, 255, 255, 0, 1,
                    b'a',
                ],
            ),
            (
                subscribe(Version::V311, 1, &["a/b".to_owned()], Qos::AtLeastOnce),
                &[0x82, 8, 0, 1, 0, 3, b'a', b'/', b'b', 1],
            ),
            (
                subscribe(Version::V5, 258, &["#".to_owned()], Qos::ExactlyOnce),
                &[0x82, 7, 1, 2, 0, 0, 1, b'#', 2],
            ),
            (acknowledge(kind::PUBREL, 0x1234).to_vec(), &[0x62, 2, 0x12, 0x34]),
            (acknowledge(kind::PUBACK, 1).to_vec(), &[0x40, 2, 0, 1]),
        ];
        for (encoded, expected) in cases {
            assert_eq!(encoded, expected);
        }
    }

    #[test]
    fn a_frame_needs_all_its_bytes() {
        let bytes = packet(0x30, &vec![7; 300]);
        assert_eq!(bytes[1..3], [0xAC, 0x02]);
        for cut in 0..bytes.len() {
            assert_eq!(frame(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let whole = frame(&bytes).unwrap().unwrap();
        assert_eq!((whole.total, whole.body.len()), (303, 300));
        assert_eq!(frame(&[0x30, 0x80, 0x80, 0x80, 0x80, 1]), Err(WireError::RemainingLength));
    }

    #[test]
    fn publish_fields_are_found_and_checked() {
        let v311 = [0, 1, b't', 0, 9, 1, 2];
        let read = |first, body| publish(&Frame { first, body, total: 0 }, Version::V311);
        let expected = Publish { dup: true, qos: 1, topic: b"t", packet_id: 9, payload: &[1, 2] };
        assert_eq!(read(0x3A, &v311), Ok(expected));
        assert_eq!(read(0x36, &v311), Err(WireError::Qos3));
        for cut in 0..5 {
            assert_eq!(read(0x32, &v311[..cut]), Err(WireError::Truncated(3)), "cut at {cut}");
        }
        let v5 = [0, 1, b't', 2, 0x01, 1, 5];
        let with_properties = publish(&Frame { first: 0x30, body: &v5, total: 0 }, Version::V5).unwrap();
        assert_eq!(with_properties.payload, [5]);
    }

    #[test]
    fn receive_maximum_is_found_behind_other_properties() {
        let body = [1, 0, 11, 0x22, 0, 10, 0x26, 0, 1, b'k', 0, 1, b'v', 0x21];
        let mut body = body.to_vec();
        body[2] = 13;
        body.extend_from_slice(&[0, 20]);
        let answer = connack(&Frame { first: 0x20, body: &body, total: 0 }, Version::V5).unwrap();
        assert_eq!(answer, Connack { code: 0, session_present: true, receive_maximum: 20 });
        assert_eq!(
            connack(&Frame { first: 0x20, body: &[0], total: 0 }, Version::V311),
            Err(WireError::Truncated(2))
        );
    }
}
