//! Durable results in terms of the disk: what a sync costs, how many messages share one.

use super::bars::{SUBJECT, TWIN};
use super::figures::{or_dash, percent, short};
use super::summary::{Cell, NOISE, Summary};
use crate::scenarios::{IN_FLIGHT, Section, WRITTEN};

/// The columns of [`row`].
pub(super) const HEADER: &[&str] = &[
    "scenario",
    "peer",
    "msgs/s",
    "per CPU-s",
    "CPU us",
    "extra CPU us",
    "PUBACK p50 us",
    "p99 us",
    "fdatasync p50 us",
    "p99 us",
    "per second",
    "its CPU us",
    "in flight / fdatasync",
    "written",
    "waited %",
    "clean",
];

/// What the table of durable traffic says.
pub(super) const TRAFFIC_PREFACE: &str = "Publishers of QoS 1, a topic each, to one subscriber with a persistent \
    session, which receives and acknowledges everything; the name says publishers x window - payload. `tercet` \
    confirms what is on disk (`fdatasync`); `tercet-memory` is the same program with `--memory`, *CPU us* is server \
    CPU time per message and *extra CPU us* what `tercet` takes more of it than `tercet-memory`; `mosquitto` has \
    `persistence true`, and confirms what is in its memory. *PUBACK* is the time from PUBLISH to PUBACK at the \
    publishers; *in flight / fdatasync* is how many messages a second there would be if every full window took \
    exactly one sync; *written* is bytes that the device wrote, for \
    whatever process, per byte of payload.";

/// What all durable results have in common.
pub(super) fn preface() -> String {
    format!(
        "The disk is measured beside every run, before its server is started and after it has ended: overwriting \
         4 KiB of a file that has its blocks, and `fdatasync`, one after the other, by one thread; the CPU time of \
         that is what a message costs at least that has a sync of its own (one publisher with window 1). A run beside which it did \
         {NOISE} times more or fewer syncs a second than in the middle of the session is called noisy, and so is \
         the verdict on a bar when most of its runs are."
    )
}

/// A row of the table of durable traffic.
pub(super) fn row(summary: &Summary, cell: &Cell) -> Vec<String> {
    let disk = cell.disk;
    let beyond = (cell.peer == SUBJECT).then(|| cpu_beyond(summary, &cell.scenario, TWIN)).flatten();
    vec![
        cell.scenario.clone(),
        cell.peer.clone(),
        if cell.runs > 0 { short(cell.median.rate) } else { or_dash(None) },
        or_dash(cell.median.per_cpu_second),
        figure(cell.median.cpu_us_per_message()),
        figure(beyond),
        or_dash(cell.median.confirm_p50_us),
        or_dash(cell.median.confirm_p99_us),
        or_dash(disk.map(|disk| disk.p50_us)),
        or_dash(disk.map(|disk| disk.p99_us)),
        or_dash(disk.map(|disk| disk.per_second)),
        figure(disk.map(|disk| disk.cpu_us)),
        or_dash(in_flight_by_sync(cell)),
        figure(cell.median.extra.get(WRITTEN).copied()),
        percent(cell.median.waiting_share()),
        cell.describe_clean(),
    ]
}

/// Differences of hundredths matter, also above ten.
fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| or_dash(None), |value| format!("{value:.2}"))
}

/// Which threads of a server the CPU time of each message went to: scenario, peer, thread, microseconds.
pub(super) fn thread_rows(cell: &Cell) -> Vec<Vec<String>> {
    let messages = cell.median.count as f64;
    let each = cell.median.thread_cpu_seconds.iter().map(|(name, cpu)| (name, cpu * 1e6 / messages));
    let row =
        |(name, us)| vec![cell.scenario.clone(), cell.peer.clone(), String::clone(name), figure(Some(us))];
    each.filter(|(_, us)| *us >= 0.005 && us.is_finite()).map(row).collect()
}

