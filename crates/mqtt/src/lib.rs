//! MQTT 3.1, 3.1.1 and 5.0 without I/O.
//!
//! This crate turns bytes into packets and packets into bytes, and keeps the state that the protocol demands of either
//! side of a connection. It has no socket, no clock, no thread and no global state: the caller reads and writes, and
//! passes the time where time matters. It serves clients and servers alike.
//!
//! - [`decode`] borrows from the caller's buffer and allocates nothing. What it returns has been validated completely;
//!   what breaks a rule is a [`DecodeError`] that names the rule and the reason code to answer with. [`Limits`] bound
//!   what a peer can make the receiver do.
//! - [`encode`] writes any packet in one pass; [`PublishHeader`] and [`write_ack`] are the short ways for those who send
//!   many messages.
//! - [`topic`] has the rules of names and filters, [`property`] the properties of MQTT 5.0.
//! - The state machines: [`Allocator`] for packet identifiers, [`inflight`] for QoS 1 and 2 in both directions,
//!   [`alias`] for topic aliases, [`keep_alive`], [`session_expiry`].
//!
//! # Example
//!
//! ```
//! use tercet_mqtt::property::PublishProperties;
//! use tercet_mqtt::{Limits, Packet, Publish, Version, decode, encode};
//!
//! let publish = Publish {
//!     retain: true,
//!     properties: PublishProperties {
//!         content_type: Some("text/plain"),
//!         user_properties: (&[("unit", "celsius")]).into(),
//!         ..Default::default()
//!     },
//!     ..Publish::new("house/kitchen/temperature", b"21.5")
//! };
//! let mut bytes = Vec::new();
//! encode(&Packet::Publish(publish), Version::V5, &mut bytes)?;
//!
//! // Incomplete input is no error, only not a packet yet.
//! assert_eq!(decode(&bytes[..10], Version::V5, &Limits::default())?, None);
//!
//! let (packet, used) = decode(&bytes, Version::V5, &Limits::default())?.expect("complete");
//! assert_eq!(used, bytes.len());
//! assert_eq!(packet, Packet::Publish(publish));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod codec;
mod error;
mod frame;
mod limits;
mod packet;
mod packet_id;
mod qos;
mod reason;
mod version;
mod wire;

pub mod alias;
pub mod inflight;
pub mod keep_alive;
pub mod property;
pub mod session_expiry;
pub mod topic;

pub use codec::{decode, encode, encoded_len};
pub use error::{DecodeError, EncodeError, ErrorKind};
pub use frame::{PacketType, frame_length};
pub use limits::Limits;
pub use packet::{
    Ack, AckKind, Auth, ConnAck, Connect, Disconnect, Filters, FiltersIter, Packet, Publish, PublishHeader,
    ReasonCodes, ReasonCodesIter, RetainHandling, SubAck, Subscribe, SubscribeOptions, Subscription,
    Subscriptions, SubscriptionsIter, UnsubAck, Unsubscribe, Will, write_ack,
};
pub use packet_id::{Allocator, PacketId};
pub use property::{PayloadFormat, SubscriptionId};
pub use qos::{InvalidQoS, QoS};
pub use reason::{ReasonCode, UnknownReasonCode};
pub use version::Version;
