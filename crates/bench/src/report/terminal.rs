//! Plain tables for a terminal.

use super::bars::{Verdict, verdicts};
use super::durability;
use super::figures::{or_dash, percent, short};
use super::results::{Results, Run};
use super::summary::{Cell, Summary};
use crate::scenarios::Section;

/// One finished run in a line.
pub fn progress_line(run: &Run, rounds: u32) -> String {
    let head = format!("[{}/{rounds}] {:<20} {:<10}", run.round, run.scenario, run.peer);
    match (&run.sample, &run.error) {
        (Some(sample), _) => format!(
            "{head} {:>11} per CPU-s {:>11}/s  p99 {:>8} us  generator {:>3} %  server waited {:>2} %  {}",
            or_dash(sample.per_cpu_second),
            short(sample.rate),
            or_dash(sample.p99_us),
            percent(Some(sample.generator_cpu_seconds / sample.seconds)),
            percent(sample.waiting_share()),
            sample.describe_faults()
        ),
        (None, error) => format!("{head} failed: {}", error.as_deref().unwrap_or("unknown")),
    }
}

/// The summary: a table of all medians, the bars, and what is needed to repeat it.
pub fn tables(results: &Results) -> String {
    let summary = Summary::of(results);
    let mut text = String::new();
    let header = [
        "scenario",
        "peer",
        "per CPU-s",
        "x ref.",
        "x floor",
        "msgs/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "RSS MB",
        "waited %",
        "clean",
    ];
    let (durable, others): (Vec<_>, Vec<_>) =
        summary.cells().iter().partition(|cell| cell.section == Section::Durable);
    let rows = others.iter().map(|cell| row(&summary, cell).to_vec()).collect::<Vec<_>>();
    if !rows.is_empty() {
        text += &aligned(&header, &rows);
    }
    let extras: Vec<Vec<String>> = others.iter().flat_map(|cell| extra_rows(cell)).collect();
    if !extras.is_empty() {
        text.push('\n');
        text += &aligned(&["scenario", "peer", "figure", "median"], &extras);
    }
    if !durable.is_empty() {
        text.push('\n');
        let rows: Vec<Vec<String>> = durable.iter().map(|cell| durability::row(&summary, cell)).collect();
        text += &aligned(durability::HEADER, &rows);
        text.push('\n');
        let threads: Vec<Vec<String>> =
            durable.iter().flat_map(|cell| durability::thread_rows(cell)).collect();
        text += &aligned(&["scenario", "peer", "thread", "CPU us"], &threads);
    }
    let bars = verdicts(&summary);
    if !bars.is_empty() {
        text.push('\n');
        let rows: Vec<Vec<String>> = bars.iter().map(bar_row).collect();
        text += &aligned(&["scenario", "bar", "measured", "met"], &rows);
    }
    text.push('\n');
    for peer in &results.peers {
        text += &format!("{}: {}; {}\n", peer.name, peer.version, peer.settings);
    }
    text += &format!("machine: {}\n", results.machine.describe());
    text += "x ref.: messages per server CPU-second as a multiple of mosquitto's (MQTT), rabbitmq's (AMQP) or libcoap's (CoAP)\n";
    text += &format!("again: {}\n", results.command);
    if results.shrink > 1 {
        text += &format!("quick look: big scenarios divided by {}; not for comparison\n", results.shrink);
    }
    if results.interrupted {
        text += "interrupted: the figures are of the runs so far\n";
    }
    text
}

/// A summary row; also used for Markdown.
pub(super) fn row(summary: &Summary, cell: &Cell) -> [String; 12] {
    let ratio = |base: &str| {
        summary.ratio(&cell.scenario, &cell.peer, base).map_or_else(|| "–".to_owned(), |r| format!("{r:.2}"))
    };
    [
        cell.scenario.clone(),
        cell.peer.clone(),
        or_dash(cell.median.per_cpu_second),
        ratio(cell.protocol.reference()),
        ratio("floor"),
        if cell.runs > 0 { short(cell.median.rate) } else { "–".to_owned() },
        or_dash(cell.median.p50_us),
        or_dash(cell.median.p99_us),
        or_dash(cell.median.p999_us),
        or_dash(cell.median.rss_after.map(|bytes| (bytes >> 20) as f64)),
        percent(cell.median.waiting_share()),
        cell.describe_clean(),
    ]
}

/// The figures that only this scenario has; also used for Markdown.
pub(super) fn extra_rows(cell: &Cell) -> Vec<Vec<String>> {
    let row =
        |(name, value): (String, f64)| vec![cell.scenario.clone(), cell.peer.clone(), name, short(value)];
    own_figures(cell).into_iter().map(row).collect()
}

/// The names and values of these figures.
pub(super) fn own_figures(cell: &Cell) -> Vec<(String, f64)> {
    let own = cell.median.extra.iter().map(|(name, value)| (name.replace('_', " "), *value));
    own.chain(durability::disk_figures(cell)).collect()
}

/// A bar's row; also used for Markdown.
pub(super) fn bar_row(verdict: &Verdict) -> Vec<String> {
    let met = match verdict.met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "not measured",
    };
    let value = verdict.value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
    let noise = if verdict.noisy && verdict.met.is_some() { " (noisy)" } else { "" };
    vec![verdict.bar.scenario.clone(), verdict.bar.describe(), value, format!("{met}{noise}")]
}

/// Columns of equal width; those that hold figures are aligned to the right.
fn aligned(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let is_figure = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || c == '–' || c == '-');
    let right: Vec<bool> = (0..header.len())
        .map(|column| column + 1 < header.len() && rows.iter().all(|row| is_figure(&row[column])))
        .collect();
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let mut line = padded.collect::<Vec<_>>().join("  ").trim_end().to_owned();
        line.push('\n');
        line
    };
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    [line(header.to_vec())].into_iter().chain(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary::tests::results;

    #[test]
    fn the_table_shows_ratios_bars_and_how_to_repeat() {
        let mut session =
            results(&[("pipe-qos0-64", "tercet", 1300.0, 1.0), ("pipe-qos0-64", "mosquitto", 100.0, 1.0)]);
        session.command = "tercet-bench run".to_owned();
        let text = tables(&session);
        for expected in ["13.00", "at least 12 x mosquitto", "yes", "not measured", "again: tercet-bench run"]
        {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["a".to_owned(), "1,000".to_owned(), "x".to_owned()]];
        assert_eq!(aligned(&["name", "n", "z"], &rows), "name      n  z\na     1,000  x\n");
    }
}
