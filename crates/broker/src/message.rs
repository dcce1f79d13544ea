//! Messages: borrowed while they are routed, owned once they must outlive the batch.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::body::Stored;
use crate::clock::Now;
use crate::permission::Subject;
use crate::session::SessionId;

/// Payloads above this size (bytes) are shared between receivers; smaller ones are cheaper to copy.
pub const SHARE_ABOVE: usize = 4096;

/// Delivery guarantee of a publication or subscription, as MQTT numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Qos {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The level with this number; `None` above 2.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// The encoding in which a message's properties are kept: that of the protocol they arrived by.
///
/// Translation happens only when a message crosses protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PropertyEncoding {
    /// The origin knows no properties (MQTT 3.x).
    None = 0,
    /// MQTT 5 property list without length prefix, topic alias, expiry and subscription identifiers.
    Mqtt5 = 1,
    /// Property flags and list of AMQP 0-9-1, as they stand in a content header, without `BCC` in the headers.
    Amqp = 2,
    /// Options of CoAP as they stand in a message, Content-Format alone (RFC 7252 §3.1, §5.10.3).
    Coap = 3,
}

impl PropertyEncoding {
    /// The encoding with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Mqtt5),
            2 => Some(Self::Amqp),
            3 => Some(Self::Coap),
            _ => None,
        }
    }
}

/// Properties as the origin protocol encoded them.
#[derive(Clone, Copy, Debug)]
pub struct Properties<'a> {
    /// How `bytes` is to be read.
    pub encoding: PropertyEncoding,
    /// The encoded properties; empty when there are none.
    pub bytes: &'a [u8],
}

impl Properties<'_> {
    /// No properties.
    pub const NONE: Properties<'static> = Properties { encoding: PropertyEncoding::None, bytes: &[] };
}

/// Who published a message: kept with retained values, whose author's rights are looked at again when they are
/// handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Authenticated user.
    pub user: Option<Arc<str>>,
    /// Client identifier.
    pub client_id: Arc<str>,
}

impl Author {
    /// The author as the subject of a permission check.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        Subject { user: self.user.as_deref(), client_id: &self.client_id }
    }
}

/// A message on its way in, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a> {
    /// Topic name, already validated by the face.
    pub topic: &'a str,
    /// Application payload.
    pub payload: &'a [u8],
    /// Properties in the origin's encoding.
    pub properties: Properties<'a>,
    /// Guarantee asked for by the publisher.
    pub qos: Qos,
    /// Whether the message becomes the topic's retained value.
    pub retain: bool,
    /// Message expiry interval in seconds, as received.
    pub expiry: Option<u32>,
    /// The publishing session, for No Local.
    pub publisher: SessionId,
}

/// An application payload that outlives its batch: small ones lie within the message, which spares an allocation
/// for each; larger ones can be shared with whoever writes them.
#[derive(Clone)]
pub enum Payload {
    /// Up to [`Payload::INLINE`] bytes.
    Inline {
        /// Bytes used.
        len: u8,
        /// The bytes, then zeros.
        bytes: [u8; Payload::INLINE],
    },
    /// More.
    Shared(Bytes),
}

impl Payload {
    /// Longest payload that lies within its message.
    pub const INLINE: usize = 72;

