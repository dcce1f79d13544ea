//! What clients say about deliveries, in the words of the core.

/// An acknowledgement from a client, already decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledgement {
    /// QoS 1 done (PUBACK).
    Done(u16),
    /// QoS 2 refused (PUBREC with an error code): the exchange ends, PUBREL must not follow (MQTT 5 §4.3.3).
    Refused(u16),
    /// QoS 2 received (PUBREC).
    Received(u16),
    /// QoS 2 complete (PUBCOMP).
    Completed(u16),
}

impl Acknowledgement {
    /// The identifier it is about.
    pub(crate) fn packet_id(self) -> u16 {
        match self {
            Self::Done(id) | Self::Refused(id) | Self::Received(id) | Self::Completed(id) => id,
        }
    }
}

/// A change of packet identifier state that the face answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The identifier that nothing is known of.
    pub packet_id: u16,
    /// Whether a release must be sent all the same, with "packet identifier not found".
    pub release: bool,
}
