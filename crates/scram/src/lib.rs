//! SCRAM-SHA-256 (RFC 5802, RFC 7677) without I/O: both sides, as chains of values that can only be used in order.
//!
//! Server: [`ClientFirst::parse`] → [`ClientFirst::challenge`] → [`Challenge::verify`].
//! Client: [`ScramClient::new`] → [`ScramClient::answer`] → [`ServerCheck::verify`].
//!
//! What it is: the messages, their checks, and the [`ScramCredentials`] that a server stores. What it is not: a user
//! store, a limit on attempts, or a carrier of the messages: MQTT 5 takes them as Authentication Data, other protocols
//! through SASL.
//!
//! There is no channel binding: a client that demands it (`p=`) is refused, one that merely supports it (`y`) is
//! welcome, since `SCRAM-SHA-256-PLUS` is never offered. Mandatory extensions (`m=`) are refused and unknown optional
//! ones are ignored, as RFC 5802 §5.1 says.
//!
//! ```
//! use tercet_scram::{ClientFirst, DEFAULT_ITERATIONS, ScramClient, ScramCredentials};
//!
//! // What the server stored when the user was created.
//! let stored = ScramCredentials::derive(b"pencil", DEFAULT_ITERATIONS)?;
//!
//! let (client, first) = ScramClient::new("ann", "pencil".into())?;
//! let received = ClientFirst::parse(&first)?;
//! assert_eq!(received.user(), "ann");
//! let (challenge, question) = received.challenge(stored)?;
//! let (server, answer) = client.answer(&question)?;
//! let proof = challenge.verify(&answer)?; // now the server knows the client
//! server.verify(&proof)?; // and the client the server
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod client;
mod credentials;
mod message;
mod secret;
mod server;

pub use client::{ScramClient, ServerCheck};
pub use credentials::{
    DEFAULT_ITERATIONS, MAX_ITERATIONS, MIN_ITERATIONS, ScramCredentials, ScramCredentialsError,
};
pub use secret::Secret;
pub use server::{Challenge, ClientFirst};

/// Name of the method, as it stands in MQTT's Authentication Method property.
pub const METHOD: &str = "SCRAM-SHA-256";

/// Longest message accepted, in bytes.
const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// Bytes of randomness in a nonce.
const NONCE_BYTES: usize = 18;

/// Why an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// The message is not what RFC 5802 §7 describes.
    #[error("malformed SCRAM message")]
    Malformed,
    /// The client demands channel binding.
    #[error("channel binding is not supported")]
    ChannelBinding,
    /// The message carries a mandatory extension, and none is known.
    #[error("unknown mandatory SCRAM extension")]
    Extension,
    /// The client wants to act as somebody else.
    #[error("acting as another user is not supported")]
    Authorization,
    /// The nonce is not the one that was agreed on.
    #[error("the SCRAM nonce does not match")]
    Nonce,
    /// The user name or password contains characters that SASLprep prohibits.
    #[error("user name or password contains characters that SCRAM does not allow")]
    Text,
    /// The server demands too few or too many iterations.
    #[error("the server's iteration count is out of range")]
    Iterations,
    /// The other side did not prove that it knows the password (or the keys made from it).
    #[error("the proof is wrong")]
    Proof,
    /// The server refused the client and says why (RFC 5802 §7, `server-error`).
    #[error("the server refused the login")]
    Refused,
    /// The system's random number generator failed.
    #[error("the system has no random numbers")]
    NoRandom,
}

/// A fresh nonce: printable, without comma.
fn nonce() -> Result<String, ScramError> {
    use base64::Engine as _;
    let mut random = [0_u8; NONCE_BYTES];
    getrandom::fill(&mut random).map_err(|_| ScramError::NoRandom)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(random))
}

#[cfg(test)]
mod tests;
