//! `tercet log check`: what is in the log, and whether all of it is as it was written.

use std::fmt::Write as _;

use clap::{ArgMatches, Command};
use serde_json::{Value, json};
use tercet_log::error::Damage;
use tercet_log::inspect::Report;
use tercet_log::local::{DataDirectory, META_SHARD};

use super::rehearsal::{Contents, rehearse};
use super::survey::{Behind, Survey, survey};
use super::{directory_argument, failure, open};
use crate::exit::{Exit, Failure};
use crate::output::{data, talk};
use crate::sources::json_flag;

/// Names that are listed of what stands behind a damaged place.
const NAMES: usize = 20;

/// The command line.
pub(super) fn command() -> Command {
    Command::new("check")
        .about("Report what is in the log, and everything that is not as it was written")
        .long_about(
            "Reads the whole log and reports what is in it, and everything that is not as it was written, with file, offset \
             and what is affected.\n\nExit code 0: a broker starts on it and finds everything. 1: something is damaged.",
        )
        .after_help("Examples:\n  tercet log check\n  tercet log check --json /var/lib/tercet | jq .ok")
        .arg(directory_argument())
        .arg(json_flag("Report as JSON"))
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let data_directory = open(matches)?;
    let surveys = survey(&data_directory).map_err(|error| failure(&error))?;
    let logs: Vec<_> = surveys.iter().map(|survey| Checked::new(&data_directory, survey)).collect();
    let problems: u64 = logs.iter().map(Checked::problems).sum();
    if matches.get_flag("json") {
        let logs: Vec<_> = logs.iter().map(Checked::to_json).collect();
        let directory = data_directory.path().display().to_string();
        data(&format!("{:#}\n", json!({"ok": problems == 0, "directory": directory, "logs": logs})))?;
    } else {
        data(&logs.iter().map(Checked::to_text).collect::<String>())?;
    }
    if problems == 0 {
        return Ok(());
    }
    if logs.iter().any(|log| log.survey.report.fatal.is_some()) {
        talk(
            "error: the log is damaged; a broker does not start on it\n\
             hint: restore a backup, or save what can be read with `tercet log repair`",
        );
    } else {
        talk("error: the log is damaged, but a broker starts on it");
    }
    Err(Failure::Reported(Exit::Failed))
}

/// A log and what a broker would find in it.
struct Checked<'a> {
    data: &'a DataDirectory,
    survey: &'a Survey,
    /// None for metadata, and for a log that no broker starts on.
    contents: Option<Result<Contents, String>>,
}

impl<'a> Checked<'a> {
    fn new(data: &'a DataDirectory, survey: &'a Survey) -> Self {
        let shard = survey.dir.to_string_lossy().strip_prefix("shard-").and_then(|n| n.parse().ok());
        let shard = shard.filter(|shard| survey.report.fatal.is_none() && *shard != META_SHARD);
        let contents = shard.map(|shard| rehearse(&data.disk(), &survey.dir, shard, &survey.report));
        Self { data, survey, contents }
    }

    fn problems(&self) -> u64 {
        let recovery = match &self.contents {
            Some(Ok(contents)) => u64::from(contents.has_gaps()),
            Some(Err(_)) => 1,
            None => 0,
        };
        self.damage().count() as u64 + self.survey.unreadable + recovery
    }

    /// All damage; that which keeps a broker from starting may be described a second time, in other words.
    fn damage(&self) -> impl Iterator<Item = &Damage> {
        let report = &self.survey.report;
        let is_new = |fatal: &&Damage| !report.damage.iter().any(|known| is_same(known, fatal));
        report.damage.iter().chain(report.fatal.iter().filter(is_new))
    }

    fn to_text(&self) -> String {
        let Survey { report, records, .. } = self.survey;
        let mut text = format!("{}\n", self.data.path().join(&self.survey.dir).display());
        self.structure(report, &mut text);
        if !records.is_empty() {
            let list: Vec<_> = records.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let _ = writeln!(text, "  records     {}", list.join(", "));
        }
        if let Some(end) = report.end {
            let _ = writeln!(text, "  ends        at {end}");
        }
        match &self.contents {
            Some(Ok(contents)) => {
                let _ = writeln!(text, "  holds       {}", contents.to_text());
            }
            Some(Err(reason)) => {
                let _ = writeln!(text, "  ! A broker does not start on it: {reason}");
            }
            None => {}
        }
        for damage in self.damage() {
            let _ = writeln!(
                text,
                "  ! {} is damaged at offset {} (position {}): {}; {}",
                self.data.path().join(&damage.path).display(),
                damage.offset,
                damage.position,
                damage.reason,
                damage.affected
            );
        }
        for problem in &self.survey.problems {
            let _ = writeln!(text, "  ! {}: {}", problem.place, problem.what);
        }
        let listed = self.survey.problems.len() as u64;
        if self.survey.unreadable > listed {
            let _ = writeln!(text, "  ! and {} more records", self.survey.unreadable - listed);
        }
        behind_text(&self.survey.behind, &mut text);
        let verdict = if self.problems() == 0 { "ok" } else { "damaged" };
        let _ = writeln!(text, "  {verdict}");
        text
    }

