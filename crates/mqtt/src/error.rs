//! Why bytes are not a packet, and why a packet has no bytes.

use crate::frame::PacketType;
use crate::property::PropertyId;
use crate::reason::ReasonCode;
use crate::version::Version;

pub(crate) type Result<T> = core::result::Result<T, DecodeError>;

/// A packet that breaks the rules of its version of MQTT, or exceeds the receiver's [`Limits`](crate::Limits).
///
/// After it the stream cannot be trusted: the connection is to be closed, in MQTT 5.0 after a CONNACK or DISCONNECT
/// with [`reason`](Self::reason).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset} of the packet; {section})")]
pub struct DecodeError {
    /// The rule that was violated.
    pub kind: ErrorKind,
    /// Where in the packet, in bytes from its first.
    pub offset: u32,
    /// The reason code to answer with.
    pub reason: ReasonCode,
    /// The rule in the MQTT 5.0 specification: a normative statement as `MQTT-3.3.2-2`, or a section as `§3.3.2`.
    pub section: &'static str,
    /// For an error within a CONNECT packet the version to answer in, as far as the packet told; `None` for errors in
    /// other packets and before the protocol level was read.
    pub connect: Option<Version>,
}

impl DecodeError {
    #[cold]
    pub(crate) fn new(kind: ErrorKind, offset: u32) -> Self {
        Self { kind, offset, reason: kind.reason(), section: kind.section(), connect: None }
    }
}

