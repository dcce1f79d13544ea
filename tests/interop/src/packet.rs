//! Packets as the tests see them: what the broker answers is read into [`Packet`], what tests send is written by
//! [`Publish`], [`crate::Connect`] and the functions here, or is bytes of the test's own.

use crate::property::{Properties, read_string, take, write_string, write_variable};

/// The protocol version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// MQTT 3.1 (`MQIsdp`).
    V31,
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

impl Version {
    /// All three.
    pub const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

    /// Whether packets carry properties.
    #[must_use]
    pub fn has_properties(self) -> bool {
        self == Version::V5
    }
}

/// A packet from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK: session present, code, properties.
    Connack {
        /// Whether the broker kept a session.
        session_present: bool,
        /// Return code (3.x) or reason code (5.0).
        code: u8,
        /// Properties (5.0).
        properties: Properties,
    },
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK.
    Puback(Ack),
    /// PUBREC.
    Pubrec(Ack),
    /// PUBREL.
    Pubrel(Ack),
    /// PUBCOMP.
    Pubcomp(Ack),
    /// SUBACK: packet identifier, a code per filter, properties.
    Suback(u16, Vec<u8>, Properties),
    /// UNSUBACK: packet identifier, a code per filter (5.0), properties.
    Unsuback(u16, Vec<u8>, Properties),
    /// PINGRESP.
    Pingresp,
    /// DISCONNECT (5.0): reason code and properties.
    Disconnect(u8, Properties),
    /// AUTH (5.0): reason code and properties.
    Auth(u8, Properties),
}

/// A PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Packet identifier.
    pub id: u16,
    /// Reason code, 0 where the packet has none.
    pub code: u8,
    /// Properties (5.0).
    pub properties: Properties,
}

/// A PUBLISH, received or to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// DUP flag.
    pub dup: bool,
    /// Quality of service.
    pub qos: u8,
    /// RETAIN flag.
    pub retain: bool,
    /// Topic name.
    pub topic: String,
    /// Packet identifier, 0 at QoS 0.
    pub id: u16,
    /// Properties (5.0).
    pub properties: Properties,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Publish {
    /// A QoS 0 message.
    #[must_use]
    pub fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self { topic: topic.into(), payload: payload.as_ref().to_vec(), ..Self::default() }
    }

    /// With this quality of service; the packet identifier is 1 unless set with [`Publish::id`].
    #[must_use]
    pub fn qos(mut self, qos: u8) -> Self {
        self.qos = qos;
        if qos > 0 && self.id == 0 {
            self.id = 1;
        }
        self
    }

    /// With this packet identifier.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// With the RETAIN flag.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// With the DUP flag.
    #[must_use]
    pub fn dup(mut self) -> Self {
        self.dup = true;
        self
    }

    /// With these properties.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }

    /// The payload as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The packet's bytes.
    #[must_use]
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let mut body = Vec::new();
        write_string(self.topic.as_bytes(), &mut body);
        if self.qos > 0 {
            body.extend_from_slice(&self.id.to_be_bytes());
        }
        if version.has_properties() {
            self.properties.write(&mut body);
        }
        body.extend_from_slice(&self.payload);
        frame(0x30 | u8::from(self.dup) << 3 | self.qos << 1 | u8::from(self.retain), &body)
    }
}

/// First byte, remaining length, body.
#[must_use]
pub fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    write_variable(u32::try_from(body.len()).expect("a packet under 4 GiB"), &mut out);
    out.extend_from_slice(body);
    out
}

/// A PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70) without reason code.
#[must_use]
pub fn ack(first: u8, id: u16) -> Vec<u8> {
    frame(first, &id.to_be_bytes())
}

/// A SUBSCRIBE of filters with their option bytes.
#[must_use]
pub fn subscribe(version: Version, id: u16, properties: &Properties, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version.has_properties() {
        properties.write(&mut body);
    }
    for (filter, options) in filters {
        write_string(filter.as_bytes(), &mut body);
        body.push(*options);
    }
    frame(0x82, &body)
}

/// An UNSUBSCRIBE.
#[must_use]
pub fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version.has_properties() {
        body.push(0);
    }
    for filter in filters {
        write_string(filter.as_bytes(), &mut body);
    }
    frame(0xA2, &body)
}

