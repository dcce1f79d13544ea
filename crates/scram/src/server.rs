//! The server's side.

use crate::credentials::{ScramCredentials, hmac_sha256, sha256};
use crate::message::{attribute, decode, encode, extensions, nonce, text, unescape_name};
use crate::{ScramError, nonce as fresh_nonce};
use subtle::ConstantTimeEq;

/// The client's first message, read.
#[derive(Debug)]
pub struct ClientFirst {
    user: String,
    nonce: String,
    gs2_header: String,
    bare: String,
}

impl ClientFirst {
    /// Reads the message.
    ///
    /// # Errors
    /// When it is malformed or asks for something that is not offered.
    pub fn parse(data: &[u8]) -> Result<Self, ScramError> {
        let message = text(data)?;
        let (binding, rest) = message.split_once(',').ok_or(ScramError::Malformed)?;
        match binding {
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed),
        }
        let (authorize_as, bare) = rest.split_once(',').ok_or(ScramError::Malformed)?;
        let gs2_header = message.strip_suffix(bare).unwrap_or_default().to_owned();
        let mut rest = bare;
        let user = unescape_name(attribute(&mut rest, 'n')?)?;
        let nonce = nonce(attribute(&mut rest, 'r')?)?.to_owned();
        extensions(rest)?;
        if !authorize_as.is_empty() {
            let mut rest = authorize_as;
            if unescape_name(attribute(&mut rest, 'a')?)? != user {
                return Err(ScramError::Authorization);
            }
        }
        Ok(Self { user, nonce, gs2_header, bare: bare.to_owned() })
    }

    /// The user name that the client claims, prepared for look-up.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Challenges the client to prove that it knows the password behind `credentials`. Returns what to expect next
    /// and the message to send.
    ///
    /// # Errors
    /// When there are no random numbers.
    pub fn challenge(self, credentials: ScramCredentials) -> Result<(Challenge, Vec<u8>), ScramError> {
        let server_nonce = fresh_nonce()?;
        Ok(self.challenge_with_nonce(credentials, &server_nonce))
    }

    pub(crate) fn challenge_with_nonce(
        self,
        credentials: ScramCredentials,
        server_nonce: &str,
    ) -> (Challenge, Vec<u8>) {
        let nonce = format!("{}{server_nonce}", self.nonce);
        let salt = encode(&credentials.salt);
        let message = format!("r={nonce},s={salt},i={}", credentials.iterations);
        let transcript = format!("{},{message}", self.bare);
        let gs2_header = self.gs2_header;
        (Challenge { credentials, nonce, gs2_header, transcript }, message.into_bytes())
    }
}

/// A challenge that waits for the client's proof.
#[derive(Debug)]
pub struct Challenge {
    credentials: ScramCredentials,
    nonce: String,
    gs2_header: String,
    /// The first two thirds of what both sides sign.
    transcript: String,
}

impl Challenge {
    /// Checks the client's final message. On success returns the message by which the server proves itself.
    ///
    /// # Errors
    /// When the message is malformed, belongs to another exchange, or the proof is wrong.
    pub fn verify(self, data: &[u8]) -> Result<Vec<u8>, ScramError> {
        let message = text(data)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut rest = without_proof;
        let binding = decode(attribute(&mut rest, 'c')?)?;
        let nonce = attribute(&mut rest, 'r')?;
        extensions(rest)?;
        if binding != self.gs2_header.as_bytes() {
            return Err(ScramError::ChannelBinding);
        }
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let proof: [u8; 32] = decode(proof)?.try_into().map_err(|_| ScramError::Malformed)?;
        let signed = [self.transcript.as_bytes(), b",", without_proof.as_bytes()];
        let signature = hmac_sha256(&self.credentials.stored_key, &signed);
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        if !bool::from(sha256(&client_key).ct_eq(&self.credentials.stored_key)) {
            return Err(ScramError::Proof);
        }
        let server_signature = hmac_sha256(&self.credentials.server_key, &signed);
        Ok(format!("v={}", encode(&server_signature)).into_bytes())
    }
}
