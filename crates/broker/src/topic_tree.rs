//! The topic tree: from the levels of an address to the subscriptions that match it.
//!
//! Nodes are exact levels, one-level wildcards and many-level wildcards. A many-level wildcard may have levels
//! behind it (AMQP binding keys allow that; MQTT filters end with it). Nodes live in one table and refer to each
//! other by index, so that every operation, dropping the tree included, is a loop: no filter is too deep.

use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::filter::Level;

/// A tree of subscriptions `S`, several per node.
#[derive(Debug)]
pub struct TopicTree<S> {
    nodes: Slab<Node<S>>,
    root: usize,
    len: usize,
}

#[derive(Debug)]
struct Node<S> {
    exact: Option<Box<HashMap<Box<str>, usize>>>,
    one: Option<usize>,
    many: Option<usize>,
    subscriptions: Vec<S>,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self { exact: None, one: None, many: None, subscriptions: Vec::new() }
    }
}

impl<S> Default for TopicTree<S> {
    fn default() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::default());
        Self { nodes, root, len: 0 }
    }
}

impl<S> Node<S> {
    fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.exact.is_none() && self.one.is_none() && self.many.is_none()
    }

    fn child(&self, level: Level<'_>) -> Option<usize> {
        match level {
            Level::Exact(name) => self.exact.as_ref()?.get(name).copied(),
            Level::One => self.one,
            Level::Many => self.many,
        }
    }

    fn set_child(&mut self, level: Level<'_>, child: usize) {
        match level {
            Level::Exact(name) => {
                self.exact.get_or_insert_default().insert(name.into(), child);
            }
            Level::One => self.one = Some(child),
            Level::Many => self.many = Some(child),
        }
    }

    fn unset_child(&mut self, level: Level<'_>) {
        match level {
            Level::Exact(name) => {
                if let Some(children) = &mut self.exact {
                    children.remove(name);
                    if children.is_empty() {
                        self.exact = None;
                    }
                }
            }
            Level::One => self.one = None,
            Level::Many => self.many = None,
        }
    }
}

