//! The ways in besides plain TCP: TLS, WebSocket, Unix socket, PROXY protocol.
#![allow(clippy::unwrap_used, clippy::panic)]

mod proxy_protocol;
mod stalled_handshakes;
mod tls;
mod unix_socket;
mod websocket;
