//! Transports for servers and clients: TCP, TLS, WebSocket, Unix sockets and the PROXY protocol.
//!
//! What it is: the piece between a socket and a protocol codec. Everything is non-blocking and, where possible,
//! does no input or output of its own.
//!
//! What it is not: an event loop, an async runtime or an HTTP server.
#![forbid(unsafe_code)]

#[cfg(unix)]
pub mod listen;
pub mod peer;
pub mod proxy_protocol;
#[cfg(unix)]
pub mod socket;
pub mod tls;
#[cfg(unix)]
pub mod transport;
pub mod websocket;

#[cfg(unix)]
pub use listen::{ListenAddress, ListenError, Listener, TcpOptions, UnixOptions};
pub use peer::{Peer, PeerAddress, ProxiedPeer};
#[cfg(unix)]
pub use socket::Socket;
#[cfg(unix)]
pub use transport::{Received, Transport};
