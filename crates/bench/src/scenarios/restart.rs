//! What the scenarios about stored data share: ends and restarts of the server, and its directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::RunError;
use crate::mqtt::{Connect, Fleet};
use crate::peers::{Promise, Server};

/// Figures by name.
pub(super) type Figures = BTreeMap<String, f64>;

/// From the start of the process to its answer to a client, after a kill, with the checkpoint that was there.
pub(super) const READY_AFTER_KILL: &str = "ready_after_kill_s";
/// The same when there is no checkpoint.
pub(super) const READY_WITHOUT_CHECKPOINT: &str = "ready_without_checkpoint_s";
/// The same after a stop on request, which leaves a fresh checkpoint behind.
pub(super) const READY_AFTER_STOP: &str = "ready_after_stop_s";

/// Ends and starts the server in every way that it promises to survive. No client may be connected.
pub(super) fn restarts(server: &mut Server, fleet: &mut Fleet) -> Result<Figures, RunError> {
    let mut figures = Figures::new();
    if server.promise() == Promise::SurviveKill {
        server.kill();
        figures.insert(READY_AFTER_KILL.to_owned(), ready_again(server, fleet)?);
        server.kill();
        if server.data().is_some_and(forget_checkpoint) {
            figures.insert(READY_WITHOUT_CHECKPOINT.to_owned(), ready_again(server, fleet)?);
        } else {
            server.restart()?;
        }
    }
    if server.promise() != Promise::Nothing {
        let stop = Instant::now();
        server.terminate()?;
        figures.insert("stop_s".to_owned(), stop.elapsed().as_secs_f64());
        figures.insert(READY_AFTER_STOP.to_owned(), ready_again(server, fleet)?);
    }
    fleet.redirect(server.addr());
    Ok(figures)
}

/// Starts the server and returns the seconds until it has answered a client's CONNECT.
pub(super) fn ready_again(server: &mut Server, fleet: &mut Fleet) -> Result<f64, RunError> {
    let began = Instant::now();
    server.restart()?;
    fleet.redirect(server.addr());
    let probe = fleet.connect_all(1, 1, |_| Connect::clean("restart-probe"))?;
    let seconds = began.elapsed().as_secs_f64();
    probe.into_iter().for_each(|probe| fleet.forget(probe));
    Ok(seconds)
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

/// The names of the segments of Tercet's log; `None` when there is no such log.
pub(super) fn segments(data: &Path) -> Option<Vec<String>> {
    let names = fs::read_dir(shard(data)).ok()?.flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    Some(names.filter(|name| name.ends_with(".seg")).collect())
}

fn shard(data: &Path) -> PathBuf {
    data.join("shard-0")
}

/// The first segment of a log from which nothing has been cut begins below this (in its name, hexadecimal).
const FIRST_SEGMENT_BELOW: u64 = 4096;

/// Removes the checkpoint of Tercet's log; false when the log is no longer complete, or not there.
///
/// The server must not run. A log that still has its first segment is complete: replaying all of it gives the
/// same state, and takes the longest that recovery can take.
fn forget_checkpoint(data: &Path) -> bool {
    let first = |name: &String| u64::from_str_radix(name.trim_end_matches(".seg"), 16).ok();
    let complete = segments(data).and_then(|names| names.iter().filter_map(first).min());
    if complete.is_none_or(|first| first >= FIRST_SEGMENT_BELOW) {
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
        write("0000000000100000.seg");
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
