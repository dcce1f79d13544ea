//! `tercet serve` as operators and service managers meet it: start-up block, ports file, signals, users.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running broker; killed at the end of the test if it still runs.
struct Broker {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it printed until it was ready, that line included.
    block: Vec<String>,
}

impl Broker {
    fn start(dir: &Path, args: &[&str]) -> Self {
        Self::spawn(command(dir, args))
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let mut broker = Self { child, stderr, block: Vec::new() };
        while !broker.block.last().is_some_and(|line| line.starts_with("ready in ")) {
            let line =
                broker.line().unwrap_or_else(|| panic!("ended before it was ready: {:#?}", broker.block));
            broker.block.push(line);
        }
        broker
    }

    /// The next line of stderr; `None` at its end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.stderr.read_line(&mut line).unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("ended without {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it with `signal`: its exit code and the rest of its stderr.
    fn end(mut self, signal: Signal) -> (Option<i32>, Vec<String>) {
        self.signal(signal);
        let rest = std::iter::from_fn(|| self.line()).collect();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.current_dir(dir).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).arg("serve").args(args);
    command
}

/// Runs one that is expected not to start: exit code and stderr.
fn refused(dir: &Path, args: &[&str]) -> (i32, String) {
    let output = command(dir, args).output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

const FREE: &[&str] = &["--mqtt", ":0", "--amqp", "off", "--coap", "off", "--http", "off"];

#[test]
fn it_says_where_it_listens_and_ends_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(
        dir.path(),
        &[
            "--mqtt",
            ":0",
            "--amqp",
            ":0",
            "--coap",
            ":0",
            "--http",
            "127.0.0.1:0",
            "--ports-file",
            "ports.json",
        ],
    );
    let ports = std::fs::read_to_string(dir.path().join("ports.json")).unwrap();
    let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
    for face in ["mqtt", "amqp", "coap", "http"] {
        let address = ports[face].as_str().unwrap();
        assert_eq!(ports["listeners"][face], address);
        assert!(!address.ends_with(":0"));
        assert!(broker.block.iter().any(|line| line.contains(address)), "{address}: {:#?}", broker.block);
    }
    TcpStream::connect(ports["mqtt"].as_str().unwrap()).unwrap();
    assert!(broker.block[0].starts_with(&format!(
        "tercet {}  pid {}",
        env!("CARGO_PKG_VERSION"),
        broker.child.id()
    )));
    assert!(broker.block.iter().any(|line| line.ends_with("To open it: tercet serve --bind 0.0.0.0")));
    let (code, rest) = broker.end(Signal::TERM);
    assert_eq!(code, Some(0));
    assert!(rest[0].starts_with("try:  tercet sub -p "), "{rest:#?}");
    assert!(!rest.iter().any(|line| line.starts_with("ready in ")));
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<_> = files.collect();
    files.sort();
    assert_eq!(files, ["ports.json", "tercet-data"], "nothing else is written");
}

#[test]
fn sigint_ends_it_too_and_memory_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), &[FREE, &["--memory"]].concat());
    assert!(broker.block[0].contains("  in memory  "));
    assert!(broker.block.iter().any(|line| line.contains("a restart forgets them")));
    assert_eq!(broker.end(Signal::INT).0, Some(0));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn what_was_acknowledged_is_there_again_after_a_kill_and_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let start = || Broker::start(dir.path(), &[FREE, &["--data", "d"]].concat());
    let client = |broker: &Broker, args: &[&str]| {
        let line = broker.block.iter().find(|line| line.starts_with("  mqtt ")).unwrap();
        let port = line.rsplit(':').next().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
        command.current_dir(dir.path()).env_clear().stdin(Stdio::null());
        let output = command.arg(args[0]).args(["-p", port]).args(&args[1..]).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let session = ["sub", "-i", "keeper", "--no-clean", "-x", "3600", "-q", "1", "-W", "30", "jobs/#"];
    let state =
        |broker: &Broker| broker.block.iter().find(|line| line.starts_with("  state ")).unwrap().clone();

    let broker = start();
    assert_eq!(state(&broker), "  state  nothing stored yet");
    client(&broker, &[&session[..], &["-E"]].concat());
    for job in ["one", "two", "three"] {
        client(&broker, &["pub", "-q", "1", "jobs/new", job]);
    }
    client(&broker, &["pub", "-q", "2", "-r", "mode", "night"]);
    broker.end(Signal::KILL);

    let broker = start();
    let found = state(&broker);
    assert!(found.starts_with("  state  1 session, 3 messages queued, 1 retained, read in "), "{found}");
    assert_eq!(broker.end(Signal::TERM).0, Some(0));

    let broker = start();
    let jobs = client(&broker, &[&session[..], &["-C", "3"]].concat());
    assert_eq!(jobs, "one\ntwo\nthree\n");
    assert_eq!(client(&broker, &["sub", "-C", "1", "-W", "30", "mode"]), "night\n");
    let (code, stderr) = refused(dir.path(), &[FREE, &["--data", "d"]].concat());
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: d is in use by another process\nhint: "), "{stderr}");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("photos")).unwrap();
    std::fs::write(dir.path().join("photos/cat.jpg"), "cat").unwrap();
    let (code, stderr) = refused(dir.path(), &[FREE, &["--data", "photos"]].concat());
    assert_eq!(code, 1);
    assert!(
        stderr.contains("photos is no data directory of Tercet") && stderr.contains("\nhint: "),
        "{stderr}"
    );
    assert_eq!(std::fs::read_dir(dir.path().join("photos")).unwrap().count(), 1);
}

