//! Topic patterns of rules, and how two filters relate.

use super::{Effect, Subject};
use smallvec::SmallVec;

/// Longest pattern accepted, in bytes: the longest MQTT string.
const MAX_BYTES: usize = 65_535;

/// Most levels accepted in a pattern; bounds the depth of a compiled rule list.
const MAX_LEVELS: usize = 256;

/// Why a pattern was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing was given.
    #[error("the topic filter is empty")]
    Empty,
    /// Longer than an MQTT string can be.
    #[error("the topic filter is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Deeper than a rule may be.
    #[error("the topic filter has more than {MAX_LEVELS} levels")]
    TooManyLevels,
    /// A NUL character.
    #[error("the topic filter contains a NUL character")]
    Nul,
    /// `+` or `#` together with other text in one level [MQTT-4.7.1-2, MQTT-4.7.1-3].
    #[error("`+` and `#` must be the only character of their level")]
    WildcardInsideLevel,
    /// `#` before the last level [MQTT-4.7.1-2].
    #[error("`#` must be the last level")]
    ManyNotLast,
    /// `%c` or `%u` together with other text in one level.
    #[error("`%c` and `%u` must be the only text of their level")]
    PlaceholderInsideLevel,
}

/// One level of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Level {
    Literal(Box<str>),
    One,
    Many,
    ClientId,
    User,
}

impl Level {
    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }
}

/// A topic filter, whose levels may also be `%c` (the client identifier) or `%u` (the user name).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern {
    levels: Box<[Level]>,
}

impl TopicPattern {
    /// Reads a plain topic filter: `%c` and `%u` stand for themselves.
    ///
    /// # Errors
    /// When the text is not a topic filter or exceeds the limits named in [`PatternError`].
    pub fn filter(text: &str) -> Result<Self, PatternError> {
        Self::parse(text, |_| Ok(None))
    }

    /// Reads a topic filter with placeholders. As in Mosquitto, a placeholder fills its level alone; where
    /// Mosquitto would silently never match, this is an error.
    ///
    /// # Errors
    /// When the text is not a topic filter or exceeds the limits named in [`PatternError`].
    pub fn template(text: &str) -> Result<Self, PatternError> {
        Self::parse(text, |level| match level {
            "%c" => Ok(Some(Level::ClientId)),
            "%u" => Ok(Some(Level::User)),
            _ if level.contains("%c") || level.contains("%u") => Err(PatternError::PlaceholderInsideLevel),
            _ => Ok(None),
        })
    }

    fn parse(
        text: &str,
        placeholder: impl Fn(&str) -> Result<Option<Level>, PatternError>,
    ) -> Result<Self, PatternError> {
        match text {
            "" => return Err(PatternError::Empty),
            _ if text.len() > MAX_BYTES => return Err(PatternError::TooLong),
            _ if text.contains('\0') => return Err(PatternError::Nul),
            _ if text.split('/').count() > MAX_LEVELS => return Err(PatternError::TooManyLevels),
            _ => {}
        }
        let mut levels = Vec::new();
        for level in text.split('/') {
            if levels.last() == Some(&Level::Many) {
                return Err(PatternError::ManyNotLast);
            }
            levels.push(match level {
                "+" => Level::One,
                "#" => Level::Many,
                _ if level.contains(['+', '#']) => return Err(PatternError::WildcardInsideLevel),
                _ => placeholder(level)?.unwrap_or_else(|| Level::Literal(level.into())),
            });
        }
        Ok(Self { levels: levels.into() })
    }

    pub(super) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Puts the subject's values in place. `None`: the rule has no meaning for this subject.
    pub(super) fn resolve<'a>(&'a self, subject: &Subject<'a>, effect: Effect) -> Option<Resolved<'a>> {
        let mut resolved = Resolved::new();
        for level in &self.levels {
            let at_root = resolved.is_empty();
            let value = match level {
                Level::Literal(text) => Value::Known(text),
                Level::One => Value::Known("+"),
                Level::Many => Value::Known("#"),
                Level::ClientId => Value::of(Some(subject.client_id)),
                Level::User => Value::of(subject.user),
            };
            match (value, effect) {
                // A placeholder never leads to `$` topics, and this value names nothing else.
                (Value::Known(text), _) if at_root && text.starts_with('$') && !level.is_literal() => {
                    return None;
                }
                (Value::Known(text), _) => resolved.push(text),
                // A denial that cannot be made precise is widened, never dropped.
                (Value::Unsafe, Effect::Deny) => {
                    resolved.push("#");
                    return Some(resolved);
                }
                (Value::Unsafe, Effect::Allow) | (Value::Missing, _) => return None,
            }
        }
        Some(resolved)
    }
}

/// The levels of a pattern with all placeholders filled in.
pub(super) type Resolved<'a> = SmallVec<[&'a str; 12]>;

/// What stands for a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Text that may stand as a level.
    Known(&'a str),
    /// Text that would change the meaning of the pattern (CVE-2017-7650).
    Unsafe,
    /// The subject has no such value (an anonymous client has no user name).
    Missing,
}

impl<'a> Value<'a> {
    pub(super) fn of(value: Option<&'a str>) -> Self {
        match value {
            None => Self::Missing,
            Some(text) if text.is_empty() || text.contains(['+', '#', '/']) => Self::Unsafe,
            Some(text) => Self::Known(text),
        }
    }
}

/// Whether every topic that matches `filter` also matches `pattern`. Both are topic filters without placeholders;
/// a leading wildcard of either reaches no topic that begins with `$` [MQTT-4.7.2-1].
pub fn pattern_covers(pattern: &str, filter: &str) -> bool {
    covers(pattern.split('/'), filter.split('/'))
}

/// Whether at least one topic matches both filters. `$` topics as in [`pattern_covers`].
pub fn filters_overlap(a: &str, b: &str) -> bool {
    overlap(a.split('/'), b.split('/'))
}

pub(super) fn covers<'a, 'b>(
    pattern: impl Iterator<Item = &'a str>,
    filter: impl Iterator<Item = &'b str>,
) -> bool {
    let (mut pattern, mut filter) = (pattern, filter);
    let mut first = true;
    loop {
        let at_root = std::mem::take(&mut first);
        match (pattern.next(), filter.next()) {
            (None, None) => return true,
            // `a/#` includes `a` itself.
            (Some(rest), None) => return rest == "#",
            (None, Some(_)) => return false,
            (Some("#"), Some(level)) => return !(at_root && level.starts_with('$')),
            // `+/#` is every topic, like `#`, because a topic has at least one level.
            (Some("+"), Some("#")) => return at_root && pattern.next() == Some("#"),
            (Some("+"), Some(level)) if at_root && level.starts_with('$') => return false,
            (Some("+"), Some(_)) => {}
            (Some(own), Some(level)) if own == level => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

pub(super) fn overlap<'a, 'b>(a: impl Iterator<Item = &'a str>, b: impl Iterator<Item = &'b str>) -> bool {
    let (mut a, mut b) = (a, b);
    let mut first = true;
    loop {
        let at_root = std::mem::take(&mut first);
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(rest), None) | (None, Some(rest)) => return rest == "#",
            (Some("#" | "+"), Some(level)) | (Some(level), Some("#" | "+"))
                if at_root && level.starts_with('$') =>
            {
                return false;
            }
            (Some("#"), Some(_)) | (Some(_), Some("#")) => return true,
            (Some("+"), Some(_)) | (Some(_), Some("+")) => {}
            (Some(one), Some(other)) if one == other => {}
            (Some(_), Some(_)) => return false,
        }
    }
}
