//! What can be made to go wrong.

use std::io;
use std::path::Path;

/// A kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Disk::open`](crate::disk::Disk::open).
    Open,
    /// [`Disk::create`](crate::disk::Disk::create).
    Create,
    /// [`Disk::create_dir`](crate::disk::Disk::create_dir).
    CreateDir,
    /// [`Disk::rename`](crate::disk::Disk::rename); the path is the old one.
    Rename,
    /// [`Disk::remove`](crate::disk::Disk::remove).
    Remove,
    /// [`Disk::list`](crate::disk::Disk::list).
    List,
    /// [`Disk::sync_dir`](crate::disk::Disk::sync_dir).
    SyncDir,
    /// [`File::read_at`](crate::disk::File::read_at).
    Read,
    /// [`File::write_at`](crate::disk::File::write_at).
    Write,
    /// [`File::allocate`](crate::disk::File::allocate).
    Allocate,
    /// [`File::truncate`](crate::disk::File::truncate).
    Truncate,
    /// [`File::sync`](crate::disk::File::sync).
    Sync,
}

/// An operation that will fail.
///
/// ```
/// use tercet_log::sim::{Fault, Operation, SimDisk};
///
/// let disk = SimDisk::new();
/// // The third sync of a segment fails, and the one after it.
/// disk.fail(Fault::eio(Operation::Sync, ".seg").after(2).times(2));
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    operation: Operation,
    path: String,
    after: u64,
    times: u64,
    error: i32,
    written: usize,
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Fault {
    /// The next operation of this kind on a path that contains `path` fails with EIO.
    #[must_use]
    pub fn eio(operation: Operation, path: &str) -> Self {
        Self { operation, path: path.to_owned(), after: 0, times: 1, error: EIO, written: 0 }
    }

    /// The same with ENOSPC.
    #[must_use]
    pub fn no_space(operation: Operation, path: &str) -> Self {
        Self { error: ENOSPC, ..Self::eio(operation, path) }
    }

    /// The next write to a path that contains `path` writes its first `written` bytes and fails with EIO.
    #[must_use]
    pub fn short(path: &str, written: usize) -> Self {
        Self { written, ..Self::eio(Operation::Write, path) }
    }

    /// So many such operations succeed before.
    #[must_use]
    pub fn after(self, after: u64) -> Self {
        Self { after, ..self }
    }

    /// So many of them fail, one after the other.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// Counts an operation. The error that it ends with, and the bytes that are written before.
    pub(super) fn strike(&mut self, operation: Operation, path: &Path) -> Option<(io::Error, usize)> {
        if self.operation != operation || self.times == 0 || !path.to_string_lossy().contains(&self.path) {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times -= 1;
        Some((io::Error::from_raw_os_error(self.error), self.written))
    }

    pub(super) fn is_over(&self) -> bool {
        self.times == 0
    }
}

pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

pub(super) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(ENOSPC)
}
