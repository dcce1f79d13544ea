//! A client's session: its queue, its connection if it has one, and what must survive between connections.
//!
//! Everything is guarded by one short lock. The packet identifier of a delivery is derived from its sequence
//! ([`packet_id`]), so that it survives a crash without a record of its own.

mod acknowledging;
mod sending;
mod waiting;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::body_budget::BodyBudget;
use crate::clock::Now;
use crate::duplicates::Duplicates;
use crate::effects::{Effects, GroupWork};
use crate::filter::SubscriptionOptions;
use crate::journal::{Journal, Position};
use crate::limits::Limits;
use crate::outbox::{CloseReason, Drained, Outbox};
use crate::permission::Permissions;
use crate::queue::Queue;
use crate::read_back::Reading;
use crate::record::{Entry, QueueRecord, Record, SessionRecord, SettleReason};
use crate::retained_replay::RetainedReplay;
use crate::schedule::Schedule;
use crate::shared_group::SharedGroup;
use crate::undurable::Undurable;
use crate::will::Will;

/// Identifies a session; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl SessionId {
    /// The broker itself, as publisher of its own messages.
    pub const BROKER: SessionId = SessionId(0);
}

/// Seconds after which a session never expires.
pub const NEVER_EXPIRES: u32 = u32::MAX;

/// Sequences that can be outstanding at once, so that identifiers stay unambiguous.
const PACKET_IDS: u64 = 65_535;

/// The packet identifier of a sequence.
#[must_use]
pub fn packet_id(sequence: u64) -> u16 {
    // The remainder is below 65,535, so it fits with one added.
    (sequence % PACKET_IDS) as u16 + 1
}

/// The outstanding sequence that has this packet identifier, given the oldest outstanding one.
fn sequence_of(packet_id: u16, front: u64) -> u64 {
    let wanted = u64::from(packet_id.wrapping_sub(1));
    front + (wanted + PACKET_IDS - front % PACKET_IDS) % PACKET_IDS
}

/// A session. See the module documentation.
pub struct Session {
    id: SessionId,
    client_id: Arc<str>,
    /// Whether it was made to outlive its connections. It may stop being durable, but never starts to be.
    durable: bool,
    /// Held while a batch of the client is worked on, see [`Session::batch`].
    batch: Mutex<()>,
    state: Mutex<SessionState>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("client_id", &self.client_id).finish()
    }
}

/// What a session's operations need from outside.
pub(crate) struct Context<'a> {
    pub now: Now,
    pub effects: &'a mut Effects,
    pub limits: &'a Limits,
    pub permissions: &'a Permissions,
    pub journal: Option<&'a dyn Journal>,
    pub budget: &'a Arc<BodyBudget>,
    pub schedule: &'a Schedule,
    pub duplicates: &'a Duplicates,
}

/// The state behind a session's lock.
pub(crate) struct SessionState {
    /// Counts connections; operations of an earlier one are ignored.
    pub epoch: u32,
    /// Why the last connection lost the session.
    pub evicted: CloseReason,
    /// Set once the session is gone; nothing may be added any more.
    pub ended: bool,
    /// Seconds the session outlives its connection.
    pub expiry: u32,
    /// Unacknowledged deliveries allowed (the client's Receive Maximum).
    pub window: u16,
    pub in_flight: u16,
    /// Entries of the queue that are on loan from shared subscriptions.
    pub loans: u32,
    /// Connected, but redelivery has not begun: nothing may overtake it.
    pub resuming: bool,
    pub user: Option<Arc<str>>,
    pub outbox: Option<Box<dyn Outbox>>,
    pub queue: Queue,
    /// What of the queue and of the releases waits for the log.
    pub undurable: Option<Box<Undurable>>,
    /// Bytes of messages in memory that the budget knows of.
    pub accounted: usize,
    pub reading: Reading,
    /// QoS 2 publications taken over from the client and not yet released by it.
    pub received: VecDeque<u16>,
    pub subscriptions: Option<Box<HashMap<Arc<str>, SubscriptionOptions>>>,
    pub groups: Vec<Arc<SharedGroup>>,
    pub will: Option<Box<Will>>,
    pub replay: Option<Box<RetainedReplay>>,
    /// When the connection ended; timers count from here.
    pub offline_since: Option<Instant>,
    /// The same in UTC milliseconds; 0 while connected.
    pub offline_at_ms: u64,
    /// The armed deadline, to disarm it.
    pub deadline: Option<Instant>,
}

