//! The CoAP face over raw datagrams and streams: what a correct library never sends, and what it never does in this order.
//!
//! `INTEROP_COAP=127.0.0.1:5683 cargo test -p tercet-interop --test coap malformed` holds the tables against another
//! server (`coap-server-notls -d 1000`), `... streams` what is said by TCP.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::indexing_slicing)]

mod bursts;
mod classes;
mod devices;
mod durable;
mod exchanges;
mod hostile;
mod malformed;
mod plugtests;
mod server;
mod streams;
mod table;
mod wire;
