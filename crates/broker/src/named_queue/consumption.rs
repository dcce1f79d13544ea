//! A consumer of a queue.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tercet_amqp::field::Table;

use crate::actor::{Actor, Right, Rights};
use crate::consumer::ConsumerOutbox;
use crate::named_queue::NamedQueue;
use crate::named_queue::stream::reader::Reader;

/// What a client asks for when it begins to consume.
#[derive(Clone)]
pub struct Consume<'a> {
    /// Name of the queue.
    pub queue: &'a str,
    /// Consumer tag; the face sees to it that it is unique on its channel.
    pub tag: Arc<str>,
    /// Channel of its connection.
    pub channel: u16,
    /// Whether deliveries count as acknowledged when they are sent.
    pub no_ack: bool,
    /// Whether nobody else may consume from the queue.
    pub exclusive: bool,
    /// Those with a higher one get messages first (`x-priority`).
    pub priority: i32,
    /// Deliveries that may be outstanding; 0 for any number.
    pub prefetch: u16,
    /// Further arguments, of which a stream needs some.
    pub arguments: Table<'a>,
    /// Where deliveries go.
    pub outbox: Arc<dyn ConsumerOutbox>,
}

impl fmt::Debug for Consume<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consume")
            .field("queue", &self.queue)
            .field("tag", &self.tag)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// A consumer of a queue: what the core and the face know of it.
pub struct Consumption {
    /// The queue.
    pub queue: Arc<NamedQueue>,
    /// The channel of its connection.
    pub channel: u16,
    /// Consumer tag.
    pub tag: Arc<str>,
    /// Whether deliveries count as acknowledged when they are sent.
    pub no_ack: bool,
    /// Whether nobody else may consume from the queue.
    pub exclusive: bool,
    /// Those with a higher one get messages first.
    pub priority: i32,
    /// Deliveries that may be outstanding; 0 for any number.
    pub prefetch: u16,
    /// Where deliveries go.
    pub outbox: Arc<dyn ConsumerOutbox>,
    /// Its place in a stream. Used under the queue's lock.
    pub(super) reader: Option<Mutex<Reader>>,
    /// Deliveries that are outstanding. Changed under the queue's lock.
    pub(super) unacked: AtomicU32,
    /// Its output had no room. Changed under the queue's lock.
    pub(super) blocked: AtomicBool,
    /// The client knows of the consumer, so that it may get something. Changed under the queue's lock.
    pub(super) started: AtomicBool,
    /// What whoever consumes may do; unset for consumers that nobody asked about.
    rights: OnceLock<Arc<dyn Rights>>,
    /// It was too slow with something.
    timed_out: AtomicBool,
    /// Deliveries that were taken away from it, which it may still try to settle.
    lost: Mutex<BTreeSet<u64>>,
}

impl fmt::Debug for Consumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumption")
            .field("queue", self.queue.name())
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl Consumption {
    pub(super) fn new(queue: Arc<NamedQueue>, request: &Consume<'_>, reader: Option<Reader>) -> Self {
        Self {
            queue,
            channel: request.channel,
            tag: Arc::clone(&request.tag),
            no_ack: request.no_ack,
            exclusive: request.exclusive,
            priority: request.priority,
            prefetch: request.prefetch,
            outbox: Arc::clone(&request.outbox),
            reader: reader.map(Mutex::new),
            unacked: AtomicU32::new(0),
            blocked: AtomicBool::new(false),
            started: AtomicBool::new(false),
            rights: OnceLock::new(),
            timed_out: AtomicBool::new(false),
            lost: Mutex::default(),
        }
    }

    /// Remembers who consumes, so that it can be asked again whether they may.
    pub(crate) fn is_for(&self, actor: &Actor) {
        // Set once, before anybody else knows of the consumer.
        let _ = self.rights.set(Arc::clone(&actor.rights));
    }

    /// Whether whoever consumes may still read from the queue.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.rights.get().is_none_or(|rights| rights.allows(Right::Read, self.queue.name()))
    }

    /// Deliveries that were not acknowledged yet.
    #[must_use]
    pub fn unacked(&self) -> u32 {
        self.unacked.load(Relaxed)
    }

    /// Deliveries that it may get before it has to acknowledge some; `u32::MAX` for any number.
    pub(super) fn credit(&self) -> u32 {
        match self.prefetch {
            0 => u32::MAX,
            _ if self.no_ack => u32::MAX,
            prefetch => u32::from(prefetch).saturating_sub(self.unacked()),
        }
    }

    /// Whether it may be offered something.
    pub(super) fn is_able(&self) -> bool {
        self.started.load(Relaxed) && !self.blocked.load(Relaxed) && self.credit() > 0
    }

    /// Counts a delivery that is to be acknowledged.
    pub(super) fn delivered(&self) {
        // Only the holder of the queue's lock writes.
        self.unacked.store(self.unacked() + 1, Relaxed);
    }

    /// Counts one that has been settled.
    pub(super) fn settled(&self) {
        self.unacked.store(self.unacked().saturating_sub(1), Relaxed);
    }

    /// Deliveries are taken away from it.
    pub(super) fn lose(&self, sequences: &[u64]) {
        self.unacked.store(self.unacked().saturating_sub(sequences.len() as u32), Relaxed);
        self.timed_out.store(true, Relaxed);
        self.lost.lock().extend(sequences);
    }

    /// Whether this delivery was taken away from it; said once.
    pub(super) fn has_lost(&self, sequence: u64) -> bool {
        self.timed_out.load(Relaxed) && self.lost.lock().remove(&sequence)
    }
}