impl Session {
    pub(crate) fn new(id: SessionId, client_id: Arc<str>, state: SessionState) -> Self {
        Self { id, client_id, durable: state.is_durable(), batch: Mutex::new(()), state: Mutex::new(state) }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Client identifier.
    #[must_use]
    pub fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// Whether its changes may be recorded. A session that will not survive a restart now never will.
    pub(crate) fn may_be_durable(&self) -> bool {
        self.durable
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    /// Lets one batch of the client at a time publish. After a takeover the earlier connection may still be at work
    /// on another thread: without this its messages and those of the new one, which repeats them, could be routed
    /// in turns, out of order. Taken before any other lock.
    pub fn batch(&self) -> MutexGuard<'_, ()> {
        self.batch.lock()
    }

    /// Swaps out pending output. An error says why the connection of `epoch` no longer owns the session.
    pub fn drain(&self, epoch: u32, out: &mut Drained) -> Result<(), CloseReason> {
        let state = &mut *self.state.lock();
        match &mut state.outbox {
            Some(outbox) if state.epoch == epoch => {
                outbox.drain(out);
                Ok(())
            }
            _ => Err(state.evicted),
        }
    }

    /// Why the connection of `epoch` has to close, if it has to.
    #[must_use]
    pub fn closing(&self, epoch: u32) -> Option<CloseReason> {
        let state = self.state.lock();
        match &state.outbox {
            Some(outbox) if state.epoch == epoch => outbox.closing(),
            _ => Some(state.evicted),
        }
    }

    /// Calls `act` with the outbox of the connection of `epoch`, if it still owns the session.
    pub fn with_outbox(&self, epoch: u32, act: impl FnOnce(&mut dyn Outbox)) {
        let state = &mut *self.state.lock();
        if state.epoch == epoch
            && let Some(outbox) = &mut state.outbox
        {
            act(outbox.as_mut());
        }
    }

    /// Closes the session's connection, if it has one.
    pub fn close(&self, reason: CloseReason, effects: &mut Effects) -> bool {
        match &mut self.state.lock().outbox {
            Some(outbox) => {
                outbox.close(reason, effects);
                true
            }
            None => false,
        }
    }

    /// Messages waiting in the queue, and unacknowledged ones.
    #[must_use]
    pub fn backlog(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.queue.ready(), usize::from(state.in_flight))
    }
}

impl SessionState {
    pub(crate) fn new(expiry: u32, user: Option<Arc<str>>) -> Self {
        let mut queue = Queue::default();
        queue.set_recorded(expiry > 0);
        Self {
            epoch: 0,
            evicted: CloseReason::TakenOver,
            ended: false,
            expiry,
            window: 0,
            in_flight: 0,
            loans: 0,
            resuming: false,
            user,
            outbox: None,
            queue,
            undurable: None,
            accounted: 0,
            reading: Reading::default(),
            received: VecDeque::new(),
            subscriptions: None,
            groups: Vec::new(),
            will: None,
            replay: None,
            offline_since: None,
            offline_at_ms: 0,
            deadline: None,
        }
    }

    /// Whether the session's changes must survive a restart.
    pub(crate) fn is_durable(&self) -> bool {
        self.expiry > 0
    }

