//! The bindings of one exchange, arranged for its type.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashMap;
use smallvec::SmallVec;
use tercet_amqp::field::Table;

use crate::crossing::address::{self, words};
use crate::exchange::hashing::{ConsistentHash, HashOn, Numbered, mix, weight};
use crate::exchange::headers::HeaderMatch;
use crate::exchange::kind::ExchangeKind;
use crate::exchange::routable::Routable;
use crate::exchange::target::{Target, TargetSet};
use crate::filter::Level;
use crate::refusal::Refusal;
use crate::topic_tree::TopicTree;

/// Many-level wildcards that a binding key may have: each one more multiplies the work of a search.
const MOST_MANY: usize = 2;

/// The bindings of one exchange, arranged for its type.
#[derive(Debug)]
pub(crate) enum Router {
    Direct(HashMap<Arc<str>, TargetSet>),
    Fanout(TargetSet),
    Topic(TopicTree<(Target, Arc<str>)>),
    /// `amq.topic`: its bindings lie in the topic tree of the virtual host.
    TopicSpace {
        bindings: usize,
    },
    Headers(Vec<HeaderBinding>),
    ConsistentHash(ConsistentHash),
    ModulusHash(Numbered),
    Random {
        targets: Numbered,
        drawn: AtomicU64,
    },
}

#[derive(Debug)]
pub(crate) struct HeaderBinding {
    target: Target,
    wanted: HeaderMatch,
    key: Arc<str>,
    arguments: bytes::Bytes,
}

/// What is bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound<'a> {
    pub target: &'a Target,
    pub key: &'a Arc<str>,
    pub arguments: &'a bytes::Bytes,
}

impl Bound<'_> {
    fn table(&self) -> Table<'_> {
        Table::parse(self.arguments, u8::MAX).unwrap_or_default()
    }
}

