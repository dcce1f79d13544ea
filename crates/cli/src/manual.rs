//! `tercet completions SHELL` and `tercet man DIR`, generated from the command line itself.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::commands::command;
use crate::exit::Failure;
use crate::output::{data, talk};

/// The command lines.
pub(crate) fn commands() -> [Command; 2] {
    [
        Command::new("completions")
            .about("Print the completions of a shell")
            .after_help(
                "Example:\n  tercet completions bash > ~/.local/share/bash-completion/completions/tercet",
            )
            .arg(Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell))),
        Command::new("man")
            .about("Write the manual pages")
            .after_help("Example:\n  tercet man ~/.local/share/man/man1")
            .arg(
                Arg::new("dir")
                    .value_name("DIR")
                    .required(true)
                    .value_parser(value_parser!(PathBuf))
                    .help("Directory of the pages; created if it does not exist"),
            ),
    ]
}

/// Prints the completions.
pub(crate) fn completions(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(shell) = matches.get_one::<Shell>("shell") else { return Ok(()) };
    data(&script(*shell))
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "tercet", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes `tercet.1` and a page for each command.
pub(crate) fn pages(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(dir) = matches.get_one::<PathBuf>("dir") else { return Ok(()) };
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(command().disable_help_subcommand(true), dir))
        .map_err(|error| {
            Failure::failed(format!("cannot write manual pages to {}: {error}", dir.display()))
        })?;
    talk(&format!("wrote the manual pages to {0}\ntry:  man {0}/tercet.1", dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_has_completions_for_every_command() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for name in command().get_subcommands().map(Command::get_name) {
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
    }
}
