//! What somebody wishes of a queue, and what several such wishes come to.

use std::sync::Arc;

use crate::named_queue::{QueueKind, QueueOverflow, QueueSettings, Retention, RetryCondition, RetryPolicy};
use crate::policy::queue_arguments::{LONGEST_MS, overflow_for};

/// How often a message may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryLimit {
    /// As often as it likes; said by a negative number.
    Unlimited,
    /// So often.
    Times(u32),
}

impl DeliveryLimit {
    pub(crate) fn from_number(number: i64) -> Self {
        match u32::try_from(number) {
            Ok(times) => Self::Times(times),
            Err(_) if number < 0 => Self::Unlimited,
            Err(_) => Self::Times(u32::MAX),
        }
    }
}

/// What is wished of a queue, by its arguments or by a policy; `None` where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub message_ttl_ms: Option<u64>,
    pub expires_ms: Option<u64>,
    pub max_length: Option<u64>,
    pub max_length_bytes: Option<u64>,
    pub overflow: Option<QueueOverflow>,
    pub max_priority: Option<u8>,
    pub single_active: Option<bool>,
    pub dead_letter_exchange: Option<Arc<str>>,
    pub dead_letter_key: Option<Arc<str>>,
    pub delivery_limit: Option<DeliveryLimit>,
    /// `Some(None)`: messages that came back never wait.
    pub retry_type: Option<Option<RetryCondition>>,
    pub retry_min_ms: Option<u64>,
    pub retry_max_ms: Option<u64>,
    pub consumer_timeout_ms: Option<u64>,
    pub max_age_ms: Option<u64>,
    pub segment_bytes: Option<u64>,
}

/// The smaller of two numbers that are said.
fn smaller<N: Ord>(a: Option<N>, b: Option<N>) -> Option<N> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// An unlimited limit counts as less than any other.
fn stricter(a: Option<DeliveryLimit>, b: Option<DeliveryLimit>) -> Option<DeliveryLimit> {
    match (a, b) {
        (Some(DeliveryLimit::Times(a)), Some(DeliveryLimit::Times(b))) => {
            Some(DeliveryLimit::Times(a.min(b)))
        }
        (Some(times @ DeliveryLimit::Times(_)), Some(DeliveryLimit::Unlimited))
        | (Some(DeliveryLimit::Unlimited), Some(times @ DeliveryLimit::Times(_))) => Some(times),
        (a, b) => a.or(b),
    }
}

impl Wishes {
    /// These wishes over others: of numbers the smaller one wins, of everything else what is said here. So arguments go
    /// over policies.
    pub(crate) fn over(self, others: Self) -> Self {
        Self {
            message_ttl_ms: smaller(self.message_ttl_ms, others.message_ttl_ms),
            expires_ms: smaller(self.expires_ms, others.expires_ms),
            max_length: smaller(self.max_length, others.max_length),
            max_length_bytes: smaller(self.max_length_bytes, others.max_length_bytes),
            overflow: self.overflow.or(others.overflow),
            max_priority: self.max_priority.or(others.max_priority),
            single_active: self.single_active.or(others.single_active),
            dead_letter_exchange: self.dead_letter_exchange.or(others.dead_letter_exchange),
            dead_letter_key: self.dead_letter_key.or(others.dead_letter_key),
            delivery_limit: stricter(self.delivery_limit, others.delivery_limit),
            retry_type: self.retry_type.or(others.retry_type),
            retry_min_ms: self.retry_min_ms.or(others.retry_min_ms),
            retry_max_ms: self.retry_max_ms.or(others.retry_max_ms),
            consumer_timeout_ms: self.consumer_timeout_ms.or(others.consumer_timeout_ms),
            max_age_ms: smaller(self.max_age_ms, others.max_age_ms),
            segment_bytes: self.segment_bytes.or(others.segment_bytes),
        }
    }

    /// What the wishes come to for a queue of this kind.
    pub(crate) fn settings(self, kind: QueueKind) -> QueueSettings {
        /// Of queues of the type quorum, when nothing is said.
        const DELIVERY_LIMIT: u32 = 20;
        let delivery_limit = match (self.delivery_limit, kind) {
            (Some(DeliveryLimit::Times(times)), _) => Some(times),
            (None, QueueKind::Quorum) => Some(DELIVERY_LIMIT),
            (Some(DeliveryLimit::Unlimited) | None, _) => None,
        };
        let stream = kind == QueueKind::Stream;
        QueueSettings {
            message_ttl_ms: self.message_ttl_ms.filter(|_| !stream),
            expires_ms: self.expires_ms.filter(|_| !stream),
            max_length: self.max_length.filter(|_| !stream),
            max_length_bytes: self.max_length_bytes,
            overflow: overflow_for(kind, self.overflow.unwrap_or_default()),
            max_priority: match kind {
                QueueKind::Classic => self.max_priority.filter(|most| *most > 0),
                // Always on there; so many levels as RabbitMQ 4.3 has.
                QueueKind::Quorum => Some(31),
                QueueKind::Stream => None,
            },
            single_active: self.single_active.unwrap_or(false),
            dead_letter_exchange: self.dead_letter_exchange.filter(|_| !stream),
            dead_letter_key: self.dead_letter_key.filter(|_| !stream),
            delivery_limit,
            retry: self.retry_type.flatten().map(|condition| RetryPolicy {
                condition,
                min_ms: self.retry_min_ms.unwrap_or(1_000),
                max_ms: self.retry_max_ms.unwrap_or(LONGEST_MS.unsigned_abs()),
            }),
            consumer_timeout_ms: self.consumer_timeout_ms.filter(|timeout| *timeout > 0),
            retention: Retention { max_age_ms: self.max_age_ms, segment_bytes: self.segment_bytes },
        }
    }
}

