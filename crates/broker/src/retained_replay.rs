//! Retained messages for new subscriptions, streamed with back-pressure.
//!
//! A session works through its pending filters one slice at a time, whenever its output has room and its queue
//! is short; so nothing is dropped, nobody else waits, and memory stays bounded.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::body::{Body, Stored};
use crate::filter::{SubscriptionIds, SubscriptionOptions};
use crate::message::{Message, Qos};
use crate::outbox::{Delivery, Pushed};
use crate::permission::{Action, Subject};
use crate::read_back::{Fetch, Unreadable};
use crate::record::{Entry, SessionRecord};
use crate::retained::Retained;
use crate::session::{Context, Session, SessionState};

/// What is still to be replayed to a session.
#[derive(Debug, Default)]
pub struct RetainedReplay {
    pending: VecDeque<Pending>,
    /// Values that were read back for the next steps, in the order of their topics.
    read: VecDeque<ReadValue>,
    /// The reader was asked for them.
    asked: bool,
}

#[derive(Debug)]
struct Pending {
    filter: Arc<str>,
    options: SubscriptionOptions,
    after: Option<Arc<str>>,
    version: u64,
}

/// A value that is only in the log, with its message or why it has none.
pub(crate) type ReadValue = ((Arc<str>, Stored), Result<Arc<Message>, Unreadable>);

/// Bytes of values read back for one session.
const READ_BYTES: usize = 1 << 20;
/// Messages handed over per step.
const SLICE: usize = 256;
/// Topics looked at per step, matching or not.
const SCAN: usize = 8192;
/// Queued messages above which a replay waits.
const QUEUED: usize = 1024;

impl RetainedReplay {
    /// Adds a filter whose retained messages are wanted. Replaces a pending replay of the same filter.
    pub(crate) fn add(&mut self, filter: Arc<str>, options: SubscriptionOptions, version: u64) {
        self.pending.retain(|pending| pending.filter != filter);
        self.pending.push_back(Pending { filter, options, after: None, version });
    }

    /// Whether a filter's retained messages are still to be sent.
    pub(crate) fn awaits(&self, filter: &str) -> bool {
        self.pending.iter().any(|pending| &*pending.filter == filter)
    }

    /// The values of the next steps that are only in the log.
    pub(crate) fn wanted(&self, retained: &Retained) -> Option<Vec<(Arc<str>, Stored)>> {
        let pending = self.pending.front().filter(|_| self.asked)?;
        let slice = retained.slice(&pending.filter, pending.after.as_ref(), pending.version, SLICE, SCAN);
        let mut wanted = Vec::new();
        let mut bytes = 0;
        for (topic, body) in slice.values {
            let Body::Log(stored) = body else { continue };
            bytes += stored.len as usize;
            if bytes > READ_BYTES && !wanted.is_empty() {
                break;
            }
            wanted.push((topic, stored));
        }
        Some(wanted)
    }

    /// The message of a value that is only in the log, if it was read back.
    fn take_read(&mut self, topic: &str, stored: Stored) -> Option<Result<Arc<Message>, Unreadable>> {
        // What comes before it has changed since it was read.
        while let Some(((first, place), message)) =
            self.read.pop_front_if(|((first, _), _)| **first <= *topic)
        {
            if *first == *topic && place == stored {
                return Some(message);
            }
        }
        None
    }

    /// Forgets a filter that was unsubscribed.
    pub(crate) fn remove(&mut self, filter: &str) {
        self.pending.retain(|pending| &*pending.filter != filter);
    }
}

/// What is to be done about a session's replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is pending.
    Done,
    /// The client must read or acknowledge first.
    Blocked,
    /// There is more to do at once; let others have a turn.
    More,
}

impl SessionState {
    /// Replays one slice.
    pub(crate) fn replay_step(
        &mut self,
        session: &Arc<Session>,
        retained: &Retained,
        cx: &mut Context<'_>,
    ) -> Progress {
        let Some(mut replay) = self.replay.take() else { return Progress::Done };
        let progress = self.replay_slice(&mut replay, session, retained, cx);
        if !replay.pending.is_empty() {
            self.replay = Some(replay);
        }
        progress
    }

