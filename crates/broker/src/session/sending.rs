//! From the queue to the connection: what may be sent, when, and why not.

use std::sync::Arc;

use crate::effects::Effects;
use crate::journal::Position;
use crate::limits::Overflow;
use crate::message::Qos;
use crate::outbox::{Delivery, Pushed};
use crate::permission::{Action, Subject};
use crate::read_back::{self, Fetch};
use crate::record::{Entry, GroupRecord, QueueRecord, Record, SessionRecord, SettleReason};
use crate::session::{Context, PACKET_IDS, Session, SessionState, packet_id};
use crate::shared_group::GroupId;

/// Why an entry was not sent.
enum Unsent {
    /// It has to be read back first.
    NotInMemory,
    /// It never will be, and is settled for this reason.
    Never(SettleReason),
}

impl SessionState {
    /// Whether one more delivery could be sent at once, or as soon as the log allows.
    pub(crate) fn has_credit(&self) -> bool {
        let ready = self.queue.ready();
        (ready == 0 || self.undurable.is_some())
            && !self.resuming
            && usize::from(self.in_flight) + ready < usize::from(self.window)
            && self.outbox.as_ref().is_some_and(|outbox| outbox.has_room())
    }

    /// Queued entries that wait for nothing but the log: the window has a place for each.
    pub(super) fn as_good_as_sent(&self) -> usize {
        let waits = self.undurable.is_some() && !self.resuming;
        if !waits || !self.outbox.as_ref().is_some_and(|outbox| outbox.has_room()) {
            return 0;
        }
        usize::from(self.window.saturating_sub(self.in_flight)).min(self.queue.ready())
    }

    /// Puts a message at the end of the queue and sends what may be sent.
    pub(crate) fn enqueue(&mut self, session: &Arc<Session>, entry: Entry, cx: &mut Context<'_>) -> Position {
        if self.ended || !self.make_room(session, &entry, cx) {
            return Position::NONE;
        }
        self.enqueue_beyond_limits(session, entry, cx)
    }

    /// Takes an entry of a shared subscription if it can be sent at once. `from` names the entry there if it is
    /// handed over for good and recorded there; then what is recorded here settles it there, too. `None` if it is not taken.
    pub(crate) fn take_over(
        &mut self,
        session: &Arc<Session>,
        entry: Entry,
        from: Option<(GroupId, u64)>,
        cx: &mut Context<'_>,
    ) -> Option<Position> {
        if self.ended || !self.has_credit() {
            return None;
        }
        self.loans += u32::from(entry.loan.is_some());
        let transient = !self.is_durable() || !entry.is_durable();
        if let Some((group, sequence)) = from.filter(|_| transient)
            && let Some(journal) = cx.journal
        {
            // The entry is gone from the group before anybody sees it: after a crash it must not go to another member
            // [MQTT-4.8.2-4].
            let settled = QueueRecord::Settled { sequence, reason: SettleReason::HandedOver };
            let position = journal.stage(&Record::Group(group, &GroupRecord::Queue(settled)));
            let sequence = self.queue.next_sequence();
            if position > journal.durable() {
                self.defer(session, position, cx.effects).entries.note(sequence, position);
            }
            self.append(session, entry, None, cx);
            return Some(position);
        }
        Some(self.append(session, entry, from, cx))
    }

    /// Like [`enqueue`](Self::enqueue), for what is bounded elsewhere: the replay of retained messages waits for
    /// the queue to run short, so its messages are never dropped for the queue's limits.
    pub(crate) fn enqueue_beyond_limits(
        &mut self,
        session: &Arc<Session>,
        entry: Entry,
        cx: &mut Context<'_>,
    ) -> Position {
        self.append(session, entry, None, cx)
    }

    pub(super) fn append(
        &mut self,
        session: &Arc<Session>,
        entry: Entry,
        from: Option<(GroupId, u64)>,
        cx: &mut Context<'_>,
    ) -> Position {
        let sequence = self.queue.next_sequence();
        let record = SessionRecord::Queue(QueueRecord::Enqueued { sequence, entry, from });
        let (position, _) = self.commit(session.id, record, cx.journal);
        if cx.journal.is_some_and(|journal| position > journal.durable()) {
            self.defer(session, position, cx.effects).entries.note(sequence, position);
        }
        self.pump(session, cx);
        // Some for each that comes, so that visits need not do it all.
        self.cool(read_back::COOLED_PER_ENTRY, cx);
        position
    }

