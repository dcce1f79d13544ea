//! The routes that a channel has used.

/// The routes that a channel has used: from exchange and routing key to queues. Empty, and without allocation, until it
/// publishes.
#[derive(Debug, Default)]
pub struct ExchangeRoutes {}
