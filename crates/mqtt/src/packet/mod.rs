//! The fifteen control packets (MQTT 5.0 §3).
//!
//! Each file has the struct of one packet, how its body is read and how it is written. Text and data are borrowed from
//! the buffer they were decoded from, or from the caller who builds the packet.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod suback;
mod subscribe;
mod unsubscribe;

pub use ack::{Ack, AckKind, write_ack};
pub use auth::Auth;
pub use connack::ConnAck;
pub use connect::{Connect, Will};
pub use disconnect::Disconnect;
pub use publish::{Publish, PublishHeader};
pub use suback::{ReasonCodes, ReasonCodesIter, SubAck, UnsubAck};
pub use subscribe::{
    RetainHandling, Subscribe, SubscribeOptions, Subscription, Subscriptions, SubscriptionsIter,
};
pub use unsubscribe::{Filters, FiltersIter, Unsubscribe};

use crate::frame::PacketType;

/// A control packet of any type.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "decoding allocates nothing, so CONNECT cannot be boxed")]
pub enum Packet<'a> {
    /// Client requests a connection.
    Connect(Connect<'a>),
    /// Server answers CONNECT.
    ConnAck(ConnAck<'a>),
    /// A message.
    Publish(Publish<'a>),
    /// Answer to PUBLISH with QoS 1.
    PubAck(Ack<'a>),
    /// First answer to PUBLISH with QoS 2.
    PubRec(Ack<'a>),
    /// Answer to PUBREC.
    PubRel(Ack<'a>),
    /// Answer to PUBREL.
    PubComp(Ack<'a>),
    /// Client subscribes.
    Subscribe(Subscribe<'a>),
    /// Server answers SUBSCRIBE.
    SubAck(SubAck<'a>),
    /// Client ends subscriptions.
    Unsubscribe(Unsubscribe<'a>),
    /// Server answers UNSUBSCRIBE.
    UnsubAck(UnsubAck<'a>),
    /// Client asks for a sign of life.
    PingReq,
    /// Server answers PINGREQ.
    PingResp,
    /// The connection ends.
    Disconnect(Disconnect<'a>),
    /// A step of enhanced authentication.
    Auth(Auth<'a>),
}

impl Packet<'_> {
    /// The type of the packet.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// Reads a reason code that has to be one of those listed for the packet.
fn read_reason(
    reader: &mut crate::wire::reader::Reader<'_>,
    packet: PacketType,
) -> crate::error::Result<crate::reason::ReasonCode> {
    let at = reader.offset();
    let code = reader.u8()?;
    crate::reason::ReasonCode::new(code).filter(|reason| reason.is_allowed_in(packet)).ok_or_else(|| {
        crate::error::DecodeError::new(crate::error::ErrorKind::ReasonCodeNotAllowed { packet, code }, at)
    })
}
