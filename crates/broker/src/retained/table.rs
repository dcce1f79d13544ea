//! The values themselves, and what of them the log does not know yet.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;

use tercet_log::position::Position;

use crate::body::{Body, Stored};
use crate::body_budget::BodyBudget;
use crate::clock::Now;
use crate::filter;
use crate::journal::{Admission, Journal};
use crate::limits::Limits;
use crate::message::Message;
use crate::record::{Record, RetainedRecord};
use crate::retained::Recorded;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Table {
    values: BTreeMap<Arc<str>, Value>,
    /// Those values that expire, and when: UTC milliseconds.
    expiring: BTreeMap<Arc<str>, NonZeroU64>,
    bytes: usize,
    /// Values of the broker's own topics, and their bytes.
    own: (usize, usize),
    /// Grows with every change; tells a replay what came after it began.
    version: u64,
    /// Topics of which the log does not have the latest value, with the one that it has. Forgotten with the process.
    behind: BTreeMap<Arc<str>, Option<Recorded>>,
    /// Memory of the values that are to be written behind, about.
    behind_bytes: usize,
    warm: Warm,
}

/// What is in memory although it could be only in the log.
#[derive(Default)]
struct Warm {
    budget: Option<Arc<BodyBudget>>,
    /// Values, and the memory of their messages.
    values: usize,
    memory: usize,
    /// Their topics, those first that were set first. Some are not warm any more, or are in it twice.
    order: VecDeque<Arc<str>>,
}

/// A value: 32 bytes, as there may be very many.
pub(super) struct Value {
    pub body: Body,
    /// Its version, shifted; below it [`HELD`] and [`WARM`].
    stamp: u64,
}

/// The log has the value: it holds its message's record.
const HELD: u64 = 1;
/// Its memory is counted in [`Warm`].
const WARM: u64 = 2;

impl Value {
    /// Number of the change that made it.
    pub(super) fn version(&self) -> u64 {
        self.stamp >> 2
    }

    fn is(&self, flag: u64) -> bool {
        self.stamp & flag != 0
    }
}

