//! `tercet pub` and `sub` against `tercet serve`: logins, wills, signals, exit codes, slow readers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running broker with a directory of its own.
struct Broker {
    child: Child,
    directory: tempfile::TempDir,
    port: String,
}

impl Broker {
    fn start(configuration: &str, users: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (user, password) in users {
            let mut passwd = tercet(directory.path(), &["passwd", "-b", "users", user, password]);
            assert!(passwd.output().unwrap().status.success());
        }
        std::fs::write(directory.path().join("rules"), "user ann\ntopic readwrite mine/#\n").unwrap();
        std::fs::write(directory.path().join("tercet.toml"), configuration).unwrap();
        let flags = [
            "--memory",
            "--mqtt",
            "127.0.0.1:0",
            "--amqp",
            "off",
            "--coap",
            "off",
            "--http",
            "off",
            "--ports-file",
            "ports.json",
        ];
        let mut command = tercet(directory.path(), &["serve"]);
        let mut child = command.args(flags).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.starts_with("ready in ")), "the broker did not start");
        // Its log must be read on, or it blocks.
        std::thread::spawn(move || said.for_each(drop));
        let ports = std::fs::read_to_string(directory.path().join("ports.json")).unwrap();
        let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
        let port = ports["mqtt"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        Self { child, directory, port }
    }

    fn command(&self, command: &str, args: &[&str]) -> Command {
        let mut program = tercet(self.directory.path(), &[command, "-h", "127.0.0.1", "-p", &self.port]);
        program.args(args);
        program
    }

    fn run(&self, command: &str, args: &[&str]) -> Output {
        self.command(command, args).output().unwrap()
    }

    /// Starts a subscriber and waits until it has subscribed.
    fn subscriber(&self, args: &[&str]) -> Subscriber {
        let mut command = self.command("sub", &["-d"]);
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.starts_with("subscribed to ")), "{args:?} did not subscribe");
        let said = std::thread::spawn(move || said.collect());
        Subscriber { child, said }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Subscriber {
    child: Child,
    /// What it says on stderr after it has subscribed.
    said: std::thread::JoinHandle<Vec<String>>,
}

