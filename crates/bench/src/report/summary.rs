//! Medians of each scenario and peer, and their ratios.

use super::figures::median;
use super::results::{Results, Run};
use crate::engine::Tally;
use crate::scenarios::Sample;

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
    /// The medians, field by field; counts of faults are summed.
    pub median: Sample,
    /// Runs with a sample.
    pub runs: usize,
    /// Runs without a fault.
    pub clean_runs: usize,
    /// Runs without a sample.
    pub failed: usize,
    /// Why the last of these failed.
    pub error: Option<String>,
}

impl Summary {
    /// Summarises a session.
    pub fn of(results: &Results) -> Self {
        let mut cells = Vec::new();
        for scenario in &results.scenarios {
            for peer in &results.peers {
                let belongs = |run: &&Run| run.scenario == scenario.name && run.peer == peer.name;
                let runs: Vec<&Run> = results.runs.iter().filter(belongs).collect();
                if !runs.is_empty() {
                    cells.push(Cell::of(&scenario.name, &peer.name, &runs));
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
            median: median_sample(&samples),
            runs: samples.len(),
            clean_runs: samples.iter().filter(|sample| sample.clean).count(),
            failed: runs.len() - samples.len(),
            error: runs.iter().rev().find_map(|run| run.error.clone()),
        }
    }

    /// Whether every run ended well and without a fault.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.runs > 0 && self.clean_runs == self.runs
    }

    /// `3/3`, or what went wrong.
    pub fn describe_clean(&self) -> String {
        let total = self.runs + self.failed;
        match (&self.error, self.is_clean()) {
            (_, true) => format!("{total}/{total}"),
            (Some(error), _) => {
                format!("{}/{total} ({})", self.clean_runs, error.lines().next().unwrap_or_default())
            }
            (None, _) => format!("{}/{total} ({})", self.clean_runs, self.median.faults.describe()),
        }
    }
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
    Sample {
        count: of(|s| Some(s.count as f64)).unwrap_or(0.0) as u64,
        seconds: of(|s| Some(s.seconds)).unwrap_or(0.0),
        rate: of(|s| Some(s.rate)).unwrap_or(0.0),
        server_cpu_seconds: of(|s| s.server_cpu_seconds),
        server_waited_seconds: of(|s| s.server_waited_seconds),
        per_cpu_second: of(|s| s.per_cpu_second),
        generator_cpu_seconds: of(|s| Some(s.generator_cpu_seconds)).unwrap_or(0.0),
        p50_us: of(|s| s.p50_us),
        p99_us: of(|s| s.p99_us),
        p999_us: of(|s| s.p999_us),
        rss_before: bytes(|s| s.rss_before),
        rss_after: bytes(|s| s.rss_after),
        anonymous_before: bytes(|s| s.anonymous_before),
        anonymous_after: bytes(|s| s.anonymous_after),
        extra: extra.collect(),
        faults: samples.iter().fold(Tally::default(), |sum, sample| sum.plus(&sample.faults)),
        clean: samples.iter().all(|sample| sample.clean),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::{PeerInfo, ScenarioInfo};

    /// A session with one run per given (scenario, peer, per CPU-second, p99).
    pub(in crate::report) fn results(figures: &[(&str, &str, f64, f64)]) -> Results {
        let mut results = Results::default();
        for (scenario, peer, per_cpu, p99) in figures {
            if !results.scenarios.iter().any(|s| s.name == *scenario) {
                let info = ScenarioInfo { name: (*scenario).to_owned(), description: "about".to_owned() };
                results.scenarios.push(info);
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
}