#[test]
fn an_open_port_creates_one_administrator_and_shows_the_password_once() {
    let dir = tempfile::tempdir().unwrap();
    let open = [FREE, &["--bind", "0.0.0.0", "--data", "d"]].concat();
    let broker = Broker::start(dir.path(), &open);
    let shown: Vec<_> =
        broker.block.iter().filter(|line| line.contains("created admin with password ")).collect();
    assert_eq!(shown.len(), 1);
    let password = shown[0].rsplit(' ').next().unwrap().to_owned();
    assert!(password.len() >= 20);
    assert_eq!(broker.end(Signal::TERM).0, Some(0));
    let stored = std::fs::read_to_string(dir.path().join("d/passwords")).unwrap();
    assert!(stored.starts_with("admin:$argon2id$") && !stored.contains(&password));
    let again = Broker::start(dir.path(), &open);
    assert!(!again.block.iter().any(|line| line.contains("created admin")));
    assert!(again.block.iter().any(|line| line.contains("users of d/passwords; nobody without a password")));
}

#[test]
fn an_administrator_whose_password_was_never_shown_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = format!(":{}", taken.local_addr().unwrap().port());
    let (code, _) = refused(
        dir.path(),
        &[
            "--bind", "0.0.0.0", "--data", "d", "--mqtt", &port, "--amqp", "off", "--coap", "off", "--http",
            "off",
        ],
    );
    assert_eq!(code, 1);
    assert!(!dir.path().join("d/passwords").exists());
}

#[test]
fn mistakes_are_exit_78_and_a_taken_port_is_exit_1() {
    let dir = tempfile::tempdir().unwrap();
    let (code, stderr) = refused(dir.path(), &["--mqtt", "1883", "--coap", "5683"]);
    assert_eq!(code, 78);
    let expected = "error: --mqtt: mqtt: expected an address \"ip:port\", \":port\" or \"off\", found \"1883\"\n\
        hint: write \"127.0.0.1:1883\", or \"0.0.0.0:1883\" for every interface\n\
        error: --coap: coap: expected an address \"ip:port\", \":port\" or \"off\", found \"5683\"\n\
        hint: write \"127.0.0.1:5683\", or \"0.0.0.0:5683\" for every interface\n";
    assert_eq!(stderr, expected);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, stderr) =
        refused(dir.path(), &["--mqtt", &address, "--amqp", "off", "--coap", "off", "--http", "off"]);
    assert_eq!(code, 1);
    let expected = format!(
        "error: cannot listen on {address}: address in use\n\
         hint: another broker? stop it, or move all ports with --port-offset\n"
    );
    assert!(stderr.contains(&expected), "{stderr}");
    assert_eq!(refused(dir.path(), &["--memory", "--data", "x"]).0, 2);
}

#[test]
fn check_starts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(refused(dir.path(), &["--check"]), (0, "the configuration is right\n".into()));
    std::fs::write(dir.path().join("tercet.toml"), "[limits]\nx = 1\n").unwrap();
    let (code, stderr) = refused(dir.path(), &["--check"]);
    assert_eq!((code, stderr.as_str()), (78, "error: tercet.toml:2:1: unknown key \"x\" in [limits]\n"));
}

#[test]
fn sighup_reloads_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, "[log]\nformat = \"text\"\n").unwrap();
    let mut broker = Broker::start(dir.path(), &[FREE, &["--config", "c.toml"]].concat());
    std::fs::write(&file, "[log]\nformat = \"text\"\nlevle = \"warn\"\n").unwrap();
    broker.signal(Signal::HUP);
    let mistake = broker.wait_for("c.toml:3:1: unknown key");
    assert!(mistake.ends_with("did you mean \"level\"?"), "{mistake}");
    broker.wait_for("was not reloaded");
    std::fs::write(&file, "[log]\nformat = \"text\"\n[server]\nthreads = 3\n").unwrap();
    broker.signal(Signal::HUP);
    assert!(broker.wait_for("after a restart").contains("server.threads"));
    broker.wait_for("configuration reloaded");
    assert_eq!(broker.end(Signal::TERM).0, Some(0));
}

#[test]
fn the_service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    let next = || {
        let mut buffer = [0; 200];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut command = command(dir.path(), FREE);
    command.env("NOTIFY_SOCKET", dir.path().join("notify"));
    let broker = Broker::spawn(command);
    assert_eq!(next(), "READY=1");
    broker.signal(Signal::HUP);
    assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(next(), "READY=1");
    assert_eq!(broker.end(Signal::TERM).0, Some(0));
    assert_eq!(next(), "STOPPING=1");
}
