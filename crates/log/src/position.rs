//! Places in a log.

use std::fmt;

/// Where a batch begins in a shard's log. Later batches have greater positions; nothing else may be read from the
/// number but by the engine that made it. All records of a batch share its position, as they become durable together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Position(u64);

impl Position {
    /// Before everything: nothing has to be waited for. No batch has this position.
    pub const NONE: Position = Position(0);

    /// The position with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Where a record begins: its batch, and its offset in the payload of that batch. Ordered as the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Place {
    /// The batch.
    pub batch: Position,
    /// Bytes of the batch's payload before the record.
    pub offset: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.batch, self.offset)
    }
}
