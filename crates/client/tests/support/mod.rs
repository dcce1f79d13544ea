//! A real broker for one test, Mosquitto or Tercet, on ports that were free a moment ago, ended with the test.
//!
//! Tercet is the binary that `TERCET_BIN` names, or the one that `cargo build -p tercet` puts beside the tests.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mosquitto,
    Tercet,
}

/// What the configurations of both say, each in its own words; `DIR` stands for the broker's directory.
pub(crate) struct Configuration<'a> {
    pub(crate) mosquitto: &'a str,
    pub(crate) tercet: &'a str,
}

/// A running broker.
pub(crate) struct Broker {
    kind: Kind,
    child: Child,
    config: PathBuf,
    directory: tempfile::TempDir,
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Broker {
    /// Starts a broker with this configuration in this directory.
    pub(crate) fn start(kind: Kind, directory: tempfile::TempDir, both: &Configuration<'_>) -> Self {
        let (name, text) = match kind {
            // Started by root it would become another user, who may not use the directory.
            Kind::Mosquitto => ("mosquitto.conf", format!("user root\n{}", both.mosquitto)),
            Kind::Tercet => ("tercet.toml", both.tercet.to_owned()),
        };
        let config = directory.path().join(name);
        std::fs::write(&config, text.replace("DIR", directory.path().to_str().unwrap())).unwrap();
        Self { kind, child: launch(kind, &config), config, directory }
    }

    /// Starts a broker with one plain listener; its address.
    pub(crate) fn plain(kind: Kind) -> (Self, String) {
        Self::tuned(kind, &Configuration { mosquitto: "", tercet: "" })
    }

    /// As [`plain`](Self::plain), with further settings, for Tercet those of the listener.
    pub(crate) fn tuned(kind: Kind, both: &Configuration<'_>) -> (Self, String) {
        let port = free_port();
        let configuration = Configuration {
            mosquitto: &format!("listener {port} 127.0.0.1\nallow_anonymous true\n{}\n", both.mosquitto),
            tercet: &format!("[[listener]]\nbind = \"127.0.0.1:{port}\"\n{}\n", both.tercet),
        };
        let broker = Self::start(kind, tempfile::tempdir().unwrap(), &configuration);
        (broker, format!("mqtt://127.0.0.1:{port}"))
    }

    /// Ends the broker at once and starts it anew, without what it knew.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = launch(self.kind, &self.config);
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs the broker and waits until it listens.
fn launch(kind: Kind, config: &Path) -> Child {
    let mut command = match kind {
        Kind::Mosquitto => {
            let debian = Path::new("/usr/sbin/mosquitto");
            let mut command = Command::new(if debian.exists() { debian } else { Path::new("mosquitto") });
            command.arg("-v").arg("-c").arg(config);
            command
        }
        Kind::Tercet => {
            let mut command = Command::new(tercet());
            command
                .args([
                    "serve", "--memory", "--mqtt", "off", "--amqp", "off", "--coap", "off", "--http", "off",
                    "--config",
                ])
                .arg(config);
            command
        }
    };
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = started.unwrap_or_else(|error| {
        panic!("{kind:?}: {error}; this test needs both brokers: apt-get install mosquitto, cargo build -p tercet")
    });
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    let running = log.by_ref().any(|line| {
        let ready = line.ends_with(" running") || line.starts_with("ready in ");
        said.push(line);
        ready
    });
    assert!(running, "{kind:?} did not start: {said:#?}");
    // Its log must be read on, or it blocks.
    std::thread::spawn(move || log.for_each(drop));
    child
}

/// target/debug/deps/brokers-0123 -> target/debug/tercet
pub(crate) fn tercet() -> PathBuf {
    std::env::var_os("TERCET_BIN").map_or_else(
        || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("tercet"),
        PathBuf::from,
    )
}
