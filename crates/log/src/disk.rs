//! The file operations the local engine needs. [`Disk`] is the seam at which tests put a disk that fails.
//!
//! Paths are relative to the data directory. What was written is only sure to be there after [`File::sync`]; that a
//! name was made, changed or removed only after [`Disk::sync_dir`].

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A directory tree.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates a file, which must not exist.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;

    /// Creates a directory, and those above it. One that exists is no error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file, in the place of one that may be there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// An open file. Every operation may be used by several threads at once.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to the length of `into` at `offset`; fewer bytes than that only at the file's end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves space for the first `len` bytes and makes the file that long, without writing (`fallocate`).
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes the content durable, with as much metadata as is needed to read it back (`fdatasync`).
    ///
    /// After an error nothing is known of what was written since the last success, and repeating the call proves
    /// nothing: the file must not be synced again.
    fn sync(&self) -> io::Result<()>;

    /// The length.
    fn len(&self) -> io::Result<u64>;

    /// Says that these bytes will be read soon, so that the system may fetch them meanwhile. Nothing has to come of it.
    fn will_read(&self, _offset: u64, _len: u64) {}

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