    pub(super) fn make_room(&mut self, session: &Session, entry: &Entry, cx: &mut Context<'_>) -> bool {
        let size = entry.body.size();
        // Nothing needs to go for what would not fit alone.
        let possible = size <= cx.limits.max_queued_bytes && cx.limits.max_queued_messages > 0;
        loop {
            let ready = self.queue.ready() - self.as_good_as_sent();
            let bytes = if ready == 0 { 0 } else { self.queue.ready_bytes() };
            let fits = ready < cx.limits.max_queued_messages && bytes + size <= cx.limits.max_queued_bytes;
            if fits || self.has_credit() {
                return true;
            }
            cx.effects.counters.dropped_queue_full += 1;
            tracing::debug!(client_id = %session.client_id, ready = self.queue.ready(), "the queue is full");
            match (cx.limits.overflow, self.queue.first_ready()) {
                (Overflow::DropOldest, Some(oldest)) if possible => {
                    self.settle(session.id, oldest, SettleReason::Overflow, cx);
                }
                _ => return false,
            }
        }
    }

    /// Sends queued messages as long as the window and the output allow.
    pub(crate) fn pump(&mut self, session: &Arc<Session>, cx: &mut Context<'_>) {
        if !self.resuming && self.outbox.is_some() {
            self.send_ready(session, cx);
        }
        self.account(cx);
    }

    pub(super) fn send_ready(&mut self, session: &Arc<Session>, cx: &mut Context<'_>) {
        let undurable_from = self.undurable_from(cx.journal);
        while self.in_flight < self.window && self.outbox.as_ref().is_some_and(|outbox| outbox.has_room()) {
            let Some(sequence) = self.queue.first_ready() else { break };
            if sequence - self.queue.front_sequence() >= PACKET_IDS || sequence >= undurable_from {
                break;
            }
            match self.send(session, sequence, cx) {
                Ok(()) => {}
                Err(Unsent::NotInMemory) => {
                    if self.reading.ask() {
                        cx.effects.fetches.push(Fetch::Session(Arc::clone(session)));
                    }
                    break;
                }
                Err(Unsent::Never(reason)) => {
                    match reason {
                        SettleReason::Expired => cx.effects.counters.dropped_expired += 1,
                        SettleReason::Denied => cx.effects.counters.dropped_denied += 1,
                        _ => cx.effects.counters.dropped_too_large += 1,
                    }
                    self.settle(session.id, sequence, reason, cx);
                }
            }
            if self.reading.advance() {
                cx.effects.fetches.push(Fetch::Session(Arc::clone(session)));
            }
        }
    }

    /// Sends one ready entry.
    fn send(&mut self, session: &Session, sequence: u64, cx: &mut Context<'_>) -> Result<(), Unsent> {
        let Some((entry, _, redelivered)) = self.queue.entry(sequence) else { return Ok(()) };
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        let Some(message) = entry.body.message() else { return Err(Unsent::NotInMemory) };
        if message.is_expired(cx.now) {
            return Err(Unsent::Never(SettleReason::Expired));
        }
        if !cx.permissions.is_unrestricted() {
            let subject = Subject { user: self.user.as_deref(), client_id: &session.client_id };
            if !cx.permissions.check(&subject, Action::Receive, &message.topic).is_allowed() {
                return Err(Unsent::Never(SettleReason::Denied));
            }
        }
        let delivery = Delivery {
            topic: &message.topic,
            payload: &message.payload,
            message: Some(message),
            properties: message.properties(),
            qos: entry.qos,
            retain: entry.retain,
            dup: redelivered && entry.qos > Qos::AtMostOnce,
            packet_id: if entry.qos == Qos::AtMostOnce { 0 } else { packet_id(sequence) },
            subscription_ids: entry.ids,
            expiry: message.remaining_expiry(cx.now),
            fan_out: false,
        };
        let size = delivery.payload.len() as u64;
        let qos = entry.qos;
        match outbox.deliver(&delivery, cx.effects) {
            Pushed::Full | Pushed::Accepted => {}
            Pushed::TooLarge => return Err(Unsent::Never(SettleReason::Undeliverable)),
        }
        cx.effects.counters.publish_sent += 1;
        cx.effects.counters.publish_bytes_sent += size;
        self.queue.mark_sent(sequence);
        if qos == Qos::AtMostOnce {
            self.settle(session.id, sequence, SettleReason::Acknowledged, cx);
        } else {
            self.in_flight += 1;
            if cx.budget.is_exceeded()
                && let Some(journal) = cx.journal
            {
                // It is wanted again only if the client goes away without an answer.
                self.queue.make_cold(sequence, journal.durable());
            }
        }
        Ok(())
    }

    /// Delivers at most once, straight to the outbox, without touching the queue.
    pub(crate) fn deliver_now(&mut self, delivery: &Delivery<'_>, effects: &mut Effects) -> Option<Pushed> {
        let outbox = self.outbox.as_mut()?;
        let pushed = outbox.deliver(delivery, effects);
        match pushed {
            Pushed::Accepted => {
                effects.counters.publish_sent += 1;
                effects.counters.publish_bytes_sent += delivery.payload.len() as u64;
            }
            Pushed::Full => effects.counters.dropped_outbox_full += 1,
            Pushed::TooLarge => effects.counters.dropped_too_large += 1,
        }
        Some(pushed)
    }
}
