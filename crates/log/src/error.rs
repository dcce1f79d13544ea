//! What can go wrong, where, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::position::Position;

/// A log cannot be opened, read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused an operation.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried, as an infinitive ("open").
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process uses the data directory.
    #[error(
        "{} is in use by another process\nhint: a data directory belongs to one broker; stop the other one or choose another --data",
        path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The data directory was written by a later version.
    #[error(
        "{} has format {found}, this version reads up to {supported}\nhint: start the version that wrote it, or a later one",
        path.display()
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format known.
        supported: u32,
    },
    /// The path holds something else.
    #[error("{} is no data directory of Tercet: {reason}\nhint: choose an empty directory with --data", path.display())]
    NotADataDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A backup is being made: nothing may go away meanwhile. Try again later.
    #[error("{} is being copied by a backup", path.display())]
    BackupRunning {
        /// The directory.
        path: PathBuf,
    },
    /// Something durable is not as it was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// A place in a log that is not as it was written: not the torn end that a crash leaves behind, which is cut
/// silently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is damaged at offset {offset}: {reason}; {affected}\nhint: restore a backup, or save what can be read with `tercet log repair`",
    path.display()
)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Bytes before the damage.
    pub offset: u64,
    /// The position that should be there.
    pub position: Position,
    /// What is wrong.
    pub reason: String,
    /// What is lost by it, in words.
    pub affected: String,
}

/// A batch was not appended, or it is not known whether it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A later claim owns the shard: nothing may be appended any more.
    #[error("another node owns the log by now")]
    Fenced,
    /// It is not known whether the batch is in the log: ask [`crate::engine::ShardLog::resolve`].
    #[error("the log could not be written: {0}")]
    Unknown(String),
    /// There is no space for it; it is not in the log. Try again when there is.
    #[error("no space left for the log: {0}")]
    Full(String),
}
