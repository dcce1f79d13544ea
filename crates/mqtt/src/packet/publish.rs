//! PUBLISH (§3.3): the packet that everything else is for.

use core::num::NonZeroU16;

use crate::error::{DecodeError, ErrorKind, Result};
use crate::frame::PacketType;
use crate::limits::Limits;
use crate::packet_id::PacketId;
use crate::property::{PayloadFormat, PropertyId, PublishProperties, property_section, read_properties};
use crate::qos::QoS;
use crate::topic::parse_name;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::{Sink, varint_len};

/// A message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Publish<'a> {
    /// This may be a repetition of an earlier packet with the same identifier.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// To a server: keep as the topic's retained message. To a client: this is, or was published as, one.
    pub retain: bool,
    /// Topic name. Empty only in MQTT 5.0 and with a topic alias.
    pub topic: &'a str,
    /// Present exactly if the QoS is above 0.
    pub packet_id: Option<PacketId>,
    /// Properties (MQTT 5.0).
    pub properties: PublishProperties<'a>,
    /// Payload; any bytes, possibly none.
    pub payload: &'a [u8],
}

const DUP: u8 = 0x08;
const RETAIN: u8 = 0x01;

impl<'a> Publish<'a> {
    /// A message of QoS 0 without properties.
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            properties: PublishProperties::default(),
            payload,
        }
    }

    #[inline]
    pub(crate) fn read(flags: u8, mut reader: Reader<'a>, version: Version, limits: &Limits) -> Result<Self> {
        let (dup, qos) = read_flags(flags, version)?;
        let topic_bytes = reader.binary()?;
        let topic = if topic_bytes.is_empty() && version.is_v5() {
            ""
        } else {
            parse_name(topic_bytes, limits)
                .map_err(|kind| DecodeError::new(kind, reader.offset() - topic_bytes.len() as u32))?
        };
        let packet_id = if qos == QoS::AtMostOnce { None } else { Some(reader.packet_id()?) };
        let mut properties = PublishProperties::default();
        if version.is_v5() {
            properties = read_properties(&mut reader, limits)?;
            if topic.is_empty() && properties.topic_alias.is_none() {
                return Err(reader.fail(ErrorKind::NoTopic));
            }
        }
        let payload = reader.rest();
        if limits.check_payload_format
            && properties.payload_format == Some(PayloadFormat::Utf8)
            && core::str::from_utf8(payload).is_err()
        {
            return Err(reader.fail(ErrorKind::PayloadFormat));
        }
        Ok(Self { dup, qos, retain: flags & RETAIN != 0, topic, packet_id, properties, payload })
    }

    pub(crate) fn first_byte(&self) -> u8 {
        first_byte(self.dup, self.qos, self.retain)
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, out: &mut S) {
        out.text(self.topic);
        if let (Some(id), true) = (self.packet_id, self.qos > QoS::AtMostOnce) {
            out.u16(id.get());
        }
        if version.is_v5() {
            property_section(&self.properties, out);
        }
        out.bytes(self.payload);
    }
}

#[inline]
fn read_flags(flags: u8, version: Version) -> Result<(bool, QoS)> {
    let Some(qos) = QoS::new(flags >> 1 & 0b11) else {
        return Err(DecodeError::new(ErrorKind::PublishQos, 0));
    };
    let dup = flags & DUP != 0;
    if dup && qos == QoS::AtMostOnce {
        // [MQTT-3.3.1-2]. In 3.1 the flag merely applies to QoS above 0.
        if version != Version::V31 {
            return Err(DecodeError::new(ErrorKind::DupWithoutQos, 0));
        }
        return Ok((false, qos));
    }
    Ok((dup, qos))
}

#[inline]
const fn first_byte(dup: bool, qos: QoS, retain: bool) -> u8 {
    PacketType::Publish.first_byte()
        | if dup && qos as u8 > 0 { DUP } else { 0 }
        | (qos as u8) << 1
        | retain as u8
}

