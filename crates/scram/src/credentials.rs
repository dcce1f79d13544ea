//! What a server stores to check SCRAM-SHA-256 logins (RFC 5802 §3, RFC 7677): neither the password nor anything
//! that could be used to log in elsewhere.
//!
//! Text form, one field of a password file line:
//! `$scram-sha-256$<iterations>$<salt>$<StoredKey>$<ServerKey>`, the last three in standard base64.
//!
//! The client does the slow hashing in SCRAM, and an embedded client has to bear it, so the iteration count is far
//! below what Argon2id costs an attacker who stole the file. Store SCRAM credentials for users who need them.

use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The kind of field.
const TAG: &str = "scram-sha-256";

/// Fewest iterations a server may demand (RFC 7677 §4).
pub const MIN_ITERATIONS: u32 = 4_096;
/// Most iterations accepted, from a file or from a server.
pub const MAX_ITERATIONS: u32 = 1_000_000;
/// Iterations of new credentials.
pub const DEFAULT_ITERATIONS: u32 = 10_000;
/// Length of a new salt in bytes.
const SALT_BYTES: usize = 16;
/// Longest salt accepted from a file, in bytes; two blocks of SHA-256, which a decoy has.
const MAX_SALT_BYTES: usize = 64;

/// A SHA-256 sized key.
pub(crate) type Key = [u8; 32];

/// Stored SCRAM-SHA-256 credentials of one user.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredentials {
    pub(crate) iterations: u32,
    pub(crate) salt: Box<[u8]>,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
}

/// Why SCRAM credentials were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramCredentialsError {
    /// The text form is wrong.
    #[error("malformed SCRAM credentials, expected `${TAG}$iterations$salt$StoredKey$ServerKey`")]
    Malformed,
    /// The iteration count is out of range.
    #[error("SCRAM iterations must be between {MIN_ITERATIONS} and {MAX_ITERATIONS}")]
    Iterations,
    /// The password is not valid UTF-8 or contains characters that SASLprep (RFC 4013) prohibits.
    #[error("the password contains characters that SCRAM does not allow")]
    Password,
    /// The system's random number generator failed.
    #[error("the system has no random numbers")]
    NoRandom,
}

impl ScramCredentials {
    /// Derives credentials from a password with a fresh random salt.
    ///
    /// # Errors
    /// When the password or the iteration count does not fit, or there are no random numbers.
    pub fn derive(password: &[u8], iterations: u32) -> Result<Self, ScramCredentialsError> {
        let mut salt = [0_u8; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| ScramCredentialsError::NoRandom)?;
        Self::derive_with_salt(password, iterations, &salt)
    }

    pub(crate) fn derive_with_salt(
        password: &[u8],
        iterations: u32,
        salt: &[u8],
    ) -> Result<Self, ScramCredentialsError> {
        let keys = ClientKeys::derive(password, iterations, salt)?;
        Ok(Self { iterations, salt: salt.into(), stored_key: keys.stored_key(), server_key: keys.server_key })
    }

    /// Credentials that no password fits, for a user who does not exist: asking for one must look like asking for
    /// another. They are the same for the same `key` and `user`, which must be so: a real user's salt does not change
    /// either. `key` has to be secret. Iterations and length of the salt are those of `model`, some real user.
    pub fn decoy(key: &[u8; 32], user: &str, model: Option<&Self>) -> Self {
        let (iterations, salt_bytes) =
            model.map_or((DEFAULT_ITERATIONS, SALT_BYTES), |model| (model.iterations, model.salt.len()));
        let derive = |purpose: &[u8]| hmac_sha256(key, &[purpose, &[0], user.as_bytes()]);
        let blocks = [derive(b"salt 1"), derive(b"salt 2")].concat();
        Self {
            iterations,
            salt: blocks.into_iter().take(salt_bytes).collect(),
            stored_key: derive(b"stored key"),
            server_key: derive(b"server key"),
        }
    }

    /// Length of the salt in bytes.
    pub fn salt_len(&self) -> usize {
        self.salt.len()
    }

    /// Iterations that a client has to do.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }
}

/// The keys on the client's side, derived from the password.
pub(crate) struct ClientKeys {
    pub(crate) client_key: Key,
    pub(crate) server_key: Key,
}

impl ClientKeys {
    pub(crate) fn derive(
        password: &[u8],
        iterations: u32,
        salt: &[u8],
    ) -> Result<Self, ScramCredentialsError> {
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(ScramCredentialsError::Iterations);
        }
        let password = prepare(password)?;
        let mut salted = [0_u8; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.expose(), salt, iterations, &mut salted);
        let salted = Secret::new(salted.to_vec());
        Ok(Self {
            client_key: hmac_sha256(salted.expose(), &[b"Client Key"]),
            server_key: hmac_sha256(salted.expose(), &[b"Server Key"]),
        })
    }

    pub(crate) fn stored_key(&self) -> Key {
        sha256(&self.client_key)
    }
}

