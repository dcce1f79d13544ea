//! A CoAP client and server: UDP, DTLS, TCP, TLS, WebSocket and OSCORE; block-wise transfer, observation, discovery.
//!
//! A [`Client`] is a handle to a task of its own that sends, repeats, connects again. Handles are cheap to clone;
//! requests are builders that are awaited; observations are streams that keep themselves alive.
//!
//! ```no_run
//! # async fn example() -> tercet_client::coap::Result<()> {
//! use tercet_client::coap::{Client, ContentFormat};
//!
//! let client = Client::connect("coap://localhost").await?;
//! client.put("/ps/lamp/state").content_format(ContentFormat::TEXT).payload("on").await?;
//! let state = client.get("/ps/lamp/state").await?;
//! assert_eq!(state.text(), Some("on"));
//! let mut states = client.get("/ps/lamp/state").observe().await?;
//! while let Some(state) = states.next().await {
//!     println!("{}", state?.text().unwrap_or("(binary)"));
//! }
//! # Ok(()) }
//! ```
//!
//! From the outside in: `address` and [`builder`](Builder) say where and how; `client` is the handle with its
//! operations `request`, `observation`, `discovery`; `transfer` turns whole bodies into single messages, `channel`
//! carries those and protects them (`oscore`), and `link` is the task with the transport: `datagram_port` and the message layer of `tercet-coap`, or
//! `stream_port`, for which `dial` and `websocket` make the connection. [`server`] is the other side.

mod address;
mod builder;
mod channel;
mod client;
mod datagram_port;
mod dial;
mod discovery;
mod error;
mod inbox;
mod link;
mod message;
mod observation;
mod oscore;
mod request;
mod response;
pub mod server;
mod stream_port;
mod transfer;
mod websocket;

pub use crate::mqtt::{Tls, TlsVersion};
pub use builder::Builder;
pub use client::Client;
pub use discovery::{ask_group, links};
pub use error::{Error, Result};
pub use observation::Observation;
pub use oscore::Oscore;
pub use request::Request;
pub use response::Response;
pub use tercet_coap::link_format::Link;
pub use tercet_coap::option::Format as OptionFormat;
pub use tercet_coap::oscore::Parameters as OscoreParameters;
pub use tercet_coap::uri::{Host, Scheme, Uri};
pub use tercet_coap::{Code, ContentFormat, Number, Options, Token};
