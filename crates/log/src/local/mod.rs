//! The local engine: a shard's log in files of one machine.
//!
//! A log is a row of *segments*, each a file of one header page and the batches behind it. A position is a byte offset
//! in the log as if the segments had no headers; a segment is named for its first position and ends where the next one
//! begins. `docs/storage-format.md` has the bytes.
//!
//! - [`data_directory`]: the directory with its lock and its format.
//! - [`log`]: [`LocalLog`], the engine's face to the rest; what the others do together.
//! - [`page`], [`segment`]: what a segment's header says, and which segments there are.
//! - [`writer`]: the path of a batch to the disk, and the way on after a failure.
//! - [`space`]: the one spare segment and the thread that prepares it.
//! - [`chain`], [`scan`]: batches read in order; what is a torn end, and what is damage.
//! - [`checkpoint`]: the file from which recovery begins.
//! - [`meta`], [`fabric`]: metadata on the same engine, and a bus without peers.
//! - [`metrics`]: what the engine has done so far.

pub(crate) mod chain;
pub(crate) mod checkpoint;
pub(crate) mod data_directory;
mod fabric;
mod log;
mod meta;
mod metrics;
pub(crate) mod page;
pub(crate) mod scan;
pub(crate) mod segment;
mod space;
#[cfg(test)]
mod tests;
mod writer;

pub use data_directory::DataDirectory;
pub use fabric::LocalFabric;
pub use log::{Durability, Hold, LocalLog, LocalOptions};
pub use meta::{LocalMeta, META_DIR, META_SHARD};
pub use metrics::{LogMetrics, SYNC_BUCKETS};
pub use segment::FIRST_POSITION;
pub(crate) use writer::empty_segment;
