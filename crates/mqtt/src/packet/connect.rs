//! CONNECT (§3.1): the first packet of every connection, which names its version itself.

use crate::error::{DecodeError, EncodeError, ErrorKind, Result};
use crate::frame::{FixedHeader, PacketType};
use crate::limits::Limits;
use crate::property::{ConnectProperties, WillProperties, property_section, read_properties};
use crate::qos::QoS;
use crate::topic::parse_name;
use crate::version::Version;
use crate::wire::reader::Reader;
use crate::wire::sink::Sink;

/// A client's request for a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Connect<'a> {
    /// The version that the client speaks from here on.
    pub version: Version,
    /// Start without an earlier session. In MQTT 3.x, where it is called Clean Session, also: keep none.
    pub clean_start: bool,
    /// Greatest silence of the client in seconds; 0 is no limit.
    pub keep_alive: u16,
    /// Identifies the session; empty asks the server to choose (not in MQTT 3.1).
    pub client_id: &'a str,
    /// What the server publishes when the connection is lost.
    pub will: Option<Will<'a>>,
    /// User name.
    pub username: Option<&'a str>,
    /// Password; any bytes.
    pub password: Option<&'a [u8]>,
    /// Properties (MQTT 5.0).
    pub properties: ConnectProperties<'a>,
}

/// A message that is published when the connection of its client is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Will<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// QoS to publish with.
    pub qos: QoS,
    /// Publish as a retained message.
    pub retain: bool,
    /// Properties (MQTT 5.0).
    pub properties: WillProperties<'a>,
}

const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS: u8 = 0x18;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

