//! `tercet log repair`: lets a damaged log be opened again, at the price of what is behind the damage.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use tercet_log::inspect::{Repair, repair};
use tercet_log::local::DataDirectory;

use super::check::{behind_json, behind_text};
use super::survey::{Survey, survey};
use super::{directory_argument, failure, open};
use crate::exit::{Exit, Failure};
use crate::output::{data, talk};
use crate::sources::json_flag;

/// The command line.
pub(super) fn command() -> Command {
    Command::new("repair")
        .about("Cut a damaged log so that a broker starts on it again")
        .long_about(
            "Cuts a damaged log where the damage begins, so that a broker starts on it again. What is behind the damage is \
             lost to the broker; it is kept in files whose names end in .damaged. A log that a broker starts on is left \
             as it is.\n\nSays what would be lost and asks, unless --yes is given. Copy the directory first if you can.",
        )
        .after_help("Example:\n  tercet log repair /var/lib/tercet")
        .arg(directory_argument())
        .arg(Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Do not ask"))
        .arg(json_flag("Report as JSON").requires("yes"))
}

/// Runs it.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let directory = open(matches)?;
    let surveys = survey(&directory).map_err(|error| failure(&error))?;
    let damaged: Vec<_> = surveys.iter().filter(|survey| survey.report.fatal.is_some()).collect();
    let json = matches.get_flag("json");
    if damaged.is_empty() {
        return if json {
            data(&format!("{:#}\n", json!({"repaired": []})))
        } else {
            data("nothing to repair: a broker starts on it\n")
        };
    }
    if !json {
        talk(&damaged.iter().map(|survey| prospect(&directory, survey)).collect::<String>());
    }
    if !matches.get_flag("yes") && !confirmed()? {
        return Err(Failure::failed("nothing was changed"));
    }
    let mut reports = Vec::new();
    for survey in damaged {
        let shard = directory.logs().map_err(|error| failure(&error))?;
        let shard = shard.into_iter().find(|(dir, _)| *dir == survey.dir).map_or(0, |(_, shard)| shard);
        let done = repair(&directory.disk(), &survey.dir, shard).map_err(|error| failure(&error))?;
        if !json {
            data(&outcome(&directory, &done))?;
        }
        reports.push(json!({
            "log": survey.dir.display().to_string(),
            "cut_at": done.cut_at.map(|at| at.number()),
            "lost_checkpoint": done.lost_checkpoint,
            "lost": behind_json(&survey.behind),
            "set_aside": done.set_aside.iter().map(|path| directory.path().join(path).display().to_string()).collect::<Vec<_>>(),
            "opens": done.report.fatal.is_none(),
        }));
        if let Some(fatal) = done.report.fatal {
            return Err(Failure::failed(format!("it cannot be repaired: {fatal}")));
        }
    }
    if json { data(&format!("{:#}\n", json!({"repaired": reports}))) } else { Ok(()) }
}

/// What is wrong, and what a repair costs.
fn prospect(directory: &DataDirectory, survey: &Survey) -> String {
    let mut text = String::new();
    for damage in &survey.report.damage {
        let path = directory.path().join(&damage.path);
        let _ = writeln!(
            text,
            "{} is damaged at offset {} (position {}): {}",
            path.display(),
            damage.offset,
            damage.position,
            damage.reason
        );
    }
    let _ = writeln!(text, "A repair keeps what is before the first damage that a broker would read.");
    behind_text(&survey.behind, &mut text);
    text
}

fn outcome(directory: &DataDirectory, done: &Repair) -> String {
    let mut text = String::new();
    if done.lost_checkpoint {
        text.push_str("the checkpoint was lost; what the log itself says is left\n");
    }
    if let Some(at) = done.cut_at {
        let _ = writeln!(text, "the log ends at position {at} now");
    }
    for path in &done.set_aside {
        let _ = writeln!(text, "kept what was cut off in {}", directory.path().join(path).display());
    }
    text
}

fn confirmed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::failed("a repair loses data and has to be confirmed")
            .hint("to repair without being asked: tercet log repair --yes")
            .exit_with(Exit::Usage));
    }
    let mut answer = String::new();
    let asked =
        io::stderr().write_all(b"Repair it? [y/N] ").and_then(|()| io::stdin().lock().read_line(&mut answer));
    asked.map_err(|error| Failure::failed(format!("cannot ask: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