impl<S> TopicTree<S> {
    /// Subscriptions in the tree.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the tree holds no subscription.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a subscription, or replaces the one at the same filter for which `same` is true and returns it.
    pub fn insert<'a>(
        &mut self,
        levels: impl Iterator<Item = Level<'a>>,
        subscription: S,
        same: impl Fn(&S) -> bool,
    ) -> Option<S> {
        let mut at = self.root;
        for level in levels {
            at = match self.nodes.get(at).and_then(|node| node.child(level)) {
                Some(child) => child,
                None => {
                    let child = self.nodes.insert(Node::default());
                    if let Some(node) = self.nodes.get_mut(at) {
                        node.set_child(level, child);
                    }
                    child
                }
            };
        }
        let node = self.nodes.get_mut(at)?;
        if let Some(existing) = node.subscriptions.iter_mut().find(|s| same(s)) {
            return Some(std::mem::replace(existing, subscription));
        }
        node.subscriptions.push(subscription);
        self.len += 1;
        None
    }

    /// Removes the subscription at this filter for which `found` is true, and nodes that become empty.
    pub fn remove<'a>(
        &mut self,
        levels: impl Iterator<Item = Level<'a>>,
        found: impl Fn(&S) -> bool,
    ) -> Option<S> {
        let mut path: SmallVec<[(usize, Level<'a>); 16]> = SmallVec::new();
        let mut at = self.root;
        for level in levels {
            path.push((at, level));
            at = self.nodes.get(at)?.child(level)?;
        }
        let node = self.nodes.get_mut(at)?;
        let index = node.subscriptions.iter().position(found)?;
        let removed = node.subscriptions.swap_remove(index);
        if node.subscriptions.is_empty() {
            node.subscriptions = Vec::new();
        }
        self.len -= 1;
        while let Some((parent, level)) = path.pop() {
            if !self.nodes.get(at).is_some_and(Node::is_empty) {
                break;
            }
            self.nodes.try_remove(at);
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.unset_child(level);
            }
            at = parent;
        }
        Some(removed)
    }

    /// Calls `visit` for every subscription whose filter matches the topic. Wildcards at the first level do not
    /// match topics that begin with `$` [MQTT-4.7.2-1].
    pub fn for_each_match<'t>(&'t self, topic: &str, visit: impl FnMut(&'t S)) {
        let levels: SmallVec<[&str; 16]> = topic.split('/').collect();
        self.for_each_match_of(&levels, topic.starts_with('$'), visit);
    }

    /// Calls `visit` for every subscription whose filter matches these levels, once for each. With `guarded` wildcards
    /// at the first level do not match.
    ///
    /// The work is bounded by the number of nodes times that of levels, however many many-level wildcards lie behind
    /// each other: no node is looked at twice at the same depth.
    pub fn for_each_match_of<'t>(&'t self, levels: &[&str], guarded: bool, visit: impl FnMut(&'t S)) {
        let mut search = Search { levels, pending: SmallVec::new(), reached: HashMap::new(), visit };
        search.pending.push((self.root, 0));
        while let Some((at, depth)) = search.pending.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            let wildcards = depth > 0 || !guarded;
            if wildcards && let Some(many) = node.many {
                self.enter_many(many, depth, &mut search);
            }
            let Some(level) = levels.get(depth) else {
                node.subscriptions.iter().for_each(&mut search.visit);
                continue;
            };
            if wildcards && let Some(one) = node.one {
                search.pending.push((one, depth + 1));
            }
            if let Some(child) = node.exact.as_ref().and_then(|children| children.get(*level)) {
                search.pending.push((*child, depth + 1));
            }
        }
    }

    /// A many-level wildcard at `depth`: its own subscriptions match whatever follows; levels behind it may
    /// begin at any later depth.
    ///
    /// Below another one it can be reached from several depths, and the earliest covers what the later ones would: only
    /// depths that are new are looked at.
    fn enter_many<'t, V: FnMut(&'t S)>(&'t self, many: usize, depth: usize, search: &mut Search<'_, V>) {
        let Some(node) = self.nodes.get(many) else { return };
        let is_last = node.exact.is_none() && node.one.is_none() && node.many.is_none();
        if is_last && search.reached.is_empty() {
            node.subscriptions.iter().for_each(&mut search.visit);
            return;
        }
        let end = search.levels.len() + 1;
        let earliest = search.reached.entry(many).or_insert(end);
        let until = std::mem::replace(earliest, depth.min(*earliest));
        match is_last {
            true if until == end => node.subscriptions.iter().for_each(&mut search.visit),
            true => {}
            false => search.pending.extend((depth..until).map(|later| (many, later))),
        }
    }
}

