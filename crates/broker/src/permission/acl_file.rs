//! Mosquitto's ACL file format.
//!
//! ```text
//! # about anonymous clients
//! topic read public/#
//!
//! user alice
//! topic readwrite home/#
//! topic deny home/safe/#
//!
//! # about everyone, wherever it stands
//! pattern readwrite dev/%c/#
//! ```
//!
//! - `topic [read|write|readwrite|subscribe|deny] <filter>` is about the user named by the last `user` line, or
//!   about anonymous clients before the first one. Without an access word it means `readwrite`; a filter that
//!   contains a space needs the word.
//! - `pattern [..] <filter>` is about everyone; a level that is `%c` or `%u` stands for the client identifier or
//!   the user name. A line with `%u` says nothing about anonymous clients.
//! - Blank lines and lines that begin with `#` are skipped.
//!
//! # Order
//! As in Mosquitto, denials are read before permissions, and all `topic` lines before all `pattern` lines: a
//! `pattern deny` does not take away what a `topic` line grants.
//!
//! # Subscriptions
//! Mosquitto's own file knows no `subscribe` and grants every subscription, filtering each delivery by `read`. A
//! file without `subscribe` lines keeps that behaviour, except that a subscription which could never receive
//! anything is refused: its filter has no topic in common with any readable pattern, or lies inside a denied
//! one ([`SubscribeCheck::Overlapping`]). As soon as one `subscribe` line stands in the file, `read` speaks about
//! deliveries only and a filter must lie entirely inside a `subscribe` pattern ([`SubscribeCheck::Covered`]).

use super::{
    Action, Actions, Effect, PatternError, ResourcePattern, Rule, RuleSet, SubscribeCheck, TopicPattern, Who,
};

/// A line that could not be read. One such line refuses the whole file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct AclError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: AclProblem,
}

/// What is wrong with a line of an ACL file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclProblem {
    /// The first word is none of the keywords.
    #[error("unknown keyword `{0}`, expected `user`, `topic` or `pattern`")]
    UnknownKeyword(String),
    /// The access word is none of those allowed.
    #[error("unknown access `{0}`, expected `read`, `write`, `readwrite`, `subscribe` or `deny`")]
    UnknownAccess(String),
    /// `user` without a name.
    #[error("`user` needs a name")]
    MissingUser,
    /// `topic` or `pattern` without a filter.
    #[error("`{0}` needs a topic filter")]
    MissingFilter(&'static str),
    /// The topic filter is wrong.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Reads a whole file.
///
/// # Errors
/// All lines that are wrong, in order. Nothing is taken from such a file.
pub fn parse(text: &str) -> Result<RuleSet, Vec<AclError>> {
    let mut who = Who::Anonymous;
    let mut entries = Vec::new();
    let mut errors = Vec::new();
    for (number, line) in text.lines().enumerate() {
        // Mosquitto knows comments at the first column only; white space before one does no harm.
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Ok(Line::User(name)) => who = Who::User(name),
            Ok(Line::Topic(access, pattern)) => {
                entries.push(Entry { who: Some(who.clone()), access, pattern })
            }
            Ok(Line::Pattern(access, pattern)) => entries.push(Entry { who: None, access, pattern }),
            Err(problem) => errors.push(AclError { line: number + 1, problem }),
        }
    }
    if errors.is_empty() { Ok(rule_set(entries)) } else { Err(errors) }
}

enum Line {
    User(Box<str>),
    Topic(Access, TopicPattern),
    Pattern(Access, TopicPattern),
}

struct Entry {
    /// `None` for a `pattern` line.
    who: Option<Who>,
    access: Access,
    pattern: TopicPattern,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    ReadWrite,
    Subscribe,
    Deny,
}

fn parse_line(line: &str) -> Result<Line, AclProblem> {
    let (keyword, rest) = split_word(line);
    match keyword {
        "user" if rest.is_empty() => Err(AclProblem::MissingUser),
        "user" => Ok(Line::User(rest.into())),
        "topic" => {
            let (access, filter) = parse_access("topic", rest)?;
            Ok(Line::Topic(access, TopicPattern::filter(filter)?))
        }
        "pattern" => {
            let (access, filter) = parse_access("pattern", rest)?;
            Ok(Line::Pattern(access, TopicPattern::template(filter)?))
        }
        _ => Err(AclProblem::UnknownKeyword(keyword.to_owned())),
    }
}

fn parse_access<'a>(keyword: &'static str, rest: &'a str) -> Result<(Access, &'a str), AclProblem> {
    let (word, filter) = split_word(rest);
    if word.is_empty() {
        return Err(AclProblem::MissingFilter(keyword));
    }
    if filter.is_empty() {
        return Ok((Access::ReadWrite, word));
    }
    let access = match word {
        "read" => Access::Read,
        "write" => Access::Write,
        "readwrite" => Access::ReadWrite,
        "subscribe" => Access::Subscribe,
        "deny" => Access::Deny,
        _ => return Err(AclProblem::UnknownAccess(word.to_owned())),
    };
    Ok((access, filter))
}

/// The first word and what follows it, without the white space between.
fn split_word(text: &str) -> (&str, &str) {
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim_start_matches([' ', '\t'])),
        None => (text, ""),
    }
}

/// Brings the lines into the order in which Mosquitto reads them.
fn rule_set(mut entries: Vec<Entry>) -> RuleSet {
    let strict = entries.iter().any(|entry| entry.access == Access::Subscribe);
    let subscribe_check = if strict { SubscribeCheck::Covered } else { SubscribeCheck::Overlapping };
    entries.sort_by_key(|entry| (entry.who.is_none(), entry.access != Access::Deny));
    let rules = entries.into_iter().map(|entry| rule(entry, subscribe_check)).collect();
    RuleSet { rules, subscribe_check }
}

fn rule(entry: Entry, subscribe_check: SubscribeCheck) -> Rule {
    use Action::{Publish, Receive, Subscribe};
    let actions = match (entry.access, subscribe_check) {
        (Access::Deny, _) => Actions::ALL,
        (Access::Write, _) => Actions::of(&[Publish]),
        (Access::Subscribe, _) => Actions::of(&[Subscribe]),
        (Access::Read, SubscribeCheck::Overlapping) => Actions::of(&[Receive, Subscribe]),
        (Access::Read, SubscribeCheck::Covered) => Actions::of(&[Receive]),
        (Access::ReadWrite, SubscribeCheck::Overlapping) => Actions::of(&[Publish, Receive, Subscribe]),
        (Access::ReadWrite, SubscribeCheck::Covered) => Actions::of(&[Publish, Receive]),
    };
    let effect = if entry.access == Access::Deny { Effect::Deny } else { Effect::Allow };
    Rule {
        who: entry.who.unwrap_or(Who::Everyone),
        actions,
        resource: ResourcePattern::Topic(entry.pattern),
        effect,
    }
}
