//! What is in force: an immutable view of all accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashSet;

use super::account::{Account, Credential};
use super::account_record;
use super::definition_table::{ACCOUNTS, DefinitionTable, VHOST_LIMITS};
use super::limits::VhostLimits;
use super::permission::Permission;
use super::store::Outside;
use super::tag::{Tag, Tags};
use super::{DEFAULT_VHOST, GUEST};

/// Accounts and limits at one moment.
#[derive(Clone)]
pub(super) struct State {
    pub(super) generation: u64,
    pub(super) accounts: BTreeMap<Box<str>, Arc<Account>>,
    pub(super) vhost_limits: BTreeMap<Box<str>, VhostLimits>,
    pub(super) outside: Outside,
    /// Users that were removed since the start, so that what they still have open does not turn into that of a user
    /// from elsewhere.
    pub(super) removed: HashSet<Box<str>>,
    /// The built-in user as long as nothing was set for it.
    guest: Arc<Account>,
}

/// What there is about a user who has proven its name.
pub(super) enum Found {
    /// An account.
    Account(Arc<Account>),
    /// Nothing: it comes from elsewhere.
    Elsewhere,
    /// It was removed, or is not offered here.
    Gone,
}

impl State {
    pub(super) fn load(table: &dyn DefinitionTable, outside: Outside) -> Self {
        let read = |bytes: &[u8]| {
            // What cannot be read gives no right; a user without an account would have some.
            account_record::decode(bytes).unwrap_or_else(|| Account::new(Credential::Removed))
        };
        let accounts = table.all(ACCOUNTS).into_iter().map(|(name, bytes)| (name, Arc::new(read(&bytes))));
        // A limit that cannot be read lets nobody in, until it is set again.
        let closed = VhostLimits { max_connections: Some(0), max_queues: Some(0) };
        let limits = table.all(VHOST_LIMITS).into_iter();
        let limits = limits.map(|(name, bytes)| (name, VhostLimits::decode(&bytes).unwrap_or(closed)));
        Self {
            generation: 1,
            accounts: accounts.collect(),
            vhost_limits: limits.collect(),
            outside,
            removed: HashSet::new(),
            guest: Arc::new(guest()),
        }
    }

    pub(super) fn find(&self, user: &str) -> Found {
        let is_outside = || self.outside.users.contains(user);
        match self.accounts.get(user) {
            Some(account) => match account.credential {
                Credential::Removed if is_outside() => Found::Elsewhere,
                Credential::Removed => Found::Gone,
                Credential::BuiltIn if !self.outside.built_in_guest && is_outside() => Found::Elsewhere,
                Credential::BuiltIn if !self.outside.built_in_guest => Found::Gone,
                _ => Found::Account(Arc::clone(account)),
            },
            None if self.outside.built_in_guest && user == GUEST => Found::Account(Arc::clone(&self.guest)),
            None if self.removed.contains(user) && !is_outside() => Found::Gone,
            None => Found::Elsewhere,
        }
    }

    pub(super) fn tags(&self, user: &str) -> Tags {
        let default = || match self.outside.administrators.contains(user) {
            true => Tags::of(&[Tag::Administrator]),
            false => Tags::none(),
        };
        match self.find(user) {
            Found::Account(account) => match (&account.tags, &account.credential) {
                (Some(tags), _) => tags.clone(),
                (None, Credential::Elsewhere) => default(),
                (None, _) => Tags::none(),
            },
            Found::Elsewhere => default(),
            Found::Gone => Tags::none(),
        }
    }

    /// Users that were removed.
    pub(super) fn gone(&self) -> impl Iterator<Item = &str> {
        let known = self.removed.iter().map(AsRef::as_ref).chain(self.accounts.keys().map(AsRef::as_ref));
        known.filter(|name| matches!(self.find(name), Found::Gone))
    }

    /// Every user that is known here, in order.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let accounts = self.accounts.keys().map(AsRef::as_ref);
        let outside = self.outside.users.iter().map(AsRef::as_ref);
        accounts.chain(outside).chain(self.outside.built_in_guest.then_some(GUEST)).collect()
    }
}

/// The user of a server without users: may do everything, on this machine.
fn guest() -> Account {
    let mut account = Account::new(Credential::BuiltIn);
    account.tags = Some(Tags::of(&[Tag::Administrator]));
    account.managed = true;
    account.permissions.insert(DEFAULT_VHOST.into(), Permission::everything());
    account
}
