//! Limits of the core. Reaching one is counted and never fatal.

/// What to drop when a queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overflow {
    /// The arriving message (as Mosquitto does).
    #[default]
    DropNew,
    /// The oldest message that has not been sent yet.
    DropOldest,
}

/// How a shared subscription chooses the member for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SharedStrategy {
    /// Each member in turn.
    #[default]
    RoundRobin,
    /// Any member.
    Random,
    /// The same member as long as it can take messages.
    Sticky,
    /// The member with the fewest unacknowledged messages.
    LeastInflight,
}

/// Limits and policies of a virtual host.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Messages waiting in one session's or shared group's queue.
    pub max_queued_messages: usize,
    /// Bytes waiting in one session's or shared group's queue.
    pub max_queued_bytes: usize,
    /// What to drop when a queue is full.
    pub overflow: Overflow,
    /// Subscriptions of one session.
    pub max_subscriptions: usize,
    /// Retained values.
    pub max_retained: usize,
    /// Bytes of retained values, topics included.
    pub max_retained_bytes: usize,
    /// Bytes of memory that messages of durable queues and retained values may take up; beyond it they are only in the
    /// log.
    pub message_memory: usize,
    /// Sessions, connected or not.
    pub max_sessions: usize,
    /// Whether QoS 0 messages are queued for offline persistent sessions.
    pub queue_qos0: bool,
    /// How shared subscriptions choose a member.
    pub shared_strategy: SharedStrategy,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_queued_messages: 1_000_000,
            max_queued_bytes: 100 << 20,
            overflow: Overflow::DropNew,
            max_subscriptions: 100_000,
            max_retained: 1_000_000,
            max_retained_bytes: 4 << 30,
            message_memory: 64 << 20,
            max_sessions: 10_000_000,
            queue_qos0: false,
            shared_strategy: SharedStrategy::RoundRobin,
        }
    }
}
