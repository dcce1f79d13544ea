//! The benchmark page of the documentation.

use std::collections::{BTreeMap, BTreeSet};

use super::bars::verdicts;
use super::durability;
use super::figures::or_dash;
use super::results::{Results, ScenarioInfo};
use super::summary::{Cell, Summary};
use super::terminal::{bar_row, extra_rows, own_figures, row};
use crate::peers::Protocol;
use crate::scenarios::Section;

const AMQP_PREFACE: &str = "All data are on disk; `rabbitmq` is Debian's package as it comes, a fresh node for \
    each run. `rabbitmq` syncs before it confirms, as `tercet` does; `tercet-memory` confirms what is in memory, and \
    is there to show what durability costs. LavinMQ is in no package registry, so it cannot be part of a session: \
    measured once beside RabbitMQ 3.10 on a machine of this kind (version 2.9.1, 256 B, one publisher, one \
    consumer), it yielded 10 times RabbitMQ's messages per server CPU-second when transient, 13 times when \
    persistent and confirmed, which it too does after a sync, and 26 times draining a backlog of 100,000.";

const COAP_PREFACE: &str = "`libcoap` is Debian's example server, which makes a resource of whatever is PUT; `floor` \
    calls `recvfrom` and `sendto` and does nothing else. Each client has a socket of its own. `tercet-1` and `tercet-2` \
    are `tercet` with one and two reactors. The kernel's own work for a datagram is half of what the fastest server \
    costs, and it charges a server with waking whoever waits for the answer.";

/// A whole page, generated anew by each `make bench`.
pub fn markdown(results: &Results) -> String {
    let summary = Summary::of(results);
    let mut page = preface(results);
    page +=
        "\n## Bars\n\nEach bar is judged by medians of the same session; a run with a fault meets none.\n\n";
    let bars: Vec<Vec<String>> = verdicts(&summary).iter().map(bar_row).collect();
    if bars.is_empty() {
        page += "Tercet did not take part in this session.\n";
    } else {
        page += &table(&["scenario", "bar", "measured", "met"], &bars);
    }
    for protocol in [Protocol::Mqtt, Protocol::Amqp, Protocol::Coap, Protocol::Coaps] {
        page += &section_of(results, &summary, protocol);
    }
    page + &durability_section(results, &summary)
}

/// What is measured by CPU time, a table each; for AMQP also what is stored.
fn section_of(results: &Results, summary: &Summary, protocol: Protocol) -> String {
    let mut text = String::new();
    for scenario in results.scenarios.iter().filter(|scenario| scenario.protocol == protocol) {
        let cells = cells_of(summary, scenario);
        let tables = match (scenario.section, protocol) {
            (Section::Cpu, _) => tables_by_cpu(summary, &cells, protocol),
            (Section::Stored, Protocol::Amqp) if !cells.is_empty() => figures_side_by_side(&cells),
            _ => continue,
        };
        text += &format!("\n### {}\n\n{}.\n\n{tables}", scenario.name, scenario.description);
    }
    if text.is_empty() {
        return text;
    }
    let preface = match protocol {
        Protocol::Mqtt | Protocol::Coaps => String::new(),
        Protocol::Coap => format!("\n{COAP_PREFACE}\n"),
        Protocol::Amqp => format!("\n{AMQP_PREFACE}\n"),
    };
    format!("\n## {}\n{preface}{text}", protocol.title())
}

/// Medians of a scenario's peers, then the figures that only this scenario has.
fn tables_by_cpu(summary: &Summary, cells: &[&Cell], protocol: Protocol) -> String {
    let multiple = format!("x {}", protocol.reference());
    let mut header = vec!["peer", "per server CPU-s", multiple.as_str(), "x floor"];
    header.extend(["per second", "p50 us", "p99 us", "p99.9 us", "RSS MB", "waited %", "clean runs"]);
    let mut rows: Vec<Vec<String>> = cells.iter().map(|cell| row(summary, cell)[1..].to_vec()).collect();
    if protocol == Protocol::Amqp {
        // The floor program speaks MQTT.
        header.remove(FLOOR);
        rows.iter_mut().for_each(|row| drop(row.remove(FLOOR)));
    }
    let mut text = table(&header, &rows);
    let extras: Vec<Vec<String>> =
        cells.iter().flat_map(|cell| extra_rows(cell)).map(|row| row[1..].to_vec()).collect();
    if !extras.is_empty() {
        text.push('\n');
        text += &table(&["peer", "figure", "median"], &extras);
    }
    text
}

const FLOOR: usize = 3;

fn cells_of<'a>(summary: &'a Summary, scenario: &ScenarioInfo) -> Vec<&'a Cell> {
    summary.cells().iter().filter(|cell| cell.scenario == scenario.name).collect()
}

