//! The commands that talk to a running broker: what they print, and how they end.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running broker; killed at the end of the test.
struct Broker {
    child: Child,
    url: String,
    mqtt: String,
    dir: tempfile::TempDir,
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// It went well and said this on stderr.
    fn says(&self, words: &str) {
        assert_eq!((self.code, self.stderr.as_str()), (0, format!("{words}\n").as_str()), "{}", self.stdout);
    }

    fn fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("error: ") && self.stderr.contains(words), "{}", self.stderr);
        assert!(self.stderr.contains("\nhint: "), "{}", self.stderr);
    }

    fn json(&self) -> serde_json::Value {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

fn tercet(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.current_dir(dir).env_clear().stdin(Stdio::null());
    command
}

fn finish(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Broker {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = tercet(dir.path());
        command.args([
            "serve",
            "--memory",
            "--mqtt",
            "127.0.0.1:0",
            "--coap",
            "off",
            "--http",
            "127.0.0.1:0",
            "--amqp",
            "127.0.0.1:0",
        ]);
        let mut child = command.args(["--ports-file", "ports"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("ready in ") {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
        }
        // Its last lines have somewhere to go.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        let ports: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(dir.path().join("ports")).unwrap()).unwrap();
        let url = format!("http://{}", ports["http"].as_str().unwrap());
        let mqtt = format!("mqtt://{}", ports["mqtt"].as_str().unwrap());
        Self { child, url, mqtt, dir }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = tercet(self.dir.path());
        command.args(args).env("TERCET_API_URL", &self.url);
        command
    }

    fn run(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn status_is_shown_to_people_and_programs() {
    let broker = Broker::start();
    let ran = broker.run(&["status"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.starts_with(concat!("tercet ", env!("CARGO_PKG_VERSION"), "  pid ")),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.lines().next().unwrap().ends_with("  ready"));
    let status = broker.run(&["status", "--json"]).json();
    assert_eq!((&status["ready"], &status["pid"]), (&true.into(), &broker.child.id().into()));
}

#[test]
fn users_get_passwords_tags_permissions_and_limits() {
    let broker = Broker::start();
    broker.run(&["user", "add", "ann", "pw", "--tags", "management,blue"]).says("user ann is there");
    let as_ann = |args: &[&str]| {
        let mut command = broker.command(args);
        finish(command.args(["-u", "ann", "-P", "pw"]))
    };
    as_ann(&["user", "list"]).fails(77, "administrator");
    assert_eq!(as_ann(&["vhost", "list", "--json"]).json(), serde_json::json!([]));
    broker
        .run(&["permission", "set", "ann", "^ann", "", ".*"])
        .says("set the permission of ann in virtual host /");
    assert_eq!(as_ann(&["vhost", "list", "--json"]).json()[0]["name"], "/");
    broker
        .run(&["permission", "set-topic", "ann", "amq.topic", "^{username}", ""])
        .says("set the topic permission of ann in virtual host /");
    broker.run(&["user", "limit", "ann", "--max-channels", "7"]).says("set the limits of user ann");
    let listed = broker.run(&["user", "list"]);
    let expected = "name   tags             password  max-connections  max-channels\n\
                    ann    management,blue  password  -                7\n\
                    guest  administrator    built-in  -                -\n";
    assert_eq!(listed.stdout, expected);
    let permissions = broker.run(&["permission", "list"]).stdout;
    assert!(permissions.contains("/      ann    ^ann       \"\"     .*\n"), "{permissions}");
    assert!(broker.run(&["permission", "list-topic"]).stdout.contains("amq.topic  ^{username}"));

    // A password from stdin, for an existing user only.
    let mut child = broker
        .command(&["user", "password", "ann"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"other\n").unwrap();
    assert!(child.wait().unwrap().success());
    as_ann(&["vhost", "list"]).fails(77, "wrong");
    broker.run(&["user", "password", "bob", "x"]).fails(1, "there is no user 'bob'");
    broker.run(&["user", "tags", "ann"]).says("set the tags of ann");
    broker.run(&["user", "limit", "ann"]).says("took all limits of user ann away");
    broker
        .run(&["permission", "remove-topic", "ann"])
        .says("removed the topic permissions of ann in virtual host /");
    broker.run(&["permission", "remove", "ann"]).says("removed the permission of ann in virtual host /");
    broker.run(&["permission", "remove", "ann"]).fails(1, "no such permission");
    broker.run(&["permission", "set", "ann", "(", "", ""]).fails(2, "regular expression");
    broker.run(&["user", "remove", "ann"]).says("removed user ann");
    broker.run(&["user", "remove", "ann"]).fails(1, "there is no user 'ann'");
}

#[test]
fn virtual_hosts_and_policies() {
    let broker = Broker::start();
    broker.run(&["vhost", "add", "a/b"]).says("virtual host a/b is there");
    broker
        .run(&["vhost", "limit", "a/b", "--max-queues", "5", "--max-connections", "-1"])
        .says("set the limits of virtual host a/b");
    let listed = broker.run(&["vhost", "list"]).stdout;
    let expected = "name  connections  queues  max-connections  max-queues\n\
                    /     0            0       -                -\n\
                    a/b   0            0       -                5\n";
    assert_eq!(listed, expected);
    let set = ["policy", "set", "-V", "a/b", "short", "^tmp", "{\"max-length\": 3}", "--priority", "-2"];
    broker.run(&set).says("set policy short");
    let policies = broker.run(&["policy", "list", "--json"]).json();
    assert_eq!(
        (&policies[0]["priority"], &policies[0]["definition"]["max-length"]),
        (&(-2).into(), &3.into())
    );
    broker.run(&["policy", "set", "p", "", "{max-length: 3}"]).fails(2, "not JSON");
    broker.run(&["policy", "set", "p", "", "{\"max-lenght\": 3}"]).fails(2, "max-lenght");
    broker.run(&["policy", "set", "--operator", "cap", "", "{\"max-length\": 9}"]).says("set policy cap");
    assert_eq!(broker.run(&["policy", "list", "--operator", "--json"]).json()[0]["name"], "cap");
    broker.run(&["policy", "remove", "--operator", "cap"]).says("removed policy cap");
    broker.run(&["policy", "remove", "--operator", "cap"]).fails(1, "no policy 'cap'");
    broker.run(&["vhost", "remove", "a/b"]).says("removed virtual host a/b");
    assert_eq!(broker.run(&["policy", "list", "--json"]).json(), serde_json::json!([]));
}

#[test]
fn queues_that_do_not_exist_are_told_apart_from_brokers_that_do_not_answer() {
    let broker = Broker::start();
    for verb in ["peek", "purge", "pause", "resume", "delete", "show"] {
        broker.run(&["amqp", verb, "none"]).fails(1, "'none'");
    }
    broker.run(&["amqp", "move", "none", "other"]).fails(1, "'none'");
    broker.run(&["amqp", "close", "7"]).fails(1, "no connection '7'");
    assert_eq!(broker.run(&["amqp", "queues", "--json"]).json(), serde_json::json!([]));
    assert!(broker.run(&["amqp", "exchanges", "-V", "/"]).stdout.contains("amq.topic"));
    broker.run(&["amqp", "queues", "-V", "none"]).fails(1, "there is no virtual host 'none'");

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port().to_string();
    drop(nobody);
    broker.run(&["status", "-p", &port]).fails(69, "cannot reach http://127.0.0.1:");
    broker.run(&["status", "-P", "wrong"]).fails(77, "wrong");
    broker.run(&["status", "-L", "mqtt://x"]).fails(2, "http://");
    let help = broker.run(&["amqp", "peek", "queue", "-h"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.contains("--truncate <BYTES>"));
    assert_eq!(broker.run(&["amqp"]).code, 2);
}

#[test]
fn messages_of_mqtt_are_seen_moved_and_dropped_in_queues() {
    let broker = Broker::start();
    broker.run(&["amqp", "declare", "jobs", "-a", "x-max-length=10"]).says("queue jobs is there");
    broker.run(&["amqp", "declare", "later"]).says("queue later is there");
    broker.run(&["amqp", "declare", "x", "-a", "x-max-length"]).fails(2, "has no value");
    broker.run(&["amqp", "declare", "x", "-a", "x-max-length=many"]).fails(1, "x-max-length");
    broker
        .run(&["amqp", "bind", "jobs", "amq.topic", "site.*.temp"])
        .says("queue jobs is bound to exchange amq.topic");
    for (site, value) in [("oslo", "21.5"), ("lyon", "30\u{1b}[31m"), ("rome", "28")] {
        let sent = broker.run(&["pub", "-L", &broker.mqtt, "-q", "1", &format!("site/{site}/temp"), value]);
        assert_eq!(sent.code, 0, "{}", sent.stderr);
    }
    let peeked = broker.run(&["amqp", "peek", "jobs", "-n", "2"]);
    assert!(peeked.stdout.contains("exchange amq.topic  key site.oslo.temp  "), "{}", peeked.stdout);
    assert!(peeked.stdout.contains("  | 21.5\n") && !peeked.stdout.contains('\u{1b}'), "{}", peeked.stdout);
    let next = peeked.stdout.lines().last().unwrap().strip_prefix("next: --from ").unwrap().to_owned();
    let rest = broker.run(&["amqp", "peek", "jobs", "--from", &next, "--json"]).json();
    assert_eq!(rest["items"][0]["payload"], "28");
    let shown = broker.run(&["amqp", "show", "jobs"]).stdout;
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["ready", "3"])), "{shown}");
    broker
        .run(&["amqp", "move", "jobs", "later", "-n", "1"])
        .says("moved 1 messages from queue jobs to queue later");
    broker.run(&["amqp", "pause", "later"]).says("paused queue later");
    let queues = broker.run(&["amqp", "queues", "--name", "later", "--json"]).json();
    assert_eq!((&queues[0]["state"], &queues[0]["ready"]), (&"paused".into(), &1.into()));
    broker.run(&["amqp", "resume", "later"]).says("resumed queue later");
    assert_eq!(broker.run(&["amqp", "purge", "jobs", "--json"]).json()["messages"], 2);
    assert_eq!(broker.run(&["amqp", "peek", "jobs"]).stdout, "the queue is empty\n");
    broker
        .run(&["amqp", "unbind", "jobs", "amq.topic", "site.*.temp"])
        .says("queue jobs is not bound to exchange amq.topic by that key");
    broker.run(&["amqp", "delete", "later"]).says("deleted queue later with 1 messages");
    let exchanges = broker.run(&["amqp", "bindings", "--json"]).json();
    assert_eq!(exchanges.as_array().unwrap().len(), 1, "the one from the default exchange is left");
}
