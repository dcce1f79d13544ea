//! A queue that keeps messages until they are old, whoever has read them (`x-queue-type` `stream`).
//!
//! An entry never leaves for having been delivered: each consumer has a place of its own ([`reader`]), and what it
//! acknowledges only makes room for more. The offset of a message is its sequence.
//!
//! # Invariants
//! - Entries leave at the front only, by retention, and are never in the stage of having been sent.
//! - When entries came is known for some of them, the *marks*: those that came before a mark came no later than it, those
//!   behind it up to the next one less than [`MARK_MS`] later. Marks lie in the log with the entry's record, where the deadline
//!   of other queues' entries is, and in memory among the extras.

pub(super) mod reader;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use self::reader::{Reader, Request, Start};
use crate::body::{BodyRef, Stored};
use crate::consumer::QueueDelivery;
use crate::named_queue::state::{QueueState, Run};
use crate::named_queue::{Consume, Consumption, Enqueued, Incoming, NamedQueue, QueueKind, Settlement};
use crate::outbox::Pushed;
use crate::queue::{Ahead, Reach};
use crate::read_back::{self, Fetch};
use crate::record::SettleReason;
use crate::refusal::{Refusal, ReplyCode};
use crate::session::Context;

/// Longest time that a mark speaks for, in milliseconds.
const MARK_MS: u64 = 1000;
/// Most entries that a mark speaks for.
const MARK_ENTRIES: u64 = 4096;
/// No reader is ahead of its consumer by more entries than this.
const READ_AHEAD: u64 = 256;
/// Entries dropped under one lock.
const DROPPED_AT_ONCE: u64 = 8192;

impl NamedQueue {
    pub(super) fn is_stream(&self) -> bool {
        self.kind() == QueueKind::Stream
    }

    /// A place in the stream for a new consumer; `None` if this is no stream.
    ///
    /// # Errors
    /// 406: no prefetch, or bad arguments; 540: no acknowledgements.
    pub(super) fn reader(
        &self,
        state: &mut QueueState,
        request: &Consume<'_>,
        vhost: &str,
        cx: &Context<'_>,
    ) -> Result<Option<Reader>, Refusal> {
        if !self.is_stream() {
            return Ok(None);
        }
        let what = format!("queue '{}' in vhost '{vhost}'", self.name());
        if request.no_ack {
            let text = format!("automatic acknowledgement not supported by stream queues {what}");
            return Err(Refusal::new(ReplyCode::NotImplemented, text));
        }
        if request.prefetch == 0 {
            let text = format!("consumer prefetch count is not set for stream {what}");
            return Err(Refusal::precondition_failed(text));
        }
        let wanted = Request::parse(&request.arguments, &what, cx.now)?;
        Ok(Some(Reader::new(state.stream_position(wanted.start), wanted)))
    }

    /// Puts a message at the end.
    pub(super) fn append(
        self: &Arc<Self>,
        state: &mut QueueState,
        incoming: &mut Incoming<'_>,
        cx: &mut Context<'_>,
    ) -> Enqueued {
        let recorded = cx.journal.is_some() && self.is_recorded();
        let mark = state.mark(state.queue.next_sequence(), cx.now.utc_ms);
        let (_, position) = self.keep(state, incoming, recorded, mark, cx);
        self.feed_readers(state, cx);
        if mark.is_some() || state.settings.max_length_bytes.is_some() {
            self.keep_within_retention(state, cx);
        }
        state.cool(read_back::COOLED_PER_ENTRY, cx);
        state.account(cx);
        Enqueued { position, refused: false }
    }

