//! The program under test as a child process: started on ephemeral ports, awaited by its ready line, ended on drop.
//!
//! `TERCET_BIN` names the binary; without it the one beside the test's own executable is taken, after a check that
//! no source of it is newer. With `INTEROP_BROKER=mosquitto` the tests that need no configuration run against
//! Mosquitto instead: that is how the expectations themselves are checked against an independent broker.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, thread};

use tempfile::TempDir;

/// How long a broker may take to say that it is ready.
const START: Duration = Duration::from_secs(30);

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    directory: Arc<TempDir>,
    addresses: BTreeMap<String, SocketAddr>,
    log: Arc<Mutex<String>>,
    lines: Mutex<Receiver<String>>,
}

impl Broker {
    /// A broker with default settings.
    #[must_use]
    pub fn start() -> Self {
        Self::configured("")
    }

    /// A broker with this configuration file, in which `{dir}` stands for a directory of its own.
    #[must_use]
    pub fn configured(toml: &str) -> Self {
        Self::in_directory(new_directory(), toml)
    }

    /// A broker whose files (certificates, passwords) were prepared in `directory`.
    #[must_use]
    pub fn in_directory(directory: Arc<TempDir>, toml: &str) -> Self {
        if is_mosquitto() {
            assert!(toml.is_empty(), "this test needs Tercet's configuration");
            return Self::mosquitto(directory);
        }
        let mut broker = Self::serve(Command::new(binary()), directory, toml, None);
        broker.await_ready();
        broker
    }

    /// A broker that keeps what must not be lost in `data` below `directory`; it finds there what an earlier one left.
    #[must_use]
    pub fn durable(directory: &Arc<TempDir>, toml: &str) -> Self {
        let mut broker = Self::launch(directory, toml);
        broker.await_ready();
        broker
    }

    /// As [`Broker::durable`], without waiting: [`Broker::await_ready`] does that, unless the broker is to end before.
    #[must_use]
    pub fn launch(directory: &Arc<TempDir>, toml: &str) -> Self {
        Self::serve(Command::new(binary()), directory.clone(), toml, Some("data"))
    }

    /// As [`Broker::durable`], with `calls` (system calls, separated by commas) of all its threads written to `trace` in the
    /// directory, and with faults injected into them.
    #[must_use]
    pub fn traced(directory: &Arc<TempDir>, toml: &str, calls: &str, injections: &[&str]) -> Self {
        let trace = directory.path().join("trace");
        let command = crate::trace::strace(&trace, calls, injections, &binary());
        Self::durable_by(command, directory, toml)
    }

    /// As [`Broker::durable`], by a command that ends with the program.
    #[must_use]
    pub fn durable_by(command: Command, directory: &Arc<TempDir>, toml: &str) -> Self {
        let mut broker = Self::serve(command, directory.clone(), toml, Some("data"));
        broker.await_ready();
        broker
    }

