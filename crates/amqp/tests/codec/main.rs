//! The codec as a whole: properties over all methods and tables, exact answers to malformed frames, other codecs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

mod content;
mod deliveries;
mod differential;
mod fuzz_bodies;
mod malformed;
mod material;
mod round_trip;
mod states;
