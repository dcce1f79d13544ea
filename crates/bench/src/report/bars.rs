//! The bars that Tercet has set itself, and whether a session shows them met.

use super::durability;
use super::summary::{Cell, Summary};
use crate::scenarios::{Durable, Scenario};

/// One promise about one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// Scenario.
    pub scenario: String,
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
    /// Messages per second, at least `target` times the lesser of this peer's and half of what a sync for each
    /// full window would allow.
    RateOfPeerOrDisk(&'static str),
    /// Microseconds of server CPU time per message beyond those of this peer, at most `target`.
    CpuBeyond(&'static str),
    /// Median time to PUBACK beyond that of this peer, at most `target` syncs of the disk.
    ConfirmBeyond(&'static str),
    /// Server CPU time per request, at most `target` times that of this other scenario.
    CpuOfScenario(&'static str),
    /// Server CPU time per request with two reactors, at most `target` times that with one.
    SecondReactor,
    /// This figure, at most `target` above that of the floor program.
    BeyondFloor(&'static str),
}

/// A bar and what was measured.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The bar.
    pub bar: Bar,
    /// The measured value, in the bar's own measure; `None` when a peer it needs did not run.
    pub value: Option<f64>,
    /// Whether the bar is met, by clean runs; `None` when it was not measured.
    pub met: Option<bool>,
    /// Whether the disk swung beside most of the runs, so that a quieter machine may show something else.
    pub noisy: bool,
}

/// The peer that the bars are about.
pub(super) const SUBJECT: &str = "tercet";
/// The same without durability.
pub(super) const TWIN: &str = "tercet-memory";
const ONE_REACTOR: &str = "tercet-1";
const TWO_REACTORS: &str = "tercet-2";
const FLOOR: &str = "floor";
const PER_CONNECTION: &str = "anonymous_bytes_per_connection";
const PER_CONNECTION_USED: &str = "anonymous_bytes_per_connection_after_ping";

/// How many times the messages per server CPU-second of a peer a scenario yields.
const TIMES: &[(&str, &str, f64)] = &[
    ("pipe-qos0-64", "mosquitto", 12.0),
    ("pipe-qos1-64", "mosquitto", 13.0),
    ("pipe-qos2-64", "mosquitto", 11.0),
    ("pipe-qos0-16k", "mosquitto", 1.5),
    ("pipe-qos1-16k", "mosquitto", 1.5),
    ("pipe-qos2-16k", "mosquitto", 1.5),
    ("pipe10-qos0-256", "mosquitto", 13.0),
    ("pipe10-qos1-256", "mosquitto", 14.0),
    ("fanin100-qos0", "mosquitto", 10.0),
    ("fanin100-qos1", "mosquitto", 12.0),
    ("fanout500-qos0", "mosquitto", 2.5),
    ("fanout500-qos1", "mosquitto", 2.5),
    ("offline-50k", "mosquitto", 3.5),
    ("retained-100k", "mosquitto", 3.5),
    ("idle-10k", "mosquitto", 0.9),
    ("pipe-qos0-64", "floor", 0.25),
    ("pipe-qos1-64", "floor", 0.25),
    ("pipe-qos2-64", "floor", 0.25),
    ("pipe10-qos0-256", "floor", 0.25),
    ("pipe10-qos1-256", "floor", 0.25),
    ("fanout500-qos0", "floor", 0.55),
    ("fanout500-qos1", "floor", 0.55),
    ("amqp-pipe-16", "rabbitmq", 12.0),
    ("amqp-pipe-1k", "rabbitmq", 12.0),
    ("amqp-pipe-16k", "rabbitmq", 12.0),
    ("amqp-topic-10k", "rabbitmq", 12.0),
    ("amqp-confirm-1000", "rabbitmq", 16.0),
    ("amqp-backlog-1m-1k", "rabbitmq", 30.0),
    ("coap-get-50", "libcoap", 2.0),
    ("coap-get-1000", "libcoap", 2.0),
    ("coap-put-50", "libcoap", 2.0),
    ("coap-put-1000", "libcoap", 2.0),
    ("coap-fanout-1000", "libcoap", 4.0),
    ("coap-get-50", "floor", 0.6),
    ("coap-get-1000", "floor", 0.6),
    ("coap-put-50", "floor", 0.6),
    ("coap-put-1000", "floor", 0.6),
];

/// Bars of other kinds.
const OTHERS: &[(&str, Measure, f64)] = &[
    ("idle-10k", Measure::AtMost(PER_CONNECTION), 1536.0),
    ("idle-10k", Measure::AtMost(PER_CONNECTION_USED), 1536.0),
    ("latency-5k-qos0", Measure::P99Of("mosquitto"), 1.0),
    ("latency-5k-qos1", Measure::P99Of("mosquitto"), 1.0),
    ("backlog-1m-1k", Measure::AtMost("rss_full_mib"), 200.0),
    ("backlog-1m-1k", Measure::AtMost("ready_without_checkpoint_s"), 5.0),
    ("backlog-1m-1k", Measure::AtMost("ready_after_stop_s"), 1.0),
    ("backlog-1m-1k", Measure::AtMost("segments_left"), 2.0),
    ("amqp-idle-connections-2k", Measure::AtMost(PER_CONNECTION), 8192.0),
    ("amqp-idle-queues-5k", Measure::AtMost("anonymous_bytes_per_queue"), 1024.0),
    ("amqp-idle-queues-5k", Measure::AtMost("files_per_queue"), 0.01),
    ("amqp-backlog-1m-1k", Measure::AtMost("rss_full_mib"), 200.0),
    ("amqp-backlog-1m-1k", Measure::AtMost("ready_after_kill_s"), 5.0),
    ("amqp-backlog-1m-1k", Measure::AtMost("ready_without_checkpoint_s"), 5.0),
    ("coap-get-50", Measure::P99Of("libcoap"), 1.0),
    ("coap-get-1000", Measure::P99Of("libcoap"), 1.0),
    ("coap-put-50", Measure::P99Of("libcoap"), 1.0),
    ("coap-put-1000", Measure::P99Of("libcoap"), 1.0),
    ("coap-get-50", Measure::SecondReactor, 1.15),
    ("coap-get-1000", Measure::SecondReactor, 1.15),
    ("coap-put-50", Measure::SecondReactor, 1.15),
    ("coap-put-1000", Measure::SecondReactor, 1.15),
    ("coap-idle-observers-10k", Measure::AtMost("anonymous_bytes_per_observer"), 1024.0),
    ("coaps-get-50", Measure::CpuOfScenario("coap-get-50"), 2.5),
    ("coaps-put-50", Measure::CpuOfScenario("coap-put-50"), 2.5),
    ("coaps-idle-peers-2k", Measure::BeyondFloor("anonymous_bytes_per_peer"), 1024.0),
    ("backlog-10m-100", Measure::AtMost("rss_full_mib"), 1024.0),
    ("backlog-10m-100", Measure::AtMost("segments_left"), 2.0),
];

/// The bars that every combination of the durable scenarios has.
const DURABLE: &[(Measure, f64)] = &[
    (Measure::RateOfPeerOrDisk("mosquitto"), 1.0),
    (Measure::CpuBeyond(TWIN), 2.0),
    (Measure::ConfirmBeyond(TWIN), 2.0),
];

/// All bars.
pub fn bars() -> Vec<Bar> {
    let bar = |scenario: &str, measure, target| Bar { scenario: scenario.to_owned(), measure, target };
    let times = TIMES.iter().map(|(scenario, peer, target)| bar(scenario, Measure::PerCpuOf(peer), *target));
    let others = OTHERS.iter().map(|(scenario, measure, target)| bar(scenario, *measure, *target));
    let durable = Durable::matrix().into_iter().flat_map(|combination| {
        let name = combination.name();
        DURABLE.iter().map(move |(measure, target)| bar(&name, *measure, *target))
    });
    times.chain(durable).chain(others).collect()
}

impl Bar {
    /// The bar in words.
    pub fn describe(&self) -> String {
        match self.measure {
            Measure::PerCpuOf(peer) => format!("at least {} x {peer} per server CPU-second", self.target),
            Measure::P99Of(peer) => format!("p99 at most {} x {peer}'s", self.target),
            Measure::AtMost(figure) => format!("{} at most {}", figure.replace('_', " "), self.target),
            Measure::RateOfPeerOrDisk(peer) => format!(
                "messages/s at least {} x the lesser of {peer}'s and half of in flight / fdatasync",
                self.target
            ),
            Measure::CpuBeyond(peer) => {
                format!("CPU per message at most {peer}'s + {} us", self.target)
            }
            Measure::ConfirmBeyond(peer) => {
                format!("p50 to PUBACK at most {peer}'s + {} fdatasync", self.target)
            }
            Measure::CpuOfScenario(other) => format!("CPU per request at most {} x {other}'s", self.target),
            Measure::SecondReactor => {
                format!("CPU per request of {TWO_REACTORS} at most {} x {ONE_REACTOR}'s", self.target)
            }
            Measure::BeyondFloor(figure) => {
                format!("{} at most floor's + {}", figure.replace('_', " "), self.target)
            }
        }
    }

    fn judge(&self, summary: &Summary) -> Verdict {
        let subject = summary.cell(&self.scenario, SUBJECT);
        let p99 = |cell: &Cell| cell.median.p99_us;
        let per_cpu = |cell: &Cell| cell.median.per_cpu_second;
        let (value, met) = match self.measure {
            Measure::PerCpuOf(peer) => {
                let ratio = summary.ratio(&self.scenario, SUBJECT, peer);
                (ratio, ratio.map(|ratio| ratio >= self.target))
            }
            Measure::P99Of(peer) => {
                let base = summary.cell(&self.scenario, peer).and_then(p99);
                let ratio = subject.and_then(p99).zip(base).map(|(ours, theirs)| ours / theirs);
                (ratio, ratio.map(|ratio| ratio <= self.target))
            }
            Measure::AtMost(figure) => {
                let value = subject.and_then(|cell| cell.median.extra.get(figure).copied());
                (value, value.map(|value| value <= self.target))
            }
            Measure::RateOfPeerOrDisk(peer) => {
                let value = durability::rate_of_peer_or_disk(summary, &self.scenario, peer);
                (value, value.map(|value| value >= self.target))
            }
            Measure::CpuBeyond(peer) => {
                let value = durability::cpu_beyond(summary, &self.scenario, peer);
                (value, value.map(|value| value <= self.target))
            }
            Measure::CpuOfScenario(other) => {
                let base = summary.cell(other, SUBJECT).and_then(per_cpu);
                let ratio = base.zip(subject.and_then(per_cpu)).map(|(base, ours)| base / ours);
                (ratio, ratio.map(|ratio| ratio <= self.target))
            }
            Measure::SecondReactor => {
                let ratio = summary.ratio(&self.scenario, ONE_REACTOR, TWO_REACTORS);
                (ratio, ratio.map(|ratio| ratio <= self.target))
            }
            Measure::BeyondFloor(figure) => {
                let of = |cell: &Cell| cell.median.extra.get(figure).copied();
                let base = summary.cell(&self.scenario, FLOOR).and_then(of);
                let beyond = subject.and_then(of).zip(base).map(|(ours, base)| ours - base);
                (beyond, beyond.map(|beyond| beyond <= self.target))
            }
            Measure::ConfirmBeyond(peer) => {
                let value = durability::confirm_beyond(summary, &self.scenario, peer);
                (value, value.map(|value| value <= self.target))
            }
        };
        let clean = subject.is_some_and(Cell::is_clean);
        let noisy = subject.is_some_and(|cell| cell.noisy_runs * 2 > cell.runs);
        Verdict { bar: self.clone(), value, met: met.map(|met| met && clean), noisy }
    }
}

/// Judges every bar whose scenario the subject ran.
pub fn verdicts(summary: &Summary) -> Vec<Verdict> {
    let ran = |bar: &Bar| summary.cell(&bar.scenario, SUBJECT).is_some();
    bars().into_iter().filter(ran).map(|bar| bar.judge(summary)).collect()
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
    fn a_bar_may_be_about_another_scenario_or_about_reactors() {
        let session = [
            ("coap-get-50", "tercet", 300.0, 1.0),
            ("coap-get-50", "tercet-1", 300.0, 1.0),
            ("coap-get-50", "tercet-2", 250.0, 1.0),
            ("coaps-get-50", "tercet", 150.0, 1.0),
        ];
        let judged = verdict(&session, "coaps-get-50", Measure::CpuOfScenario("coap-get-50"));
        assert_eq!((judged.value, judged.met), (Some(2.0), Some(true)));
        let judged = verdict(&session, "coap-get-50", Measure::SecondReactor);
        assert_eq!((judged.value, judged.met), (Some(1.2), Some(false)));
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
        for bar in bars() {
            assert!(names.contains(&bar.scenario), "{}", bar.scenario);
        }
    }
}
