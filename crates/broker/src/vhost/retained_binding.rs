//! Retained values for a queue that is bound to the topic space with `x-retained`.
//!
//! They come once, with the binding, like those of a subscription in MQTT. Where there is a log, its reader thread hands them
//! out, slice by slice, as some of them may have to be read back; without a log all of them are at hand.

use std::fmt;
use std::sync::Arc;

use tercet_amqp::field::{Table, Value};

use crate::body::Body;
use crate::clock::Now;
use crate::crossing::address::BindingLevel;
use crate::effects::Effects;
use crate::message::Message;
use crate::named_queue::{Incoming, NamedQueue};
use crate::read_back::{Bodies, Fetch, Unreadable};
use crate::vhost::Vhost;

/// The argument of a binding.
const RETAINED: &str = "x-retained";

/// Values handed out at a time, and topics looked at.
const AT_ONCE: usize = 256;
const SCANNED: usize = 4096;

/// Values that are still to be handed out.
pub(crate) struct RetainedGift {
    queue: Arc<NamedQueue>,
    levels: Vec<BindingLevel<'static>>,
    /// A filter that finds all of them, and perhaps others.
    filter: Arc<str>,
    after: Option<Arc<str>>,
    version: u64,
}

impl fmt::Debug for RetainedGift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.fmt(f)
    }
}

impl RetainedGift {
    /// What a binding of the topic space asks for; `None` if that is nothing.
    pub(in crate::vhost) fn asked(
        vhost: &Vhost,
        queue: &Arc<NamedQueue>,
        key: &str,
        arguments: &Table<'_>,
    ) -> Option<Self> {
        if arguments.get(RETAINED) != Some(Value::Bool(true)) {
            return None;
        }
        let levels: Vec<_> = vhost.topic_mapping().binding_levels(key).into_iter().map(owned).collect();
        let filter = filter(&levels)?;
        let version = vhost.retained.version();
        Some(Self { queue: Arc::clone(queue), levels, filter: filter.into(), after: None, version })
    }
}

fn owned(level: BindingLevel<'_>) -> BindingLevel<'static> {
    match level {
        BindingLevel::Exact(level) => BindingLevel::Exact(level.into_owned().into()),
        BindingLevel::One => BindingLevel::One,
        BindingLevel::Many => BindingLevel::Many,
    }
}

/// A filter of MQTT for levels: what stands behind a wildcard for many is left to be looked at. `None` for levels that no
/// topic has.
fn filter(levels: &[BindingLevel<'_>]) -> Option<String> {
    let mut filter = String::new();
    for (index, level) in levels.iter().enumerate() {
        if index > 0 {
            filter.push('/');
        }
        match level {
            BindingLevel::Exact(level) if level.contains(['/', '+', '#', '\0']) => return None,
            BindingLevel::Exact(level) => filter.push_str(level),
            BindingLevel::One => filter.push('+'),
            BindingLevel::Many => {
                filter.push('#');
                break;
            }
        }
    }
    (!filter.is_empty()).then_some(filter)
}

/// Whether the levels of a binding match those of a topic. Bindings have few wildcards for many levels.
fn matches(binding: &[BindingLevel<'_>], topic: &[&str]) -> bool {
    match (binding.split_first(), topic.split_first()) {
        (None, None) => true,
        (Some((BindingLevel::Many, rest)), _) => {
            (0..=topic.len()).any(|skipped| matches(rest, topic.get(skipped..).unwrap_or_default()))
        }
        (Some((BindingLevel::One, rest)), Some((_, topic))) => matches(rest, topic),
        (Some((BindingLevel::Exact(level), rest)), Some((first, topic))) => {
            level == first && matches(rest, topic)
        }
        _ => false,
    }
}

impl Vhost {
    /// Hands out what a binding asked for, or lets the reader do it.
    pub(in crate::vhost) fn give_retained(&self, gift: RetainedGift, now: Now, effects: &mut Effects) {
        if self.journal.is_some() {
            self.fetches.ask(self.id(), std::iter::once(Fetch::Retained(gift)));
            return;
        }
        let mut left = Some(gift);
        while let Some(gift) = left {
            left = self.give_some_retained(gift, None, now, effects);
        }
    }

    /// Hands out the next values, and says what is left. Reads the log: not for a thread that serves clients, unless there
    /// is none.
    pub(crate) fn give_some_retained(
        &self,
        mut gift: RetainedGift,
        bodies: Option<&dyn Bodies>,
        now: Now,
        effects: &mut Effects,
    ) -> Option<RetainedGift> {
        let slice = self.retained.slice(&gift.filter, gift.after.as_ref(), gift.version, AT_ONCE, SCANNED);
        let mapping = self.topic_mapping();
        let wanted = slice.values.into_iter().filter(|(topic, _)| {
            mapping.crosses_to_amqp(topic) && matches(&gift.levels, &topic.split('/').collect::<Vec<_>>())
        });
        let mut values = Vec::new();
        for (topic, body) in wanted {
            match body {
                Body::Memory(message) => values.push(message),
                Body::Log(stored) => {
                    let read = bodies.and_then(|bodies| bodies.read(&[stored]).pop());
                    match read.unwrap_or_else(|| Err(Unreadable::default())) {
                        Ok(message) => values.push(message),
                        Err(why) => {
                            tracing::warn!(%topic, %why, "a retained value cannot be read back for a binding");
                        }
                    }
                }
            }
        }
        self.with_context(now, effects, |cx| {
            for value in values.iter().filter(|value| !value.is_expired(now)) {
                // A record of its own: whoever holds the value may change it any time.
                let copy = Arc::new(Message { shared: false, ..value.copied() });
                gift.queue.enqueue(&mut Incoming::owned(&copy, now), cx);
            }
        });
        self.work_off(now, effects);
        gift.after = Some(slice.resume_after?);
        (!gift.queue.is_deleted()).then_some(gift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crossing::address::TopicMapping;

    #[test]
    fn a_binding_finds_the_values_of_the_topics_it_matches() {
        for (key, wide, topic, found) in [
            ("a.b", "a/b", "a/b", true),
            ("a.*", "a/+", "a/b", true),
            ("a.*", "a/+", "a/b/c", false),
            ("a.#", "a/#", "a", true),
            ("#.c", "#", "a/b/c", true),
            ("#.c", "#", "a/b", false),
            ("a.#.c", "a/#", "a/c", true),
            ("v1%2E0", "v1.0", "v1.0", true),
        ] {
            let levels = TopicMapping::Exact.binding_levels(key);
            assert_eq!(filter(&levels).as_deref(), Some(wide), "{key}");
            assert_eq!(matches(&levels, &topic.split('/').collect::<Vec<_>>()), found, "{key} {topic}");
        }
        for key in ["", "a/b", "a%2Bb"] {
            assert_eq!(filter(&TopicMapping::Exact.binding_levels(key)), None, "{key}");
        }
    }
}