    /// Gives every consumer what it can take.
    pub(super) fn feed_readers(self: &Arc<Self>, state: &mut QueueState, cx: &mut Context<'_>) {
        if state.paused || state.deleted || state.consumers.is_empty() {
            return;
        }
        let end = state.undurable_from(cx.journal).min(state.queue.next_sequence());
        let able: SmallVec<[Arc<Consumption>; 4]> =
            state.consumers.iter().filter(|consumption| consumption.is_able()).cloned().collect();
        let (mut read, mut missing) = (SmallVec::new(), false);
        for consumption in &able {
            missing |= self.feed(state, consumption, end, &mut read, cx);
        }
        // What was read back for this is wanted again only by who begins anew.
        if let Some(journal) = cx.journal {
            for sequence in read {
                state.queue.make_cold(sequence, journal.durable());
            }
        }
        if missing && state.reading.ask() {
            cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
        }
        state.account(cx);
    }

    /// Gives a consumer what it can take. True if it could take something that has to be read back first.
    fn feed(
        self: &Arc<Self>,
        state: &mut QueueState,
        consumption: &Arc<Consumption>,
        end: u64,
        read: &mut SmallVec<[u64; 16]>,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(reader) = &consumption.reader else { return false };
        let mut reader = reader.lock();
        while reader.next < end && consumption.is_able() {
            let Some((sequence, entry, _)) = state.queue.entries_from(reader.next).next() else { break };
            if sequence >= end {
                break;
            }
            let BodyRef::Memory(message) = entry.body else { return true };
            if state.queue.had_its_turn_to_cool(sequence) {
                read.push(sequence);
            }
            if !reader.wants(message) {
                reader.next = sequence + 1;
                continue;
            }
            let delivery = QueueDelivery {
                consumption,
                queue: self,
                sequence,
                exchange: message.exchange.as_ref(),
                routing_key: &message.topic,
                properties: message.properties(),
                payload: &message.payload,
                message: Some(message),
                redelivered: false,
                delivery_count: None,
                stream_offset: Some(sequence),
            };
            match consumption.outbox.deliver(&delivery, cx.effects) {
                Pushed::Full => {
                    consumption.blocked.store(true, Relaxed);
                    break;
                }
                Pushed::TooLarge => cx.effects.counters.dropped_too_large += 1,
                Pushed::Accepted => {
                    consumption.delivered();
                    state.totals.delivered += 1;
                }
            }
            reader.next = sequence + 1;
            if state.reading.advance() {
                cx.effects.fetches.push(Fetch::Queue(Arc::clone(self)));
            }
        }
        false
    }

