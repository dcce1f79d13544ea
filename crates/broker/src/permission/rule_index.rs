//! The rules about one user (or about everyone), arranged for quick answers.
//!
//! Publishing and receiving ask about one topic: their rules are kept in a tree of levels, of which a check visits
//! only what the topic can match. Subscribing asks about a whole filter: those rules stay a list in order.

use super::topic_pattern::{Level, Value, covers, overlap};
use super::{Action, Actions, Effect, Subject, SubscribeCheck, TopicPattern};
use hashbrown::HashMap;
use smallvec::SmallVec;

/// A rule that matched: its place in the list and what it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) rank: usize,
    pub(super) effect: Effect,
}

#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    publish: LevelTree,
    receive: LevelTree,
    subscribe: Vec<(TopicPattern, Hit)>,
}

impl RuleIndex {
    /// Adds a rule; ranks must not decrease.
    pub(super) fn insert(&mut self, pattern: &TopicPattern, actions: Actions, hit: Hit) {
        if actions.contains(Action::Publish) {
            self.publish.insert(pattern, hit);
        }
        if actions.contains(Action::Receive) {
            self.receive.insert(pattern, hit);
        }
        if actions.contains(Action::Subscribe) {
            self.subscribe.push((pattern.clone(), hit));
        }
    }

    /// The first rule that speaks about a topic.
    pub(super) fn first_match(&self, subject: &Subject<'_>, action: Action, topic: &str) -> Option<Hit> {
        match action {
            Action::Publish => self.publish.first_match(subject, topic),
            Action::Receive => self.receive.first_match(subject, topic),
            Action::Subscribe => None,
        }
    }

    /// The first rule that decides about a subscription to a whole filter.
    pub(super) fn first_for_filter(
        &self,
        subject: &Subject<'_>,
        check: SubscribeCheck,
        filter: &str,
    ) -> Option<Hit> {
        let decides = |pattern: &TopicPattern, effect: Effect| {
            let Some(levels) = pattern.resolve(subject, effect) else { return false };
            let levels = levels.iter().copied();
            match (effect, check) {
                (Effect::Allow, SubscribeCheck::Overlapping) => overlap(levels, filter.split('/')),
                _ => covers(levels, filter.split('/')),
            }
        };
        self.subscribe.iter().find(|(pattern, hit)| decides(pattern, hit.effect)).map(|(_, hit)| *hit)
    }
}

/// Index into [`LevelTree::nodes`]; 0 is the root.
type NodeId = usize;

#[derive(Debug)]
struct LevelTree {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<Box<str>, NodeId>,
    one: Option<NodeId>,
    client_id: Placeholder,
    user: Placeholder,
    /// The first rule that ends here.
    exact: Option<Hit>,
    /// The first rule that ends here with `#`.
    many: Option<Hit>,
}

#[derive(Debug, Default)]
struct Placeholder {
    child: Option<NodeId>,
    /// The first denial that passes through here, in force when the value cannot stand as a level.
    first_denial: Option<Hit>,
}

impl Default for LevelTree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl LevelTree {
    fn insert(&mut self, pattern: &TopicPattern, hit: Hit) {
        let mut at: NodeId = 0;
        for level in pattern.levels() {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match level {
                Level::Many => {
                    node.many.get_or_insert(hit);
                    return;
                }
                Level::Literal(text) => *node.literal.entry_ref(text.as_ref()).or_insert(fresh),
                Level::One => *node.one.get_or_insert(fresh),
                Level::ClientId => node.client_id.pass(fresh, hit),
                Level::User => node.user.pass(fresh, hit),
            };
            if at == fresh {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.exact.get_or_insert(hit);
        }
    }

    /// Visits every node the topic can reach, each at most once.
    fn first_match(&self, subject: &Subject<'_>, topic: &str) -> Option<Hit> {
        let client_id = Value::of(Some(subject.client_id));
        let user = Value::of(subject.user);
        let reserved = topic.starts_with('$');
        let mut first: Option<Hit> = None;
        let mut offer = |hit: Option<Hit>| {
            if let Some(hit) = hit
                && first.is_none_or(|known| hit.rank < known.rank)
            {
                first = Some(hit);
            }
        };
        let mut open: SmallVec<[(NodeId, Option<&str>); 16]> = SmallVec::new();
        open.push((0, Some(topic)));
        while let Some((id, rest)) = open.pop() {
            let Some(node) = self.nodes.get(id) else { continue };
            // Only a spelled-out first level reaches `$` topics [MQTT-4.7.2-1].
            let literal_only = id == 0 && reserved;
            if !literal_only {
                offer(node.many);
                offer(node.client_id.widened(client_id));
                offer(node.user.widened(user));
            }
            let Some(rest) = rest else {
                offer(node.exact);
                continue;
            };
            let (level, rest) = match rest.split_once('/') {
                Some((level, rest)) => (level, Some(rest)),
                None => (rest, None),
            };
            open.extend(node.literal.get(level).map(|child| (*child, rest)));
            if !literal_only {
                let children = [
                    node.one,
                    node.client_id.child.filter(|_| client_id == Value::Known(level)),
                    node.user.child.filter(|_| user == Value::Known(level)),
                ];
                open.extend(children.into_iter().flatten().map(|child| (child, rest)));
            }
        }
        first
    }
}

impl Placeholder {
    fn pass(&mut self, fresh: NodeId, hit: Hit) -> NodeId {
        if hit.effect == Effect::Deny {
            self.first_denial.get_or_insert(hit);
        }
        *self.child.get_or_insert(fresh)
    }

    fn widened(&self, value: Value<'_>) -> Option<Hit> {
        self.first_denial.filter(|_| value == Value::Unsafe)
    }
}
