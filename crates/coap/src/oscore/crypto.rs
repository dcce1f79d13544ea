//! Keys and the cipher: HKDF with SHA-256, AES-CCM-16-64-128 (RFC 8613 §3.2, §5.2; RFC 9053 §4.2).

use alloc::vec::Vec;

use aes::Aes128;
use ccm::Ccm;
use ccm::aead::{Aead, KeyInit, Payload};
use ccm::consts::{U8, U13};
use hkdf::Hkdf;
use sha2::Sha256;

use super::cose;
use super::{ID_MAX, ProtectError, UnprotectError};

/// Length of a key in bytes.
const KEY: usize = 16;

/// Length of a nonce in bytes.
pub(super) const NONCE: usize = 13;

/// Length of the tag behind the ciphertext in bytes.
pub(super) const TAG: usize = 8;

/// A nonce, and the Common IV that it is made from.
pub(super) type Nonce = [u8; NONCE];

/// The cipher under one key.
pub(super) struct Cipher(Ccm<Aes128, U8, U13>);

/// What keys are derived from.
pub(super) struct Derivation<'a> {
    pub(super) secret: &'a [u8],
    pub(super) salt: &'a [u8],
    pub(super) id_context: Option<&'a [u8]>,
}

impl Derivation<'_> {
    /// The cipher of the side with this identifier.
    pub(super) fn cipher(&self, id: &[u8]) -> Cipher {
        let mut key = [0; KEY];
        self.expand(id, "Key", &mut key);
        Cipher(Ccm::new(&key.into()))
    }

    /// The Common IV.
    pub(super) fn common_iv(&self) -> Nonce {
        let mut iv = [0; NONCE];
        self.expand(&[], "IV", &mut iv);
        iv
    }

    /// What the key of the side with this identifier may be called in public: expanded beside it, under a label that
    /// no key has.
    pub(super) fn key_name(&self, id: &[u8]) -> [u8; KEY] {
        let mut name = [0; KEY];
        self.expand(id, "Name", &mut name);
        name
    }

    fn expand(&self, id: &[u8], kind: &str, out: &mut [u8]) {
        let info = cose::key_info(id, self.id_context, kind, out.len());
        let hkdf = Hkdf::<Sha256>::new(Some(self.salt), self.secret);
        let expanded = hkdf.expand(&info, out);
        // It fails only for more than 255 hashes of output.
        debug_assert!(expanded.is_ok());
    }

    #[cfg(test)]
    pub(super) fn key(&self, id: &[u8]) -> [u8; KEY] {
        let mut key = [0; KEY];
        self.expand(id, "Key", &mut key);
        key
    }
}

impl Cipher {
    pub(super) fn encrypt(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, ProtectError> {
        self.0.encrypt(&(*nonce).into(), Payload { msg: plaintext, aad }).map_err(|_| ProtectError::TooLong)
    }

    pub(super) fn decrypt(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, UnprotectError> {
        let payload = Payload { msg: ciphertext, aad };
        self.0.decrypt(&(*nonce).into(), payload).map_err(|_| UnprotectError::Decryption)
    }
}

/// The nonce for a sequence number of the side with this identifier (RFC 8613 §5.2). Identifiers have at most
/// [`ID_MAX`] bytes.
pub(super) fn nonce(common_iv: &Nonce, id: &[u8], number: u64) -> Nonce {
    let mut padded = [0; NONCE];
    let id = id.get(..ID_MAX).unwrap_or(id);
    let [_, _, _, number @ ..] = number.to_be_bytes();
    let parts = core::iter::once(id.len() as u8)
        .chain(core::iter::repeat_n(0, ID_MAX - id.len()))
        .chain(id.iter().copied())
        .chain(number);
    for (byte, part) in padded.iter_mut().zip(parts) {
        *byte = part;
    }
    for (byte, iv) in padded.iter_mut().zip(common_iv) {
        *byte ^= iv;
    }
    padded
}

/// A sequence number in as few bytes as it needs, one at least.
pub(super) fn partial_iv(number: u64) -> smallvec::SmallVec<[u8; 5]> {
    let bytes = number.to_be_bytes();
    let from = (number.leading_zeros() as usize / 8).min(7);
    bytes.get(from..).unwrap_or_default().into()
}

/// The sequence number in a Partial IV.
pub(super) fn number(partial_iv: &[u8]) -> u64 {
    partial_iv.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}
