//! Retained messages: the last value of each topic, in topic order.
//!
//! The order lets a wildcard subscription be answered in slices, continuing behind the last topic seen, so that
//! neither a `#` over a million topics nor a slow reader blocks anybody.
//!
//! Values published with QoS 0 are written behind: the log gets the newest one of each topic within a second, not each one.
//! Until then the log has what was there before, and that stays held.

mod table;

use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use self::table::Table;
use crate::body::{Body, Stored};
use crate::body_budget::BodyBudget;
use crate::clock::Now;
use crate::filter;
use crate::journal::{Journal, Position};
use crate::limits::Limits;
use crate::message::{Message, Qos};
use crate::record::RetainedRecord;
use crate::record::checkpoint_record::RetainedSlice;

/// The retained messages of a virtual host.
#[derive(Default)]
pub struct Retained {
    table: RwLock<Table>,
}

/// The store is at its limit and the topic has no value yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedFull;

/// A change of a value, as it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Where it is durable.
    pub position: Position,
    /// The number of the change: later ones have greater ones.
    pub version: u64,
}

/// Judges the value that a topic has: `None` if there is none. Called under the lock of all values, so that nothing comes
/// between the judgement and the change.
pub type Condition<'a> = &'a dyn Fn(Option<&Body>) -> bool;

/// What a publisher asks about the value that it replaces, and is told.
#[derive(Clone, Copy, Default)]
pub(crate) struct Replacing<'a> {
    /// The change is made only if this holds.
    pub condition: Option<Condition<'a>>,
    /// There was a value, one that has not expired.
    pub existed: bool,
    /// The condition does not hold: nothing has changed.
    pub unmet: bool,
}

/// A value that the log has.
#[derive(Clone, Debug)]
struct Recorded {
    topic: Arc<str>,
    /// The message's record.
    stored: Stored,
    /// When it expires, UTC milliseconds.
    expires_at_ms: Option<NonZeroU64>,
}

/// One slice of a replay.
pub(crate) struct Slice {
    /// Matching values, in the order of their topics.
    pub values: Vec<(Arc<str>, Body)>,
    /// The last topic looked at; `None` when the end is reached.
    pub resume_after: Option<Arc<str>>,
}

/// Values looked at for going cold when one is set.
const COOLED_PER_SET: usize = 4;
/// Bytes that may wait to be written behind before each value that comes takes some along.
const MOST_BEHIND: usize = 8 << 20;

impl Retained {
    /// No values; those that are in the log as well are bound by `budget`.
    #[must_use]
    pub fn new(budget: Arc<BodyBudget>) -> Self {
        Self { table: RwLock::new(Table::new(budget)) }
    }

