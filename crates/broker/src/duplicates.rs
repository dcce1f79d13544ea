//! Which messages came before: keys that exchanges and queues remember, so that a repetition is found.
//!
//! A key is remembered for a time, or until its message leaves the queue; an exchange or queue remembers a limited number, and
//! forgets the oldest first. What is to survive a restart is recorded by the caller's journal, under the lock of the
//! table.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::journal::{Journal, Place};
use crate::record::{DuplicateRecord, DuplicateScope, Record};

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Duplicates {
    scopes: Mutex<BTreeMap<DuplicateScope, Known>>,
}

/// What one exchange or queue remembers.
#[derive(Debug, Default)]
struct Known {
    keys: BTreeMap<Arc<str>, Remembered>,
    /// Keys in the order in which they came, with their numbers. Some are forgotten, or came again.
    order: VecDeque<(u64, Arc<str>)>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    number: u64,
    expires_ms: Option<NonZeroU64>,
    recorded: bool,
}

impl Remembered {
    fn is_expired(self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at| at.get() <= now_ms)
    }
}

/// A key as an image shows it: where, which, until when.
pub(crate) type Row = (DuplicateScope, Arc<str>, Option<NonZeroU64>);
/// Where an image of the table goes on.
pub(crate) type Key = (DuplicateScope, Arc<str>);

impl Duplicates {
    /// A message with this key has come. True if it is the first one that is remembered. The oldest keys beyond `most` are
    /// forgotten. With a journal it is recorded.
    pub fn remember(
        &self,
        scope: &DuplicateScope,
        key: &str,
        expires_ms: Option<NonZeroU64>,
        most: usize,
        now_ms: u64,
        journal: Option<&dyn Journal>,
    ) -> bool {
        let mut scopes = self.scopes.lock();
        if !scopes.contains_key(scope) {
            scopes.insert(scope.clone(), Known::default());
        }
        let Some(known) = scopes.get_mut(scope) else { return true };
        if known.keys.get(key).is_some_and(|found| !found.is_expired(now_ms)) {
            return false;
        }
        let key: Arc<str> = Arc::from(key);
        if let Some(journal) = journal {
            let (scope, key) = (scope.clone(), Arc::clone(&key));
            journal.stage(&Record::Duplicate(&DuplicateRecord::Remembered { scope, key, expires_ms }));
        }
        known.insert(key, expires_ms, journal.is_some());
        known.forget_expired(now_ms);
        while known.keys.len() > most.max(1) {
            let Some(oldest) = known.oldest() else { break };
            known.forget(scope, &oldest, journal);
        }
        true
    }

    /// Whether a message with this key is remembered.
    #[must_use]
    pub fn is_known(&self, scope: &DuplicateScope, key: &str, now_ms: u64) -> bool {
        let scopes = self.scopes.lock();
        let found = scopes.get(scope).and_then(|known| known.keys.get(key));
        found.is_some_and(|found| !found.is_expired(now_ms))
    }

    /// The message with this key has left: the next one is no duplicate.
    pub fn forget(&self, scope: &DuplicateScope, key: &str, journal: Option<&dyn Journal>) {
        let mut scopes = self.scopes.lock();
        if let Some(known) = scopes.get_mut(scope) {
            known.forget(scope, key, journal);
        }
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self, scope: &DuplicateScope) -> usize {
        self.scopes.lock().get(scope).map_or(0, |known| known.keys.len())
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scopes.lock().values().all(|known| known.keys.is_empty())
    }

    /// The exchange or queue is gone. The record of that says so for what it remembered.
    pub fn end(&self, scope: &DuplicateScope) {
        self.scopes.lock().remove(scope);
    }

    /// Applies a record that comes from the log.
    pub(crate) fn apply(&self, record: DuplicateRecord) {
        let mut scopes = self.scopes.lock();
        match record {
            DuplicateRecord::Remembered { scope, key, expires_ms } => {
                scopes.entry(scope).or_default().insert(key, expires_ms, true);
            }
            DuplicateRecord::Forgotten { scope, key } => {
                if let Some(known) = scopes.get_mut(&scope) {
                    known.keys.remove(&key);
                }
            }
        }
    }

    /// The log says that an exchange or queue has ended: it remembered the keys for which this is true.
    pub(crate) fn ended(&self, scope: &DuplicateScope, knew: impl Fn(&Arc<str>) -> bool) {
        if let Some(known) = self.scopes.lock().get_mut(scope) {
            known.keys.retain(|key, _| !knew(key));
        }
    }

    /// Keeps only what belongs to exchanges and queues for which this is true.
    pub(crate) fn retain(&self, keep: impl Fn(&DuplicateScope) -> bool) {
        self.scopes.lock().retain(|scope, _| keep(scope));
    }

