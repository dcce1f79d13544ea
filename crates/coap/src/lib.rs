//! CoAP without I/O: messages, options, reliability, block-wise transfer, observation and OSCORE.
//!
//! Sockets, clocks and random numbers are the caller's: times are passed in as [`Time`]. The same code serves clients and
//! servers. Over datagrams, an [`endpoint`] is the message layer; [`block`], [`qblock`], [`observe`] and [`echo`] build on
//! messages, however they travel.
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
