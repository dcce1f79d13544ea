//! See `check_decode` in the tests of tercet-mqtt, which run the same function.
#![no_main]

#[allow(dead_code)]
#[path = "../../crates/mqtt/tests/codec/fuzz_bodies.rs"]
mod fuzz_bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_bodies::check_decode(data));
