//! One policy.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tercet_amqp::EncodeError;
use tercet_amqp::field::{Table, TableBuf, Value};

use crate::access::{Pattern, PatternError};
use crate::exchange::equivalence::shown;
use crate::named_queue::QueueKind;
use crate::policy::queue_arguments;
use crate::policy::wishes::Wishes;

/// Whose wishes a policy states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// A user's who may set policies.
    User,
    /// An operator's: limits that users cannot lift.
    Operator,
}

/// What a policy applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Queues of every kind.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
    /// Exchanges.
    Exchanges,
}

impl ApplyTo {
    const ALL: [Self; 6] =
        [Self::All, Self::Queues, Self::ClassicQueues, Self::QuorumQueues, Self::Streams, Self::Exchanges];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
            Self::Exchanges => "exchanges",
        }
    }

    /// What this name means.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    pub(crate) fn covers_queues(self, kind: QueueKind) -> bool {
        match self {
            Self::All | Self::Queues => true,
            Self::ClassicQueues => kind == QueueKind::Classic,
            Self::QuorumQueues => kind == QueueKind::Quorum,
            Self::Streams => kind == QueueKind::Stream,
            Self::Exchanges => false,
        }
    }

    pub(crate) fn covers_exchanges(self) -> bool {
        matches!(self, Self::All | Self::Exchanges)
    }
}

/// A policy that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Its pattern is no regular expression.
    #[error("pattern: {0}")]
    Pattern(#[from] PatternError),
    /// It says nothing.
    #[error("definition: a policy has at least one key")]
    Empty,
    /// It has a key that means nothing to anybody, or not to operators.
    #[error("definition: '{0}' is not recognised as a policy setting")]
    UnknownKey(String),
    /// A key has a value it cannot have.
    #[error("definition: '{key}' cannot be {value}")]
    Value {
        /// The key.
        key: String,
        /// The value, and why not.
        value: String,
    },
    /// It is too large to be kept.
    #[error("definition: {0}")]
    TooLarge(#[from] EncodeError),
    /// It was not kept in a form that can be read.
    #[error("not a policy")]
    Unreadable,
}

/// A policy.
#[derive(Clone)]
pub struct Policy {
    name: Arc<str>,
    pattern_text: Box<str>,
    pattern: Pattern,
    apply_to: ApplyTo,
    priority: i64,
    definition: Bytes,
    wishes: Wishes,
    alternate: Option<Arc<str>>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("pattern", &self.pattern_text)
            .field("apply_to", &self.apply_to)
            .field("priority", &self.priority)
            .field("definition", &self.definition())
            .finish_non_exhaustive()
    }
}

/// Keys that have the argument of a queue behind them: `x-` and the key.
const QUEUE_KEYS: [&str; 20] = [
    "expires",
    "message-ttl",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "max-length",
    "max-length-bytes",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "overflow",
    "delivery-limit",
    "delayed-retry-type",
    "delayed-retry-min",
    "delayed-retry-max",
    "consumer-timeout",
    "max-age",
    "stream-max-segment-size-bytes",
    "stream-filter-size-bytes",
    "queue-mode",
    "queue-version",
];

/// Keys that mean something elsewhere than on one node.
const ACCEPTED_KEYS: [&str; 14] = [
    "queue-leader-locator",
    "queue-master-locator",
    "initial-cluster-size",
    "quorum-initial-group-size",
    "target-group-size",
    "federation-upstream",
    "federation-upstream-set",
    "consumer-disconnected-timeout",
    "ha-mode",
    "ha-params",
    "ha-sync-mode",
    "ha-sync-batch-size",
    "ha-promote-on-shutdown",
    "ha-promote-on-failure",
];

const OPERATOR_KEYS: [&str; 9] = [
    "expires",
    "message-ttl",
    "max-length",
    "max-length-bytes",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "delivery-limit",
    "queue-version",
    "overflow",
];

const ALTERNATE: &str = "alternate-exchange";

/// Deepest nesting of what is kept.
const DEPTH: u8 = 8;

