//! The PROXY protocol, versions 1 (text) and 2 (binary), as HAProxy's `proxy-protocol.txt` defines it: a header in
//! front of the stream by which a proxy tells whom it relays. Sans-IO.
//!
//! Anyone who may send such a header may claim to be anyone, so it is only read from [`TrustedProxies`], and a
//! connection from a trusted proxy without a valid header is closed rather than guessed at.
//!
//! ```
//! use tercet_net::proxy_protocol::{HeaderDecoder, Progress};
//!
//! let mut decoder = HeaderDecoder::new();
//! let bytes = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n\x10\x0e";
//! let Progress::Complete { header, used } = decoder.feed(bytes)? else { panic!("it is all there") };
//! let client = header.proxied.and_then(|proxied| proxied.client);
//! assert_eq!(client.map(|client| client.to_string()).as_deref(), Some("192.0.2.7:50000"));
//! assert_eq!(&bytes[used..], b"\x10\x0e");
//! # Ok::<(), tercet_net::proxy_protocol::ProxyError>(())
//! ```

mod binary;
mod cidr;
mod decoder;
mod text;

pub use cidr::{Cidr, CidrError, TrustedProxies, Versions};
pub use decoder::{Header, HeaderDecoder, Progress, ProxyError};
