//! CoAP without I/O: messages, options, reliability, block-wise transfer, observation and OSCORE.
//!
//! Sockets, clocks and random numbers are the caller's: times are passed in as [`Time`]. The same code serves clients and
//! servers.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc as _;

/// A point in time, as the time since a moment that the caller chooses once.
pub type Time = core::time::Duration;