/// The disk beside what is stored, as figures by name; durable traffic has columns for it.
pub(super) fn disk_figures(cell: &Cell) -> Vec<(String, f64)> {
    let Some(disk) = cell.disk.filter(|_| cell.section != Section::Durable) else { return Vec::new() };
    let figures = [
        ("fdatasync p50 us", disk.p50_us),
        ("fdatasync p99 us", disk.p99_us),
        ("fdatasync per second", disk.per_second),
        ("fdatasync cpu us", disk.cpu_us),
    ];
    figures.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// Messages a second as a multiple of the lesser of `peer`'s and half of in flight / one sync.
pub(super) fn rate_of_peer_or_disk(summary: &Summary, scenario: &str, peer: &str) -> Option<f64> {
    let subject = ran(summary, scenario, SUBJECT)?;
    let base = ran(summary, scenario, peer)?;
    let bound = base.median.rate.min(in_flight_by_sync(subject)? / 2.0);
    Some(subject.median.rate / bound).filter(|ratio| ratio.is_finite())
}

/// Microseconds of CPU time per message more than `peer` takes.
pub(super) fn cpu_beyond(summary: &Summary, scenario: &str, peer: &str) -> Option<f64> {
    let of = |peer| ran(summary, scenario, peer)?.median.cpu_us_per_message();
    Some(of(SUBJECT)? - of(peer)?)
}

/// Median time to PUBACK beyond that at `peer`, in syncs.
pub(super) fn confirm_beyond(summary: &Summary, scenario: &str, peer: &str) -> Option<f64> {
    let of = |peer| ran(summary, scenario, peer)?.median.confirm_p50_us;
    let sync = ran(summary, scenario, SUBJECT)?.disk?.p50_us;
    Some((of(SUBJECT)? - of(peer)?) / sync).filter(|syncs| syncs.is_finite())
}

/// Messages a second if every full window took one sync of median length.
fn in_flight_by_sync(cell: &Cell) -> Option<f64> {
    let in_flight = cell.median.extra.get(IN_FLIGHT)?;
    Some(in_flight * 1e6 / cell.disk?.p50_us).filter(|rate| rate.is_finite())
}

fn ran<'a>(summary: &'a Summary, scenario: &str, peer: &str) -> Option<&'a Cell> {
    summary.cell(scenario, peer).filter(|cell| cell.runs > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskBeside, DiskSpeed};
    use crate::report::Results;
    use crate::report::summary::tests::results;
    use crate::report::{markdown, tables, verdicts};

    const SCENARIO: &str = "durable-16x1-100";

    /// A session in which a sync takes 100 us, with (peer, messages/s, per CPU-second, PUBACK p50).
    fn session(figures: &[(&str, f64, f64, f64)]) -> Results {
        let cells: Vec<_> = figures.iter().map(|(peer, _, cpu, _)| (SCENARIO, *peer, *cpu, 1.0)).collect();
        let mut results = results(&cells);
        results.scenarios[0].section = Section::Durable;
        let speed = DiskSpeed { per_second: 10_000.0, p50_us: 100.0, p99_us: 200.0, cpu_us: 20.0 };
        for (run, (_, rate, _, confirm)) in results.runs.iter_mut().zip(figures) {
            let sample = run.sample.as_mut().unwrap();
            sample.rate = *rate;
            sample.confirm_p50_us = Some(*confirm);
            sample.disk = Some(DiskBeside { before: speed, after: speed });
            sample.set_extra(IN_FLIGHT, 16.0);
        }
        results
    }

    fn judged(figures: &[(&str, f64, f64, f64)]) -> Vec<(Option<f64>, Option<bool>)> {
        let found = verdicts(&Summary::of(&session(figures)));
        found.into_iter().map(|verdict| (verdict.value, verdict.met)).collect()
    }

    #[test]
    fn throughput_cost_and_latency_are_judged_by_the_disk() {
        let (mosquitto, memory) =
            (("mosquitto", 100_000.0, 1.0, 50.0), ("tercet-memory", 300_000.0, 1_000_000.0, 50.0));
        // Half of 16 in flight / 100 us is 80,000 a second, less than Mosquitto's; 500,000 per CPU-second is 2 us.
        let met = judged(&[("tercet", 80_000.0, 500_000.0, 250.0), mosquitto, memory]);
        assert_eq!(met, [(Some(1.0), Some(true)), (Some(1.0), Some(true)), (Some(2.0), Some(true))]);
        let missed = judged(&[("tercet", 40_000.0, 250_000.0, 300.0), mosquitto, memory]);
        assert_eq!(missed, [(Some(0.5), Some(false)), (Some(3.0), Some(false)), (Some(2.5), Some(false))]);
        let slow = ("mosquitto", 20_000.0, 1.0, 50.0);
        let beats_mosquitto = judged(&[("tercet", 40_000.0, 500_000.0, 250.0), slow, memory]);
        assert_eq!(beats_mosquitto[0], (Some(2.0), Some(true)));
        assert_eq!(judged(&[("tercet", 80_000.0, 500_000.0, 250.0)]), [(None, None); 3]);
    }

    #[test]
    fn a_verdict_beside_a_disk_that_swings_says_so() {
        let figures = [("tercet", 80_000.0, 500_000.0, 250.0), ("mosquitto", 1.0, 1.0, 1.0)];
        let mut results = session(&figures);
        let quiet = Summary::of(&results);
        assert!(!verdicts(&quiet).iter().any(|verdict| verdict.noisy));
        let disk = results.runs[0].sample.as_mut().unwrap().disk.as_mut().unwrap();
        disk.after.per_second /= 2.0;
        assert!(verdicts(&Summary::of(&results)).iter().all(|verdict| verdict.noisy));
        assert!(tables(&results).contains("yes (noisy)"));
    }

    #[test]
    fn both_reports_show_the_disk_beside_durable_results() {
        let results = session(&[("tercet", 80_000.0, 500_000.0, 250.0), ("tercet-memory", 1.0, 1e6, 50.0)]);
        for text in [tables(&results), markdown(&results)] {
            assert!(text.contains("fdatasync p50 us") && text.contains("160,000"), "{text}");
        }
        assert!(markdown(&results).contains("## Durability"));
    }
}
