//! Clients without sockets: an outbox that records, a broker driven by hand, time that moves when told.

mod client;
mod journal;
mod log_world;
mod random;
mod traffic;
mod world;

pub use client::{Client, Got, Line, TestOutbox, share};
pub use journal::TestJournal;
pub use log_world::{LogWorld, described_state};
pub use random::Random;
pub use traffic::Traffic;
pub use world::{ConnectOptions, World, subscription};
