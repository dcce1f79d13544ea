//! Subscriptions as the core sees them: a path of levels, options, and identifiers.

use std::sync::Arc;

use crate::message::Qos;

/// One level of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level<'a> {
    /// Exactly this level.
    Exact(&'a str),
    /// Any one level (`+`).
    One,
    /// Any number of levels, none included (`#`).
    Many,
}

/// Splits an MQTT topic filter, already validated, into levels.
pub fn levels(filter: &str) -> impl Iterator<Item = Level<'_>> {
    filter.split('/').map(|level| match level {
        "+" => Level::One,
        "#" => Level::Many,
        exact => Level::Exact(exact),
    })
}

/// Whether a validated filter matches a topic. A leading wildcard does not match topics that begin with `$`
/// [MQTT-4.7.2-1].
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let mut topic_levels = topic.split('/');
    for level in levels(filter) {
        match level {
            Level::Many => return true,
            Level::One => {
                if topic_levels.next().is_none() {
                    return false;
                }
            }
            Level::Exact(exact) => {
                if topic_levels.next() != Some(exact) {
                    return false;
                }
            }
        }
    }
    topic_levels.next().is_none()
}

/// Options of a subscription (MQTT 5 §3.8.3.1; the earlier versions use the defaults).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Maximum guarantee of deliveries.
    pub qos: Qos,
    /// Do not deliver the subscriber's own publications.
    pub no_local: bool,
    /// Keep the retain flag as published.
    pub retain_as_published: bool,
    /// Subscription identifier, if one was given.
    pub id: Option<u32>,
}

/// When a new subscription receives retained messages (MQTT 5 Retain Handling).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainHandling {
    /// Always.
    SendAtSubscribe,
    /// Only if the subscription did not exist.
    SendIfNew,
    /// Never.
    DoNotSend,
}

/// Subscription identifiers of all subscriptions that matched a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionIds {
    /// No matching subscription had one.
    #[default]
    None,
    /// One did.
    One(u32),
    /// Several did.
    Many(Arc<Vec<u32>>),
}

impl SubscriptionIds {
    /// Adds the identifier of another matching subscription.
    #[must_use]
    pub fn with(self, id: Option<u32>) -> Self {
        match (self, id) {
            (ids, None) => ids,
            (Self::None, Some(id)) => Self::One(id),
            (Self::One(first), Some(id)) => Self::Many(Arc::new(vec![first, id])),
            (Self::Many(mut ids), Some(id)) => {
                Arc::make_mut(&mut ids).push(id);
                Self::Many(ids)
            }
        }
    }

    /// The identifiers.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// Whether a topic belongs to the broker itself: only the broker publishes below `$SYS`.
#[must_use]
pub fn is_own_topic(topic: &str) -> bool {
    topic.strip_prefix("$SYS").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_own_topics_are_those_below_sys() {
        let cases = [
            ("$SYS", true),
            ("$SYS/", true),
            ("$SYS/broker/uptime", true),
            ("$SYSTEM", false),
            ("$sys/a", false),
            ("a/$SYS", false),
            ("$other/a", false),
            ("", false),
        ];
        for (topic, own) in cases {
            assert_eq!(is_own_topic(topic), own, "{topic}");
        }
    }

    #[test]
    fn matching_follows_the_examples_of_the_specification() {
        for (filter, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "a/b/c", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/broker", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} ~ {topic}");
        }
    }

    #[test]
    fn subscription_ids_keep_every_identifier_in_order() {
        let ids = SubscriptionIds::default().with(Some(3)).with(None).with(Some(1)).with(Some(3));
        assert_eq!(ids.as_slice(), [3, 1, 3]);
    }
}
