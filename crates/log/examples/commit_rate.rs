//! How fast the log confirms: threads that serve closed-loop publishers, each with a window of records in flight, as
//! reactors do.
//!
//! ```text
//! cargo run --release -p tercet-log --example commit_rate -- [DIRECTORY] [SECONDS]
//! ```
//! The rate of `fdatasync` on a file whose blocks are written already is measured before and after: no log can commit
//! faster than that, and the disk of a shared machine is not the same one from minute to minute.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tercet_log::engine::ShardLog;
use tercet_log::group_commit::{Admission, GroupCommit, Settings, Urgency};
use tercet_log::local::{DataDirectory, LocalOptions};
use tercet_log::position::Position;
use tercet_log::record::{RecordHeader, write_record};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(2.0);
    let directory = tempfile::Builder::new().prefix("commit-rate-").tempdir_in(directory)?;
    let threads = thread::available_parallelism()?.get();
    say(&format!("{threads} threads, {seconds} s each; raw fdatasync of 4 KiB: {}", raw(directory.path())?));
    say(
        "publishers window bytes |  commits/s  records/s  rec/commit  us CPU/rec |  p50 ms  p99 ms | ms/append",
    );
    for (publishers, window, bytes) in [
        (1, 1, 100),
        (1, 16, 100),
        (16, 1, 100),
        (64, 1, 1024),
        (64, 16, 1024),
        (1000, 1, 100),
        (1000, 16, 100),
        (1000, 16, 1024),
    ] {
        let run = Run { threads, publishers, window, bytes, duration: Duration::from_secs_f64(seconds) };
        let log = tempfile::tempdir_in(directory.path())?;
        say(&run.measure(log.path())?);
    }
    say(&format!("raw fdatasync of 4 KiB: {}", raw(directory.path())?));
    Ok(())
}

#[allow(clippy::print_stdout)]
fn say(line: &str) {
    println!("{line}");
}

/// One measurement.
#[derive(Clone, Copy)]
struct Run {
    threads: usize,
    publishers: usize,
    window: usize,
    bytes: usize,
    duration: Duration,
}

impl Run {
    fn measure(&self, directory: &Path) -> Result<String, Box<dyn std::error::Error>> {
        let log = Arc::new(DataDirectory::open(directory)?.open_shard(0, LocalOptions::default())?);
        let claim = log.claim()?;
        let commit = GroupCommit::new(Arc::clone(&log) as Arc<dyn ShardLog>, claim, Settings::default());
        let stop = AtomicBool::new(false);
        let (mut latencies, before, began) = (Vec::new(), cpu_time(), Instant::now());
        let elapsed = thread::scope(|scope| -> std::io::Result<Duration> {
            let servers: Vec<_> = (0..self.threads)
                .map(|index| {
                    let (commit, stop) = (&*commit, &stop);
                    // Publishers are dealt out; a thread without any has nothing to do.
                    let share = (self.publishers + self.threads - 1 - index) / self.threads;
                    scope.spawn(move || self.serve(commit, share * self.window, stop))
                })
                .collect();
            let wake: Vec<_> = servers.iter().map(|server| server.thread().clone()).collect();
            let committer = commit.start(Box::new(move |_| wake.iter().for_each(thread::Thread::unpark)))?;
            thread::sleep(self.duration);
            stop.store(true, Ordering::Release);
            for server in servers {
                server.thread().unpark();
                latencies.extend(server.join().unwrap_or_default());
            }
            let elapsed = began.elapsed();
            drop(committer);
            Ok(elapsed)
        })?;
        let cpu = cpu_time().saturating_sub(before);
        let statistics = commit.statistics();
        let (commits, records) = (statistics.commits.max(1) as f64, statistics.records.max(1) as f64);
        latencies.sort_unstable();
        let percentile = |share: usize| {
            latencies.get(latencies.len() * share / 100).map_or(0.0, |micros: &u32| f64::from(*micros) / 1e3)
        };
        Ok(format!(
            "{:>10} {:>6} {:>5} | {:>10.0} {:>10.0} {:>11.1} {:>11.2} | {:>7.2} {:>7.2} | {:>9.3}",
            self.publishers,
            self.window,
            self.bytes,
            commits / elapsed.as_secs_f64(),
            records / elapsed.as_secs_f64(),
            records / commits,
            cpu.as_secs_f64() * 1e6 / records,
            percentile(50),
            percentile(99),
            statistics.appending.as_secs_f64() * 1e3 / commits,
        ))
    }

    /// A reactor: confirms what is durable; every confirmed record is followed by another one. Returns latencies in
    /// microseconds.
    fn serve(&self, commit: &GroupCommit, in_flight: usize, stop: &AtomicBool) -> Vec<u32> {
        let header = RecordHeader { kind: 1, version: 1, must_understand: true };
        let body = vec![0x5a; self.bytes];
        let mut waiting: VecDeque<(Position, Instant)> = VecDeque::new();
        let mut latencies = Vec::new();
        while !stop.load(Ordering::Acquire) {
            let (now, durable) = (Instant::now(), commit.durable());
            while let Some((_, since)) = waiting.pop_front_if(|(position, _)| *position <= durable) {
                latencies.push((now - since).as_micros() as u32);
            }
            if commit.admission() == Admission::Open {
                while waiting.len() < in_flight {
                    let write = |out: &mut Vec<u8>| out.extend_from_slice(&body);
                    let (place, ()) = commit.together(|| {
                        commit.stage(Urgency::Urgent, |out, _| write_record(out, header, write))
                    });
                    waiting.push_back((place.batch, now));
                }
            }
            commit.flush();
            thread::park();
        }
        latencies
    }
}

/// Syncs per second of a file whose blocks are on the disk.
fn raw(directory: &Path) -> std::io::Result<String> {
    const BLOCK: usize = 4096;
    const BLOCKS: u64 = 2048;
    let file = File::create(directory.join("raw"))?;
    let block = vec![1; BLOCK];
    for index in 0..BLOCKS {
        file.write_all_at(&block, index * BLOCK as u64)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    let began = Instant::now();
    for index in (0..BLOCKS).cycle() {
        let start = Instant::now();
        file.write_all_at(&block, index * BLOCK as u64)?;
        file.sync_data()?;
        times.push(start.elapsed());
        if began.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(format!("{rate:.0}/s, p50 {:.3} ms", median.as_secs_f64() * 1e3))
}

/// CPU time of this process, from the scheduler's accounts of its threads.
fn cpu_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // utime and stime, in ticks of 10 ms, are fields 14 and 15; the name in field 2 may contain spaces.
    let fields = statistics.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
