//! What one user may do in one virtual host, as it is in force.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;

use super::DEFAULT_VHOST;
use super::account::Account;
use super::pattern::Placeholders;
use super::permission::{CompiledTopics, Permission};
use super::state::{Found, State};
use super::store::Shared;
use crate::actor::{Right, Rights};

/// Rights that follow every change. A question costs one look at a number, unless something changed.
pub(super) struct LiveRights {
    shared: Arc<Shared>,
    user: Box<str>,
    vhost: Box<str>,
    client_id: Option<Box<str>>,
    compiled: ArcSwap<Compiled>,
}

/// The rights in one generation.
struct Compiled {
    generation: u64,
    permission: Given,
    impersonator: bool,
    /// By exchange. Few: looked through one by one.
    topics: Vec<(Box<str>, CompiledTopics)>,
}

enum Given {
    Nothing,
    Everything,
    Patterns(Permission),
}

impl LiveRights {
    pub(super) fn new(shared: &Arc<Shared>, user: &str, vhost: &str, client_id: Option<&str>) -> Self {
        let compiled = Compiled::of(&shared.state.load(), user, vhost, client_id);
        Self {
            shared: Arc::clone(shared),
            user: user.into(),
            vhost: vhost.into(),
            client_id: client_id.map(Into::into),
            compiled: ArcSwap::from_pointee(compiled),
        }
    }

    /// Whether the user may be in the virtual host at all.
    pub(super) fn has_access(&self) -> bool {
        self.ask(|compiled| !matches!(compiled.permission, Given::Nothing))
    }

    fn ask<T>(&self, question: impl FnOnce(&Compiled) -> T) -> T {
        let current = self.compiled.load();
        if current.generation == self.shared.generation.load(Ordering::Acquire) {
            return question(&current);
        }
        let state = self.shared.state.load();
        let fresh = Arc::new(Compiled::of(&state, &self.user, &self.vhost, self.client_id.as_deref()));
        self.compiled.store(Arc::clone(&fresh));
        question(&fresh)
    }
}

impl Compiled {
    fn of(state: &State, user: &str, vhost: &str, client_id: Option<&str>) -> Self {
        let (permission, topics) = match state.find(user) {
            Found::Account(account) => {
                let values = Placeholders { username: user, vhost, client_id };
                let topics = account.topics.iter().filter(|((in_vhost, _), _)| **in_vhost == *vhost);
                let topics = topics.map(|((_, exchange), topic)| (exchange.clone(), topic.compile(&values)));
                (given(state, &account, vhost), topics.collect())
            }
            Found::Elsewhere => (by_default(state, vhost), Vec::new()),
            Found::Gone => (Given::Nothing, Vec::new()),
        };
        let impersonator = state.tags(user).may_impersonate();
        Self { generation: state.generation, permission, impersonator, topics }
    }
}

fn given(state: &State, account: &Account, vhost: &str) -> Given {
    if account.has_default_rights() {
        return by_default(state, vhost);
    }
    match account.permissions.get(vhost) {
        Some(permission) if *permission == Permission::everything() => Given::Everything,
        Some(permission) => Given::Patterns(permission.clone()),
        None => Given::Nothing,
    }
}

/// The rights of a user from elsewhere for whom none were ever set.
fn by_default(state: &State, vhost: &str) -> Given {
    if vhost == DEFAULT_VHOST && !state.outside.restricted { Given::Everything } else { Given::Nothing }
}

impl Rights for LiveRights {
    fn allows(&self, right: Right, resource: &str) -> bool {
        self.ask(|compiled| match &compiled.permission {
            Given::Nothing => false,
            Given::Everything => true,
            Given::Patterns(permission) => permission.allows(right, resource),
        })
    }

    fn allows_topic(&self, right: Right, exchange: &str, routing_key: &str) -> bool {
        self.ask(|compiled| {
            let topics = compiled.topics.iter().find(|(of, _)| **of == *exchange);
            match compiled.permission {
                Given::Nothing => false,
                Given::Everything | Given::Patterns(_) => {
                    topics.is_none_or(|(_, topics)| topics.allows(right, routing_key))
                }
            }
        })
    }

    fn may_impersonate(&self) -> bool {
        self.ask(|compiled| compiled.impersonator)
    }

    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }
}

impl fmt::Debug for LiveRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveRights({:?} in {:?})", self.user, self.vhost)
    }
}
