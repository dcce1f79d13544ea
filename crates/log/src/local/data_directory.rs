//! The data directory: one broker's, in a format that is known.
//!
//! ```text
//! LOCK          held exclusively by the process that has the directory open
//! FORMAT        "tercet 1\n"
//! backup.lock   held in common by backups while they copy
//! passwords     users, if they are kept here; not the log's affair
//! reserve       space for the last checkpoint of a full disk; its owner's affair
//! meta/         the log of small metadata, once there is any
//! shard-N/      the log of a shard
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::log::{Durability, Hold, LocalLog, LocalOptions};
use super::meta::{LocalMeta, META_DIR, META_SHARD};
use super::segment::error;
use crate::disk::Disk;
use crate::error::LogError;
use crate::std_disk::StdDisk;

const LOCK: &str = "LOCK";
const FORMAT: &str = "FORMAT";
pub(crate) const BACKUP_LOCK: &str = "backup.lock";
/// What may be in a directory that is not one of ours yet.
const HARMLESS: [&str; 4] = [LOCK, BACKUP_LOCK, "passwords", "lost+found"];
const WORD: &str = "tercet";
/// The latest format of the directory known.
const LATEST: u32 = 1;

/// A data directory, locked for this process until it is dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    disk: Arc<StdDisk>,
    hold: Arc<BackupHold>,
    /// The lock goes with the file.
    _lock: fs::File,
}

impl DataDirectory {
    /// Locks the directory, and makes it if there is none.
    ///
    /// # Errors
    /// Another process has it, it holds something else, a later version wrote it, or the system refuses something.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        if !path.is_dir() {
            create(path)?;
        }
        Self::lock(path, true)
    }

    /// Locks a directory that exists.
    ///
    /// # Errors
    /// As [`DataDirectory::open`], and for a directory that is not one of Tercet yet.
    pub fn open_existing(path: &Path) -> Result<Self, LogError> {
        Self::lock(path, false)
    }

    fn lock(path: &Path, begin: bool) -> Result<Self, LogError> {
        // Nothing is left behind in a directory that is not ours: not even the lock.
        let known = read_format(path)?;
        if !known && !begin {
            return Err(not_ours(path, "it has no file FORMAT"));
        }
        let file = path.join(LOCK);
        let lock = open_lock(&file).map_err(|source| error("open", &file, source))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LogError::Locked { path: path.to_path_buf() }),
            Err(source) => return Err(error("lock", &file, source.into())),
        }
        // Another process may have begun it meanwhile.
        if !read_format(path)? {
            write_format(path).map_err(|source| error("write", &path.join(FORMAT), source))?;
        }
        let hold = Arc::new(BackupHold::open(path)?);
        Ok(Self { path: path.to_path_buf(), disk: Arc::new(StdDisk::new(path)), hold, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files in it.
    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk) as Arc<dyn Disk>
    }

    /// The logs in it: their directories on [`DataDirectory::disk`], and the numbers of their shards, metadata first.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn logs(&self) -> Result<Vec<(PathBuf, u32)>, LogError> {
        logs_in(&self.path)
    }

    /// Opens the log of a shard, or begins it. `options.hold` is set to the backups of this directory.
    ///
    /// # Errors
    /// As [`LocalLog::open`].
    pub fn open_shard(&self, shard: u32, options: LocalOptions) -> Result<LocalLog, LogError> {
        let options = LocalOptions { hold: Some(self.hold()), ..options };
        LocalLog::open(self.disk(), &shard_dir(shard), shard, options)
    }

    /// Opens the metadata, or begins it.
    ///
    /// # Errors
    /// As [`LocalMeta::open`].
    pub fn open_meta(&self, durability: Durability) -> Result<LocalMeta, LogError> {
        let options = LocalOptions { durability, hold: Some(self.hold()), ..LocalOptions::default() };
        LocalMeta::open(self.disk(), Path::new(META_DIR), options)
    }

    pub(crate) fn hold(&self) -> Arc<dyn Hold> {
        Arc::clone(&self.hold) as Arc<dyn Hold>
    }
}

