//! What a queue is, behind its lock, and the one function that changes what of it survives a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::consumer::ConsumerOutbox;
use crate::journal::{Journal, Position};
use crate::named_queue::consumers::Consumers;
use crate::named_queue::dead_letter::DeathReason;
use crate::named_queue::extras::Extras;
use crate::named_queue::readiness::ByPriority;
use crate::named_queue::returning::Handed;
use crate::named_queue::{NamedQueue, QueueId, QueueSettings};
use crate::queue::seldom::Seldom;
use crate::queue::{Queue, Stage};
use crate::read_back::{self, Reading};
use crate::record::{Entry, EntryExtras, NamedQueueRecord, QueueRecord, Record, SettleReason};
use crate::session::Context;
use crate::undurable::Marks;

/// The state behind a queue's lock.
pub(crate) struct QueueState {
    pub(super) settings: Arc<QueueSettings>,
    pub(super) queue: Queue,
    pub(super) extras: Extras,
    /// The order of ready entries, if it is not that of their sequences.
    pub(super) order: Option<Box<ByPriority>>,
    pub(super) consumers: Consumers,
    /// What of the queue waits for the log, while it is on the list of those that are visited when the log has moved.
    pub(super) undurable: Option<Box<Marks>>,
    /// Bytes of messages in memory that the budget knows of.
    pub(super) accounted: usize,
    pub(super) reading: Reading,
    /// Deliveries that were not settled.
    pub(super) unacked: usize,
    /// Entries on their way to somewhere else: neither ready nor anybody's.
    pub(super) leaving: usize,
    /// Those of them whose message has to be read back first.
    pub(super) unread: Seldom<BTreeMap<u64, DeathReason>>,
    /// Who got what when, if consumers have only so much time.
    pub(super) handed: Seldom<Handed>,
    /// Who asked for a message that could not be had at once.
    pub(super) waiting: Seldom<Vec<Arc<dyn ConsumerOutbox>>>,
    /// When the schedule will call; `u64::MAX` if it will not.
    pub(super) armed_ms: u64,
    /// When somebody used the queue last, UTC milliseconds.
    pub(super) used_ms: u64,
    pub(super) paused: bool,
    /// It is gone: nothing may be added any more.
    pub(super) deleted: bool,
    pub(super) recorded: bool,
    /// Entries wait for their time, and nobody gets them.
    pub(super) delays: bool,
    pub(super) totals: QueueTotals,
}

/// What has happened in a queue since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Messages that came.
    pub published: u64,
    /// Deliveries to consumers, and by basic.get.
    pub delivered: u64,
    /// Those of them that were not the first of their message.
    pub redelivered: u64,
    /// Messages acknowledged, or delivered without need for it.
    pub acknowledged: u64,
    /// Messages that were refused, expired, rejected, pushed out or came back too often, dead-lettered or not.
    pub dropped: u64,
}

impl NamedQueue {
    /// Lets go of messages if there are too many in memory.
    pub(crate) fn cool_now(&self, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        if state.queue.in_memory() > 0 {
            state.cool(read_back::COOLED_PER_VISIT, cx);
        }
    }
}

impl QueueState {
    pub(super) fn new(settings: Arc<QueueSettings>, recorded: bool, delays: bool) -> Self {
        let mut queue = Queue::default();
        queue.set_recorded(recorded);
        let order = settings.max_priority.map(|_| Box::default());
        Self {
            settings,
            queue,
            extras: Extras::default(),
            order,
            consumers: Consumers::default(),
            undurable: None,
            accounted: 0,
            reading: Reading::default(),
            unacked: 0,
            leaving: 0,
            unread: Seldom::default(),
            handed: Seldom::default(),
            waiting: Seldom::default(),
            armed_ms: u64::MAX,
            used_ms: 0,
            paused: false,
            deleted: false,
            recorded,
            delays,
            totals: QueueTotals::default(),
        }
    }

