//! DISCONNECT (§3.14).

use crate::error::Result;
use crate::frame::PacketType;
use crate::limits::Limits;
use crate::packet::read_reason;
use crate::property::{DisconnectProperties, property_section, read_properties};
use crate::reason::ReasonCode;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// The end of a connection. In MQTT 3.x sent by clients only, and without a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disconnect<'a> {
    /// Why. Always `NORMAL_DISCONNECTION` (`Success`) in MQTT 3.x.
    pub reason: ReasonCode,
    /// Properties (MQTT 5.0).
    pub properties: DisconnectProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// A DISCONNECT without properties.
    pub fn with_reason(reason: ReasonCode) -> Self {
        Self { reason, properties: DisconnectProperties::default() }
    }

    /// In MQTT 5.0 an empty body is a normal disconnection, and one of a single byte has no properties (§3.14.2.1,
    /// §3.14.2.2.1).
    pub(crate) fn read(reader: &mut Reader<'a>, version: Version, limits: &Limits) -> Result<Self> {
        let mut disconnect = Self::default();
        if version.is_v5() && !reader.is_empty() {
            disconnect.reason = read_reason(reader, PacketType::Disconnect)?;
            if !reader.is_empty() {
                disconnect.properties = read_properties(reader, limits)?;
            }
        }
        Ok(disconnect)
    }

    pub(crate) fn write<S: Sink>(&self, version: Version, out: &mut S) {
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
