//! The Tercet client library.
//!
//! What it is: async clients for the protocols that Tercet speaks, usable with any broker of theirs. Each protocol has
//! a module; [`Backoff`] is common to all, [`Error`] is that of MQTT, `coap::Error` that of CoAP.
//!
//! What it is not: a broker, and nothing of one. It runs on tokio, on one thread or several.
#![forbid(unsafe_code)]

mod backoff;
#[cfg(feature = "coap")]
pub mod coap;
mod error;
pub mod mqtt;

pub use backoff::Backoff;
pub use error::{Error, Result};