    /// Applies a record: the one way in which durable state of a queue changes. Returns the entry that has left, if one
    /// has. Records about unknown sequences are skipped.
    pub(crate) fn apply(&mut self, record: NamedQueueRecord) -> Option<Entry> {
        match record {
            NamedQueueRecord::Declared(_) => None,
            NamedQueueRecord::Deleted => {
                self.deleted = true;
                None
            }
            NamedQueueRecord::Enqueued { sequence, entry, deadline_ms, priority } => {
                let extra = self.extras_of_record(deadline_ms, priority);
                self.put(sequence, entry, extra);
                None
            }
            NamedQueueRecord::Settled { sequence, .. } => self.take(sequence),
            NamedQueueRecord::SettledRun { first, count, .. } => {
                let end = first.saturating_add(count).min(self.queue.next_sequence());
                (first.max(self.queue.front_sequence())..end).for_each(|sequence| drop(self.take(sequence)));
                None
            }
            NamedQueueRecord::Returned { sequence, deliveries, not_before_ms } => {
                if self.queue.entry(sequence).is_some() {
                    self.queue.mark_entry_redelivered(sequence);
                    self.extras.change(sequence, |extra| {
                        extra.deliveries = deliveries;
                        extra.not_before_ms = not_before_ms;
                    });
                }
                None
            }
            NamedQueueRecord::Paused(paused) => {
                self.paused = paused;
                None
            }
        }
    }

    /// Puts an entry at the end.
    #[inline]
    fn put(&mut self, sequence: u64, entry: Entry, extra: EntryExtras) {
        if sequence < self.queue.next_sequence() {
            return;
        }
        self.queue.apply(QueueRecord::Enqueued { sequence, entry, from: None });
        self.extras.set(sequence, extra);
        if let Some(order) = &mut self.order {
            order.insert(sequence, extra.priority);
        }
    }

    /// Takes an entry out.
    #[inline]
    fn take(&mut self, sequence: u64) -> Option<Entry> {
        let entry =
            self.queue.apply(QueueRecord::Settled { sequence, reason: SettleReason::Acknowledged })?;
        let extra = self.extras.forget(sequence);
        if let Some(order) = &mut self.order {
            order.remove(sequence, extra.priority);
        }
        Some(entry)
    }

    /// Stages a record, if it concerns what is recorded, and applies it.
    pub(super) fn commit(
        &mut self,
        id: QueueId,
        record: NamedQueueRecord,
        journal: Option<&dyn Journal>,
    ) -> Position {
        let concerned = match &record {
            NamedQueueRecord::Enqueued { entry, .. } => entry.is_durable(),
            NamedQueueRecord::Returned { sequence, .. } => {
                self.queue.entry(*sequence).is_some_and(|(entry, ..)| entry.is_durable())
            }
            _ => true,
        };
        let position = match journal {
            Some(journal) if self.recorded && concerned => journal.stage(&Record::NamedQueue(id, &record)),
            _ => Position::NONE,
        };
        self.apply(record);
        position
    }

    /// An entry leaves for good. Its record rides along with others, as nobody waits for it.
    pub(super) fn settle(
        &mut self,
        id: QueueId,
        sequence: u64,
        reason: SettleReason,
        cx: &mut Context<'_>,
    ) -> Position {
        let mut run = Run::new(id, reason);
        self.settle_in(&mut run, sequence, cx);
        run.finish(self.recorded, cx)
    }

    /// The same for one of many.
    #[inline]
    pub(super) fn settle_in(&mut self, run: &mut Run, sequence: u64, cx: &mut Context<'_>) -> bool {
        let Some(entry) = self.apply(NamedQueueRecord::Settled { sequence, reason: run.reason }) else {
            return false;
        };
        let holds = self.queue.is_holder(sequence, &entry);
        run.add(sequence, holds, self.recorded, cx);
        if holds
            && let Some(journal) = cx.journal
            && let Some(stored) = entry.body.stored()
        {
            journal.release(&stored);
        }
        true
    }

