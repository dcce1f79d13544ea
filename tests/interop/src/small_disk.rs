//! A file system with little space, on which brokers keep their data.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::Broker;
use crate::broker::{binary, new_directory};

/// Mounted in a namespace of its own, at `data` in a directory, and gone when it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// Keeps the namespace as long as its standard input is open.
    holder: Child,
    directory: Arc<TempDir>,
}

impl SmallDisk {
    /// A file system of so much space; `None` where a process may not mount one.
    #[must_use]
    pub fn new(mebibytes: usize) -> Option<Self> {
        let directory = new_directory();
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("the directory is new");
        let mount = format!("mount -t tmpfs -o size={mebibytes}m none \"$0\" && echo mounted && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let read = holder.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        let disk = Self { holder, directory };
        (read.is_some_and(|read| read.is_ok()) && line == "mounted\n").then_some(disk)
    }

    /// A broker that keeps its data there and finds what an earlier one left.
    #[must_use]
    pub fn start(&self, toml: &str) -> Broker {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "--target"]);
        command.arg(self.holder.id().to_string()).arg(binary());
        Broker::durable_by(command, &self.directory, toml)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
