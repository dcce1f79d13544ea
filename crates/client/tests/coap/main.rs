//! The CoAP client and server of this library against each other and against libcoap, over every transport, with datagrams
//! that are lost, doubled and overtaken.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which fail by panicking")]

mod libcoap;
mod loss;
mod observing;
mod relay;
mod routing;
mod security;
mod transports;
mod world;
