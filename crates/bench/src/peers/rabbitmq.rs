//! RabbitMQ, the peer that the bars of the AMQP scenarios are multiples of.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{Launch, PeerError, Probe, Server, TempDir, free_port};
use super::{Need, Peer, Promise, Protocol, Storage};

/// A RabbitMQ node of our own, without plugins and with the configuration that it has by default.
#[derive(Debug, Clone)]
pub struct RabbitMq {
    script: PathBuf,
}

/// The script behind the wrapper in `/usr/sbin`, which insists on its own user and directories.
const DEBIAN_SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const HINT: &str = "Debian: apt-get install --no-install-recommends rabbitmq-server; else RABBITMQ_SERVER=/path/to/sbin/rabbitmq-server";
/// Erlang's port mapper is started beside it, so that it ends with it and meets no other.
const START: &str = "epmd -port \"$ERL_EPMD_PORT\" -address 127.0.0.1 & exec \"$0\"";

impl RabbitMq {
    /// The start script that the environment variable `RABBITMQ_SERVER` names, else Debian's.
    pub fn from_env() -> Self {
        RabbitMq { script: std::env::var_os("RABBITMQ_SERVER").map_or(DEBIAN_SCRIPT.into(), PathBuf::from) }
    }
}

impl Peer for RabbitMq {
    fn name(&self) -> &str {
        "rabbitmq"
    }

    fn version(&self) -> String {
        let version = version_beside(&self.script);
        version.map_or_else(|| "version unknown".to_owned(), |version| format!("RabbitMQ {version}"))
    }

    fn settings(&self) -> String {
        "everything as by default (credit flow on, confirms after fsync), no plugins, log level warning; \
         classic queues; data on disk in every scenario; CPU time and memory of beam.smp and all that it starts"
            .to_owned()
    }

    fn speaks(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Amqp
    }

    fn offers(&self, _: Need) -> bool {
        true
    }

    fn start(&self, _: Protocol, storage: Storage<'_>) -> Result<Server, PeerError> {
        fs::metadata(&self.script).map_err(|source| PeerError::Missing {
            program: self.script.display().to_string(),
            source,
            hint: HINT,
        })?;
        let dir = match storage {
            Storage::Memory => TempDir::create("rabbitmq")?,
            Storage::Disk(base) => TempDir::create_in(base, "rabbitmq")?,
        };
        let port = free_port()?;
        let command = self.command(dir.path(), port)?;
        let probe = Probe::Given(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let data = dir.path().join("mnesia");
        Launch::new(command, dir, probe, HINT).keeping(data, Promise::SurviveStop).start()
    }
}

impl RabbitMq {
    fn command(&self, dir: &Path, port: u16) -> io::Result<Command> {
        let configuration = dir.join("rabbitmq.conf");
        fs::write(
            &configuration,
            format!(
                "listeners.tcp.1 = 127.0.0.1:{port}\nlog.file = false\nlog.console = true\n\
                 log.console.level = warning\n"
            ),
        )?;
        let mut command = Command::new("sh");
        command
            .args(["-c", START])
            .arg(&self.script)
            .env("HOME", dir)
            .env("RABBITMQ_NODENAME", "tercet-bench@localhost")
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_CONFIG_FILE", configuration)
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_DIST_PORT", free_port()?.to_string())
            .env("ERL_EPMD_PORT", free_port()?.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // So that the script becomes the server, whose pid we then have, instead of watching over it.
            .env("RUNNING_UNDER_SYSTEMD", "true");
        Ok(command)
    }
}

/// The version in the name of a directory `rabbitmq_server-3.10.8`, which a script is in or has in a `lib`
/// beside its own directory.
fn version_beside(script: &Path) -> Option<String> {
    let script = script.canonicalize().ok()?;
    let library = script.ancestors().nth(2)?.join("lib");
    let beside = fs::read_dir(library).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut candidates = script.ancestors().map(Path::to_owned).chain(beside);
    candidates.find_map(|dir| dir.file_name()?.to_str()?.strip_prefix("rabbitmq_server-").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_not_installed_is_reported_with_the_way_to_get_it() {
        let peer = RabbitMq { script: "/nonexistent/rabbitmq-server".into() };
        let error = peer.start(Protocol::Amqp, Storage::Memory).unwrap_err().to_string();
        assert!(error.contains("apt-get install") && error.contains("/nonexistent"), "{error}");
        assert_eq!(peer.version(), "version unknown");
    }

    #[test]
    fn the_version_is_in_a_directory_name() {
        let root = std::env::temp_dir().join(format!("tercet-bench-rabbitmq-{}", std::process::id()));
        let sbin = root.join("rabbitmq_server-9.8.7/sbin");
        fs::create_dir_all(&sbin).unwrap();
        fs::write(sbin.join("rabbitmq-server"), "").unwrap();
        let debian = root.join("bin");
        fs::create_dir_all(&debian).unwrap();
        fs::write(debian.join("rabbitmq-server"), "").unwrap();
        let lib = root.join("lib/rabbitmq_server-1.2.3");
        fs::create_dir_all(&lib).unwrap();
        for (script, version) in [(&sbin, "9.8.7"), (&debian, "1.2.3")] {
            let peer = RabbitMq { script: script.join("rabbitmq-server") };
            assert_eq!(peer.version(), format!("RabbitMQ {version}"));
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
