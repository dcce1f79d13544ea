//! Topics of MQTT as routing keys of AMQP, and back.
//!
//! An address is a list of levels. MQTT writes it with `/` between them, AMQP with `.`; what a level holds of the other
//! side's signs is escaped in AMQP: exactly `%25 %2A %2B %2E %2F %23`, in upper case, stand for `% * + . / #`, and any
//! other `%` is itself. So the level `v1.0` is the word `v1%2E0`. An empty routing key has no level at all.
//!
//! # Invariants
//! - A topic that has a key comes back from it unchanged.
//! - A key that has a topic and the key of that topic have the same levels.
//!
//! Without a form on the other side are: the empty address, topics that begin with `$`, levels with NUL, `+`, `#` or `/`
//! for MQTT, keys longer than 255 bytes for AMQP.

use std::borrow::Cow;

use crate::filter::Level;

/// How addresses cross between MQTT and AMQP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopicMapping {
    /// Every topic has a key of its own; see the module documentation.
    #[default]
    Exact,
    /// As RabbitMQ does it: `/` and `.` change places, nothing is escaped.
    Swap,
}

/// Longest routing key, in bytes.
const LONGEST_KEY: usize = 255;

/// Longest topic name, in bytes.
const LONGEST_TOPIC: usize = 65_535;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// What stands for itself on neither side.
const ESCAPED: [char; 6] = ['%', '*', '+', '.', '/', '#'];

impl TopicMapping {
    /// The routing key of a topic; `None` if it has none.
    #[must_use]
    pub fn to_amqp(self, topic: &str) -> Option<String> {
        if topic.is_empty() || topic.starts_with('$') || topic.contains('\0') {
            return None;
        }
        let mut key = String::with_capacity(topic.len());
        for (index, level) in topic.split('/').enumerate() {
            if index > 0 {
                key.push('.');
            }
            key.push_str(&self.word(level));
            if key.len() > LONGEST_KEY {
                return None;
            }
        }
        Some(key)
    }

    /// Whether a topic has a routing key.
    #[must_use]
    pub fn crosses_to_amqp(self, topic: &str) -> bool {
        let escaped = match self {
            Self::Exact => topic.chars().filter(|c| *c != '/' && ESCAPED.contains(c)).count(),
            Self::Swap => 0,
        };
        let len = topic.len() + 2 * escaped;
        len <= LONGEST_KEY && !topic.is_empty() && !topic.starts_with('$') && !topic.contains('\0')
    }

    /// The topic of a routing key; `None` if it has none.
    #[must_use]
    pub fn to_mqtt(self, key: &str) -> Option<String> {
        if key.is_empty() || key.starts_with('$') {
            return None;
        }
        let mut topic = String::with_capacity(key.len());
        for (index, word) in key.split('.').enumerate() {
            if index > 0 {
                topic.push('/');
            }
            let level = self.level(word);
            if level.contains(['/', '+', '#', '\0']) {
                return None;
            }
            topic.push_str(&level);
        }
        (topic.len() <= LONGEST_TOPIC && !topic.is_empty() && !topic.starts_with('$')).then_some(topic)
    }

    /// The level that a word stands for.
    #[must_use]
    pub fn level(self, word: &str) -> Cow<'_, str> {
        match self {
            Self::Exact if word.contains('%') => unescape(word),
            Self::Swap if word.contains('/') => word.replace('/', ".").into(),
            _ => word.into(),
        }
    }

    /// The word that stands for a level.
    #[must_use]
    pub fn word(self, level: &str) -> Cow<'_, str> {
        match self {
            Self::Exact if level.contains(ESCAPED) => escape(level).into(),
            Self::Swap if level.contains('.') => level.replace('.', "/").into(),
            _ => level.into(),
        }
    }

    /// The levels of a binding key, as they are looked for in the topic space.
    pub fn binding_levels(self, key: &str) -> Vec<BindingLevel<'_>> {
        let level = |word| match word {
            "*" => BindingLevel::One,
            "#" => BindingLevel::Many,
            exact => BindingLevel::Exact(self.level(exact)),
        };
        words(key).map(level).collect()
    }
}

/// One level of a binding key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingLevel<'a> {
    /// Exactly this level.
    Exact(Cow<'a, str>),
    /// Any one level.
    One,
    /// Any number of levels, none included.
    Many,
}

impl BindingLevel<'_> {
    /// The level, borrowed.
    #[must_use]
    pub fn as_level(&self) -> Level<'_> {
        match self {
            Self::Exact(level) => Level::Exact(level),
            Self::One => Level::One,
            Self::Many => Level::Many,
        }
    }
}

/// The words of a routing or binding key; the empty one has none.
pub fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').filter(move |_| !key.is_empty())
}

/// Whether a binding key matches a routing key, word for word. For keys with few `#`: each one multiplies the work.
#[must_use]
pub fn matches_as_written(binding: &str, key: &str) -> bool {
    let binding: Vec<&str> = words(binding).collect();
    let key: Vec<&str> = words(key).collect();
    matches(&binding, &key)
}