    /// The entry to be handed out next.
    #[inline]
    pub(super) fn first_ready(&mut self) -> Option<u64> {
        match &self.order {
            None => self.queue.first_ready(),
            Some(order) => order.first(),
        }
    }

    /// The entry that a full queue lets go of first.
    pub(super) fn first_to_drop(&mut self) -> Option<u64> {
        match &self.order {
            None => self.queue.first_ready(),
            Some(order) => order.lowest(),
        }
    }

    /// An entry is not ready any more, but not settled either.
    #[inline]
    pub(super) fn take_from_ready(&mut self, sequence: u64) {
        self.queue.mark_sent(sequence);
        if let Some(order) = &mut self.order {
            order.remove(sequence, self.extras.get(sequence).priority);
        }
    }

    /// An entry that was taken is ready again, at its place.
    pub(super) fn make_ready(&mut self, sequence: u64) {
        if !self.queue.entry(sequence).is_some_and(|(_, stage, _)| stage == Stage::Sent) {
            return;
        }
        self.queue.give_back(sequence);
        if let Some(order) = &mut self.order {
            order.insert(sequence, self.extras.get(sequence).priority);
        }
    }

    /// The first sequence that may not be handed out before the log has moved on.
    #[inline]
    pub(super) fn undurable_from(&mut self, journal: Option<&dyn Journal>) -> u64 {
        match (&mut self.undurable, journal) {
            (Some(undurable), Some(journal)) => undurable.limit(journal.durable()),
            _ => u64::MAX,
        }
    }

    /// Tells the budget what has become of the memory of the queue's messages.
    #[inline]
    pub(super) fn account(&mut self, cx: &mut Context<'_>) {
        let memory = if cx.journal.is_some() && self.recorded { self.queue.memory() } else { 0 };
        cx.effects.memory.note(cx.budget, self.accounted, memory);
        self.accounted = memory;
    }

    /// Lets go of messages if there are too many in memory: those that are in the log and not to be handed out soon.
    /// Looks at no more than about `most`.
    #[inline]
    pub(super) fn cool(&mut self, most: usize, cx: &mut Context<'_>) {
        let Some(journal) = cx.journal.filter(|_| self.recorded && cx.budget.is_exceeded()) else { return };
        let kept = if self.consumers.is_empty() { 0 } else { read_back::KEPT };
        self.queue.cool(journal.durable(), kept, most);
        self.account(cx);
    }
}

/// Entries that leave one after another for the same reason: one record for all of them that stand side by side.
pub(super) struct Run {
    id: QueueId,
    reason: SettleReason,
    first: u64,
    count: u64,
    /// Whether the log knows of any of them.
    known: bool,
    position: Position,
}

impl Run {
    pub(super) fn new(id: QueueId, reason: SettleReason) -> Self {
        Self { id, reason, first: 0, count: 0, known: false, position: Position::NONE }
    }

    #[inline]
    fn add(&mut self, sequence: u64, known: bool, recorded: bool, cx: &Context<'_>) {
        if self.count > 0 && sequence == self.first + self.count {
            self.count += 1;
            self.known |= known;
            return;
        }
        self.stage(recorded, cx);
        (self.first, self.count, self.known) = (sequence, 1, known);
    }

    fn stage(&mut self, recorded: bool, cx: &Context<'_>) {
        let Some(journal) = cx.journal.filter(|_| recorded && self.known && self.count > 0) else { return };
        let (first, count, reason) = (self.first, self.count, self.reason);
        let record = match count {
            1 => NamedQueueRecord::Settled { sequence: first, reason },
            _ => NamedQueueRecord::SettledRun { first, count, reason },
        };
        self.position = self.position.max(journal.stage(&Record::NamedQueue(self.id, &record)));
    }

    /// Everything has been added. Returns what has to be waited for if it is to be durable.
    pub(super) fn finish(mut self, recorded: bool, cx: &Context<'_>) -> Position {
        self.stage(recorded, cx);
        self.position
    }
}
