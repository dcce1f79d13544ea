//! `tercet pub`, `sub`, `req` and `reply`, and the same program under the names of the Mosquitto clients.
//!
//! For `main`: [`multicall`] first, with all of argv; if it answers `None`, the program was called by its own name.
//! [`commands`] are the sub-commands for clap (completions and manual pages come from them), and [`run`] takes what
//! clap matched for one of them.
//!
//! A command line, `clap_form` or `mosquitto_form`, becomes `settings`; `connection` turns those into a client;
//! `publisher`, `subscriber`, `requester` and `responder` do the work; `template`, `json` and `output` show
//! messages; `exit` says how it ended.

mod clap_form;
mod connection;
mod exit;
mod filter;
mod json;
mod mosquitto_form;
mod output;
mod property;
mod publisher;
mod requester;
mod responder;
mod settings;
mod subscriber;
mod template;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

pub(crate) use json::base64;

use exit::Outcome;
use mosquitto_form::Stop;
use settings::{Job, Program, Settings};

/// The sub-commands.
pub(crate) fn commands() -> Vec<Command> {
    clap_form::commands()
}

/// Runs the sub-command `name` with what clap matched for it; `None` if it is none of ours.
pub(crate) fn run(name: &str, matches: &ArgMatches) -> Option<ExitCode> {
    let command = commands().into_iter().find(|command| command.get_name() == name)?;
    if clap_form::wants_help(matches) {
        // As `--help`: nothing can be reported when stdout is gone.
        let _ = command.bin_name(format!("tercet {name}")).print_help();
        return Some(ExitCode::SUCCESS);
    }
    Some(match clap_form::settings(name, matches) {
        Ok(settings) => execute(&settings),
        Err(text) => exit::usage(name, &text),
    })
}

/// Behaves as `mosquitto_pub`, `mosquitto_sub` or `mosquitto_rr` if the program was called by that name.
pub(crate) fn multicall(argv0: &OsStr, args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let program = match Path::new(argv0).file_stem()?.to_str()? {
        "mosquitto_pub" => Program::Pub,
        "mosquitto_sub" => Program::Sub,
        "mosquitto_rr" => Program::Rr,
        _ => return None,
    };
    let words = args.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let defaults = mosquitto_form::configuration_path(program)
        .and_then(|path| std::fs::read_to_string(path).ok())
        .map(|text| mosquitto_form::configuration(&text))
        .unwrap_or_default();
    let text = match mosquitto_form::parse(program, defaults, words) {
        Ok(settings) => return Some(execute(&settings)),
        Err(Stop::Help) => mosquitto_form::usage(program),
        Err(Stop::Version) => format!("{}\n", mosquitto_form::version(program)),
        Err(Stop::Wrong(text)) => {
            exit::say(&format!("{text}\n\nUse '{} --help' to see usage.\n", program.name()));
            return Some(ExitCode::FAILURE);
        }
    };
    // The originals leave with 1 even when help was asked for.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    Some(ExitCode::FAILURE)
}

fn execute(settings: &Settings) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(async {
                match &settings.job {
                    Job::Pub(job) => publisher::run(settings, job).await,
                    Job::Sub(job) => subscriber::run(settings, job).await,
                    Job::Req(job) => requester::run(settings, job).await,
                    Job::Reply(job) => responder::run(settings, job).await,
                }
            });
            // A thread that still waits for stdin must not keep the program.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Outcome::Failed(format!("cannot start: {error}")),
    };
    exit::finish(outcome, settings)
}
