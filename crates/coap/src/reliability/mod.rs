//! What makes messages over datagrams reliable (RFC 7252 §4), as parts that know nothing of each other.
//!
//! [`Transmission`] holds the parameters and the times that follow from them; [`seen`] remembers the Message IDs that a
//! peer used and what it was answered; [`message_ids`] hands out our own; [`wheel`] orders what is due.
//! [`Endpoint`](crate::endpoint::Endpoint) puts them together.

pub(crate) mod message_ids;
pub(crate) mod seen;
mod transmission;
pub(crate) mod wheel;

pub use transmission::Transmission;
