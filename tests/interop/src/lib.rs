//! Behaviour of the broker over the wire: the harness that the tests under `tests/` stand on.
//!
//! - [`broker`] starts the real program on ephemeral ports, waits for its ready line and ends it.
//! - [`lives`] kills it again and again while clients work with it, and [`trace`] reads what it asked of the system.
//! - [`small_disk`] is what it fills up.
//! - [`wire`] is a client of raw bytes: it sends what a test says, well-formed or not, and reads packets.
//! - [`packet`] and [`property`] are a small codec of their own, written from the specification and not shared
//!   with the broker, so that one misreading cannot hide in both ends.
//! - [`notation`] reads the hexadecimal notation of the malformed packet table.
//! - [`certificates`], [`tls`] and [`websocket`] are the other transports' client ends.
//!
//! The harness serves tests only: a broken expectation panics with what was expected and what was seen.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc)]

pub mod broker;
pub mod certificates;
pub mod connect;
pub mod lives;
pub mod memory;
pub mod notation;
pub mod packet;
pub mod property;
pub mod random;
pub mod small_disk;
pub mod tls;
pub mod trace;
pub mod websocket;
pub mod wire;

pub use broker::Broker;
pub use connect::{Connect, Will};
pub use packet::{Packet, Publish, Version};
pub use property::{Properties, id};
pub use random::Random;
pub use wire::{Heard, Wire};
