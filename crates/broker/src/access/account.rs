//! One user.

use std::collections::BTreeMap;

use super::limits::UserLimits;
use super::permission::{Permission, TopicPermission};
use super::tag::Tags;

/// What proves that somebody is this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A password; its hash as text, which the core does not look into.
    Hash(Box<str>),
    /// No password: a certificate, for example.
    NoPassword,
    /// Whatever the password file or a certificate says: the account only adds tags, permissions and limits.
    Elsewhere,
    /// The well-known password of the user of a server without users.
    BuiltIn,
    /// Nothing: the user was removed. Kept for the built-in user, so that it does not come back.
    Removed,
}

/// A virtual host and an exchange in it.
pub type TopicKey = (Box<str>, Box<str>);

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// How it proves itself.
    pub credential: Credential,
    /// What it may manage; `None`: nobody has said, as for users from elsewhere.
    pub tags: Option<Tags>,
    /// Whether a permission was ever set for it. From then on a user from elsewhere has no rights but those set here.
    pub managed: bool,
    /// What it may do, by virtual host.
    pub permissions: BTreeMap<Box<str>, Permission>,
    /// What routing keys it may use, by virtual host and exchange.
    pub topics: BTreeMap<TopicKey, TopicPermission>,
    /// How much it may have open.
    pub limits: UserLimits,
}

impl Account {
    /// An account without any right.
    #[must_use]
    pub fn new(credential: Credential) -> Self {
        Self {
            credential,
            tags: None,
            managed: false,
            permissions: BTreeMap::new(),
            topics: BTreeMap::new(),
            limits: UserLimits::default(),
        }
    }

    /// Whether the user comes from elsewhere and nobody has set a permission for it yet.
    #[must_use]
    pub fn has_default_rights(&self) -> bool {
        self.credential == Credential::Elsewhere && !self.managed
    }

    /// Whether nothing is said about a user from elsewhere, so that nothing needs to be kept.
    pub(super) fn says_nothing(&self) -> bool {
        *self == Self::new(Credential::Elsewhere)
    }
}
