//! Tercet itself: in memory, or with its data on disk.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::server::{Launch, PeerError, Probe, Server, TempDir, version_of};
use super::{Need, Peer, Promise, Protocol, Storage};
use crate::coap::{IDENTITY, KEY};

/// The release binary, or the one that `TERCET_BIN` names.
#[derive(Debug, Clone)]
pub struct Tercet {
    binary: PathBuf,
    role: Role,
}

/// What is to be shown beside the server as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nothing: it is as it comes.
    Subject,
    /// What durability costs.
    Memory,
    /// What so many reactors cost (`server.threads`).
    Reactors(u8),
}

/// One listener, for the protocol that is measured.
fn listen(protocol: Protocol) -> [&'static str; 8] {
    let [mqtt, amqp, coap] = match protocol {
        Protocol::Mqtt => ["127.0.0.1:0", "off", "off"],
        Protocol::Amqp => ["off", "127.0.0.1:0", "off"],
        Protocol::Coap | Protocol::Coaps => ["off", "off", "127.0.0.1:0"],
    };
    ["--mqtt", mqtt, "--amqp", amqp, "--coap", coap, "--http", "off"]
}

/// A backlog is as long as the scenario says; Mosquitto has no limits here either.
const ON_DISK: &[(&str, &str)] =
    &[("TERCET_LIMITS__MAX_QUEUED_MESSAGES", "off"), ("TERCET_LIMITS__MAX_QUEUED_BYTES", "off")];
const THREADS: &str = "TERCET_SERVER__THREADS";
const COAP_REACTORS: &str = "TERCET_COAP__REACTORS";
const PORTS: &str = "ports.json";

impl Tercet {
    /// The binary of the environment variable `TERCET_BIN`, else `target/release/tercet`.
    pub fn from_env() -> Self {
        let binary = std::env::var_os("TERCET_BIN").map_or("target/release/tercet".into(), PathBuf::from);
        Tercet { binary, role: Role::Subject }
    }

    /// The same binary as `tercet-memory`: it takes part in the durable scenarios with durability off, to
    /// show what durability costs.
    #[must_use]
    pub fn twin(self) -> Self {
        Tercet { role: Role::Memory, ..self }
    }

    /// The same binary with one or two reactors as `tercet-1` or `tercet-2`, to show what the second costs where
    /// clients are spread over both.
    #[must_use]
    pub fn with_two_reactors(self, two: bool) -> Self {
        Tercet { role: Role::Reactors(1 + u8::from(two)), ..self }
    }
}

impl Peer for Tercet {
    fn name(&self) -> &str {
        match self.role {
            Role::Subject => "tercet",
            Role::Memory => "tercet-memory",
            Role::Reactors(1) => "tercet-1",
            Role::Reactors(_) => "tercet-2",
        }
    }

    fn version(&self) -> String {
        version_of(&self.binary.to_string_lossy(), "--version")
    }

    fn settings(&self) -> String {
        let limits =
            ON_DISK.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
        let listen = listen(Protocol::Mqtt).join(" ");
        match self.role {
            Role::Subject => (),
            Role::Memory => return format!("serve --memory {listen} ({limits}), or its AMQP listener alone"),
            Role::Reactors(threads) => {
                return format!("as tercet, with {THREADS}={threads} {COAP_REACTORS}={threads}");
            }
        }
        format!(
            "serve --memory {listen} (TERCET_LOG=warn), or its AMQP or CoAP listener alone; durable and AMQP \
             scenarios with --data DIR ({limits})"
        )
    }

    fn speaks(&self, protocol: Protocol) -> bool {
        !matches!(self.role, Role::Reactors(_)) || protocol == Protocol::Coap
    }

    fn offers(&self, need: Need) -> bool {
        match self.role {
            Role::Subject => true,
            Role::Memory => need == Need::Durable,
            Role::Reactors(_) => need == Need::Plain,
        }
    }

    fn start(&self, protocol: Protocol, storage: Storage<'_>) -> Result<Server, PeerError> {
        let mut command = Command::new(&self.binary);
        command.arg("serve").env("TERCET_LOG", "warn");
        if let Role::Reactors(threads) = self.role {
            command.env(THREADS, threads.to_string()).env(COAP_REACTORS, threads.to_string());
        }
        let (dir, data) = match storage {
            Storage::Disk(base) if self.role != Role::Memory => {
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
        if protocol == Protocol::Coaps {
            let keys = dir.path().join("keys");
            let digits: String = KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
            fs::write(&keys, format!("{IDENTITY}:{digits}\n"))?;
            command.env("TERCET_COAP__PSK_FILE", keys).env("TERCET_LISTEN__COAPS", "127.0.0.1:0");
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
