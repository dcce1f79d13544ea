//! The AMQP 0-9-1 face: from frames to operations of the core and back.
//!
//! - [`connection`]: how far a connection has come, its time limits and its end; [`handshake`]: until it is open.
//! - [`session`]: an open connection; [`batch`]: the frames of one read, and which channel gets them; [`parent`]: what
//!   channels have of their connection.
//! - [`channel`]: one channel; [`publishing`], [`consuming`], [`getting`], [`declaring`] and [`transaction`] are its parts.
//! - [`outbox`]: what goes out, in one order, and deliveries that are not settled; [`content`]: messages into frames.
//! - [`alarm`]: publishers while memory or disk are short.
//! - [`reply_to`]: replies that go through no queue.
//! - [`fault`]: what a client did wrong, and which close answers it.
//! - [`listing`]: the open connections, for operators.
//! - [`settings`]: what the configuration says.

mod alarm;
mod batch;
mod channel;
pub mod connection;
mod consuming;
mod content;
mod declaring;
mod fault;
mod foreign;
mod getting;
mod handshake;
pub mod listing;
mod outbox;
mod parent;
mod publishing;
mod reply_to;
mod session;
pub mod settings;
mod transaction;

use std::sync::atomic::AtomicU64;

use self::listing::Connections;
use self::reply_to::ReplyConsumers;

/// What all AMQP connections of the server share.
pub struct AmqpShared {
    /// The open connections.
    pub connections: Connections,
    /// Consumers of direct replies.
    reply_to: ReplyConsumers,
    /// The identity of the next connection. Operators' requests act as 0.
    next_connection: AtomicU64,
}

impl Default for AmqpShared {
    fn default() -> Self {
        Self {
            connections: Connections::default(),
            reply_to: ReplyConsumers::default(),
            next_connection: AtomicU64::new(1),
        }
    }
}
