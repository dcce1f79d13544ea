//! The floor program: this same binary, `tercet-bench floor`.

use std::path::PathBuf;
use std::process::Command;

use super::server::{Launch, PeerError, Probe, Server, TempDir};
use super::{Need, Peer, Protocol, Storage};

/// A bare epoll server without features: how far a broker is from what the machine can do.
#[derive(Debug, Clone)]
pub struct Floor {
    binary: PathBuf,
}

impl Floor {
    /// The floor program of the binary at `binary`, which must know the subcommand `floor`.
    pub fn of(binary: PathBuf) -> Self {
        Floor { binary }
    }

    /// The floor program of the running binary.
    ///
    /// # Errors
    /// When the running binary's path is not known.
    pub fn of_this_program() -> std::io::Result<Self> {
        Ok(Floor { binary: std::env::current_exe()? })
    }
}

impl Peer for Floor {
    fn name(&self) -> &str {
        "floor"
    }

    fn version(&self) -> String {
        format!("tercet-bench {}", env!("CARGO_PKG_VERSION"))
    }

    fn settings(&self) -> String {
        "one thread, exact topics, no limits, no sessions (TCP_NODELAY on); CoAP: recvfrom, sendto, Message ID and \
         token echoed, the same 64 bytes to every GET, over DTLS with an engine for each peer"
            .to_owned()
    }

    fn offers(&self, need: Need) -> bool {
        need == Need::Plain
    }

    fn speaks(&self, protocol: Protocol) -> bool {
        protocol != Protocol::Amqp
    }

    fn start(&self, protocol: Protocol, _: Storage<'_>) -> Result<Server, PeerError> {
        let dir = TempDir::create("floor")?;
        let mut command = Command::new(&self.binary);
        command.args(["floor", "--port", "0"]);
        match protocol {
            Protocol::Mqtt | Protocol::Amqp => &mut command,
            Protocol::Coap => command.arg("--coap"),
            Protocol::Coaps => command.arg("--coaps"),
        };
        let probe = Probe::Printed("listening on ", protocol);
        Launch::new(command, dir, probe, "run the tercet-bench binary itself").start()
    }
}
