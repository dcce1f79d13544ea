//! One stored password hash: the formats, making and verifying.
//!
//! | format | written by | scheme |
//! |---|---|---|
//! | `$argon2id$v=19$m=..,t=..,p=..$salt$hash` | `tercet passwd` | Argon2id (RFC 9106), PHC string |
//! | `$7$iterations$salt$hash` | `mosquitto_passwd` | PBKDF2-HMAC-SHA-512, 64 bytes, standard base64 |
//! | `$6$salt$hash` | `mosquitto_passwd -H sha512` | SHA-512(password, salt), standard base64 |
//!
//! New hashes use [`ArgonCost::DEFAULT`]: 8 MiB and 2 passes, "broker-sized" so that a fleet that reconnects after
//! a restart is verified in seconds and not in hours, and verification needs little memory on small machines.

use argon2::password_hash::{PasswordHash as PhcString, PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha512};
use std::fmt;
use std::str::FromStr;
use subtle::ConstantTimeEq;

/// Length of a SHA-512 digest in bytes.
const SHA512_BYTES: usize = 64;
/// Most iterations accepted from a file: some ten seconds of work.
const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
/// Most memory accepted from a file, in KiB: 1 GiB.
const MAX_ARGON_KIB: u32 = 1 << 20;
/// Most passes accepted from a file.
const MAX_ARGON_PASSES: u32 = 64;
/// Longest salt accepted from a file, in bytes.
const MAX_SALT_BYTES: usize = 256;

/// Why a stored hash was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashFormatError {
    /// Not a hash at all; most likely a password in plain text.
    #[error("this is not a password hash; plain text passwords are hashed by `tercet passwd --upgrade`")]
    PlainText,
    /// A hash of a kind that is not known here.
    #[error("unknown kind of password hash, expected `$argon2id$`, `$7$` or `$6$`")]
    UnknownKind,
    /// The parts of the hash are not what its kind demands.
    #[error("malformed password hash")]
    Malformed,
    /// Checking one password would take too much time or memory.
    #[error("the cost parameters of this password hash are out of range")]
    Cost,
}

/// How much work one new Argon2id hash takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArgonCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl ArgonCost {
    /// 8 MiB, 2 passes.
    pub const DEFAULT: Self = Self { memory_kib: 8 * 1024, passes: 2 };
}

/// Working memory of Argon2, kept between verifications of one batch: clearing pages costs a good part of a check.
#[derive(Default)]
pub struct HashScratch {
    blocks: Vec<Block>,
}

/// A stored password hash.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// Argon2id.
    Argon2id(Argon2idHash),
    /// Mosquitto's `$7$`.
    Pbkdf2Sha512 {
        /// Number of iterations, at least 1.
        iterations: u32,
        /// The salt.
        salt: Box<[u8]>,
        /// The derived key.
        key: [u8; SHA512_BYTES],
    },
    /// Mosquitto's `$6$`.
    Sha512 {
        /// The salt.
        salt: Box<[u8]>,
        /// The digest.
        digest: [u8; SHA512_BYTES],
    },
}

/// The parts of an Argon2id hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Argon2idHash {
    params: Params,
    salt: Box<[u8]>,
    output: Box<[u8]>,
    /// As it stands in the file.
    text: Box<str>,
}

impl PasswordHash {
    /// Hashes a new password with a fresh random salt.
    ///
    /// # Errors
    /// When the system has no random numbers or the cost is out of Argon2's range.
    pub fn argon2id(password: &[u8], cost: ArgonCost) -> Result<Self, NewHashError> {
        let mut salt = [0_u8; 16];
        getrandom::fill(&mut salt).map_err(|_| NewHashError::NoRandom)?;
        let salt = SaltString::encode_b64(&salt).map_err(|_| NewHashError::Cost)?;
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(|_| NewHashError::Cost)?;
        let text = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password, &salt)
            .map_err(|_| NewHashError::Cost)?
            .to_string();
        text.parse().map_err(|_| NewHashError::Cost)
    }

    /// Whether this is the hash of `password`. Takes the same time whatever the answer.
    pub fn verify(&self, password: &[u8], scratch: &mut HashScratch) -> bool {
        match self {
            Self::Argon2id(hash) => hash.verify(password, scratch),
            Self::Pbkdf2Sha512 { iterations, salt, key } => {
                let mut derived = [0_u8; SHA512_BYTES];
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *iterations, &mut derived);
                derived.ct_eq(key).into()
            }
            Self::Sha512 { salt, digest } => {
                let computed = Sha512::new().chain_update(password).chain_update(salt).finalize();
                computed.as_slice().ct_eq(digest.as_slice()).into()
            }
        }
    }
}

