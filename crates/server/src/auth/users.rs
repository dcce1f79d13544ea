//! The users in force: an immutable view of the password file.

use super::keyed_hash::{Key, hmac_sha256, sha256};
use super::password_file::{Credentials, PasswordFile};
use super::password_hash::PasswordHash;
use hashbrown::HashMap;
use std::sync::Arc;
use tercet_scram::ScramCredentials;

/// All users, ready for look-ups. Replaced as a whole on reload.
#[derive(Default)]
pub struct Users {
    by_name: HashMap<Arc<str>, Arc<Credentials>>,
    /// Stand-ins for unknown users, so that asking for one looks and costs the same.
    decoys: Decoys,
}

#[derive(Default)]
struct Decoys {
    /// Secret, and the same after a restart as long as the users are the same: a made-up salt must not change when
    /// a real one would not.
    key: Key,
    /// All users.
    models: Vec<Arc<Credentials>>,
    /// Those who can log in by SCRAM.
    scram_models: Vec<Arc<Credentials>>,
}

impl Users {
    /// Takes the users of a file.
    pub fn new(file: &PasswordFile) -> Self {
        Self::with_key(file, sha256(file.to_string().as_bytes()))
    }

    /// Takes the users of a file, with a secret of one's own for what is made up about unknown ones.
    pub(super) fn with_key(file: &PasswordFile, key: Key) -> Self {
        let by_name: HashMap<Arc<str>, Arc<Credentials>> = file
            .users()
            .map(|(name, credentials)| (Arc::from(name), Arc::new(credentials.clone())))
            .collect();
        // In the order of the file: a map's own order changes with each process.
        let models: Vec<_> = file.users().filter_map(|(name, _)| by_name.get(name).cloned()).collect();
        let scram_models = models.iter().filter(|model| model.scram.is_some()).cloned().collect();
        let decoys = Decoys { key, models, scram_models };
        Self { by_name, decoys }
    }

    /// True when no user can log in.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True when at least one user can log in by SCRAM.
    pub fn has_scram(&self) -> bool {
        !self.decoys.scram_models.is_empty()
    }

    /// The names of all users, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(AsRef::as_ref)
    }

    pub(super) fn find(&self, name: &str) -> Option<(&Arc<str>, &Arc<Credentials>)> {
        self.by_name.get_key_value(name)
    }

    /// A hash to check an unknown user's password against in vain: that of some real user, always the same one for
    /// the same name.
    pub(super) fn decoy_hash(&self, name: &str) -> Option<&PasswordHash> {
        pick(&self.decoys.models, &self.decoys.derive(b"hash", name)).map(|model| &model.hash)
    }

    /// Credentials that no password fits, with a salt that stays the same for the same name.
    pub(super) fn decoy_scram(&self, name: &str) -> ScramCredentials {
        let model = pick(&self.decoys.scram_models, &self.decoys.derive(b"model", name));
        let model = model.and_then(|model| model.scram.as_ref());
        ScramCredentials::decoy(&self.decoys.key, name, model)
    }
}

impl Decoys {
    fn derive(&self, purpose: &[u8], name: &str) -> Key {
        hmac_sha256(&self.key, &[purpose, &[0], name.as_bytes()])
    }
}

fn pick<'a, T>(choices: &'a [T], by: &Key) -> Option<&'a T> {
    let [a, b, c, d, ..] = *by;
    let number = u32::from_le_bytes([a, b, c, d]) as usize;
    choices.get(number.checked_rem(choices.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password_file::HashChoice;
    use crate::auth::password_hash::ArgonCost;

    fn file(names: &[&str]) -> PasswordFile {
        let cost = ArgonCost { memory_kib: 64, passes: 1 };
        let mut file = PasswordFile::default();
        for name in names {
            let choice = HashChoice { cost, scram_iterations: Some(5_000) };
            file.set_password(name, &"pw".into(), choice).unwrap();
        }
        file
    }

    #[test]
    fn a_decoy_is_one_of_the_real_hashes_and_stays_the_same_over_a_restart() {
        let file = file(&["ann", "bob", "carol"]);
        let (users, restarted) = (Users::new(&file), Users::new(&file));
        for name in ["dave", "erin", ""] {
            let decoy = users.decoy_hash(name).unwrap();
            assert!(file.users().any(|(_, stored)| stored.hash == *decoy));
            assert!(restarted.decoy_hash(name).unwrap() == decoy);
            assert_eq!(users.decoy_scram(name), restarted.decoy_scram(name));
        }
        assert_ne!(users.decoy_scram("dave"), users.decoy_scram("erin"));
    }

    #[test]
    fn decoys_look_like_the_real_ones_and_cannot_be_foreseen() {
        let users = Users::new(&file(&["ann"]));
        let (real, decoy) = (users.find("ann").unwrap().1.scram.clone().unwrap(), users.decoy_scram("dave"));
        assert_eq!((decoy.iterations(), decoy.salt_len()), (real.iterations(), real.salt_len()));
        assert_ne!(Users::new(&file(&["ann"])).decoy_scram("dave"), decoy);
    }

    #[test]
    fn without_users_there_is_nothing_to_pick_from() {
        let users = Users::default();
        assert!(users.is_empty() && !users.has_scram() && users.decoy_hash("x").is_none());
        assert_eq!(users.decoy_scram("x").iterations(), tercet_scram::DEFAULT_ITERATIONS);
    }
}