    /// Copies a payload.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Self {
        let mut inline = [0; Self::INLINE];
        match (inline.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(bytes);
                Self::Inline { len, bytes: inline }
            }
            _ => Self::Shared(Bytes::copy_from_slice(bytes)),
        }
    }

    /// The payload as bytes that can be shared, if it is large enough for that.
    #[must_use]
    pub fn shared(&self) -> Option<&Bytes> {
        match self {
            Self::Inline { .. } => None,
            Self::Shared(bytes) => Some(bytes),
        }
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Shared(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// A message that outlives its batch; shared by every queue and retained value that holds it.
#[derive(Debug)]
pub struct Message {
    /// Topic name or, for a message that was published to an exchange, its routing key.
    pub topic: Arc<str>,
    /// The exchange it was published to; `None` for one that was published to a topic.
    pub exchange: Option<Arc<str>>,
    /// Application payload.
    pub payload: Payload,
    /// Properties in the origin's encoding.
    pub properties: Bytes,
    /// How `properties` is to be read.
    pub encoding: PropertyEncoding,
    /// Guarantee asked for by the publisher.
    pub qos: Qos,
    /// Whether it was published with the retain flag.
    pub retain: bool,
    /// The publishing session.
    pub publisher: SessionId,
    /// Who published it, if it was published to be retained.
    pub author: Option<Arc<Author>>,
    /// When it arrived, UTC milliseconds.
    pub ingress_ms: u64,
    /// When it expires, UTC milliseconds.
    pub expires_at_ms: Option<NonZeroU64>,
    /// Whether the broker has put it somewhere else because a queue could not keep it: `x-death` among its headers is the
    /// broker's own record then, not something a client has sent.
    pub dead_lettered: bool,
    /// Routing keys it was published with besides its own that its recipients must not see (`BCC`), as an encoded array: they
    /// count again when it is dead-lettered.
    pub blind_copies: Option<Arc<[u8]>>,
    /// Whether several queues or retained values may come to hold it.
    pub shared: bool,
    /// Its record in the log, once it has one.
    pub stored: Mutex<Option<Stored>>,
}

impl Message {
    /// Copies a publication so that it can be kept.
    #[must_use]
    pub fn from_publication(publication: &Publication<'_>, topic: Arc<str>, now: Now) -> Self {
        Self {
            topic,
            exchange: None,
            payload: Payload::copy_from(publication.payload),
            properties: kept_properties(publication.properties.bytes),
            encoding: publication.properties.encoding,
            qos: publication.qos,
            retain: publication.retain,
            publisher: publication.publisher,
            author: None,
            dead_lettered: false,
            blind_copies: None,
            shared: publication.retain,
            stored: Mutex::new(None),
            ingress_ms: now.utc_ms,
            expires_at_ms: publication.expiry.and_then(|seconds| {
                NonZeroU64::new(now.utc_ms.saturating_add(u64::from(seconds).saturating_mul(1000)))
            }),
        }
    }

    /// Whether the message has expired at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Now) -> bool {
        self.expires_at_ms.is_some_and(|at| at.get() <= now.utc_ms)
    }

    /// Seconds left until expiry, rounded up: the received interval minus the whole seconds waited
    /// [MQTT-3.3.2-6].
    #[must_use]
    pub fn remaining_expiry(&self, now: Now) -> Option<u32> {
        self.expires_at_ms.map(|at| {
            let left = at.get().saturating_sub(now.utc_ms).div_ceil(1000);
            u32::try_from(left).unwrap_or(u32::MAX)
        })
    }

    /// The same message without a place in the log.
    #[must_use]
    pub(crate) fn copied(&self) -> Self {
        Self {
            topic: Arc::clone(&self.topic),
            exchange: self.exchange.clone(),
            payload: self.payload.clone(),
            properties: self.properties.clone(),
            encoding: self.encoding,
            qos: self.qos,
            retain: self.retain,
            publisher: self.publisher,
            author: self.author.clone(),
            ingress_ms: self.ingress_ms,
            expires_at_ms: self.expires_at_ms,
            dead_lettered: self.dead_lettered,
            blind_copies: self.blind_copies.clone(),
            shared: self.shared,
            stored: Mutex::new(None),
        }
    }

    /// What the message counts for against byte limits: of one that was published to an exchange the payload alone, as
    /// RabbitMQ's `x-max-length-bytes` does.
    #[must_use]
    pub fn size(&self) -> usize {
        match self.exchange {
            Some(_) => self.payload.len(),
            None => self.topic.len() + self.payload.len() + self.properties.len(),
        }
    }

    /// Bytes of memory that it takes up, an estimate: allocations are taken as large as they were asked for.
    #[must_use]
    pub fn memory(&self) -> usize {
        /// Counts of the `Arc`s of message and topic, and what the allocator adds to each.
        const COUNTS: usize = 64;
        let payload = self.payload.shared().map_or(0, Bytes::len);
        size_of::<Self>() + COUNTS + self.topic.len() + payload + self.properties.len()
    }

    /// The properties, tagged with their encoding.
    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        Properties { encoding: self.encoding, bytes: &self.properties }
    }
}

/// Properties to be kept. Those that most messages have, none or the delivery mode alone, need no memory.
pub(crate) fn kept_properties(bytes: &[u8]) -> Bytes {
    const COMMON: [&[u8]; 4] = [b"", b"\x00\x00", b"\x10\x00\x01", b"\x10\x00\x02"];
    match COMMON.into_iter().find(|common| *common == bytes) {
        Some(common) => Bytes::from_static(common),
        None => Bytes::copy_from_slice(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_the_same_bytes_inside_and_outside_of_its_message() {
        for len in [0, 1, Payload::INLINE - 1, Payload::INLINE, Payload::INLINE + 1, 300, 5000] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let payload = Payload::copy_from(&bytes);
            assert_eq!(&*payload, &*bytes);
            assert_eq!(payload.shared().is_some(), len > Payload::INLINE);
        }
    }
}
