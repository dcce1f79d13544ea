//! Reliable transports: the format and the signals of RFC 8323, for TCP, TLS and WebSocket.

mod connection;
mod decode;
pub(crate) mod framing;
mod signal;

pub use connection::{Connection, Received};
pub use decode::{Error, decode, decode_websocket};
pub use signal::{AbortReason, Signal, SignalError, SignalOption};

/// The Max-Message-Size of one whose CSM announces none (RFC 8323 §5.3.1).
pub const BASE_MESSAGE_SIZE: u32 = 1152;

/// The subprotocol of CoAP over WebSocket (RFC 8323 §4.1).
pub const WEBSOCKET_SUBPROTOCOL: &str = "coap";

/// The path at which CoAP over WebSocket is found (RFC 8323 §4.1).
pub const WEBSOCKET_PATH: &str = "/.well-known/coap";

/// The ALPN identifier of CoAP over TLS (RFC 8323 §11.7).
pub const ALPN: &[u8] = b"coap";
