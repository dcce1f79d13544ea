//! `tercet log check | dump | repair`: a data directory that no broker has open, looked at from outside.

mod check;
mod dump;
mod named_record;
mod record;
mod rehearsal;
mod repair;
mod survey;

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use tercet_log::error::LogError;
use tercet_log::local::DataDirectory;

use crate::exit::{Exit, Failure};

pub(crate) use check::size;
pub(crate) use rehearsal::{Contents, rehearse};

/// Where a broker keeps its data if nothing else is said.
const DEFAULT_DATA: &str = "./tercet-data";

/// The command line.
pub(crate) fn command() -> Command {
    Command::new("log")
        .about("Check, show or repair the log in a data directory")
        .long_about(
            "Checks, shows or repairs the log in a data directory.\n\nThe broker that uses the directory has to be stopped. \
             check and dump change nothing.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(check::command())
        .subcommand(dump::command())
        .subcommand(repair::command())
}

/// Runs it.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("check", matches)) => check::run(matches),
        Some(("dump", matches)) => dump::run(matches),
        Some(("repair", matches)) => repair::run(matches),
        _ => Err(Failure::Reported(Exit::Usage)),
    }
}

/// A positional `[DIR]`.
fn directory_argument() -> Arg {
    Arg::new("dir")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .default_value(DEFAULT_DATA)
        .help("Data directory")
}

/// `--data DIR`.
pub(crate) fn data_flag(help: &'static str) -> Arg {
    Arg::new("data")
        .long("data")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .default_value(DEFAULT_DATA)
        .help(help)
}

/// The value of an argument that names a directory.
pub(crate) fn directory<'a>(matches: &'a ArgMatches, name: &str) -> &'a Path {
    matches.get_one::<PathBuf>(name).map_or(Path::new(DEFAULT_DATA), PathBuf::as_path)
}

/// Locks the data directory that `matches` name.
fn open(matches: &ArgMatches) -> Result<DataDirectory, Failure> {
    let path = directory(matches, "dir");
    if !path.is_dir() {
        return Err(Failure::failed(format!("there is no directory {}", path.display()))
            .hint("name the directory that the broker has as --data"));
    }
    DataDirectory::open_existing(path).map_err(|error| failure(&error))
}

/// An error of the log as a failure of the command.
pub(crate) fn failure(error: &LogError) -> Failure {
    match error {
        LogError::Locked { path } => {
            Failure::failed(format!("{} is in use by a broker", path.display())).hint("stop the broker first")
        }
        LogError::NotADataDirectory { path, reason } => {
            Failure::failed(format!("{} is no data directory of Tercet: {reason}", path.display()))
        }
        // The text of the others brings its hint along.
        other => Failure::failed(other.to_string()),
    }
}
