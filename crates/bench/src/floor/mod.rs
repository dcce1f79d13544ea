//! The floor program: what a broker would cost if it had no features.
//!
//! One thread reads large buffers, finds packet boundaries and topics, copies each PUBLISH into the buffers of
//! the exact-topic subscribers, and writes each touched connection once per turn of the loop. It checks
//! nothing, keeps no sessions and trusts its clients: never expose it. For CoAP it is even less: [`serve_coap`].

mod datagrams;
mod router;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::{EventLoop, Interrupt};
pub use datagrams::{serve_coap, serve_coaps};
use router::Router;

/// Binds `addr`, tells `ready` the address, and serves until interrupted.
///
/// # Errors
/// When the address cannot be bound or polling fails.
pub fn serve(addr: SocketAddr, interrupt: &Interrupt, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let mut events = EventLoop::new()?;
    ready(events.listen(addr)?);
    let mut router = Router::default();
    while !interrupt.is_raised() {
        events.turn(Some(Duration::from_millis(200)), &mut router)?;
    }
    Ok(())
}
