//! `tercet log`, `backup` and `restore`, on what real brokers leave behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.current_dir(dir).env_clear().stdin(Stdio::null()).args(args);
    command
}

fn tercet(dir: &Path, args: &[&str]) -> Ran {
    let output = command(dir, args).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command that has to succeed and returns what it printed.
fn succeed(dir: &Path, args: &[&str]) -> String {
    let ran = tercet(dir, args);
    assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn json(dir: &Path, args: &[&str]) -> (i32, Value) {
    let ran = tercet(dir, args);
    (ran.code, serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout)))
}

/// A broker on the data directory `data` in `dir`; killed when it is dropped.
struct Broker<'a> {
    child: Child,
    dir: &'a Path,
    port: String,
}

impl<'a> Broker<'a> {
    fn start(dir: &'a Path, data: &str) -> Self {
        let args = [
            "serve",
            "--data",
            data,
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
        let mut child = command(dir, &args).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        while !lines.next().expect("the broker is ready before it ends").unwrap().starts_with("ready in ") {}
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let ports: Value =
            serde_json::from_str(&fs::read_to_string(dir.join("ports.json")).unwrap()).unwrap();
        let port = ports["mqtt"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        Self { child, dir, port }
    }

    /// A durable session that subscribes to `filter` and goes away.
    fn keep(&self, id: &str, filter: &str) {
        succeed(
            self.dir,
            &["sub", "-p", &self.port, "-i", id, "--no-clean", "-x", "-1", "-q", "1", "-E", "-t", filter],
        );
    }

    fn publish(&self, topic: &str, message: &str, flags: &[&str]) {
        let args = [&["pub", "-p", &self.port, "-q", "1", "-t", topic, "-m", message], flags].concat();
        succeed(self.dir, &args);
    }

    /// What waits for a session.
    fn fetch(&self, id: &str, count: &str) -> String {
        succeed(
            self.dir,
            &[
                "sub",
                "-p",
                &self.port,
                "-i",
                id,
                "--no-clean",
                "-x",
                "-1",
                "-q",
                "1",
                "-W",
                "10",
                "-C",
                count,
                "-t",
                "none",
            ],
        )
    }
}

impl Drop for Broker<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data directory `d` with a session that has three messages waiting, one for a shared subscription, and two
/// retained values.
fn leave_behind(dir: &Path) {
    let broker = Broker::start(dir, "d");
    broker.keep("keeper", "a/#");
    broker.keep("member", "$share/group/shared");
    for message in ["first message", "second message", "third message"] {
        broker.publish("a/b", message, &[]);
    }
    broker.publish("shared", "for one of them", &[]);
    broker.publish("value/1", "retained value", &["-r"]);
    broker.publish("value/2", "another", &["-r"]);
}

/// The segment that holds `text`, and where.
fn find(dir: &Path, text: &str) -> (PathBuf, usize) {
    let entries = fs::read_dir(dir.join("d/shard-0")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments = entries.filter(|path| path.extension().is_some_and(|extension| extension == "seg"));
    let found = segments.find_map(|path| {
        let bytes = fs::read(&path).unwrap();
        let at = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
        Some((path, at))
    });
    found.unwrap_or_else(|| panic!("{text:?} is in no segment"))
}

fn flip(dir: &Path, text: &str) {
    let (path, at) = find(dir, text);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn check_and_dump_tell_what_a_broker_left() {
    let dir = tempfile::tempdir().unwrap();
    leave_behind(dir.path());
    let text = succeed(dir.path(), &["log", "check", "d"]);
    assert!(
        text.contains("\n  holds       2 sessions, 1 shared subscription, 4 queued messages ("),
        "{text}"
    );
    assert!(text.contains("2 retained values\n") && text.ends_with("  ok\n"), "{text}");
    let (code, report) = json(dir.path(), &["log", "check", "--json", "d"]);
    assert_eq!((code, &report["ok"]), (0, &true.into()));
    let log = report["logs"].as_array().unwrap().iter().find(|log| log["log"] == "shard-0").unwrap();
    assert_eq!(log["holds"]["queued"], 4);
    assert_eq!(log["records"]["message"], 6);
    assert_eq!(log["records"]["session-opened"].as_u64().map(|count| count >= 2), Some(true), "{log}");
    let messages = succeed(dir.path(), &["log", "dump", "d", "--kind", "message"]);
    assert_eq!(messages.lines().count(), 6);
    assert!(messages.lines().all(|line| line.contains(" message ")), "{messages}");
    assert!(messages.contains("topic=a/b ") && messages.contains("payload=\"first message\""), "{messages}");
    let objects: Vec<Value> = succeed(dir.path(), &["log", "dump", "d", "--json", "--payload", "5"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let third = objects.iter().find(|one| one["payload"] == "third").unwrap();
    assert_eq!((&third["kind"], &third["payload_bytes"]), (&"message".into(), &13.into()));
    let opened = objects.iter().find(|one| one["client"] == "keeper").unwrap();
    let enqueued =
        objects.iter().filter(|one| one["kind"] == "enqueued" && one["session"] == opened["session"]).count();
    assert_eq!(enqueued, 3);
    // From the batch of the third message on.
    let (from, _) = third["place"].as_str().unwrap().split_once('+').unwrap();
    let later = succeed(dir.path(), &["log", "dump", "d", "--from", from, "--kind", "message"]);
    let changes = succeed(dir.path(), &["log", "dump", "d", "--from", from, "--kind", "enqueued"]);
    assert!(changes.contains(" client=keeper "), "{changes}");
    assert!(later.contains("third message") && !later.contains("second message"), "{later}");
    // Looking changes nothing.
    assert_eq!(
        Broker::start(dir.path(), "d").fetch("keeper", "3"),
        "first message\nsecond message\nthird message\n"
    );
}

#[test]
fn directories_that_are_not_to_be_touched_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let missing = tercet(dir.path(), &["log", "check", "d"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.starts_with("error: there is no directory d\n"), "{}", missing.stderr);
    fs::create_dir(dir.path().join("other")).unwrap();
    fs::write(dir.path().join("other/file"), "mine").unwrap();
    for command in ["check", "dump", "repair"] {
        let ran = tercet(dir.path(), &["log", command, "other"]);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.starts_with("error: other is no data directory of Tercet"), "{}", ran.stderr);
    }
    assert_eq!(fs::read_dir(dir.path().join("other")).unwrap().count(), 1);
    let _broker = Broker::start(dir.path(), "d");
    for command in ["check", "dump", "repair"] {
        let ran = tercet(dir.path(), &["log", command, "d"]);
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (1, "error: d is in use by a broker\nhint: stop the broker first\n")
        );
    }
}

#[test]
fn damage_is_reported_with_its_place_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    leave_behind(dir.path());
    flip(dir.path(), "second message");
    let ran = tercet(dir.path(), &["log", "check", "d"]);
    assert_eq!(ran.code, 1);
    let (path, at) = find(dir.path(), "first message");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(ran.stdout.contains(&format!("  ! d/shard-0/{name} is damaged at offset ")), "{}", ran.stdout);
    assert!(ran.stdout.contains("about sessions of keeper"), "{}", ran.stdout);
    assert!(ran.stdout.contains("about retained values of value/1, value/2"), "{}", ran.stdout);
    let (code, report) = json(dir.path(), &["log", "check", "--json", "d"]);
    assert_eq!((code, &report["ok"]), (1, &false.into()));
    let log = report["logs"].as_array().unwrap().iter().find(|log| log["log"] == "shard-0").unwrap();
    assert_eq!(log["damage"][0]["fatal"], true);
    // The batch of the second message begins behind the first message.
    assert!(log["damage"][0]["offset"].as_u64().unwrap() > at as u64);
    // A broker says the same and starts on nothing that is damaged.
    let args =
        ["serve", "--data", "d", "--mqtt", "127.0.0.1:0", "--amqp", "off", "--coap", "off", "--http", "off"];
    let refused = tercet(dir.path(), &args);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains(name) && refused.stderr.contains("tercet log repair"),
        "{}",
        refused.stderr
    );
    // Nobody can be asked, so nothing is done.
    let unasked = tercet(dir.path(), &["log", "repair", "d"]);
    assert_eq!(unasked.code, 2);
    assert!(unasked.stderr.contains("hint: to repair without being asked"), "{}", unasked.stderr);
    assert_eq!(tercet(dir.path(), &["log", "check", "d"]).code, 1);
    let (code, done) = json(dir.path(), &["log", "repair", "--yes", "--json", "d"]);
    assert_eq!(code, 0, "{done}");
    let aside = done["repaired"][0]["set_aside"][0].as_str().unwrap();
    assert!(aside.ends_with(".damaged") && dir.path().join(aside).is_file(), "{done}");
    succeed(dir.path(), &["log", "check", "d"]);
    assert!(succeed(dir.path(), &["log", "repair", "d"]).starts_with("nothing to repair"));
    let broker = Broker::start(dir.path(), "d");
    assert_eq!(broker.fetch("keeper", "1"), "first message\n");
    // It goes on as if nothing had been.
    broker.publish("a/b", "after the repair", &[]);
    assert_eq!(broker.fetch("keeper", "1"), "after the repair\n");
}

#[test]
fn a_backup_of_a_running_broker_is_a_data_directory_again() {
    let dir = tempfile::tempdir().unwrap();
    leave_behind(dir.path());
    let broker = Broker::start(dir.path(), "d");
    broker.publish("a/b", "fourth message", &[]);
    let text = succeed(dir.path(), &["backup", "--data", "d", "copy"]);
    assert!(
        text.contains(" from d to copy\nit holds 2 sessions, 1 shared subscription, 5 queued messages ("),
        "{text}"
    );
    // What comes later is not in it, and what is taken later still is.
    assert_eq!(broker.fetch("keeper", "1"), "first message\n");
    broker.publish("a/b", "fifth message", &[]);
    let full = tercet(dir.path(), &["backup", "--data", "d", "copy"]);
    assert_eq!(full.code, 1);
    assert!(full.stderr.contains("copy"), "{}", full.stderr);
    drop(broker);
    let taken = tercet(dir.path(), &["restore", "copy", "--data", "d"]);
    assert_eq!(taken.code, 1, "{}", taken.stdout);
    let (code, report) = json(dir.path(), &["restore", "copy", "--data", "e", "--json"]);
    assert_eq!(
        (code, &report["ok"], &report["holds"][0]["queued"]),
        (0, &true.into(), &5.into()),
        "{report}"
    );
    let restored = Broker::start(dir.path(), "e");
    assert_eq!(
        restored.fetch("keeper", "4"),
        "first message\nsecond message\nthird message\nfourth message\n"
    );
}

#[test]
fn a_damaged_backup_is_noticed_when_it_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    leave_behind(dir.path());
    flip(dir.path(), "second message");
    let ran = tercet(dir.path(), &["restore", "d", "--data", "e"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("error: the copy is damaged: shard-0/"), "{}", ran.stderr);
    assert_eq!(tercet(dir.path(), &["restore", "nothing", "--data", "f"]).code, 1);
    assert!(!dir.path().join("f").exists());
}