impl<'a> Connect<'a> {
    /// A request with a clean start, a keep alive of 60 seconds and nothing else.
    pub fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive: 60,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    pub(crate) fn read(header: FixedHeader, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self> {
        let version = read_version(reader)?;
        let connect = header
            .check_flags(PacketType::Connect, version)
            .and_then(|()| if version.is_v5() { header.check_minimal() } else { Ok(()) })
            .and_then(|()| Self::read_body(version, reader, limits));
        connect.map_err(|error| DecodeError { connect: Some(version), ..error })
    }

    fn read_body(version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self> {
        let flags = read_flags(version, reader)?;
        let keep_alive = reader.u16()?;
        let properties =
            if version.is_v5() { read_properties(reader, limits)? } else { ConnectProperties::default() };
        let clean_start = flags & CLEAN_START != 0;
        let client_id = read_client_id(version, clean_start, reader, limits)?;
        let will = if flags & WILL != 0 { Some(Will::read(flags, version, reader, limits)?) } else { None };
        // In 3.1 a name or password that the flags announce may be missing at the end of the packet: "the Remaining
        // Length field takes precedence" (3.1 §3.1, User name and password flags).
        let may_end = |reader: &Reader<'_>| version == Version::V31 && reader.is_empty();
        let username = if flags & USERNAME != 0 && !may_end(reader) {
            Some(reader.text(limits.strict_utf8)?)
        } else {
            None
        };
        let password = if flags & PASSWORD != 0 && !may_end(reader) { Some(reader.binary()?) } else { None };
        reader.finish()?;
        Ok(Self { version, clean_start, keep_alive, client_id, will, username, password, properties })
    }

    /// A packet that is written can be read.
    pub(crate) fn check(&self) -> core::result::Result<(), EncodeError> {
        if !self.version.is_v5() && self.password.is_some() && self.username.is_none() {
            return Err(EncodeError::PasswordWithoutUserName);
        }
        Ok(())
    }

    pub(crate) fn write<S: Sink>(&self, out: &mut S) {
        let version = self.version;
        out.text(version.protocol_name());
        out.u8(version.level());
        out.u8(self.flags());
        out.u16(self.keep_alive);
        if version.is_v5() {
            property_section(&self.properties, out);
        }
        out.text(self.client_id);
        if let Some(will) = &self.will {
            if version.is_v5() {
                property_section(&will.properties, out);
            }
            out.text(will.topic);
            out.binary(will.payload);
        }
        if let Some(username) = self.username {
            out.text(username);
        }
        if let Some(password) = self.password {
            out.binary(password);
        }
    }

    fn flags(&self) -> u8 {
        let mut flags = if self.clean_start { CLEAN_START } else { 0 };
        if let Some(will) = &self.will {
            flags |= WILL | (will.qos as u8) << 3 | if will.retain { WILL_RETAIN } else { 0 };
        }
        if self.username.is_some() {
            flags |= USERNAME;
        }
        if self.password.is_some() {
            flags |= PASSWORD;
        }
        flags
    }
}

/// Protocol name and level. The bit that marks bridges in some level bytes (0x80) is no part of any standard, and
/// bridges fall back to the plain level when it is refused.
fn read_version(reader: &mut Reader<'_>) -> Result<Version> {
    let at = reader.offset();
    let name = reader.binary()?;
    if !matches!(name, b"MQTT" | b"MQIsdp") {
        return Err(DecodeError::new(ErrorKind::UnsupportedProtocolName, at));
    }
    let at = reader.offset();
    match (name, reader.u8()?) {
        (b"MQIsdp", 3) => Ok(Version::V31),
        (b"MQTT", 4) => Ok(Version::V311),
        (b"MQTT", 5) => Ok(Version::V5),
        (_, level) => {
            // A level above ours is a later version, which will know the CONNACK of 5.0. Others know that of 3.1.1, also
            // those with the bridge bit.
            let answer = if matches!(level, 6..0x80) { Version::V5 } else { Version::V311 };
            let error = DecodeError::new(ErrorKind::UnsupportedProtocolLevel(level), at);
            Err(DecodeError { connect: Some(answer), ..error })
        }
    }
}

fn read_flags(version: Version, reader: &mut Reader<'_>) -> Result<u8> {
    let at = reader.offset();
    let mut flags = reader.u8()?;
    let fail = |kind| Err(DecodeError::new(kind, at));
    // 3.1 leaves the bit unused instead of reserved.
    if flags & RESERVED != 0 && version != Version::V31 {
        return fail(ErrorKind::ReservedConnectFlag);
    }
    if flags & WILL == 0 {
        // [MQTT-3.1.2-11], [MQTT-3.1.2-13]; 3.1 only says that they are unused then.
        if flags & (WILL_QOS | WILL_RETAIN) != 0 && version != Version::V31 {
            return fail(ErrorKind::WillFlags);
        }
        flags &= !(WILL_QOS | WILL_RETAIN);
    }
    if flags & WILL_QOS == WILL_QOS {
        return fail(ErrorKind::WillQos);
    }
    // 3.1 says so in words, 3.1.1 in [MQTT-3.1.2-22]; 5.0 allows a password alone.
    if flags & PASSWORD != 0 && flags & USERNAME == 0 && !version.is_v5() {
        return fail(ErrorKind::PasswordWithoutUserName);
    }
    Ok(flags)
}

/// The client identifier. The 23 characters of 3.1 are no limit anywhere in practice and none here.
fn read_client_id<'a>(
    version: Version,
    clean_start: bool,
    reader: &mut Reader<'a>,
    limits: &Limits,
) -> Result<&'a str> {
    let at = reader.offset();
    let client_id = reader.text(limits.strict_utf8)?;
    let may_be_empty = match version {
        Version::V31 => false,
        // Without an identifier there is no session to keep [MQTT-3.1.3-7], [MQTT-3.1.3-8].
        Version::V311 => clean_start,
        Version::V5 => true,
    };
    if client_id.is_empty() && !may_be_empty {
        return Err(DecodeError::new(ErrorKind::EmptyClientId, at));
    }
    if client_id.len() > usize::from(limits.max_client_id) {
        return Err(DecodeError::new(ErrorKind::ClientIdTooLong, at));
    }
    Ok(client_id)
}

impl<'a> Will<'a> {
    fn read(flags: u8, version: Version, reader: &mut Reader<'a>, limits: &Limits) -> Result<Self> {
        let properties: WillProperties<'_> =
            if version.is_v5() { read_properties(reader, limits)? } else { WillProperties::default() };
        let at = reader.offset();
        let topic = parse_name(reader.binary()?, limits).map_err(|kind| DecodeError::new(kind, at))?;
        let at = reader.offset();
        let payload = reader.binary()?;
        if limits.check_payload_format
            && properties.payload_format == Some(crate::property::PayloadFormat::Utf8)
            && core::str::from_utf8(payload).is_err()
        {
            return Err(DecodeError::new(ErrorKind::PayloadFormat, at));
        }
        let qos = QoS::new((flags & WILL_QOS) >> 3).unwrap_or_default();
        Ok(Self { topic, payload, qos, retain: flags & WILL_RETAIN != 0, properties })
    }
}
