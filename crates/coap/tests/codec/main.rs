//! The codec as a whole, from outside: properties over generated messages, exact reactions to malformed ones, other
//! codecs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

mod differential;
mod fuzz_bodies;
mod malformed;
mod material;
mod round_trip;
mod streams;
