//! A bounded map that forgets what was not touched for long.

use hashbrown::HashMap;
use std::hash::Hash;
use std::mem;

/// Two generations of entries. What is touched moves into the young one; when that is full it becomes the old one,
/// and the previous old one is forgotten. At most `2 * capacity` entries, constant work per operation.
#[derive(Debug)]
pub(super) struct RecentMap<K, V> {
    capacity: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> RecentMap<K, V> {
    /// Each generation holds up to `capacity` entries, at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of `key`, which counts as touched.
    pub(super) fn touch(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    /// Sets the value of `key`.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.capacity && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Forgets `key`.
    pub(super) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_keeps_what_is_in_use() {
        let mut map = RecentMap::new(10);
        map.insert(usize::MAX, "kept");
        for n in 0..1_000 {
            map.insert(n, "passing");
            assert_eq!(map.touch(&usize::MAX), Some(&mut "kept"));
            assert!(map.len() <= 20);
        }
        assert_eq!(map.touch(&0), None);
        map.remove(&999);
        assert_eq!(map.touch(&999), None);
    }
}
