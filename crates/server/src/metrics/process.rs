//! What the operating system says about the process. Values that it does not tell stay `None`.

use std::fs;
use std::time::Duration;

/// The process as the operating system sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Resident memory in bytes.
    pub resident: Option<u64>,
    /// Resident memory that belongs to no file, in bytes.
    pub anonymous: Option<u64>,
    /// Virtual memory in bytes.
    pub virtual_memory: Option<u64>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// File descriptors that may be open.
    pub max_files: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Processor time used, in user mode and in the kernel.
    pub cpu: Option<Duration>,
}

impl Process {
    /// Asks the operating system; Linux answers everything, others nothing.
    #[must_use]
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            resident: kibibytes(&status, "VmRSS:"),
            anonymous: kibibytes(&status, "RssAnon:"),
            virtual_memory: kibibytes(&status, "VmSize:"),
            // One of them belongs to the listing itself.
            open_files: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|files| (files.count() as u64).saturating_sub(1)),
            max_files: number(&limits, "Max open files"),
            threads: number(&status, "Threads:"),
            cpu: cpu_time(),
        }
    }
}

/// The first number behind `key` at the beginning of a line.
fn number(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    number(text, key).map(|kib| kib * 1024)
}

/// Sums up what the scheduler accounts to each thread, in nanoseconds (`/proc/PID/task/TID/schedstat`), which needs
/// no knowledge of the length of a clock tick. Threads that have ended are not in it; ours live as long as we do.
fn cpu_time() -> Option<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        let path = task.path().join("schedstat");
        let text = fs::read_to_string(path).ok()?;
        nanos += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_the_beginning_of_their_line() {
        let status = "Name:\ttercet\nVmSize:\t  2048 kB\nVmRSS:\t    12 kB\nThreads:\t5\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(12 * 1024));
        assert_eq!(number(status, "Threads:"), Some(5));
        assert_eq!(number(status, "RssAnon:"), None);
        assert_eq!(
            number("Max open files            1024      unlimited    files\n", "Max open files"),
            Some(1024)
        );
        assert_eq!(
            number("Max open files            unlimited unlimited    files\n", "Max open files"),
            None
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_everything() {
        let process = Process::read();
        assert!(process.resident.is_some_and(|bytes| bytes > 0), "{process:?}");
        assert!(process.anonymous <= process.resident, "{process:?}");
        assert!(process.open_files.is_some_and(|files| files >= 3), "{process:?}");
        assert!(process.threads.is_some_and(|threads| threads >= 1), "{process:?}");
        assert!(process.cpu.is_some_and(|time| time > Duration::ZERO), "{process:?}");
    }
}
