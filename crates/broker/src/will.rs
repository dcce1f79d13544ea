//! A client's last will.

use std::sync::Arc;

use bytes::Bytes;

use crate::message::{Properties, PropertyEncoding, Publication, Qos};
use crate::session::SessionId;

/// The message published for a client that leaves without saying goodbye.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Topic to publish to.
    pub topic: Arc<str>,
    /// Payload.
    pub payload: Bytes,
    /// Properties in the origin's encoding.
    pub properties: Bytes,
    /// How `properties` is to be read.
    pub encoding: PropertyEncoding,
    /// Guarantee.
    pub qos: Qos,
    /// Whether it becomes the retained value.
    pub retain: bool,
    /// Seconds to wait after the connection is gone (Will Delay Interval); the session's end comes first.
    pub delay: u32,
    /// Message expiry in seconds, counted from publication.
    pub expiry: Option<u32>,
}

impl Will {
    /// The will as a publication of `publisher`.
    #[must_use]
    pub fn publication(&self, publisher: SessionId) -> Publication<'_> {
        Publication {
            topic: &self.topic,
            payload: &self.payload,
            properties: Properties { encoding: self.encoding, bytes: &self.properties },
            qos: self.qos,
            retain: self.retain,
            expiry: self.expiry,
            publisher,
        }
    }
}
