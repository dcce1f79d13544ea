//! What a user may do in one virtual host.

use super::pattern::{Pattern, PatternError, Placeholders};
use crate::actor::Right;

/// Three patterns over the names of exchanges and queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// What may be created and deleted.
    pub configure: Pattern,
    /// What may be published to, and be the destination of a binding.
    pub write: Pattern,
    /// What may be consumed, purged, and be the source of a binding.
    pub read: Pattern,
}

impl Permission {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// The first pattern that is refused.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, PatternError> {
        Ok(Self {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    /// Every right on everything.
    #[must_use]
    pub fn everything() -> Self {
        Self { configure: Pattern::everything(), write: Pattern::everything(), read: Pattern::everything() }
    }

    /// Whether it gives the right on what has this name.
    #[must_use]
    pub fn allows(&self, right: Right, resource: &str) -> bool {
        match right {
            Right::Configure => self.configure.matches(resource),
            Right::Write => self.write.matches(resource),
            Right::Read => self.read.matches(resource),
        }
    }
}

/// Two patterns over the routing keys of one topic exchange, with placeholders `{username}`, `{vhost}` and
/// `{client_id}`. Where no topic permission is set for an exchange, every key is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    /// Keys that may be published with.
    pub write: Box<str>,
    /// Keys that may be bound with.
    pub read: Box<str>,
}

impl TopicPermission {
    /// Checks the patterns, with a sample in the place of each placeholder.
    ///
    /// # Errors
    /// The first pattern that is refused.
    pub fn new(write: &str, read: &str) -> Result<Self, PatternError> {
        let sample = Placeholders { username: "user", vhost: "vhost", client_id: Some("client") };
        for text in [write, read] {
            Pattern::new(&sample.expand(text).unwrap_or_default())?;
        }
        Ok(Self { write: write.into(), read: read.into() })
    }

    /// Compiles the patterns for one user. A pattern that cannot be used for it (no client identifier, or too large with
    /// these values) matches nothing.
    pub(super) fn compile(&self, values: &Placeholders<'_>) -> CompiledTopics {
        let compile = |text: &str| Pattern::new(&values.expand(text)?).ok();
        CompiledTopics { write: compile(&self.write), read: compile(&self.read) }
    }
}

/// A topic permission with the values of one user.
#[derive(Clone, Debug)]
pub(super) struct CompiledTopics {
    write: Option<Pattern>,
    read: Option<Pattern>,
}

impl CompiledTopics {
    pub(super) fn allows(&self, right: Right, key: &str) -> bool {
        let pattern = match right {
            Right::Write => &self.write,
            Right::Read => &self.read,
            Right::Configure => return true,
        };
        pattern.as_ref().is_some_and(|pattern| pattern.matches(key))
    }
}
