//! Transports for servers and clients: TCP, TLS, WebSocket, Unix sockets and the PROXY protocol.
//!
//! **What it is**: the piece between a socket and a protocol codec, for programs that run their own event loop and
//! count bytes per idle connection. A [`Transport`] carries a byte stream over any mix of layers; while plain it
//! holds nothing but the descriptor and the peer's address, with TLS or WebSocket a bounded amount. The framing,
//! the handshakes and the parsers below it ([`websocket`], [`proxy_protocol`]) do no input or output, and the
//! [`tls`] configurations are plain rustls, so that async programs can use them too.
//!
//! **What it is not**: an event loop (it goes into one made of mio), an async runtime, an HTTP server (it judges an
//! upgrade request that another has parsed), or a home for timeouts: a connection that is silent, or slow to finish
//! its handshake, has to be cut by the caller.
//!
//! [`Listener`], [`Socket`] and [`Transport`] exist on Unix systems only; the rest everywhere.
//!
//! # Example
//!
//! An edge-triggered echo server for one connection:
//!
//! ```
//! # #[cfg(not(unix))] fn main() {}
//! # #[cfg(unix)]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::io::IoSlice;
//!
//! use mio::{Events, Interest, Poll, Token};
//! use tercet_net::{Listener, Received, TcpOptions, Transport};
//!
//! let mut poll = Poll::new()?;
//! let mut listener = Listener::bind_tcp(&TcpOptions::new("127.0.0.1:0".parse()?))?;
//! poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
//! # let address = listener.tcp_address().ok_or("no address")?;
//! # let client = std::thread::spawn(move || -> std::io::Result<Vec<u8>> {
//! #     use std::io::{Read, Write};
//! #     let mut stream = std::net::TcpStream::connect(address)?;
//! #     stream.write_all(b"hello")?;
//! #     stream.shutdown(std::net::Shutdown::Write)?;
//! #     let mut echoed = Vec::new();
//! #     stream.read_to_end(&mut echoed)?;
//! #     Ok(echoed)
//! # });
//!
//! let mut events = Events::with_capacity(64);
//! // One scratch serves all connections of a thread.
//! let mut scratch = vec![0; 256 * 1024];
//! let mut connection: Option<Transport> = None;
//! 'serve: loop {
//!     poll.poll(&mut events, None)?;
//!     for event in &events {
//!         if event.token() == Token(0) {
//!             while let Some(mut transport) = listener.accept_transport()? {
//!                 let both = Interest::READABLE | Interest::WRITABLE;
//!                 poll.registry().register(&mut transport, Token(1), both)?;
//!                 connection = Some(transport);
//!             }
//!             continue;
//!         }
//!         let Some(transport) = &mut connection else { continue };
//!         loop {
//!             match transport.receive(&mut scratch)? {
//!                 Received::Data(n) | Received::More(n) => {
//!                     // A real server keeps what is not taken and sends it on the next writable event.
//!                     transport.send(&[IoSlice::new(&scratch[..n])])?;
//!                 }
//!                 Received::WouldBlock => break,
//!                 Received::Closed => break 'serve,
//!             }
//!         }
//!     }
//! }
//! drop(connection);
//! # assert_eq!(client.join().map_err(|_| "client failed")??, b"hello");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod dtls;
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