    /// Deliveries were settled, in whatever way: their consumers can take more.
    pub(super) fn settle_stream<'a>(
        self: &Arc<Self>,
        state: &mut QueueState,
        settlements: impl Iterator<Item = &'a Settlement>,
        cx: &mut Context<'_>,
    ) {
        for consumption in settlements.filter_map(|settlement| settlement.consumption.as_ref()) {
            consumption.settled();
            state.totals.acknowledged += 1;
        }
        self.feed_readers(state, cx);
    }

    /// A consumer has gone: lets go of what was read back for it.
    pub(super) fn let_go_of_reader(
        &self,
        state: &mut QueueState,
        consumption: &Consumption,
        cx: &Context<'_>,
    ) {
        if let (Some(reader), Some(journal)) = (&consumption.reader, cx.journal) {
            let next = reader.lock().next;
            let end = next.saturating_add(READ_AHEAD).min(state.queue.next_sequence());
            let read = (next..end).take_while(|sequence| state.queue.had_its_turn_to_cool(*sequence));
            for sequence in read.collect::<SmallVec<[u64; 32]>>() {
                state.queue.make_cold(sequence, journal.durable());
            }
        }
    }

    /// Drops what is too old or too much, and sees to it that this is looked at again when more is too old.
    pub(super) fn keep_within_retention(self: &Arc<Self>, state: &mut QueueState, cx: &mut Context<'_>) {
        let mut end = state.queue.front_sequence();
        if let Some(max_age_ms) = state.settings.retention.max_age_ms {
            let young_from = cx.now.utc_ms.saturating_sub(max_age_ms);
            end = end.max(state.old_before(young_from));
        }
        let mut run = Run::new(self.id(), SettleReason::Retention);
        let most = state.queue.front_sequence().saturating_add(DROPPED_AT_ONCE);
        loop {
            let Some(sequence) = state.queue.entries_from(0).next().map(|(sequence, ..)| sequence) else {
                break;
            };
            let much = state.settings.max_length_bytes.is_some_and(|most| {
                // The last one stays, however large it is.
                state.queue.ready() > 1 && state.queue.ready_bytes() as u64 > most
            });
            if (sequence >= end && !much) || sequence >= most {
                break;
            }
            state.settle_in(&mut run, sequence, cx);
            state.totals.dropped += 1;
        }
        run.finish(state.recorded, cx);
        let oldest = state.extras.deadlines().next();
        if let (Some(max_age_ms), Some((_, came_ms))) = (state.settings.retention.max_age_ms, oldest) {
            let due_ms = came_ms.saturating_add(MARK_MS).saturating_add(max_age_ms);
            self.arm(state, due_ms.max(cx.now.utc_ms + 1), cx);
        }
        state.account(cx);
    }

    /// What consumers will want next.
    pub(super) fn ahead_of_readers(state: &QueueState, reach: Reach) -> Ahead {
        let able: SmallVec<[&Arc<Consumption>; 4]> =
            state.consumers.iter().filter(|consumption| consumption.is_able()).collect();
        let mut wanted: BTreeMap<u64, Stored> = BTreeMap::new();
        let (entries, bytes) = (reach.entries / able.len().max(1), reach.bytes / able.len().max(1));
        let (mut most, mut more) = (0, false);
        for reader in able.iter().filter_map(|consumption| consumption.reader.as_ref()) {
            let next = reader.lock().next;
            let (mut count, mut size) = (0, 0);
            for (sequence, entry, _) in state.queue.entries_from(next) {
                if count > 0 && (count >= entries || size >= bytes) {
                    more = true;
                    break;
                }
                count += 1;
                if let BodyRef::Log(stored) = entry.body {
                    size += stored.len as usize;
                    wanted.insert(sequence, stored);
                }
            }
            most = most.max(count);
        }
        Ahead { cold: wanted.into_iter().collect(), entries: most, more }
    }
}

impl QueueState {
    /// Where a consumer begins.
    fn stream_position(&self, start: Start) -> u64 {
        let (front, end) = (self.queue.front_sequence(), self.queue.next_sequence());
        match start {
            Start::First => front,
            Start::Last => end.saturating_sub(1).max(front),
            Start::Next => end,
            Start::Offset(offset) => offset.max(front),
            // Nothing before that mark came as late; what of the rest did not is passed over.
            Start::Time(ms) => self
                .extras
                .deadlines()
                .rev()
                .find(|(_, came_ms)| *came_ms < ms)
                .map_or(front, |(sequence, _)| sequence),
        }
    }

    /// When an entry came that is about to be put at the end, if it is to be a mark.
    pub(super) fn mark(&self, sequence: u64, now_ms: u64) -> Option<NonZeroU64> {
        let Some((last, came_ms)) = self.extras.deadlines().next_back() else {
            return NonZeroU64::new(now_ms);
        };
        let marked = now_ms < came_ms.saturating_add(MARK_MS) && sequence < last + MARK_ENTRIES;
        // A clock that was set back must not make earlier marks later ones.
        if marked { None } else { NonZeroU64::new(now_ms.max(came_ms)) }
    }

    /// Everything before this sequence came before `young_from_ms`.
    fn old_before(&self, young_from_ms: u64) -> u64 {
        let mut end = 0;
        for (sequence, came_ms) in self.extras.deadlines() {
            if came_ms >= young_from_ms {
                break;
            }
            end = sequence;
            if came_ms.saturating_add(MARK_MS) > young_from_ms {
                return end;
            }
            // Up to the next mark, or to the end if there is none.
            end = self.extras.next_after(sequence).unwrap_or_else(|| self.queue.next_sequence());
        }
        end
    }
}