/// A search for what matches.
struct Search<'l, V> {
    levels: &'l [&'l str],
    /// Nodes to look at, with the number of levels that led there.
    pending: SmallVec<[(usize, usize); 16]>,
    /// Many-level wildcards that were entered, with the earliest depth. Empty until one with levels behind it was.
    reached: HashMap<usize, usize>,
    visit: V,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter;
    use proptest::prelude::*;

    fn matched(tree: &TopicTree<String>, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        tree.for_each_match(topic, |s| found.push(s.clone()));
        found.sort();
        found
    }

    fn insert(tree: &mut TopicTree<String>, filter: &str) {
        tree.insert(filter::levels(filter), filter.to_owned(), |s| s == filter);
    }

    #[test]
    fn removing_every_subscription_leaves_no_node() {
        let mut tree = TopicTree::default();
        let filters = ["a/b/c", "a/+/c", "a/#", "#", "+", "a//b", "/"];
        for filter in filters {
            insert(&mut tree, filter);
        }
        for filter in filters {
            assert_eq!(tree.remove(filter::levels(filter), |s| s == filter).as_deref(), Some(filter));
        }
        assert!(tree.nodes.len() == 1 && tree.is_empty());
    }

    #[test]
    fn a_many_level_wildcard_may_have_levels_behind_it() {
        let mut tree = TopicTree::default();
        let path = [Level::Exact("a"), Level::Many, Level::Exact("z")];
        tree.insert(path.into_iter(), "a.#.z".to_owned(), |_| false);
        for (topic, hit) in [("a/z", true), ("a/b/z", true), ("a/b/c/z", true), ("a/b", false), ("z", false)]
        {
            assert_eq!(!matched(&tree, topic).is_empty(), hit, "{topic}");
        }
    }

    #[test]
    fn very_deep_filters_are_inserted_and_dropped() {
        let deep = "/".repeat(65_000);
        let wild = "+/".repeat(32_000);
        let mut tree = TopicTree::default();
        tree.insert(filter::levels(&deep), 1, |_| false);
        tree.insert(filter::levels(&wild), 2, |_| false);
        let mut matches = Vec::new();
        tree.for_each_match(&deep, |s| matches.push(*s));
        assert_eq!(matches, [1]);
        assert_eq!(tree.remove(filter::levels(&deep), |_| true), Some(1));
        assert_eq!(tree.len(), 1);
    }

    /// Words of a binding key, without escapes.
    fn words(key: &str) -> Vec<Level<'_>> {
        let level = |word| match word {
            "*" => Level::One,
            "#" => Level::Many,
            exact => Level::Exact(exact),
        };
        key.split('.').map(level).collect()
    }

    fn matches_naively(pattern: &[Level<'_>], topic: &[&str]) -> bool {
        match (pattern.split_first(), topic.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((Level::Many, rest)), _) => {
                (0..=topic.len()).any(|skipped| matches_naively(rest, &topic[skipped..]))
            }
            (Some(_), None) => false,
            (Some((Level::One, rest)), Some((_, topic))) => matches_naively(rest, topic),
            (Some((Level::Exact(word), rest)), Some((first, topic))) => {
                word == first && matches_naively(rest, topic)
            }
        }
    }

    #[test]
    fn many_level_wildcards_behind_each_other_cost_no_more_than_nodes_times_levels() {
        let mut tree = TopicTree::default();
        let key = "#.a.".repeat(20) + "b";
        tree.insert(words(&key).into_iter(), 1, |_| false);
        let levels = vec!["a"; 2000];
        let mut visits = 0;
        tree.for_each_match_of(&levels, false, |_| visits += 1);
        assert_eq!(visits, 0, "ends at all");
        let mut levels = levels;
        levels.push("b");
        tree.for_each_match_of(&levels, false, |_| visits += 1);
        assert_eq!(visits, 1);
    }

    fn level() -> impl Strategy<Value = String> {
        prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just(String::new()), Just("$S".to_owned())]
    }

    fn any_filter() -> impl Strategy<Value = String> {
        let level = prop_oneof![3 => level(), 1 => Just("+".to_owned())];
        (prop::collection::vec(level, 1..5), any::<bool>()).prop_map(|(mut levels, many)| {
            if many {
                levels.push("#".to_owned());
            }
            levels.join("/")
        })
    }

    fn binding_key() -> impl Strategy<Value = String> {
        let word = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just(""), 2 => Just("*"), 2 => Just("#")];
        prop::collection::vec(word, 1..7).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn wildcards_anywhere_match_as_naively_and_once_each(
            keys in prop::collection::btree_set(binding_key(), 0..25),
            topics in prop::collection::vec(prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("")], 0..8), 1..8),
        ) {
            let mut tree = TopicTree::default();
            for key in &keys {
                tree.insert(words(key).into_iter(), key.clone(), |_| false);
            }
            for topic in topics {
                let mut found = Vec::new();
                tree.for_each_match_of(&topic, false, |key: &String| found.push(key.clone()));
                found.sort();
                let expected: Vec<String> =
                    keys.iter().filter(|key| matches_naively(&words(key), &topic)).cloned().collect();
                prop_assert_eq!(found, expected, "{:?}", topic);
            }
        }

        #[test]
        fn the_tree_agrees_with_the_naive_matcher(
            filters in prop::collection::btree_set(any_filter(), 0..20),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            topics in prop::collection::vec(prop::collection::vec(level(), 1..6), 1..10),
        ) {
            let mut tree = TopicTree::default();
            let mut filters: Vec<String> = filters.into_iter().collect();
            for filter in &filters {
                insert(&mut tree, filter);
            }
            for index in removed {
                if !filters.is_empty() {
                    let filter = filters.remove(index.index(filters.len()));
                    let gone = tree.remove(filter::levels(&filter), |s| *s == filter);
                    prop_assert_eq!(gone, Some(filter));
                }
            }
            prop_assert_eq!(tree.len(), filters.len());
            for topic in topics {
                let topic = topic.join("/");
                let mut expected: Vec<String> =
                    filters.iter().filter(|f| filter::matches(f, &topic)).cloned().collect();
                expected.sort();
                prop_assert_eq!(matched(&tree, &topic), expected, "{}", topic);
            }
        }
    }
}
