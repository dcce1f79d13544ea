//! Any other broker: by its command line, or one that is running already.

use std::net::{Ipv4Addr, SocketAddr};
use std::process;

use super::server::{Launch, PeerError, Probe, Server, TempDir, free_port};
use super::{Need, Peer, Promise, Protocol, Storage};

/// A broker started by a shell command in which `{port}` stands for the port to listen on (127.0.0.1) and
/// `{dir}` for an empty directory that is removed afterwards.
#[derive(Debug, Clone)]
pub struct Command {
    name: String,
    line: String,
    protocol: Protocol,
}

impl Command {
    /// Parses `name=command line`.
    ///
    /// # Errors
    /// When there is no name, or no `{port}` in the command.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, line) = text.split_once('=').ok_or("expected NAME=COMMAND")?;
        if name.is_empty() || !line.contains("{port}") {
            return Err("expected NAME=COMMAND with {port} in the command".to_owned());
        }
        Ok(Command { name: name.to_owned(), line: line.to_owned(), protocol: Protocol::Mqtt })
    }

    /// The same broker, listening for `protocol` on its port.
    #[must_use]
    pub fn speaking(self, protocol: Protocol) -> Self {
        Command { protocol, ..self }
    }
}

impl Peer for Command {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> String {
        "as started by the command".to_owned()
    }

    fn settings(&self) -> String {
        self.line.clone()
    }

    fn speaks(&self, protocol: Protocol) -> bool {
        protocol == self.protocol
    }

    fn offers(&self, need: Need) -> bool {
        need != Need::Restart
    }

    fn start(&self, _: Protocol, storage: Storage<'_>) -> Result<Server, PeerError> {
        let dir = match storage {
            Storage::Memory => TempDir::create("peer")?,
            Storage::Disk(base) => TempDir::create_in(base, "peer")?,
        };
        let port = free_port()?;
        let line = self.line.replace("{port}", &port.to_string());
        let line = line.replace("{dir}", &dir.path().to_string_lossy());
        let mut command = process::Command::new("sh");
        // `exec` makes the shell's pid the server's, whose CPU time and memory are measured.
        command.arg("-c").arg(format!("exec {line}"));
        let probe = Probe::Given(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let data = dir.path().to_owned();
        let launch = Launch::new(command, dir, probe, "check the command of --peer");
        // What the command does with its directory is not known.
        launch.keeping(data, Promise::Nothing).start()
    }
}

/// A broker that is running already, and keeps running.
#[derive(Debug, Clone)]
pub struct Attached {
    name: String,
    addr: SocketAddr,
    pid: Option<u32>,
}

impl Attached {
    /// Parses `name=ip:port` or `name=ip:port,pid`; without the pid no CPU time is known.
    ///
    /// # Errors
    /// When the text has another form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = "expected NAME=IP:PORT or NAME=IP:PORT,PID";
        let (name, rest) = text.split_once('=').ok_or(form)?;
        let (addr, pid) = match rest.split_once(',') {
            Some((addr, pid)) => (addr, Some(pid.parse().map_err(|_| form)?)),
            None => (rest, None),
        };
        let addr = addr.parse().map_err(|_| form)?;
        Ok(Attached { name: name.to_owned(), addr, pid })
    }
}

impl Peer for Attached {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> String {
        "running already".to_owned()
    }

    fn settings(&self) -> String {
        self.addr.to_string()
    }

    fn offers(&self, need: Need) -> bool {
        matches!(need, Need::Plain | Need::Broker)
    }

    fn start(&self, _: Protocol, _: Storage<'_>) -> Result<Server, PeerError> {
        Ok(Server::attached(self.addr, self.pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_parsed_or_refused() {
        assert!(Command::parse("a=server -p {port}").is_ok());
        for bad in ["a", "=x {port}", "a=server"] {
            assert!(Command::parse(bad).is_err(), "{bad}");
        }
        let attached = Attached::parse("b=127.0.0.1:1883,77").unwrap();
        assert_eq!((attached.name(), attached.pid), ("b", Some(77)));
        assert_eq!(Attached::parse("b=127.0.0.1:1883").unwrap().pid, None);
        for bad in ["b", "b=localhost", "b=127.0.0.1:1883,x"] {
            assert!(Attached::parse(bad).is_err(), "{bad}");
        }
    }
}
