//! The policies of a virtual host.

use std::sync::Arc;

use tercet_amqp::field::Table;

use crate::named_queue::{QueueKind, QueueOverflow, QueueSettings};
use crate::policy::definition::{Policy, PolicyKind};
use crate::policy::queue_arguments;
use crate::policy::wishes::Wishes;

/// The policies of a virtual host; replaced as a whole.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// The highest priority first.
    user: Vec<Arc<Policy>>,
    operator: Vec<Arc<Policy>>,
}

impl Policies {
    fn of(&self, kind: PolicyKind) -> &Vec<Arc<Policy>> {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    /// All policies of a kind, the most important first.
    #[must_use]
    pub fn all(&self, kind: PolicyKind) -> &[Arc<Policy>] {
        self.of(kind)
    }

    /// These policies with another one, which replaces the one of its name.
    #[must_use]
    pub fn with(&self, kind: PolicyKind, policy: Policy) -> Self {
        let mut changed = self.without(kind, policy.name());
        let policies = match kind {
            PolicyKind::User => &mut changed.user,
            PolicyKind::Operator => &mut changed.operator,
        };
        policies.push(Arc::new(policy));
        policies.sort_by(|a, b| b.priority().cmp(&a.priority()).then_with(|| a.name().cmp(b.name())));
        changed
    }

    /// These policies without the one of this name.
    #[must_use]
    pub fn without(&self, kind: PolicyKind, name: &str) -> Self {
        let mut changed = self.clone();
        match kind {
            PolicyKind::User => changed.user.retain(|policy| &**policy.name() != name),
            PolicyKind::Operator => changed.operator.retain(|policy| &**policy.name() != name),
        }
        changed
    }

    /// The policy that counts for a queue.
    #[must_use]
    pub fn for_queue(&self, kind: PolicyKind, name: &str, queue: QueueKind) -> Option<&Arc<Policy>> {
        let applies = |policy: &&Arc<Policy>| policy.apply_to().covers_queues(queue) && policy.matches(name);
        self.of(kind).iter().find(applies)
    }

    /// The policy that counts for an exchange.
    #[must_use]
    pub fn for_exchange(&self, name: &str) -> Option<&Arc<Policy>> {
        self.user.iter().find(|policy| policy.apply_to().covers_exchanges() && policy.matches(name))
    }

    /// What a queue does by its arguments and the policies that count for it.
    #[must_use]
    pub fn settings(&self, name: &str, kind: QueueKind, arguments: &Table<'_>) -> QueueSettings {
        let user = self.for_queue(PolicyKind::User, name, kind);
        let operator = self.for_queue(PolicyKind::Operator, name, kind);
        let wishes = |policy: Option<&Arc<Policy>>| policy.map(|policy| policy.wishes().clone());
        let operator: Wishes = wishes(operator).unwrap_or_default();
        let overflow: Option<QueueOverflow> = operator.overflow;
        let wishes = queue_arguments::wishes(arguments).over(wishes(user).unwrap_or_default()).over(operator);
        Wishes { overflow: overflow.or(wishes.overflow), ..wishes }.settings(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::definition::ApplyTo;
    use tercet_amqp::field::{TableBuf, Value};

    fn policy(
        kind: PolicyKind,
        name: &str,
        pattern: &str,
        to: ApplyTo,
        priority: i64,
        length: i32,
    ) -> Policy {
        let mut definition = TableBuf::new();
        definition.put("max-length", Value::I32(length)).expect("short");
        if kind == PolicyKind::Operator {
            definition.put("overflow", "reject-publish").expect("short");
        }
        Policy::new(kind, name, pattern, to, priority, &definition.as_table()).expect("valid")
    }

    #[test]
    fn the_policy_with_the_highest_priority_counts() {
        let policies = Policies::default()
            .with(PolicyKind::User, policy(PolicyKind::User, "low", "^q", ApplyTo::All, 0, 1))
            .with(PolicyKind::User, policy(PolicyKind::User, "high", "^qu", ApplyTo::Queues, 5, 2))
            .with(PolicyKind::User, policy(PolicyKind::User, "exchanges", "", ApplyTo::Exchanges, 9, 3))
            .with(PolicyKind::User, policy(PolicyKind::User, "quorum", "", ApplyTo::QuorumQueues, 7, 4));
        let name = |queue: &str, kind| {
            policies.for_queue(PolicyKind::User, queue, kind).map(|policy| policy.name().to_string())
        };
        assert_eq!(name("queue", QueueKind::Classic).as_deref(), Some("high"));
        assert_eq!(name("q", QueueKind::Classic).as_deref(), Some("low"));
        assert_eq!(name("queue", QueueKind::Quorum).as_deref(), Some("quorum"));
        assert_eq!(name("other", QueueKind::Classic), None);
        assert_eq!(policies.for_exchange("q").map(|policy| &**policy.name()), Some("exchanges"));
        let fewer = policies.without(PolicyKind::User, "high");
        let found = fewer.for_queue(PolicyKind::User, "queue", QueueKind::Classic);
        assert_eq!(found.map(|policy| &**policy.name()), Some("low"));
        let lowered =
            policies.with(PolicyKind::User, policy(PolicyKind::User, "high", "^z", ApplyTo::All, 0, 1));
        assert_eq!(lowered.all(PolicyKind::User).len(), 4, "it was replaced");
    }

    #[test]
    fn an_operator_can_only_make_limits_narrower() {
        let policies = Policies::default()
            .with(PolicyKind::User, policy(PolicyKind::User, "u", "", ApplyTo::All, 0, 10))
            .with(PolicyKind::Operator, policy(PolicyKind::Operator, "o", "", ApplyTo::Queues, 0, 100));
        let mut arguments = TableBuf::new();
        arguments.put("x-max-length", 50).expect("short");
        arguments.put("x-overflow", "drop-head").expect("short");
        let settings = policies.settings("q", QueueKind::Classic, &arguments.as_table());
        assert_eq!(settings.max_length, Some(10));
        assert_eq!(
            settings.overflow,
            QueueOverflow::RejectPublish,
            "an operator's word on overflow is the last"
        );
    }
}
