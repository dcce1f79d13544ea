//! What the records of a log are: how many of each kind, whom they are about, and which cannot be read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use serde_json::Value;
use tercet_log::error::LogError;
use tercet_log::inspect::{Item, Report, check};
use tercet_log::local::{DataDirectory, META_SHARD};
use tercet_log::position::{Place, Position};
use tercet_log::record::Records;

use super::record::{Described, describe, describe_checkpoint};

/// Problems that are kept; more are only counted.
const PROBLEMS: usize = 20;

/// One log of a data directory, gone through.
pub(super) struct Survey {
    /// Its directory in the data directory.
    pub(super) dir: PathBuf,
    /// What the engine says.
    pub(super) report: Report,
    /// Records in the log by kind.
    pub(super) records: BTreeMap<&'static str, u64>,
    /// Records that cannot be read although their batch is whole.
    pub(super) problems: Vec<Problem>,
    /// How many those are in all.
    pub(super) unreadable: u64,
    /// What stands behind the first damage that keeps a broker from starting: lost, if the log is cut there.
    pub(super) behind: Behind,
}

/// A record that cannot be read.
pub(super) struct Problem {
    /// Where it is.
    pub(super) place: String,
    /// Why.
    pub(super) what: String,
}

/// Records behind a damaged place.
#[derive(Default)]
pub(super) struct Behind {
    /// How many.
    pub(super) records: u64,
    /// Clients whose sessions they are about, as far as their names are known.
    pub(super) clients: BTreeSet<String>,
    /// Topics whose retained values they change.
    pub(super) topics: BTreeSet<String>,
}

/// The clients of sessions, as far as records have named them.
#[derive(Default)]
pub(super) struct Names(HashMap<u64, String>);

impl Names {
    /// Takes the name from a record that has one.
    pub(super) fn learn(&mut self, described: &Described) {
        let session = described.field("session").and_then(Value::as_u64);
        if let (Some(id), Some(client)) = (session, described.field("client").and_then(Value::as_str)) {
            self.0.insert(id, client.to_owned());
        }
    }

    /// The client of a record about a session.
    pub(super) fn of(&self, described: &Described) -> Option<&str> {
        let session = described.field("session").and_then(Value::as_u64)?;
        self.0.get(&session).map(String::as_str)
    }
}

/// A place in the log or in its checkpoint.
pub(super) fn place_name(part: Option<u64>, batch: Position, offset: u32) -> String {
    match part {
        Some(part) => format!("checkpoint {part}+{offset}"),
        None => Place { batch, offset }.to_string(),
    }
}

/// Goes through all logs of a data directory.
pub(super) fn survey(data: &DataDirectory) -> Result<Vec<Survey>, LogError> {
    data.logs()?.into_iter().map(|(dir, shard)| survey_log(data, dir, shard)).collect()
}

fn survey_log(data: &DataDirectory, dir: PathBuf, shard: u32) -> Result<Survey, LogError> {
    let disk = data.disk();
    let mut reading = Reading::default();
    let is_meta = shard == META_SHARD;
    let report = check(&disk, &dir, shard, &mut |item| {
        if !is_meta {
            reading.take(item, None);
        }
    })?;
    let mut behind = Reading { names: reading.names, ..Reading::default() };
    if let Some(fatal) = report.fatal.as_ref().filter(|_| !is_meta) {
        check(&disk, &dir, shard, &mut |item| behind.take(item, Some(fatal.position)))?;
    }
    Ok(Survey {
        dir,
        report,
        records: reading.records,
        problems: reading.problems,
        unreadable: reading.unreadable,
        behind: behind.behind,
    })
}

#[derive(Default)]
struct Reading {
    records: BTreeMap<&'static str, u64>,
    problems: Vec<Problem>,
    unreadable: u64,
    names: Names,
    behind: Behind,
}

impl Reading {
    fn take(&mut self, item: Item<'_>, behind: Option<Position>) {
        let (part, batch, payload) = match item {
            Item::Part { number, payload } => (Some(number), Position::NONE, payload),
            Item::Batch { position, payload, .. } => (None, position, payload),
        };
        if behind.is_some_and(|from| part.is_some() || batch < from) {
            return;
        }
        for raw in Records::new(payload) {
            let raw = match raw {
                Ok(raw) => raw,
                Err(error) => {
                    self.problem(place_name(part, batch, error.offset), error.to_string());
                    continue;
                }
            };
            let described = if part.is_some() { describe_checkpoint(&raw) } else { describe(&raw, batch, 0) };
            if let Some(problem) = &described.problem {
                self.problem(place_name(part, batch, raw.offset), problem.clone());
            }
            if part.is_none() {
                *self.records.entry(described.kind).or_default() += 1;
            }
            self.note(&described, behind.is_some());
        }
    }

    fn problem(&mut self, place: String, what: String) {
        self.unreadable += 1;
        if self.problems.len() < PROBLEMS {
            self.problems.push(Problem { place, what });
        }
    }

    /// Remembers the names of sessions, and whom a record behind a damaged place is about.
    fn note(&mut self, described: &Described, is_behind: bool) {
        self.names.learn(described);
        if !is_behind {
            return;
        }
        self.behind.records += 1;
        if let Some(id) = described.field("session").and_then(Value::as_u64) {
            let name = self.names.of(described).map_or_else(|| format!("session {id}"), str::to_owned);
            self.behind.clients.insert(name);
        }
        if described.kind.starts_with("retained")
            && let Some(topic) = described.field("topic").and_then(Value::as_str)
        {
            self.behind.topics.insert(topic.to_owned());
        }
    }
}
