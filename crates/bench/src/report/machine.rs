//! Where a result was measured.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine and how busy it was.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Processor model.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Load average over one minute, when the measurement began.
    pub load_before: f64,
    /// The same when it ended.
    pub load_after: f64,
    /// Open files allowed to each process.
    pub open_files: u64,
}

impl Machine {
    /// Looks at this machine.
    pub fn current(open_files: u64) -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kib: u64 =
            value_of(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
        Machine {
            processor: value_of(&processors, "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib / 1024,
            kernel: kernel.trim().to_owned(),
            load_before: load_average(),
            load_after: 0.0,
            open_files,
        }
    }

    /// Notes how busy the machine is at the end.
    pub fn finish(&mut self) {
        self.load_after = load_average();
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        format!(
            "{} cores ({}), {} MiB, Linux {}, load average {:.2} before and {:.2} after, {} open files",
            self.cores,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.load_before,
            self.load_after,
            self.open_files
        )
    }
}

/// The load average over one minute; 0 when unknown.
fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_once(':').map(|(_, value)| value.trim())
}
