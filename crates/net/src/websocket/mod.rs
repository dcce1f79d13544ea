//! WebSocket (RFC 6455) for carrying a byte stream, without input or output of its own.
//!
//! [`accept`] judges an upgrade request that an HTTP server has parsed, [`ClientHandshake`] writes one and judges
//! the answer; after either, a [`Codec`] turns received bytes into application bytes **in place** and frames what
//! is sent. Frame boundaries mean nothing to the application: payload is handed out as it arrives, so no frame,
//! however long, is ever collected in memory.
//!
//! It speaks binary messages only, and no extension: compression is refused by not being negotiated. That is all
//! MQTT over WebSocket needs ([MQTT-6.0.0-1], [MQTT-6.0.0-2]).
//!
//! ```
//! use tercet_net::websocket::{Codec, Limits, Outcome, Role};
//!
//! let mut client = Codec::new(Role::Client, Limits::default());
//! let mut server = Codec::new(Role::Server, Limits::default());
//! let mut wire = Vec::new();
//! client.encode(b"hello", &mut wire)?;
//! let decoded = server.decode(&mut wire);
//! assert_eq!(decoded.outcome, Outcome::Open);
//! assert_eq!(&wire[..decoded.len], b"hello");
//! # Ok::<(), std::io::Error>(())
//! ```

mod client_handshake;
mod codec;
mod decoder;
mod error;
mod frame;
mod mask;
mod server_handshake;

pub use client_handshake::{ClientHandshake, ClientHandshakeError, Established, MAX_RESPONSE};
pub use codec::Codec;
pub use decoder::{Control, Decoded, Decoder, Outcome};
pub use error::{CloseCode, ProtocolError};
pub use frame::{FrameHeader, HeaderBytes, MAX_CONTROL_PAYLOAD, MAX_HEADER, Opcode};
pub use mask::apply_mask;
pub use server_handshake::{Accepted, OriginPolicy, Refusal, ServerOptions, accept, accept_key};

/// Which end of the connection we are. Clients mask what they send, servers must not (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection: frames that arrive must be masked.
    Server,
    /// We opened the connection: frames that arrive must not be masked.
    Client,
}

/// What a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest payload of one data frame in bytes; a longer one is refused with 1009 as soon as its header is seen.
    /// It costs no memory either way.
    pub max_frame: u64,
}

impl Default for Limits {
    /// 256 MiB, a little less than the longest MQTT packet.
    fn default() -> Self {
        Self { max_frame: 256 * 1024 * 1024 }
    }
}
