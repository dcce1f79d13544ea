//! Users, their tags, and what they may do in which virtual host: RabbitMQ's model.
//!
//! An [`Account`] has tags (what it may manage), a [`Permission`] per virtual host (three regular expressions over the
//! names of exchanges and queues), [`TopicPermission`]s (over routing keys) and [`UserLimits`]. [`AccessStore`] keeps the
//! accounts that are managed at run time, writes every change through a [`DefinitionTable`], and answers
//! [`AccessStore::rights`] for all faces and for the control API alike.
//!
//! # Invariants
//! - An account is one definition, so a change of it is on disk as a whole or not at all.
//! - A user without an account here comes from elsewhere (password file, certificate). It has all rights on `/` until a
//!   permission is set for it for the first time, and never again after that. A removed account has none.
//! - Rights are live: a [`Rights`](crate::actor::Rights) that was handed out answers from what is in force, and its
//!   generation changes with every change of any account.
//! - Patterns run in time linear to the name, and values that stand for placeholders are escaped as a whole
//!   (CVE-2026-44838).
//!
//! # Rooms
//! - [`account`]: one user; [`tag`]: what it may manage; [`permission`]: what it may do; [`pattern`]: regular expressions.
//! - [`store`]: all accounts and every change of them; [`definition_table`]: where they are kept.
//! - [`live_rights`]: the answer to "may this user do that here"; [`topic_rights`]: the same for topics.
//! - [`limits`], [`admission`]: how many connections, channels and queues there may be.

pub mod account;
mod account_record;
pub mod admission;
pub mod definition_table;
pub mod limits;
mod live_rights;
pub mod pattern;
pub mod permission;
mod state;
pub mod store;
pub mod tag;
pub mod topic_rights;

pub use account::{Account, Credential, TopicKey};
pub use admission::ConnectionPermit;
pub use definition_table::{DefinitionTable, MemoryTable};
pub use limits::{UserLimits, VhostLimits};
pub use pattern::{Pattern, PatternError};
pub use permission::{Permission, TopicPermission};
pub use store::{AccessError, AccessStore, Outside};
pub use tag::{Tag, Tags};
pub use topic_rights::TopicRights;

/// The virtual host that always exists at first.
pub const DEFAULT_VHOST: &str = "/";

/// The user of a server without users: only programs on this machine can log in as it.
pub const GUEST: &str = "guest";
