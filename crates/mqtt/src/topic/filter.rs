//! Topic filters: what a subscription asks for.

use core::fmt;

use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::topic::TopicError;
use crate::wire::text;

/// A topic filter, possibly of a shared subscription.
///
/// ```
/// use tercet_mqtt::{Limits, topic::TopicFilter};
///
/// let filter = TopicFilter::parse("$share/workers/jobs/+", &Limits::default())?;
/// assert_eq!(filter.filter(), "jobs/+");
/// assert_eq!(filter.shared().map(|share| share.group), Some("workers"));
/// # Ok::<(), tercet_mqtt::topic::TopicError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicFilter<'a> {
    text: &'a str,
    filter: &'a str,
    share: Option<Share<'a>>,
}

/// The group of a shared subscription (MQTT 5.0 §4.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share<'a> {
    /// The share name; empty in the legacy form.
    pub group: &'a str,
    /// The subscription has the form `$queue/filter`, older than the standard: one group for each filter.
    pub legacy: bool,
}

impl<'a> TopicFilter<'a> {
    /// Takes `text` for a topic filter if it is one within the limits. `$share/group/filter` and the legacy
    /// `$queue/filter` are shared subscriptions; limits and wildcard rules apply to what follows the prefix.
    ///
    /// # Errors
    ///
    /// The rule or limit that `text` violates.
    pub fn parse(text: &'a str, limits: &Limits) -> Result<Self, TopicError> {
        if text.as_bytes().contains(&0) {
            return Err(ErrorKind::NulCharacter.into());
        }
        Self::check(text, limits).map_err(TopicError::from)
    }

    /// The filter in `bytes`.
    pub(crate) fn parse_bytes(bytes: &'a [u8], limits: &Limits) -> Result<Self, ErrorKind> {
        let text = text::parse(bytes, limits.strict_utf8)?;
        Self::check(text, limits)
    }

    fn check(text: &'a str, limits: &Limits) -> Result<Self, ErrorKind> {
        if text.is_empty() {
            return Err(ErrorKind::EmptyTopicFilter);
        }
        let (share, filter) = split_share(text)?;
        check_wildcards(filter)?;
        if filter.len() > usize::from(limits.max_topic_length) {
            return Err(ErrorKind::TopicFilterTooLong);
        }
        if limits.is_too_deep(filter.bytes().filter(|&byte| byte == b'/').count()) {
            return Err(ErrorKind::TopicFilterTooDeep);
        }
        Ok(Self { text, filter, share })
    }

    /// A filter from a packet that was validated before.
    pub(crate) fn trusted(text: &'a str) -> Self {
        let (share, filter) = split_share(text).unwrap_or((None, text));
        Self { text, filter, share }
    }

    /// The whole text as the subscriber sent it.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The filter itself, without the prefix of a shared subscription.
    pub const fn filter(&self) -> &'a str {
        self.filter
    }

    /// The group, if this is a shared subscription.
    pub const fn shared(&self) -> Option<Share<'a>> {
        self.share
    }

    /// Whether the filter contains a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.filter.bytes().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// Whether a message with this topic name is meant; see [`filter_matches`](crate::topic::filter_matches).
    pub fn matches(&self, topic: &str) -> bool {
        crate::topic::filter_matches(self.filter, topic)
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Takes the prefix of a shared subscription off [MQTT-4.8.2-1], [MQTT-4.8.2-2].
fn split_share(text: &str) -> Result<(Option<Share<'_>>, &str), ErrorKind> {
    let (share, filter) = if let Some(rest) = text.strip_prefix("$share/") {
        let (group, filter) = rest.split_once('/').ok_or(ErrorKind::InvalidShare)?;
        if group.is_empty() || group.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
            return Err(ErrorKind::InvalidShare);
        }
        (Share { group, legacy: false }, filter)
    } else if let Some(filter) = text.strip_prefix("$queue/") {
        (Share { group: "", legacy: true }, filter)
    } else {
        return Ok((None, text));
    };
    if filter.is_empty() { Err(ErrorKind::InvalidShare) } else { Ok((Some(share), filter)) }
}

/// A `#` is the whole last level [MQTT-4.7.1-1], a `+` is a whole level [MQTT-4.7.1-2].
fn check_wildcards(filter: &str) -> Result<(), ErrorKind> {
    let bytes = filter.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let starts_level = at == 0 || bytes.get(at - 1) == Some(&b'/');
        let next = bytes.get(at + 1);
        let allowed = match byte {
            b'#' => starts_level && next.is_none(),
            b'+' => starts_level && matches!(next, None | Some(b'/')),
            _ => true,
        };
        if !allowed {
            return Err(ErrorKind::MisplacedWildcard);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_filters() {
        let limits = Limits { max_topic_length: 20, max_topic_levels: 3, ..Limits::default() };
        let cases = [
            ("a/b", Ok(())),
            ("#", Ok(())),
            ("+", Ok(())),
            ("+/+/#", Ok(())),
            ("/+", Ok(())),
            ("+/", Ok(())),
            ("$SYS/#", Ok(())),
            ("$share", Ok(())),
            ("$queue", Ok(())),
            ("$shared/x", Ok(())),
            ("", Err(ErrorKind::EmptyTopicFilter)),
            ("a\0", Err(ErrorKind::NulCharacter)),
            ("#/a", Err(ErrorKind::MisplacedWildcard)),
            ("a#", Err(ErrorKind::MisplacedWildcard)),
            ("##", Err(ErrorKind::MisplacedWildcard)),
            ("a/#/", Err(ErrorKind::MisplacedWildcard)),
            ("a+", Err(ErrorKind::MisplacedWildcard)),
            ("+a", Err(ErrorKind::MisplacedWildcard)),
            ("++", Err(ErrorKind::MisplacedWildcard)),
            ("a/+b/c", Err(ErrorKind::MisplacedWildcard)),
            ("///", Err(ErrorKind::TopicFilterTooDeep)),
            ("012345678901234567890", Err(ErrorKind::TopicFilterTooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(
                TopicFilter::parse(text, &limits).map(|_| ()).map_err(|e| e.kind),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn shared_filters() {
        let limits = Limits::default();
        let cases = [
            ("$share/g/a/b", Some(("g", false, "a/b"))),
            ("$share/g//", Some(("g", false, "/"))),
            ("$share/g/#", Some(("g", false, "#"))),
            ("$queue/a/+", Some(("", true, "a/+"))),
            ("$share/g", None),
            ("$share/g/", None),
            ("$share/", None),
            ("$share//a", None),
            ("$share/+/a", None),
            ("$share/g#/a", None),
            ("$queue/", None),
            ("$share/g/a#", None),
        ];
        for (text, expected) in cases {
            let parsed = TopicFilter::parse(text, &limits).ok();
            let parts = parsed.and_then(|f| f.shared().map(|s| (s.group, s.legacy, f.filter())));
            assert_eq!(parts, expected, "{text:?}");
            if let Some(filter) = parsed {
                assert_eq!(filter.as_str(), text);
                assert_eq!(TopicFilter::trusted(text), filter);
            }
        }
    }
}