impl Subscriber {
    /// Waits for its end: exit code, stdout, stderr.
    fn end(mut self) -> (Option<i32>, String, Vec<String>) {
        let mut printed = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        (self.child.wait().unwrap().code(), printed, self.said.join().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

fn tercet(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.current_dir(directory).env_clear().stdin(Stdio::null()).args(args);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const USERS: &str = "[auth]\nanonymous = \"deny\"\npassword-file = \"users\"\n";

#[test]
fn passwords_are_sent_or_proved_and_refusals_are_exit_77() {
    let broker = Broker::start(USERS, &[("ann", "secret"), ("bob", "x")]);
    std::fs::write(broker.directory.path().join("secret.txt"), "secret\nsecond line\n").unwrap();
    let scram = ["--auth-method", "SCRAM-SHA-256"];
    for (login, code, words) in [
        (&["-u", "ann", "-P", "secret"][..], 0, ""),
        (&["-u", "ann", "--password-file", "secret.txt"], 0, ""),
        (&["-u", "ann", "-P", "secret", scram[0], scram[1]], 0, ""),
        (&["-u", "ann", "--password-file", "secret.txt", "--auth-method", "scram-sha-256"], 0, ""),
        (&["-u", "bob", "-P", "x", scram[0], scram[1], "-k", "1"], 0, ""),
        (&["-u", "ann", "-P", "wrong"], 77, "refused the connection"),
        (&["-u", "ann", "-P", "wrong", scram[0], scram[1]], 77, "refused the connection"),
        (&["-u", "nobody", "-P", "x", scram[0], scram[1]], 77, "refused the connection"),
        (&[], 77, "refused the connection"),
        (&["-u", "ann", scram[0], scram[1]], 2, "a user name and a password"),
        (&["-u", "ann", "-P", "x", "-V", "3.1.1", scram[0], scram[1]], 2, "needs MQTT 5"),
        (&["-u", "ann", "-P", "x", "--auth-method", "PLAIN"], 2, "SCRAM-SHA-256"),
        (&["-u", "ann", "--password-file", "missing.txt"], 2, "cannot read missing.txt"),
    ] {
        let output = broker.run("pub", &[login, &["-q", "1", "t", "x"]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{login:?}: {said}");
        assert!(said.contains(words) && !said.contains("secret\n"), "{login:?}: {said}");
    }
    let subscriber = broker.subscriber(&["-u", "bob", "-P", "x", scram[0], scram[1], "-C", "1", "t"]);
    assert!(broker.run("pub", &["-u", "ann", "-P", "secret", "t", "hello"]).status.success());
    let (code, printed, _) = subscriber.end();
    assert_eq!((code, printed.as_str()), (Some(0), "hello\n"));
}

#[test]
fn a_topic_that_is_not_allowed_is_exit_77() {
    let broker = Broker::start(&format!("{USERS}acl-file = \"rules\"\n"), &[("ann", "x")]);
    let ann = ["-u", "ann", "-P", "x"];
    for (command, args, code) in [
        ("pub", &["-q", "1", "mine/a", "x"][..], 0),
        ("pub", &["-q", "1", "yours", "x"], 77),
        ("pub", &["-q", "2", "yours", "x"], 77),
        ("sub", &["-E", "mine/#"], 0),
        ("sub", &["-E", "yours"], 77),
    ] {
        let output = broker.run(command, &[&ann[..], args].concat());
        assert_eq!(output.status.code(), Some(code), "{command} {args:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr).contains("0x87"), code == 77);
    }
}

#[test]
fn a_will_is_left_behind_as_the_flags_say() {
    let broker = Broker::start("", &[]);
    let long = ["--will-topic", "w/1", "--will-payload", "gone", "--will-qos", "1", "--will-retain"];
    let typed = ["-D", "will", "content-type", "text/x", "x"];
    for (flags, topic, payload) in [
        ([&long[..], &typed[..]].concat(), "w/1", "gone"),
        (vec!["--will", "w/2=a=b", "x"], "w/2", "a=b"),
        (vec!["--will-topic", "w/3", "x"], "w/3", ""),
    ] {
        let watcher = broker.subscriber(&["--json", "-q", "1", "-C", "1", "-W", "20", "w/+"]);
        let mut dying = broker.subscriber(&flags);
        dying.child.kill().unwrap();
        let (code, printed, _) = watcher.end();
        assert_eq!(code, Some(0), "{flags:?}");
        let message: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&message["topic"], &message["payload"]), (&topic.into(), &payload.into()));
        if topic == "w/1" {
            assert_eq!(
                (&message["qos"], &message["properties"]["content-type"]),
                (&1.into(), &"text/x".into())
            );
            let retained =
                broker.run("sub", &["--retained-only", "--remove-retained", "-C", "1", "-W", "20", topic]);
            assert_eq!(text(&retained.stdout), "gone\n");
        }
        dying.child.wait().unwrap();
    }
    // Who leaves politely leaves no will; what follows the interruption is the next message.
    let watcher = broker.subscriber(&["-v", "-q", "1", "-C", "1", "-W", "20", "w/+"]);
    let polite = broker.subscriber(&["--will", "w/4=gone", "x"]);
    polite.signal(Signal::INT);
    assert_eq!(polite.end().0, Some(130));
    assert!(broker.run("pub", &["-q", "1", "w/5", "still here"]).status.success());
    assert_eq!(watcher.end().1, "w/5 still here\n");
    for (flags, words) in [
        (&["--will", "no-message"][..], "TOPIC=MESSAGE"),
        (&["--will-payload", "x"], "--will-topic"),
        (&["--will-qos", "1"], "--will-topic"),
        (&["--will-topic", "w", "--will-qos", "3"], "0, 1, 2"),
        (&["--will", "w=x", "--will-topic", "w"], "cannot be used with"),
    ] {
        let output = broker.run("pub", &[flags, &["t", "x"]].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert!(text(&output.stderr).contains(words), "{flags:?}: {}", text(&output.stderr));
    }
}

#[test]
fn signals_end_a_subscriber_with_what_it_has() {
    let broker = Broker::start("", &[]);
    for signal in [Signal::INT, Signal::TERM] {
        let mut subscriber = broker.subscriber(&["t"]);
        let mut first = [0; 6];
        assert!(broker.run("pub", &["-q", "1", "t", "first"]).status.success());
        subscriber.child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        subscriber.signal(signal);
        let (code, printed, said) = subscriber.end();
        assert_eq!((code, printed.as_str(), said), (Some(130), "", vec![]));
        assert_eq!(&first, b"first\n");
    }
}

#[test]
fn the_local_address_can_be_chosen() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let here = tempfile::tempdir().unwrap();
    let mut command =
        tercet(here.path(), &["pub", "-h", "127.0.0.1", "-p", &port, "-A", "127.0.0.77", "t", "x"]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let (stream, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 77));
    drop(stream);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let wrong = tercet(here.path(), &["pub", "-A", "home", "t", "x"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

/// More than fits into the pipe, the client's inbox and what waits before it.
const LINES: usize = 20_000;

#[test]
fn a_reader_that_pauses_loses_nothing_and_the_connection_lives_on() {
    let broker = Broker::start("", &[]);
    let count = LINES.to_string();
    let stalled = broker.subscriber(&["-q", "1", "-k", "1", "-C", &count, "-W", "60", "t"]);
    let mut publisher = broker.command("pub", &["-q", "1", "-l", "t"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines: String = (0..LINES).map(|n| format!("{n:0200}\n")).collect();
    publisher.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(publisher.wait().unwrap().success());
    // A broker ends a connection that is silent for 1.5 keep alives; nobody reads for more than twice that.
    assert_eq!(broker.run("sub", &["-W", "3.5", "nothing"]).status.code(), Some(27));
    let (code, printed, said) = stalled.end();
    assert_eq!((code, said), (Some(0), vec![]), "the connection was not lost");
    assert!(printed == lines, "{} bytes of {}", printed.len(), lines.len());
    // And it can be interrupted while it waits for its reader.
    let stalled = broker.subscriber(&["-q", "1", "t"]);
    lines.truncate(201);
    let mut publisher = broker
        .command("pub", &["-q", "1", "--repeat", "5000", "-s", "t"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    publisher.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(publisher.wait().unwrap().success());
    stalled.signal(Signal::INT);
    let mut child = stalled.child;
    assert_eq!(child.wait().unwrap().code(), Some(130), "before anybody has read");
}
