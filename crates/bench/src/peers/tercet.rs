//! Tercet itself, in memory.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Peer;
use super::server::{Launch, PeerError, Server, TempDir, version_of};

/// The release binary, or the one that `TERCET_BIN` names.
#[derive(Debug, Clone)]
pub struct Tercet {
    binary: PathBuf,
}

const ARGUMENTS: &[&str] =
    &["serve", "--memory", "--mqtt", "127.0.0.1:0", "--amqp", "off", "--coap", "off", "--http", "off"];

impl Tercet {
    /// The binary of the environment variable `TERCET_BIN`, else `target/release/tercet`.
    pub fn from_env() -> Self {
        let binary = std::env::var_os("TERCET_BIN").map_or("target/release/tercet".into(), PathBuf::from);
        Tercet { binary }
    }
}

impl Peer for Tercet {
    fn name(&self) -> &str {
        "tercet"
    }

    fn version(&self) -> String {
        version_of(&self.binary.to_string_lossy(), "--version")
    }

    fn settings(&self) -> String {
        format!("{} (TERCET_LOG=warn)", ARGUMENTS.join(" "))
    }

    fn start(&self) -> Result<Server, PeerError> {
        let dir = TempDir::create("tercet")?;
        let mut command = Command::new(&self.binary);
        command.args(ARGUMENTS).arg("--ports-file").arg(dir.path().join("ports.json"));
        command.env("TERCET_LOG", "warn");
        let launch = Launch::start(command, dir, "cargo build --release -p tercet, or set TERCET_BIN")?;
        launch.await_ready(|dir| mqtt_addr(&dir.join("ports.json")))
    }
}

/// The `mqtt` entry of a ports file.
fn mqtt_addr(ports_file: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(ports_file).ok()?;
    let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
    ports.get("mqtt")?.as_str()?.parse().ok()
}
