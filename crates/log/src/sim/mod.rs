//! A disk for tests: in memory, and as bad as real ones are allowed to be.
//!
//! [`SimDisk`] keeps what was written apart from what was synced, in sectors of 512 bytes, and names apart from names made
//! durable. So it can say what a power cut may leave ([`SimDisk::after_power_cut`]), or the end of a process
//! ([`SimDisk::after_kill`]); it can record everything that is done to it and stop at every step of that again
//! ([`SimDisk::record`], [`History`]); operations can be made to fail ([`Fault`]), the disk to be full
//! ([`SimDisk::set_capacity`]), bits to turn over ([`SimDisk::flip`]), syncs to wait ([`SimDisk::hold_syncs`]).
//!
//! - [`disk`], [`open_file`]: the operations. [`control`]: what is done from outside, and watched.
//! - [`chance`]: random numbers of a seed. [`fault`]: what goes wrong. [`history`]: a recorded run. [`seeds`]: many runs.
//! - [`content`], [`file`], [`tree`]: bytes, a file, the names: pure data, changed by [`tree::Step`]s alone.
//!
//! What it assumes of file systems: a sector is written whole or not at all; unsynced sectors reach the disk in any order or not
//! at all, and a file's length keeps an order of its own; a renaming happens or does not; names changed without a sync
//! are there up to some point in time, or (POSIX does not say more) any of them. After a sync that failed, the system takes what it holds in memory
//! for clean, as Linux does: part of it is on the disk, the rest never will be, and the next sync says that all is well.

mod chance;
mod content;
mod control;
mod disk;
mod fault;
mod file;
mod history;
mod open_file;
mod seeds;
#[cfg(test)]
mod tests;
mod tree;

pub use self::chance::Chance;
pub use self::disk::{Counts, SimDisk};
pub use self::fault::{Fault, Operation};
pub use self::history::History;
pub use self::seeds::for_each_seed;
