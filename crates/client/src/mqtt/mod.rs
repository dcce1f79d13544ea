//! An MQTT client: versions 3.1, 3.1.1 and 5.0 over TCP, TLS, WebSocket and Unix sockets.
//!
//! A [`Client`] is a handle to a task of its own that reads, writes, keeps alive, reconnects and subscribes again.
//! Handles are cheap to clone; operations are builders that are awaited; messages come as bounded streams.
//!
//! ```no_run
//! # async fn example() -> tercet_client::Result<()> {
//! use tercet_client::mqtt::{Client, QoS};
//!
//! let client = Client::connect("mqtt://localhost").await?;
//! let mut lamp = client.subscribe("lamp/+/state").qos(QoS::AtLeastOnce).await?;
//! client.publish("lamp/1/state", "on").qos(QoS::AtLeastOnce).retain(true).await?;
//! let message = lamp.next().await?;
//! assert_eq!(&message.payload[..], b"on");
//! client.disconnect().await;
//! # Ok(()) }
//! ```
//!
//! From the outside in: [`endpoint`](Endpoint) and [`options`](Builder) say where and how, [`authenticator`](Authenticator) as whom; `client` is the handle
//! with its operations `publish`, `subscribe`, `request`; `task` owns the connection that `dial` makes (`tls`,
//! `websocket`), and drives `session`, the state of the protocol without input or output; `wire` translates to and
//! from the codec, `inbox` carries messages to their readers.

mod authenticator;
mod client;
mod command;
mod dial;
mod endpoint;
mod event;
mod inbox;
mod message;
mod options;
mod property;
mod publish;
mod request;
mod routing;
mod session;
mod subscribe;
mod task;
mod tls;
mod websocket;
mod wire;

pub use authenticator::{Authenticator, ScramSha256};
pub use client::{Client, ConnAck, Events};
pub use endpoint::{Address, Endpoint, Scheme};
pub use event::Event;
pub use inbox::Overflow;
pub use message::{Message, Will};
pub use options::{Builder, parse_version};
pub use property::{Properties, Property};
pub use publish::{Ack, Publish, Receipt};
pub use request::Request;
pub use subscribe::{Filter, Grant, Messages, Retained, Subscribe, Subscription};
pub use tercet_mqtt::topic::TopicFilter;
pub use tercet_mqtt::{Limits, QoS, ReasonCode, Version};
pub use tls::{Tls, TlsVersion};
