//! Remembers logins that were verified, so that a reconnect storm does not drown in hashing.
//!
//! An entry is a keyed hash (HMAC-SHA-256 under a random key of this process) of user name, password and stored
//! hash: it cannot be turned back into a password, tells nothing by the time a lookup takes, and stops matching the
//! moment the stored hash changes.

use super::keyed_hash::{Key, hmac_sha256};
use super::password_hash::PasswordHash;
use super::recent_map::RecentMap;
use parking_lot::Mutex;
use zeroize::Zeroizing;

pub(super) struct SuccessCache {
    key: Zeroizing<Key>,
    verified: Mutex<RecentMap<Key, ()>>,
}

impl SuccessCache {
    /// Remembers at least `capacity` logins (32 bytes each) and at most twice as many.
    pub(super) fn new(capacity: usize) -> Result<Self, getrandom::Error> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice())?;
        Ok(Self { key, verified: Mutex::new(RecentMap::new(capacity)) })
    }

    /// The entry for a login.
    pub(super) fn tag(&self, user: &str, password: &[u8], hash: &PasswordHash) -> Key {
        let hash = hash.to_string();
        // Lengths first: no two different logins share an input.
        let user_length = user.len().to_le_bytes();
        let hash_length = hash.len().to_le_bytes();
        hmac_sha256(
            self.key.as_slice(),
            &[&user_length, &hash_length, user.as_bytes(), hash.as_bytes(), password],
        )
    }

    pub(super) fn contains(&self, tag: &Key) -> bool {
        self.verified.lock().touch(tag).is_some()
    }

    pub(super) fn insert(&self, tag: Key) {
        self.verified.lock().insert(tag, ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password_hash::ArgonCost;

    #[test]
    fn only_the_same_user_password_and_stored_hash_match() {
        let cost = ArgonCost { memory_kib: 64, passes: 1 };
        let hash = PasswordHash::argon2id(b"pw", cost).unwrap();
        let changed = PasswordHash::argon2id(b"pw", cost).unwrap();
        let cache = SuccessCache::new(8).unwrap();
        cache.insert(cache.tag("ann", b"pw", &hash));
        assert!(cache.contains(&cache.tag("ann", b"pw", &hash)));
        assert!(!cache.contains(&cache.tag("ann", b"pW", &hash)));
        assert!(!cache.contains(&cache.tag("an", b"npw", &hash)));
        assert!(!cache.contains(&cache.tag("ann", b"pw", &changed)));
        let other_process = SuccessCache::new(8).unwrap();
        assert_ne!(other_process.tag("ann", b"pw", &hash), cache.tag("ann", b"pw", &hash));
    }
}
