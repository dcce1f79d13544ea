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
//! From the outside in: [`endpoint`](Endpoint) and [`options`](Builder) say where and how; `client` is the handle
//! with its operations `publish`, `subscribe`, `request`; `task` owns the connection that `dial` makes (`tls`,
//! `websocket`), and drives `session`, the state of the protocol without input or output; `wire` translates to and
//! from the codec, `inbox` carries messages to their readers.

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

use bytes::Bytes;

/// Answers the challenges of enhanced authentication (MQTT 5 §4.12).
pub trait Authenticator: Send + Sync {
    /// The Authentication Method.
    fn method(&self) -> &str;

    /// The Authentication Data of CONNECT, at most 65,535 bytes.
    fn start(&self) -> Option<Bytes>;

    /// The answer to a challenge.
    ///
    /// # Errors
    /// A text that says why there is no answer; the connection then fails.
    fn challenge(&self, data: &[u8]) -> Result<Bytes, String>;

    /// Judges the data that the server sent with its success, such as its own proof.
    ///
    /// # Errors
    /// A text that says what is wrong; the connection then fails.
    fn success(&self, data: &[u8]) -> Result<(), String> {
        let _ = data;
        Ok(())
    }
}
