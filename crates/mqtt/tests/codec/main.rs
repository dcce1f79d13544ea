//! Tests of the codec and the state machines from outside, in one program so that they link once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole program is a test")]

mod differential;
mod fuzz_bodies;
mod fuzz_targets;
mod lossy_link;
mod malformed;
mod material;
mod round_trip;
