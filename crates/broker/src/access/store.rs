//! All accounts, and every change of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use hashbrown::HashSet;
use parking_lot::Mutex;

use super::account::{Account, Credential};
use super::account_record;
use super::admission::{Census, ConnectionPermit};
use super::definition_table::{ACCOUNTS, DefinitionTable, VHOST_LIMITS};
use super::limits::{UserLimits, VhostLimits};
use super::live_rights::LiveRights;
use super::permission::{Permission, TopicPermission};
use super::state::{Found, State};
use super::tag::Tags;
use super::topic_rights::TopicRights;
use super::{DEFAULT_VHOST, GUEST};
use crate::actor::Rights;
use crate::crossing::address::TopicMapping;
use crate::journal::Position;
use crate::refusal::Refusal;

/// Longest name of a user in bytes.
const MAX_USER_BYTES: usize = 255;

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no such user.
    #[error("there is no user '{0}'")]
    NoSuchUser(String),
    /// There is no such permission.
    #[error("user '{user}' has no such permission in virtual host '{vhost}'")]
    NoSuchPermission {
        /// The user.
        user: String,
        /// The virtual host.
        vhost: String,
    },
    /// The name cannot be that of a user.
    #[error(
        "a user name has 1 to 255 bytes, no colon and no control characters, and does not begin with # or a space"
    )]
    BadUserName,
    /// The user's password stands in the password file.
    #[error("the password of '{0}' is kept in the password file")]
    InPasswordFile(String),
    /// The change is too large to be kept.
    #[error("the definition of '{0}' is too large")]
    TooLarge(String),
}

/// What is known about users from elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// Users of the password file.
    pub users: HashSet<Box<str>>,
    /// Users from elsewhere that have the tag `administrator` as long as nobody has set tags for them.
    pub administrators: HashSet<Box<str>>,
    /// Whether there is the built-in user `guest`: on servers whose users are not configured.
    pub built_in_guest: bool,
    /// Whether other rules say what users from elsewhere may do with topics. They have no rights on exchanges and queues
    /// then but those that are set here: every right would be a way around those rules.
    pub restricted: bool,
}

/// What is to be called after a change, with the new generation.
type Hook = Box<dyn Fn(u64) + Send + Sync>;

/// All accounts. Reading takes no lock; changes are made one at a time.
pub struct AccessStore {
    shared: Arc<Shared>,
    table: Arc<dyn DefinitionTable>,
    changing: Mutex<()>,
    hooks: Mutex<Vec<Hook>>,
    census: Arc<Census>,
}

/// What the rights that were handed out look at.
pub(super) struct Shared {
    pub(super) state: ArcSwap<State>,
    /// That of `state`, or the one before while it is being replaced.
    pub(super) generation: AtomicU64,
}

impl AccessStore {
    /// Reads the accounts from the table.
    #[must_use]
    pub fn open(table: Arc<dyn DefinitionTable>, outside: Outside) -> Self {
        let state = State::load(&*table, outside);
        let generation = AtomicU64::new(state.generation);
        Self {
            shared: Arc::new(Shared { state: ArcSwap::from_pointee(state), generation }),
            table,
            changing: Mutex::new(()),
            hooks: Mutex::new(Vec::new()),
            census: Arc::default(),
        }
    }

    /// What `user`, who has proven to be that, may do in `vhost`; `None`: nothing, not even be there.
    #[must_use]
    pub fn rights(&self, user: &str, vhost: &str) -> Option<Arc<dyn Rights>> {
        self.rights_of_client(user, vhost, None)
    }

    /// The same for a client with an identifier, which stands for `{client_id}` in topic permissions.
    #[must_use]
    pub fn rights_of_client(
        &self,
        user: &str,
        vhost: &str,
        client_id: Option<&str>,
    ) -> Option<Arc<dyn Rights>> {
        let rights = LiveRights::new(&self.shared, user, vhost, client_id);
        rights.has_access().then(|| Arc::new(rights) as Arc<dyn Rights>)
    }