    fn structure(&self, report: &Report, text: &mut String) {
        if let Some(checkpoint) = &report.checkpoint {
            let _ = writeln!(
                text,
                "  checkpoint  {} parts, {}; reading goes on at {}",
                checkpoint.parts,
                size(checkpoint.bytes),
                checkpoint.replay_from
            );
        }
        for segment in &report.segments {
            let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
            let _ = writeln!(
                text,
                "  segment     {name}  {}, {} batches from {} to {}",
                size(segment.bytes),
                segment.batches,
                segment.first,
                segment.end
            );
        }
        if report.spare_bytes > 0 {
            let _ = writeln!(text, "  spare       {}", size(report.spare_bytes));
        }
        for path in &report.set_aside {
            let _ = writeln!(text, "  set aside   {} by an earlier repair", path.display());
        }
        if let Some(torn) = &report.torn {
            let _ = writeln!(
                text,
                "  torn end    {} at offset {}: a crash interrupted a batch that was confirmed to nobody",
                torn.path.display(),
                torn.offset
            );
        }
    }

    fn to_json(&self) -> Value {
        let Survey { report, records, behind, .. } = self.survey;
        let damage = |damage: &Damage| {
            json!({
                "file": self.data.path().join(&damage.path).display().to_string(),
                "offset": damage.offset,
                "position": damage.position.number(),
                "reason": damage.reason,
                "affected": damage.affected,
                "fatal": report.fatal.as_ref().is_some_and(|fatal| is_same(fatal, damage)),
            })
        };
        let segments: Vec<_> = report
            .segments
            .iter()
            .map(|segment| {
                json!({
                    "file": self.data.path().join(&segment.path).display().to_string(),
                    "first": segment.first.number(),
                    "end": segment.end.number(),
                    "bytes": segment.bytes,
                    "batches": segment.batches,
                    "payload_bytes": segment.payload_bytes,
                })
            })
            .collect();
        let checkpoint = report.checkpoint.map(|checkpoint| {
            json!({
                "parts": checkpoint.parts,
                "bytes": checkpoint.bytes,
                "replay_from": checkpoint.replay_from.number(),
            })
        });
        let torn = report.torn.as_ref().map(|torn| {
            json!({"file": self.data.path().join(&torn.path).display().to_string(), "offset": torn.offset})
        });
        let problems: Vec<_> =
            self.survey.problems.iter().map(|one| json!({"place": one.place, "what": one.what})).collect();
        json!({
            "log": self.survey.dir.display().to_string(),
            "ok": self.problems() == 0,
            "checkpoint": checkpoint,
            "segments": segments,
            "spare_bytes": report.spare_bytes,
            "records": records,
            "end": report.end.map(|end| end.number()),
            "holds": self.contents.as_ref().and_then(|found| found.as_ref().ok()).map(Contents::to_json),
            "recovery_error": self.contents.as_ref().and_then(|found| found.as_ref().err()),
            "torn": torn,
            "damage": self.damage().map(damage).collect::<Vec<_>>(),
            "unreadable_records": self.survey.unreadable,
            "problems": problems,
            "behind_damage": behind_json(behind),
            "set_aside": report.set_aside.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        })
    }
}

fn is_same(one: &Damage, other: &Damage) -> bool {
    (&one.path, one.offset) == (&other.path, other.offset)
}

/// What stands behind the damage, with the first few names.
pub(super) fn behind_text(behind: &Behind, text: &mut String) {
    if behind.records == 0 {
        return;
    }
    let _ =
        writeln!(text, "  ! {} records stand behind the damage and cannot be relied upon", behind.records);
    for (what, names) in [("sessions of", &behind.clients), ("retained values of", &behind.topics)] {
        if !names.is_empty() {
            let mut list: Vec<_> = names.iter().take(NAMES).map(String::as_str).collect();
            let more = format!("and {} more", names.len().saturating_sub(NAMES));
            if names.len() > NAMES {
                list.push(&more);
            }
            let _ = writeln!(text, "    about {what} {}", list.join(", "));
        }
    }
}

/// The same as JSON, with all names.
pub(super) fn behind_json(behind: &Behind) -> Value {
    json!({"records": behind.records, "clients": behind.clients, "topics": behind.topics})
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 << 20, "64.0 MiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
