//! Aliases that the peer assigns.

use core::num::NonZeroU16;

use crate::reason::ReasonCode;

/// The topics that the peer gave aliases to, up to the Topic Alias Maximum we told it.
///
/// `T` is what the caller keeps for a topic: its name, or what it looked up for it.
///
/// ```
/// use core::num::NonZeroU16;
/// use tercet_mqtt::alias::{AliasError, Inbound};
///
/// let mut aliases: Inbound<String> = Inbound::new(2);
/// let one = NonZeroU16::new(1).unwrap();
/// assert_eq!(aliases.get(one), Err(AliasError::Unknown));
/// aliases.set(one, "a/b".to_owned())?;
/// assert_eq!(aliases.get(one)?, "a/b");
/// # Ok::<(), AliasError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inbound<T = Box<str>> {
    /// The topic of alias `n` at `n - 1`.
    topics: Vec<Option<T>>,
    maximum: u16,
}

/// An alias that the peer may not use like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// The alias is greater than the Topic Alias Maximum: reason 0x94 [MQTT-3.3.2-9].
    #[error("the topic alias is greater than the maximum")]
    AboveMaximum,
    /// The alias comes without a topic name and has none yet: reason 0x82 (§3.3.2.3.4).
    #[error("the topic alias has no topic")]
    Unknown,
    /// Neither topic name nor alias: reason 0x82 (§3.3.2.1).
    #[error("neither topic name nor topic alias")]
    NoTopic,
}

impl AliasError {
    /// The reason code to close with.
    pub const fn reason(self) -> ReasonCode {
        match self {
            Self::AboveMaximum => ReasonCode::TopicAliasInvalid,
            Self::Unknown | Self::NoTopic => ReasonCode::ProtocolError,
        }
    }
}

impl<T> Inbound<T> {
    /// No aliases yet; 0 allows none at all.
    pub const fn new(maximum: u16) -> Self {
        Self { topics: Vec::new(), maximum }
    }

    /// The topic of an alias that came without a topic name.
    ///
    /// # Errors
    ///
    /// When the alias is above the maximum or has no topic.
    pub fn get(&self, alias: NonZeroU16) -> Result<&T, AliasError> {
        self.check(alias)?;
        self.topics.get(index(alias)).and_then(Option::as_ref).ok_or(AliasError::Unknown)
    }

    /// Gives an alias that came with a topic name that topic, instead of an earlier one if need be.
    ///
    /// # Errors
    ///
    /// When the alias is above the maximum.
    pub fn set(&mut self, alias: NonZeroU16, topic: T) -> Result<&T, AliasError> {
        self.check(alias)?;
        let index = index(alias);
        if self.topics.len() <= index {
            self.topics.resize_with(index + 1, || None);
        }
        let slot = self.topics.get_mut(index).ok_or(AliasError::AboveMaximum)?;
        Ok(slot.insert(topic))
    }

    /// The Topic Alias Maximum.
    pub const fn maximum(&self) -> u16 {
        self.maximum
    }

    fn check(&self, alias: NonZeroU16) -> Result<(), AliasError> {
        if alias.get() <= self.maximum { Ok(()) } else { Err(AliasError::AboveMaximum) }
    }
}

impl Inbound<Box<str>> {
    /// The topic name of a PUBLISH with this topic name and alias.
    ///
    /// # Errors
    ///
    /// When the alias may not be used like this.
    pub fn resolve<'s>(
        &'s mut self,
        topic: &'s str,
        alias: Option<NonZeroU16>,
    ) -> Result<&'s str, AliasError> {
        match (topic, alias) {
            ("", None) => Err(AliasError::NoTopic),
            (_, None) => Ok(topic),
            ("", Some(alias)) => self.get(alias).map(|topic| &**topic),
            (_, Some(alias)) => {
                self.check(alias)?;
                // Senders that repeat the name with its alias cost no allocation each time.
                if self.get(alias).is_ok_and(|known| **known == *topic) {
                    return Ok(topic);
                }
                self.set(alias, topic.into()).map(|topic| &**topic)
            }
        }
    }
}

fn index(alias: NonZeroU16) -> usize {
    usize::from(alias.get()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolving() {
        let mut aliases = Inbound::new(2);
        let cases = [
            ("a", 0, Ok("a")),
            ("", 0, Err(AliasError::NoTopic)),
            ("", 1, Err(AliasError::Unknown)),
            ("a/b", 1, Ok("a/b")),
            ("", 1, Ok("a/b")),
            ("a/b", 1, Ok("a/b")),
            ("c", 1, Ok("c")),
            ("", 1, Ok("c")),
            ("d", 2, Ok("d")),
            ("", 1, Ok("c")),
            ("e", 3, Err(AliasError::AboveMaximum)),
            ("", 3, Err(AliasError::AboveMaximum)),
            ("", 65_535, Err(AliasError::AboveMaximum)),
        ];
        for (topic, alias, expected) in cases {
            assert_eq!(aliases.resolve(topic, NonZeroU16::new(alias)), expected, "{topic:?} {alias}");
        }
        assert_eq!(AliasError::AboveMaximum.reason() as u8, 0x94);
    }

    #[test]
    fn no_alias_is_allowed_by_default_and_idle_is_small() {
        let mut none = Inbound::new(0);
        assert_eq!(none.resolve("a", Some(NonZeroU16::MIN)), Err(AliasError::AboveMaximum));
        assert_eq!(none.topics.capacity(), 0);
        assert!(size_of::<Inbound>() <= 32);
    }
}