    /// Whether a user may be in a virtual host by a protocol with topics: unless an account says otherwise.
    #[must_use]
    pub fn may_enter(&self, user: &str, vhost: &str) -> bool {
        match self.shared.state.load().find(user) {
            Found::Account(account) if account.has_default_rights() => vhost == DEFAULT_VHOST,
            Found::Account(account) => account.permissions.contains_key(vhost),
            Found::Elsewhere => vhost == DEFAULT_VHOST,
            Found::Gone => false,
        }
    }

    /// What users may do in the topic space, for a protocol that has topics; `None`: nobody is restricted.
    #[must_use]
    pub fn topic_rights(&self, mapping: TopicMapping) -> Option<Arc<TopicRights>> {
        TopicRights::of(&self.shared.state.load(), mapping)
    }

    /// What a user may manage.
    #[must_use]
    pub fn tags(&self, user: &str) -> Tags {
        self.shared.state.load().tags(user)
    }

    /// Counts a connection in, against the limits of the user and the virtual host. Keep the permit as long as the
    /// connection is open.
    ///
    /// # Errors
    /// 530, in RabbitMQ's words.
    pub fn admit(&self, user: &Arc<str>, vhost: &Arc<str>) -> Result<ConnectionPermit, Refusal> {
        let limits = (self.user_limits(user), self.vhost_limits(vhost));
        self.census.admit(user, vhost, limits.0, limits.1)
    }

    /// Connections that are open in a virtual host.
    #[must_use]
    pub fn connections_in(&self, vhost: &str) -> u32 {
        self.census.connections_in(vhost)
    }

    /// Limits of a user.
    #[must_use]
    pub fn user_limits(&self, user: &str) -> UserLimits {
        match self.shared.state.load().find(user) {
            Found::Account(account) => account.limits,
            Found::Elsewhere | Found::Gone => UserLimits::default(),
        }
    }

    /// Limits of a virtual host.
    #[must_use]
    pub fn vhost_limits(&self, vhost: &str) -> VhostLimits {
        self.shared.state.load().vhost_limits.get(vhost).copied().unwrap_or_default()
    }

    /// Where the accounts are kept, for others who keep definitions.
    #[must_use]
    pub fn table(&self) -> Arc<dyn DefinitionTable> {
        Arc::clone(&self.table)
    }

    /// Number of the present state. It grows with every change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Has `hook` called after every change, on the thread that made it, with the new generation: consumers whose
    /// right to read is gone are to be cancelled. It must be quick, and must not change accounts.
    pub fn on_change(&self, hook: impl Fn(u64) + Send + Sync + 'static) {
        self.hooks.lock().push(Box::new(hook));
    }

    /// The account of a user; `None` for users that are unknown here.
    #[must_use]
    pub fn account(&self, user: &str) -> Option<Arc<Account>> {
        let state = self.shared.state.load();
        match state.find(user) {
            Found::Account(account) => Some(account),
            Found::Elsewhere if state.outside.users.contains(user) => {
                Some(Arc::new(Account::new(Credential::Elsewhere)))
            }
            Found::Elsewhere | Found::Gone => None,
        }
    }

    /// Whether any user has a password that is kept here.
    #[must_use]
    pub fn has_passwords(&self) -> bool {
        let state = self.shared.state.load();
        state.accounts.values().any(|account| matches!(account.credential, Credential::Hash(_)))
    }

    /// Every account and every user of the password file, by name.
    #[must_use]
    pub fn accounts(&self) -> Vec<(Box<str>, Arc<Account>)> {
        let state = self.shared.state.load();
        let names = state.names();
        names.into_iter().filter_map(|name| Some((Box::from(name), self.account(name)?))).collect()
    }

    /// Virtual hosts with limits, by name.
    #[must_use]
    pub fn all_vhost_limits(&self) -> Vec<(Box<str>, VhostLimits)> {
        let state = self.shared.state.load();
        state.vhost_limits.iter().map(|(vhost, limits)| (vhost.clone(), *limits)).collect()
    }