    /// Applies a record: the one way in which durable session state changes.
    pub(crate) fn apply(&mut self, record: SessionRecord) -> Option<Entry> {
        match record {
            SessionRecord::Opened { user, expiry, .. } => {
                self.user = user;
                self.expiry = expiry;
                self.offline_since = None;
                self.offline_at_ms = 0;
            }
            SessionRecord::Ended => {
                self.ended = true;
                self.queue = Queue::default();
                self.undurable = None;
                self.loans = 0;
                self.received = VecDeque::new();
                self.subscriptions = None;
                self.will = None;
                self.replay = None;
            }
            SessionRecord::Subscribed { filter, options, replay } => {
                if replay {
                    self.replay.get_or_insert_default().add(Arc::clone(&filter), options, u64::MAX);
                }
                self.subscriptions.get_or_insert_default().insert(filter, options);
            }
            SessionRecord::Replayed { filter } => self.forget_replay(&filter),
            SessionRecord::Unsubscribed { filter } => {
                self.forget_replay(&filter);
                if let Some(subscriptions) = &mut self.subscriptions {
                    subscriptions.remove(&filter);
                }
            }
            SessionRecord::Received(id) => {
                if let Err(index) = self.received.binary_search(&id) {
                    self.received.insert(index, id);
                }
            }
            SessionRecord::Completed(id) => {
                if let Ok(index) = self.received.binary_search(&id) {
                    self.received.remove(index);
                }
            }
            SessionRecord::WillChanged(will) => self.will = will,
            SessionRecord::Offline { at_ms, expiry } => {
                self.offline_at_ms = at_ms;
                self.expiry = expiry;
            }
            SessionRecord::Queue(record) => return self.queue.apply(record),
        }
        None
    }

    fn forget_replay(&mut self, filter: &str) {
        if let Some(replay) = &mut self.replay {
            replay.remove(filter);
        }
    }

    /// Stages a record if the session is durable, then applies it.
    pub(crate) fn commit(
        &mut self,
        session: SessionId,
        record: SessionRecord,
        journal: Option<&dyn Journal>,
    ) -> (Position, Option<Entry>) {
        let position = match journal {
            Some(journal) if self.is_durable() && self.concerns_durable(&record) => {
                journal.stage(&Record::Session(session, &record))
            }
            _ => Position::NONE,
        };
        let Some(journal) = journal else { return (position, self.apply(record)) };
        let settled = match &record {
            SessionRecord::Ended => {
                self.queue.held().for_each(|stored| journal.release(&stored));
                None
            }
            SessionRecord::Queue(QueueRecord::Settled { sequence, .. }) => Some(*sequence),
            _ => None,
        };
        let entry = self.apply(record);
        if let (Some(sequence), Some(entry)) = (settled, &entry)
            && self.queue.is_holder(sequence, entry)
            && let Some(stored) = entry.body.stored()
        {
            journal.release(&stored);
        }
        (position, entry)
    }

    /// Entries at most once and those on loan are not recorded, so nothing that happens to them is.
    fn concerns_durable(&self, record: &SessionRecord) -> bool {
        match record {
            SessionRecord::Queue(QueueRecord::Enqueued { entry, .. }) => entry.is_durable(),
            SessionRecord::Queue(QueueRecord::Settled { sequence, .. }) => {
                self.queue.entry(*sequence).is_some_and(|(entry, ..)| entry.is_durable())
            }
            _ => true,
        }
    }

    fn settle(&mut self, session: SessionId, sequence: u64, reason: SettleReason, cx: &mut Context<'_>) {
        let record = SessionRecord::Queue(QueueRecord::Settled { sequence, reason });
        let (_, entry) = self.commit(session, record, cx.journal);
        let Some(loan) = entry.and_then(|entry| entry.loan) else { return };
        self.loans -= 1;
        cx.effects.group_work.push(match reason {
            SettleReason::Returned => GroupWork::Returned(loan.group, loan.sequence),
            _ => GroupWork::Settled(loan.group, loan.sequence),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_identifier_leads_back_to_its_sequence() {
        for front in [0, 1, 65_533, 65_534, 65_535, 65_536, 1 << 40] {
            for ahead in [0, 1, 2, 65_533, 65_534] {
                let sequence = front + ahead;
                assert_ne!(packet_id(sequence), 0);
                assert_eq!(sequence_of(packet_id(sequence), front), sequence, "front {front}");
            }
        }
    }

    #[test]
    fn a_session_is_small_while_idle() {
        let size = std::mem::size_of::<Session>();
        assert!(size <= 400, "a session takes {size} bytes");
    }
}
