//! See `coap_payloads` in tests/fuzz, whose tests run the same function.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tercet_fuzz_bodies::coap_payloads::check(data));
