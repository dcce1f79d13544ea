//! Tercet itself: in memory, or with its data on disk.

use std::path::PathBuf;
use std::process::Command;

use super::server::{Launch, PeerError, Probe, Server, TempDir, version_of};
use super::{Need, Peer, Promise, Protocol, Storage};

/// The release binary, or the one that `TERCET_BIN` names.
#[derive(Debug, Clone)]
pub struct Tercet {
    binary: PathBuf,
    twin: bool,
}

/// One listener, for the protocol that is measured.
fn listen(protocol: Protocol) -> [&'static str; 8] {
    let [mqtt, amqp] = match protocol {
        Protocol::Mqtt => ["127.0.0.1:0", "off"],
        Protocol::Amqp => ["off", "127.0.0.1:0"],
    };
    ["--mqtt", mqtt, "--amqp", amqp, "--coap", "off", "--http", "off"]
}

/// A backlog is as long as the scenario says; Mosquitto has no limits here either.
const ON_DISK: &[(&str, &str)] =
    &[("TERCET_LIMITS__MAX_QUEUED_MESSAGES", "off"), ("TERCET_LIMITS__MAX_QUEUED_BYTES", "off")];
const PORTS: &str = "ports.json";

impl Tercet {
    /// The binary of the environment variable `TERCET_BIN`, else `target/release/tercet`.
    pub fn from_env() -> Self {
        let binary = std::env::var_os("TERCET_BIN").map_or("target/release/tercet".into(), PathBuf::from);
        Tercet { binary, twin: false }
    }

    /// The same binary as `tercet-memory`: it takes part in the durable scenarios with durability off, to
    /// show what durability costs.
    #[must_use]
    pub fn twin(self) -> Self {
        Tercet { twin: true, ..self }
    }
}

impl Peer for Tercet {
    fn name(&self) -> &str {
        if self.twin { "tercet-memory" } else { "tercet" }
    }

    fn version(&self) -> String {
        version_of(&self.binary.to_string_lossy(), "--version")
    }

    fn settings(&self) -> String {
        let limits =
            ON_DISK.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
        let listen = listen(Protocol::Mqtt).join(" ");
        if self.twin {
            return format!("serve --memory {listen} ({limits}), or its AMQP listener alone");
        }
        format!(
            "serve --memory {listen} (TERCET_LOG=warn), or its AMQP listener alone; durable and AMQP scenarios \
             with --data DIR ({limits})"
        )
    }

    fn speaks(&self, _: Protocol) -> bool {
        true
    }

    fn offers(&self, need: Need) -> bool {
        need == Need::Durable || !self.twin
    }

    fn start(&self, protocol: Protocol, storage: Storage<'_>) -> Result<Server, PeerError> {
        let mut command = Command::new(&self.binary);
        command.arg("serve").env("TERCET_LOG", "warn");
        let (dir, data) = match storage {
            Storage::Disk(base) if !self.twin => {
                let dir = TempDir::create_in(base, "tercet")?;
                let data = dir.path().join("data");
                command.arg("--data").arg(&data);
                (dir, Some(data))
            }
            _ => {
                command.arg("--memory");
                (TempDir::create("tercet")?, None)
            }
        };
        if let Storage::Disk(_) = storage {
            command.envs(ON_DISK.iter().copied());
        }
        command.args(listen(protocol)).arg("--ports-file").arg(dir.path().join(PORTS));
        let hint = "cargo build --release -p tercet, or set TERCET_BIN";
        let launch = Launch::new(command, dir, Probe::PortsFile(PORTS, protocol), hint);
        match data {
            Some(data) => launch.keeping(data, Promise::SurviveKill).start(),
            None => launch.start(),
        }
    }
}
