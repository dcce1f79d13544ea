//! What the scenarios about stored data share: ends and restarts of the server, and its directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{RunError, SETTLE};
use crate::engine::LoadError;
use crate::mqtt::{Connect, Fleet};
use crate::peers::{Promise, Server};

const MIB: f64 = 1048576.0;
/// Segments that nobody needs any more are gone after this.
const TIDY: Duration = Duration::from_secs(5);
const TIDY_SEGMENTS: usize = 2;

/// Figures by name.
pub(super) type Figures = BTreeMap<String, f64>;

/// From the start of the process to its answer to a client, after a kill, with the checkpoint that was there.
pub(super) const READY_AFTER_KILL: &str = "ready_after_kill_s";
/// The same when there is no checkpoint.
pub(super) const READY_WITHOUT_CHECKPOINT: &str = "ready_without_checkpoint_s";
/// The same after a stop on request, which leaves a fresh checkpoint behind.
pub(super) const READY_AFTER_STOP: &str = "ready_after_stop_s";

/// A client that finds out whether a server that was started is there again.
pub(super) trait Visitor {
    /// The server listens there now.
    fn redirect(&mut self, addr: SocketAddr);

    /// Gets an answer out of it, and leaves.
    fn visit(&mut self) -> Result<(), LoadError>;
}

impl Visitor for Fleet {
    fn redirect(&mut self, addr: SocketAddr) {
        Fleet::redirect(self, addr);
    }

    fn visit(&mut self) -> Result<(), LoadError> {
        let probe = self.connect_all(1, 1, |_| Connect::clean("restart-probe"))?;
        probe.into_iter().for_each(|probe| self.forget(probe));
        Ok(())
    }
}

/// Ends and starts the server in every way that it promises to survive. No client may be connected.
pub(super) fn restarts(server: &mut Server, visitor: &mut impl Visitor) -> Result<Figures, RunError> {
    let mut figures = Figures::new();
    if server.promise() == Promise::SurviveKill {
        server.kill();
        figures.insert(READY_AFTER_KILL.to_owned(), ready_again(server, visitor)?);
        server.kill();
        if server.data().is_some_and(forget_checkpoint) {
            figures.insert(READY_WITHOUT_CHECKPOINT.to_owned(), ready_again(server, visitor)?);
        } else {
            server.restart()?;
        }
    }
    if server.promise() != Promise::Nothing {
        let stop = Instant::now();
        server.terminate()?;
        figures.insert("stop_s".to_owned(), stop.elapsed().as_secs_f64());
        figures.insert(READY_AFTER_STOP.to_owned(), ready_again(server, visitor)?);
    }
    visitor.redirect(server.addr());
    Ok(figures)
}

/// Starts the server and returns the seconds until it has answered a client.
pub(super) fn ready_again(server: &mut Server, visitor: &mut impl Visitor) -> Result<f64, RunError> {
    let began = Instant::now();
    server.restart()?;
    visitor.redirect(server.addr());
    visitor.visit()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Bytes that the files below `dir` occupy.
pub(super) fn bytes_on_disk(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    // What was renamed or removed since the listing counts nothing.
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_on_disk(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// What is left on disk once everything is consumed, and how long the server took to get there, while `pass`
/// lets time pass.
pub(super) fn tidy(
    server: &Server,
    mut pass: impl FnMut(Duration) -> Result<(), LoadError>,
) -> Result<Figures, RunError> {
    let mut figures = Figures::new();
    let Some(data) = server.data() else { return Ok(figures) };
    let began = Instant::now();
    let left = || segments(data).map_or(0, |names| names.len());
    while left() > TIDY_SEGMENTS && began.elapsed() < TIDY {
        pass(SETTLE)?;
    }
    if segments(data).is_some() {
        figures.insert("segments_left".to_owned(), left() as f64);
        figures.insert("segments_left_after_s".to_owned(), began.elapsed().as_secs_f64());
    }
    figures.insert("disk_drained_mib".to_owned(), bytes_on_disk(data) as f64 / MIB);
    Ok(figures)
}

/// The names of the segments of Tercet's log; `None` when there is no such log.
fn segments(data: &Path) -> Option<Vec<String>> {
    let names = fs::read_dir(shard(data)).ok()?.flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    Some(names.filter(|name| name.ends_with(".seg")).collect())
}

fn shard(data: &Path) -> PathBuf {
    data.join("shard-0")
}

/// Where the first segment of a log begins from which nothing has been cut (in its name, hexadecimal). It may be a
/// few records long, if the first checkpoint was early.
const FIRST_SEGMENT: u64 = 0x40;

/// Removes the checkpoint of Tercet's log; false when the log is no longer complete, or not there.
///
/// The server must not run. A log that still has its first segment is complete: replaying all of it gives the
/// same state, and takes the longest that recovery can take.
fn forget_checkpoint(data: &Path) -> bool {
    let first = |name: &String| u64::from_str_radix(name.trim_end_matches(".seg"), 16).ok();
    let complete = segments(data).and_then(|names| names.iter().filter_map(first).min());
    if complete != Some(FIRST_SEGMENT) {
        return false;
    }
    match fs::remove_file(shard(data).join("checkpoint")) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_only_removed_from_a_complete_log() {
        let data = std::env::temp_dir().join(format!("tercet-bench-restart-{}", std::process::id()));
        let shard = shard(&data);
        fs::create_dir_all(&shard).unwrap();
        assert_eq!(segments(Path::new("/nonexistent")), None);
        assert!(!forget_checkpoint(&data), "there is no log");
        let write = |name: &str| fs::write(shard.join(name), [0; 5000]).unwrap();
        write("checkpoint");
        write("spare.seg");
        write("0000000000000080.seg");
        assert!(!forget_checkpoint(&data), "its beginning is gone");
        assert!(shard.join("checkpoint").exists());
        write("0000000000000040.seg");
        assert!(forget_checkpoint(&data));
        assert!(!shard.join("checkpoint").exists());
        assert_eq!(segments(&data).map(|names| names.len()), Some(3));
        assert!(bytes_on_disk(&data) >= 15_000);
        fs::remove_dir_all(&data).unwrap();
    }
}
