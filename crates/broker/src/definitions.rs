//! Definitions: small durable values by class and name.
//!
//! Users and their permissions, limits, policies, what is known of a virtual host besides its name: whoever owns such a class
//! puts its values here, reads them when the server starts, and keeps what it needs in its own form. One table serves the
//! whole server; what belongs to a virtual host has its name in the key ([`key_in`]), and goes with it.
//!
//! A change is staged under the lock of the table, so that the log has changes in their order.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::access::definition_table::DefinitionTable;
use crate::journal::{Journal, Place, Position};
use crate::record::{DefinitionRecord, Record};

/// Definitions of each virtual host but its name: description, tags, default queue type. The key is its name.
pub const VHOSTS: u8 = 16;
/// Policies. Keys are those of [`key_in`].
pub const POLICIES: u8 = 17;
/// Policies of operators. Keys are those of [`key_in`].
pub const OPERATOR_POLICIES: u8 = 18;

/// Classes whose keys begin with the name of a virtual host ([`key_in`]).
const IN_HOSTS: [u8; 2] = [POLICIES, OPERATOR_POLICIES];

/// Between the name of a virtual host and that of what is in it. Neither can contain it.
const SEPARATOR: char = '\0';

/// The key of something that belongs to a virtual host.
#[must_use]
pub fn key_in(host: &str, name: &str) -> String {
    format!("{host}{SEPARATOR}{name}")
}

/// The names that a key of [`key_in`] is made of: those of the virtual host and of what is in it.
#[must_use]
pub fn split_key(key: &str) -> Option<(&str, &str)> {
    key.split_once(SEPARATOR)
}

type Key = (u8, Arc<str>);
type Row = (Key, Bytes);

/// The table. See the module documentation.
pub struct Definitions {
    rows: RwLock<BTreeMap<Key, Bytes>>,
    journal: Option<Arc<dyn Journal>>,
    version: AtomicU64,
}

impl std::fmt::Debug for Definitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definitions").field("rows", &self.rows.read().len()).finish_non_exhaustive()
    }
}

impl Definitions {
    /// An empty table. Without a journal it is forgotten with the process.
    #[must_use]
    pub fn new(journal: Option<Arc<dyn Journal>>) -> Self {
        Self { rows: RwLock::default(), journal, version: AtomicU64::new(0) }
    }

    /// Makes or replaces a definition. An answer waits for the position.
    pub fn put(&self, class: u8, key: &str, value: &[u8]) -> Position {
        let (key, value) = (Arc::from(key), Bytes::copy_from_slice(value));
        self.commit(DefinitionRecord::Put { class, key, value })
    }

    /// Removes a definition, if there is one. An answer waits for the position.
    pub fn remove(&self, class: u8, key: &str) -> Position {
        if self.get(class, key).is_none() {
            // Its removal may still be on its way to the disk.
            return self.journal.as_ref().map_or(Position::NONE, |journal| journal.staged());
        }
        self.commit(DefinitionRecord::Removed { class, key: Arc::from(key) })
    }

    fn commit(&self, record: DefinitionRecord) -> Position {
        let mut rows = self.rows.write();
        let position = self
            .journal
            .as_ref()
            .map_or(Position::NONE, |journal| journal.stage(&Record::Definition(&record)));
        apply(&mut rows, record);
        self.version.fetch_add(1, Ordering::Release);
        position
    }