/// All of a PUBLISH except its payload, for a relay that sends one message to many receivers.
///
/// [`write`](Self::write) appends everything before the payload, whose bytes then follow in the same buffer or as a
/// slice of their own in a vectored write. The length includes them.
///
/// The topic is to be a topic name as [`decode`](crate::decode) or [`validate_name`](crate::topic::validate_name)
/// passed it (empty with a known alias), the properties those of
/// [`write_forwarded`](PublishProperties::write_forwarded). Nothing is checked again.
///
/// ```
/// use tercet_mqtt::{Limits, Packet, PacketId, PublishHeader, QoS, Version, decode};
///
/// let header = PublishHeader {
///     qos: QoS::AtLeastOnce,
///     packet_id: PacketId::new(7),
///     message_expiry: Some(30),
///     payload_len: 5,
///     ..PublishHeader::new("greetings")
/// };
/// let mut out = Vec::new();
/// let id_at = header.write(Version::V5, &mut out);
/// out.extend_from_slice(b"hello");
/// assert_eq!(out.len(), header.encoded_len(Version::V5));
/// assert_eq!(&out[id_at.unwrap()..][..2], [0, 7]);
/// let (packet, _) = decode(&out, Version::V5, &Limits::default())?.unwrap();
/// assert!(matches!(packet, Packet::Publish(p) if p.payload == b"hello"));
/// # Ok::<(), tercet_mqtt::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PublishHeader<'a> {
    /// The packet is sent again. Ignored for QoS 0.
    pub dup: bool,
    /// Quality of service.
    pub qos: QoS,
    /// The retain flag.
    pub retain: bool,
    /// Topic name.
    pub topic: &'a str,
    /// Packet identifier; needed if the QoS is above 0. Left out, 1 is written as a place to patch.
    pub packet_id: Option<PacketId>,
    /// Properties of the message, encoded, without length.
    pub properties: &'a [u8],
    /// What is left of the lifetime, in seconds.
    pub message_expiry: Option<u32>,
    /// Topic alias of this connection.
    pub topic_alias: Option<NonZeroU16>,
    /// Subscription identifiers of the receiver, each 1 to 268,435,455.
    pub subscription_ids: &'a [u32],
    /// Length of the payload in bytes.
    pub payload_len: usize,
}

impl<'a> PublishHeader<'a> {
    /// The header of an empty message of QoS 0 without properties.
    pub const fn new(topic: &'a str) -> Self {
        Self {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            properties: &[],
            message_expiry: None,
            topic_alias: None,
            subscription_ids: &[],
            payload_len: 0,
        }
    }

    /// Length of the whole packet in bytes: fixed header, what [`write`](Self::write) appends, and the payload.
    #[inline]
    pub fn encoded_len(&self, version: Version) -> usize {
        let remaining = self.remaining_len(version, self.properties_len(version));
        1 + varint_len(saturating(remaining)) + remaining
    }

    /// Appends everything before the payload. Answers where, within what was appended, the packet identifier stands, so
    /// that it can be patched in copies of one encoded packet; `None` for QoS 0.
    #[inline]
    pub fn write(&self, version: Version, out: &mut Vec<u8>) -> Option<usize> {
        let properties_len = self.properties_len(version);
        let remaining = self.remaining_len(version, properties_len);
        let start = out.len();
        out.reserve(5 + remaining - self.payload_len);
        out.u8(first_byte(self.dup, self.qos, self.retain));
        out.varint(saturating(remaining));
        out.text(self.topic);
        let mut id_at = None;
        if self.qos > QoS::AtMostOnce {
            id_at = Some(out.len() - start);
            out.u16(self.packet_id.unwrap_or(PacketId::MIN).get());
        }
        if version.is_v5() {
            out.varint(saturating(properties_len));
            if properties_len > 0 {
                self.write_properties(out);
            }
        }
        id_at
    }

    #[inline]
    fn remaining_len(&self, version: Version, properties_len: usize) -> usize {
        let topic = self.topic.len().min(usize::from(u16::MAX));
        let id = if self.qos > QoS::AtMostOnce { 2 } else { 0 };
        let properties =
            if version.is_v5() { varint_len(saturating(properties_len)) + properties_len } else { 0 };
        2 + topic + id + properties + self.payload_len
    }

    #[inline]
    fn properties_len(&self, version: Version) -> usize {
        if !version.is_v5() {
            return 0;
        }
        let expiry = if self.message_expiry.is_some() { 5 } else { 0 };
        let alias = if self.topic_alias.is_some() { 3 } else { 0 };
        let ids: usize = self.subscription_ids.iter().map(|&id| 1 + varint_len(id)).sum();
        self.properties.len() + expiry + alias + ids
    }

    fn write_properties(&self, out: &mut Vec<u8>) {
        if let Some(expiry) = self.message_expiry {
            out.u8(PropertyId::MessageExpiryInterval as u8);
            out.u32(expiry);
        }
        if let Some(alias) = self.topic_alias {
            out.u8(PropertyId::TopicAlias as u8);
            out.u16(alias.get());
        }
        for &id in self.subscription_ids {
            out.u8(PropertyId::SubscriptionIdentifier as u8);
            out.varint(id);
        }
        out.bytes(self.properties);
    }
}

/// Lengths are below 2^28 where packets may be sent at all.
#[inline]
fn saturating(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
