//! A running server: its process, its directory, its end and its restart.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::usage::{Threads, Usage, threads_of};
use super::{Promise, Protocol};
use crate::coap::wire::{self, Kind};

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
    /// The program did not end when it was asked to.
    #[error("{program} did not end within {seconds} s of SIGTERM")]
    NotEnding {
        /// What was run.
        program: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A server that somebody else runs cannot be ended or started again.
    #[error("this server is not ours to restart")]
    NotOurs,
    /// Our own files or sockets failed.
    #[error("preparing a server: {0}")]
    Io(#[from] io::Error),
}

/// A server under test, ended on drop.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    pid: Option<u32>,
    /// `None` for a server that somebody else runs, and while it is stopped.
    child: Option<Child>,
    /// How it was started; `None` for a server that somebody else runs.
    launch: Option<Launch>,
}

/// Loading a large file of stored messages is part of getting ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Writing one is part of ending.
const ENDED_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(2);

impl Server {
    /// A server that somebody else started; it is left running.
    pub fn attached(addr: SocketAddr, pid: Option<u32>) -> Self {
        Server { addr, pid, child: None, launch: None }
    }

    /// Where it listens for the protocol that it was started for; another address after a restart.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The CPU time and memory of its process and all that this has started; `None` when it is not known (or
    /// gone).
    pub fn usage(&self) -> Option<Usage> {
        Usage::of_tree(self.pid?)
    }

    /// What its threads have used; empty when the process is not known.
    pub fn threads(&self) -> Threads {
        self.pid.map(threads_of).unwrap_or_default()
    }

    /// The directory in which it keeps what must survive; `None` for one in memory or not ours.
    pub fn data(&self) -> Option<&Path> {
        self.launch.as_ref()?.data.as_deref()
    }

    /// What it promises about what it has confirmed.
    pub fn promise(&self) -> Promise {
        self.launch.as_ref().map_or(Promise::Nothing, |launch| launch.promise)
    }

    /// Ends it at once (SIGKILL), with all that it has started in its process group.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            kill_group(&child);
            let _ = child.kill();
            let _ = child.wait();
            self.pid = None;
        }
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it does not end, or is not ours.
    pub fn terminate(&mut self) -> Result<(), PeerError> {
        let (Some(child), Some(launch)) = (&mut self.child, &self.launch) else {
            return Err(PeerError::NotOurs);
        };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(PeerError::NotOurs)?;
        kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > ENDED_WITHIN {
                let program = launch.program();
                return Err(PeerError::NotEnding { program, seconds: ENDED_WITHIN.as_secs() });
            }
            std::thread::sleep(POLL);
        }
        // What it leaves behind would be in the way of its next start.
        kill_group(child);
        self.child = None;
        self.pid = None;
        Ok(())
    }

    /// Starts it again, over the data that it left, and waits until it accepts connections.
    ///
    /// # Errors
    /// When it still runs, is not ours, or does not get ready.
    pub fn restart(&mut self) -> Result<(), PeerError> {
        let Some(launch) = self.launch.as_mut().filter(|_| self.child.is_none()) else {
            return Err(PeerError::NotOurs);
        };
        let (child, addr) = launch.run()?;
        self.addr = addr;
        self.pid = Some(child.id());
        self.child = Some(child);
        Ok(())
    }
}

