//! `tercet serve`: from flags to a running broker, and from signals to its end.
//!
//! Order of a start: configuration, log, open-file limit, users, listeners, ports file, start-up block, the
//! `ready` line, service manager. Whoever reads `ready in` on stderr, `READY=1` or the ports file can connect.

mod file_limit;
mod notify;
mod ports_file;
mod signals;
mod startup;
mod users;

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Instant;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tercet_server::config::{Config, ConfigErrors, Flag, Loaded, load};
use tercet_server::logging::Logging;
use tercet_server::{RunningServer, Server, StartError};
use tracing::{error, info, warn};

use self::signals::Event;
use crate::config::complete;
use crate::exit::{Exit, Failure};
use crate::output::talk;
use crate::sources::{file_name, read};

/// Flags that set a key: name, key, value name, help.
const VALUE_FLAGS: &[(&str, &str, &str, &str)] = &[
    ("--data", "server.data", "DIR", "Data directory [default: ./tercet-data]"),
    ("--bind", "listen.bind", "IP", "Interface of the default listeners [default: 127.0.0.1]"),
    ("--mqtt", "listen.mqtt", "ADDR", "MQTT: ip:port, :port, :0 for a free port, or off [default: :1883]"),
    ("--amqp", "listen.amqp", "ADDR", "AMQP 0-9-1 [default: :5672]"),
    ("--coap", "listen.coap", "ADDR", "CoAP over UDP [default: :5683]"),
    ("--http", "listen.http", "ADDR", "HTTP and WebSocket [default: :15672]"),
    ("--port-offset", "listen.port-offset", "N", "Added to every port"),
    ("--ports-file", "server.ports-file", "FILE", "Write the real addresses as JSON once everything listens"),
    ("--log", "log", "FILTER", "Log levels: info, or warn,mqtt=debug"),
];

/// The command line.
pub(crate) fn command() -> Command {
    let path = Arg::new("config").long("config").value_name("FILE").value_parser(value_parser!(PathBuf));
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let value_flags = VALUE_FLAGS.iter().map(|(flag, _, value, help)| {
        let name = flag.trim_start_matches('-');
        Arg::new(name).long(name).value_name(*value).help(*help)
    });
    Command::new("serve")
        .about("Run the broker")
        .after_help(
            "Every flag stands for a key of the configuration and wins over environment and file.\n\n\
             Examples:\n  tercet serve\n  tercet serve --bind 0.0.0.0 --log warn,mqtt=debug\n  \
             tercet serve --memory --mqtt :0 --http off --ports-file ports.json",
        )
        .arg(path.help("Configuration file [default: $TERCET_CONFIG, or tercet.toml if it exists]"))
        .arg(switch("memory").conflicts_with("data").help("Keep everything in memory"))
        .args(value_flags)
        .arg(switch("check").help("Check the configuration and exit"))
}

/// Runs the broker until a signal ends it.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let begun = Instant::now();
    let source = ConfigSource { file: file_name(matches, "config"), flags: flags(matches) };
    let mut loaded = source.load()?;
    if matches.get_flag("check") {
        complete(loaded)?;
        talk("the configuration is right");
        return Ok(());
    }
    let events =
        signals::listen().map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")))?;
    let logging = Logging::start(&loaded.config.log).map_err(|error| Failure::failed(error.to_string()))?;
    if let Err(error) = file_limit::raise() {
        warn!(%error, "cannot raise the limit of open files");
    }
    let users = users::prepare(&mut loaded.config)?;
    tercet_server::memory::set_give_back(crate::allocator::give_back);
    let server = Server::start(loaded.config.clone()).map_err(|error| {
        users.take_back();
        start_failure(&error)
    })?;
    if let Some(file) = &loaded.config.server.ports_file {
        ports_file::write(file, server.listeners()).map_err(|error| {
            Failure::failed(format!("cannot write the ports file {}: {error}", file.display()))
        })?;
    }
    logging.flush(std::time::Duration::from_millis(100));
    talk(startup::block(&loaded, server.recovery(), server.listeners(), &users).trim_end());
    talk(&format!("ready in {} ms", begun.elapsed().as_millis()));
    if let Some(line) = startup::commands_to_try(server.listeners(), &users) {
        talk(&line);
    }
    notify::send("READY=1");
    let ended = serve(server, loaded.config, &source, &logging, &events);
    drop(logging);
    ended
}

