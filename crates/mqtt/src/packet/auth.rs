//! AUTH (§3.15): enhanced authentication.

use crate::error::Result;
use crate::frame::PacketType;
use crate::limits::Limits;
use crate::packet::read_reason;
use crate::property::{AuthProperties, property_section, read_properties};
use crate::reason::ReasonCode;
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// A step of enhanced authentication. Exists only in MQTT 5.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auth<'a> {
    /// `Success`, `ContinueAuthentication` or `Reauthenticate`.
    pub reason: ReasonCode,
    /// Properties. Without them the reason is always `Success`.
    pub properties: AuthProperties<'a>,
}

impl<'a> Auth<'a> {
    /// An empty body means success without properties (§3.15.2.1); otherwise both parts are there.
    pub(crate) fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self> {
        if reader.is_empty() {
            return Ok(Self { reason: ReasonCode::Success, properties: AuthProperties::default() });
        }
        let reason = read_reason(reader, PacketType::Auth)?;
        let at = reader.clone();
        let properties: AuthProperties<'_> = read_properties(reader, limits)?;
        if properties.authentication_method.is_none() {
            return Err(at.fail(crate::error::ErrorKind::NoAuthMethod));
        }
        Ok(Self { reason, properties })
    }

    pub(crate) fn write<S: Sink>(&self, out: &mut S) {
        if self.reason != ReasonCode::Success || !self.properties.is_empty() {
            out.u8(self.reason as u8);
            property_section(&self.properties, out);
        }
    }
}
