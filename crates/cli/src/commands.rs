//! The command line as a whole: which commands there are and what a bare `tercet` says.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

use crate::exit::{Exit, Failure};
use crate::output::{data, talk};
use crate::{backup, coap, config, control, log, manual, passwd, pubsub, serve};

/// What a bare `tercet` prints.
const WELCOME: &str = concat!(
    "tercet ",
    env!("CARGO_PKG_VERSION"),
    ", a message broker: MQTT, AMQP 0-9-1 and CoAP

  serve         run the broker (no configuration needed)
  pub, sub      publish, subscribe; req, reply: ask and answer (MQTT 5)
  coap          get, put, observe, discover and more over CoAP
  status, amqp  see a running broker and its queues
  user, vhost, permission, policy
                manage a running broker
  config        init, check or show the configuration
  passwd        create, change and delete users in a password file
  backup, log   copy the data of a running broker; check, repair its log
  completions, man
                for your shell; manual pages
  help COMMAND  everything about a command

Try:
  tercet serve
  tercet sub 'demo/#'
  tercet pub demo/hi hello
"
);

/// The whole command line.
pub(crate) fn command() -> Command {
    Command::new("tercet")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A message broker: MQTT, AMQP 0-9-1 and CoAP")
        .subcommand_required(true)
        .infer_long_args(false)
        .subcommand(serve::command())
        .subcommands(pubsub::commands())
        .subcommand(coap::command())
        .subcommands(control::commands())
        .subcommand(config::command())
        .subcommand(passwd::command())
        .subcommands(backup::commands())
        .subcommand(log::command())
        .subcommands(manual::commands())
        .subcommand(
            Command::new("version")
                .about("Print the version")
                .arg(crate::sources::json_flag("Print as JSON")),
        )
}

/// Runs the command that `args` (program name first) ask for.
pub(crate) fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.into_iter().collect();
    if args.len() <= 1 {
        return report(data(WELCOME)).into();
    }
    match command().try_get_matches_from(args) {
        Ok(matches) => {
            if let Some(("coap", matches)) = matches.subcommand() {
                return coap::run(matches);
            }
            let by_pubsub = matches.subcommand().and_then(|(name, matches)| pubsub::run(name, matches));
            let by_control = || matches.subcommand().and_then(|(name, matches)| control::run(name, matches));
            by_pubsub.unwrap_or_else(|| report(by_control().unwrap_or_else(|| dispatch(&matches))).into())
        }
        Err(error) => usage(&error).into(),
    }
}

fn dispatch(matches: &ArgMatches) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches),
        Some(("config", matches)) => config::run(matches),
        Some(("passwd", matches)) => passwd::run(matches),
        Some(("backup", matches)) => backup::back_up(matches),
        Some(("restore", matches)) => backup::restore(matches),
        Some(("log", matches)) => log::run(matches),
        Some(("completions", matches)) => manual::completions(matches),
        Some(("man", matches)) => manual::pages(matches),
        Some(("version", matches)) => version(matches.get_flag("json")),
        _ => Err(Failure::failed("no such command").exit_with(Exit::Usage)),
    }
}

fn report(result: Result<(), Failure>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        Err(failure @ Failure::Reported(_)) => failure.exit(),
        Err(failure) => {
            talk(&failure.to_string());
            failure.exit()
        }
    }
}

/// Help and version that were asked for are data; everything else is a mistake in the command line.
fn usage(error: &clap::Error) -> Exit {
    // Nothing can be reported when stdout or stderr is gone.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Ok,
        _ => Exit::Usage,
    }
}

fn version(json: bool) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        return data(&format!("{}\n", serde_json::json!({"name": "tercet", "version": version})));
    }
    data(&format!("tercet {version}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn the_welcome_has_nineteen_lines_and_ends_in_three_commands() {
        let lines: Vec<_> = WELCOME.lines().collect();
        assert_eq!(lines.len(), 19);
        assert!(lines[16..].iter().all(|line| line.starts_with("  tercet ")));
        assert!(lines.iter().all(|line| line.len() <= 80));
    }
}
