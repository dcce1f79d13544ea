//! A real Mosquitto broker for one test, on ports that were free a moment ago, ended with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running broker.
pub(crate) struct Mosquitto {
    child: Child,
    config: PathBuf,
    directory: tempfile::TempDir,
}

/// A port that is free now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl Mosquitto {
    /// Starts a broker with this configuration, in which `DIR` stands for a directory of its own.
    pub(crate) fn start(directory: tempfile::TempDir, config: &str) -> Self {
        let path = directory.path().join("mosquitto.conf");
        // Started by root it would become another user, who may not use the directory.
        let config = format!("user root\n{}", config.replace("DIR", directory.path().to_str().unwrap()));
        std::fs::write(&path, config).unwrap();
        Self { child: launch(&path), config: path, directory }
    }

    /// Starts a broker with one plain listener; its address.
    pub(crate) fn plain(extra: &str) -> (Self, String) {
        let port = free_port();
        let config = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{extra}\n");
        (Self::start(tempfile::tempdir().unwrap(), &config), format!("mqtt://127.0.0.1:{port}"))
    }

    /// Ends the broker at once and starts it anew, without what it knew.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = launch(&self.config);
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs the broker and waits until it listens.
fn launch(config: &Path) -> Child {
    let program = if Path::new("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let started = Command::new(program).arg("-v").arg("-c").arg(config).stderr(Stdio::piped()).spawn();
    let mut child = started.expect("this test needs the mosquitto broker: apt-get install mosquitto");
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let running = log.by_ref().map_while(Result::ok).any(|line| line.ends_with(" running"));
    assert!(running, "mosquitto did not start");
    // Its log must be read on, or it blocks.
    std::thread::spawn(move || log.for_each(drop));
    child
}
