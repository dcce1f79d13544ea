//! The topic tree: from the levels of an address to the subscriptions that match it.
//!
//! Nodes are exact levels, one-level wildcards and many-level wildcards. A many-level wildcard may have levels
//! behind it (AMQP binding keys allow that; MQTT filters end with it). The depth of the tree is bounded by the
//! limit that the faces put on the levels of a filter; matching is iterative, whatever the topic looks like.

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::filter::Level;

/// A tree of subscriptions `S`, several per node.
#[derive(Debug)]
pub struct TopicTree<S> {
    root: Node<S>,
    len: usize,
}

#[derive(Debug)]
struct Node<S> {
    exact: Option<Box<HashMap<Box<str>, Node<S>>>>,
    one: Option<Box<Node<S>>>,
    many: Option<Box<Node<S>>>,
    subscriptions: Vec<S>,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self { exact: None, one: None, many: None, subscriptions: Vec::new() }
    }
}

impl<S> Default for TopicTree<S> {
    fn default() -> Self {
        Self { root: Node::default(), len: 0 }
    }
}

impl<S> Node<S> {
    fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.exact.is_none() && self.one.is_none() && self.many.is_none()
    }

    fn child(&self, level: Level<'_>) -> Option<&Self> {
        match level {
            Level::Exact(name) => self.exact.as_ref()?.get(name),
            Level::One => self.one.as_deref(),
            Level::Many => self.many.as_deref(),
        }
    }

    fn child_or_insert(&mut self, level: Level<'_>) -> &mut Self {
        match level {
            Level::Exact(name) => self.exact.get_or_insert_default().entry_ref(name).or_default(),
            Level::One => self.one.get_or_insert_default(),
            Level::Many => self.many.get_or_insert_default(),
        }
    }

    /// Removes the subscription for which `found` is true along `levels`, and nodes that become empty.
    fn remove<'a>(
        &mut self,
        mut levels: impl Iterator<Item = Level<'a>>,
        found: impl Fn(&S) -> bool,
    ) -> Option<S> {
        let Some(level) = levels.next() else {
            let index = self.subscriptions.iter().position(found)?;
            let removed = self.subscriptions.swap_remove(index);
            if self.subscriptions.is_empty() {
                self.subscriptions = Vec::new();
            }
            return Some(removed);
        };
        match level {
            Level::Exact(name) => {
                let children = self.exact.as_mut()?;
                let child = children.get_mut(name)?;
                let removed = child.remove(levels, found);
                if child.is_empty() {
                    children.remove(name);
                    if children.is_empty() {
                        self.exact = None;
                    }
                }
                removed
            }
            Level::One => Self::remove_in(&mut self.one, levels, found),
            Level::Many => Self::remove_in(&mut self.many, levels, found),
        }
    }

    fn remove_in<'a>(
        slot: &mut Option<Box<Self>>,
        levels: impl Iterator<Item = Level<'a>>,
        found: impl Fn(&S) -> bool,
    ) -> Option<S> {
        let child = slot.as_mut()?;
        let removed = child.remove(levels, found);
        if child.is_empty() {
            *slot = None;
        }
        removed
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
        let mut node = &mut self.root;
        for level in levels {
            node = node.child_or_insert(level);
        }
        if let Some(existing) = node.subscriptions.iter_mut().find(|s| same(s)) {
            return Some(std::mem::replace(existing, subscription));
        }
        node.subscriptions.push(subscription);
        self.len += 1;
        None
    }

    /// Removes the subscription at this filter for which `found` is true.
    pub fn remove<'a>(
        &mut self,
        levels: impl Iterator<Item = Level<'a>>,
        found: impl Fn(&S) -> bool,
    ) -> Option<S> {
        let mut path: SmallVec<[Level<'a>; 16]> = SmallVec::new();
        path.extend(levels);
        let removed = self.root.remove(path.into_iter(), found);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The subscription at exactly this filter for which `found` is true.
    pub fn find<'a>(
        &self,
        levels: impl Iterator<Item = Level<'a>>,
        found: impl Fn(&S) -> bool,
    ) -> Option<&S> {
        let mut node = &self.root;
        for level in levels {
            node = node.child(level)?;
        }
        node.subscriptions.iter().find(|s| found(s))
    }

    /// Calls `visit` for every subscription whose filter matches the topic. Wildcards at the first level do not
    /// match topics that begin with `$` [MQTT-4.7.2-1].
    pub fn for_each_match<'t>(&'t self, topic: &str, mut visit: impl FnMut(&'t S)) {
        let levels: SmallVec<[&str; 16]> = topic.split('/').collect();
        let guarded = topic.starts_with('$');
        let mut pending: SmallVec<[(&Node<S>, usize); 16]> = SmallVec::new();
        pending.push((&self.root, 0));
        while let Some((node, depth)) = pending.pop() {
            let wildcards = depth > 0 || !guarded;
            if wildcards && let Some(many) = &node.many {
                Self::visit_many(many, &levels, depth, &mut pending, &mut visit);
            }
            let Some(level) = levels.get(depth) else {
                node.subscriptions.iter().for_each(&mut visit);
                continue;
            };
            if wildcards && let Some(one) = &node.one {
                pending.push((one, depth + 1));
            }
            if let Some(child) = node.exact.as_ref().and_then(|children| children.get(*level)) {
                pending.push((child, depth + 1));
            }
        }
    }

    /// A many-level wildcard at `depth`: its own subscriptions match whatever follows; levels behind it may
    /// begin at any later depth.
    fn visit_many<'t, 'p>(
        many: &'t Node<S>,
        levels: &[&str],
        depth: usize,
        pending: &'p mut SmallVec<[(&'t Node<S>, usize); 16]>,
        visit: &mut impl FnMut(&'t S),
    ) {
        if many.exact.is_none() && many.one.is_none() && many.many.is_none() {
            many.subscriptions.iter().for_each(visit);
            return;
        }
        for later in depth..=levels.len() {
            pending.push((many, later));
        }
    }
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
        assert!(tree.root.is_empty() && tree.is_empty());
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
        let mut tree = TopicTree::default();
        tree.insert(filter::levels(&deep[..200]), 1, |_| false);
        tree.for_each_match(&deep, |_| ());
        assert_eq!(tree.len(), 1);
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

    proptest! {
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