/// The logs in a data directory: where they are in it, and which shards.
pub(crate) fn logs_in(path: &Path) -> Result<Vec<(PathBuf, u32)>, LogError> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(path).map_err(|source| error("list", path, source))? {
        let name = entry.map_err(|source| error("list", path, source))?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("shard-").and_then(|number| number.parse().ok());
        let shard = if name == META_DIR { Some(META_SHARD) } else { number };
        logs.extend(shard.map(|shard| (PathBuf::from(&*name), shard)));
    }
    // Metadata first: shards may rely on it.
    logs.sort_unstable_by_key(|(_, shard)| shard.wrapping_add(1));
    Ok(logs)
}

/// The directory of a shard in the data directory.
pub(crate) fn shard_dir(shard: u32) -> PathBuf {
    PathBuf::from(format!("shard-{shard}"))
}

fn create(path: &Path) -> Result<(), LogError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| error("create", path, source))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = fs::File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(|source| error("sync", parent, source))
}

/// Whether the directory is one of ours, of a format that is known. False for one that is as good as empty.
pub(crate) fn read_format(path: &Path) -> Result<bool, LogError> {
    let file = path.join(FORMAT);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_empty(path).map(|()| false),
        Err(source) => return Err(error("read", &file, source)),
    };
    let number = text.strip_prefix(WORD).and_then(|rest| rest.trim().parse().ok());
    match number {
        Some(LATEST) => Ok(true),
        Some(found) if found > LATEST => {
            Err(LogError::NewerFormat { path: path.to_path_buf(), found, supported: LATEST })
        }
        _ => Err(not_ours(path, "its file FORMAT is not one of Tercet's")),
    }
}

fn check_empty(path: &Path) -> Result<(), LogError> {
    for entry in fs::read_dir(path).map_err(|source| error("list", path, source))? {
        let name = entry.map_err(|source| error("list", path, source))?.file_name();
        let name = name.to_string_lossy();
        let temporary =
            name.ends_with(".tmp") && (name.starts_with("passwords.") || name.starts_with(FORMAT));
        if !temporary && !HARMLESS.contains(&&*name) {
            return Err(not_ours(path, &format!("it holds {name}, but no file FORMAT")));
        }
    }
    Ok(())
}

fn not_ours(path: &Path, reason: &str) -> LogError {
    LogError::NotADataDirectory { path: path.to_path_buf(), reason: reason.to_owned() }
}

pub(crate) fn write_format(path: &Path) -> io::Result<()> {
    let temporary = path.join(format!("{FORMAT}.tmp"));
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{WORD} {LATEST}")?;
    file.sync_all()?;
    fs::rename(&temporary, path.join(FORMAT))?;
    fs::File::open(path)?.sync_all()
}

pub(crate) fn open_lock(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Backups hold `backup.lock` in common while they copy; whoever removes or replaces files holds it alone.
#[derive(Debug)]
struct BackupHold {
    path: PathBuf,
    /// Held by the logs of this process together.
    current: Mutex<Weak<fs::File>>,
}

impl BackupHold {
    fn open(dir: &Path) -> Result<Self, LogError> {
        let path = dir.join(BACKUP_LOCK);
        open_lock(&path).map_err(|source| error("open", &path, source))?;
        Ok(Self { path, current: Mutex::default() })
    }
}

impl Hold for BackupHold {
    fn enter(&self) -> io::Result<Option<Box<dyn Send>>> {
        let mut current = self.current.lock();
        if let Some(held) = current.upgrade() {
            return Ok(Some(Box::new(held)));
        }
        let lock = open_lock(&self.path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let held = Arc::new(lock);
                *current = Arc::downgrade(&held);
                Ok(Some(Box::new(held)))
            }
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
