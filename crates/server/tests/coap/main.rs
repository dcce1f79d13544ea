//! The CoAP face over real UDP sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

mod client;
mod exchanges;
mod observing;
