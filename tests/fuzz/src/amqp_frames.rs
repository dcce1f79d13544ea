//! The codec of AMQP and its rules of connection and channel. What must hold stands beside the crate's own tests, which
//! run it over generated frames.

#[path = "../../../crates/amqp/tests/codec/fuzz_bodies.rs"]
mod bodies;

/// Reads `data` as a stream of frames, and as properties.
pub fn check(data: &[u8]) {
    bodies::check_decode(data);
}
