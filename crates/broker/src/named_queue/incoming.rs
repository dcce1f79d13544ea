//! A message on its way into queues: borrowed as long as that will do.

use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::Mutex;
use tercet_amqp::content;

use crate::clock::Now;
use crate::journal::Position;
use crate::message::{self, Message, Payload, Properties, PropertyEncoding, Publication, Qos};
use crate::session::SessionId;

/// A message on its way into queues. It becomes an owned [`Message`] once, and only if some queue must keep it.
#[derive(Debug)]
pub struct Incoming<'a> {
    address: Address<'a>,
    properties: Properties<'a>,
    payload: &'a [u8],
    /// Whether the publisher asks for it to survive a restart.
    persistent: bool,
    /// Milliseconds it may wait, as the publisher asks.
    expiration_ms: Option<u64>,
    /// As the publisher asks; queues cut it down to what they know.
    priority: u8,
    publisher: SessionId,
    /// Keys that its recipients must not see, as an encoded array.
    blind_copies: &'a [u8],
    /// Whether more than one queue may come to record it.
    shared: bool,
    /// Whether more than one queue may come to keep it.
    kept_again: bool,
    message: Option<Arc<Message>>,
}

#[derive(Clone, Copy, Debug)]
struct Address<'a> {
    exchange: Option<&'a Arc<str>>,
    key: &'a Arc<str>,
}

impl<'a> Incoming<'a> {
    /// A message published to an exchange; its properties are of AMQP's encoding.
    #[must_use]
    pub fn published(
        exchange: &'a Arc<str>,
        key: &'a Arc<str>,
        properties: Properties<'a>,
        payload: &'a [u8],
    ) -> Self {
        let asked = Asked::of(properties);
        Self {
            address: Address { exchange: Some(exchange), key },
            properties,
            payload,
            persistent: asked.persistent,
            expiration_ms: asked.expiration_ms,
            priority: asked.priority,
            publisher: SessionId::BROKER,
            blind_copies: &[],
            shared: false,
            kept_again: false,
            message: None,
        }
    }

    /// Whether a publisher's properties ask for a message to survive a restart.
    #[must_use]
    pub fn asks_to_persist(properties: Properties<'_>) -> bool {
        Asked::of(properties).persistent
    }

    /// A message published to an MQTT topic.
    #[must_use]
    pub fn from_topic(publication: &Publication<'a>, topic: &'a Arc<str>) -> Self {
        Self {
            address: Address { exchange: None, key: topic },
            properties: publication.properties,
            payload: publication.payload,
            persistent: publication.qos > Qos::AtMostOnce,
            expiration_ms: publication.expiry.map(|seconds| u64::from(seconds) * 1000),
            priority: 0,
            publisher: publication.publisher,
            blind_copies: &[],
            shared: false,
            kept_again: false,
            message: None,
        }
    }

    /// A message that is owned already. If several queues may come to record it, it says so itself ([`Message::shared`]).
    #[must_use]
    pub fn owned(message: &'a Arc<Message>, now: Now) -> Self {
        let properties = message.properties();
        let left = |at: NonZeroU64| at.get().saturating_sub(now.utc_ms);
        Self {
            address: Address { exchange: message.exchange.as_ref(), key: &message.topic },
            properties,
            payload: &message.payload,
            persistent: message.qos > Qos::AtMostOnce,
            expiration_ms: message.expires_at_ms.map(left),
            priority: Asked::of(properties).priority,
            publisher: message.publisher,
            blind_copies: &[],
            shared: message.shared,
            kept_again: true,
            message: Some(Arc::clone(message)),
        }
    }

    /// The same, published with further keys that its recipients must not see (`BCC`), as an encoded array.
    #[must_use]
    pub fn with_blind_copies(self, keys: &'a [u8]) -> Self {
        Self { blind_copies: keys, ..self }
    }

    /// The same, to be kept by more than one queue, of which more than one may record it or not. To be said before the
    /// first one.
    #[must_use]
    pub fn for_several(mut self, recorded: bool) -> Self {
        self.kept_again = true;
        self.shared |= recorded;
        self
    }

    /// The exchange it was published to.
    #[must_use]
    pub fn exchange(&self) -> Option<&'a Arc<str>> {
        self.address.exchange
    }

    /// Its routing key, or its topic.
    #[must_use]
    pub fn key(&self) -> &'a Arc<str> {
        self.address.key
    }

    /// Its properties.
    #[must_use]
    pub fn properties(&self) -> Properties<'a> {
        self.properties
    }

    /// Its payload.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether it is to survive a restart in queues that do.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// Milliseconds it may wait.
    #[must_use]
    pub fn expiration_ms(&self) -> Option<u64> {
        self.expiration_ms
    }

    /// Its priority, as the publisher asks for it.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// What it counts for against limits in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self.address.exchange {
            Some(_) => self.payload.len(),
            None => self.address.key.len() + self.payload.len() + self.properties.bytes.len(),
        }
    }

    /// The owned message, if there is one by now.
    pub(super) fn existing(&self) -> Option<&Arc<Message>> {
        self.message.as_ref()
    }

    /// The owned message, copied out of the read buffer the first time.
    pub fn message(&mut self, now: Now) -> &Arc<Message> {
        let message = match self.message.take() {
            Some(message) => message,
            None => Arc::new(self.build(now)),
        };
        self.message.insert(message)
    }

    /// The owned message for one who keeps it. The last one gets it without another count, if nobody else can come.
    pub(super) fn take_message(&mut self, now: Now) -> Arc<Message> {
        match (self.kept_again, self.message.take()) {
            (false, Some(message)) => message,
            (false, None) => Arc::new(self.build(now)),
            (true, message) => {
                self.message = message;
                Arc::clone(self.message(now))
            }
        }
    }

    fn build(&self, now: Now) -> Message {
        Message {
            topic: Arc::clone(self.address.key),
            exchange: self.address.exchange.cloned(),
            payload: Payload::copy_from(self.payload),
            properties: message::kept_properties(self.properties.bytes),
            encoding: self.properties.encoding,
            qos: if self.persistent { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            retain: false,
            publisher: self.publisher,
            author: None,
            ingress_ms: now.utc_ms,
            expires_at_ms: self.expiration_ms.and_then(|ms| NonZeroU64::new(now.utc_ms.saturating_add(ms))),
            dead_lettered: false,
            blind_copies: (!self.blind_copies.is_empty()).then(|| self.blind_copies.into()),
            shared: self.shared,
            stored: Mutex::new(None),
        }
    }
}

/// What the properties of AMQP ask queues for. Anything else was judged by the face.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    persistent: bool,
    expiration_ms: Option<u64>,
    priority: u8,
}

impl Asked {
    #[inline]
    fn of(properties: Properties<'_>) -> Self {
        if properties.encoding != PropertyEncoding::Amqp {
            return Self::default();
        }
        let Some(encoded) = content::Properties::from_bytes(properties.bytes) else {
            return Self::default();
        };
        Self {
            persistent: matches!(encoded.delivery_mode(), Ok(Some(2))),
            expiration_ms: encoded.expiration().ok().flatten().and_then(|text| text.parse().ok()),
            priority: encoded.priority().ok().flatten().unwrap_or(0),
        }
    }
}

/// What became of a message in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enqueued {
    /// It is safe there once the log is durable up to here.
    pub position: Position,
    /// The queue is full and refuses what comes (`x-overflow`).
    pub refused: bool,
}