    /// Applies a record that comes from the log.
    pub(crate) fn apply(&self, record: DefinitionRecord) {
        apply(&mut self.rows.write(), record);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The value of a definition.
    #[must_use]
    pub fn get(&self, class: u8, key: &str) -> Option<Bytes> {
        self.rows.read().get(&(class, Arc::from(key))).cloned()
    }

    /// All definitions of a class, by their names.
    #[must_use]
    pub fn of_class(&self, class: u8) -> Vec<(Arc<str>, Bytes)> {
        self.with_prefix(class, "")
    }

    /// The definitions of a class whose names begin like this, by their names.
    #[must_use]
    pub fn with_prefix(&self, class: u8, prefix: &str) -> Vec<(Arc<str>, Bytes)> {
        let rows = self.rows.read();
        let range = rows.range((class, Arc::from(prefix))..);
        let fits = range.take_while(|((of, key), _)| *of == class && key.starts_with(prefix));
        fits.map(|((_, key), value)| (Arc::clone(key), value.clone())).collect()
    }

    /// Grows with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Removes what belongs to a virtual host.
    pub(crate) fn remove_host(&self, host: &str) {
        let prefix = key_in(host, "");
        for class in IN_HOSTS {
            for (key, _) in self.with_prefix(class, &prefix) {
                self.remove(class, &key);
            }
        }
        self.remove(VHOSTS, host);
    }

    /// A copy of what is behind `after`, no more than `most` of it, and the key it ends with if there may be more.
    pub(crate) fn image(
        &self,
        after: Option<&Key>,
        most: usize,
        journal: &dyn Journal,
    ) -> (Place, Option<Key>, Vec<Row>) {
        let rows = self.rows.read();
        let cut = journal.cut();
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        let range = rows.range((from, Bound::Unbounded)).take(most);
        let copied: Vec<Row> = range.map(|(key, value)| (key.clone(), value.clone())).collect();
        let last = copied.last().filter(|_| copied.len() == most).map(|(key, _)| key.clone());
        (cut, last, copied)
    }

    /// The records that make it up.
    pub(crate) fn records(&self) -> Vec<DefinitionRecord> {
        let rows = self.rows.read();
        let records = rows.iter().map(|((class, key), value)| DefinitionRecord::Put {
            class: *class,
            key: Arc::clone(key),
            value: value.clone(),
        });
        records.collect()
    }
}

fn apply(rows: &mut BTreeMap<Key, Bytes>, record: DefinitionRecord) {
    match record {
        DefinitionRecord::Put { class, key, value } => {
            rows.insert((class, key), value);
        }
        DefinitionRecord::Removed { class, key } => {
            rows.remove(&(class, key));
        }
    }
}

impl DefinitionTable for Definitions {
    fn all(&self, class: u8) -> Vec<(Box<str>, Vec<u8>)> {
        self.of_class(class).into_iter().map(|(key, value)| (Box::from(&*key), value.to_vec())).collect()
    }

    fn put(&self, class: u8, key: &str, value: &[u8]) -> Position {
        Self::put(self, class, key, value)
    }

    fn remove(&self, class: u8, key: &str) -> Position {
        Self::remove(self, class, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_found_by_class_and_name() {
        let table = Definitions::new(None);
        let before = table.version();
        table.put(1, "a", b"1");
        table.put(2, "a", b"2");
        table.put(1, "b", b"3");
        table.put(1, "a", b"4");
        assert!(table.version() > before);
        assert_eq!(table.get(1, "a").as_deref(), Some(&b"4"[..]));
        let keys = |class| table.of_class(class).iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
        assert_eq!((keys(1), keys(2), keys(3)), (vec!["a".into(), "b".into()], vec!["a".into()], vec![]));
        table.remove(1, "a");
        table.remove(1, "never there");
        assert_eq!((keys(1), keys(2)), (vec!["b".into()], vec!["a".into()]));
    }

    #[test]
    fn what_belongs_to_a_host_goes_with_it_and_nothing_else_does() {
        let table = Definitions::new(None);
        for (host, name) in [("a", "p"), ("a", "q"), ("ab", "p"), ("", "a")] {
            table.put(POLICIES, &key_in(host, name), b"x");
            table.put(OPERATOR_POLICIES, &key_in(host, name), b"x");
        }
        table.put(VHOSTS, "a", b"x");
        table.put(VHOSTS, "ab", b"x");
        table.put(1, "a", b"x");
        table.remove_host("a");
        let left = |class| table.of_class(class).iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
        assert_eq!(left(POLICIES), [key_in("", "a"), key_in("ab", "p")]);
        assert_eq!(left(OPERATOR_POLICIES), left(POLICIES));
        assert_eq!((left(VHOSTS), left(1)), (vec!["ab".to_owned()], vec!["a".to_owned()]));
        assert_eq!(split_key(&key_in("a", "p")), Some(("a", "p")));
    }
}
