//! Medians of each scenario and peer, and their ratios.

use super::figures::median;
use super::results::{Results, Run};
use crate::disk::DiskSpeed;
use crate::engine::Tally;
use crate::peers::Protocol;
use crate::scenarios::{Sample, Section};

/// The medians of all of a session's runs.
#[derive(Debug, Clone)]
pub struct Summary {
    cells: Vec<Cell>,
}

/// One scenario at one peer.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Scenario.
    pub scenario: String,
    /// Peer.
    pub peer: String,
    /// How the scenario's figures are shown.
    pub section: Section,
    /// What its clients speak.
    pub protocol: Protocol,
    /// The medians, field by field; counts of faults are summed.
    pub median: Sample,
    /// Runs with a sample.
    pub runs: usize,
    /// Runs without a fault.
    pub clean_runs: usize,
    /// Runs beside which the disk was [`NOISE`] times faster or slower than it mostly was in the session.
    pub noisy_runs: usize,
    /// The disk beside the runs, by medians.
    pub disk: Option<DiskSpeed>,
    /// Runs without a sample.
    pub failed: usize,
    /// Why the last of these failed.
    pub error: Option<String>,
}

/// Syncs a second that are so many times more or fewer than usual make a run noisy.
pub const NOISE: f64 = 1.5;

impl Summary {
    /// Summarises a session.
    pub fn of(results: &Results) -> Self {
        let usual = usual_syncs(results);
        let mut cells = Vec::new();
        for scenario in &results.scenarios {
            for peer in &results.peers {
                let belongs = |run: &&Run| run.scenario == scenario.name && run.peer == peer.name;
                let runs: Vec<&Run> = results.runs.iter().filter(belongs).collect();
                if !runs.is_empty() {
                    let mut cell = Cell::of(&scenario.name, &peer.name, &runs);
                    cell.section = scenario.section;
                    cell.protocol = scenario.protocol;
                    cell.noisy_runs = runs.iter().filter(|run| is_noisy(run, usual)).count();
                    cells.push(cell);
                }
            }
        }
        Summary { cells }
    }

    /// All cells, by scenario, then by peer.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// One cell.
    pub fn cell(&self, scenario: &str, peer: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.scenario == scenario && cell.peer == peer)
    }

    /// A peer's messages per server CPU-second as a multiple of another's in the same scenario.
    pub fn ratio(&self, scenario: &str, peer: &str, base: &str) -> Option<f64> {
        let of = |name| self.cell(scenario, name)?.median.per_cpu_second;
        Some(of(peer)? / of(base)?).filter(|ratio| ratio.is_finite())
    }
}

impl Cell {
    fn of(scenario: &str, peer: &str, runs: &[&Run]) -> Self {
        let samples: Vec<&Sample> = runs.iter().filter_map(|run| run.sample.as_ref()).collect();
        Cell {
            scenario: scenario.to_owned(),
            peer: peer.to_owned(),
            section: Section::default(),
            protocol: Protocol::default(),
            median: median_sample(&samples),
            runs: samples.len(),
            clean_runs: samples.iter().filter(|sample| sample.clean).count(),
            noisy_runs: 0,
            disk: median_disk(&samples),
            failed: runs.len() - samples.len(),
            error: runs.iter().rev().find_map(|run| run.error.clone()),
        }
    }

    /// Whether every run ended well and without a fault.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.runs > 0 && self.clean_runs == self.runs
    }

    /// `3/3`, what went wrong, and how many runs the disk disturbed.
    pub fn describe_clean(&self) -> String {
        let faults = self.describe_faults();
        if self.noisy_runs == 0 { faults } else { format!("{faults}, {} noisy", self.noisy_runs) }
    }

    fn describe_faults(&self) -> String {
        let total = self.runs + self.failed;
        match (&self.error, self.is_clean()) {
            (_, true) => format!("{total}/{total}"),
            (Some(error), _) => {
                format!("{}/{total} ({})", self.clean_runs, error.lines().next().unwrap_or_default())
            }
            (None, _) => format!("{}/{total} ({})", self.clean_runs, self.median.describe_faults()),
        }
    }
}

/// Syncs a second in the middle of all measurements of the disk.
fn usual_syncs(results: &Results) -> Option<f64> {
    let disks = results.runs.iter().filter_map(|run| run.sample.as_ref()?.disk);
    median(disks.flat_map(|disk| [disk.before.per_second, disk.after.per_second]))
}

fn is_noisy(run: &Run, usual: Option<f64>) -> bool {
    let disk = run.sample.as_ref().and_then(|sample| sample.disk);
    let Some((disk, usual)) = disk.zip(usual) else { return false };
    let off = |speed: DiskSpeed| speed.per_second > usual * NOISE || speed.per_second * NOISE < usual;
    off(disk.before) || off(disk.after)
}

fn median_disk(samples: &[&Sample]) -> Option<DiskSpeed> {
    let of = |field: fn(DiskSpeed) -> f64| {
        median(samples.iter().filter_map(|sample| Some(field(sample.disk.as_ref()?.mean()))))
    };
    Some(DiskSpeed {
        per_second: of(|disk| disk.per_second)?,
        p50_us: of(|disk| disk.p50_us)?,
        p99_us: of(|disk| disk.p99_us)?,
        cpu_us: of(|disk| disk.cpu_us)?,
    })
}