/// A DISCONNECT with a reason code and properties (5.0).
#[must_use]
pub fn disconnect(code: u8, properties: &Properties) -> Vec<u8> {
    let mut body = vec![code];
    properties.write(&mut body);
    frame(0xE0, &body)
}

/// An AUTH (5.0).
#[must_use]
pub fn auth(code: u8, properties: &Properties) -> Vec<u8> {
    let mut body = vec![code];
    properties.write(&mut body);
    frame(0xF0, &body)
}

/// The whole packet at the front of `bytes`, as the length of its header and of its body; `None` if more is needed.
#[must_use]
pub fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0usize;
    for at in 1..5 {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return (bytes.len() >= at + 1 + length).then_some((at + 1, length));
        }
    }
    panic!("the broker sent a remaining length of five bytes: {bytes:02x?}");
}

impl Packet {
    /// Reads a packet of which `first` is the first byte and `body` what follows the remaining length.
    #[must_use]
    pub fn decode(version: Version, first: u8, mut body: &[u8]) -> Self {
        let bytes = &mut body;
        let packet = match first >> 4 {
            2 => Packet::Connack {
                session_present: take(bytes, 1)[0] == 1,
                code: take(bytes, 1)[0],
                // A CONNACK that refuses a protocol version may be in the form of another version.
                properties: if bytes.is_empty() { Properties::new() } else { Properties::read(bytes) },
            },
            3 => Packet::Publish(decode_publish(version, first, bytes)),
            4 => Packet::Puback(decode_ack(bytes)),
            5 => Packet::Pubrec(decode_ack(bytes)),
            6 => Packet::Pubrel(decode_ack(bytes)),
            7 => Packet::Pubcomp(decode_ack(bytes)),
            9 => {
                let id = two(bytes);
                let properties = decode_properties(version, bytes);
                Packet::Suback(id, take(bytes, bytes.len()).to_vec(), properties)
            }
            11 => {
                let id = two(bytes);
                let properties = decode_properties(version, bytes);
                Packet::Unsuback(id, take(bytes, bytes.len()).to_vec(), properties)
            }
            13 => Packet::Pingresp,
            14 => {
                let (code, properties) = decode_reason(bytes);
                Packet::Disconnect(code, properties)
            }
            15 => {
                let (code, properties) = decode_reason(bytes);
                Packet::Auth(code, properties)
            }
            other => panic!("the broker sent packet type {other}"),
        };
        assert!(body.is_empty(), "bytes left over in {packet:?}: {body:02x?}");
        if !matches!(packet, Packet::Publish(_)) {
            let flags = if matches!(packet, Packet::Pubrel(_)) { 2 } else { 0 };
            assert_eq!(first & 0x0f, flags, "reserved flags of {packet:?}");
        }
        packet
    }
}

fn decode_publish(version: Version, first: u8, bytes: &mut &[u8]) -> Publish {
    let qos = first >> 1 & 3;
    let topic = String::from_utf8(read_string(bytes)).expect("a topic in UTF-8");
    let id = if qos > 0 { two(bytes) } else { 0 };
    assert!(qos == 0 || id != 0, "packet identifier 0 at QoS {qos}");
    let properties = decode_properties(version, bytes);
    let payload = take(bytes, bytes.len()).to_vec();
    Publish { dup: first & 8 != 0, qos, retain: first & 1 != 0, topic, id, properties, payload }
}

fn decode_ack(bytes: &mut &[u8]) -> Ack {
    let id = two(bytes);
    let (code, properties) = decode_reason(bytes);
    Ack { id, code, properties }
}

fn decode_reason(bytes: &mut &[u8]) -> (u8, Properties) {
    let code = if bytes.is_empty() { 0 } else { take(bytes, 1)[0] };
    (code, if bytes.is_empty() { Properties::new() } else { Properties::read(bytes) })
}

fn decode_properties(version: Version, bytes: &mut &[u8]) -> Properties {
    if version.has_properties() { Properties::read(bytes) } else { Properties::new() }
}

fn two(bytes: &mut &[u8]) -> u16 {
    u16::from_be_bytes(take(bytes, 2).try_into().unwrap())
}
