//! The bars that Tercet has set itself, and whether a session shows them met.

use super::summary::{Cell, Summary};

/// One promise about one scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Scenario.
    pub scenario: &'static str,
    /// What is compared.
    pub measure: Measure,
    /// Where the bar lies.
    pub target: f64,
}

/// What a bar is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Messages per server CPU-second, at least `target` times those of this peer.
    PerCpuOf(&'static str),
    /// p99 latency, at most `target` times that of this peer.
    P99Of(&'static str),
    /// This figure of the scenario, at most `target`.
    AtMost(&'static str),
}

/// A bar and what was measured.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// The bar.
    pub bar: Bar,
    /// The measured value, in the bar's own measure; `None` when a peer it needs did not run.
    pub value: Option<f64>,
    /// Whether the bar is met, by clean runs; `None` when it was not measured.
    pub met: Option<bool>,
}

/// The peer that the bars are about.
const SUBJECT: &str = "tercet";
const PER_CONNECTION: &str = "anonymous_bytes_per_connection";
const PER_CONNECTION_USED: &str = "anonymous_bytes_per_connection_after_ping";

const fn times(scenario: &'static str, peer: &'static str, target: f64) -> Bar {
    Bar { scenario, measure: Measure::PerCpuOf(peer), target }
}

/// All bars.
pub const BARS: &[Bar] = &[
    times("pipe-qos0-64", "mosquitto", 12.0),
    times("pipe-qos1-64", "mosquitto", 13.0),
    times("pipe-qos2-64", "mosquitto", 11.0),
    times("pipe-qos0-16k", "mosquitto", 1.5),
    times("pipe-qos1-16k", "mosquitto", 1.5),
    times("pipe-qos2-16k", "mosquitto", 1.5),
    times("pipe10-qos0-256", "mosquitto", 13.0),
    times("pipe10-qos1-256", "mosquitto", 14.0),
    times("fanin100-qos0", "mosquitto", 10.0),
    times("fanin100-qos1", "mosquitto", 12.0),
    times("fanout500-qos0", "mosquitto", 2.5),
    times("fanout500-qos1", "mosquitto", 2.5),
    times("offline-50k", "mosquitto", 3.5),
    times("retained-100k", "mosquitto", 3.5),
    times("idle-10k", "mosquitto", 0.9),
    Bar { scenario: "idle-10k", measure: Measure::AtMost(PER_CONNECTION), target: 1536.0 },
    Bar { scenario: "idle-10k", measure: Measure::AtMost(PER_CONNECTION_USED), target: 1536.0 },
    Bar { scenario: "latency-5k-qos0", measure: Measure::P99Of("mosquitto"), target: 1.0 },
    Bar { scenario: "latency-5k-qos1", measure: Measure::P99Of("mosquitto"), target: 1.0 },
    times("pipe-qos0-64", "floor", 0.25),
    times("pipe-qos1-64", "floor", 0.25),
    times("pipe-qos2-64", "floor", 0.25),
    times("pipe10-qos0-256", "floor", 0.25),
    times("pipe10-qos1-256", "floor", 0.25),
    times("fanout500-qos0", "floor", 0.55),
    times("fanout500-qos1", "floor", 0.55),
];

impl Bar {
    /// The bar in words.
    pub fn describe(&self) -> String {
        match self.measure {
            Measure::PerCpuOf(peer) => format!("at least {} x {peer} per server CPU-second", self.target),
            Measure::P99Of(peer) => format!("p99 at most {} x {peer}'s", self.target),
            Measure::AtMost(figure) => format!("{} at most {}", figure.replace('_', " "), self.target),
        }
    }

    fn judge(&self, summary: &Summary) -> Verdict {
        let subject = summary.cell(self.scenario, SUBJECT);
        let p99 = |cell: &Cell| cell.median.p99_us;
        let (value, met) = match self.measure {
            Measure::PerCpuOf(peer) => {
                let ratio = summary.ratio(self.scenario, SUBJECT, peer);
                (ratio, ratio.map(|ratio| ratio >= self.target))
            }
            Measure::P99Of(peer) => {
                let base = summary.cell(self.scenario, peer).and_then(p99);
                let ratio = subject.and_then(p99).zip(base).map(|(ours, theirs)| ours / theirs);
                (ratio, ratio.map(|ratio| ratio <= self.target))
            }
            Measure::AtMost(figure) => {
                let value = subject.and_then(|cell| cell.median.extra.get(figure).copied());
                (value, value.map(|value| value <= self.target))
            }
        };
        let clean = subject.is_some_and(Cell::is_clean);
        Verdict { bar: *self, value, met: met.map(|met| met && clean) }
    }
}

/// Judges every bar whose scenario the subject ran.
pub fn verdicts(summary: &Summary) -> Vec<Verdict> {
    let ran = |bar: &&Bar| summary.cell(bar.scenario, SUBJECT).is_some();
    BARS.iter().filter(ran).map(|bar| bar.judge(summary)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary::tests::results;

    fn verdict(figures: &[(&str, &str, f64, f64)], scenario: &str, measure: Measure) -> Verdict {
        let summary = Summary::of(&results(figures));
        let found = verdicts(&summary).into_iter();
        found.into_iter().find(|v| v.bar.scenario == scenario && v.bar.measure == measure).unwrap()
    }

    #[test]
    fn a_bar_is_met_missed_or_not_measured() {
        let per_cpu = Measure::PerCpuOf("mosquitto");
        let met = [("pipe-qos0-64", "tercet", 1200.0, 1.0), ("pipe-qos0-64", "mosquitto", 100.0, 1.0)];
        assert_eq!(verdict(&met, "pipe-qos0-64", per_cpu).met, Some(true));
        let missed = [("pipe-qos0-64", "tercet", 1199.0, 1.0), ("pipe-qos0-64", "mosquitto", 100.0, 1.0)];
        assert_eq!(verdict(&missed, "pipe-qos0-64", per_cpu).met, Some(false));
        assert_eq!(verdict(&met[..1], "pipe-qos0-64", per_cpu).met, None);
        let slow = [("latency-5k-qos1", "tercet", 1.0, 3.0), ("latency-5k-qos1", "mosquitto", 1.0, 2.0)];
        let judged = verdict(&slow, "latency-5k-qos1", Measure::P99Of("mosquitto"));
        assert_eq!((judged.value, judged.met), (Some(1.5), Some(false)));
    }

    #[test]
    fn a_run_that_lost_messages_meets_no_bar() {
        let mut session =
            results(&[("pipe-qos0-64", "tercet", 9999.0, 1.0), ("pipe-qos0-64", "mosquitto", 100.0, 1.0)]);
        if let Some(sample) = &mut session.runs[0].sample {
            sample.clean = false;
        }
        let judged = verdicts(&Summary::of(&session));
        assert_eq!(judged[0].met, Some(false));
    }

    #[test]
    fn every_bar_is_about_a_scenario_that_exists() {
        let names: Vec<String> = crate::scenarios::all().iter().map(|s| s.name()).collect();
        for bar in BARS {
            assert!(names.iter().any(|name| name == bar.scenario), "{}", bar.scenario);
        }
    }
}