    /// Retained topics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.read().len()
    }

    /// Whether nothing is retained.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes retained, topics included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.read().bytes()
    }

    /// Bytes of memory that values take up that could also be read back from the log.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.table.read().memory()
    }

    /// The value of a topic, if it is in memory; one that is only in the log is read by
    /// [`Vhost::read_retained`](crate::vhost::Vhost::read_retained).
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<Arc<Message>> {
        self.table.read().body(topic).and_then(|body| body.message().cloned())
    }

    /// Where the value of a topic is.
    #[must_use]
    pub fn body(&self, topic: &str) -> Option<Body> {
        self.table.read().body(topic).cloned()
    }

    /// Where the value of a topic is, unless it has expired.
    pub(crate) fn unexpired(&self, topic: &str, now: Now) -> Option<Body> {
        let table = self.table.read();
        table.body(topic).filter(|_| !table.is_expired(topic, now)).cloned()
    }

    /// Number of the latest change.
    pub(crate) fn version(&self) -> u64 {
        self.table.read().version()
    }

    /// Looks at the value of a topic on behalf of a publication, under the lock under which that changes it. False if it must
    /// not.
    fn admits(table: &Table, topic: &str, replacing: Option<&mut Replacing<'_>>, now: Now) -> bool {
        let Some(replacing) = replacing else { return true };
        let body = table.body(topic).filter(|_| !table.is_expired(topic, now));
        replacing.existed = body.is_some();
        replacing.unmet = replacing.condition.is_some_and(|holds| !holds(body));
        !replacing.unmet
    }

    /// Makes the message its topic's value. The broker's own topics do not count against the limits. One published with
    /// QoS 0 is written behind, so nothing has to be waited for. `None` if the publisher's condition does not hold.
    pub(crate) fn set(
        &self,
        message: Arc<Message>,
        replacing: Option<&mut Replacing<'_>>,
        now: Now,
        limits: &Limits,
        journal: Option<&dyn Journal>,
    ) -> Result<Option<Changed>, RetainedFull> {
        let mut table = self.table.write();
        if !Self::admits(&table, &message.topic, replacing, now) {
            return Ok(None);
        }
        if !filter::is_own_topic(&message.topic) && table.is_full_for(&message, limits) {
            return Err(RetainedFull);
        }
        let behind = message.qos == Qos::AtMostOnce;
        let position = table.change(RetainedRecord::set(message), behind, journal);
        if let Some(journal) = journal {
            if table.behind_bytes() > MOST_BEHIND {
                table.write_behind(2, false, journal);
            }
            table.cool(journal.durable(), COOLED_PER_SET);
        }
        Ok(Some(Changed { position, version: table.version() }))
    }

    /// Removes a topic's value, on behalf of a publication of this QoS. `None` if the publisher's condition does not hold.
    pub(crate) fn clear(
        &self,
        topic: &Arc<str>,
        qos: Qos,
        replacing: Option<&mut Replacing<'_>>,
        now: Now,
        journal: Option<&dyn Journal>,
    ) -> Option<Changed> {
        let mut table = self.table.write();
        if !Self::admits(&table, topic, replacing, now) {
            return None;
        }
        let behind = qos == Qos::AtMostOnce;
        let position = table.change(RetainedRecord::Cleared(Arc::clone(topic)), behind, journal);
        Some(Changed { position, version: table.version() })
    }

    /// Applies a record that comes from the log.
    pub fn apply(&self, record: RetainedRecord) {
        self.table.write().restore(record);
    }

    /// Writes up to `most` values that the log does not have yet; nothing while it takes no work, or, unless it is the `last`
    /// chance, has enough of it. Returns whether there is more to do at once.
    pub(crate) fn write_behind(&self, most: usize, last: bool, journal: &dyn Journal) -> bool {
        let mut table = self.table.write();
        let before = table.behind();
        table.write_behind(most, last, journal);
        table.cool(journal.durable(), most);
        (1..before).contains(&table.behind())
    }

    /// The messages' records that are held by retained values, one for each value that the log has.
    pub(crate) fn for_each_held(&self, look: impl FnMut(Stored)) {
        self.table.read().for_each_held(look);
    }

    /// A copy of what the log has behind `after`: no more than `most` values.
    pub(crate) fn image(
        &self,
        after: Option<&Arc<str>>,
        most: usize,
        journal: &dyn Journal,
    ) -> RetainedSlice {
        let table = self.table.read();
        let cut = journal.cut();
        let recorded = table.recorded_from(after.map(|topic| &**topic), most);
        let last = recorded.last().filter(|_| recorded.len() == most).map(|value| Arc::clone(&value.topic));
        let values = recorded.into_iter().map(|value| (value.topic, value.stored, value.expires_at_ms));
        RetainedSlice { cut, last, values: values.collect() }
    }

    /// The records that make up what the log has, in the order of their topics.
    pub(crate) fn records(&self) -> Vec<RetainedRecord> {
        let table = self.table.read();
        let recorded = table.recorded_from(None, usize::MAX).into_iter();
        recorded
            .map(|Recorded { topic, stored, expires_at_ms }| {
                let body = table.body(&topic).filter(|body| body.stored() == Some(stored)).cloned();
                RetainedRecord::Set { topic, body: body.unwrap_or(Body::Log(stored)), expires_at_ms }
            })
            .collect()
    }

    /// Up to `most` matching values behind `after`, looking at no more than `scan` topics. Values changed
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
        let mut values = Vec::new();
        for (scanned, (topic, value)) in table.range(start).enumerate() {
            if !topic.starts_with(prefix) {
                return Slice { values, resume_after: None };
            }
            if value.version() <= version && filter::matches(filter, topic) {
                values.push((Arc::clone(topic), value.body.clone()));
            }
            if values.len() >= most || scanned + 1 >= scan {
                return Slice { values, resume_after: Some(Arc::clone(topic)) };
            }
        }
        Slice { values, resume_after: None }
    }

    /// Values that match the filter and were set after `version`, with their versions, as far as they are in memory: what was
    /// just set is. Looks at no more than `scan` topics.
    pub(crate) fn changed_since(&self, filter: &str, version: u64, scan: usize) -> Vec<(Arc<Message>, u64)> {
        let table = self.table.read();
        let prefix = literal_prefix(filter);
        let range = table.range(Bound::Included(prefix)).take(scan);
        let below = range.take_while(|(topic, _)| topic.starts_with(prefix));
        let changed =
            below.filter(|(topic, value)| value.version() > version && filter::matches(filter, topic));
        let hot = changed.filter_map(|(_, value)| Some((Arc::clone(value.body.message()?), value.version())));
        hot.collect()
    }

    /// Removes up to `scan` expired values behind `after`, looking at no more than `scan` that may expire; returns where to
    /// go on.
    pub(crate) fn sweep(
        &self,
        after: Option<Arc<str>>,
        now: Now,
        scan: usize,
        journal: Option<&dyn Journal>,
    ) -> Option<Arc<str>> {
        let (expired, next) = self.table.read().expired(after.as_deref(), now, scan);
        if !expired.is_empty() {
            let mut table = self.table.write();
            for topic in expired {
                if table.is_expired(&topic, now) {
                    table.change(RetainedRecord::Cleared(topic), false, journal);
                }
            }
        }
        next
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

    fn set(retained: &Retained, message: Arc<Message>, limits: &Limits) -> Result<(), RetainedFull> {
        retained.set(message, None, Now::read(), limits, None).map(|_| ())
    }

    fn replay(retained: &Retained, filter: &str, most: usize, scan: usize) -> Vec<String> {
        let (version, mut after, mut found) = (retained.version(), None, Vec::new());
        loop {
            let slice = retained.slice(filter, after.as_ref(), version, most, scan);
            found.extend(slice.values.iter().map(|(topic, _)| topic.to_string()));
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
        assert!(set(&retained, message("a"), &limits).is_ok());
        assert!(set(&retained, message("a"), &limits).is_ok());
        assert_eq!(set(&retained, message("b"), &limits), Err(RetainedFull));
        retained.clear(&"a".into(), Qos::AtMostOnce, None, Now::read(), None);
        assert!(set(&retained, message("b"), &limits).is_ok());
        assert_eq!((retained.len(), retained.bytes()), (1, 2));
    }

    #[test]
    fn the_brokers_own_topics_are_outside_the_limit() {
        let retained = Retained::default();
        let limits = Limits { max_retained: 1, ..Limits::default() };
        for topic in ["$SYS/a", "$SYS/b", "$SYS/a", "a", "$SYS/c"] {
            assert!(set(&retained, message(topic), &limits).is_ok(), "{topic}");
        }
        assert_eq!(set(&retained, message("$other/b"), &limits), Err(RetainedFull));
        retained.clear(&"$SYS/a".into(), Qos::AtMostOnce, None, Now::read(), None);
        assert_eq!(set(&retained, message("b"), &limits), Err(RetainedFull));
        retained.clear(&"a".into(), Qos::AtMostOnce, None, Now::read(), None);
        assert!(set(&retained, message("b"), &limits).is_ok());
        let tight = Limits { max_retained_bytes: 2, ..Limits::default() };
        assert!(set(&retained, message("b"), &tight).is_ok());
        assert_eq!(set(&retained, message("c"), &tight), Err(RetainedFull));
    }

    #[test]
    fn a_value_set_during_a_replay_is_left_to_live_delivery() {
        let retained = Retained::default();
        retained.apply(RetainedRecord::set(message("a")));
        let version = retained.version();
        retained.apply(RetainedRecord::set(message("b")));
        let slice = retained.slice("#", None, version, 10, 10);
        assert_eq!(slice.values.len(), 1);
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