impl Policy {
    /// A policy.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn new(
        kind: PolicyKind,
        name: &str,
        pattern: &str,
        apply_to: ApplyTo,
        priority: i64,
        definition: &Table<'_>,
    ) -> Result<Self, PolicyError> {
        if definition.is_empty() {
            return Err(PolicyError::Empty);
        }
        // An empty pattern is found in every name.
        let compiled = Pattern::new(if pattern.is_empty() { ".*" } else { pattern })?;
        let mut arguments = TableBuf::new();
        let mut alternate = None;
        for (key, value) in definition.iter() {
            let key = std::str::from_utf8(key)
                .map_err(|_| PolicyError::UnknownKey(String::from_utf8_lossy(key).into_owned()))?;
            if kind == PolicyKind::Operator && !OPERATOR_KEYS.contains(&key) {
                return Err(PolicyError::UnknownKey(key.to_owned()));
            }
            if QUEUE_KEYS.contains(&key) {
                arguments.put(format!("x-{key}"), value)?;
            } else if key == ALTERNATE {
                alternate = Some(Arc::from(value.as_str().ok_or_else(|| refused(key, shown(&value)))?));
            } else if !ACCEPTED_KEYS.contains(&key) {
                return Err(PolicyError::UnknownKey(key.to_owned()));
            }
        }
        let arguments = arguments.as_table();
        for (key, value) in arguments {
            let key = std::str::from_utf8(key).unwrap_or_default();
            // A policy may name a key without an exchange: the exchange may stand in the queue's arguments.
            if key != "x-dead-letter-routing-key" || value.as_str().is_none() {
                queue_arguments::check_value(key, &value, &arguments).map_err(|why| {
                    refused(key.trim_start_matches("x-"), format!("{}: {why}", shown(&value)))
                })?;
            }
        }
        Ok(Self {
            name: name.into(),
            pattern_text: pattern.into(),
            pattern: compiled,
            apply_to,
            priority,
            definition: Bytes::copy_from_slice(definition.as_bytes()),
            wishes: queue_arguments::wishes(&arguments),
            alternate,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The regular expression that names are searched for.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern_text
    }

    /// What it applies to.
    #[must_use]
    pub fn apply_to(&self) -> ApplyTo {
        self.apply_to
    }

    /// The one with the highest priority counts.
    #[must_use]
    pub fn priority(&self) -> i64 {
        self.priority
    }

    /// What it says.
    #[must_use]
    pub fn definition(&self) -> Table<'_> {
        Table::parse(&self.definition, u8::MAX).unwrap_or_default()
    }

    /// The exchange for what leads nowhere.
    pub(crate) fn alternate(&self) -> Option<&Arc<str>> {
        self.alternate.as_ref()
    }

    pub(crate) fn wishes(&self) -> &Wishes {
        &self.wishes
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.pattern.matches(name)
    }

    /// The policy as it is kept.
    ///
    /// # Errors
    /// It is larger than 4 GiB.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut table = TableBuf::new();
        table.put("pattern", &*self.pattern_text)?;
        table.put("apply-to", self.apply_to.name())?;
        table.put("priority", self.priority)?;
        table.put("definition", self.definition())?;
        Ok(table.as_table().as_bytes().to_vec())
    }

    /// A policy that was kept.
    ///
    /// # Errors
    /// See [`PolicyError`]; this version may refuse what another one took.
    pub fn decode(kind: PolicyKind, name: &str, bytes: &[u8]) -> Result<Self, PolicyError> {
        let table = Table::parse(bytes, DEPTH).map_err(|_| PolicyError::Unreadable)?;
        let text = |key: &str| table.get(key).and_then(|value| value.as_str()).ok_or(PolicyError::Unreadable);
        let apply_to = ApplyTo::from_name(text("apply-to")?).ok_or(PolicyError::Unreadable)?;
        let priority =
            table.get("priority").and_then(|value| value.as_i64()).ok_or(PolicyError::Unreadable)?;
        let Some(Value::Table(definition)) = table.get("definition") else {
            return Err(PolicyError::Unreadable);
        };
        Self::new(kind, name, text("pattern")?, apply_to, priority, &definition)
    }
}

fn refused(key: &str, value: String) -> PolicyError {
    PolicyError::Value { key: key.to_owned(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: &[(&str, Value<'_>)]) -> TableBuf {
        let mut table = TableBuf::new();
        for (name, value) in fields {
            table.put(name, *value).expect("short");
        }
        table
    }

    fn refused_by(kind: PolicyKind, fields: &[(&str, Value<'_>)]) -> Option<String> {
        let made = Policy::new(kind, "p", "^q", ApplyTo::All, 0, &table(fields).as_table());
        made.err().map(|error| error.to_string())
    }

    #[test]
    fn a_policy_that_cannot_be_used_is_refused() {
        let refused = |fields: &[(&str, Value<'_>)]| refused_by(PolicyKind::User, fields);
        assert_eq!(refused(&[("max-length", Value::I32(5)), ("ha-mode", Value::from("all"))]), None);
        assert_eq!(refused(&[("dead-letter-routing-key", Value::from("k"))]), None);
        assert_eq!(refused(&[]).as_deref(), Some("definition: a policy has at least one key"));
        assert_eq!(
            refused(&[("max-lenght", Value::I32(5))]).as_deref(),
            Some("definition: 'max-lenght' is not recognised as a policy setting")
        );
        assert_eq!(
            refused(&[("max-length", Value::I32(-5))]).as_deref(),
            Some("definition: 'max-length' cannot be -5: {value_negative,-5}")
        );
        assert!(refused(&[("alternate-exchange", Value::I32(5))]).is_some());
        let pattern = Policy::new(
            PolicyKind::User,
            "p",
            "(",
            ApplyTo::All,
            0,
            &table(&[("expires", Value::I32(5))]).as_table(),
        );
        assert!(matches!(pattern, Err(PolicyError::Pattern(_))));
    }

    #[test]
    fn operators_set_limits_only() {
        let refused = |key: &str| refused_by(PolicyKind::Operator, &[(key, Value::I32(5))]);
        OPERATOR_KEYS
            .iter()
            .filter(|key| !["overflow", "queue-version"].contains(key))
            .for_each(|key| assert_eq!(refused(key), None, "{key}"));
        assert!(refused("dead-letter-exchange").is_some());
    }

    #[test]
    fn a_policy_comes_back_as_it_was_kept() {
        let definition = table(&[("message-ttl", Value::I32(5)), ("alternate-exchange", Value::from("a"))]);
        let definition = definition.as_table();
        let policy = Policy::new(PolicyKind::User, "p", "", ApplyTo::Queues, -3, &definition).expect("valid");
        let kept = policy.encode().expect("small");
        let back = Policy::decode(PolicyKind::User, "p", &kept).expect("just written");
        assert_eq!(format!("{back:?}"), format!("{policy:?}"));
        assert!(back.matches("anything"));
        assert!(matches!(Policy::decode(PolicyKind::User, "p", b"no"), Err(PolicyError::Unreadable)));
    }
}
