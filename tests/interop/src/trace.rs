//! What a process asked of the operating system, as `strace` saw it.
//!
//! A system call is an event when it begins and another when it ends; between the two, other threads have theirs. The
//! order of the file is the order in which they happened.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Name.
    pub name: String,
    /// Arguments as `strace` prints them; descriptors with what they stand for in angle brackets.
    pub arguments: String,
    /// What it returned, as printed.
    pub result: String,
    /// Number of the event with which it began.
    pub began: usize,
    /// Number of the event with which it ended.
    pub ended: usize,
}

impl Call {
    /// Whether it is about the log: a segment that is in use.
    #[must_use]
    pub fn is_on_segment(&self) -> bool {
        self.target().is_some_and(|path| path.ends_with(".seg") && !path.ends_with("spare.seg"))
    }

    /// Whether it is about a file below `directory`.
    #[must_use]
    pub fn is_below(&self, directory: &Path) -> bool {
        self.target().is_some_and(|path| Path::new(path).starts_with(directory))
    }

    /// Whether it writes a batch of records.
    #[must_use]
    pub fn writes_batch(&self) -> bool {
        self.name.starts_with("pwrite") && self.is_on_segment() && self.arguments.contains("\"1CRT")
    }

    /// Whether it makes a file durable.
    #[must_use]
    pub fn is_sync(&self) -> bool {
        self.name == "fdatasync" || self.name == "fsync"
    }

    /// Whether it sends to a peer.
    #[must_use]
    pub fn sends(&self) -> bool {
        matches!(self.name.as_str(), "write" | "writev" | "sendto" | "sendmsg")
            && self.target().is_some_and(|target| target.starts_with("TCP:") || target.starts_with("socket:"))
    }

    /// Whether it failed with this error.
    #[must_use]
    pub fn failed_with(&self, error: &str) -> bool {
        self.result.starts_with("-1") && self.result.contains(error)
    }

    /// What the first argument's descriptor stands for.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        let (_, rest) = self.arguments.split_once('<')?;
        // A connection has an arrow in its name.
        let end = rest.find(">,").or_else(|| rest.rfind('>'))?;
        rest.get(..end)
    }
}

/// The command that runs `program` under `strace`, itself being the child, not the tracer. `injections` are faults in the
/// notation of its option `-e inject=`; a count in one counts the calls of each thread on its own.
#[must_use]
pub fn strace(file: &Path, calls: &str, injections: &[&str], program: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "--seccomp-bpf", "-qq", "-yy", "-s", "256", "-o"]);
    command.arg(file).arg("-e").arg(format!("trace={calls}")).args(["-e", "signal=none"]);
    for injection in injections {
        command.arg("-e").arg(format!("inject={injection}"));
    }
    command.arg(program);
    command
}

/// The calls that have ended, in the order of their ends.
///
/// # Panics
/// If there is no such file.
#[must_use]
pub fn read(file: &Path) -> Vec<Call> {
    let bytes = fs::read(file).expect("strace has written the file; it needs the permission to trace");
    let text = String::from_utf8_lossy(&bytes);
    let mut begun: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, event)) = line.split_once(' ') else { continue };
        let event = event.trim_start();
        let (began, whole) = if let Some(start) = event.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (number, start.to_owned()));
            continue;
        } else if let Some(rest) = event.strip_prefix("<... ") {
            let Some((began, start)) = begun.remove(thread) else { continue };
            let rest = rest.split_once(" resumed>").map_or("", |(_, rest)| rest);
            (began, start + rest)
        } else {
            (number, event.to_owned())
        };
        let Some((name, rest)) = whole.split_once('(') else { continue };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else { continue };
        let arguments = arguments.trim_end().trim_end_matches(')').to_owned();
        calls.push(Call {
            name: name.to_owned(),
            arguments,
            result: result.to_owned(),
            began,
            ended: number,
        });
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_several_threads_are_put_together() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("trace");
        let text = "7 pwrite64(5</d/shard-0/0000000000000040.seg>, \"1CRT\\20\"..., 96, 4096 <unfinished ...>\n\
            8 sendto(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"@\\2\\0\\1\", 4, MSG_NOSIGNAL, NULL, 0) = 4\n\
            7 <... pwrite64 resumed>)           = 96\n\
            7 fdatasync(5</d/shard-0/spare.seg>) = 0\n\
            8 +++ killed by SIGKILL +++\n";
        fs::write(&file, text).unwrap();
        let calls = read(&file);
        assert_eq!(calls.len(), 3);
        assert!(calls[0].sends() && !calls[0].is_on_segment());
        assert_eq!((calls[1].began, calls[1].ended, calls[1].result.as_str()), (0, 2, "96"));
        assert!(calls[1].writes_batch() && calls[1].is_below(Path::new("/d")));
        assert!(calls[2].is_sync() && !calls[2].is_on_segment());
    }
}
