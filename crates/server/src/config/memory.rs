//! How much memory the process may use: the machine's, or less when a control group says so.

use std::fs;
use std::path::Path;

use super::quantity::Size;
use super::setting::Auto;
use super::{Limits, Server};

/// Part of the memory that messages and sessions may fill, in percent; the rest is for buffers,
/// connections and the allocator.
const SHARE_PERCENT: u64 = 70;

/// Assumed when the system does not say how much memory it has.
const UNKNOWN: u64 = 1 << 30;

impl Limits {
    /// Bytes that messages and sessions may fill before publishers are slowed down: `limits.memory`, or
    /// 70 % of what the machine or its control group grants.
    pub fn memory_budget(&self) -> Size {
        match self.memory {
            Auto::Set(size) => size,
            Auto::Auto => Size::from_bytes(granted(Path::new("/")) / 100 * SHARE_PERCENT),
        }
    }

    /// Bytes that messages may fill that are on disk as well: `limits.message-memory`, or a quarter of the memory budget
    /// if that is less.
    pub fn message_memory_budget(&self) -> Size {
        Size::from_bytes(self.message_memory.bytes().min(self.memory_budget().bytes() / 4))
    }
}

impl Server {
    /// Threads that serve connections: `server.threads`, or one per core available to the process
    /// (affinity and control group considered).
    pub fn thread_count(&self) -> usize {
        match self.threads {
            Auto::Set(threads) => threads.get(),
            Auto::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// The smallest of the machine's memory and every limit of the control group and its parents; `root` is
/// where `/proc` and `/sys` are.
fn granted(root: &Path) -> u64 {
    let limits = machine(root).into_iter().chain(control_group(root));
    limits.min().unwrap_or(UNKNOWN)
}

fn machine(root: &Path) -> Option<u64> {
    let info = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn control_group(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => smallest(&root.join("sys/fs/cgroup"), group, "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                smallest(&root.join("sys/fs/cgroup/memory"), group, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.min()
}

/// The smallest limit of `group` and its parents. Inside a container the group itself may not be visible
/// under its name, but the root of the hierarchy is then the container's own group.
fn smallest(hierarchy: &Path, group: &str, file: &str) -> Option<u64> {
    let below = Path::new(group.trim_start_matches('/'));
    let limit = |group: &Path| {
        let text = fs::read_to_string(hierarchy.join(group).join(file)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    below.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       1024 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_smallest_limit_counts() {
        const MIB: u64 = 1 << 20;
        for (files, expected) in [
            (&[][..], UNKNOWN),
            (&[MEMINFO], MIB),
            (&[MEMINFO, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/memory.max", "max\n")], MIB),
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "5000\n"),
                    ("sys/fs/cgroup/a/memory.max", "4000\n"),
                ],
                4000,
            ),
            (&[MEMINFO, ("proc/self/cgroup", "0::/hidden\n"), ("sys/fs/cgroup/memory.max", "3000\n")], 3000),
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n"),
                    ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2000\n"),
                ],
                2000,
            ),
        ] {
            assert_eq!(granted(tree(files).path()), expected, "{files:?}");
        }
    }

    #[test]
    fn what_is_set_wins() {
        let limits = Limits { memory: Auto::Set(Size::from_mib(5)), ..Limits::default() };
        assert_eq!(limits.memory_budget(), Size::from_mib(5));
        assert!(Limits::default().memory_budget().bytes() > 0);
        assert_eq!(limits.message_memory_budget(), Size::from_kib(1280));
        let little = Limits { message_memory: Size::from_mib(1), ..limits };
        assert_eq!(little.message_memory_budget(), Size::from_mib(1));
        assert!(Server::default().thread_count() >= 1);
    }
}
