//! Who may do what: one ordered rule list that every protocol face asks.
//!
//! A [`Rule`] says who it is about, which actions on which topics it covers, and whether it allows or denies
//! them. Rules are read in order and **the first one that matches decides**; when none matches the answer is
//! [`Effect::Deny`]. Without any rule list everything is allowed ([`Permissions::allow_all`]); an *empty* rule
//! list denies everything, so a truncated ACL file never opens a broker (CVE-2018-12550).
//!
//! The parts:
//! - [`Permissions`]: the list compiled for checking, immutable; a check costs one walk along the topic's levels.
//! - [`PermissionStore`]: the current `Permissions`, replaced as a whole on reload. Each replacement has a new
//!   generation, so that a face may keep a decision as long as the generation stands.
//! - [`TopicPattern`]: topic filters with `%c` and `%u`, and the relations between two filters.
//! - [`acl_file`]: reads Mosquitto's ACL format into a rule list.
//!
//! # Accounts
//! Users that are managed at run time have permissions of their own ([`crate::access`]). What those say about `amq.topic`
//! restricts what the rule list allows ([`Permissions::with_accounts`]).
//!
//! # Topics that begin with `$`
//! They are reached only through a rule whose first level is spelled out (`$SYS/#`), never through a leading
//! wildcard or placeholder.
//!
//! # Client identifiers and user names in patterns
//! A value that is empty or contains `+`, `#` or `/` is never put in the place of `%c` or `%u`
//! (CVE-2017-7650): a rule that allows does not match then, and a rule that denies covers everything from that
//! level on. Rules that do not mention the value keep their meaning.
//!
//! # Subscriptions
//! [`Action::Receive`] decides each delivery. [`Action::Subscribe`] is asked about a whole filter:
//! a filter that lies entirely inside a denied pattern is refused; otherwise [`SubscribeCheck`] tells how much
//! of it an allowing rule must contain. Pass the filter without its `$share/<group>/` prefix.

pub mod acl_file;
mod rule_index;
mod store;
mod topic_pattern;

pub use store::PermissionStore;
pub use topic_pattern::{PatternError, TopicPattern, filters_overlap, pattern_covers};

use std::sync::Arc;

use hashbrown::HashMap;
use rule_index::{Hit, RuleIndex};

use crate::access::TopicRights;

/// What a client wants to do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send a message to a topic (also: leave a will, set a retained value).
    Publish,
    /// Be handed a message that was published to a topic. Asked at delivery, also for retained and queued
    /// messages, so that a right that was taken away is gone at once.
    Receive,
    /// Hold a subscription for a topic filter.
    Subscribe,
}

/// A set of [`Action`]s that one rule speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions {
    bits: u8,
}

impl Actions {
    /// Every action.
    pub const ALL: Self = Self { bits: 0b111 };

    /// The set of the given actions.
    pub const fn of(actions: &[Action]) -> Self {
        let mut bits = 0;
        let mut rest = actions;
        while let [first, tail @ ..] = rest {
            bits |= 1 << *first as u8;
            rest = tail;
        }
        Self { bits }
    }

    /// Whether `action` is in the set.
    pub const fn contains(self, action: Action) -> bool {
        self.bits & (1 << action as u8) != 0
    }
}

/// The answer to a check, and what a rule does when it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The action may be done.
    Allow,
    /// The action must be refused.
    Deny,
}

impl Effect {
    /// True for [`Effect::Allow`].
    pub const fn is_allowed(self) -> bool {
        matches!(self, Self::Allow)
    }
}

/// Whom a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Every client, with or without a name.
    Everyone,
    /// Clients that were let in without proving who they are.
    Anonymous,
    /// The user with exactly this name.
    User(Box<str>),
}

/// What a rule covers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResourcePattern {
    /// Topics of the topic space.
    Topic(TopicPattern),
}

/// One line of the rule list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Whom the rule is about.
    pub who: Who,
    /// Which actions it speaks about.
    pub actions: Actions,
    /// Which things it covers.
    pub resource: ResourcePattern,
    /// What happens when it matches.
    pub effect: Effect,
}

