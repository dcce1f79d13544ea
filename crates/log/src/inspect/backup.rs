//! Copying a data directory while a broker goes on writing.
//!
//! The broker adds to its logs at any time, but takes away or replaces files only while it holds `backup.lock` alone; a
//! backup holds it in common. So everything that is there when the copying begins stays until it ends, and the copy of a log is what
//! was in it at one moment: the checkpoint, the segments, and of the last one the whole batches found.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::check::{Report, check};
use crate::batch::BatchHeader;
use crate::disk::{Disk, File};
use crate::error::LogError;
use crate::local::chain::{BODY, ChainReader, Found};
use crate::local::checkpoint::CHECKPOINT;
use crate::local::data_directory::{BACKUP_LOCK, logs_in, open_lock, read_format, write_format};
use crate::local::segment::{Segment, error, find};
use crate::std_disk::StdDisk;

const PASSWORDS: &str = "passwords";
const PIECE: usize = 4 << 20;

/// A backup that was made.
#[derive(Clone, Debug, Default)]
pub struct Backup {
    /// Bytes copied.
    pub bytes: u64,
    /// The copy of each log, by its directory, as it was found when it was read back.
    pub logs: Vec<(PathBuf, Report)>,
}

/// Copies the data directory `from`, whether it is in use or not, to `to`, which must be empty or not there, and reads the copy
/// back. The copy is a data directory, whole or not accepted as one. So this also restores a backup.
///
/// # Errors
/// `from` is no data directory, `to` is not empty, or something cannot be read or written.
pub fn backup(from: &Path, to: &Path) -> Result<Backup, LogError> {
    if !read_format(from)? {
        let reason = "it has no file FORMAT".to_owned();
        return Err(LogError::NotADataDirectory { path: from.to_path_buf(), reason });
    }
    let lock = lock_in_common(from)?;
    make_empty(to)?;
    let mut copy = Copy { from: StdDisk::new(from), to: StdDisk::new(to), bytes: 0 };
    let logs = logs_in(from)?;
    for (dir, shard) in &logs {
        copy.log(dir, *shard)?;
    }
    drop(lock);
    copy_passwords(from, to).map_err(|source| error("copy", &from.join(PASSWORDS), source))?;
    let bytes = copy.bytes;
    let disk: Arc<dyn Disk> = Arc::new(copy.to);
    let check = |(dir, shard)| Ok((PathBuf::clone(&dir), check(&disk, &dir, shard, &mut |_| {})?));
    let logs = logs.into_iter().map(check).collect::<Result<_, LogError>>()?;
    // Last, as only with it the copy is a data directory.
    write_format(to).map_err(|source| error("write", to, source))?;
    Ok(Backup { bytes, logs })
}

fn lock_in_common(from: &Path) -> Result<Option<fs::File>, LogError> {
    let path = from.join(BACKUP_LOCK);
    let lock = match open_lock(&path) {
        Ok(lock) => lock,
        // Nobody can write there.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(None),
        Err(source) => return Err(error("open", &path, source)),
    };
    flock(&lock, FlockOperation::LockShared).map_err(|source| error("lock", &path, source.into()))?;
    Ok(Some(lock))
}

fn make_empty(to: &Path) -> Result<(), LogError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(to);
    let mut entries = made.and_then(|()| fs::read_dir(to)).map_err(|source| error("create", to, source))?;
    if entries.next().is_some() {
        return Err(error("copy to", to, io::ErrorKind::DirectoryNotEmpty.into()));
    }
    Ok(())
}

fn copy_passwords(from: &Path, to: &Path) -> io::Result<()> {
    let users = match fs::read(from.join(PASSWORDS)) {
        Ok(users) => users,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(to.join(PASSWORDS))?;
    io::Write::write_all(&mut file, &users)?;
    file.sync_all()
}

struct Copy {
    from: StdDisk,
    to: StdDisk,
    bytes: u64,
}

impl Copy {
    fn log(&mut self, dir: &Path, shard: u32) -> Result<(), LogError> {
        self.to.create_dir(dir).map_err(|source| error("create", dir, source))?;
        // The checkpoint before the list of segments: whatever it relies on is there by then.
        let checkpoint = dir.join(CHECKPOINT);
        match self.from.open(&checkpoint) {
            Ok(file) => self.file(&*file, &checkpoint, u64::MAX),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(source),
        }
        .map_err(|source| error("copy", &checkpoint, source))?;
        let (segments, _) = find(&self.from, dir, shard)?;
        for (index, segment) in segments.iter().enumerate() {
            let next = segments.get(index + 1);
            let copied = self.segment(segment, next.map(|next| segment.offset(next.first)))?;
            copied.map_err(|source| error("copy", &segment.path, source))?;
        }
        for dir in [dir, Path::new("")] {
            self.to.sync_dir(dir).map_err(|source| error("sync", dir, source))?;
        }
        Ok(())
    }

    /// Copies a segment up to `end`, or up to the last whole batch.
    fn segment(&mut self, segment: &Segment, end: Option<u64>) -> Result<io::Result<()>, LogError> {
        let file = match self.from.open(&segment.path) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let end = match end {
            Some(end) => Ok(end),
            None => whole_batches(&file, segment.page()?.salt),
        };
        Ok(end.and_then(|end| self.file(&*file, &segment.path, end)))
    }

    fn file(&mut self, from: &dyn File, path: &Path, end: u64) -> io::Result<()> {
        let to = self.to.create(path)?;
        let mut piece = vec![0; PIECE];
        let mut done = 0;
        while done < end {
            let wanted = (end - done).min(PIECE as u64) as usize;
            let read = from.read_at(piece.get_mut(..wanted).unwrap_or_default(), done)?;
            if read == 0 {
                break;
            }
            to.write_at(piece.get(..read).unwrap_or_default(), done)?;
            done += read as u64;
        }
        self.bytes += done;
        to.sync()
    }
}

/// The file offset behind the last whole batch. What is there before it does not change any more. If it is damage that follows, and
/// not the end, the length: the copy is to show the same damage.
fn whole_batches(file: &Arc<dyn File>, salt: u64) -> io::Result<u64> {
    let len = file.len()?;
    let from = |at| ChainReader::new(Arc::clone(file), salt, at, len);
    let mut reader = from(BODY);
    let mut before: Option<u64> = None;
    loop {
        let at = reader.at();
        if follows(&mut reader, &mut before)? {
            continue;
        }
        let is_later = |header: &BatchHeader| before.is_none_or(|before| header.number > before);
        if at >= len || from(at).search(is_later)?.is_none() {
            return Ok(at.min(len));
        }
        // The broker may have written both meanwhile, this one and the later one.
        reader = from(at);
        if !follows(&mut reader, &mut before)? {
            return Ok(len);
        }
    }
}

/// Moves over the next batch, if there is one that follows `before`.
fn follows(reader: &mut ChainReader, before: &mut Option<u64>) -> io::Result<bool> {
    match reader.next()? {
        Found::Batch(header, _) if before.is_none_or(|before| header.previous == before) => {
            *before = Some(header.number);
            Ok(true)
        }
        _ => Ok(false),
    }
}
