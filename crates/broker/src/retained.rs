//! Retained messages: the last value of each topic, in topic order.
//!
//! The order lets a wildcard subscription be answered in slices, continuing behind the last topic seen, so that
//! neither a `#` over a million topics nor a slow reader blocks anybody.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::body::{Body, Stored};
use crate::clock::Now;
use crate::filter;
use crate::journal::{Journal, Position};
use crate::limits::Limits;
use crate::message::Message;
use crate::record::checkpoint_record::RetainedSlice;
use crate::record::{Record, RetainedRecord};

/// The retained messages of a virtual host.
#[derive(Default)]
pub struct Retained {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    values: BTreeMap<Arc<str>, Value>,
    bytes: usize,
    /// Values of the broker's own topics, and their bytes.
    own: (usize, usize),
    /// Grows with every change; tells a replay what came after it began.
    version: u64,
}

struct Value {
    body: Body,
    expires_at_ms: Option<NonZeroU64>,
    version: u64,
    /// Whether it was recorded, so that it holds its message's record in the log.
    held: bool,
}

impl Value {
    fn is_expired(&self, now: Now) -> bool {
        self.expires_at_ms.is_some_and(|at| at.get() <= now.utc_ms)
    }
}

/// The store is at its limit and the topic has no value yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedFull;

/// One slice of a replay.
pub(crate) struct Slice {
    /// Matching messages, in topic order.
    pub messages: Vec<Arc<Message>>,
    /// The last topic looked at; `None` when the end is reached.
    pub resume_after: Option<Arc<str>>,
}

