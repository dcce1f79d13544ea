//! What a process has used, from `/proc`.

use std::collections::BTreeMap;
use std::fs;

/// A process's CPU time and memory at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, in nanoseconds.
    pub cpu_ns: u64,
    /// Time that its threads, ready to run, waited for a core, in nanoseconds.
    pub waited_ns: u64,
    /// Resident memory, in bytes.
    pub rss: u64,
    /// The most resident memory that it ever had, in bytes.
    pub peak: u64,
    /// Resident anonymous memory (heap, stacks; no files, no kernel socket buffers), in bytes.
    pub anonymous: u64,
    /// Number of threads.
    pub threads: u64,
}

impl Usage {
    /// Reads the process's figures; `None` when it does not exist.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let scheduled = Scheduled::of(pid);
        Some(Usage {
            cpu_ns: cpu_ns(pid, scheduled)?,
            waited_ns: scheduled.map_or(0, |scheduled| scheduled.waited_ns),
            rss: field(&status, "VmRSS:").unwrap_or(0) * 1024,
            peak: field(&status, "VmHWM:").unwrap_or(0) * 1024,
            anonymous: field(&status, "RssAnon:").unwrap_or(0) * 1024,
            threads: field(&status, "Threads:").unwrap_or(0),
        })
    }

    /// The figures of a process and all its descendants together; `None` when it does not exist.
    pub fn of_tree(pid: u32) -> Option<Self> {
        let mut total = Usage::of(pid)?;
        for child in children_of(pid) {
            // One that has ended since does not count.
            let Some(of_child) = Usage::of_tree(child) else { continue };
            total = Usage {
                cpu_ns: total.cpu_ns + of_child.cpu_ns,
                waited_ns: total.waited_ns + of_child.waited_ns,
                rss: total.rss + of_child.rss,
                peak: total.peak + of_child.peak,
                anonymous: total.anonymous + of_child.anonymous,
                threads: total.threads + of_child.threads,
            };
        }
        Some(total)
    }

    /// CPU seconds since `earlier`.
    pub fn cpu_seconds_since(&self, earlier: &Usage) -> f64 {
        self.cpu_ns.saturating_sub(earlier.cpu_ns) as f64 / 1e9
    }

    /// Seconds of waiting for a core since `earlier`.
    pub fn waited_seconds_since(&self, earlier: &Usage) -> f64 {
        self.waited_ns.saturating_sub(earlier.waited_ns) as f64 / 1e9
    }
}

/// The processes that a process's threads have started and that still run.
fn children_of(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    children
}

/// CPU time in nanoseconds of a process's threads by name; those that differ only in a number are one.
pub type Threads = BTreeMap<String, u64>;

/// Looks at the threads alive; empty when the process does not exist.
pub fn threads_of(pid: u32) -> Threads {
    let mut threads = Threads::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let read = |file| fs::read_to_string(task.path().join(file)).ok();
        // A thread that ended since the listing has neither.
        let (Some(name), Some(ran)) = (read("comm"), read("schedstat")) else { continue };
        let ran = ran.split_whitespace().next().and_then(|ran| ran.parse::<u64>().ok()).unwrap_or(0);
        *threads.entry(without_number(name.trim()).to_owned()).or_default() += ran;
    }
    threads
}

/// `reactor` of `reactor-11`.
fn without_number(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((name, number)) if number.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => name,
    }
}

/// The larger of two accounts of the same time: `stat` has ticks of 10 ms and includes ended threads,
/// `schedstat` has nanoseconds and only the threads alive.
fn cpu_ns(pid: u32, scheduled: Option<Scheduled>) -> Option<u64> {
    let ticks = ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let coarse = ticks * tick_ns;
    let Some(Scheduled { ran_ns, .. }) = scheduled else { return Some(coarse) };
    // More than a tick apart: threads have ended meanwhile and took their account with them.
    Some(if coarse > ran_ns + 2 * tick_ns { coarse } else { ran_ns })
}

/// The scheduler's account of all threads alive.
#[derive(Debug, Clone, Copy, Default)]
struct Scheduled {
    ran_ns: u64,
    waited_ns: u64,
}

impl Scheduled {
    fn of(pid: u32) -> Option<Self> {
        let mut total = Scheduled::default();
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            // A thread that ended since the listing.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let mut fields = text.split_whitespace();
            total.ran_ns += fields.next()?.parse::<u64>().ok()?;
            total.waited_ns += fields.next()?.parse::<u64>().ok()?;
        }
        (total.ran_ns > 0).then_some(total)
    }
}

/// utime and stime, fields 14 and 15 of proc(5) stat; the command (field 2) may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_an_odd_command_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(ticks("42 (a) S 1"), None);
        assert_eq!(field("VmRSS:\t  12 kB\nRssAnon:\t    8 kB\n", "RssAnon:"), Some(8));
    }

    #[test]
    fn threads_are_told_by_name_without_number() {
        for (name, expected) in [("reactor-11", "reactor"), ("log-commit", "log-commit"), ("log", "log")] {
            assert_eq!(without_number(name), expected);
        }
        assert!(threads_of(std::process::id()).values().sum::<u64>() > 0);
        assert!(threads_of(u32::MAX).is_empty());
    }

    #[test]
    fn this_process_uses_memory_and_an_absent_one_nothing() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss >= usage.anonymous && usage.anonymous > 0 && usage.threads > 0);
        assert_eq!(Usage::of(u32::MAX), None);
    }

    #[test]
    fn what_a_process_has_started_counts_too() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, tree) = (Usage::of(std::process::id()), Usage::of_tree(std::process::id()));
        let counted = children_of(std::process::id()).contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(counted && tree.unwrap().threads > own.unwrap().threads);
        assert_eq!(Usage::of_tree(u32::MAX), None);
    }
}