    fn replay_slice(
        &mut self,
        replay: &mut RetainedReplay,
        session: &Arc<Session>,
        retained: &Retained,
        cx: &mut Context<'_>,
    ) -> Progress {
        let Some(pending) = replay.pending.front_mut() else { return Progress::Done };
        if self.queue.ready() >= QUEUED || !self.outbox.as_ref().is_some_and(|outbox| outbox.has_room()) {
            return Progress::Blocked;
        }
        let slice = retained.slice(&pending.filter, pending.after.as_ref(), pending.version, SLICE, SCAN);
        let options = pending.options;
        for (topic, body) in slice.values {
            let message = match body {
                Body::Memory(message) => Some((message, None)),
                Body::Log(stored) => match replay.take_read(&topic, stored) {
                    Some(Ok(message)) => Some((message, Some(stored))),
                    Some(Err(why)) => {
                        unreadable(session, &topic, stored, &why, cx);
                        None
                    }
                    None => {
                        replay.asked = true;
                        if self.reading.ask() {
                            cx.effects.fetches.push(Fetch::Session(Arc::clone(session)));
                        }
                        return Progress::Blocked;
                    }
                },
            };
            if let Some((message, read)) = message
                && !self.replay_message(&message, &options, session, cx)
            {
                // The output filled up; go on behind the last message that was taken.
                if let Some(stored) = read {
                    replay.read.push_front(((topic, stored), Ok(message)));
                }
                return Progress::Blocked;
            }
            if let Some(pending) = replay.pending.front_mut() {
                pending.after = Some(topic);
            }
        }
        let Some(pending) = replay.pending.front_mut() else { return Progress::Done };
        match slice.resume_after {
            Some(topic) => pending.after = Some(topic),
            None => {
                // The next filter begins anew with the topics.
                replay.read = VecDeque::new();
                if let Some(Pending { filter, .. }) = replay.pending.pop_front() {
                    self.commit(session.id(), SessionRecord::Replayed { filter }, cx.journal);
                }
            }
        }
        if replay.pending.is_empty() { Progress::Done } else { Progress::More }
    }

    /// Takes retained values that were read back, and lets the connection go on with the replay.
    pub(crate) fn put_back_values(&mut self, values: Vec<ReadValue>, cx: &mut Context<'_>) {
        let Some(replay) = &mut self.replay else { return };
        replay.read = values.into();
        replay.asked = false;
        if let Some(outbox) = &mut self.outbox {
            outbox.wake(cx.effects);
        }
    }

    /// Hands one retained message over; false if the output cannot take it now.
    fn replay_message(
        &mut self,
        message: &Arc<Message>,
        options: &SubscriptionOptions,
        session: &Arc<Session>,
        cx: &mut Context<'_>,
    ) -> bool {
        let subject = Subject { user: self.user.as_deref(), client_id: session.client_id() };
        let allowed = cx.permissions.check(&subject, Action::Receive, &message.topic).is_allowed();
        let authored = message.author.as_ref().is_none_or(|author| {
            cx.permissions.check(&author.subject(), Action::Publish, &message.topic).is_allowed()
        });
        if !allowed || !authored {
            cx.effects.counters.dropped_denied += 1;
            return true;
        }
        let own = message.author.as_ref().is_some_and(|author| author.client_id == *session.client_id());
        if message.is_expired(cx.now) || (own && options.no_local) {
            return true;
        }
        let ids = SubscriptionIds::None.with(options.id);
        let qos = message.qos.min(options.qos);
        if qos > Qos::AtMostOnce {
            // A message sent because of a new subscription keeps the retain flag [MQTT-3.3.1-8].
            let entry = Entry { body: Arc::clone(message).into(), ids, loan: None, qos, retain: true };
            self.enqueue_beyond_limits(session, entry, cx);
            return true;
        }
        let room = self.outbox.as_ref().is_some_and(|outbox| outbox.has_room());
        let delivery = Delivery {
            topic: &message.topic,
            payload: &message.payload,
            message: Some(message),
            properties: message.properties(),
            qos,
            retain: true,
            dup: false,
            packet_id: 0,
            subscription_ids: ids.as_slice(),
            expiry: message.remaining_expiry(cx.now),
            fan_out: false,
        };
        room && self.deliver_now(&delivery, cx.effects) != Some(Pushed::Full)
    }
}

/// A retained value is passed over.
fn unreadable(session: &Session, topic: &str, stored: Stored, why: &Unreadable, cx: &mut Context<'_>) {
    cx.effects.counters.dropped_unreadable += 1;
    tracing::error!(
        client_id = %session.client_id(),
        topic,
        record = %stored.place(),
        bytes = stored.len,
        %why,
        "a retained message cannot be read back and is passed over; hint: look for damage with `tercet log check` while the broker is stopped"
    );
}