/// How much of a topic filter an allowing rule must contain for a subscription to be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SubscribeCheck {
    /// The filter and the rule's pattern have at least one topic in common. Deliveries are filtered one by one,
    /// so `#` is a legal way to say "all I may read"; only a subscription that could never receive anything is
    /// refused.
    #[default]
    Overlapping,
    /// The whole filter lies inside the rule's pattern.
    Covered,
}

/// A rule list as written, before it is compiled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// The rules, the most important first.
    pub rules: Vec<Rule>,
    /// How subscriptions are judged.
    pub subscribe_check: SubscribeCheck,
}

/// Who asks: the part of a connection that rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The proven user name, or `None` for an anonymous client. Never a name that was only claimed.
    pub user: Option<&'a str>,
    /// The client identifier.
    pub client_id: &'a str,
}

/// A compiled, immutable rule list.
#[derive(Debug)]
pub struct Permissions {
    generation: u64,
    rules: Option<Arc<Compiled>>,
    /// What accounts may do; they restrict what the rules allow.
    accounts: Option<Arc<TopicRights>>,
}

#[derive(Debug, Default)]
struct Compiled {
    everyone: RuleIndex,
    anonymous: RuleIndex,
    users: HashMap<Box<str>, RuleIndex>,
    subscribe_check: SubscribeCheck,
}

impl Permissions {
    /// No rules are configured: everybody may do everything.
    pub const fn allow_all() -> Self {
        Self { generation: 0, rules: None, accounts: None }
    }

    /// Compiles a rule list. What no rule mentions is denied.
    pub fn new(set: &RuleSet) -> Self {
        let mut compiled = Compiled { subscribe_check: set.subscribe_check, ..Compiled::default() };
        for (rank, rule) in set.rules.iter().enumerate() {
            let index = match &rule.who {
                Who::Everyone => &mut compiled.everyone,
                Who::Anonymous => &mut compiled.anonymous,
                Who::User(name) => compiled.users.entry_ref(name.as_ref()).or_default(),
            };
            let ResourcePattern::Topic(pattern) = &rule.resource;
            index.insert(pattern, rule.actions, Hit { rank, effect: rule.effect });
        }
        Self { generation: 0, rules: Some(Arc::new(compiled)), accounts: None }
    }

    /// The same rules together with what accounts may do: both have to allow something.
    #[must_use]
    pub fn with_accounts(&self, accounts: Option<Arc<TopicRights>>) -> Self {
        Self { generation: 0, rules: self.rules.clone(), accounts }
    }

    /// Number of this rule list within its [`PermissionStore`]; a cached answer is good while it stays the same.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// True when no rules are configured, so that callers may skip asking at all.
    pub const fn is_unrestricted(&self) -> bool {
        self.rules.is_none() && self.accounts.is_none()
    }

    /// May `subject` do `action` on `topic`? For [`Action::Subscribe`] `topic` is a topic filter.
    ///
    /// The work is bounded by the number of rules, whatever the topic looks like.
    pub fn check(&self, subject: &Subject<'_>, action: Action, topic: &str) -> Effect {
        if self.accounts.as_ref().is_some_and(|accounts| !accounts.allows(subject, action, topic)) {
            return Effect::Deny;
        }
        let Some(rules) = &self.rules else { return Effect::Allow };
        let own = match subject.user {
            Some(name) => rules.users.get(name),
            None => Some(&rules.anonymous),
        };
        let find = |index: &RuleIndex| match action {
            Action::Publish | Action::Receive => index.first_match(subject, action, topic),
            Action::Subscribe => index.first_for_filter(subject, rules.subscribe_check, topic),
        };
        let hits = [own.and_then(find), find(&rules.everyone)];
        hits.into_iter().flatten().min_by_key(|hit| hit.rank).map_or(Effect::Deny, |hit| hit.effect)
    }

    fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }
}

#[cfg(test)]
mod tests;