    /// A copy of what was recorded behind `after`, no more than `most` of it, and the key it ends with if there may be
    /// more.
    pub(crate) fn image(
        &self,
        after: Option<&Key>,
        most: usize,
        journal: &dyn Journal,
    ) -> (Place, Option<Key>, Vec<Row>) {
        let scopes = self.scopes.lock();
        let cut = journal.cut();
        let from = after.map_or(Bound::Unbounded, |(scope, _)| Bound::Included(scope.clone()));
        let rows = scopes.range((from, Bound::Unbounded)).flat_map(|(scope, known)| {
            let behind = after.filter(|(of, _)| of == scope).map(|(_, key)| Arc::clone(key));
            let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
            let recorded = known.keys.range((from, Bound::Unbounded)).filter(|(_, found)| found.recorded);
            recorded.map(move |(key, found)| (scope.clone(), Arc::clone(key), found.expires_ms))
        });
        let copied: Vec<Row> = rows.take(most).collect();
        let last = copied.last().filter(|_| copied.len() == most);
        let last = last.map(|(scope, key, _)| (scope.clone(), Arc::clone(key)));
        (cut, last, copied)
    }

    /// The records that make up what was recorded.
    pub(crate) fn records(&self) -> Vec<DuplicateRecord> {
        let scopes = self.scopes.lock();
        let mut records = Vec::new();
        for (scope, known) in &*scopes {
            let recorded = known.keys.iter().filter(|(_, found)| found.recorded);
            records.extend(recorded.map(|(key, found)| DuplicateRecord::Remembered {
                scope: scope.clone(),
                key: Arc::clone(key),
                expires_ms: found.expires_ms,
            }));
        }
        records
    }
}

impl Known {
    fn insert(&mut self, key: Arc<str>, expires_ms: Option<NonZeroU64>, recorded: bool) {
        let number = self.next;
        self.next += 1;
        self.order.push_back((number, Arc::clone(&key)));
        self.keys.insert(key, Remembered { number, expires_ms, recorded });
        if self.order.len() > 2 * self.keys.len() + 16 {
            let keys = &self.keys;
            self.order.retain(|(number, key)| keys.get(key).is_some_and(|found| found.number == *number));
        }
    }

    /// Drops what has expired of those that came first. No record says so: who reads the log knows the time as well.
    fn forget_expired(&mut self, now_ms: u64) {
        while let Some((number, key)) = self.order.front() {
            match self.keys.get(key).filter(|found| found.number == *number) {
                Some(found) if !found.is_expired(now_ms) => return,
                Some(_) => drop(self.keys.remove(key)),
                None => {}
            }
            self.order.pop_front();
        }
    }

    fn oldest(&mut self) -> Option<Arc<str>> {
        loop {
            let (number, key) = self.order.pop_front()?;
            if self.keys.get(&key).is_some_and(|found| found.number == number) {
                return Some(key);
            }
        }
    }

    fn forget(&mut self, scope: &DuplicateScope, key: &str, journal: Option<&dyn Journal>) {
        let Some((key, found)) = self.keys.remove_entry(key) else { return };
        if let Some(journal) = journal.filter(|_| found.recorded) {
            let record = DuplicateRecord::Forgotten { scope: scope.clone(), key };
            journal.stage(&Record::Duplicate(&record));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(name: &str) -> DuplicateScope {
        DuplicateScope::Exchange(Arc::from(name))
    }

    #[test]
    fn a_key_is_known_until_it_expires_is_forgotten_or_pushed_out() {
        let table = Duplicates::default();
        let (a, b) = (exchange("a"), exchange("b"));
        let at = NonZeroU64::new;
        assert!(table.remember(&a, "k", at(100), 2, 0, None));
        assert!(!table.remember(&a, "k", at(500), 2, 99, None), "it is the first one's time that counts");
        assert!(table.remember(&b, "k", None, 2, 99, None));
        assert!(table.remember(&a, "k", at(200), 2, 100, None));
        assert!(table.remember(&a, "l", None, 2, 100, None));
        assert!(table.remember(&a, "m", None, 2, 100, None));
        assert!(table.remember(&a, "k", None, 2, 101, None), "the oldest of three was pushed out");
        assert!(!table.remember(&a, "m", None, 2, 101, None));
        table.forget(&a, "m", None);
        assert!(table.remember(&a, "m", None, 2, 101, None));
        table.end(&a);
        assert_eq!((table.len(&a), table.len(&b)), (0, 1));
    }

    #[test]
    fn what_is_forgotten_takes_no_memory() {
        let table = Duplicates::default();
        let scope = exchange("a");
        for number in 0..10_000 {
            let key = number.to_string();
            assert!(table.remember(&scope, &key, None, 100_000, 0, None));
            table.forget(&scope, &key, None);
        }
        let scopes = table.scopes.lock();
        assert!(scopes.values().all(|known| known.keys.is_empty() && known.order.len() < 64));
    }
}
