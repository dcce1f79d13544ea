//! Whole transports over loopback sockets, driven by an edge-triggered loop as a reactor does it.

mod pair;
mod plain;
mod proxy;
mod tls;
mod websocket;

use super::*;

#[test]
fn a_transport_is_small() {
    // In debug builds mio adds bookkeeping to its sockets.
    let limit = if cfg!(debug_assertions) { 80 } else { 64 };
    assert!(size_of::<Transport>() <= limit, "{}", size_of::<Transport>());
}
