//! Datagrams: sockets that share a port, and batches of what they receive and send.
//!
//! - [`socket`]: one socket per reactor, bound to the same address.
//! - [`batch`]: many datagrams with one system call.

pub mod batch;
pub mod socket;
