//! HMAC-SHA-256: for what must be recognised again and not be computed by others.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// A SHA-256 sized key or hash.
pub(super) type Key = [u8; 32];

pub(super) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256(data: &[u8]) -> Key {
    Sha256::digest(data).into()
}
