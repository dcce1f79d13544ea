//! The fixed header: packet type, flags and Remaining Length (MQTT 5.0 §2.1).

use core::fmt;

use crate::error::{DecodeError, ErrorKind};
use crate::limits::Limits;
use crate::version::Version;

/// The type of a control packet: the upper half of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PacketType {
    /// Client requests a connection.
    Connect = 1,
    /// Server answers CONNECT.
    ConnAck = 2,
    /// A message, in either direction.
    Publish = 3,
    /// Answer to PUBLISH with QoS 1.
    PubAck = 4,
    /// First answer to PUBLISH with QoS 2.
    PubRec = 5,
    /// Answer to PUBREC.
    PubRel = 6,
    /// Answer to PUBREL, the end of a QoS 2 delivery.
    PubComp = 7,
    /// Client subscribes.
    Subscribe = 8,
    /// Server answers SUBSCRIBE.
    SubAck = 9,
    /// Client ends subscriptions.
    Unsubscribe = 10,
    /// Server answers UNSUBSCRIBE.
    UnsubAck = 11,
    /// Client asks for a sign of life.
    PingReq = 12,
    /// Server answers PINGREQ.
    PingResp = 13,
    /// The connection ends; in MQTT 5.0 sent by either side.
    Disconnect = 14,
    /// A step of enhanced authentication (MQTT 5.0).
    Auth = 15,
}

impl PacketType {
    /// The type with this number, or `None` for 0 and above 15.
    pub const fn new(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The name the specification gives to the packet.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// The flags every packet of this type carries. Those of PUBLISH are not fixed.
    pub(crate) const fn fixed_flags(self) -> u8 {
        match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        }
    }

    /// The first byte of a packet of this type, PUBLISH flags aside.
    pub(crate) const fn first_byte(self) -> u8 {
        (self as u8) << 4 | self.fixed_flags()
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The total length in bytes of the packet that `buf` begins with, told from its fixed header alone, so that a reader
/// can make room for the rest. `None` while the fixed header is incomplete.
///
/// # Errors
///
/// [`ErrorKind::RemainingLength`] when the Remaining Length runs over four bytes, [`ErrorKind::PacketTooLarge`] when the
/// packet is longer than `limits.max_packet_size`.
#[inline]
pub fn frame_length(buf: &[u8], limits: &Limits) -> Result<Option<usize>, DecodeError> {
    Ok(FixedHeader::read(buf, limits)?.map(|header| header.total_len()))
}

/// A complete fixed header whose length is within the limits.
#[derive(Clone, Copy)]
pub(crate) struct FixedHeader {
    pub(crate) first_byte: u8,
    /// Length of the fixed header itself, 2 to 5.
    pub(crate) len: usize,
    pub(crate) remaining: u32,
}

impl FixedHeader {
    #[inline]
    pub(crate) fn read(buf: &[u8], limits: &Limits) -> Result<Option<Self>, DecodeError> {
        let [first_byte, rest @ ..] = buf else { return Ok(None) };
        let mut remaining = 0;
        for (index, byte) in rest.iter().take(4).enumerate() {
            remaining |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                let header = Self { first_byte: *first_byte, len: index + 2, remaining };
                if header.total_len() > limits.max_packet_size as usize {
                    let kind = ErrorKind::PacketTooLarge {
                        size: header.total_len() as u32,
                        limit: limits.max_packet_size,
                    };
                    return Err(DecodeError::new(kind, 1));
                }
                return Ok(Some(header));
            }
        }
        if rest.len() >= 4 { Err(DecodeError::new(ErrorKind::RemainingLength, 1)) } else { Ok(None) }
    }

    #[inline]
    pub(crate) const fn total_len(self) -> usize {
        self.len + self.remaining as usize
    }

    pub(crate) const fn flags(self) -> u8 {
        self.first_byte & 0x0F
    }

    /// The packet type, if it and the flags beside it are allowed in `version`.
    ///
    /// CONNECT names its version itself, so its flags are checked where that is known.
    #[inline]
    pub(crate) fn packet_type(self, version: Version) -> Result<PacketType, DecodeError> {
        let fail = |kind| Err(DecodeError::new(kind, 0));
        let Some(packet) = PacketType::new(self.first_byte >> 4) else {
            return fail(ErrorKind::ReservedPacketType(self.first_byte >> 4));
        };
        if packet == PacketType::Auth && version != Version::V5 {
            return fail(ErrorKind::ReservedPacketType(15));
        }
        if !matches!(packet, PacketType::Publish | PacketType::Connect) {
            self.check_flags(packet, version)?;
        }
        if version == Version::V5 && packet != PacketType::Connect {
            self.check_minimal()?;
        }
        Ok(packet)
    }

    pub(crate) fn check_flags(self, packet: PacketType, version: Version) -> Result<(), DecodeError> {
        let flags = self.flags();
        let allowed = match (version, packet) {
            // 3.1 counts PUBREL, SUBSCRIBE and UNSUBSCRIBE among the QoS 1 messages, which carry DUP when they are
            // sent again, and leaves the flags of the other packets unused rather than reserved (3.1 §2.1).
            (Version::V31, PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe) => {
                flags & 0b0111 == 0b0010
            }
            (Version::V31, _) => true,
            _ => flags == packet.fixed_flags(),
        };
        if allowed { Ok(()) } else { Err(DecodeError::new(ErrorKind::FixedHeaderFlags { packet, flags }, 0)) }
    }

    /// MQTT 5.0 demands the shortest form of every Variable Byte Integer [MQTT-1.5.5-1]; 3.1 and 3.1.1 have no such
    /// rule and small devices are known to write four bytes always, so those are let through.
    pub(crate) fn check_minimal(self) -> Result<(), DecodeError> {
        let minimal = match self.remaining {
            0..0x80 => 1,
            0x80..0x4000 => 2,
            0x4000..0x20_0000 => 3,
            _ => 4,
        };
        if self.len - 1 == minimal { Ok(()) } else { Err(DecodeError::new(ErrorKind::OverlongInteger, 1)) }
    }
}