impl Retained {
    /// Retained topics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.read().values.len()
    }

    /// Whether nothing is retained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes retained, topics included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.read().bytes
    }

    /// The value of a topic.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<Arc<Message>> {
        self.table.read().values.get(topic).and_then(|value| value.body.message().cloned())
    }

    /// Number of the latest change.
    pub(crate) fn version(&self) -> u64 {
        self.table.read().version
    }

    /// Makes the message its topic's value. The broker's own topics do not count against the limits.
    pub(crate) fn set(
        &self,
        message: Arc<Message>,
        limits: &Limits,
        journal: Option<&dyn Journal>,
    ) -> Result<Position, RetainedFull> {
        let mut table = self.table.write();
        let is_new = !table.values.contains_key(&message.topic);
        let (own, own_bytes) = table.own;
        let full = table.values.len() - own >= limits.max_retained
            || table.bytes - own_bytes + message.size() > limits.max_retained_bytes;
        if is_new && full && !filter::is_own_topic(&message.topic) {
            return Err(RetainedFull);
        }
        Ok(table.commit(RetainedRecord::set(message), journal))
    }

    /// Removes a topic's value.
    pub(crate) fn clear(&self, topic: &Arc<str>, journal: Option<&dyn Journal>) -> Position {
        let mut table = self.table.write();
        if !table.values.contains_key(topic) {
            return Position::NONE;
        }
        table.commit(RetainedRecord::Cleared(Arc::clone(topic)), journal)
    }

    /// Applies a record.
    pub fn apply(&self, record: RetainedRecord) {
        self.table.write().apply(record, true);
    }

    /// The messages' records that are held by retained values, one for each value.
    pub(crate) fn for_each_held(&self, mut look: impl FnMut(Stored)) {
        let table = self.table.read();
        let held = table.values.values().filter(|value| value.held);
        held.filter_map(|value| value.body.stored()).for_each(&mut look);
    }

    /// A copy of the recorded values behind `after`, looking at no more than `most` topics.
    pub(crate) fn image(
        &self,
        after: Option<&Arc<str>>,
        most: usize,
        journal: &dyn Journal,
    ) -> RetainedSlice {
        let table = self.table.read();
        let mut slice = RetainedSlice { cut: journal.cut(), last: None, values: Vec::new() };
        let start = after.map_or(Bound::Unbounded, |topic| Bound::Excluded(&**topic));
        let range = table.values.range::<str, _>((start, Bound::Unbounded));
        for (scanned, (topic, value)) in range.enumerate() {
            if let Some(stored) = value.body.stored().filter(|_| value.held) {
                slice.values.push((Arc::clone(topic), stored, value.expires_at_ms));
            }
            if scanned + 1 >= most {
                slice.last = Some(Arc::clone(topic));
                break;
            }
        }
        slice
    }

    /// The records that make up the recorded values, in the order of their topics.
    pub(crate) fn records(&self) -> Vec<RetainedRecord> {
        let table = self.table.read();
        let held = table.values.iter().filter(|(_, value)| value.held);
        held.map(|(topic, value)| RetainedRecord::Set {
            topic: Arc::clone(topic),
            body: value.body.clone(),
            expires_at_ms: value.expires_at_ms,
        })
        .collect()
    }

    /// Up to `most` matching messages behind `after`, looking at no more than `scan` topics. Values changed
    /// after `version` are left out: whoever subscribed then has received them as they were published.
    pub(crate) fn slice(
        &self,
        filter: &str,
        after: Option<&Arc<str>>,
        version: u64,
        most: usize,
        scan: usize,
    ) -> Slice {
        let table = self.table.read();
        let prefix = literal_prefix(filter);
        let start = match after {
            Some(topic) => Bound::Excluded(&**topic),
            None => Bound::Included(prefix),
        };
        let mut messages = Vec::new();
        let range = table.values.range::<str, _>((start, Bound::Unbounded));
        for (scanned, (topic, value)) in range.enumerate() {
            if !topic.starts_with(prefix) {
                return Slice { messages, resume_after: None };
            }
            if value.version <= version && filter::matches(filter, topic) {
                messages.extend(value.body.message().cloned());
            }
            if messages.len() >= most || scanned + 1 >= scan {
                return Slice { messages, resume_after: Some(Arc::clone(topic)) };
            }
        }
        Slice { messages, resume_after: None }
    }

    /// Removes up to `scan` expired values behind `after`; returns where to go on.
    pub(crate) fn sweep(
        &self,
        after: Option<Arc<str>>,
        now: Now,
        scan: usize,
        journal: Option<&dyn Journal>,
    ) -> Option<Arc<str>> {
        let (expired, next) = {
            let table = self.table.read();
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut expired = Vec::new();
            let mut next = None;
            let range = table.values.range::<str, _>((start, Bound::Unbounded));
            for (scanned, (topic, value)) in range.enumerate() {
                if value.is_expired(now) {
                    expired.push(Arc::clone(topic));
                }
                if scanned + 1 >= scan {
                    next = Some(Arc::clone(topic));
                    break;
                }
            }
            (expired, next)
        };
        if !expired.is_empty() {
            let mut table = self.table.write();
            for topic in expired {
                if table.values.get(&topic).is_some_and(|value| value.is_expired(now)) {
                    table.commit(RetainedRecord::Cleared(topic), journal);
                }
            }
        }
        next
    }
}

impl Table {
    fn commit(&mut self, record: RetainedRecord, journal: Option<&dyn Journal>) -> Position {
        let position = journal.map_or(Position::NONE, |journal| journal.stage(&Record::Retained(&record)));
        let replaced = self.apply(record, journal.is_some());
        if let (Some(journal), Some(value)) = (journal, replaced)
            && value.held
            && let Some(stored) = value.body.stored()
        {
            journal.release(&stored);
        }
        position
    }

    /// Changes a value; returns the one that is gone.
    fn apply(&mut self, record: RetainedRecord, held: bool) -> Option<Value> {
        self.version += 1;
        let version = self.version;
        match record {
            RetainedRecord::Set { topic, body, expires_at_ms } => {
                self.bytes += body.size();
                if filter::is_own_topic(&topic) {
                    self.own.0 += 1;
                    self.own.1 += body.size();
                }
                let value = Value { body, expires_at_ms, version, held };
                match self.values.entry(topic) {
                    Entry::Occupied(mut entry) => {
                        let replaced = entry.get().body.size();
                        self.bytes -= replaced;
                        if filter::is_own_topic(entry.key()) {
                            self.own.0 -= 1;
                            self.own.1 -= replaced;
                        }
                        Some(entry.insert(value))
                    }
                    Entry::Vacant(entry) => {
                        entry.insert(value);
                        None
                    }
                }
            }
            RetainedRecord::Cleared(topic) => {
                let value = self.values.remove(&topic)?;
                self.bytes -= value.body.size();
                if filter::is_own_topic(&topic) {
                    self.own.0 -= 1;
                    self.own.1 -= value.body.size();
                }
                Some(value)
            }
        }
    }
}