    /// Replaces what is known about users from elsewhere.
    pub fn set_outside(&self, outside: Outside) {
        let _changing = self.changing.lock();
        let mut state = State::clone(&self.shared.state.load());
        state.outside = outside;
        self.publish(state);
    }

    /// Creates a user, or changes its credential and tags; `None` leaves what there is. True if it is new.
    ///
    /// # Errors
    /// When no user can have the name, or the password of the user is not kept here.
    pub fn set_user(
        &self,
        user: &str,
        credential: Option<Credential>,
        tags: Option<Tags>,
    ) -> Result<(bool, Position), AccessError> {
        check_user_name(user)?;
        let _changing = self.changing.lock();
        let state = self.shared.state.load_full();
        let known = match state.find(user) {
            Found::Account(account) => Some(Account::clone(&account)),
            _ if state.outside.users.contains(user) => Some(Account::new(Credential::Elsewhere)),
            Found::Elsewhere | Found::Gone => None,
        };
        let is_new = known.is_none();
        let mut account = known.unwrap_or_else(|| Account::new(Credential::NoPassword));
        if let Some(credential) = credential {
            if account.credential == Credential::Elsewhere {
                return Err(AccessError::InPasswordFile(user.to_owned()));
            }
            account.credential = credential;
        }
        if tags.is_some() {
            account.tags = tags;
        }
        Ok((is_new, self.keep(&state, user, account)?))
    }