impl Table {
    pub(super) fn new(budget: Arc<BodyBudget>) -> Self {
        Self { warm: Warm { budget: Some(budget), ..Warm::default() }, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn memory(&self) -> usize {
        self.warm.memory
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn body(&self, topic: &str) -> Option<&Body> {
        self.values.get(topic).map(|value| &value.body)
    }

    /// Topics of which the log does not have the latest value.
    pub(super) fn behind(&self) -> usize {
        self.behind.len()
    }

    pub(super) fn behind_bytes(&self) -> usize {
        self.behind_bytes
    }

    pub(super) fn range(&self, start: Bound<&str>) -> impl Iterator<Item = (&Arc<str>, &Value)> {
        self.values.range::<str, _>((start, Bound::Unbounded))
    }

    /// Whether there is no room for the message as value of a new topic.
    pub(super) fn is_full_for(&self, message: &Message, limits: &Limits) -> bool {
        let (own, own_bytes) = self.own;
        let full = self.values.len() - own >= limits.max_retained
            || self.bytes - own_bytes + message.size() > limits.max_retained_bytes;
        full && !self.values.contains_key(&message.topic)
    }

    /// Changes a value and records that: at once, or later if it may be written behind. Returns the position at which
    /// it will be durable, if it is recorded at once.
    pub(super) fn change(
        &mut self,
        record: RetainedRecord,
        behind: bool,
        journal: Option<&dyn Journal>,
    ) -> Position {
        let topic = match &record {
            RetainedRecord::Set { topic, .. } => Arc::clone(topic),
            RetainedRecord::Cleared(topic) => {
                let known = |value: &Option<Recorded>| value.is_some();
                if !self.values.contains_key(topic) && !self.behind.get(topic).is_some_and(known) {
                    return Position::NONE;
                }
                Arc::clone(topic)
            }
        };
        let Some(journal) = journal else {
            self.apply(record, 0);
            return Position::NONE;
        };
        if behind {
            self.put_behind(&topic, record);
            return Position::NONE;
        }
        let position = journal.stage(&Record::Retained(&record));
        let replaced = self.apply(record, HELD | WARM);
        let earlier = self.behind.remove(&topic).flatten().map(|recorded| recorded.stored);
        if let Some(stored) = earlier.or(replaced.map(|recorded| recorded.stored)) {
            journal.release(&stored);
        }
        position
    }

    fn put_behind(&mut self, topic: &Arc<str>, record: RetainedRecord) {
        if let RetainedRecord::Set { body: Body::Memory(message), .. } = &record {
            self.behind_bytes += message.memory();
        }
        let replaced = self.apply(record, WARM);
        // Of several changes the first one knows what the log has.
        let recorded = self.behind.entry(Arc::clone(topic)).or_insert(replaced);
        if recorded.is_none() && !self.values.contains_key(topic) {
            self.behind.remove(topic);
        }
    }

    /// Records the latest values of up to `most` topics; none while the log takes no work, or, unless it is the `last`
    /// chance, has enough of it.
    pub(super) fn write_behind(&mut self, most: usize, last: bool, journal: &dyn Journal) {
        for _ in 0..most {
            match journal.admission() {
                Admission::Open => {}
                Admission::Busy if last => {}
                Admission::Busy | Admission::Full | Admission::Failed => return,
            }
            let Some((topic, recorded)) = self.behind.pop_first() else { break };
            let record = match self.values.get_mut(&topic) {
                Some(value) => {
                    value.stamp |= HELD;
                    let expires_at_ms = self.expiring.get(&topic).copied();
                    Some(RetainedRecord::Set { topic, body: value.body.clone(), expires_at_ms })
                }
                None => recorded.is_some().then_some(RetainedRecord::Cleared(topic)),
            };
            if let Some(record) = record {
                journal.stage(&Record::Retained(&record));
            }
            if let Some(recorded) = recorded {
                journal.release(&recorded.stored);
            }
        }
        if self.behind.is_empty() {
            self.behind_bytes = 0;
        }
    }

    /// Applies a record that comes from the log.
    pub(super) fn restore(&mut self, record: RetainedRecord) {
        self.apply(record, HELD | WARM);
    }

    /// Puts a value in or takes it out. Returns what was there, if the log has it.
    fn apply(&mut self, record: RetainedRecord, flags: u64) -> Option<Recorded> {
        self.version += 1;
        let (topic, replaced) = match record {
            RetainedRecord::Set { topic, body, expires_at_ms } => {
                self.count(&topic, body.size(), true);
                let expired = match expires_at_ms {
                    Some(at) => self.expiring.insert(Arc::clone(&topic), at),
                    None => self.expiring.remove(&topic),
                };
                let flags = self.warm.comes(&topic, &body, flags, self.values.get(&topic));
                let value = Value { body, stamp: self.version << 2 | flags };
                let replaced = self.values.insert(Arc::clone(&topic), value);
                (topic, replaced.map(|value| (value, expired)))
            }
            RetainedRecord::Cleared(topic) => {
                let expired = self.expiring.remove(&topic);
                let replaced = self.values.remove(&topic);
                (topic, replaced.map(|value| (value, expired)))
            }
        };
        let (value, expires_at_ms) = replaced?;
        self.count(&topic, value.body.size(), false);
        self.warm.goes(&value);
        let stored = if value.is(HELD) { value.body.stored() } else { None };
        self.warm.tidy(&self.values);
        stored.map(|stored| Recorded { topic, stored, expires_at_ms })
    }

    fn count(&mut self, topic: &str, size: usize, comes: bool) {
        let own = filter::is_own_topic(topic);
        if comes {
            self.bytes += size;
            self.own = (self.own.0 + usize::from(own), self.own.1 + if own { size } else { 0 });
        } else {
            self.bytes -= size;
            self.own = (self.own.0 - usize::from(own), self.own.1 - if own { size } else { 0 });
        }
    }

    /// Lets go of messages that are durable, everything up to `durable` being so, while too many are in memory. Looks at no more
    /// than `most`.
    pub(super) fn cool(&mut self, durable: Position, most: usize) {
        for _ in 0..most {
            if !self.warm.is_exceeded() {
                break;
            }
            let Some(topic) = self.warm.order.pop_front() else { break };
            let Some(value) = self.values.get_mut(&topic).filter(|value| value.is(WARM)) else { continue };
            match value.body.stored().filter(|_| value.is(HELD)) {
                // Still to be written.
                None => self.warm.order.push_back(topic),
                Some(stored) if stored.place().batch > durable => {
                    self.warm.order.push_front(topic);
                    break;
                }
                Some(stored) => {
                    self.warm.goes(value);
                    value.stamp &= !WARM;
                    value.body = Body::Log(stored);
                }
            }
        }
    }

    pub(super) fn for_each_held(&self, look: impl FnMut(Stored)) {
        let held =
            self.values.values().filter(|value| value.is(HELD)).filter_map(|value| value.body.stored());
        let earlier = self.behind.values().flatten().map(|recorded| recorded.stored);
        held.chain(earlier).for_each(look);
    }

    pub(super) fn recorded_from(&self, after: Option<&str>, most: usize) -> Vec<Recorded> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let held = self.range(start).filter(|(_, value)| value.is(HELD)).filter_map(|(topic, value)| {
            let expires_at_ms = self.expiring.get(topic).copied();
            Some(Recorded { topic: Arc::clone(topic), stored: value.body.stored()?, expires_at_ms })
        });
        let earlier = self.behind.range::<str, _>((start, Bound::Unbounded));
        let mut earlier = earlier.filter_map(|(_, recorded)| recorded.clone()).peekable();
        let mut all = Vec::new();
        let mut held = held.peekable();
        while all.len() < most {
            // No topic is in both.
            let first = match (held.peek(), earlier.peek()) {
                (Some(value), Some(other)) if other.topic < value.topic => earlier.next(),
                (Some(_), _) => held.next(),
                (None, _) => earlier.next(),
            };
            let Some(first) = first else { break };
            all.push(first);
        }
        all
    }

    /// Up to `scan` expired topics behind `after`, and where to go on.
    pub(super) fn expired(
        &self,
        after: Option<&str>,
        now: Now,
        scan: usize,
    ) -> (Vec<Arc<str>>, Option<Arc<str>>) {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut expired = Vec::new();
        let range = self.expiring.range::<str, _>((start, Bound::Unbounded));
        for (scanned, (topic, at)) in range.enumerate() {
            if at.get() <= now.utc_ms {
                expired.push(Arc::clone(topic));
            }
            if scanned + 1 >= scan {
                return (expired, Some(Arc::clone(topic)));
            }
        }
        (expired, None)
    }

    pub(super) fn is_expired(&self, topic: &str, now: Now) -> bool {
        self.expiring.get(topic).is_some_and(|at| at.get() <= now.utc_ms)
    }
}

impl Warm {
    fn is_exceeded(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.is_exceeded())
    }

    /// A value comes, in the place of another one perhaps. Returns its flags.
    fn comes(&mut self, topic: &Arc<str>, body: &Body, flags: u64, replaced: Option<&Value>) -> u64 {
        let Body::Memory(message) = body else { return flags & !WARM };
        if flags & WARM == 0 {
            return flags;
        }
        self.values += 1;
        self.add(message.memory() as i64);
        if !replaced.is_some_and(|value| value.is(WARM)) {
            self.order.push_back(Arc::clone(topic));
        }
        flags
    }

    fn goes(&mut self, value: &Value) {
        if let Body::Memory(message) = &value.body
            && value.is(WARM)
        {
            self.values -= 1;
            self.add(-(message.memory() as i64));
        }
    }

    fn add(&mut self, bytes: i64) {
        self.memory = self.memory.saturating_add_signed(bytes as isize);
        if let Some(budget) = &self.budget {
            budget.add(bytes);
        }
    }

    /// Forgets topics that are not warm, once there are as many as others.
    fn tidy(&mut self, values: &BTreeMap<Arc<str>, Value>) {
        if self.order.len() > 2 * self.values + 64 {
            let mut seen = HashSet::new();
            self.order.retain(|topic| {
                values.get(topic).is_some_and(|value| value.is(WARM)) && seen.insert(Arc::clone(topic))
            });
            self.order.shrink_to(2 * self.order.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_small() {
        assert_eq!(std::mem::size_of::<Value>(), 32);
    }
}
