//! SUBACK (§3.9) and UNSUBACK (§3.11).

use core::fmt;

use crate::error::{DecodeError, ErrorKind, Result};
use crate::frame::PacketType;
use crate::limits::Limits;
use crate::packet::read_reason;
use crate::packet_id::PacketId;
use crate::property::{SubAckProperties, UnsubAckProperties, property_section, read_properties};
use crate::reason::ReasonCode;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// The server's answer to SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubAck<'a> {
    /// That of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// Properties (MQTT 5.0).
    pub properties: SubAckProperties<'a>,
    /// One code for each subscription, in order. In MQTT 3.x all errors are written as 0x80.
    pub reason_codes: ReasonCodes<'a>,
}

impl<'a> SubAck<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version, limits: &Limits) -> Result<Self> {
        let packet_id = reader.packet_id()?;
        let properties =
            if version.is_v5() { read_properties(reader, limits)? } else { SubAckProperties::default() };
        let reason_codes = read_codes(reader, PacketType::SubAck)?;
        if !version.is_v5() {
            let mut codes =
                Reader::new(reason_codes.wire_bytes(), reader.offset() as usize - reason_codes.len());
            while !codes.is_empty() {
                let at = codes.offset();
                let code = codes.u8()?;
                if !matches!(code, 0..=2 | 0x80) {
                    let kind = ErrorKind::ReasonCodeNotAllowed { packet: PacketType::SubAck, code };
                    return Err(DecodeError::new(kind, at));
                }
            }
        }
        Ok(Self { packet_id, properties, reason_codes })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, out: &mut S) {
        out.u16(self.packet_id.get());
        if version.is_v5() {
            property_section(&self.properties, out);
        }
        for reason in self.reason_codes {
            let code =
                if reason.is_error() && !version.is_v5() { ReasonCode::UnspecifiedError } else { reason };
            out.u8(code as u8);
        }
    }
}

/// The server's answer to UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    /// That of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// Properties (MQTT 5.0).
    pub properties: UnsubAckProperties<'a>,
    /// One code for each filter, in order; none in MQTT 3.x.
    pub reason_codes: ReasonCodes<'a>,
}

impl<'a> UnsubAck<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version, limits: &Limits) -> Result<Self> {
        let packet_id = reader.packet_id()?;
        let mut unsuback = Self {
            packet_id,
            properties: UnsubAckProperties::default(),
            reason_codes: ReasonCodes::default(),
        };
        if version.is_v5() {
            unsuback.properties = read_properties(reader, limits)?;
            unsuback.reason_codes = read_codes(reader, PacketType::UnsubAck)?;
        }
        Ok(unsuback)
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, out: &mut S) {
        out.u16(self.packet_id.get());
        if version.is_v5() {
            property_section(&self.properties, out);
            for reason in self.reason_codes {
                out.u8(reason as u8);
            }
        }
    }
}

fn read_codes<'a>(reader: &mut Reader<'a>, packet: PacketType) -> Result<ReasonCodes<'a>> {
    if reader.is_empty() {
        return Err(reader.fail(ErrorKind::NoReasonCodes(packet)));
    }
    let codes = ReasonCodes(List::Wire(reader.rest()));
    while !reader.is_empty() {
        read_reason(reader, packet)?;
    }
    Ok(codes)
}

/// The reason codes of a SUBACK or UNSUBACK, in order: a view of a decoded packet or of a slice.
#[derive(Clone, Copy)]
pub struct ReasonCodes<'a>(List<'a>);

#[derive(Clone, Copy)]
enum List<'a> {
    /// The validated payload of a packet.
    Wire(&'a [u8]),
    Slice(&'a [ReasonCode]),
}

impl<'a> ReasonCodes<'a> {
    /// The codes of a slice.
    pub const fn new(codes: &'a [ReasonCode]) -> Self {
        Self(List::Slice(codes))
    }

    /// The codes, in order.
    pub const fn iter(&self) -> ReasonCodesIter<'a> {
        ReasonCodesIter(self.0)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        match self.0 {
            List::Wire(codes) => codes.len(),
            List::Slice(codes) => codes.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    const fn wire_bytes(&self) -> &'a [u8] {
        match self.0 {
            List::Wire(codes) => codes,
            List::Slice(_) => &[],
        }
    }
}

impl Default for ReasonCodes<'_> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<'a> From<&'a [ReasonCode]> for ReasonCodes<'a> {
    fn from(codes: &'a [ReasonCode]) -> Self {
        Self::new(codes)
    }
}

impl<'a, const N: usize> From<&'a [ReasonCode; N]> for ReasonCodes<'a> {
    fn from(codes: &'a [ReasonCode; N]) -> Self {
        Self::new(codes)
    }
}

impl PartialEq for ReasonCodes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for ReasonCodes<'a> {
    type Item = ReasonCode;
    type IntoIter = ReasonCodesIter<'a>;

    fn into_iter(self) -> ReasonCodesIter<'a> {
        self.iter()
    }
}

/// Iterates over [`ReasonCodes`].
#[derive(Clone, Copy)]
pub struct ReasonCodesIter<'a>(List<'a>);

impl Iterator for ReasonCodesIter<'_> {
    type Item = ReasonCode;

    fn next(&mut self) -> Option<ReasonCode> {
        match &mut self.0 {
            List::Wire(codes) => {
                let (&first, rest) = codes.split_first()?;
                *codes = rest;
                ReasonCode::new(first)
            }
            List::Slice(codes) => {
                let (&first, rest) = codes.split_first()?;
                *codes = rest;
                Some(first)
            }
        }
    }
}
