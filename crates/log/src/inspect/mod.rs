//! Looking at logs from outside: for tools on a data directory that no broker uses, and for backups of one that is in
//! use.
//!
//! - [`check()`]: walks through everything, reports what there is and what is not as it was written.
//! - [`repair()`]: cuts a damaged log so that it opens again, and sets aside what it cuts off.
//! - [`backup()`]: copies a data directory as of one moment, also while a broker goes on writing; and back.

mod backup;
mod check;
mod repair;
#[cfg(test)]
mod tests;

pub use backup::{Backup, backup};
pub use check::{CheckpointReport, Item, Report, SegmentReport, TornEnd, check};
pub use repair::{Repair, repair};
