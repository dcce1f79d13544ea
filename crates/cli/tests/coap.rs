//! `tercet coap` against `tercet coap serve` and against the broker: methods, output, exit codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running server with a directory of its own.
struct Server {
    child: Child,
    directory: tempfile::TempDir,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tercet(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.args(arguments).current_dir(directory).env_remove("TERCET_CONFIG").stdin(Stdio::null());
    command
}

impl Server {
    /// `tercet coap serve` at an address of this scheme, in a directory with some files.
    fn start(scheme: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("files")).unwrap();
        std::fs::write(directory.path().join("files/a.json"), "{\"a\": 1}").unwrap();
        std::fs::write(directory.path().join("files/.hidden"), "secret").unwrap();
        std::fs::write(directory.path().join("keys"), "lamp:73656372657421\n").unwrap();
        let bind = format!("{scheme}://127.0.0.1:0");
        let mut command = tercet(directory.path(), &["coap", "serve", "--bind", &bind]);
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = said.find(|line| line.starts_with("serving at ")).expect("the server starts");
        std::thread::spawn(move || said.for_each(drop));
        let url = line.trim_start_matches("serving at ").trim_end_matches('/').to_owned();
        Self { child, directory, url }
    }

    /// The broker with CoAP on every transport that needs no certificate; its ports.
    fn broker() -> (Self, serde_json::Value) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("keys"), "lamp:73656372657421\n").unwrap();
        let contexts = "master_secret,hex,\"000102030405060708090a0b0c0d0e0f\"\n";
        let ours = format!("{contexts}sender_id,ascii,\"lamp\"\nrecipient_id,ascii,\"broker\"\n");
        let theirs = format!("{contexts}sender_id,ascii,\"broker\"\nrecipient_id,ascii,\"lamp\"\n");
        std::fs::write(directory.path().join("lamp.oscore"), ours).unwrap();
        std::fs::write(directory.path().join("broker.oscore"), theirs).unwrap();
        let configuration = "[coap]\npsk-file = \"keys\"\noscore-file = \"broker.oscore\"\n";
        std::fs::write(directory.path().join("tercet.toml"), configuration).unwrap();
        let mut command = tercet(directory.path(), &["serve", "--memory", "--coap", "127.0.0.1:0"]);
        command.args([
            "--mqtt",
            "off",
            "--amqp",
            "off",
            "--http",
            "127.0.0.1:0",
            "--ports-file",
            "ports.json",
        ]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.starts_with("ready in ")), "the broker did not start");
        std::thread::spawn(move || said.for_each(drop));
        let ports = std::fs::read_to_string(directory.path().join("ports.json")).unwrap();
        let ports: serde_json::Value = serde_json::from_str(&ports).unwrap();
        let url = format!("coap://{}", ports["coap"].as_str().unwrap());
        (Self { child, directory, url }, ports)
    }

    fn command(&self, arguments: &[&str], path: &str) -> Command {
        let mut command = tercet(self.directory.path(), &["coap"]);
        let (name, rest) = arguments.split_first().unwrap();
        command.arg(name).arg(format!("{}{path}", self.url)).args(rest);
        command
    }

    fn run(&self, arguments: &[&str], path: &str) -> Output {
        self.command(arguments, path).output().unwrap()
    }

    /// What a successful command prints.
    fn prints(&self, arguments: &[&str], path: &str) -> String {
        let output = self.run(arguments, path);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code and words of a command that fails.
fn failure(output: &Output) -> (i32, String) {
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    (output.status.code().unwrap(), text(&output.stderr))
}

#[test]
fn resources_come_and_go() {
    for scheme in ["coap", "coap+tcp", "coap+ws"] {
        let server = Server::start(scheme, &["--writable"]);
        server.prints(&["put", "-t", "text", "on"], "/lamp");
        assert_eq!(server.prints(&["get"], "/lamp"), "on");
        assert_eq!(server.prints(&["get", "-w"], "/lamp"), "on\n");
        server.prints(&["post", "-e", "a%20b"], "/lamp");
        let shown: serde_json::Value =
            serde_json::from_str(&server.prints(&["get", "--json"], "/lamp")).unwrap();
        assert_eq!((&shown["code"], &shown["payload"]), (&"2.05".into(), &"a b".into()));
        std::fs::write(server.directory.path().join("long"), "x".repeat(5000)).unwrap();
        server.prints(&["put", "-f", "long", "-b", "64"], "/long");
        server.prints(&["get", "-o", "copy"], "/long");
        assert_eq!(std::fs::read(server.directory.path().join("copy")).unwrap().len(), 5000);
        server.prints(&["delete"], "/lamp");
        let (code, words) = failure(&server.run(&["get"], "/lamp"));
        assert_eq!(code, 1);
        assert!(words.starts_with("error: 4.04 Not Found\nhint: "), "{words}");
        assert!(server.prints(&["ping", "-G", "1"], "").contains(" ms"));
        assert!(server.prints(&["discover"], "").contains("</>;obs"));
    }
}

#[test]
fn files_are_served_but_not_hidden_ones() {
    let server = Server::start("coap", &["files"]);
    assert_eq!(server.prints(&["get", "-v"], "/a.json"), "{\"a\": 1}");
    let shown: serde_json::Value =
        serde_json::from_str(&server.prints(&["get", "--json"], "/a.json")).unwrap();
    assert_eq!(shown["payload"]["a"], 1);
    for path in ["/.hidden", "/..%2Fkeys", "/none", "/a.json/b"] {
        assert_eq!(server.run(&["get"], path).status.code(), Some(1), "{path}");
    }
    assert!(failure(&server.run(&["put", "x"], "/a.json")).1.contains("4.05"));
}

#[test]
fn states_are_followed() {
    let server = Server::start("coap", &["--writable"]);
    server.prints(&["put", "one"], "/x");
    let mut observer =
        server.command(&["observe", "--count", "2"], "/x").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(observer.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("one"));
    server.prints(&["put", "two"], "/x");
    assert_eq!(lines.next().as_deref(), Some("two"));
    assert!(observer.wait().unwrap().success());
}

/// A server made of a socket: what is left to say when somebody ends an observation.
#[test]
fn an_interrupted_observer_says_goodbye() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("coap://{}/x", socket.local_addr().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut command = tercet(directory.path(), &["coap", "observe", &url]);
    let mut observer = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut buffer = [0; 1500];
    // Answers a GET, with its Message ID and token, that it is 2.05 and says "1"; with Observe 1 if it is the first.
    let mut answer = |observe: &[u8]| {
        let (length, peer) = socket.recv_from(&mut buffer).unwrap();
        let (request, mut reply) = (buffer[..length].to_vec(), buffer[..12].to_vec());
        (reply[0], reply[1]) = (0x68, 0x45);
        reply.extend_from_slice(observe);
        reply.extend_from_slice(b"\xFF1");
        socket.send_to(&reply, peer).unwrap();
        request
    };
    let register = answer(&[0x61, 1]);
    assert_eq!(register[12], 0x60, "Observe 0: {register:02x?}");
    let mut lines = BufReader::new(observer.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("1"));
    kill_process(Pid::from_child(&observer), Signal::INT).unwrap();
    let deregister = answer(&[]);
    assert_eq!((&deregister[4..12], &deregister[12..14]), (&register[4..12], &[0x61, 1][..]));
    assert_eq!(observer.wait().unwrap().code(), Some(130));
}

#[test]
fn keys_and_contexts_protect() {
    let server = Server::start("coaps", &["--writable", "--psk-file", "keys"]);
    server.prints(&["put", "-u", "lamp", "-k", "secret!", "on"], "/x");
    assert_eq!(server.prints(&["get", "-u", "lamp", "-k", "0x73656372657421"], "/x"), "on");
    let (code, words) = failure(&server.run(&["get", "-u", "lamp", "-k", "wrong", "-B", "5"], "/x"));
    assert_eq!(code, 69, "{words}");
}

#[test]
fn failures_have_their_exit_codes() {
    let server = Server::start("coap", &["--writable"]);
    let directory = server.directory.path();
    let code = |arguments: &[&str]| failure(&tercet(directory, arguments).output().unwrap());
    let (unreachable, words) = code(&["coap", "get", "coap+tcp://127.0.0.1:1"]);
    assert_eq!(unreachable, 69, "{words}");
    assert!(words.contains("hint: "), "{words}");
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("coap://{}", silent.local_addr().unwrap());
    let (timeout, words) = code(&["coap", "get", "-B", "0.1", &address]);
    assert_eq!(timeout, 27, "{words}");
    for arguments in [
        &["coap", "get", "http://h"][..],
        &["coap", "get", "coap://h/%zz"],
        &["coap", "put", "coap://h", "body", "-e", "text"],
        &["coap", "get", "-b", "100", "coap://h"],
        &["coap", "get", "-u", "me", "coaps://h"],
        &["coap", "nonsense"],
    ] {
        assert_eq!(tercet(directory, arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_broker_keeps_and_tells() {
    let (broker, _) = Server::broker();
    broker.prints(&["put", "-t", "text", "21.5"], "/ps/greenhouse/temperature");
    assert_eq!(broker.prints(&["get"], "/ps/greenhouse/temperature"), "21.5");
    let mut command = broker.command(&["observe", "--count", "2"], "/ps/greenhouse/temperature");
    let mut observer = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(observer.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("21.5"));
    broker.prints(&["put", "-t", "text", "22"], "/ps/greenhouse/temperature");
    assert_eq!(lines.next().as_deref(), Some("22"));
    assert!(observer.wait().unwrap().success());
    broker.prints(&["delete"], "/ps/greenhouse/temperature");
    assert_eq!(broker.run(&["get"], "/ps/greenhouse/temperature").status.code(), Some(1));
}

#[test]
fn the_broker_is_reached_by_every_transport() {
    let (mut broker, ports) = Server::broker();
    let key: &[&str] = &["-u", "lamp", "-k", "secret!"];
    for (scheme, port, security) in [
        ("coap", "coap", &[][..]),
        ("coap+tcp", "coap-tcp", &[]),
        ("coap+ws", "http", &[]),
        ("coaps", "coaps", key),
        ("coap", "coap", &["-E", "lamp.oscore"]),
        ("coap+tcp", "coap-tcp", &["-E", "lamp.oscore"]),
    ] {
        broker.url =
            format!("{scheme}://{}", ports[port].as_str().unwrap_or_else(|| panic!("{port}: {ports}")));
        let long: String = ('a'..='z').cycle().take(5000).collect();
        broker.prints(&[&["put", "-t", "text", &long][..], security].concat(), "/ps/long");
        assert_eq!(
            broker.prints(&[&["get"][..], security].concat(), "/ps/long"),
            long,
            "{scheme} {security:?}"
        );
        let observe = [&["observe", "--count", "1"][..], security].concat();
        assert_eq!(broker.prints(&observe, "/ps/long").trim_end(), long, "{scheme} {security:?}");
        assert!(broker.prints(&[&["discover"][..], security].concat(), "").contains("core.ps"), "{scheme}");
    }
}
