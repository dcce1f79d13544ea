//! Reading messages back that are only in the log, ahead of their delivery.
//!
//! Whoever meets an entry without its message when it is about to hand it out puts itself on a list and goes on with
//! something else. The server's reader thread takes it from there ([`Vhost::read_back`]): it notes what comes next under
//! the owner's lock, reads it without any lock, and puts it in where the entry is still the same. Half a window before
//! what is in memory ends, the owner asks again, so that a fast client never waits for the disk.
//!
//! A message that cannot be read is dropped, counted and logged; it never holds up those behind it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tercet_log::error::LogError;

use crate::body::{Body, Stored};
use crate::clock::Now;
use crate::effects::Effects;
use crate::hosts::VhostId;
use crate::journal::{LogJournal, ReadBackError};
use crate::message::Message;
use crate::named_queue::NamedQueue;
use crate::queue::{Ahead, Queue, Reach};
use crate::record::SettleReason;
use crate::registry::Registry;
use crate::session::{Context, Session};
use crate::shared_group::SharedGroup;
use crate::vhost::Vhost;
use crate::vhost::observing::ValueRequest;
use crate::vhost::retained_binding::RetainedGift;

/// Where messages are read back from. Blocks, so it must not be called by a thread that serves clients.
pub trait Bodies: Send + Sync {
    /// The messages with these records, in the same order. What is read has [`Message::stored`] set.
    fn read(&self, records: &[Stored]) -> Vec<Result<Arc<Message>, Unreadable>>;
}

/// A message cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

impl Default for Unreadable {
    fn default() -> Self {
        Self("it was not read".to_owned())
    }
}

impl Bodies for LogJournal {
    fn read(&self, records: &[Stored]) -> Vec<Result<Arc<Message>, Unreadable>> {
        let mut messages: Vec<_> = records.iter().map(|_| Err(Unreadable::default())).collect();
        let mut missing: Vec<usize> = (0..records.len()).collect();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            let wanted: Vec<Stored> = missing.iter().filter_map(|&at| records.get(at).copied()).collect();
            let mut refused = Vec::new();
            self.read_run(&wanted, &mut |index, message| {
                let Some(&at) = missing.get(index) else { return };
                if matches!(message, Err(ReadBackError::Log(LogError::Io { .. }))) {
                    refused.push(at);
                }
                if let Some(place) = messages.get_mut(at) {
                    *place = message.map(Arc::new).map_err(|error| Unreadable(error.to_string()));
                }
            });
            missing = refused;
            if missing.is_empty() {
                break;
            }
        }
        messages
    }
}

/// How often what the system refuses to read is tried: a disk may stumble, and a message must not be lost for that.
const ATTEMPTS: usize = 5;
/// Time between attempts. Others wait for the reader meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// How far to read ahead.
const REACH: Reach = Reach { entries: 256, bytes: 1 << 20 };
/// The same while memory is short: enough to keep a client going.
const SHORT_REACH: Reach = Reach { entries: 64, bytes: 64 << 10 };
/// Entries that a connected session keeps in memory while memory is short, from the next one on.
pub(crate) const KEPT: usize = 32;
/// Entries looked at in one visit to let go of their messages.
pub(crate) const COOLED_PER_VISIT: usize = 16_384;
/// The same for each entry that comes: more than one, so that it catches up.
pub(crate) const COOLED_PER_ENTRY: usize = 4;

/// Somebody who needs messages that are not in memory.
pub(crate) enum Fetch {
    Session(Arc<Session>),
    Group(Arc<SharedGroup>),
    Queue(Arc<NamedQueue>),
    /// A queue that is to get retained values.
    Retained(RetainedGift),
    /// Somebody who asked for the values of topics.
    Values(ValueRequest),
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session) => session.fmt(f),
            Self::Group(group) => group.fmt(f),
            Self::Queue(queue) => queue.fmt(f),
            Self::Retained(gift) => gift.fmt(f),
            Self::Values(request) => request.fmt(f),
        }
    }
}

/// Those who wait for the reader, in the order in which they came, with their virtual hosts: one list for all of these.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    waiting: Mutex<VecDeque<(VhostId, Fetch)>>,
    some: Condvar,
}

impl Fetches {
    pub(crate) fn ask(&self, host: VhostId, fetches: impl Iterator<Item = Fetch>) {
        self.waiting.lock().extend(fetches.map(|fetch| (host, fetch)));
        self.some.notify_one();
    }

    pub(crate) fn next(&self) -> Option<(VhostId, Fetch)> {
        self.waiting.lock().pop_front()
    }

