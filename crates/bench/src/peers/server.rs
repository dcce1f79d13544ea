//! A running server: its process, its directory, and their end.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::usage::Usage;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The program cannot be run.
    #[error("{program} cannot be started: {source} ({hint})")]
    Missing {
        /// What was to be run.
        program: String,
        /// Why not.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The program ended or stayed silent.
    #[error("{program} did not get ready: {reason}\n{output}")]
    NotReady {
        /// What was run.
        program: String,
        /// Why it is not ready.
        reason: String,
        /// The last lines of its output.
        output: String,
    },
    /// Our own files or sockets failed.
    #[error("preparing a server: {0}")]
    Io(#[from] io::Error),
}

/// A server under test, ended on drop.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    pid: Option<u32>,
    /// `None` for a server that somebody else runs.
    child: Option<Child>,
    _dir: Option<TempDir>,
}

const READY_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(5);

impl Server {
    /// A server that somebody else started; it is left running.
    pub fn attached(addr: SocketAddr, pid: Option<u32>) -> Self {
        Server { addr, pid, child: None, _dir: None }
    }

    /// Where it listens for MQTT.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its CPU time and memory; `None` when the process is not known (or gone).
    pub fn usage(&self) -> Option<Usage> {
        Usage::of(self.pid?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process that is not known to be ready yet; ended on drop unless it becomes a [`Server`].
#[derive(Debug)]
pub(super) struct Launch {
    program: String,
    child: Option<Child>,
    dir: Option<TempDir>,
    began: Instant,
}

impl Launch {
    /// Starts `command` with its output in a file of `dir`.
    pub(super) fn start(mut command: Command, dir: TempDir, hint: &'static str) -> Result<Self, PeerError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::create(dir.path().join("output"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().map_err(|source| PeerError::Missing {
            program: program.clone(),
            source,
            hint,
        })?;
        Ok(Launch { program, child: Some(child), dir: Some(dir), began: Instant::now() })
    }

    /// Asks `probe` for the address until it has one that accepts connections.
    pub(super) fn await_ready(
        mut self,
        probe: impl Fn(&Path) -> Option<SocketAddr>,
    ) -> Result<Server, PeerError> {
        loop {
            let addr = self.dir.as_ref().and_then(|dir| probe(dir.path()));
            if let Some(addr) = addr.filter(|addr| TcpStream::connect(addr).is_ok()) {
                let child = self.child.take();
                let pid = child.as_ref().map(Child::id);
                return Ok(Server { addr, pid, child, _dir: self.dir.take() });
            }
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if let Some(status) = ended {
                return Err(self.failure(format!("it ended with {status}")));
            }
            if self.began.elapsed() > READY_WITHIN {
                return Err(self.failure(format!("nothing listened within {} s", READY_WITHIN.as_secs())));
            }
            std::thread::sleep(POLL);
        }
    }

    fn failure(&self, reason: String) -> PeerError {
        let output = self.dir.as_ref().and_then(|dir| fs::read_to_string(dir.path().join("output")).ok());
        let output = output.unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n");
        PeerError::NotReady { program: self.program.clone(), reason, output: tail }
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A directory that is removed on drop.
#[derive(Debug)]
pub(super) struct TempDir(PathBuf);

static DIRS: AtomicU32 = AtomicU32::new(0);

impl TempDir {
    pub(super) fn create(purpose: &str) -> io::Result<Self> {
        let number = DIRS.fetch_add(1, Ordering::Relaxed);
        let name = format!("tercet-bench-{purpose}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(TempDir(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A loopback port that was free a moment ago, for servers that cannot choose one themselves.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// What a program prints when asked for its version; the first line that has a digit.
pub(super) fn version_of(program: &str, flag: &str) -> String {
    let printed = Command::new(program).arg(flag).stdin(Stdio::null()).output();
    let Ok(printed) = printed else { return "not installed".to_owned() };
    let text = [printed.stdout, printed.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()));
    line.unwrap_or("unknown").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_words_and_leaves_nothing() {
        let dir = TempDir::create("test").unwrap();
        let path = dir.path().to_owned();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck; exit 3"]);
        let launch = Launch::start(command, dir, "").unwrap();
        let error = launch.await_ready(|_| None).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such luck"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_program_is_reported_with_the_hint() {
        let dir = TempDir::create("test").unwrap();
        let command = Command::new("/nonexistent/server");
        let error = Launch::start(command, dir, "build it").unwrap_err().to_string();
        assert!(error.contains("build it"), "{error}");
        assert_eq!(version_of("/nonexistent/server", "-v"), "not installed");
    }
}
