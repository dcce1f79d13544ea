//! OSCORE: requests and responses protected end to end, whatever carries them (RFC 8613).
//!
//! A [`Context`] is derived from [`Parameters`] that both sides know. A client protects a request and keeps the
//! [`Exchange`] to read the responses; a server gets its own from reading the request and protects the responses with it.
//! Who may have many contexts finds the one for a request by the [`Header`] of its OSCORE option.
//!
//! Two things must survive a restart, and the crate has no storage. Of sequence numbers, blocks are reserved:
//! [`Context::sequence`] says how far numbers may be used, and the caller stores a higher bound before granting it
//! (Appendix B.1.1). The replay window is not stored: [`Context::after_restart`] lets the first request be answered
//! with a challenge, whose answer shows where the window has to begin (Appendix B.1.2).
//!
//! The algorithms are AES-CCM-16-64-128 and HKDF with SHA-256, those that everyone has to have.

mod class;
mod conf;
mod context;
mod cose;
mod crypto;
mod error;
mod header;
mod protect;
mod replay;
mod sequence;
mod unprotect;
#[cfg(test)]
mod vectors;

pub use conf::{ConfError, parse_conf};
pub use context::{Context, Exchange, Parameters, Recipient};
pub use error::{ParametersError, ProtectError, UnprotectError};
pub use header::Header;
pub use sequence::Sequence;
pub use unprotect::Request;

/// Greatest length of a Sender ID and a Recipient ID in bytes: what the nonce has room for (RFC 8613 §3.3).
pub const ID_MAX: usize = 7;

/// The first sequence number that must not be used (RFC 8613 §7.2.1); the highest one that fits is left out as well.
pub const SEQUENCE_END: u64 = (1 << 40) - 1;

/// How many sequence numbers behind the highest one are told apart (RFC 8613 §7.4).
pub const REPLAY_WINDOW: u8 = 32;