    /// Removes a user and everything that was set for it. A user of the password file keeps its password and falls back
    /// to the rights of such users.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn remove_user(&self, user: &str) -> Result<Position, AccessError> {
        let _changing = self.changing.lock();
        let mut state = State::clone(&self.shared.state.load());
        let Found::Account(_) = state.find(user) else {
            return Err(AccessError::NoSuchUser(user.to_owned()));
        };
        if user == GUEST {
            return self.keep(&state, user, Account::new(Credential::Removed));
        }
        let position = self.table.remove(ACCOUNTS, user);
        state.accounts.remove(user);
        state.removed.insert(user.into());
        self.publish(state);
        Ok(position)
    }

    /// Sets what a user may do in a virtual host.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_permission(
        &self,
        user: &str,
        vhost: &str,
        permission: Permission,
    ) -> Result<Position, AccessError> {
        self.change(user, |account| {
            account.managed = true;
            account.permissions.insert(vhost.into(), permission);
            Ok(())
        })
    }

    /// Takes away what a user may do in a virtual host.
    ///
    /// # Errors
    /// When there is no such user or permission.
    pub fn remove_permission(&self, user: &str, vhost: &str) -> Result<Position, AccessError> {
        self.change(user, |account| {
            // The rights that nobody has set yet can be taken away, too.
            let by_default = account.has_default_rights() && vhost == DEFAULT_VHOST;
            account.managed = true;
            let removed = account.permissions.remove(vhost).is_some();
            if removed || by_default { Ok(()) } else { Err(no_permission(user, vhost)) }
        })
    }

    /// Sets what routing keys a user may use with an exchange.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permission: TopicPermission,
    ) -> Result<Position, AccessError> {
        self.change(user, |account| {
            account.topics.insert((vhost.into(), exchange.into()), permission);
            Ok(())
        })
    }

    /// Takes away what was set about routing keys, for one exchange or for all of a virtual host: every key is
    /// allowed then.
    ///
    /// # Errors
    /// When there is no such user or permission.
    pub fn remove_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<Position, AccessError> {
        self.change(user, |account| {
            let before = account.topics.len();
            account.topics.retain(|(in_vhost, of), _| {
                **in_vhost != *vhost || exchange.is_some_and(|exchange| **of != *exchange)
            });
            if account.topics.len() < before { Ok(()) } else { Err(no_permission(user, vhost)) }
        })
    }

    /// Sets how much a user may have open. What is open stays open.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn set_user_limits(&self, user: &str, limits: UserLimits) -> Result<Position, AccessError> {
        self.change(user, |account| {
            account.limits = limits;
            Ok(())
        })
    }

    /// Sets how much may be open in a virtual host. What is open stays open.
    ///
    /// # Errors
    /// When the definition is too large.
    pub fn set_vhost_limits(&self, vhost: &str, limits: VhostLimits) -> Result<Position, AccessError> {
        let _changing = self.changing.lock();
        let mut state = State::clone(&self.shared.state.load());
        let position = if limits == VhostLimits::default() {
            state.vhost_limits.remove(vhost);
            self.table.remove(VHOST_LIMITS, vhost)
        } else {
            let bytes = limits.encode().map_err(|_| AccessError::TooLarge(vhost.to_owned()))?;
            state.vhost_limits.insert(vhost.into(), limits);
            self.table.put(VHOST_LIMITS, vhost, &bytes)
        };
        self.publish(state);
        Ok(position)
    }

    /// Forgets everything about a virtual host that is gone: a later one of the same name starts with nothing.
    ///
    /// # Errors
    /// When a definition is too large.
    pub fn forget_vhost(&self, vhost: &str) -> Result<Position, AccessError> {
        let mut position = self.set_vhost_limits(vhost, VhostLimits::default())?;
        for (user, account) in self.accounts() {
            let concerned = account.permissions.contains_key(vhost)
                || account.topics.keys().any(|(in_vhost, _)| **in_vhost == *vhost);
            if concerned {
                position = self.change(&user, |account| {
                    account.permissions.remove(vhost);
                    account.topics.retain(|(in_vhost, _), _| **in_vhost != *vhost);
                    Ok(())
                })?;
            }
        }
        Ok(position)
    }

    fn change(
        &self,
        user: &str,
        change: impl FnOnce(&mut Account) -> Result<(), AccessError>,
    ) -> Result<Position, AccessError> {
        let _changing = self.changing.lock();
        let state = self.shared.state.load_full();
        let known = self.account(user).ok_or_else(|| AccessError::NoSuchUser(user.to_owned()))?;
        let mut account = Account::clone(&known);
        change(&mut account)?;
        self.keep(&state, user, account)
    }

    /// Writes an account and puts it in force. Called while changes are locked.
    fn keep(&self, state: &State, user: &str, account: Account) -> Result<Position, AccessError> {
        let mut state = state.clone();
        state.removed.remove(user);
        let position = if account.says_nothing() {
            state.accounts.remove(user);
            self.table.remove(ACCOUNTS, user)
        } else {
            let bytes =
                account_record::encode(&account).map_err(|_| AccessError::TooLarge(user.to_owned()))?;
            state.accounts.insert(user.into(), Arc::new(account));
            self.table.put(ACCOUNTS, user, &bytes)
        };
        self.publish(state);
        Ok(position)
    }

    /// Puts a state in force. Called while changes are locked.
    fn publish(&self, mut state: State) {
        state.generation = self.shared.state.load().generation + 1;
        let generation = state.generation;
        self.shared.state.store(Arc::new(state));
        self.shared.generation.store(generation, Ordering::Release);
        for hook in self.hooks.lock().iter() {
            hook(generation);
        }
    }
}

impl std::fmt::Debug for AccessStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessStore").field("generation", &self.generation()).finish_non_exhaustive()
    }
}

fn no_permission(user: &str, vhost: &str) -> AccessError {
    AccessError::NoSuchPermission { user: user.to_owned(), vhost: vhost.to_owned() }
}

fn check_user_name(name: &str) -> Result<(), AccessError> {
    let allowed = !name.is_empty()
        && name.len() <= MAX_USER_BYTES
        && name.trim() == name
        && !name.starts_with('#')
        && !name.contains(|c: char| c == ':' || c.is_control());
    if allowed { Ok(()) } else { Err(AccessError::BadUserName) }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
