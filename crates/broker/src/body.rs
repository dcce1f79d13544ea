//! Where a message is: in memory, or only in the log.

use std::sync::Arc;

use tercet_log::position::{Place, Position};

use crate::message::Message;

/// The record of a message in the log, as those who hold it remember it.
///
/// Kept small: a queue of millions holds one for each of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    batch: Position,
    offset: u32,
    /// Bytes of the record, frame included.
    pub len: u32,
    /// What [`Message::size`] says of the message.
    pub size: u32,
    /// Whether several queues or retained values may hold it. One that is not shared has exactly one holder.
    pub shared: bool,
}

impl Stored {
    /// The record at `place`.
    #[must_use]
    pub fn new(place: Place, len: u32, size: u32, shared: bool) -> Self {
        Self { batch: place.batch, offset: place.offset, len, size, shared }
    }

    /// Where it begins.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { batch: self.batch, offset: self.offset }
    }
}

/// A message as a queue or a retained value holds it.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory; it may have a record in the log besides ([`Message::stored`]).
    Memory(Arc<Message>),
    /// In the log only: it has to be read back before it can be delivered.
    Log(Stored),
}

impl Body {
    /// The message, if it is in memory.
    #[must_use]
    pub fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Self::Memory(message) => Some(message),
            Self::Log(_) => None,
        }
    }

    /// The message's record in the log, if it has one.
    #[must_use]
    pub fn stored(&self) -> Option<Stored> {
        match self {
            Self::Memory(message) => *message.stored.lock(),
            Self::Log(stored) => Some(*stored),
        }
    }

    /// What the message counts for against byte limits.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Memory(message) => message.size(),
            Self::Log(stored) => stored.size as usize,
        }
    }
}

impl Body {
    /// The same, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> BodyRef<'_> {
        match self {
            Self::Memory(message) => BodyRef::Memory(message),
            Self::Log(stored) => BodyRef::Log(*stored),
        }
    }
}

/// A [`Body`] as it lies in a queue.
#[derive(Clone, Copy, Debug)]
pub enum BodyRef<'a> {
    /// In memory.
    Memory(&'a Arc<Message>),
    /// In the log only.
    Log(Stored),
}

impl<'a> BodyRef<'a> {
    /// The message, if it is in memory.
    #[must_use]
    pub fn message(self) -> Option<&'a Arc<Message>> {
        match self {
            Self::Memory(message) => Some(message),
            Self::Log(_) => None,
        }
    }

    /// The message's record in the log, if it has one.
    #[must_use]
    pub fn stored(self) -> Option<Stored> {
        match self {
            Self::Memory(message) => *message.stored.lock(),
            Self::Log(stored) => Some(stored),
        }
    }

    /// What the message counts for against byte limits.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Memory(message) => message.size(),
            Self::Log(stored) => stored.size as usize,
        }
    }

    /// A body of its own.
    #[must_use]
    pub fn to_body(self) -> Body {
        match self {
            Self::Memory(message) => Body::Memory(Arc::clone(message)),
            Self::Log(stored) => Body::Log(stored),
        }
    }
}

impl From<Arc<Message>> for Body {
    fn from(message: Arc<Message>) -> Self {
        Self::Memory(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_in_the_log_takes_little_memory() {
        assert_eq!(std::mem::size_of::<Body>(), 24);
    }
}
