//! Space that is kept for the next checkpoint: without one nothing can be given back, so a disk that the log itself has
//! filled would stay full for ever.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// Name in the data directory. The file holds nothing.
const NAME: &str = "reserve";
/// Bytes that are kept at least.
const LEAST: u64 = 512 << 10;

/// The file that keeps the space.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// The reserve of a data directory.
    pub(super) fn new(directory: &Path) -> Self {
        Self { path: directory.join(NAME) }
    }

    /// Keeps space for a checkpoint twice as large as the last one, of `bytes`. Without it everything works until the disk
    /// is full, so there is nothing to report if it cannot be had.
    pub(super) fn keep(&self, bytes: u64) {
        let wanted = bytes.saturating_mul(2).max(LEAST).next_multiple_of(4096);
        let there = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        // Not made smaller for every little difference.
        if there >= wanted && there / 4 <= wanted {
            return;
        }
        self.give_up();
        if let Err(error) = self.allocate(wanted) {
            tracing::debug!(%error, bytes = wanted, "no space can be kept for the next checkpoint");
            self.give_up();
        }
    }

    /// Lets go of the space. Returns whether there was any.
    pub(super) fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)?;
        Ok(fallocate(&file, FallocateFlags::empty(), 0, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_size_of_checkpoints() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(dir.path());
        let size = || fs::metadata(dir.path().join(NAME)).map_or(0, |metadata| metadata.len());
        assert!(!reserve.give_up());
        for (checkpoint, kept) in [
            (0, LEAST),
            (1 << 20, 2 << 20),
            ((1 << 20) - 5000, 2 << 20),
            (3_000_000, 6_000_640),
            (100, LEAST),
        ] {
            reserve.keep(checkpoint);
            assert_eq!(size(), kept, "{checkpoint}");
        }
        assert!(reserve.give_up());
        assert_eq!(size(), 0);
    }
}
