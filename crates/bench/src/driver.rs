//! Runs scenarios against peers, interleaved, and collects the results.
//!
//! In each round every scenario meets every peer in turn, and each round begins with another peer, so that
//! a disturbance of the machine hits all of them alike over the rounds. Beside every run that is about data on
//! disk, the disk is measured: before the server is started and after it has ended.

use std::path::PathBuf;
use std::time::Duration;

use crate::disk::{DiskBeside, DiskSpeed};
use crate::engine::{Interrupt, LoadError};
use crate::mqtt::wire::Version;
use crate::peers::{Need, Peer, Storage};
use crate::report::{Machine, PeerInfo, Results, Run, ScenarioInfo};
use crate::scenarios::{Context, RunError, Sample, Scenario};

/// How a session is run.
#[derive(Debug, Clone)]
pub struct Session {
    /// Repetitions.
    pub rounds: u32,
    /// Load before each measured window.
    pub warm_up: Duration,
    /// Measured window.
    pub measured: Duration,
    /// Divides the sizes of the big scenarios; 1 for a real measurement.
    pub shrink: usize,
    /// MQTT version of all clients.
    pub version: Version,
    /// Where servers keep what must survive them, each in a directory of its own that is removed afterwards.
    pub data: PathBuf,
    /// The command line, for the record.
    pub command: String,
    /// Open files allowed, for the record.
    pub open_files: u64,
    /// Ends the session early.
    pub interrupt: Interrupt,
}

impl Session {
    /// Runs everything and returns what was measured, also when interrupted; `done` hears of every run.
    pub fn run(
        &self,
        scenarios: &[Box<dyn Scenario>],
        peers: &[Box<dyn Peer>],
        mut done: impl FnMut(&Run),
    ) -> Results {
        let mut results = self.blank(scenarios, peers);
        'session: for round in 1..=self.rounds {
            for scenario in scenarios {
                for turn in 0..peers.len() {
                    let peer = &peers[(turn + round as usize - 1) % peers.len()];
                    if round > scenario.rounds(self.rounds) || !takes_part(peer.as_ref(), scenario.as_ref()) {
                        continue;
                    }
                    match self.run_once(scenario.as_ref(), peer.as_ref()) {
                        Err(RunError::Load(LoadError::Interrupted)) => {
                            results.interrupted = true;
                            break 'session;
                        }
                        outcome => {
                            let run = record(scenario.as_ref(), peer.as_ref(), round, outcome);
                            done(&run);
                            results.runs.push(run);
                        }
                    }
                }
            }
        }
        results.machine.finish();
        results
    }

    fn run_once(&self, scenario: &dyn Scenario, peer: &dyn Peer) -> Result<Sample, RunError> {
        if self.interrupt.is_raised() {
            return Err(RunError::Load(LoadError::Interrupted));
        }
        let needed = scenario.connections() as u64 / self.shrink.max(1) as u64 + SPARE_FILES;
        if needed > self.open_files {
            return Err(RunError::OpenFiles { needed, allowed: self.open_files });
        }
        let context = Context {
            version: self.version,
            warm_up: self.warm_up,
            measured: self.measured,
            shrink: self.shrink,
            interrupt: self.interrupt.clone(),
        };
        if !scenario.need().is_on_disk() {
            return scenario.run(&context, &mut peer.start(scenario.protocol(), Storage::Memory)?);
        }
        if scenario.need() == Need::OnDisk {
            return scenario.run(&context, &mut peer.start(scenario.protocol(), Storage::Disk(&self.data))?);
        }
        let measure = || DiskSpeed::measure(&self.data, DISK_MEASURED).map_err(RunError::Disk);
        let before = measure()?;
        let mut server = peer.start(scenario.protocol(), Storage::Disk(&self.data))?;
        let mut sample = scenario.run(&context, &mut server)?;
        // Its files are still there: removing gigabytes would disturb the disk.
        server.kill();
        sample.disk = Some(DiskBeside { before, after: measure()? });
        Ok(sample)
    }

    fn blank(&self, scenarios: &[Box<dyn Scenario>], peers: &[Box<dyn Peer>]) -> Results {
        let scenario_info = scenarios.iter().map(|scenario| ScenarioInfo {
            name: scenario.name(),
            description: scenario.describe(),
            section: scenario.section(),
            protocol: scenario.protocol(),
        });
        let peer_info = peers.iter().map(|peer| PeerInfo {
            name: peer.name().to_owned(),
            version: peer.version(),
            settings: peer.settings(),
        });
        Results {
            generator: format!("tercet-bench {}", env!("CARGO_PKG_VERSION")),
            command: self.command.clone(),
            machine: Machine::current(self.open_files),
            protocol: self.version,
            warm_up_seconds: self.warm_up.as_secs_f64(),
            measured_seconds: self.measured.as_secs_f64(),
            rounds: self.rounds,
            shrink: self.shrink,
            scenarios: scenario_info.collect(),
            peers: peer_info.collect(),
            runs: Vec::new(),
            interrupted: false,
        }
    }
}

/// Whether a scenario is run against a peer.
pub fn takes_part(peer: &dyn Peer, scenario: &dyn Scenario) -> bool {
    peer.speaks(scenario.protocol()) && peer.offers(scenario.need())
}

/// Open files that a process needs besides its connections.
const SPARE_FILES: u64 = 100;
/// How long the disk is measured each time.
const DISK_MEASURED: Duration = Duration::from_millis(100);

fn record(scenario: &dyn Scenario, peer: &dyn Peer, round: u32, outcome: Result<Sample, RunError>) -> Run {
    let (sample, error) = match outcome {
        Ok(sample) => (Some(sample), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Run { scenario: scenario.name(), peer: peer.name().to_owned(), round, sample, error }
}