/// `Normalize` of RFC 5802 §2.2: SASLprep.
fn prepare(password: &[u8]) -> Result<Secret, ScramCredentialsError> {
    let text = std::str::from_utf8(password).map_err(|_| ScramCredentialsError::Password)?;
    let prepared = stringprep::saslprep(text).map_err(|_| ScramCredentialsError::Password)?;
    if prepared.is_empty() {
        return Err(ScramCredentialsError::Password);
    }
    Ok(Secret::from(prepared.as_ref()))
}

pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(crate) fn sha256(data: &[u8]) -> Key {
    Sha256::digest(data).into()
}

impl FromStr for ScramCredentials {
    type Err = ScramCredentialsError;

    fn from_str(text: &str) -> Result<Self, ScramCredentialsError> {
        let malformed = ScramCredentialsError::Malformed;
        let parts: Vec<&str> = text.splitn(7, '$').collect();
        let ["", TAG, iterations, salt, stored_key, server_key] = parts[..] else { return Err(malformed) };
        if iterations.is_empty() || !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed);
        }
        let iterations = iterations.parse().map_err(|_| ScramCredentialsError::Iterations)?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(ScramCredentialsError::Iterations);
        }
        let salt = BASE64.decode(salt).map_err(|_| malformed)?;
        if salt.is_empty() || salt.len() > MAX_SALT_BYTES {
            return Err(malformed);
        }
        let key = |text: &str| -> Result<Key, ScramCredentialsError> {
            BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(malformed)
        };
        Ok(Self { iterations, salt: salt.into(), stored_key: key(stored_key)?, server_key: key(server_key)? })
    }
}

/// As it stands in the password file.
impl fmt::Display for ScramCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encode = |bytes: &[u8]| BASE64.encode(bytes);
        let (salt, stored, server) = (encode(&self.salt), encode(&self.stored_key), encode(&self.server_key));
        write!(f, "${TAG}${}${salt}${stored}${server}", self.iterations)
    }
}

impl fmt::Debug for ScramCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramCredentials({} iterations)", self.iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_round_trips() {
        let credentials = ScramCredentials::derive(b"pencil", MIN_ITERATIONS).unwrap();
        assert_eq!(credentials.to_string().parse(), Ok(credentials.clone()));
        assert!(!format!("{credentials:?}").contains(&BASE64.encode(credentials.server_key)));
    }

    #[test]
    fn malformed_text_is_refused() {
        let key = BASE64.encode([1_u8; 32]);
        let cases = [
            String::new(),
            "$scram-sha-256".to_owned(),
            format!("$scram-sha-1$4096$c2FsdA==${key}${key}"),
            format!("x$scram-sha-256$4096$c2FsdA==${key}${key}"),
            format!("$scram-sha-256$+4096$c2FsdA==${key}${key}"),
            format!("$scram-sha-256$4096$${key}${key}"),
            format!("$scram-sha-256$4096$c2FsdA==${key}$AAAA"),
            format!("$scram-sha-256$4096$c2FsdA==${key}${key}$x"),
        ];
        for text in cases {
            assert_eq!(text.parse::<ScramCredentials>(), Err(ScramCredentialsError::Malformed), "{text}");
        }
        for iterations in ["1", "4095", "1000001", "99999999999999"] {
            let text = format!("$scram-sha-256${iterations}$c2FsdA==${key}${key}");
            assert_eq!(text.parse::<ScramCredentials>(), Err(ScramCredentialsError::Iterations), "{text}");
        }
    }

    #[test]
    fn decoys_look_like_their_model_and_differ_by_user_and_key() {
        let model = ScramCredentials::derive_with_salt(b"pw", 5_000, &[7; MAX_SALT_BYTES]).unwrap();
        let decoy = ScramCredentials::decoy(&[1; 32], "dave", Some(&model));
        assert_eq!((decoy.iterations(), decoy.salt_len()), (5_000, MAX_SALT_BYTES));
        assert_eq!(decoy, ScramCredentials::decoy(&[1; 32], "dave", Some(&model)));
        assert_ne!(decoy.salt, ScramCredentials::decoy(&[1; 32], "erin", Some(&model)).salt);
        assert_ne!(decoy.salt, ScramCredentials::decoy(&[2; 32], "dave", Some(&model)).salt);
        let without = ScramCredentials::decoy(&[1; 32], "dave", None);
        assert_eq!((without.iterations(), without.salt_len()), (DEFAULT_ITERATIONS, SALT_BYTES));
    }

    #[test]
    fn passwords_are_normalised_as_rfc_4013_demands() {
        let salt = b"0123456789abcdef";
        let derive = |password: &str| ScramCredentials::derive_with_salt(password.as_bytes(), 4096, salt);
        // RFC 4013 §3: a soft hyphen maps to nothing, ROMAN NUMERAL NINE to its letters.
        assert_eq!(derive("I\u{ad}X").unwrap(), derive("IX").unwrap());
        assert_eq!(derive("\u{2168}").unwrap(), derive("IX").unwrap());
        assert_eq!(derive("bell\u{7}"), Err(ScramCredentialsError::Password));
        assert_eq!(derive(""), Err(ScramCredentialsError::Password));
        assert_eq!(ScramCredentials::derive(&[0xff], 4096), Err(ScramCredentialsError::Password));
    }
}
