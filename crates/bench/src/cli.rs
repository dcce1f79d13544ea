//! The command line of `tercet-bench`.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::driver::{Session, takes_part};
use crate::engine::Interrupt;
use crate::floor;
use crate::mqtt::wire::Version;
use crate::peers::{
    Attached, Command as CommandPeer, Floor, LibCoap, Mosquitto, Peer, Protocol, RabbitMq, Storage, Tercet,
};
use crate::report;
use crate::scenarios::{self, Scenario, Suite};

/// Measures Tercet beside other brokers with the same load.
#[derive(Debug, Parser)]
#[command(name = "tercet-bench", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios against peers, interleaved, and print medians, ratios and bars
    Run(Box<Run>),
    /// List the scenarios
    List,
    /// Run the feature-free server that shows what the machine could do
    Floor {
        /// Port on 127.0.0.1; 0 picks a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
        /// Speak CoAP instead of MQTT
        #[arg(long)]
        coap: bool,
        /// Speak CoAP over DTLS instead
        #[arg(long, conflicts_with = "coap")]
        coaps: bool,
    },
}

#[derive(Debug, Args)]
struct Run {
    /// Only scenarios that fit this pattern (`*` stands for anything), of any kind; may be given again
    #[arg(long, value_name = "GLOB")]
    scenario: Vec<String>,
    /// Also every combination of the durable scenarios
    #[arg(long)]
    full: bool,
    /// Also the scenarios that take minutes and gigabytes
    #[arg(long)]
    long: bool,
    /// Which of tercet, tercet-memory (beside durable runs), tercet-1 and tercet-2 (with so many reactors, CoAP),
    /// mosquitto, rabbitmq (AMQP), libcoap (CoAP) and floor take part
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = PEERS)]
    peers: Vec<String>,
    /// Where servers of durable scenarios keep their data, removed after each run; on the disk to be measured
    #[arg(long, value_name = "DIR", default_value = "target/bench-data")]
    data: PathBuf,
    /// Another broker, started by this shell command ({port}: port to listen on, {dir}: scratch directory)
    #[arg(long, value_name = "NAME=COMMAND", value_parser = CommandPeer::parse)]
    peer: Vec<CommandPeer>,
    /// The same for a broker that listens for AMQP 0-9-1 there, and lets guest in with password guest
    #[arg(long, value_name = "NAME=COMMAND", value_parser = CommandPeer::parse)]
    amqp_peer: Vec<CommandPeer>,
    /// Another broker that is running already; its pid makes its CPU time known.
    /// Scenarios that leave sessions or retained messages behind are not run on it
    #[arg(long, value_name = "NAME=IP:PORT[,PID]", value_parser = Attached::parse)]
    external: Vec<Attached>,
    /// Repetitions; figures are medians over them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measured seconds of each run with steady traffic
    #[arg(long, default_value_t = 1.5, value_parser = seconds)]
    seconds: f64,
    /// Seconds of load before the measurement
    #[arg(long, default_value_t = 0.3, value_parser = seconds)]
    warm_up: f64,
    /// Pin the load generator and the servers to these cores, as in `0` or `0,1`. On one core nothing ever
    /// sleeps under load, so figures per CPU-second no longer depend on how busy the machine is
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Speak MQTT 5.0 instead of 3.1.1
    #[arg(long)]
    mqtt5: bool,
    /// A quick look: one round, short windows, big scenarios a tenth of their size
    #[arg(long)]
    quick: bool,
    /// Write every run to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the documentation page to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

const PEERS: &str = "tercet,tercet-memory,tercet-1,tercet-2,mosquitto,rabbitmq,libcoap,floor";

/// Runs the program; exit code 0 when all went well, 1 when a run failed or lost messages, 2 for a wrong
/// command line, 130 when interrupted.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(run) => run.execute(),
        Command::List => list(),
        Command::Floor { port, coap: true, .. } => serve_floor(port, floor::serve_coap),
        Command::Floor { port, coaps: true, .. } => serve_floor(port, floor::serve_coaps),
        Command::Floor { port, .. } => serve_floor(port, floor::serve),
    }
    .unwrap_or_else(|error| {
        say(&format!("tercet-bench: {error}"));
        ExitCode::FAILURE
    })
}

impl Run {
    fn execute(self) -> io::Result<ExitCode> {
        let scenarios = match self.select() {
            Ok(scenarios) => scenarios,
            Err(error) => return Ok(wrong_usage(&error)),
        };
        let peers = match self.all_peers()? {
            Ok(peers) => peers,
            Err(error) => return Ok(wrong_usage(&error)),
        };
        if let Err(error) = pin_to(&self.cpus) {
            return Ok(wrong_usage(&format!("--cpus: {error}")));
        }
        let peers = startable(peers, &scenarios);
        if peers.is_empty() {
            say("tercet-bench: no peer left");
            return Ok(ExitCode::FAILURE);
        }
        let open_files = raise_file_limit();
        let session = self.session(open_files)?;
        let results = session.run(&scenarios, &peers, |run| say(&report::progress_line(run, session.rounds)));
        io::stdout().lock().write_all(report::tables(&results).as_bytes())?;
        if let Some(file) = &self.json {
            let mut text = serde_json::to_string_pretty(&results)?;
            text.push('\n');
            fs::write(file, text)?;
        }
        if let Some(file) = &self.markdown {
            fs::write(file, report::markdown(&results))?;
        }
        let all_well = results.runs.iter().all(|run| run.sample.as_ref().is_some_and(|sample| sample.clean));
        Ok(match (results.interrupted, all_well) {
            (true, _) => ExitCode::from(130),
            (false, true) => ExitCode::SUCCESS,
            (false, false) => ExitCode::FAILURE,
        })
    }