/// The rule that a packet violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The Remaining Length has a fifth byte.
    #[error("the remaining length is longer than four bytes")]
    RemainingLength,
    /// The packet is larger than the receiver accepts.
    #[error("the packet has {size} bytes, more than the {limit} accepted")]
    PacketTooLarge {
        /// Size of the packet with its fixed header, in bytes.
        size: u32,
        /// Greatest size accepted.
        limit: u32,
    },
    /// A Variable Byte Integer inside a packet has a fifth byte.
    #[error("a variable byte integer is longer than four bytes")]
    InvalidInteger,
    /// A Variable Byte Integer is not written in its shortest form (MQTT 5.0 only).
    #[error("a variable byte integer is not in its shortest form")]
    OverlongInteger,
    /// The packet type is reserved in this version.
    #[error("packet type {0} is reserved")]
    ReservedPacketType(u8),
    /// The flags of the first byte are not those of the packet type.
    #[error("{packet} with flags {flags:#06b} in the fixed header")]
    FixedHeaderFlags {
        /// The packet type.
        packet: PacketType,
        /// The lower half of the first byte.
        flags: u8,
    },
    /// A field ends after the packet, or a mandatory one is missing.
    #[error("a field reaches beyond the end of the packet")]
    Truncated,
    /// The packet goes on after its last field.
    #[error("bytes follow the last field of the packet")]
    TrailingBytes,
    /// Text is not well-formed UTF-8.
    #[error("text is not well-formed UTF-8")]
    InvalidUtf8,
    /// Text contains U+0000.
    #[error("text contains the null character")]
    NulCharacter,
    /// Text contains a control character or a non-character, and the limits ask to refuse them.
    #[error("text contains the discouraged character U+{:04X}", *.0 as u32)]
    DiscouragedCharacter(char),
    /// A PUBLISH has both QoS bits set.
    #[error("PUBLISH with QoS 3")]
    PublishQos,
    /// A PUBLISH of QoS 0 is marked as a duplicate.
    #[error("PUBLISH with DUP and QoS 0")]
    DupWithoutQos,
    /// A packet identifier is zero.
    #[error("the packet identifier is zero")]
    PacketIdZero,
    /// A topic name has no characters (and in MQTT 5.0 no alias either).
    #[error("the topic name is empty")]
    EmptyTopicName,
    /// A PUBLISH has neither a topic name nor a topic alias.
    #[error("PUBLISH without topic name and topic alias")]
    NoTopic,
    /// A topic name contains `+` or `#`.
    #[error("the topic name contains a wildcard")]
    WildcardInTopicName,
    /// A topic name is longer than the receiver accepts.
    #[error("the topic name is too long")]
    TopicNameTooLong,
    /// A topic name has more levels than the receiver accepts.
    #[error("the topic name has too many levels")]
    TopicNameTooDeep,
    /// A topic filter has no characters.
    #[error("the topic filter is empty")]
    EmptyTopicFilter,
    /// A `+` in a topic filter does not fill its level, or a `#` does not fill the last one.
    #[error("a wildcard in the topic filter is misplaced")]
    MisplacedWildcard,
    /// A topic filter is longer than the receiver accepts.
    #[error("the topic filter is too long")]
    TopicFilterTooLong,
    /// A topic filter has more levels than the receiver accepts.
    #[error("the topic filter has too many levels")]
    TopicFilterTooDeep,
    /// `$share/` is not followed by a valid name, a slash and a filter.
    #[error("the shared subscription has no valid share name and filter")]
    InvalidShare,
    /// No Local is set on a shared subscription.
    #[error("No Local on a shared subscription")]
    NoLocalOnShared,
    /// Reserved bits of the subscription options are set.
    #[error("reserved bits of the subscription options are set")]
    SubscriptionOptions,
    /// The maximum QoS of a subscription is 3.
    #[error("subscription with QoS 3")]
    SubscriptionQos,
    /// Retain Handling of a subscription is 3.
    #[error("subscription with retain handling 3")]
    RetainHandling,
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter.
    #[error("{0} without topic filter")]
    NoFilters(PacketType),
    /// SUBACK or UNSUBACK without a reason code.
    #[error("{0} without reason code")]
    NoReasonCodes(PacketType),
    /// The specification defines no property with this identifier.
    #[error("unknown property 0x{0:02X}")]
    UnknownProperty(u32),
    /// The property does not belong into this packet.
    #[error("property {0} is not allowed in this packet")]
    PropertyNotAllowed(PropertyId),
    /// The property occurs more than once.
    #[error("property {0} occurs twice")]
    DuplicateProperty(PropertyId),
    /// The value of the property is outside its range.
    #[error("the value of property {0} is out of range")]
    PropertyValue(PropertyId),
    /// The Topic Alias is zero.
    #[error("the topic alias is zero")]
    TopicAliasZero,
    /// More User Properties than the receiver accepts.
    #[error("too many user properties")]
    TooManyUserProperties,
    /// Authentication Data without Authentication Method.
    #[error("authentication data without authentication method")]
    AuthDataWithoutMethod,
    /// AUTH without Authentication Method.
    #[error("AUTH without authentication method")]
    NoAuthMethod,
    /// The protocol name of a CONNECT is neither `MQTT` nor `MQIsdp`.
    #[error("the protocol name is neither MQTT nor MQIsdp")]
    UnsupportedProtocolName,
    /// The protocol level of a CONNECT is not one of 3.1, 3.1.1 and 5.0, or does not fit its protocol name.
    #[error("protocol level {0} is not supported")]
    UnsupportedProtocolLevel(u8),
    /// The reserved connect flag is set.
    #[error("the reserved connect flag is set")]
    ReservedConnectFlag,
    /// Will QoS or Will Retain is set without a will.
    #[error("will QoS or will retain without a will")]
    WillFlags,
    /// Both Will QoS bits are set.
    #[error("will with QoS 3")]
    WillQos,
    /// A password without a user name in MQTT 3.x.
    #[error("a password without a user name")]
    PasswordWithoutUserName,
    /// An empty client identifier that the version does not allow here.
    #[error("the client identifier is empty")]
    EmptyClientId,
    /// The client identifier is longer than the receiver accepts.
    #[error("the client identifier is too long")]
    ClientIdTooLong,
    /// Reserved flags of a CONNACK are set.
    #[error("reserved flags of CONNACK are set")]
    ConnAckFlags,
    /// A CONNACK refuses the connection and yet announces a session.
    #[error("CONNACK with an error and a session present")]
    SessionPresentWithError,
    /// The reason code is not defined, or not for this packet.
    #[error("{packet} with reason code 0x{code:02X}")]
    ReasonCodeNotAllowed {
        /// The packet type.
        packet: PacketType,
        /// The code.
        code: u8,
    },
    /// The payload calls itself UTF-8 and is not, and the limits ask to check that.
    #[error("the payload is not the UTF-8 text that it claims to be")]
    PayloadFormat,
}