/// The part of a filter before its first wildcard: every matching topic begins with it. For `a/#` that is `a`,
/// since the parent level matches too [MQTT-4.7.1-2].
fn literal_prefix(filter: &str) -> &str {
    let end = filter.find(['+', '#']).unwrap_or(filter.len());
    let literal = filter.get(..end).unwrap_or(filter);
    if filter.get(end..) == Some("#") { literal.strip_suffix('/').unwrap_or(literal) } else { literal }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Properties, Publication, Qos};
    use crate::session::SessionId;
    use proptest::prelude::*;

    fn message(topic: &str) -> Arc<Message> {
        let publication = Publication {
            topic,
            payload: b"x",
            properties: Properties::NONE,
            qos: Qos::AtMostOnce,
            retain: true,
            expiry: None,
            publisher: SessionId(1),
        };
        Arc::new(Message::from_publication(&publication, topic.into(), Now::read()))
    }

    fn replay(retained: &Retained, filter: &str, most: usize, scan: usize) -> Vec<String> {
        let (version, mut after, mut found) = (retained.version(), None, Vec::new());
        loop {
            let slice = retained.slice(filter, after.as_ref(), version, most, scan);
            found.extend(slice.messages.iter().map(|m| m.topic.to_string()));
            match slice.resume_after {
                Some(topic) => after = Some(topic),
                None => return found,
            }
        }
    }

    #[test]
    fn the_limit_refuses_new_topics_but_not_new_values() {
        let retained = Retained::default();
        let limits = Limits { max_retained: 1, ..Limits::default() };
        assert!(retained.set(message("a"), &limits, None).is_ok());
        assert!(retained.set(message("a"), &limits, None).is_ok());
        assert_eq!(retained.set(message("b"), &limits, None), Err(RetainedFull));
        retained.clear(&"a".into(), None);
        assert!(retained.set(message("b"), &limits, None).is_ok());
        assert_eq!((retained.len(), retained.bytes()), (1, 2));
    }

    #[test]
    fn the_brokers_own_topics_are_outside_the_limit() {
        let retained = Retained::default();
        let limits = Limits { max_retained: 1, ..Limits::default() };
        for topic in ["$SYS/a", "$SYS/b", "$SYS/a", "a", "$SYS/c"] {
            assert!(retained.set(message(topic), &limits, None).is_ok(), "{topic}");
        }
        assert_eq!(retained.set(message("$other/b"), &limits, None), Err(RetainedFull));
        retained.clear(&"$SYS/a".into(), None);
        assert_eq!(retained.set(message("b"), &limits, None), Err(RetainedFull));
        retained.clear(&"a".into(), None);
        assert!(retained.set(message("b"), &limits, None).is_ok());
        let tight = Limits { max_retained_bytes: 2, ..Limits::default() };
        assert!(retained.set(message("b"), &tight, None).is_ok());
        assert_eq!(retained.set(message("c"), &tight, None), Err(RetainedFull));
    }

    #[test]
    fn a_value_set_during_a_replay_is_left_to_live_delivery() {
        let retained = Retained::default();
        retained.apply(RetainedRecord::set(message("a")));
        let version = retained.version();
        retained.apply(RetainedRecord::set(message("b")));
        let slice = retained.slice("#", None, version, 10, 10);
        assert_eq!(slice.messages.len(), 1);
    }

    proptest! {
        #[test]
        fn a_replay_in_slices_finds_each_match_once(
            topics in prop::collection::btree_set("[ab$/]{1,5}", 0..30),
            filter in prop_oneof![
                Just("#"), Just("+"), Just("a/#"), Just("a/+"), Just("+/b"), Just("ab"), Just("$/#"), Just("a/+/#"),
            ],
            most in 1_usize..4, scan in 1_usize..4,
        ) {
            let retained = Retained::default();
            for topic in &topics {
                retained.apply(RetainedRecord::set(message(topic)));
            }
            let expected: Vec<String> = topics.into_iter().filter(|t| filter::matches(filter, t)).collect();
            prop_assert_eq!(replay(&retained, filter, most, scan), expected);
        }
    }
}
