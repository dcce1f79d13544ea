//! `tercet backup` and `tercet restore`: copies of a data directory as of one moment, and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Value, json};
use tercet_log::disk::Disk;
use tercet_log::inspect::{Backup, backup};
use tercet_log::std_disk::StdDisk;

use crate::exit::{Exit, Failure};
use crate::log::{Contents, data_flag, directory, failure, rehearse, size};
use crate::output::{data, talk};
use crate::sources::json_flag;

/// The command lines.
pub(crate) fn commands() -> [Command; 2] {
    let positional = |name: &'static str, value: &'static str, help| {
        Arg::new(name).value_name(value).required(true).value_parser(value_parser!(PathBuf)).help(help)
    };
    [
        Command::new("backup")
            .about("Copy a data directory, also while a broker uses it")
            .long_about(
                "Copies a data directory as of one moment to a new directory, also while a broker uses it, and reads the copy \
                 back. The copy is a data directory itself. The configuration and certificates are not part of it.",
            )
            .after_help("Example:\n  tercet backup --data /var/lib/tercet /backup/tercet-$(date +%F)")
            .arg(positional("to", "TO", "Directory to create; it may exist if it is empty"))
            .arg(data_flag("Data directory to copy"))
            .arg(json_flag("Report as JSON")),
        Command::new("restore")
            .about("Make a data directory from a backup")
            .long_about(
                "Makes a data directory from a backup and reads it back. Nothing is overwritten: the data directory must be new \
                 or empty.",
            )
            .after_help("Example:\n  tercet restore /backup/tercet-2026-11-22 --data /var/lib/tercet")
            .arg(positional("from", "FROM", "Directory of the backup"))
            .arg(data_flag("Data directory to make"))
            .arg(json_flag("Report as JSON")),
    ]
}

/// Copies a data directory.
pub(crate) fn back_up(matches: &ArgMatches) -> Result<(), Failure> {
    copy(matches, directory(matches, "data"), directory(matches, "to"))
}

/// Makes a data directory from a backup.
pub(crate) fn restore(matches: &ArgMatches) -> Result<(), Failure> {
    copy(matches, directory(matches, "from"), directory(matches, "data"))
}

fn copy(matches: &ArgMatches, from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = backup(from, to).map_err(|error| failure(&error))?;
    let contents = contents(to, &copied);
    let problems = problems(&copied, &contents);
    if matches.get_flag("json") {
        let holds: Vec<Value> = contents.iter().flatten().map(Contents::to_json).collect();
        data(&format!(
            "{:#}\n",
            json!({
                "ok": problems.is_empty(),
                "from": from.display().to_string(),
                "to": to.display().to_string(),
                "bytes": copied.bytes,
                "holds": holds,
                "problems": problems,
            })
        ))?;
    } else {
        let mut text = format!("copied {} from {} to {}\n", size(copied.bytes), from.display(), to.display());
        for contents in contents.iter().flatten() {
            text.push_str(&format!("it holds {}\n", contents.to_text()));
        }
        data(&text)?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        talk(&format!("error: the copy is damaged: {problem}"));
    }
    talk(&format!("hint: to see what is lost: tercet log check {}", to.display()));
    Err(Failure::Reported(Exit::Failed))
}

/// What a broker would find in each shard of the copy.
fn contents(to: &Path, copied: &Backup) -> Vec<Result<Contents, String>> {
    let disk: Arc<dyn Disk> = Arc::new(StdDisk::new(to));
    let shards = copied.logs.iter().filter_map(|(dir, report)| {
        let shard = dir.to_string_lossy().strip_prefix("shard-")?.parse().ok()?;
        Some((dir, shard, report))
    });
    shards.map(|(dir, shard, report)| rehearse(&disk, dir, shard, report)).collect()
}

fn problems(copied: &Backup, contents: &[Result<Contents, String>]) -> Vec<String> {
    let damage = copied.logs.iter().flat_map(|(_, report)| report.damage.iter().chain(&report.fatal));
    let mut problems: Vec<String> = damage
        .map(|damage| format!("{} at offset {}: {}", damage.path.display(), damage.offset, damage.reason))
        .collect();
    problems.dedup();
    if problems.is_empty() {
        problems.extend(contents.iter().filter_map(|found| found.as_ref().err().cloned()));
    }
    problems
}
