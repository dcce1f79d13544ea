//! What a process holds, from `/proc`.

use std::fs;

/// Anonymous resident memory in bytes: what the program itself allocated, without its code and files.
#[must_use]
pub fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux says RssAnon");
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
