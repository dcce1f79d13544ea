//! See `dtls_datagrams` in tests/fuzz, whose tests run the same function.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tercet_fuzz_bodies::dtls_datagrams::check(data));