impl ErrorKind {
    /// The reason code to answer with.
    ///
    /// The line between 0x81 and 0x82 is that of §4.13.1: what cannot be parsed by the rules of the packet is
    /// malformed, what is well-formed but forbidden is a protocol error. Where the specification names the code, it
    /// decides. Two places deserve a word. A property that is known but not allowed in its packet is malformed
    /// (§2.2.2.2). And wildcards in a topic name are malformed too: 0x90 and 0x8F stand for a name or filter that "is
    /// correctly formed, but is not accepted", so they answer for our limits only. Mosquitto draws the same line.
    pub const fn reason(self) -> ReasonCode {
        use ReasonCode as R;
        match self {
            Self::PacketTooLarge { .. } => R::PacketTooLarge,
            Self::PacketIdZero
            | Self::NoTopic
            | Self::NoLocalOnShared
            | Self::SubscriptionQos
            | Self::RetainHandling
            | Self::NoFilters(_)
            | Self::NoReasonCodes(_)
            | Self::DuplicateProperty(_)
            | Self::PropertyValue(_)
            | Self::AuthDataWithoutMethod
            | Self::NoAuthMethod
            | Self::SessionPresentWithError
            | Self::ReasonCodeNotAllowed { .. } => R::ProtocolError,
            Self::TopicNameTooLong | Self::TopicNameTooDeep => R::TopicNameInvalid,
            Self::TopicFilterTooLong | Self::TopicFilterTooDeep => R::TopicFilterInvalid,
            Self::TopicAliasZero => R::TopicAliasInvalid,
            Self::TooManyUserProperties => R::QuotaExceeded,
            Self::UnsupportedProtocolName | Self::UnsupportedProtocolLevel(_) => {
                R::UnsupportedProtocolVersion
            }
            Self::EmptyClientId | Self::ClientIdTooLong => R::ClientIdentifierNotValid,
            Self::PayloadFormat => R::PayloadFormatInvalid,
            _ => R::MalformedPacket,
        }
    }

