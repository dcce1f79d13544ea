//! PUBACK, PUBREC, PUBREL and PUBCOMP (§3.4 to §3.7): four packets of one shape.

use crate::error::Result;
use crate::frame::PacketType;
use crate::limits::Limits;
use crate::packet::read_reason;
use crate::packet_id::PacketId;
use crate::property::{AckProperties, property_section, read_properties};
use crate::reason::ReasonCode;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// One of the packets that acknowledge a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ack<'a> {
    /// The PUBLISH that is acknowledged.
    pub packet_id: PacketId,
    /// What came of it. Always `Success` in MQTT 3.x.
    pub reason: ReasonCode,
    /// Properties (MQTT 5.0).
    pub properties: AckProperties<'a>,
}

impl<'a> Ack<'a> {
    /// An acknowledgement of success without properties.
    pub fn success(packet_id: PacketId) -> Self {
        Self::with_reason(packet_id, ReasonCode::Success)
    }

    /// An acknowledgement without properties.
    pub fn with_reason(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: AckProperties::default() }
    }

    /// In MQTT 5.0 a body of two bytes means success, and one of three has no properties (§3.4.2.1, §3.4.2.2.1).
    #[inline]
    pub(crate) fn read(
        packet: PacketType,
        reader: &mut Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self> {
        let mut ack = Self::success(reader.packet_id()?);
        if version.is_v5() && !reader.is_empty() {
            ack.reason = read_reason(reader, packet)?;
            if !reader.is_empty() {
                ack.properties = read_properties(reader, limits)?;
            }
        }
        Ok(ack)
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, out: &mut S) {
        out.u16(self.packet_id.get());
        if !version.is_v5() {
            return;
        }
        let bare = self.properties.is_empty();
        if self.reason != ReasonCode::Success || !bare {
            out.u8(self.reason as u8);
        }
        if !bare {
            property_section(&self.properties, out);
        }
    }
}

/// Which acknowledgement [`write_ack`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AckKind {
    /// Answer to PUBLISH with QoS 1.
    PubAck,
    /// First answer to PUBLISH with QoS 2.
    PubRec,
    /// Answer to PUBREC.
    PubRel,
    /// Answer to PUBREL.
    PubComp,
}

impl AckKind {
    /// The type of the packet.
    pub const fn packet_type(self) -> PacketType {
        match self {
            Self::PubAck => PacketType::PubAck,
            Self::PubRec => PacketType::PubRec,
            Self::PubRel => PacketType::PubRel,
            Self::PubComp => PacketType::PubComp,
        }
    }
}

/// Appends an acknowledgement without properties: four bytes, in MQTT 5.0 five if `reason` is not success.
#[inline]
pub fn write_ack(kind: AckKind, version: Version, id: PacketId, reason: ReasonCode, out: &mut Vec<u8>) {
    let first = kind.packet_type().first_byte();
    let [high, low] = id.get().to_be_bytes();
    if version.is_v5() && reason != ReasonCode::Success {
        out.extend_from_slice(&[first, 3, high, low, reason as u8]);
    } else {
        out.extend_from_slice(&[first, 2, high, low]);
    }
}
