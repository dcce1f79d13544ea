//! Messages of QoS 1 and 2 on their way (MQTT 5.0 §4.3, §4.4, §4.9).
//!
//! [`Outbound`] is the sender's side: it holds what was sent and not yet acknowledged, keeps to the peer's Receive
//! Maximum, and says what to send again after a reconnect. [`Inbound`] is the receiver's side: it recognises messages of
//! QoS 2 that arrive twice, and notices a sender that exceeds our Receive Maximum. Both outlive connections as part of a
//! session. Neither owns memory while nothing is in flight.

mod inbound;
mod outbound;

pub use inbound::{Arrival, Inbound, ReceiveMaximumExceeded};
pub use outbound::{AckError, Outbound, PubRecOutcome, Resend, SendError, Unfinished};