fn matches(binding: &[&str], key: &[&str]) -> bool {
    match (binding, key) {
        ([], []) => true,
        (["#"], _) => true,
        (["#", rest @ ..], _) => {
            (0..=key.len()).any(|skipped| matches(rest, key.get(skipped..).unwrap_or_default()))
        }
        (["*", rest @ ..], [_, key @ ..]) => matches(rest, key),
        ([word, rest @ ..], [first, key @ ..]) => word == first && matches(rest, key),
        _ => false,
    }
}

fn escape(level: &str) -> String {
    let mut word = String::with_capacity(level.len() + 8);
    for c in level.chars() {
        match u8::try_from(c).ok().filter(|_| ESCAPED.contains(&c)) {
            Some(byte) => {
                word.push('%');
                for digit in [byte >> 4, byte & 0xF] {
                    word.push(char::from(HEX.get(usize::from(digit)).copied().unwrap_or_default()));
                }
            }
            None => word.push(c),
        }
    }
    word
}

fn unescape(word: &str) -> Cow<'_, str> {
    let mut level = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        level.push_str(before);
        let (c, len) = match escape.get(..3) {
            Some("%25") => ('%', 3),
            Some("%2A") => ('*', 3),
            Some("%2B") => ('+', 3),
            Some("%2E") => ('.', 3),
            Some("%2F") => ('/', 3),
            Some("%23") => ('#', 3),
            _ => ('%', 1),
        };
        level.push(c);
        rest = escape.get(len..).unwrap_or_default();
    }
    level.push_str(rest);
    level.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXACT: TopicMapping = TopicMapping::Exact;

    #[test]
    fn topics_have_the_keys_of_the_table() {
        for (topic, key) in [
            ("a/b/c", Some("a.b.c")),
            ("v1.0", Some("v1%2E0")),
            ("a//b", Some("a..b")),
            ("/", Some(".")),
            ("50%/x", Some("50%25.x")),
            ("a*", Some("a%2A")),
            ("*", Some("%2A")),
            ("", None),
            ("$SYS/x", None),
            ("a/$x", Some("a.$x")),
            ("a\0b", None),
        ] {
            assert_eq!(EXACT.to_amqp(topic).as_deref(), key, "{topic:?}");
            assert_eq!(EXACT.crosses_to_amqp(topic), key.is_some(), "{topic:?}");
        }
    }

    #[test]
    fn keys_have_the_topics_of_the_table() {
        for (key, topic) in [
            ("a.b.c", Some("a/b/c")),
            ("v1%2E0", Some("v1.0")),
            ("v1%2e0", Some("v1%2e0")),
            ("100%", Some("100%")),
            ("%", Some("%")),
            ("%é", Some("%é")),
            ("%2", Some("%2")),
            ("%252E", Some("%2E")),
            ("a.*", Some("a/*")),
            ("..", Some("//")),
            ("", None),
            ("a/b", None),
            ("a%2Fb", None),
            ("a+", None),
            ("a.#", None),
            ("$x.y", None),
        ] {
            assert_eq!(EXACT.to_mqtt(key).as_deref(), topic, "{key:?}");
        }
    }

    #[test]
    fn a_key_is_no_longer_than_amqp_allows() {
        assert!(EXACT.to_amqp(&"x".repeat(255)).is_some());
        assert!(EXACT.to_amqp(&"x".repeat(256)).is_none());
        assert!(EXACT.to_amqp(&".".repeat(85)).is_some());
        assert!(EXACT.to_amqp(&".".repeat(86)).is_none());
    }

    #[test]
    fn with_the_plain_swap_the_separators_change_places() {
        assert_eq!(TopicMapping::Swap.to_amqp("a/b.c%2E").as_deref(), Some("a.b/c%2E"));
        assert_eq!(TopicMapping::Swap.to_mqtt("a.b/c%2E").as_deref(), Some("a/b.c%2E"));
    }

    #[test]
    fn an_empty_key_has_no_word() {
        assert_eq!(words("").count(), 0);
        assert_eq!(words(".").collect::<Vec<_>>(), ["", ""]);
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-c%.*/é]{0,4}",
            prop_oneof!["%25", "%2A", "%2B", "%2E", "%2F", "%23", "%2e", "%2"].prop_map(|s| s),
        ]
    }

    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat())
    }

    fn levels(key: &str) -> Vec<String> {
        words(key).map(|word| EXACT.level(word).into_owned()).collect()
    }

    proptest! {
        #[test]
        fn a_topic_comes_back_from_its_key(topic in text()) {
            for mapping in [EXACT, TopicMapping::Swap] {
                let key = mapping.to_amqp(&topic);
                prop_assert_eq!(key.is_some(), mapping.crosses_to_amqp(&topic));
                if let Some(key) = key {
                    prop_assert_eq!(mapping.to_mqtt(&key), Some(topic.clone()));
                }
            }
        }

        #[test]
        fn a_key_and_the_key_of_its_topic_have_the_same_levels(key in text()) {
            if let Some(topic) = EXACT.to_mqtt(&key) {
                prop_assert_eq!(topic.split('/').collect::<Vec<_>>(), levels(&key));
                if let Some(again) = EXACT.to_amqp(&topic) {
                    prop_assert_eq!(levels(&again), levels(&key));
                }
            }
        }
    }
}
