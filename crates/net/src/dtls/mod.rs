//! DTLS 1.2 for datagram sockets, without input or output: pre-shared keys (`PSK_AES128_CCM_8`) and ECDSA certificates.
//!
//! The record layer and the handshake are those of [dimpl]; what lies around them is here. A server runs one
//! [`DtlsAcceptor`] per socket. It answers a ClientHello without a valid cookie from the datagram alone
//! (RFC 6347 §4.2.1), so spoofed sources leave nothing behind; it lets a peer that lost its state begin anew from the
//! same address, and keeps the association it has until the new one is proven (RFC 6347 §4.2.8); and it bounds
//! handshakes, peers and idle time. A client runs one [`DtlsSession`] made by [`DtlsSession::connect`].
//!
//! What is missing, because dimpl lacks it: connection ids (RFC 9146), raw public keys, `ECDHE_ECDSA_AES128_CCM_8`,
//! RSA, resumption, and chains: each side shows its own certificate alone, and of the peer's chain only the first
//! certificate is seen, so intermediate authorities belong into the file of trusted ones. A client without the
//! extended master secret (RFC 7627) is refused. A ClientHello in fragments gets no answer, since putting it together
//! would be state.

mod acceptor;
mod client;
mod cookie;
mod error;
mod hello;
mod keys;
mod provider;
mod record;
mod server;
mod session;

pub use acceptor::{Association, DtlsAcceptor, DtlsLimits, DtlsPeer, DtlsSink, PeerGone};
pub use client::{DtlsClientConfig, DtlsClientSettings, DtlsCredentials};
pub use error::DtlsError;
pub use keys::{PskError, PskKeys};
pub use server::{DtlsServerConfig, DtlsServerSettings, ReloadableDtlsServerConfig};
pub use session::{DtlsIdentity, DtlsSession, SessionEvent};

#[cfg(test)]
mod tests;