/// Ends what is left of the process group that a server was started in.
fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Nothing is left of most.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a program tells where it listens.
#[derive(Debug)]
pub(super) enum Probe {
    /// It was told.
    Given(SocketAddr),
    /// The entry of this protocol in a JSON file in its directory.
    PortsFile(&'static str, Protocol),
    /// It was told, and answers a CoAP ping at the first address once it is ready at the second.
    Pinged(SocketAddr, SocketAddr),
    /// The first line of its output, behind these words.
    Printed(&'static str, Protocol),
}

/// A program and what belongs to it: enough to start it any number of times.
#[derive(Debug)]
pub(super) struct Launch {
    command: Command,
    dir: TempDir,
    probe: Probe,
    hint: &'static str,
    data: Option<PathBuf>,
    promise: Promise,
}

impl Launch {
    /// A `command` that works in `dir`.
    pub(super) fn new(command: Command, dir: TempDir, probe: Probe, hint: &'static str) -> Self {
        Launch { command, dir, probe, hint, data: None, promise: Promise::Nothing }
    }

    /// Notes where it keeps its data, and what it promises about them.
    pub(super) fn keeping(mut self, data: PathBuf, promise: Promise) -> Self {
        self.data = Some(data);
        self.promise = promise;
        self
    }

    /// Starts it and waits until it accepts connections.
    pub(super) fn start(mut self) -> Result<Server, PeerError> {
        let (child, addr) = self.run()?;
        Ok(Server { addr, pid: Some(child.id()), child: Some(child), launch: Some(self) })
    }

    fn run(&mut self) -> Result<(Child, SocketAddr), PeerError> {
        if let Probe::PortsFile(name, _) = self.probe {
            // That of an earlier start names addresses of the past.
            let _ = fs::remove_file(self.dir.path().join(name));
        }
        let output = File::create(self.output())?;
        self.command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let began = Instant::now();
        let mut child = self.command.spawn().map_err(|source| PeerError::Missing {
            program: self.program(),
            source,
            hint: self.hint,
        })?;
        let ready = self.await_ready(&mut child, began);
        if ready.is_err() {
            kill_group(&child);
            let _ = child.kill();
            let _ = child.wait();
        }
        Ok((child, ready?))
    }

    fn await_ready(&self, child: &mut Child, began: Instant) -> Result<SocketAddr, PeerError> {
        loop {
            if let Some(addr) = self.listening() {
                return Ok(addr);
            }
            if let Some(status) = child.try_wait()? {
                return Err(self.failure(format!("it ended with {status}")));
            }
            if began.elapsed() > READY_WITHIN {
                return Err(self.failure(format!("nothing listened within {} s", READY_WITHIN.as_secs())));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Its address, once it accepts connections there.
    fn listening(&self) -> Option<SocketAddr> {
        let (addr, protocol) = match self.probe {
            Probe::Given(addr) => (addr, Protocol::default()),
            Probe::PortsFile(name, protocol) => (port_of(&self.dir.path().join(name), protocol)?, protocol),
            Probe::Pinged(pinged, addr) => return answers_ping(pinged).then_some(addr),
            Probe::Printed(words, protocol) => {
                let output = fs::read_to_string(self.output()).ok()?;
                (output.lines().next()?.strip_prefix(words)?.trim().parse().ok()?, protocol)
            }
        };
        // Whoever tells the address of its datagrams has bound it.
        (protocol.is_datagrams() || TcpStream::connect(addr).is_ok()).then_some(addr)
    }

    fn failure(&self, reason: String) -> PeerError {
        let output = fs::read_to_string(self.output()).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(10)..].join("\n");
        PeerError::NotReady { program: self.program(), reason, output: tail }
    }

    fn program(&self) -> String {
        self.command.get_program().to_string_lossy().into_owned()
    }

    fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }
}

/// A protocol's entry of a ports file.
fn port_of(ports_file: &Path, protocol: Protocol) -> Option<SocketAddr> {
    let entry = match protocol {
        Protocol::Mqtt => "mqtt",
        Protocol::Amqp => "amqp",
        Protocol::Coap => "coap",
        Protocol::Coaps => "coaps",
    };
    let text = fs::read_to_string(ports_file).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    ports.get(entry)?.as_str()?.parse().ok()
}

/// Whether an empty confirmable message brings a reset (RFC 7252 §4.3).
fn answers_ping(addr: SocketAddr) -> bool {
    let ping = wire::empty(Kind::Confirmable, PING_ID);
    let mut answer = [0; wire::HEADER + 1];
    let asked = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| {
        socket.connect(addr)?;
        socket.set_read_timeout(Some(PING_ANSWERED_WITHIN))?;
        socket.send(&ping)?;
        socket.recv(&mut answer)
    });
    asked.is_ok_and(|length| answer[..length] == wire::empty(Kind::Reset, PING_ID))
}

const PING_ID: u16 = 0x7E57;
const PING_ANSWERED_WITHIN: Duration = Duration::from_millis(20);

/// A directory that is removed on drop.
#[derive(Debug)]
pub(super) struct TempDir(PathBuf);

static DIRS: AtomicU32 = AtomicU32::new(0);

impl TempDir {
    /// A directory among the system's temporary files.
    pub(super) fn create(purpose: &str) -> io::Result<Self> {
        TempDir::create_in(&std::env::temp_dir(), purpose)
    }

    /// A directory below `base`, which is made if need be (and stays).
    pub(super) fn create_in(base: &Path, purpose: &str) -> io::Result<Self> {
        fs::create_dir_all(base)?;
        let number = DIRS.fetch_add(1, Ordering::Relaxed);
        let path =
            base.canonicalize()?.join(format!("tercet-bench-{purpose}-{}-{number}", std::process::id()));
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

/// The same for datagrams: the first of two ports in a row.
pub(super) fn free_pair_of_ports() -> io::Result<u16> {
    let any = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    for _ in 0..100 {
        let (first, port) = any().and_then(|socket| socket.local_addr().map(|addr| (socket, addr.port())))?;
        let next = port.checked_add(1).map(|next| UdpSocket::bind((Ipv4Addr::LOCALHOST, next)));
        drop(first);
        if let Some(Ok(_)) = next {
            return Ok(port);
        }
    }
    Err(io::Error::from(io::ErrorKind::AddrInUse))
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
        let launch = Launch::new(command, dir, Probe::Printed("listening on", Protocol::Mqtt), "");
        let error = launch.start().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such luck"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_program_is_reported_with_the_hint() {
        let dir = TempDir::create("test").unwrap();
        let command = Command::new("/nonexistent/server");
        let launch = Launch::new(command, dir, Probe::Printed("listening on", Protocol::Mqtt), "build it");
        let error = launch.start().unwrap_err().to_string();
        assert!(error.contains("build it"), "{error}");
        assert_eq!(version_of("/nonexistent/server", "-v"), "not installed");
    }

    #[test]
    fn a_server_of_somebody_else_is_not_restarted() {
        let mut server = Server::attached(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), None);
        server.kill();
        assert!(matches!(server.terminate(), Err(PeerError::NotOurs)));
        assert!(matches!(server.restart(), Err(PeerError::NotOurs)));
        assert_eq!((server.promise(), server.data()), (Promise::Nothing, None));
    }
}
