//! How fast the disk makes things durable: the unit in which durable results are to be read.
//!
//! A file is written once, so that its blocks are there; then 4 KiB of it are overwritten and synced
//! (`fdatasync`), again and again, by one thread. Nothing that confirms a message only once it is on this
//! disk can answer a lone publisher sooner than that.
//!
//! What is written to a disk is counted by its device. A process's own `write_bytes` (proc(5)) would be the
//! wrong account: it grows by a whole page-cache folio, up to megabytes, for every few bytes that are changed in one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{major, minor};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::engine::Histogram;

/// What a disk's `fdatasync` costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskSpeed {
    /// Syncs a second, one after the other.
    pub per_second: f64,
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
    /// CPU time of one write and its sync, in microseconds: what a message that has a sync of its own costs at
    /// least.
    #[serde(default)]
    pub cpu_us: f64,
}

/// The disk beside one run: just before and just after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskBeside {
    /// Before the server was started.
    pub before: DiskSpeed,
    /// After it was ended.
    pub after: DiskSpeed,
}

impl DiskBeside {
    /// The mean of both: what the run is judged by.
    pub fn mean(&self) -> DiskSpeed {
        let mean = |of: fn(&DiskSpeed) -> f64| f64::midpoint(of(&self.before), of(&self.after));
        DiskSpeed {
            per_second: mean(|speed| speed.per_second),
            p50_us: mean(|speed| speed.p50_us),
            p99_us: mean(|speed| speed.p99_us),
            cpu_us: mean(|speed| speed.cpu_us),
        }
    }
}

const FILE: usize = 1 << 20;
const PAGE: usize = 4096;

impl DiskSpeed {
    /// Measures the disk below `dir`, which is made if need be, for about `time`, and at least four syncs.
    ///
    /// # Errors
    /// When there is no space, or no file can be made there.
    pub fn measure(dir: &Path, time: Duration) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(format!("tercet-bench-fdatasync-{}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        let _removes = RemoveOnDrop(path);
        file.write_all_at(&vec![0; FILE], 0)?;
        file.sync_all()?;
        let mut syncs = Histogram::default();
        let (began, ran_before) = (Instant::now(), ran_us());
        while began.elapsed() < time || syncs.count() < 4 {
            let at = syncs.count() as usize * PAGE % FILE;
            let each = Instant::now();
            file.write_all_at(&[syncs.count() as u8; PAGE], at as u64)?;
            file.sync_data()?;
            syncs.record(u64::try_from(each.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        let cpu_us = (ran_us() - ran_before) / syncs.count() as f64;
        let us = |quantile| syncs.quantile(quantile) as f64 / 1000.0;
        let per_second = syncs.count() as f64 / began.elapsed().as_secs_f64();
        Ok(DiskSpeed { per_second, p50_us: us(0.5), p99_us: us(0.99), cpu_us })
    }
}

/// CPU time of this thread, in microseconds.
fn ran_us() -> f64 {
    let ran = clock_gettime(ClockId::ThreadCPUTime);
    ran.tv_sec as f64 * 1e6 + ran.tv_nsec as f64 / 1e3
}

/// The block device that a directory lies on.
#[derive(Debug, Clone)]
pub struct Device(PathBuf);

impl Device {
    /// The device of `dir`; `None` when that is none that the kernel accounts for (a network or memory file
    /// system).
    pub fn of(dir: &Path) -> Option<Self> {
        let device = fs::metadata(dir).ok()?.dev();
        let path = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
        let device = Device(path.into());
        device.written().map(|_| device)
    }

    /// Bytes written to it since the machine was started, by all processes and the file system itself.
    pub fn written(&self) -> Option<u64> {
        // Field 7 counts sectors of 512 bytes (Documentation/block/stat.rst).
        let text = fs::read_to_string(&self.0).ok()?;
        text.split_whitespace().nth(6)?.parse::<u64>().ok().map(|sectors| sectors * 512)
    }
}

struct RemoveOnDrop(PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_disk_has_speed_and_nothing_stays() {
        let dir = std::env::temp_dir().join(format!("tercet-bench-disk-{}", std::process::id()));
        let speed = DiskSpeed::measure(&dir, Duration::ZERO).unwrap();
        assert!(
            speed.per_second > 0.0
                && speed.p50_us > 0.0
                && speed.cpu_us > 0.0
                && speed.p99_us >= speed.p50_us,
            "{speed:?}"
        );
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir(&dir).unwrap();
        assert!(DiskSpeed::measure(Path::new("/dev/null"), Duration::ZERO).is_err());
    }

    #[test]
    fn a_device_counts_what_is_written() {
        assert!(Device::of(Path::new("/proc")).is_none());
        // Where the tests run may be in memory; a device that is there counts.
        if let Some(device) = Device::of(&std::env::temp_dir()) {
            assert!(device.written().is_some());
        }
    }

    #[test]
    fn a_run_is_judged_by_the_disk_before_and_after() {
        let speed =
            |p50_us| DiskSpeed { per_second: 1e6 / p50_us, p50_us, p99_us: 2.0 * p50_us, cpu_us: 20.0 };
        let beside = DiskBeside { before: speed(100.0), after: speed(200.0) };
        let mean = DiskSpeed { per_second: 7500.0, p50_us: 150.0, p99_us: 300.0, cpu_us: 20.0 };
        assert_eq!(beside.mean(), mean);
    }
}
