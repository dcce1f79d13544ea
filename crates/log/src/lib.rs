//! The shard log: what makes a state change durable.
//!
//! A shard's log is a sequence of *batches*, each of them one or more *records*; a batch is durable as a whole or
//! not there at all. Whoever changes state stages records ([`group_commit`]), one committer thread appends
//! them batch by batch, and everybody who waits is released by one watermark.
//!
//! - [`batch`], [`record`]: the bytes.
//! - [`engine`]: what a log has to be able to do ([`engine::ShardLog`], [`engine::Meta`], [`engine::Fabric`]).
//! - [`group_commit`]: staging records, one sync for all who wait, and whether there is room for more.
//! - [`disk`]: the few file operations that the local engine needs, so that tests can put a worse disk below it;
//!   [`std_disk`] is the real one.
//! - `sim`, `conformance` (feature `sim`): that worse disk, and what every engine has to pass.
//! - [`local`]: the engine that keeps the log in files of one machine; [`inspect`] looks at them from outside:
//!   check, repair, backup.
//!
//! The crate knows no message and no queue: what records mean is their owner's affair.

#![forbid(unsafe_code)]

pub mod batch;
#[cfg(feature = "sim")]
pub mod conformance;
pub mod disk;
pub mod engine;
pub mod error;
pub mod group_commit;
pub mod inspect;
pub mod local;
pub mod position;
pub mod record;
#[cfg(feature = "sim")]
pub mod sim;
pub mod std_disk;