/// Why a new hash could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NewHashError {
    /// The system's random number generator failed.
    #[error("the system has no random numbers")]
    NoRandom,
    /// The cost parameters are out of range.
    #[error("the cost parameters are out of range")]
    Cost,
}

impl Argon2idHash {
    fn parse(text: &str) -> Result<Self, HashFormatError> {
        let phc = PhcString::new(text).map_err(|_| HashFormatError::Malformed)?;
        if phc.version.is_some_and(|version| version != u32::from(Version::V0x13)) {
            return Err(HashFormatError::Malformed);
        }
        let params = Params::try_from(&phc).map_err(|_| HashFormatError::Malformed)?;
        if params.m_cost() > MAX_ARGON_KIB || params.t_cost() > MAX_ARGON_PASSES {
            return Err(HashFormatError::Cost);
        }
        let (Some(salt), Some(output)) = (phc.salt, phc.hash) else { return Err(HashFormatError::Malformed) };
        let mut buffer = [0_u8; 64];
        let salt = salt.decode_b64(&mut buffer).map_err(|_| HashFormatError::Malformed)?;
        if salt.len() < argon2::MIN_SALT_LEN {
            return Err(HashFormatError::Malformed);
        }
        Ok(Self { params, salt: salt.into(), output: output.as_bytes().into(), text: text.into() })
    }

    fn verify(&self, password: &[u8], scratch: &mut HashScratch) -> bool {
        if scratch.blocks.len() < self.params.block_count() {
            scratch.blocks.resize(self.params.block_count(), Block::default());
        }
        let mut computed = vec![0_u8; self.output.len()];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        let done =
            argon.hash_password_into_with_memory(password, &self.salt, &mut computed, &mut scratch.blocks);
        done.is_ok() && bool::from(computed.ct_eq(&self.output))
    }
}

impl FromStr for PasswordHash {
    type Err = HashFormatError;

    fn from_str(text: &str) -> Result<Self, HashFormatError> {
        let mut parts = text.split('$');
        if parts.next() != Some("") {
            return Err(HashFormatError::PlainText);
        }
        match parts.next() {
            Some("argon2id") => Argon2idHash::parse(text).map(Self::Argon2id),
            Some("7") => {
                let iterations = parts.next().ok_or(HashFormatError::Malformed)?;
                let iterations = parse_iterations(iterations)?;
                let (salt, key) = parse_salt_and_digest(parts)?;
                Ok(Self::Pbkdf2Sha512 { iterations, salt, key })
            }
            Some("6") => {
                let (salt, digest) = parse_salt_and_digest(parts)?;
                Ok(Self::Sha512 { salt, digest })
            }
            Some(_) if parts.next().is_some() => Err(HashFormatError::UnknownKind),
            _ => Err(HashFormatError::PlainText),
        }
    }
}

fn parse_iterations(text: &str) -> Result<u32, HashFormatError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HashFormatError::Malformed);
    }
    match text.parse() {
        Ok(iterations @ 1..=MAX_PBKDF2_ITERATIONS) => Ok(iterations),
        _ => Err(HashFormatError::Cost),
    }
}

fn parse_salt_and_digest<'a>(
    mut parts: impl Iterator<Item = &'a str>,
) -> Result<(Box<[u8]>, [u8; SHA512_BYTES]), HashFormatError> {
    let (Some(salt), Some(digest), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(HashFormatError::Malformed);
    };
    let salt = BASE64.decode(salt).map_err(|_| HashFormatError::Malformed)?;
    let digest = BASE64.decode(digest).map_err(|_| HashFormatError::Malformed)?;
    if salt.is_empty() || salt.len() > MAX_SALT_BYTES {
        return Err(HashFormatError::Malformed);
    }
    Ok((salt.into(), digest.try_into().map_err(|_| HashFormatError::Malformed)?))
}

