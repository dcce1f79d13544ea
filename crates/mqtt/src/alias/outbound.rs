//! Aliases that we assign.

use std::collections::HashMap;

use core::num::NonZeroU16;

/// Assigns aliases to the topics of one sender, up to the Topic Alias Maximum the receiver told it.
///
/// First come, first served: aliases are given until they are used up and then stay. Replacing the least recently used
/// one was considered and left out: where a receiver's topics outnumber its aliases and come in turns, every message
/// would carry the name *and* a new alias, which is longer than no alias at all.
///
/// ```
/// use tercet_mqtt::alias::{Outbound, TopicForm};
///
/// let mut aliases = Outbound::new(1);
/// assert!(matches!(aliases.assign("sensors/1"), TopicForm::Define(_))); // name and alias
/// assert!(matches!(aliases.assign("sensors/1"), TopicForm::Alias(_))); // alias alone
/// assert_eq!(aliases.assign("sensors/2"), TopicForm::Name); // name alone
/// ```
#[derive(Clone, Debug)]
pub struct Outbound {
    #[allow(clippy::box_collection, reason = "a map takes 48 bytes even where no alias is ever given")]
    aliases: Option<Box<HashMap<Box<str>, NonZeroU16>>>,
    maximum: u16,
}

/// How to write the topic of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicForm {
    /// The name, no alias.
    Name,
    /// The name and the alias, which stands for it from now on.
    Define(NonZeroU16),
    /// An empty name and the alias.
    Alias(NonZeroU16),
}

/// The property takes three bytes, so shorter names gain nothing.
const SHORTEST: usize = 4;

impl Outbound {
    /// No aliases yet; 0 allows none at all.
    pub const fn new(maximum: u16) -> Self {
        Self { aliases: None, maximum }
    }

    /// How to write the topic of the PUBLISH that is sent next. The PUBLISH has to be sent then, or a `Define` would be
    /// lost.
    pub fn assign(&mut self, topic: &str) -> TopicForm {
        if self.maximum == 0 || topic.len() < SHORTEST {
            return TopicForm::Name;
        }
        let aliases = self.aliases.get_or_insert_default();
        if let Some(&alias) = aliases.get(topic) {
            return TopicForm::Alias(alias);
        }
        let next = u16::try_from(aliases.len() + 1).ok().filter(|&next| next <= self.maximum);
        match next.and_then(NonZeroU16::new) {
            Some(alias) => {
                aliases.insert(topic.into(), alias);
                TopicForm::Define(alias)
            }
            None => TopicForm::Name,
        }
    }

    /// The Topic Alias Maximum of the receiver.
    pub const fn maximum(&self) -> u16 {
        self.maximum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alias::Inbound;

    #[test]
    fn the_receiver_understands_every_form() {
        let (mut outbound, mut inbound) = (Outbound::new(3), Inbound::new(3));
        let mut saved = 0;
        for n in 0..1000 {
            let topic = format!("topic/{}", n * 7 % 5);
            let (name, alias) = match outbound.assign(&topic) {
                TopicForm::Name => (&*topic, None),
                TopicForm::Define(alias) => (&*topic, Some(alias)),
                TopicForm::Alias(alias) => {
                    saved += 1;
                    ("", Some(alias))
                }
            };
            assert_eq!(inbound.resolve(name, alias), Ok(&*topic));
        }
        assert_eq!(saved, 597, "three of five topics, after their first message");
    }

    #[test]
    fn short_topics_and_no_maximum_use_no_alias() {
        assert_eq!(Outbound::new(0).assign("long/topic"), TopicForm::Name);
        assert_eq!(Outbound::new(9).assign("a/b"), TopicForm::Name);
        assert!(Outbound::new(9).aliases.is_none());
        assert!(size_of::<Outbound>() <= 16);
        let mut all = Outbound::new(u16::MAX);
        for n in 0..u32::from(u16::MAX) {
            assert!(matches!(all.assign(&format!("topic/{n}")), TopicForm::Define(_)));
        }
        assert_eq!(all.assign("one more"), TopicForm::Name);
    }
}