    /// Waits until there is somebody, no longer than `most`; returns whether there is.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            self.some.wait_for(&mut waiting, most);
        }
        !waiting.is_empty()
    }

    pub(crate) fn stop_waiting(&self) {
        self.some.notify_all();
    }
}

/// How an owner of a queue stands with the reader.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    /// On the list, or being worked on.
    asked: bool,
    /// Entries that may be handed out before more have to be asked for; 0 if nobody knows.
    left: u32,
}

impl Reading {
    /// Another entry goes out. True if it is time to ask for more.
    pub(crate) fn advance(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.left == 0 && !std::mem::replace(&mut self.asked, true)
    }

    /// Something is missing. True if the reader has to be asked.
    pub(crate) fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// The reader has been here.
    pub(crate) fn answered(&mut self, ahead: &Ahead) {
        let half = u32::try_from(ahead.entries / 2).unwrap_or(u32::MAX).max(1);
        *self = Self { asked: false, left: if ahead.more { half } else { 0 } };
    }
}

/// An entry with its message, or why it has none.
pub(crate) type ReadEntry = (u64, Stored, Result<Arc<Message>, Unreadable>);

impl Queue {
    /// Puts messages in that were read. Returns the sequences of those that cannot be.
    pub(crate) fn put_back(&mut self, read: Vec<ReadEntry>) -> Vec<(u64, Stored, Unreadable)> {
        let mut lost = Vec::new();
        for (sequence, stored, message) in read {
            match message {
                Ok(message) => {
                    self.make_hot(sequence, stored.place(), message);
                }
                // One that has moved meanwhile is asked for again.
                Err(why) if self.is_cold_at(sequence, stored.place()) => lost.push((sequence, stored, why)),
                Err(_) => {}
            }
        }
        lost
    }
}

impl Vhost {
    /// Waits until somebody needs messages that are not in memory, no longer than `most`; returns whether somebody does. For the
    /// thread that calls [`Vhost::read_back`].
    pub fn wait_for_fetches(&self, most: Duration) -> bool {
        self.fetches.wait(most)
    }

    /// Ends a wait for somebody who needs messages.
    pub fn stop_waiting_for_fetches(&self) {
        self.fetches.stop_waiting();
    }

    /// Reads what the next one needs who waits for messages, and lets it go on. Returns whether there was one. Reads the
    /// log: not for a thread that serves clients. For a virtual host that is the only one; else
    /// [`crate::hosts::Hosts::read_back`].
    pub fn read_back(&self, bodies: &dyn Bodies, now: Now, effects: &mut Effects) -> bool {
        let Some((_, fetch)) = self.fetches.next() else { return false };
        self.read_back_for(fetch, bodies, now, effects);
        true
    }

    /// Reads what this one needs, which is in this virtual host.
    pub(crate) fn read_back_for(&self, fetch: Fetch, bodies: &dyn Bodies, now: Now, effects: &mut Effects) {
        let reach = if self.budget.is_exceeded() { SHORT_REACH } else { REACH };
        match fetch {
            Fetch::Session(session) => self.read_back_session(&session, reach, bodies, now, effects),
            Fetch::Group(group) => {
                let ahead = group.ahead(reach);
                let read = read_entries(bodies, &ahead);
                self.with_context(now, effects, |cx| group.put_back(&ahead, read, cx));
            }
            Fetch::Queue(queue) => {
                let ahead = queue.ahead(reach);
                let read = read_entries(bodies, &ahead);
                self.with_context(now, effects, |cx| queue.put_back(&ahead, read, cx));
            }
            Fetch::Retained(gift) => {
                if let Some(left) = self.give_some_retained(gift, Some(bodies), now, effects) {
                    self.fetches.ask(self.id(), std::iter::once(Fetch::Retained(left)));
                }
            }
            Fetch::Values(request) => effects.values.push(self.read_values(request, bodies, now)),
        }
        self.work_off(now, effects);
    }

    fn read_back_session(
        &self,
        session: &Arc<Session>,
        reach: Reach,
        bodies: &dyn Bodies,
        now: Now,
        effects: &mut Effects,
    ) {
        let (ahead, wanted) = {
            let state = session.lock();
            let online = state.outbox.is_some();
            let ahead = if online { state.queue.ahead(reach) } else { Ahead::default() };
            (ahead, state.replay.as_ref().filter(|_| online).and_then(|replay| replay.wanted(&self.retained)))
        };
        let read = read_entries(bodies, &ahead);
        let values = wanted.map(|values| {
            let records: Vec<_> = values.iter().map(|(_, stored)| *stored).collect();
            let messages = if records.is_empty() { Vec::new() } else { bodies.read(&records) };
            values.into_iter().zip(messages).collect::<Vec<_>>()
        });
        self.with_context(now, effects, |cx| {
            let mut state = session.lock();
            state.put_back(session, &ahead, read, cx);
            if let Some(values) = values {
                state.put_back_values(values, cx);
            }
        });
    }
}

