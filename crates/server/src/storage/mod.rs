//! Where durable state lives: the data directory, its log, and the threads that look after it.
//!
//! [`Storage::open`] locks the data directory and opens the log, [`Storage::recover`] rebuilds the virtual hosts from it, and
//! [`Storage::run`] starts the threads: the committer of the log and the [`keeper`]; the [`reader`] follows when there are
//! connections to serve. With `server.durability =
//! "memory"` there is no storage at all, and the core records nothing.
//!
//! - [`running`]: what runs and how it ends; what health checks and metrics ask.
//! - [`keeper`]: takes checkpoints, empties extents that hold little, gives space back.
//! - [`reader`]: reads messages back that are only in the log.
//! - [`policy`]: when that is worth its cost; what is promised of space and recovery.
//! - [`reserve`]: space for the checkpoint without which a full disk stays full.

mod keeper;
mod opening;
mod policy;
mod reader;
mod reserve;
mod running;

pub use opening::{RecoverError, Recovery, Storage, StorageError};
pub use reader::Reader;
pub use running::{LogState, RunningStorage, StorageView, wake_reactors};
