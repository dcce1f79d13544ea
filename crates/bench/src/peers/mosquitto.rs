//! Mosquitto, the peer that the bars are multiples of.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::server::{Launch, PeerError, Probe, Server, TempDir, free_port, version_of};
use super::{Need, Peer, Promise, Protocol, Storage};

/// Mosquitto without limits on queues, logging warnings only.
#[derive(Debug, Clone, Default)]
pub struct Mosquitto;

const SETTINGS: &[&str] = &[
    "allow_anonymous true",
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
        format!(
            "persistence false, {} (TCP_NODELAY as by default: off); durable scenarios with persistence true \
             (autosave as by default: every 1800 s and when it ends; it does not sync what it confirms)",
            SETTINGS.join(", ")
        )
    }

    fn offers(&self, _: Need) -> bool {
        true
    }

    fn start(&self, _: Protocol, storage: Storage<'_>) -> Result<Server, PeerError> {
        let (dir, data) = match storage {
            Storage::Memory => (TempDir::create("mosquitto")?, None),
            Storage::Disk(base) => {
                let dir = TempDir::create_in(base, "mosquitto")?;
                let data = dir.path().join("data");
                fs::create_dir(&data)?;
                (dir, Some(data))
            }
        };
        let persistence = match &data {
            // Without a user of its own Mosquitto drops root's rights, and could not write there.
            Some(data) => format!("user root\npersistence true\npersistence_location {}/", data.display()),
            None => "persistence false".to_owned(),
        };
        let port = free_port()?;
        let file = dir.path().join("mosquitto.conf");
        let text = format!("listener {port} 127.0.0.1\n{persistence}\n{}\n", SETTINGS.join("\n"));
        fs::write(&file, text)?;
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file);
        let probe = Probe::Given(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let launch = Launch::new(command, dir, probe, "Debian: apt-get install mosquitto");
        match data {
            Some(data) => launch.keeping(data, Promise::SurviveStop).start(),
            None => launch.start(),
        }
    }
}