/// As it stands in the password file.
impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2id(hash) => f.write_str(&hash.text),
            Self::Pbkdf2Sha512 { iterations, salt, key } => {
                write!(f, "$7${iterations}${}${}", BASE64.encode(salt), BASE64.encode(key))
            }
            Self::Sha512 { salt, digest } => {
                write!(f, "$6${}${}", BASE64.encode(salt), BASE64.encode(digest))
            }
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2id(_) => "PasswordHash(argon2id)",
            Self::Pbkdf2Sha512 { .. } => "PasswordHash(pbkdf2-sha512)",
            Self::Sha512 { .. } => "PasswordHash(sha512)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(hash: &str, password: &str) -> bool {
        hash.parse::<PasswordHash>().unwrap().verify(password.as_bytes(), &mut HashScratch::default())
    }

    #[test]
    fn hashes_made_by_mosquitto_passwd_are_verified() {
        let pbkdf2 = "$7$101$6Xdq/R07eaDXzDoG$VeNPipd29qCBVRRvwoeSGT5bLUopKCqvboIIr+hznRoWoBwvydQCGynVbV6luWyCSrpCx0Eis4+EbTfyTaKvVA==";
        let sha512 = "$6$aw35uCSm1/7WbZrM$Pn8rx3Yz4jbPf7PqWMcEkxmCYR+ESri5LwDZgef6WlkMadTYb8BZIfsBUPXnkp0mzrsm38JW7wEHjRFKxx5iLA==";
        for (hash, password) in [(pbkdf2, "secret"), (sha512, "pass:word")] {
            assert!(verify(hash, password));
            assert!(!verify(hash, "Secret"));
            assert!(!verify(hash, ""));
            assert_eq!(hash.parse::<PasswordHash>().unwrap().to_string(), hash);
        }
    }

    #[test]
    fn new_hashes_are_argon2id_with_a_salt_of_their_own() {
        let cost = ArgonCost { memory_kib: 64, passes: 1 };
        let (first, second) = (
            PasswordHash::argon2id(b"secret", cost).unwrap(),
            PasswordHash::argon2id(b"secret", cost).unwrap(),
        );
        assert_ne!(first, second);
        assert!(first.to_string().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert!(verify(&first.to_string(), "secret"));
        assert!(!verify(&first.to_string(), "secret "));
    }

    #[test]
    fn scratch_memory_serves_hashes_of_different_size() {
        let mut scratch = HashScratch::default();
        for memory_kib in [256, 64, 512] {
            let hash = PasswordHash::argon2id(b"x", ArgonCost { memory_kib, passes: 1 }).unwrap();
            assert!(hash.verify(b"x", &mut scratch));
            assert!(!hash.verify(b"y", &mut scratch));
        }
    }

    #[test]
    fn malformed_hashes_are_refused() {
        use HashFormatError::{Cost, Malformed, PlainText, UnknownKind};
        let digest = BASE64.encode([7_u8; 64]);
        let cases = [
            (String::new(), PlainText),
            ("secret".to_owned(), PlainText),
            ("$ecret".to_owned(), PlainText),
            ("$1$abc$def".to_owned(), UnknownKind),
            ("$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(), UnknownKind),
            ("$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(), Malformed),
            ("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ".to_owned(), Malformed),
            ("$argon2id$v=19$m=64,t=1,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAA".to_owned(), Malformed),
            ("$argon2id$v=19$m=4000000,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(), Cost),
            ("$argon2id$v=19$m=64,t=100,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".to_owned(), Cost),
            ("$argon2id$".to_owned(), Malformed),
            ("$7$".to_owned(), Malformed),
            ("$7$101".to_owned(), Malformed),
            ("$7$101$c2FsdA==".to_owned(), Malformed),
            (format!("$7$$c2FsdA==${digest}"), Malformed),
            (format!("$7$+5$c2FsdA==${digest}"), Malformed),
            (format!("$7$0$c2FsdA==${digest}"), Cost),
            (format!("$7$99999999999$c2FsdA==${digest}"), Cost),
            (format!("$7$101$c2FsdA==${digest}$"), Malformed),
            (format!("$6$${digest}"), Malformed),
            (format!("$6$c2Fsd!==${digest}"), Malformed),
            ("$6$c2FsdA==$AAAA".to_owned(), Malformed),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<PasswordHash>(), Err(expected), "{text}");
        }
    }
}