    /// The rule in the MQTT 5.0 specification.
    pub const fn section(self) -> &'static str {
        match self {
            Self::RemainingLength | Self::InvalidInteger => "§1.5.5",
            Self::PacketTooLarge { .. } => "MQTT-3.2.2-15",
            Self::OverlongInteger => "MQTT-1.5.5-1",
            Self::ReservedPacketType(_) => "§2.1.2",
            Self::FixedHeaderFlags { .. } => "MQTT-2.1.3-1",
            Self::Truncated | Self::TrailingBytes => "§2.1.4",
            Self::InvalidUtf8 => "MQTT-1.5.4-1",
            Self::NulCharacter => "MQTT-1.5.4-2",
            Self::DiscouragedCharacter(_) => "§1.5.4",
            Self::PublishQos => "MQTT-3.3.1-4",
            Self::DupWithoutQos => "MQTT-3.3.1-2",
            Self::PacketIdZero => "MQTT-2.2.1-3",
            Self::EmptyTopicName | Self::EmptyTopicFilter => "MQTT-4.7.3-1",
            Self::NoTopic => "§3.3.2.1",
            Self::WildcardInTopicName => "MQTT-3.3.2-2",
            Self::TopicNameTooLong | Self::TopicNameTooDeep => "§4.7.3",
            Self::TopicFilterTooLong | Self::TopicFilterTooDeep => "§4.7.3",
            Self::MisplacedWildcard => "MQTT-4.7.1-1",
            Self::InvalidShare => "MQTT-4.8.2-1",
            Self::NoLocalOnShared => "MQTT-3.8.3-4",
            Self::SubscriptionOptions => "MQTT-3.8.3-5",
            Self::SubscriptionQos | Self::RetainHandling => "§3.8.3.1",
            Self::NoFilters(PacketType::Unsubscribe) => "MQTT-3.10.3-2",
            Self::NoFilters(_) => "MQTT-3.8.3-2",
            Self::NoReasonCodes(PacketType::UnsubAck) => "MQTT-3.11.3-1",
            Self::NoReasonCodes(_) => "MQTT-3.9.3-1",
            Self::UnknownProperty(_)
            | Self::PropertyNotAllowed(_)
            | Self::DuplicateProperty(_)
            | Self::PropertyValue(_)
            | Self::TooManyUserProperties => "§2.2.2.2",
            Self::TopicAliasZero => "MQTT-3.3.2-8",
            Self::AuthDataWithoutMethod => "§3.1.2.11.10",
            Self::NoAuthMethod => "§3.15.2.2.2",
            Self::UnsupportedProtocolName => "MQTT-3.1.2-1",
            Self::UnsupportedProtocolLevel(_) => "MQTT-3.1.2-2",
            Self::ReservedConnectFlag => "MQTT-3.1.2-3",
            Self::WillFlags => "MQTT-3.1.2-11",
            Self::WillQos => "MQTT-3.1.2-12",
            // A rule of 3.1.1 that 5.0 dropped.
            Self::PasswordWithoutUserName => "3.1.1 MQTT-3.1.2-22",
            Self::EmptyClientId => "MQTT-3.1.3-8",
            Self::ClientIdTooLong => "MQTT-3.1.3-5",
            Self::ConnAckFlags => "MQTT-3.2.2-1",
            Self::SessionPresentWithError => "MQTT-3.2.2-6",
            Self::ReasonCodeNotAllowed { packet, .. } => match packet {
                PacketType::ConnAck => "MQTT-3.2.2-8",
                PacketType::PubAck => "MQTT-3.4.2-1",
                PacketType::PubRec => "MQTT-3.5.2-1",
                PacketType::PubRel => "MQTT-3.6.2-1",
                PacketType::PubComp => "MQTT-3.7.2-1",
                PacketType::SubAck => "MQTT-3.9.3-2",
                PacketType::UnsubAck => "MQTT-3.11.3-2",
                PacketType::Disconnect => "MQTT-3.14.2-1",
                _ => "MQTT-3.15.2-1",
            },
            Self::PayloadFormat => "§3.3.2.3.2",
        }
    }
}

/// A packet that cannot be written in the version asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than 65,535 bytes.
    #[error("a field is longer than 65,535 bytes")]
    FieldTooLong,
    /// The packet is longer than the protocol allows (256 MiB).
    #[error("the packet is longer than 268,435,455 bytes")]
    PacketTooLong,
    /// The version has no such packet: AUTH before MQTT 5.0.
    #[error("MQTT {version} has no {packet} packet")]
    NotInVersion {
        /// The packet type.
        packet: PacketType,
        /// The version.
        version: Version,
    },
    /// A PUBLISH of QoS 1 or 2 has no packet identifier.
    #[error("a PUBLISH with QoS above 0 needs a packet identifier")]
    NoPacketId,
    /// A CONNECT of MQTT 3.x has a password and no user name.
    #[error("a password needs a user name before MQTT 5.0")]
    PasswordWithoutUserName,
    /// A packet that needs at least one topic filter or reason code has none.
    #[error("a {0} packet without topic filter or reason code")]
    EmptyList(PacketType),
}
