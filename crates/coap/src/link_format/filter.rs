//! Choosing links by the query of a request (RFC 6690 §4.1).

use alloc::vec::Vec;

use super::Link;
use crate::option::{Number, Options};

/// Attributes that are lists, of which any entry may match: relation types and the like (RFC 6690 §4.1), and formats
/// (RFC 7252 §7.2.1).
const LISTS: [&str; 5] = ["rt", "if", "rel", "rev", "ct"];

/// Conditions that all have to hold. Without any, every link passes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filter<'a> {
    conditions: Vec<Condition<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition<'a> {
    name: &'a str,
    pattern: Pattern<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern<'a> {
    /// The attribute is there.
    Present,
    /// It has this value.
    Exact(&'a str),
    /// Its value begins so.
    Prefix(&'a str),
}

impl Pattern<'_> {
    fn matches(self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => value == wanted,
            Self::Prefix(prefix) => value.starts_with(prefix),
        }
    }
}

impl<'a> Filter<'a> {
    /// The filter that arguments of a query make together: `name=value`, where a `*` at the end of the value stands for
    /// anything; a name alone asks for the attribute to be there; `href` is the target.
    pub fn new(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let conditions = arguments.into_iter().map(|argument| {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument, None),
            };
            let pattern = match value {
                None => Pattern::Present,
                Some(value) => value.strip_suffix('*').map_or(Pattern::Exact(value), Pattern::Prefix),
            };
            Condition { name, pattern }
        });
        Self { conditions: conditions.collect() }
    }

    /// The filter in the Uri-Query options of a request, less those arguments for which `other` is true.
    pub fn from_options(options: Options<'a>, other: impl Fn(&str) -> bool) -> Self {
        Self::new(options.texts(Number::URI_QUERY).filter(|argument| !other(argument)))
    }

    /// Every link passes.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The link passes.
    pub fn matches(&self, link: &Link<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.matches(link))
    }
}

impl Condition<'_> {
    fn matches(&self, link: &Link<'_>) -> bool {
        if self.name == "href" {
            return self.pattern.matches(&link.target);
        }
        link.attributes.iter().filter(|attribute| attribute.name == self.name).any(|attribute| {
            let value = attribute.value.as_deref().unwrap_or_default();
            self.pattern.matches(value)
                || LISTS.contains(&self.name) && value.split(' ').any(|entry| self.pattern.matches(entry))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let link = Link::new("/sensors/temp")
            .with("rt", "temperature-c outdoor")
            .with("ct", "0 50")
            .with("title", "The room")
            .flag("obs");
        let cases = [
            ("", false),
            ("rt=temperature-c", true),
            ("rt=outdoor", true),
            ("rt=out*", true),
            ("rt=temperature-c outdoor", true),
            ("rt=temp", false),
            ("rt=*", true),
            ("if=*", false),
            ("ct=50", true),
            ("ct=5", false),
            ("title=The*", true),
            ("title=room", false),
            ("href=/sensors/*", true),
            ("href=/sensors", false),
            ("obs", true),
            ("obs=", true),
            ("sz", false),
        ];
        for (argument, expected) in cases {
            assert_eq!(Filter::new([argument]).matches(&link), expected, "{argument}");
        }
        assert!(Filter::default().matches(&link));
        assert!(!Filter::new(["rt=outdoor", "ct=60"]).matches(&link));
    }
}
