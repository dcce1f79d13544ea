//! What a queue's arguments and the policies that apply to it come to.

use std::sync::{Arc, LazyLock};

/// How a queue behaves. Replaced as a whole when a policy changes; the defaults are those of a queue without arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// Milliseconds after which a message expires (`x-message-ttl`).
    pub message_ttl_ms: Option<u64>,
    /// Milliseconds without use after which the queue is deleted (`x-expires`).
    pub expires_ms: Option<u64>,
    /// Messages that may be ready (`x-max-length`).
    pub max_length: Option<u64>,
    /// Bytes of payloads and properties that may be ready (`x-max-length-bytes`).
    pub max_length_bytes: Option<u64>,
    /// What happens beyond them (`x-overflow`).
    pub overflow: QueueOverflow,
    /// The highest priority that counts (`x-max-priority`); `None` if priorities do not matter.
    pub max_priority: Option<u8>,
    /// Whether one consumer gets everything (`x-single-active-consumer`).
    pub single_active: bool,
    /// Where messages go that the queue cannot keep (`x-dead-letter-exchange`).
    pub dead_letter_exchange: Option<Arc<str>>,
    /// The routing key they get there instead of their own (`x-dead-letter-routing-key`).
    pub dead_letter_key: Option<Arc<str>>,
    /// How often a message may come back (`x-delivery-limit`); one more return and it is dead-lettered.
    pub delivery_limit: Option<u32>,
    /// How long a message that came back waits (`x-delayed-retry-type`, `-min`, `-max`).
    pub retry: Option<RetryPolicy>,
    /// Milliseconds a consumer has for a message (`x-consumer-timeout`).
    pub consumer_timeout_ms: Option<u64>,
    /// Retention of a stream; nothing for other queues.
    pub retention: Retention,
}

impl QueueSettings {
    /// Those of a queue without arguments are the same for all of them, in memory too.
    pub(super) fn shared(self: Arc<Self>) -> Arc<Self> {
        static PLAIN: LazyLock<Arc<QueueSettings>> = LazyLock::new(Arc::default);
        if *self == **PLAIN { Arc::clone(&PLAIN) } else { self }
    }

    /// Whether a limit on what is ready is set.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.max_length.is_some() || self.max_length_bytes.is_some()
    }
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueOverflow {
    /// Lets go of messages at its head: dead-letters them with the reason `maxlen`, if it can.
    #[default]
    DropHead,
    /// Refuses the message that comes: a negative confirmation.
    RejectPublish,
    /// The same, and the refused message is dead-lettered with the reason `maxlen`.
    RejectPublishDlx,
}

/// How long messages wait that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Which of them wait.
    pub condition: RetryCondition,
    /// Milliseconds after the first return; the second one takes twice as long, and so on.
    pub min_ms: u64,
    /// Milliseconds at most.
    pub max_ms: u64,
}

impl RetryPolicy {
    /// Milliseconds that a message waits after its `returns`th return.
    #[must_use]
    pub fn delay_ms(&self, returns: u32) -> u64 {
        self.min_ms.saturating_mul(u64::from(returns.max(1))).min(self.max_ms.max(self.min_ms))
    }
}

/// Which returned messages wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCondition {
    /// All.
    All,
    /// Those that count as failed: rejected, timed out, or their channel ended.
    Failed,
    /// Those that were given back without having failed: basic.nack, basic.recover.
    Returned,
}

/// What a stream keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Milliseconds (`x-max-age`).
    pub max_age_ms: Option<u64>,
    /// Bytes of a segment (`x-stream-max-segment-size-bytes`).
    pub segment_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_grows_with_each_return_up_to_its_limit() {
        let policy = RetryPolicy { condition: RetryCondition::All, min_ms: 100, max_ms: 350 };
        let delays = [0, 1, 2, 3, 4, u32::MAX].map(|returns| policy.delay_ms(returns));
        assert_eq!(delays, [100, 100, 200, 300, 350, 350]);
        let odd = RetryPolicy { max_ms: 10, ..policy };
        assert_eq!(odd.delay_ms(7), 100, "the smaller bound counts if they contradict each other");
    }
}
