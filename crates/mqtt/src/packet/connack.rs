//! CONNACK (§3.2).

use crate::error::{DecodeError, ErrorKind, Result};
use crate::frame::PacketType;
use crate::limits::Limits;
use crate::packet::read_reason;
use crate::property::{ConnAckProperties, property_section, read_properties};
use crate::reason::ReasonCode;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// The server's answer to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConnAck<'a> {
    /// The server continues an earlier session. MQTT 3.1 cannot tell.
    pub session_present: bool,
    /// Success, or why not. In MQTT 3.x it is written as the nearest return code.
    pub reason: ReasonCode,
    /// Properties (MQTT 5.0).
    pub properties: ConnAckProperties<'a>,
}

impl<'a> ConnAck<'a> {
    /// The answer that refuses a connection.
    pub fn refusal(reason: ReasonCode) -> Self {
        Self { session_present: false, reason, properties: ConnAckProperties::default() }
    }

    pub(crate) fn read(reader: &mut Reader<'a>, version: Version, limits: &Limits) -> Result<Self> {
        let at = reader.offset();
        let flags = reader.u8()?;
        // The byte is reserved and unused in 3.1 (3.1 §3.2).
        if flags > 1 && version != Version::V31 {
            return Err(DecodeError::new(ErrorKind::ConnAckFlags, at));
        }
        let session_present = flags == 1 && version != Version::V31;
        let mut properties = ConnAckProperties::default();
        let reason = if version.is_v5() {
            let reason = read_reason(reader, PacketType::ConnAck)?;
            properties = read_properties(reader, limits)?;
            reason
        } else {
            let code = reader.u8()?;
            ReasonCode::from_connect_return_code(code).ok_or_else(|| {
                DecodeError::new(
                    ErrorKind::ReasonCodeNotAllowed { packet: PacketType::ConnAck, code },
                    at + 1,
                )
            })?
        };
        if session_present && reason != ReasonCode::Success {
            return Err(DecodeError::new(ErrorKind::SessionPresentWithError, at));
        }
        Ok(Self { session_present, reason, properties })
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, out: &mut S) {
        out.u8(u8::from(self.session_present && version != Version::V31));
        if version.is_v5() {
            out.u8(self.reason as u8);
            property_section(&self.properties, out);
        } else {
            out.u8(self.reason.connect_return_code());
        }
    }
}
