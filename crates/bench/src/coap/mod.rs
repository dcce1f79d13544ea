//! The CoAP load: requests encoded once and patched, a socket for each client, answers checked.
//!
//! [`wire`] is a deliberately small codec of its own: a load generator that shared the broker's codec would
//! share its mistakes. [`Fleet`] owns the clients and does what the message layer demands of them (Message
//! IDs, retransmission, acknowledgements); a [`Script`] says what they ask for and judges the answers.
//! [`scripts`] holds what the scenarios play; [`Session`] puts DTLS below any of it, and [`Handshakes`] does
//! nothing but shake hands.

mod client;
mod fleet;
mod handshakes;
mod mail;
mod readiness;
pub mod scripts;
mod session;
pub mod wire;

pub use client::Security;
pub use fleet::Fleet;
pub use handshakes::Handshakes;
pub use mail::Mail;
pub use session::{IDENTITY, KEY, Session, server_engine};

use wire::Datagram;

/// What clients do.
pub trait Script {
    /// Writes a client's next datagrams, of which the last is a request whose answer is awaited.
    fn ask(&mut self, client: usize, mail: &mut Mail) -> Turn;

    /// Judges the answer to a client's last request, and tells how many units of work are done by it.
    ///
    /// # Errors
    /// When it is not what the request should have brought.
    fn answered(&mut self, client: usize, answer: &Datagram<'_>) -> Result<u64, Wrong>;

    /// The same for a notification to a client; `now` is the fleet's clock, in nanoseconds.
    ///
    /// # Errors
    /// When nobody asked for it.
    fn notified(&mut self, _client: usize, answer: &Datagram<'_>, _now: u64) -> Result<Notified, Wrong> {
        Err(Wrong::of(answer))
    }
}

/// What a client does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It has written what it asks.
    Asked,
    /// It waits for others.
    Waits,
    /// It asks no more.
    Ended,
}

/// A notification that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notified {
    /// Units of work done by it.
    pub units: u64,
    /// When the change that it tells of was asked for, by the fleet's clock; `None` when that is of no interest.
    pub since: Option<u64>,
}

/// An answer that should not have come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

impl Wrong {
    /// Its code and the beginning of its payload.
    pub fn of(answer: &Datagram<'_>) -> Self {
        let payload = answer.payload();
        let text = String::from_utf8_lossy(&payload[..payload.len().min(60)]);
        Wrong(format!("answered {} {text}", wire::code::dotted(answer.code)).trim().to_owned())
    }
}