    /// Those that fit a pattern, or those of the suites asked for.
    fn select(&self) -> Result<Vec<Box<dyn Scenario>>, String> {
        let fits = |pattern: &String, scenario: &dyn Scenario| scenarios::matches(pattern, &scenario.name());
        let mut list = scenarios::all();
        for pattern in &self.scenario {
            if !list.iter().any(|scenario| fits(pattern, scenario.as_ref())) {
                return Err(format!("no scenario fits `{pattern}`; `tercet-bench list` shows them"));
            }
        }
        let asked_for = |suite| match suite {
            Suite::Default => true,
            Suite::Full => self.full,
            Suite::Long => self.long,
        };
        list.retain(|scenario| match self.scenario.as_slice() {
            [] => asked_for(scenario.suite()),
            patterns => patterns.iter().any(|pattern| fits(pattern, scenario.as_ref())),
        });
        Ok(list)
    }

    fn session(&self, open_files: u64) -> io::Result<Session> {
        let command: Vec<String> = std::env::args().skip(1).collect();
        let (rounds, seconds, warm_up, shrink) =
            if self.quick { (1, 0.4, 0.1, 10) } else { (self.rounds, self.seconds, self.warm_up, 1) };
        Ok(Session {
            rounds,
            warm_up: Duration::from_secs_f64(warm_up),
            measured: Duration::from_secs_f64(seconds),
            shrink,
            version: if self.mqtt5 { Version::V5 } else { Version::V311 },
            data: self.data.clone(),
            command: format!("tercet-bench {}", command.join(" ")),
            open_files,
            interrupt: Interrupt::on_signals()?,
        })
    }

    fn all_peers(&self) -> io::Result<Result<Vec<Box<dyn Peer>>, String>> {
        let mut peers: Vec<Box<dyn Peer>> = Vec::new();
        for name in &self.peers {
            peers.push(match name.as_str() {
                "tercet" => Box::new(Tercet::from_env()),
                "tercet-memory" => Box::new(Tercet::from_env().twin()),
                "tercet-1" => Box::new(Tercet::from_env().with_two_reactors(false)),
                "tercet-2" => Box::new(Tercet::from_env().with_two_reactors(true)),
                "mosquitto" => Box::new(Mosquitto),
                "rabbitmq" => Box::new(RabbitMq::from_env()),
                "libcoap" => Box::new(LibCoap),
                "floor" => Box::new(Floor::of_this_program()?),
                other => return Ok(Err(format!("no peer `{other}`; there are {PEERS}"))),
            });
        }
        peers.extend(self.peer.iter().map(|peer| Box::new(peer.clone()) as Box<dyn Peer>));
        peers.extend(self.external.iter().map(|peer| Box::new(peer.clone()) as Box<dyn Peer>));
        let amqp = self.amqp_peer.iter().map(|peer| peer.clone().speaking(Protocol::Amqp));
        peers.extend(amqp.map(|peer| Box::new(peer) as Box<dyn Peer>));
        Ok(Ok(peers))
    }
}

/// Keeps this process, and the servers it starts, on these cores; on all when none are given.
fn pin_to(cpus: &[usize]) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for cpu in cpus {
        if *cpu >= CpuSet::MAX_CPU {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        set.set(*cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// The peers that something is to be run against and that start here; of the latter those that do not are left
/// out with a word.
fn startable(mut peers: Vec<Box<dyn Peer>>, scenarios: &[Box<dyn Scenario>]) -> Vec<Box<dyn Peer>> {
    peers.retain(|peer| {
        let first = scenarios.iter().find(|scenario| takes_part(peer.as_ref(), scenario.as_ref()));
        let Some(scenario) = first else { return false };
        let outcome = peer.start(scenario.protocol(), Storage::Memory);
        if let Err(error) = &outcome {
            say(&format!("{} is left out: {error}", peer.name()));
        }
        outcome.is_ok()
    });
    peers
}

fn list() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for scenario in scenarios::all() {
        let flag = match scenario.suite() {
            Suite::Default => "",
            Suite::Full => " (with --full)",
            Suite::Long => " (with --long)",
        };
        writeln!(out, "{:<26} {}{flag}", scenario.name(), scenario.describe())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Serves at an address until interrupted; the function in the box hears of the address that it has got.
type Serve = fn(SocketAddr, &Interrupt, Box<dyn FnOnce(SocketAddr)>) -> io::Result<()>;

fn serve_floor(port: u16, serve: Serve) -> io::Result<ExitCode> {
    raise_file_limit();
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ready = |bound| {
        let mut out = io::stdout().lock();
        // Nobody reading the address is no reason not to serve.
        let _ = writeln!(out, "listening on {bound}").and_then(|()| out.flush());
    };
    serve(addr, &Interrupt::on_signals()?, Box::new(ready))?;
    Ok(ExitCode::SUCCESS)
}

/// Allows this process and the servers it starts as many open files as the hard limit permits.
fn raise_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.unwrap_or(u64::MAX)
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number of seconds")?;
    if (0.01..=3600.0).contains(&value) { Ok(value) } else { Err("expected 0.01 to 3600 seconds".to_owned()) }
}

fn wrong_usage(error: &str) -> ExitCode {
    say(&format!("tercet-bench: {error}"));
    ExitCode::from(2)
}

/// Talk goes to stderr; that nobody listens does not matter.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