impl Router {
    /// An exchange of this kind without bindings. The arguments were checked when it was declared.
    pub(crate) fn new(kind: ExchangeKind, arguments: &Table<'_>) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(HashMap::new()),
            ExchangeKind::Fanout | ExchangeKind::RecentHistory => Self::Fanout(TargetSet::default()),
            ExchangeKind::Topic => Self::Topic(TopicTree::default()),
            ExchangeKind::Headers => Self::Headers(Vec::new()),
            ExchangeKind::ConsistentHash => {
                Self::ConsistentHash(ConsistentHash::new(HashOn::parse(arguments).unwrap_or(HashOn::Key)))
            }
            ExchangeKind::ModulusHash => Self::ModulusHash(Numbered::default()),
            ExchangeKind::Random | ExchangeKind::LocalRandom => {
                Self::Random { targets: Numbered::default(), drawn: AtomicU64::new(0) }
            }
        }
    }

    /// Judges a binding before it is made.
    ///
    /// # Errors
    /// 406: the key or the arguments are not what this type asks for.
    pub(crate) fn check(&self, key: &str, arguments: &Table<'_>) -> Result<(), Refusal> {
        match self {
            Self::Headers(_) => HeaderMatch::parse(arguments).map(drop),
            Self::ConsistentHash(_) => weight(key).map(drop),
            Self::Topic(_) | Self::TopicSpace { .. } => {
                if words(key).filter(|word| *word == "#").count() > MOST_MANY {
                    return Err(Refusal::precondition_failed(format!(
                        "binding key '{key}' has more than {MOST_MANY} '#' words"
                    )));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds a binding that is not there yet and was judged.
    pub(crate) fn add(&mut self, bound: &Bound<'_>) {
        match self {
            Self::Direct(by_key) => by_key.entry(Arc::clone(bound.key)).or_default().add(bound.target),
            Self::Fanout(targets) => targets.add(bound.target),
            Self::Topic(tree) => {
                let subscription = (bound.target.clone(), Arc::clone(bound.key));
                tree.insert(levels(bound.key).iter().copied(), subscription, |_| false);
            }
            Self::TopicSpace { bindings } => *bindings += 1,
            Self::Headers(bindings) => {
                let Ok(wanted) = HeaderMatch::parse(&bound.table()) else { return };
                bindings.push(HeaderBinding {
                    target: bound.target.clone(),
                    wanted,
                    key: Arc::clone(bound.key),
                    arguments: bound.arguments.clone(),
                });
            }
            Self::ConsistentHash(members) => members.add(bound.target, weight(bound.key).unwrap_or(1)),
            Self::ModulusHash(targets) | Self::Random { targets, .. } => targets.add(bound.target),
        }
    }

    /// Removes a binding that is there.
    pub(crate) fn remove(&mut self, bound: &Bound<'_>) {
        match self {
            Self::Direct(by_key) => {
                if let Some(targets) = by_key.get_mut(&**bound.key) {
                    targets.remove(bound.target);
                    if targets.is_empty() {
                        by_key.remove(&**bound.key);
                    }
                }
            }
            Self::Fanout(targets) => targets.remove(bound.target),
            Self::Topic(tree) => {
                tree.remove(levels(bound.key).iter().copied(), |(target, _)| target.is(bound.target));
            }
            Self::TopicSpace { bindings } => *bindings = bindings.saturating_sub(1),
            Self::Headers(bindings) => {
                let same = |known: &HeaderBinding| {
                    known.target.is(bound.target)
                        && known.key == *bound.key
                        && known.arguments == *bound.arguments
                };
                if let Some(at) = bindings.iter().position(same) {
                    bindings.swap_remove(at);
                }
            }
            Self::ConsistentHash(members) => members.remove(bound.target, weight(bound.key).unwrap_or(1)),
            Self::ModulusHash(targets) | Self::Random { targets, .. } => targets.remove(bound.target),
        }
    }

    /// Whether the routing key alone decides where a message goes, so that it can be remembered.
    pub(crate) fn is_decided_by_key(&self) -> bool {
        match self {
            Self::Headers(_) | Self::Random { .. } => false,
            Self::ConsistentHash(members) => members.on.is_key(),
            _ => true,
        }
    }

    /// Calls `visit` for where a message goes; perhaps more than once for the same target. Not for the topic space, which
    /// the caller looks into himself.
    pub(crate) fn route<'t>(&'t self, message: &Routable<'_>, mut visit: impl FnMut(&'t Target)) {
        match self {
            Self::Direct(by_key) => {
                let found = message.keys().iter().filter_map(|key| by_key.get(*key));
                found.for_each(|targets| targets.for_each(&mut visit));
            }
            Self::Fanout(targets) => targets.for_each(visit),
            Self::Topic(tree) => {
                for key in message.keys() {
                    let words: SmallVec<[&str; 16]> = words(key).collect();
                    tree.for_each_match_of(&words, false, |(target, _)| visit(target));
                }
            }
            Self::TopicSpace { .. } => {}
            Self::Headers(bindings) => {
                let headers = message.headers();
                let matching = bindings.iter().filter(|binding| binding.wanted.matches(&headers));
                matching.for_each(|binding| visit(&binding.target));
            }
            Self::ConsistentHash(members) => members.choose(message).into_iter().for_each(visit),
            Self::ModulusHash(targets) => targets.choose_by_key(message.key()).into_iter().for_each(visit),
            Self::Random { targets, drawn } => {
                targets.choose(mix(drawn.fetch_add(1, Relaxed))).into_iter().for_each(visit);
            }
        }
    }
}

/// The levels of a binding key that is matched as it is written.
fn levels(key: &str) -> SmallVec<[Level<'_>; 16]> {
    let level = |word| match word {
        "*" => Level::One,
        "#" => Level::Many,
        exact => Level::Exact(exact),
    };
    address::words(key).map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use tercet_amqp::field::TableBuf;

    fn target(name: &str) -> Target {
        Target::Exchange(name.into())
    }

    fn bind(router: &mut Router, name: &str, key: &str) {
        router.add(&Bound { target: &target(name), key: &key.into(), arguments: &Bytes::new() });
    }

    fn unbind(router: &mut Router, name: &str, key: &str) {
        router.remove(&Bound { target: &target(name), key: &key.into(), arguments: &Bytes::new() });
    }

    fn routed(router: &Router, message: &Routable<'_>) -> Vec<String> {
        let mut names = Vec::new();
        router.route(message, |target| {
            if let Target::Exchange(name) = target {
                names.push(name.to_string());
            }
        });
        names.sort();
        names.dedup();
        names
    }

    fn router(kind: ExchangeKind) -> Router {
        Router::new(kind, &Table::default())
    }

    #[test]
    fn direct_and_fanout() {
        let mut direct = router(ExchangeKind::Direct);
        let mut fanout = router(ExchangeKind::Fanout);
        for router in [&mut direct, &mut fanout] {
            bind(router, "a", "k");
            bind(router, "b", "k");
            bind(router, "c", "l");
        }
        assert_eq!(routed(&direct, &Routable::of_key("k")), ["a", "b"]);
        assert_eq!(routed(&direct, &Routable::of_key("k").and_keys(["l"])), ["a", "b", "c"]);
        assert!(routed(&direct, &Routable::of_key("")).is_empty());
        assert_eq!(routed(&fanout, &Routable::of_key("x")), ["a", "b", "c"]);
        unbind(&mut direct, "a", "k");
        unbind(&mut direct, "b", "k");
        assert!(routed(&direct, &Routable::of_key("k")).is_empty());
        assert!(matches!(&direct, Router::Direct(by_key) if by_key.len() == 1));
    }

    #[test]
    fn topic_keys_follow_the_table() {
        for (binding, key, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.#", "a", true),
            ("a.#", "a.b.c", true),
            ("#", "", true),
            ("#", "$a.b", true),
            ("*", "", false),
            ("", "", true),
            ("*", "$a", true),
            ("#.z", "z", true),
            ("#.z", "a.b.z", true),
            ("#.z", "a.z.b", false),
            ("a.#.z", "a.z", true),
            ("*.#", "", false),
            ("*.*", ".", true),
            ("a..b", "a..b", true),
            ("a%2Eb", "a.b", false),
            ("a/b", "a/b", true),
        ] {
            let mut topic = router(ExchangeKind::Topic);
            bind(&mut topic, "t", binding);
            assert_eq!(!routed(&topic, &Routable::of_key(key)).is_empty(), expected, "{binding} {key}");
        }
    }

    #[test]
    fn a_topic_key_has_at_most_two_many_words() {
        let topic = router(ExchangeKind::Topic);
        let check = |key: &str| topic.check(key, &Table::default()).map_err(|refusal| refusal.text);
        assert_eq!(check("#.a.#"), Ok(()));
        assert_eq!(check("a#.b#.c#"), Ok(()));
        assert_eq!(check("#.a.#.b.#").unwrap_err(), "binding key '#.a.#.b.#' has more than 2 '#' words");
        assert!(router(ExchangeKind::Direct).check("#.#.#", &Table::default()).is_ok());
    }

    #[test]
    fn each_message_goes_to_one_of_several_at_random() {
        for kind in [ExchangeKind::Random, ExchangeKind::LocalRandom] {
            let mut random = router(kind);
            ["a", "b", "c"].iter().for_each(|name| bind(&mut random, name, ""));
            let mut counts = [0; 3];
            for _ in 0..3_000 {
                let chosen = routed(&random, &Routable::of_key("k"));
                assert_eq!(chosen.len(), 1);
                let at = ["a", "b", "c"].iter().position(|name| *name == chosen[0]).expect("one of them");
                counts[at] += 1;
            }
            assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
            assert!(!random.is_decided_by_key());
        }
    }

    #[test]
    fn the_same_key_always_leads_to_the_same_of_several() {
        let mut modulus = router(ExchangeKind::ModulusHash);
        ["a", "b", "c"].iter().for_each(|name| bind(&mut modulus, name, "ignored"));
        let chosen = |key: &str| routed(&modulus, &Routable::of_key(key));
        let all: std::collections::BTreeSet<_> = (0..100).flat_map(|n| chosen(&format!("k{n}"))).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(chosen("k"), chosen("k"));
    }

    #[test]
    fn header_bindings_with_the_same_target_are_told_apart_by_their_arguments() {
        let mut headers = router(ExchangeKind::Headers);
        let arguments = |n: i32| {
            let mut table = TableBuf::new();
            table.put("n", n).expect("short");
            table
        };
        let [one, two] = [1, 2].map(arguments);
        for arguments in [&one, &two] {
            let arguments = Bytes::copy_from_slice(arguments.as_table().as_bytes());
            headers.add(&Bound { target: &target("a"), key: &"".into(), arguments: &arguments });
        }
        let arguments = Bytes::copy_from_slice(one.as_table().as_bytes());
        headers.remove(&Bound { target: &target("a"), key: &"".into(), arguments: &arguments });
        let with = |table: &TableBuf| routed(&headers, &Routable::of_key("").with_headers(table.as_table()));
        assert!(with(&one).is_empty());
        assert_eq!(with(&two), ["a"]);
    }

    fn matches_naively(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => (0..=key.len()).any(|skipped| matches_naively(rest, &key[skipped..])),
            (["*", rest @ ..], [_, key @ ..]) => matches_naively(rest, key),
            ([word, rest @ ..], [first, key @ ..]) => word == first && matches_naively(rest, key),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn topics_match_as_naively(
            bindings in prop::collection::btree_set("(a|b|\\*|#|)(\\.(a|b|\\*|#|)){0,5}", 0..20),
            keys in prop::collection::vec("(a|b|)(\\.(a|b|c)){0,6}", 1..10),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut topic = router(ExchangeKind::Topic);
            let mut bindings: Vec<String> = bindings.into_iter().collect();
            bindings.iter().for_each(|key| bind(&mut topic, key, key));
            for index in removed {
                if !bindings.is_empty() {
                    let gone = bindings.remove(index.index(bindings.len()));
                    unbind(&mut topic, &gone, &gone);
                }
            }
            for key in keys {
                let key_words: Vec<&str> = words(&key).collect();
                let expected = bindings.iter().filter(|binding| {
                    matches_naively(&words(binding).collect::<Vec<_>>(), &key_words)
                });
                let expected: Vec<String> = expected.cloned().collect();
                prop_assert_eq!(routed(&topic, &Routable::of_key(&key)), expected, "{}", key);
            }
        }
    }
}
