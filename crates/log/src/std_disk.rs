//! A [`Disk`] of the operating system's files.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use rustix::io::Errno;

use crate::disk::{Disk, File};

/// The tree below a directory. Files are made readable for their owner alone, as they hold what clients published.
#[derive(Clone, Debug)]
pub struct StdDisk {
    root: PathBuf,
}

impl StdDisk {
    /// The tree below `root`, which has to exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Disk for StdDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let path = self.root.join(path);
        match fs::OpenOptions::new().read(true).write(true).open(&path) {
            // A backup may lie where nobody can write. Writing to the file fails then.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Ok(Arc::new(StdFile(fs::File::open(&path)?)))
            }
            file => Ok(Arc::new(StdFile(file?))),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(StdFile(options.open(self.root.join(path))?)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(self.root.join(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(path))? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(self.root.join(path))?.sync_all()
    }
}

#[derive(Debug)]
struct StdFile(fs::File);

impl File for StdFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        loop {
            match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                // Some file systems cannot reserve. Space may then run out while writing.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.0.set_len(len),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn will_read(&self, offset: u64, len: u64) {
        // Without a length it would be for all that is left.
        if let Some(len) = NonZeroU64::new(len) {
            // It is advice: that it was not taken is no error.
            let _ = fadvise(&self.0, offset, Some(len), Advice::WillNeed);
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_names_move() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = StdDisk::new(dir.path());
        disk.create_dir(Path::new("a/b")).expect("made");
        disk.create_dir(Path::new("a/b")).expect("an existing one is no error");
        let file = disk.create(Path::new("a/b/c")).expect("created");
        assert!(disk.create(Path::new("a/b/c")).is_err(), "it exists");
        file.allocate(100).expect("allocated");
        file.write_at(b"hello", 98).expect("written");
        file.sync().expect("synced");
        assert_eq!(file.len().expect("length"), 103);
        let mut into = [1; 8];
        assert_eq!(file.read_at(&mut into, 97).expect("read"), 6);
        assert_eq!(&into, b"\0hello\x01\x01");
        disk.rename(Path::new("a/b/c"), Path::new("a/b/d")).expect("renamed");
        disk.sync_dir(Path::new("a/b")).expect("synced");
        assert_eq!(disk.list(Path::new("a/b")).expect("listed"), ["d"]);
        disk.open(Path::new("a/b/d")).expect("opened").truncate(0).expect("cut");
        assert!(file.is_empty().expect("length"));
        disk.remove(Path::new("a/b/d")).expect("removed");
        assert!(disk.open(Path::new("a/b/d")).is_err());
    }
}
