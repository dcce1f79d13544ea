//! Reactors: one thread per core that owns its connections and does all their I/O.
//!
//! A turn of a reactor: wait for events; read each ready connection once into shared scratch and hand the bytes
//! to its face; then write every connection that got output, its own and those that other reactors woke. A
//! connection is written at most once per turn however many messages it got, and owns no buffer while idle.
//!
//! - [`event_loop`]: the turn; [`reading`], [`writing`] and [`closing`] are its parts.
//! - [`connection`]: one connection: transport, unfinished input, unwritten output, face.
//! - [`face`]: the protocol of a connection, and what reactor and protocol say to each other.
//! - [`output`]: writing, and what the socket has not taken yet.
//! - [`durability`]: what waits for the log, and what is done when it has moved.
//! - [`coap`]: what the CoAP face does in a turn.
//! - [`inbox`]: how other threads reach a reactor.
//! - [`wheel`]: time limits of connections.
//! - [`acceptor`]: listening sockets and where new connections go.

pub mod acceptor;
mod closing;
mod coap;
pub mod connection;
mod durability;
pub mod event_loop;
pub mod face;
pub mod inbox;
pub mod output;
mod reading;
pub mod wheel;
mod writing;
