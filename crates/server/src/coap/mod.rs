//! The CoAP face: requests become operations of the core, and what changes there becomes notifications.
//!
//! Every transport hands its messages to the same [`exchange`] pipeline: UDP and DTLS through the message layer of
//! [`tercet_coap`], byte streams without one. All state of a client belongs to the reactor that hears from it.
//!
//! What a resource sees and says:
//! - [`request`], [`caller`]: what is asked, and by whom.
//! - [`answer`], [`response`]: what comes of it: a response now, when the log has it, later, or an observation.
//! - [`context`]: what a resource may use, and tickets for what other threads have to find out first.
//! - [`resources`]: what is served.
//!
//! What else is served:
//! - [`directory`]: what devices serve elsewhere.
//! - [`proxy`]: what other servers answer.
//!
//! What carries it:
//! - [`node`]: the CoAP side of one reactor: sockets, message layer, pipeline, observers.
//! - [`exchange`]: from a request to its answer.
//! - [`observing`]: who is told of what.
//! - [`oscore`]: requests and notifications that are protected end to end.
//! - [`udp`]: sockets and batches of datagrams.
//! - [`dtls`]: sockets whose datagrams are encrypted.
//! - [`stream`]: TCP, TLS and WebSocket.
//! - [`admission`]: who a client is by what its transport proves.
//! - [`outlet`]: through the message layer or onto a stream.
//! - [`peer`]: names of those at the other end.
//! - [`settings`], [`counters`]: what the configuration says, what is counted.

pub mod admission;
pub mod answer;
pub mod caller;
pub mod context;
pub mod counters;
pub mod directory;
pub mod dtls;
pub mod exchange;
pub mod node;
pub mod observing;
pub mod oscore;
pub mod outlet;
pub mod peer;
pub mod proxy;
pub mod request;
pub mod resources;
pub mod response;
pub mod settings;
pub mod stream;
pub mod udp;
