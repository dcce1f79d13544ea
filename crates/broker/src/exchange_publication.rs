//! A message on its way into an exchange, and what became of it.

use crate::journal::Position;
use crate::message::Properties;

/// A message as it was published to an exchange, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug)]
pub struct ExchangePublication<'a> {
    /// Name of the exchange; empty for the default one.
    pub exchange: &'a str,
    /// Routing key.
    pub routing_key: &'a str,
    /// Properties; of AMQP's encoding, already validated by the face.
    pub properties: Properties<'a>,
    /// Application payload.
    pub payload: &'a [u8],
    /// Whether the publisher asks to learn that nobody takes it.
    pub mandatory: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The confirmation waits for this position.
    pub position: Position,
    /// Whether at least one queue, session or group was found for it.
    pub routed: bool,
    /// Whether a queue refused it (`x-overflow`): it is answered with a negative confirmation.
    pub refused: bool,
}