fn read_entries(bodies: &dyn Bodies, ahead: &Ahead) -> Vec<ReadEntry> {
    if ahead.cold.is_empty() {
        return Vec::new();
    }
    let records: Vec<_> = ahead.cold.iter().map(|(_, stored)| *stored).collect();
    let mut messages = bodies.read(&records).into_iter();
    let mut next = || messages.next().unwrap_or_else(|| Err(Unreadable::default()));
    ahead.cold.iter().map(|(sequence, stored)| (*sequence, *stored, next())).collect()
}

/// A queued message is lost. Returns how its entry is settled.
pub(crate) fn lost(
    owner: &dyn fmt::Debug,
    sequence: u64,
    stored: &Stored,
    why: &Unreadable,
    cx: &mut Context<'_>,
) -> SettleReason {
    cx.effects.counters.dropped_unreadable += 1;
    tracing::error!(
        queue = ?owner,
        sequence,
        record = %stored.place(),
        bytes = stored.len,
        %why,
        "a queued message cannot be read back and is dropped; hint: look for damage with `tercet log check` while the broker is stopped"
    );
    SettleReason::Undeliverable
}

/// Values written behind under one lock.
const WRITTEN_AT_ONCE: usize = 256;
/// How long a value may wait to be written behind.
const BEHIND: Duration = Duration::from_millis(500);

impl Vhost {
    /// Gives the log the retained values that were set without being recorded at once: up to `most` topics, as long as it takes
    /// work easily; or with `usize::MAX`, at the end, all of them. Returns whether there is more to do at once.
    pub fn write_behind(&self, most: usize) -> bool {
        let Some(journal) = self.journal.as_deref() else { return false };
        let all = most == usize::MAX;
        let slices = most.div_ceil(WRITTEN_AT_ONCE);
        let more = (0..slices).all(|_| self.retained.write_behind(WRITTEN_AT_ONCE.min(most), all, journal));
        journal.flush();
        more
    }

    /// The same once in a while.
    pub(crate) fn write_behind_if_due(&self, now: Now, most: usize) -> bool {
        let mut last = self.written_behind.lock();
        if last.is_some_and(|last| now.monotonic.saturating_duration_since(last) < BEHIND) {
            return false;
        }
        if self.write_behind(most) {
            return true;
        }
        *last = Some(now.monotonic);
        false
    }

    /// Lets go of messages of queues that nobody visits because nothing happens to them: one part of them at a time, once
    /// around whenever memory was too little for all.
    pub(crate) fn cool_idle(&self, now: Now, effects: &mut Effects) {
        let mut left = self.uncooled.lock();
        if *left == 0 && self.journal.is_some() && self.budget.take_pressure() {
            *left = Registry::PARTS;
        }
        if *left == 0 {
            return;
        }
        *left -= 1;
        let part = self.registry.part(*left);
        let last = *left == 0;
        self.with_context(now, effects, |cx| {
            if last {
                self.recorded_queues().iter().for_each(|queue| queue.cool_now(cx));
            }
            for session in part {
                let mut state = session.lock();
                if state.queue.in_memory() > 0 {
                    state.cool_now(COOLED_PER_VISIT, cx);
                }
            }
        });
    }

    /// The retained value of a topic, wherever it is. Reads the log if need be: not for a thread that serves clients.
    ///
    /// # Errors
    /// The log cannot be read there.
    pub fn read_retained(
        &self,
        topic: &str,
        bodies: &dyn Bodies,
    ) -> Result<Option<Arc<Message>>, Unreadable> {
        loop {
            let stored = match self.retained.body(topic) {
                None => return Ok(None),
                Some(Body::Memory(message)) => return Ok(Some(message)),
                Some(Body::Log(stored)) => stored,
            };
            let read = bodies.read(&[stored]).pop();
            match read.unwrap_or_else(|| Err(Unreadable::default())) {
                Ok(message) => return Ok(Some(message)),
                // Unless it has changed or moved meanwhile.
                Err(why) if self.retained.body(topic).and_then(|body| body.stored()) == Some(stored) => {
                    return Err(why);
                }
                Err(_) => {}
            }
        }
    }
}
