//! Clients that misuse the broker: memory stays bounded and the others do not notice.
#![allow(clippy::unwrap_used, clippy::panic)]

mod connections;
mod crash_storm;
mod memory_budget;
mod mutations;
mod retained_stream;
mod slow_subscriber;
mod slow_writer;
mod witness;
