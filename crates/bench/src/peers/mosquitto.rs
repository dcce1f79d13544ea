//! Mosquitto, the peer that the bars are multiples of.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::Peer;
use super::server::{Launch, PeerError, Server, TempDir, free_port, version_of};

/// Mosquitto in memory, without limits on queues, logging warnings only.
#[derive(Debug, Clone, Default)]
pub struct Mosquitto;

const SETTINGS: &[&str] = &[
    "allow_anonymous true",
    "persistence false",
    "max_queued_messages 0",
    "max_queued_bytes 0",
    "max_inflight_messages 200",
    "log_dest stderr",
    "log_type error",
    "log_type warning",
];

impl Peer for Mosquitto {
    fn name(&self) -> &str {
        "mosquitto"
    }

    fn version(&self) -> String {
        version_of("mosquitto", "-h")
    }

    fn settings(&self) -> String {
        format!("{} (TCP_NODELAY as by default: off)", SETTINGS.join(", "))
    }

    fn start(&self) -> Result<Server, PeerError> {
        let dir = TempDir::create("mosquitto")?;
        let port = free_port()?;
        let file = dir.path().join("mosquitto.conf");
        fs::write(&file, format!("listener {port} 127.0.0.1\n{}\n", SETTINGS.join("\n")))?;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file);
        let launch = Launch::start(command, dir, "Debian: apt-get install mosquitto")?;
        launch.await_ready(|_| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
    }
}
