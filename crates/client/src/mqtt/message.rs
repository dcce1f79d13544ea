//! A received message, and one to send as a will.

use std::sync::Arc;

use bytes::Bytes;

use super::QoS;
use super::property::{Properties, Property};

/// A message that the broker delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic it was published to.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// The QoS of the delivery: the lower of publication and subscription.
    pub qos: QoS,
    /// Whether it is (or, with Retain As Published, was) a retained message.
    pub retain: bool,
    /// Whether the broker delivered it before and heard no acknowledgement.
    pub dup: bool,
    /// Packet identifier of the delivery; `None` at QoS 0.
    pub packet_id: Option<u16>,
    /// MQTT 5 properties; empty before.
    pub properties: Properties,
}

impl Message {
    /// A QoS 0 message without properties.
    pub fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: None,
            properties: Properties::new(),
        }
    }

    /// The payload as text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok()
    }
}

/// The message that the broker publishes when this client vanishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic: String,
    /// Its payload, at most 65,535 bytes.
    pub payload: Bytes,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// MQTT 5 properties (Will Delay Interval, Message Expiry Interval, Content Type ...); not sent before.
    pub properties: Properties,
}

impl Will {
    /// A QoS 0 will that is not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::new(),
        }
    }

    /// Sets the QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Makes it retained.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, property: Property) -> Self {
        self.properties.set(property);
        self
    }
}