/// What is on disk: durable traffic in one table, then what is stored, a table of figures each.
fn durability_section(results: &Results, summary: &Summary) -> String {
    let durable = summary.cells().iter().filter(|cell| cell.section == Section::Durable);
    let rows: Vec<Vec<String>> = durable.map(|cell| durability::row(summary, cell)).collect();
    let stored = results.scenarios.iter();
    let stored =
        stored.filter(|scenario| scenario.section == Section::Stored && scenario.protocol == Protocol::Mqtt);
    let mut text = String::new();
    if !rows.is_empty() {
        text += &format!("\n### Confirmed when it is on disk\n\n{}\n\n", durability::TRAFFIC_PREFACE);
        text += &table(durability::HEADER, &rows);
    }
    for scenario in stored {
        let cells = cells_of(summary, scenario);
        if !cells.is_empty() {
            text += &format!("\n### {}\n\n{}.\n\n", scenario.name, scenario.description);
            text += &figures_side_by_side(&cells);
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\n## Durability\n\n{}\n{text}", durability::preface())
}

/// A row for each figure that any of the cells has, a column for each peer.
fn figures_side_by_side(cells: &[&Cell]) -> String {
    let figures: Vec<BTreeMap<String, f64>> = cells.iter().map(|cell| stored_figures(cell)).collect();
    let names: BTreeSet<&String> = figures.iter().flat_map(BTreeMap::keys).collect();
    let mut rows: Vec<Vec<String>> = names
        .into_iter()
        .map(|name| {
            let values = figures.iter().map(|of_peer| or_dash(of_peer.get(name).copied()));
            [name.clone()].into_iter().chain(values).collect()
        })
        .collect();
    let clean = cells.iter().map(|cell| cell.describe_clean());
    rows.push(["clean runs".to_owned()].into_iter().chain(clean).collect());
    let peers = cells.iter().map(|cell| cell.peer.as_str());
    table(&["figure"].into_iter().chain(peers).collect::<Vec<_>>(), &rows)
}

/// A cell's own figures with the rate that its scenario is about.
fn stored_figures(cell: &Cell) -> BTreeMap<String, f64> {
    let mut figures: BTreeMap<String, f64> = own_figures(cell).into_iter().collect();
    if cell.runs > 0 {
        figures.insert("rate (messages per second)".to_owned(), cell.median.rate);
        figures
            .extend(cell.median.per_cpu_second.map(|rate| ("rate per server CPU-second".to_owned(), rate)));
    }
    figures
}

fn preface(results: &Results) -> String {
    let mut text = String::from(
        "<!-- Generated by `make bench`; do not edit. -->\n\n# Benchmarks\n\n\
         `make bench` measures again and rewrites this page. The figure to compare is **messages per second \
         of the server's own CPU time** (user and system, all threads): it survives a busy machine better \
         than absolute rates and latencies do. It is not immune: a server that batches wakes less often, and \
         so costs less, when it must wait for a core; *waited* says how much of its time it did, and figures \
         of one session should be compared with each other only. One load generator drives every peer in \
         turn, in every round, and checks that each message arrived once and in order; the figures are \
         medians over the rounds. \
         `floor` is a bare epoll program of our own without any feature: what the machine could do.\n\n",
    );
    text += &format!("- Machine: {}\n", results.machine.describe());
    text += &format!(
        "- Settings: {} rounds, {} s warm-up, {} s measured, MQTT {:?}, loopback TCP (CoAP: UDP)\n",
        results.rounds, results.warm_up_seconds, results.measured_seconds, results.protocol
    );
    text += &format!("- Load generator: {}, `{}`\n", results.generator, results.command);
    for peer in &results.peers {
        text += &format!("- {}: {}; {}\n", peer.name, peer.version, peer.settings);
    }
    if results.shrink > 1 {
        text +=
            &format!("- **Quick look**: big scenarios divided by {}; not for comparison\n", results.shrink);
    }
    if results.interrupted {
        text += "- **Interrupted**: not all rounds were run\n";
    }
    text
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |text: &String| text.replace('|', "\\|");
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
    for row in rows {
        text += &format!("| {} |\n", row.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary::tests::results;

    #[test]
    fn the_page_says_how_it_was_made_and_has_every_scenario() {
        let session = results(&[("pipe-qos0-64", "tercet", 7.0, 1.0), ("idle-10k", "tercet", 5.0, 1.0)]);
        let page = markdown(&session);
        for expected in ["make bench", "### pipe-qos0-64", "### idle-10k", "| tercet | 7 |"] {
            assert!(page.contains(expected), "{expected} in\n{page}");
        }
        assert_eq!(table(&["a"], &[vec!["x|y".to_owned()]]), "| a |\n|---|\n| x\\|y |\n");
    }
}
