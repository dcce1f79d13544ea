//! AMQP 0-9-1 with RabbitMQ's extensions, without I/O.
//!
//! This crate turns bytes into frames and frames into bytes, and keeps the state that the protocol demands of either
//! side of a connection. It has no socket, no clock, no thread and no global state: the caller reads and writes, and
//! passes the time where time matters. It serves clients and servers alike.
//!
//! - [`decode`] borrows from the caller's buffer and allocates nothing. What breaks a rule is an [`Error`] with the
//!   reply code, class and method to answer with. [`Limits`] bound what a peer can make the receiver do.
//! - [`method`] has a struct for every method; each writes itself as a frame. [`field`] has tables that stay encoded and
//!   are looked up in place. [`content`] has the properties of messages, which stay encoded too, the order of header and
//!   body frames, and the splitting of bodies.
//! - [`Opening`] tells the first bytes of a connection apart, [`Tuning`] negotiates, [`Heartbeat`] knows when to send a
//!   sign of life and when the peer is gone.
//! - [`state`] judges who may send what when: [`state::Connection`] for channel 0, [`state::Channel`] for the others.
//! - [`delivery`] keeps delivery tags, publisher confirms and their acknowledgements.
//!
//! # Example
//!
//! ```
//! use tercet_amqp::content::{BasicProperties, write_content};
//! use tercet_amqp::method::basic::Publish;
//! use tercet_amqp::{Limits, Method, Payload, decode};
//!
//! let publish = Publish { exchange: "amq.topic", routing_key: "house.kitchen", ..Publish::default() };
//! let mut list = Vec::new();
//! let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() }.encode(&mut list)?;
//! let mut bytes = Vec::new();
//! write_content(1, &publish.into(), properties, b"21.5", 131_072, &mut bytes)?;
//!
//! // Incomplete input is no error, only not a frame yet.
//! assert_eq!(decode(&bytes[..10], &Limits::default())?, None);
//!
//! let (frame, used) = decode(&bytes, &Limits::default())?.expect("complete");
//! assert_eq!(frame.payload, Payload::Method(Method::BasicPublish(publish)));
//!
//! let (frame, more) = decode(&bytes[used..], &Limits::default())?.expect("complete");
//! let Payload::Header(header) = frame.payload else { unreachable!() };
//! assert_eq!(header.body_size, 4);
//! assert_eq!(header.properties.delivery_mode(), Ok(Some(2)));
//!
//! let (frame, _) = decode(&bytes[used + more..], &Limits::default())?.expect("complete");
//! assert_eq!(frame.payload, Payload::Body(b"21.5"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod frame;
mod heartbeat;
mod limits;
mod protocol_header;
mod reply_code;
mod tuning;
mod wire;

pub mod content;
pub mod delivery;
pub mod field;
pub mod method;
pub mod state;

pub use error::{EncodeError, Error, ErrorKind};
pub use frame::{
    FRAME_END, FRAME_HEADER, Frame, FrameHead, FrameType, Payload, decode, frame_head, write_heartbeat,
};
pub use heartbeat::{Beat, Heartbeat};
pub use limits::{FRAME_FUDGE, FRAME_LEAST, FRAME_MIN, FRAME_OVERHEAD, Limits};
pub use method::{Method, MethodId};
pub use protocol_header::{Opening, PROTOCOL_HEADER};
pub use reply_code::{ReplyCode, Scope};
pub use tuning::Tuning;
