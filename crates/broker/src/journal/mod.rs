//! The seam to the log: records go in, positions come out, one watermark says what is durable.
//!
//! - [`LogJournal`]: the journal above a log; [`HostJournal`]: that of one virtual host.

mod accounts;
mod log_journal;

pub use tercet_log::position::{Place, Position};

use crate::body::Stored;
use crate::record::Record;

pub use log_journal::{HostJournal, LogJournal, ReadBackError};

/// Where records go. Called under the lock of the state they change, so log order is queue order.
///
/// Staging must not block and must not fail: whether there is room is asked before state changes
/// ([`Journal::admission`]).
///
/// Every recorded queue entry and retained value is a *holder* of its message's record. Staging the record that makes it
/// adds the holder; [`Journal::release`] takes it away. A message that nobody holds may be gone from the log.
pub trait Journal: Send + Sync {
    /// Stages a record and returns the position at which it will be durable. The first record that needs a message puts
    /// the message itself into the log before it and notes in the message where it lies.
    fn stage(&self, record: &Record<'_>) -> Position;

    /// Runs an operation so that everything it stages becomes durable together or not at all. May be nested.
    fn together(&self, operation: &mut dyn FnMut()) {
        operation();
    }

    /// A holder of the message is gone: its entry was settled, its queue ended, or its value replaced.
    fn release(&self, stored: &Stored) {
        let _ = stored;
    }

    /// The position of the record staged last. An answer that depends on state which it only reads waits for it.
    fn staged(&self) -> Position;

    /// The place that the next record will get: splits the log exactly, where a position names a whole batch.
    fn cut(&self) -> Place {
        Place { batch: self.staged(), offset: u32::MAX }
    }

    /// Everything at or before this position is durable.
    fn durable(&self) -> Position;

    /// Lets the log go on with what is staged. Called at the end of a turn; does nothing if nothing is.
    fn flush(&self) {}

    /// Whether work that needs the log may be taken on.
    fn admission(&self) -> Admission {
        Admission::Open
    }
}

/// Whether work that needs the log may be taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admission {
    /// Yes.
    Open,
    /// Soon: more is staged than should be. Stop reading from those who bring it.
    Busy,
    /// No: the disk is full. What frees space goes on.
    Full,
    /// No: the log cannot be written.
    Failed,
}