    /// Starts `command`, which is to be followed by what it serves; in memory without `data`.
    fn serve(mut command: Command, directory: Arc<TempDir>, toml: &str, data: Option<&str>) -> Self {
        let ports = directory.path().join("ports.json");
        // Those of an earlier broker.
        let _ = fs::remove_file(&ports);
        command.arg("serve");
        match data {
            Some(data) => command.arg("--data").arg(directory.path().join(data)),
            None => command.arg("--memory"),
        };
        command.args(["--mqtt", "127.0.0.1:0", "--amqp", "127.0.0.1:0"]);
        command.args(["--coap", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.arg("--ports-file").arg(&ports);
        if !toml.is_empty() {
            let config = directory.path().join("tercet.toml");
            let text = toml.replace("{dir}", directory.path().to_str().unwrap());
            fs::write(&config, text).expect("the configuration is written");
            command.arg("--config").arg(config);
        }
        Self::spawn(command, directory)
    }

    /// Waits until the broker can be connected to.
    pub fn await_ready(&mut self) {
        self.await_line("ready in");
        let text = fs::read_to_string(self.path("ports.json"))
            .expect("the ports file exists once the broker is ready");
        let json: serde_json::Value = serde_json::from_str(&text).expect("the ports file is JSON");
        for table in [&json, &json["listeners"]] {
            for (name, address) in table.as_object().expect("the ports file is an object") {
                // Unix sockets and faces that do not exist have no such address.
                if let Some(address) = address.as_str().and_then(|text| text.parse().ok()) {
                    self.addresses.insert(name.clone(), address);
                }
            }
        }
    }

    fn mosquitto(directory: Arc<TempDir>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = directory.path().join("mosquitto.conf");
        let text = format!("listener {} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\n", port.port());
        fs::write(&config, text).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(config);
        let mut broker = Self::spawn(command, directory);
        broker.await_line("running");
        broker.addresses.insert("mqtt".into(), port);
        broker
    }

    fn spawn(mut command: Command, directory: Arc<TempDir>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Configuration must come from the test alone.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("TERCET_") {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let copy = log.clone();
        thread::spawn(move || copy_lines(BufReader::new(stderr), &copy, &sender));
        Self { child, directory, addresses: BTreeMap::new(), log, lines: Mutex::new(lines) }
    }

    /// Waits for a line on standard error that contains `text` and returns it.
    pub fn await_line(&self, text: &str) -> String {
        let lines = self.lines.lock().unwrap();
        let end = Instant::now() + START;
        loop {
            match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no {text:?} in time; the broker said:\n{}", self.log())
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the broker ended; it said:\n{}", self.log()),
            }
        }
    }

    /// The first MQTT listener.
    #[must_use]
    pub fn mqtt(&self) -> SocketAddr {
        self.address("mqtt")
    }

    /// A listener by its name in the ports file.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        *self.addresses.get(name).unwrap_or_else(|| panic!("no listener {name:?} among {:?}", self.addresses))
    }

    /// A file in the broker's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The process identifier.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the broker wrote to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal by name (`HUP`, `TERM`).
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the process to end by itself and returns its exit code.
    pub fn await_end(&mut self) -> Option<i32> {
        let end = Instant::now() + START;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the broker did not end; it said:\n{}", self.log());
    }

    /// Ends the process as a power switch does: it gets no chance to do anything any more.
    pub fn kill(mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the process to end and waits until it has, without an error.
    pub fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.await_end(), Some(0), "exit code; the broker said:\n{}", self.log());
    }

    /// Panics unless the process runs.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the broker ended with {status}; it said:\n{}", self.log());
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(4000).map_or(0, |(at, _)| at);
            eprintln!("--- the broker said:\n{}---", &log[from..]);
        }
    }
}

/// A directory that lives as long as what holds it; with `TERCET_KEEP` in the environment it stays.
#[must_use]
pub fn new_directory() -> Arc<TempDir> {
    let mut directory = TempDir::with_prefix("tercet-test-").expect("a temporary directory");
    directory.disable_cleanup(env::var_os("TERCET_KEEP").is_some());
    Arc::new(directory)
}

/// Whether the tests run against Mosquitto.
#[must_use]
pub fn is_mosquitto() -> bool {
    env::var("INTEROP_BROKER").is_ok_and(|name| name == "mosquitto")
}

fn copy_lines(stderr: impl BufRead, log: &Mutex<String>, sender: &Sender<String>) {
    for line in stderr.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        let _ = writeln!(log.lock().unwrap(), "{line}");
        let _ = sender.send(line);
    }
}

/// The binary under test.
///
/// # Panics
/// If there is none, or if one of its sources is newer than it.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = env::var_os("TERCET_BIN") {
        return path.into();
    }
    let own = env::current_exe().expect("a test has an executable");
    // target/debug/deps/protocol-0123 -> target/debug/tercet
    let path = own.parent().and_then(Path::parent).expect("a target directory").join("tercet");
    let built = modified(&path).unwrap_or_else(|| {
        panic!("{} is missing: run `cargo build -p tercet`, or set TERCET_BIN", path.display())
    });
    let sources = fs::read_to_string(path.with_extension("d")).unwrap_or_default();
    for source in sources.split_whitespace().skip(1) {
        if modified(Path::new(source)).is_some_and(|time| time > built) {
            panic!("{} is older than {source}: run `cargo build -p tercet`", path.display());
        }
    }
    path
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