fn median_sample(samples: &[&Sample]) -> Sample {
    let of = |field: fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(|sample| field(sample)));
    let bytes = |field: fn(&Sample) -> Option<u64>| {
        median(samples.iter().filter_map(|sample| field(sample)).map(|bytes| bytes as f64)).map(|b| b as u64)
    };
    let names = samples.iter().flat_map(|sample| sample.extra.keys());
    let extra = names.filter_map(|name| {
        let value = median(samples.iter().filter_map(|sample| sample.extra.get(name)).copied())?;
        Some((name.clone(), value))
    });
    let threads = samples.iter().flat_map(|sample| sample.thread_cpu_seconds.keys()).filter_map(|name| {
        let of = |sample: &&Sample| sample.thread_cpu_seconds.get(name).copied();
        Some((name.clone(), median(samples.iter().filter_map(of))?))
    });
    Sample {
        count: of(|s| Some(s.count as f64)).unwrap_or(0.0) as u64,
        seconds: of(|s| Some(s.seconds)).unwrap_or(0.0),
        rate: of(|s| Some(s.rate)).unwrap_or(0.0),
        server_cpu_seconds: of(|s| s.server_cpu_seconds),
        thread_cpu_seconds: threads.collect(),
        written: bytes(|s| s.written),
        server_waited_seconds: of(|s| s.server_waited_seconds),
        per_cpu_second: of(|s| s.per_cpu_second),
        generator_cpu_seconds: of(|s| Some(s.generator_cpu_seconds)).unwrap_or(0.0),
        p50_us: of(|s| s.p50_us),
        p99_us: of(|s| s.p99_us),
        p999_us: of(|s| s.p999_us),
        confirm_p50_us: of(|s| s.confirm_p50_us),
        confirm_p99_us: of(|s| s.confirm_p99_us),
        // See `Cell::disk`.
        disk: None,
        rss_before: bytes(|s| s.rss_before),
        rss_after: bytes(|s| s.rss_after),
        anonymous_before: bytes(|s| s.anonymous_before),
        anonymous_after: bytes(|s| s.anonymous_after),
        extra: extra.collect(),
        faults: samples.iter().fold(Tally::default(), |sum, sample| sum.plus(&sample.faults)),
        closed_because: samples.iter().rev().find_map(|sample| sample.closed_because.clone()),
        clean: samples.iter().all(|sample| sample.clean),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::disk::DiskBeside;
    use crate::report::{PeerInfo, ScenarioInfo};

    /// A session with one run per given (scenario, peer, per CPU-second, p99).
    pub(in crate::report) fn results(figures: &[(&str, &str, f64, f64)]) -> Results {
        let mut results = Results::default();
        for (scenario, peer, per_cpu, p99) in figures {
            if !results.scenarios.iter().any(|s| s.name == *scenario) {
                let (name, description) = ((*scenario).to_owned(), "about".to_owned());
                let section = Section::default();
                let protocol = Protocol::default();
                results.scenarios.push(ScenarioInfo { name, description, section, protocol });
            }
            if !results.peers.iter().any(|p| p.name == *peer) {
                let (name, version, settings) = ((*peer).to_owned(), "1".to_owned(), "as is".to_owned());
                results.peers.push(PeerInfo { name, version, settings });
            }
            let sample = Sample {
                per_cpu_second: Some(*per_cpu),
                p99_us: Some(*p99),
                clean: true,
                ..Sample::default()
            };
            results.runs.push(Run {
                scenario: (*scenario).to_owned(),
                peer: (*peer).to_owned(),
                round: 1,
                sample: Some(sample),
                error: None,
            });
        }
        results
    }

    #[test]
    fn medians_and_ratios_come_from_the_runs_of_a_cell() {
        let mut results = results(&[
            ("a", "x", 100.0, 1.0),
            ("a", "x", 300.0, 9.0),
            ("a", "x", 120.0, 2.0),
            ("a", "y", 60.0, 2.0),
            ("b", "x", 1.0, 2.0),
        ]);
        let summary = Summary::of(&results);
        let cell = summary.cell("a", "x").unwrap();
        assert_eq!((cell.median.per_cpu_second, cell.median.p99_us), (Some(120.0), Some(2.0)));
        assert_eq!(cell.describe_clean(), "3/3");
        assert_eq!(summary.ratio("a", "x", "y"), Some(2.0));
        assert_eq!(summary.ratio("b", "x", "y"), None);

        results.runs[0].sample = None;
        results.runs[0].error = Some("no answer".to_owned());
        let summary = Summary::of(&results);
        let cell = &summary.cells()[0];
        assert!(!cell.is_clean());
        assert_eq!(cell.describe_clean(), "2/3 (no answer)");
    }

    #[test]
    fn a_run_beside_a_disk_that_swings_is_noisy() {
        let mut results = results(&[("a", "x", 1.0, 1.0), ("a", "x", 1.0, 1.0), ("a", "x", 1.0, 1.0)]);
        let speed =
            |per_second: f64| DiskSpeed { per_second, p50_us: 1e6 / per_second, p99_us: 1.0, cpu_us: 1.0 };
        for (run, after) in results.runs.iter_mut().zip([100.0, 120.0, 160.0]) {
            if let Some(sample) = &mut run.sample {
                sample.disk = Some(DiskBeside { before: speed(100.0), after: speed(after) });
            }
        }
        let summary = Summary::of(&results);
        let cell = &summary.cells()[0];
        assert_eq!((cell.noisy_runs, cell.describe_clean().as_str()), (1, "3/3, 1 noisy"));
        assert_eq!(cell.disk.map(|disk| disk.per_second), Some(110.0));
    }
}
