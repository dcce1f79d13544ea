//! Regular expressions over names, as RabbitMQ's permissions have them.
//!
//! A pattern matches anywhere in the name unless it is anchored, and the empty pattern matches the empty name alone,
//! which no exchange and no queue has. It sees bytes, as Erlang's does: `.` is any byte but a line feed, and classes
//! such as `\w` are those of ASCII. Look-around and back references are not offered: matching takes time linear to the
//! name, whatever the pattern.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

/// Longest pattern in bytes.
const MAX_PATTERN_BYTES: usize = 4096;
/// Most memory of one compiled pattern, in bytes.
const MAX_COMPILED_BYTES: usize = 256 * 1024;
/// Deepest nesting of groups.
const MAX_DEPTH: u32 = 32;

/// A pattern that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a regular expression that can be used: {reason}")]
pub struct PatternError {
    reason: String,
}

/// A compiled pattern with its text.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    matcher: Matcher,
}

#[derive(Clone)]
enum Matcher {
    /// `.*` and its like.
    Everything,
    /// The empty pattern.
    EmptyName,
    Regex(Regex),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is too long, too large when compiled, or no regular expression.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError { reason: format!("it is longer than {MAX_PATTERN_BYTES} bytes") });
        }
        let matcher = match text {
            "" => Matcher::EmptyName,
            ".*" | "^.*" => Matcher::Everything,
            _ => Matcher::Regex(compile(text)?),
        };
        Ok(Self { text: text.into(), matcher })
    }

    /// The pattern that matches every name.
    #[must_use]
    pub fn everything() -> Self {
        Self { text: ".*".into(), matcher: Matcher::Everything }
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere in `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::EmptyName => name.is_empty(),
            Matcher::Regex(regex) => regex.is_match(name.as_bytes()),
        }
    }
}

fn compile(text: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(text)
        .unicode(false)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .nest_limit(MAX_DEPTH)
        .build()
        .map_err(|error| PatternError { reason: last_line(&error.to_string()) })
}

/// The library draws the place of an error over several lines; what is wrong stands in the last one.
fn last_line(text: &str) -> String {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Values for the placeholders of topic permissions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placeholders<'a> {
    pub(super) username: &'a str,
    pub(super) vhost: &'a str,
    /// `None` for clients that have none.
    pub(super) client_id: Option<&'a str>,
}

impl Placeholders<'_> {
    /// Puts the values, escaped, in the place of `{username}`, `{vhost}` and `{client_id}`. `None` when there is no
    /// value for a placeholder that is used: such a pattern matches nothing.
    pub(super) fn expand(&self, text: &str) -> Option<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            expanded.push_str(before);
            let values = [
                ("{username}", Some(self.username)),
                ("{vhost}", Some(self.vhost)),
                ("{client_id}", self.client_id),
            ];
            let found = values.iter().find_map(|(name, value)| Some((from.strip_prefix(name)?, value)));
            rest = match found {
                Some((behind, value)) => {
                    expanded.push_str(&regex::escape((*value)?));
                    behind
                }
                None => {
                    expanded.push('{');
                    from.get(1..).unwrap_or_default()
                }
            };
        }
        expanded.push_str(rest);
        Some(expanded)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_anywhere_unless_anchored() {
        let cases = [
            ("", "amq.default", false),
            ("", "", true),
            ("^$", "x", false),
            (".*", "anything", true),
            (".*", "line\nfeed", true),
            ("^.*", "", true),
            ("orders", "my-orders-1", true),
            ("^orders$", "my-orders-1", false),
            ("^orders", "orders.eu", true),
            ("^(a|b)-", "b-1", true),
            ("^(a|b)-", "c-1", false),
            ("^\\w+$", "abc_1", true),
            ("^\\w+$", "ü", false),
            ("ü", "grün", true),
            ("^.$", "ü", false),
            ("(?i)^ORD", "orders", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Pattern::new(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_could_take_long_or_means_nothing_is_refused() {
        let long = "x".repeat(MAX_PATTERN_BYTES + 1);
        let nested = format!("{}a{}", "(".repeat(40), ")".repeat(40));
        for text in ["(", "a{", "[", "(?!amq)", "(a)\\1", "(a{1000}){1000}", &long, &nested, "*"] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(
                error.starts_with("not a regular expression") && !error.contains('\n'),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_pattern_that_kills_backtracking_takes_no_time() {
        let pattern = Pattern::new("^(a+)+$").unwrap();
        assert!(!pattern.matches(&format!("{}!", "a".repeat(100_000))));
    }

    #[test]
    fn values_of_placeholders_are_escaped_as_a_whole() {
        let hostile = Placeholders { username: ".*|x{vhost}", vhost: "/", client_id: Some("a.b+c") };
        let cases = [
            ("^{username}$", "^\\.\\*\\|x\\{vhost\\}$"),
            ("^{vhost}-{client_id}", "^/-a\\.b\\+c"),
            ("a{2}{username", "a{2}{username"),
            ("{{vhost}}", "{/}"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(hostile.expand(text).as_deref(), Some(expected), "{text}");
        }
        let nameless = Placeholders { client_id: None, ..hostile };
        assert_eq!(nameless.expand("^{client_id}"), None);
        assert_eq!(nameless.expand("^{vhost}").as_deref(), Some("^/"));
    }
}