/// The value of `x-overflow`.
pub(crate) fn overflow(name: &str) -> Option<QueueOverflow> {
    match name {
        "drop-head" => Some(QueueOverflow::DropHead),
        "reject-publish" => Some(QueueOverflow::RejectPublish),
        "reject-publish-dlx" => Some(QueueOverflow::RejectPublishDlx),
        _ => None,
    }
}

/// The value of `x-delayed-retry-type`; `None` for `disabled`.
pub(crate) fn retry_condition(name: &str) -> Option<RetryCondition> {
    match name {
        "all" => Some(RetryCondition::All),
        "failed" => Some(RetryCondition::Failed),
        "returned" => Some(RetryCondition::Returned),
        _ => None,
    }
}

/// The value of `x-max-age`, as `7D`, in milliseconds.
pub(crate) fn max_age_ms(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?;
    let digits = text.get(..text.len() - unit.len_utf8())?;
    let seconds: u64 = match unit {
        'Y' => 365 * 24 * 60 * 60,
        'M' => 30 * 24 * 60 * 60,
        'D' => 24 * 60 * 60,
        'h' => 60 * 60,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    // More than fits is as good as for ever.
    let count: u64 = is_number.then(|| digits.parse().unwrap_or(u64::MAX))?;
    Some(count.saturating_mul(seconds).saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_numbers_win_and_arguments_beat_policies() {
        let argument = Wishes {
            max_length: Some(10),
            message_ttl_ms: Some(500),
            dead_letter_exchange: Some("mine".into()),
            delivery_limit: Some(DeliveryLimit::Unlimited),
            ..Wishes::default()
        };
        let policy = Wishes {
            max_length: Some(20),
            message_ttl_ms: Some(100),
            expires_ms: Some(7),
            dead_letter_exchange: Some("theirs".into()),
            dead_letter_key: Some("key".into()),
            overflow: Some(QueueOverflow::RejectPublish),
            delivery_limit: Some(DeliveryLimit::Times(3)),
            ..Wishes::default()
        };
        let settings = argument.over(policy).settings(QueueKind::Classic);
        assert_eq!(
            settings,
            QueueSettings {
                max_length: Some(10),
                message_ttl_ms: Some(100),
                expires_ms: Some(7),
                dead_letter_exchange: Some("mine".into()),
                dead_letter_key: Some("key".into()),
                overflow: QueueOverflow::RejectPublish,
                delivery_limit: Some(3),
                ..QueueSettings::default()
            }
        );
    }

    #[test]
    fn a_quorum_queue_has_a_delivery_limit_unless_it_is_lifted() {
        let limit = |wished: Option<i64>, kind| {
            let delivery_limit = wished.map(DeliveryLimit::from_number);
            Wishes { delivery_limit, ..Wishes::default() }.settings(kind).delivery_limit
        };
        assert_eq!(limit(None, QueueKind::Quorum), Some(20));
        assert_eq!(limit(Some(-1), QueueKind::Quorum), None);
        assert_eq!(limit(Some(0), QueueKind::Quorum), Some(0));
        assert_eq!(limit(None, QueueKind::Classic), None);
        assert_eq!(limit(Some(5), QueueKind::Classic), Some(5));
        assert_eq!(limit(Some(i64::MAX), QueueKind::Classic), Some(u32::MAX));
    }

    #[test]
    fn ages_have_a_unit() {
        for (text, ms) in [
            ("1s", Some(1_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("1D", Some(86_400_000)),
            ("1M", Some(2_592_000_000)),
            ("1Y", Some(31_536_000_000)),
            ("0s", Some(0)),
            ("99999999999999999999Y", Some(u64::MAX)),
            ("1", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("+1s", None),
            ("1 s", None),
            ("1d", None),
            ("1é", None),
        ] {
            assert_eq!(max_age_ms(text), ms, "{text}");
        }
    }
}