/// Where the configuration comes from, at the start and at each reload.
struct ConfigSource {
    file: Option<PathBuf>,
    flags: Vec<Flag>,
}

impl ConfigSource {
    fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(&read(self.file.clone(), self.flags.clone())?)
    }
}

fn flags(matches: &ArgMatches) -> Vec<Flag> {
    let mut flags: Vec<_> = VALUE_FLAGS
        .iter()
        .filter_map(|(name, key, _, _)| {
            let value = matches.get_one::<String>(name.trim_start_matches('-'))?.clone();
            Some(Flag { name, key, value })
        })
        .collect();
    if matches.get_flag("memory") {
        flags.push(Flag { name: "--memory", key: "server.durability", value: "memory".into() });
    }
    flags
}

fn start_failure(error: &StartError) -> Failure {
    match error {
        // The configuration names files that cannot be used.
        StartError::Tls { .. } | StartError::Auth(_) => {
            Failure::failed(error.to_string()).exit_with(Exit::BadConfiguration)
        }
        StartError::Listen(error) => {
            let failure = Failure::failed(format!("cannot listen on {}: {}", error.address, error.reason));
            match error.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        StartError::Storage(source) if source.is_refused_by_system() => Failure::failed(error.to_string())
            .hint("name a directory that can be written with --data DIR, or keep nothing with --memory"),
        // What is wrong with a data directory says itself what to do about it.
        StartError::Storage(_) | StartError::Recovery(_) | StartError::System(_) => {
            Failure::failed(error.to_string())
        }
    }
}

/// Waits for signals: reloads, then drains, then is done; a second signal ends the drain.
fn serve(
    server: RunningServer,
    mut config: Config,
    source: &ConfigSource,
    logging: &Logging,
    events: &signals::Events,
) -> Result<(), Failure> {
    while events.next() == Event::Reload {
        reload(&server, &mut config, source, logging);
    }
    notify::send("STOPPING=1");
    let limit = config.server.drain_timeout;
    talk(&format!("stopping: clients have {} s; a second signal ends at once", limit.as_secs()));
    let (drained, done) = mpsc::channel();
    std::thread::spawn(move || {
        server.drain(limit);
        // The receiver is gone only when a second signal has ended the wait.
        let _ = drained.send(());
    });
    events.wait_for_stop_or(&done).map_err(|signals::Interrupted| {
        talk("stopped before every client was served");
        Failure::Reported(Exit::Interrupted)
    })
}

/// Applies a changed configuration, or reports why not and changes nothing.
fn reload(server: &RunningServer, config: &mut Config, source: &ConfigSource, logging: &Logging) {
    notify::reloading();
    match source.load().and_then(complete) {
        Err(errors) => {
            for problem in &errors.problems {
                error!(hint = problem.hint.as_deref(), "configuration: {}", errors.line(problem));
            }
            error!("the configuration was not reloaded: {} mistakes", errors.problems.len());
        }
        Ok(loaded) => {
            let mut new = loaded.config;
            users::keep(&mut new, &config.server.data);
            let reloaded = config.reloaded(new);
            for key in &reloaded.needs_restart {
                warn!(key, "this change takes effect after a restart");
            }
            match server.reload(reloaded.config.clone()) {
                Ok(()) => {
                    logging.reconfigure(&reloaded.config.log);
                    *config = reloaded.config;
                    info!("configuration reloaded");
                }
                Err(error) => error!(%error, "the configuration was not reloaded"),
            }
        }
    }
    notify::send("READY=1");
}
