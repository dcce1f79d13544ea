//! A count of what sessions and shared subscriptions hold.
//!
//! Nothing on the message path keeps these sums; a census walks all sessions instead, locking one at a time. Its
//! cost grows with their number, so callers that ask often should keep the answer for a while.

use crate::hosts::Hosts;
use crate::vhost::Vhost;

/// What sessions and shared subscriptions hold at about one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Sessions with a connection.
    pub connected: usize,
    /// Messages waiting in queues of sessions and shared subscriptions.
    pub queued: usize,
    /// Bytes of the messages waiting, topics and properties included. A message that several queues hold counts
    /// once for each.
    pub queued_bytes: usize,
    /// Messages in these queues that are in memory, those included that are sent and not acknowledged.
    pub in_memory: usize,
    /// Bytes of memory that they take up.
    pub memory: usize,
    /// Messages sent and not acknowledged.
    pub in_flight: usize,
    /// Shared subscriptions.
    pub shared_subscriptions: usize,
}

/// What queues with names hold at about one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCensus {
    /// Queues.
    pub queues: usize,
    /// Messages in them that wait to be handed out.
    pub queued: usize,
    /// Their bytes, as limits count them.
    pub queued_bytes: usize,
}

impl Hosts {
    /// Walks all queues with names, in all virtual hosts.
    #[must_use]
    pub fn queue_census(&self) -> QueueCensus {
        let mut census = QueueCensus::default();
        for host in self.all() {
            for info in host.queues() {
                let stats = info.queue.stats();
                census.queues += 1;
                census.queued += usize::try_from(stats.ready).unwrap_or(usize::MAX);
                census.queued_bytes += usize::try_from(stats.ready_bytes).unwrap_or(usize::MAX);
            }
        }
        census
    }
}

impl Vhost {
    /// Walks all sessions and shared subscriptions.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        self.sessions().for_each(|session| {
            let state = session.lock();
            census.sessions += 1;
            census.connected += usize::from(state.outbox.is_some());
            census.queued += state.queue.ready();
            census.queued_bytes += state.queue.ready_bytes();
            census.in_memory += state.queue.in_memory();
            census.memory += state.queue.memory();
            census.in_flight += usize::from(state.in_flight);
        });
        for group in self.shared_groups() {
            let (queued, bytes) = group.queued();
            let (in_memory, memory) = group.in_memory();
            census.in_memory += in_memory;
            census.memory += memory;
            census.shared_subscriptions += 1;
            census.queued += queued;
            census.queued_bytes += bytes;
        }
        census
    }
}
