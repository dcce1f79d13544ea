//! The client's side.

use crate::credentials::{ClientKeys, ScramCredentialsError, hmac_sha256};
use crate::message::{attribute, decode, encode, escape_name, extensions, nonce, prepare_name, text};
use crate::secret::Secret;
use crate::{ScramError, nonce as fresh_nonce};
use subtle::ConstantTimeEq;

/// What a client without channel binding announces.
const GS2_HEADER: &str = "n,,";

/// A login that was begun: the first message is sent, the server's challenge is awaited.
#[derive(Debug)]
pub struct ScramClient {
    password: Secret,
    nonce: String,
    bare: String,
}

impl ScramClient {
    /// Begins a login. Returns what to expect next and the message to send.
    ///
    /// # Errors
    /// When the user name has characters that SASLprep prohibits, or there are no random numbers.
    pub fn new(user: &str, password: Secret) -> Result<(Self, Vec<u8>), ScramError> {
        Self::with_nonce(user, password, fresh_nonce()?)
    }

    pub(crate) fn with_nonce(
        user: &str,
        password: Secret,
        nonce: String,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let name = escape_name(&prepare_name(user)?);
        let bare = format!("n={name},r={nonce}");
        let message = format!("{GS2_HEADER}{bare}").into_bytes();
        Ok((Self { password, nonce, bare }, message))
    }

    /// Answers the server's challenge. This hashes the password as many times as the server demands.
    ///
    /// # Errors
    /// When the challenge is malformed, belongs to another exchange, or demands fewer than 4,096 or more than
    /// 1,000,000 iterations; when the password has characters that SASLprep prohibits.
    pub fn answer(self, server_first: &[u8]) -> Result<(ServerCheck, Vec<u8>), ScramError> {
        let message = text(server_first)?;
        let mut rest = message;
        let combined = nonce(attribute(&mut rest, 'r')?)?;
        let salt = decode(attribute(&mut rest, 's')?)?;
        let iterations = attribute(&mut rest, 'i')?;
        extensions(rest)?;
        if !combined.starts_with(&self.nonce) || combined.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        if !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ScramError::Malformed);
        }
        let iterations = iterations.parse().map_err(|_| ScramError::Iterations)?;
        let keys =
            ClientKeys::derive(self.password.expose(), iterations, &salt).map_err(|error| match error {
                ScramCredentialsError::Iterations => ScramError::Iterations,
                _ => ScramError::Text,
            })?;
        let without_proof = format!("c={},r={combined}", encode(GS2_HEADER.as_bytes()));
        let signed = [self.bare.as_bytes(), b",", message.as_bytes(), b",", without_proof.as_bytes()];
        let mut proof = hmac_sha256(&keys.stored_key(), &signed);
        proof.iter_mut().zip(keys.client_key).for_each(|(byte, key)| *byte ^= key);
        let expected = hmac_sha256(&keys.server_key, &signed);
        let answer = format!("{without_proof},p={}", encode(&proof)).into_bytes();
        Ok((ServerCheck { expected }, answer))
    }
}

/// The client's proof is sent; the server has still to prove itself.
pub struct ServerCheck {
    expected: [u8; 32],
}

impl ServerCheck {
    /// Checks the server's final message. Only after this is the server known to be the real one.
    ///
    /// # Errors
    /// When the server refuses, or cannot prove that it knows the user.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ScramError> {
        let mut rest = text(server_final)?;
        if rest.starts_with("e=") {
            return Err(ScramError::Refused);
        }
        let signature = decode(attribute(&mut rest, 'v')?)?;
        extensions(rest)?;
        if bool::from(signature.as_slice().ct_eq(&self.expected)) { Ok(()) } else { Err(ScramError::Proof) }
    }
}
