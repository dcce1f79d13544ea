//! CoAP without I/O: messages, options, reliability, block-wise transfer, observation and OSCORE.
//!
//! Sockets, clocks and random numbers are the caller's: times are passed in as [`Time`]. The same code serves clients and
//! servers.
//!
//! - [`datagram::decode`] and [`stream::decode`] borrow from the caller's buffer and allocate nothing. [`Message`] is what
//!   all transports carry; [`Malformed::reaction`] is what a datagram that is none is answered with. [`Limits`] bound what
//!   a peer can make the receiver do.
//! - [`Writer`] appends a message in one pass; [`OwnedMessage`] is one to keep and to change. [`option`] has the registry.
//! - [`endpoint`] is the message layer of either side over datagrams, [`stream::Connection`] the rules of a connection.
//!   [`block`], [`qblock`], [`observe`] and [`echo`] are what a server or client builds on them, [`oscore`] protects messages end to
//!   end.
//! - [`uri`], [`content_format`], [`link_format`], [`senml`] and [`problem`] read and write what messages are about.
//!
//! # Example
//!
//! ```
//! use tercet_coap::{Code, Kind, Limits, Number, Writer, datagram};
//!
//! let mut bytes = Vec::new();
//! Writer::datagram(&mut bytes, Kind::Confirmable, 0x7D34, Code::GET, b"token")
//!     .text(Number::URI_PATH, "sensors")
//!     .text(Number::URI_PATH, "temperature")
//!     .uint(Number::ACCEPT, 50);
//!
//! let received = datagram::decode(&bytes, &Limits::default())?;
//! assert_eq!((received.kind, received.message.code), (Kind::Confirmable, Code::GET));
//! assert_eq!(received.message.path().collect::<Vec<_>>(), [&b"sensors"[..], b"temperature"]);
//! assert_eq!(received.message.options.uint(Number::ACCEPT), Some(50));
//! # Ok::<(), tercet_coap::Malformed>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod code;
mod keyed_hash;
mod limits;
mod message;

pub mod block;
pub mod content_format;
pub mod datagram;
pub mod echo;
pub mod endpoint;
pub mod link_format;
pub mod observe;
pub mod option;
pub mod oscore;
pub mod problem;
pub mod qblock;
pub mod reliability;
pub mod senml;
pub mod stream;
pub mod uri;

pub use code::{Code, CodeKind};
pub use content_format::ContentFormat;
pub use limits::Limits;
pub use message::{
    Datagram, FormatError, Kind, Malformed, Message, OwnedMessage, Reaction, Token, TokenTooLong, Writer,
};
pub use option::{Number, OptionBuf, Options};

/// A point in time, as the time since a moment that the caller chooses once.
pub type Time = core::time::Duration;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
