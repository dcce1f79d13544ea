//! The seam to the log: records go in, positions come out, one watermark says what is durable.

use crate::record::Record;

/// A place in the log. Answers that tell the outside wait until the watermark has passed theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Position(u64);

impl Position {
    /// Before everything: nothing has to be waited for.
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

/// Where records go. Called under the lock of the state they change, so log order is queue order.
///
/// Staging must not block and must not fail: space is reserved before state changes.
pub trait Journal: Send + Sync {
    /// Stages a record and returns the position at which it will be durable.
    fn stage(&self, record: &Record<'_>) -> Position;

    /// The position of the record staged last. An answer that depends on state which it only reads waits for it.
    fn staged(&self) -> Position;

    /// Everything at or before this position is durable.
    fn durable(&self) -> Position;
}
