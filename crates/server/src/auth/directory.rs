//! Where users are looked up: the password file first, then the accounts that are managed at run time.

use std::sync::{Arc, OnceLock};

use tercet_broker::access::{AccessStore, Credential, GUEST, Outside};
use tercet_scram::ScramCredentials;

use super::password_file::{Credentials, PasswordFile};
use super::password_hash::PasswordHash;
use super::users::Users;

/// A hash that no password is known for, with the cost of new ones: what an unknown user is checked against when
/// there is no real hash to borrow.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=8192,t=2,p=1$bm9ib2R5J3Mgc2FsdCE$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What holds for users of the password file.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutsideRules<'a> {
    /// Those who administer the server, as long as nobody has set tags for them.
    pub administrators: &'a [String],
    /// Whether an ACL file says what they may do: they have no rights on exchanges and queues then but those that are
    /// set for them.
    pub restricted: bool,
}

/// Everybody who can log in.
pub(super) struct Directory {
    file: Option<Users>,
    access: Arc<AccessStore>,
    /// Stand-ins for unknown users while the file has none.
    strangers: Users,
}

/// What is stored about a user who may log in.
pub(super) enum Stored {
    /// A password.
    Credentials(Arc<Credentials>),
    /// The well-known password of the built-in user.
    BuiltIn,
}

/// A user who may log in.
pub(super) struct Known {
    pub(super) name: Arc<str>,
    pub(super) stored: Stored,
    /// Whether it may come from other machines.
    pub(super) loopback_only: bool,
}

impl Directory {
    /// Takes the users of a file, and tells the accounts about them. `seed` is secret.
    pub(super) fn new(
        file: Option<Users>,
        access: Arc<AccessStore>,
        rules: OutsideRules<'_>,
        seed: &[u8; 32],
    ) -> Self {
        access.set_outside(Outside {
            users: file.iter().flat_map(Users::names).map(Box::from).collect(),
            administrators: rules.administrators.iter().map(|name| Box::from(name.as_str())).collect(),
            built_in_guest: file.is_none(),
            restricted: rules.restricted,
        });
        Self { file, access, strangers: Users::with_key(&PasswordFile::default(), *seed) }
    }

    pub(super) fn access(&self) -> &Arc<AccessStore> {
        &self.access
    }

    /// Whether users are configured, beyond the built-in one.
    pub(super) fn has_users(&self) -> bool {
        self.file.is_some() || self.access.has_passwords()
    }

    /// Whether anybody can log in by SCRAM.
    pub(super) fn has_scram(&self) -> bool {
        self.file.as_ref().is_some_and(Users::has_scram) || self.access.has_passwords()
    }

    pub(super) fn find(&self, name: &str) -> Option<Known> {
        if let Some((name, credentials)) = self.file.as_ref().and_then(|users| users.find(name)) {
            let stored = Stored::Credentials(Arc::clone(credentials));
            return Some(Known { name: Arc::clone(name), stored, loopback_only: false });
        }
        let account = self.access.account(name)?;
        let stored = match &account.credential {
            Credential::Hash(text) => Stored::Credentials(Arc::new(text.parse().ok()?)),
            Credential::BuiltIn => Stored::BuiltIn,
            Credential::NoPassword | Credential::Elsewhere | Credential::Removed => return None,
        };
        // Its password is the first that everybody tries.
        Some(Known { name: name.into(), stored, loopback_only: name == GUEST })
    }

    /// A hash to check an unknown user's password against in vain.
    pub(super) fn decoy_hash(&self, name: &str) -> Option<&PasswordHash> {
        static NOBODYS: OnceLock<Option<PasswordHash>> = OnceLock::new();
        let borrowed = self.file.as_ref().and_then(|users| users.decoy_hash(name));
        borrowed.or_else(|| NOBODYS.get_or_init(|| NOBODYS_HASH.parse().ok()).as_ref())
    }

    /// Credentials that no password fits, with a salt that stays the same for the same name.
    pub(super) fn decoy_scram(&self, name: &str) -> ScramCredentials {
        let file = self.file.as_ref().filter(|users| users.has_scram());
        file.unwrap_or(&self.strangers).decoy_scram(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password_hash::HashScratch;

    #[test]
    fn nobodys_hash_is_one_and_costs_what_new_ones_cost() {
        let hash: PasswordHash = NOBODYS_HASH.parse().unwrap();
        assert_eq!(hash.to_string(), NOBODYS_HASH);
        assert!(!hash.verify(b"", &mut HashScratch::default()));
    }
}
