//! The codec of CoAP. What must hold stands beside the crate's own tests, which run it over generated messages.

#[path = "../../../crates/coap/tests/codec/fuzz_bodies.rs"]
mod bodies;

/// Reads `data` as a datagram, as frames of a stream and as a WebSocket message.
pub fn check(data: &[u8]) {
    bodies::check_message(data);
}

/// Reads `data` as a URI, links, measurements and problem details.
pub(crate) fn check_text(data: &[u8]) {
    bodies::check_text(data);
}
