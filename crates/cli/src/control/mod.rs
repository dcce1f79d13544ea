//! The commands that talk to a running broker by its control API: `status`, `amqp`, `vhost`, `user`, `permission` and
//! `policy`.
//!
//! [`connection`] has the flags that say where the broker is and who asks, [`client`] sends one request, [`api`] builds
//! paths and reads lists, [`table`] shows them to people. Each of the others is one command.

mod amqp;
mod api;
mod client;
mod connection;
mod permission;
mod policy;
mod status;
mod table;
mod user;
mod vhost;

use clap::{ArgMatches, Command};

use self::api::Api;
use crate::exit::Failure;

/// The command lines.
pub(crate) fn commands() -> [Command; 6] {
    [
        status::command(),
        amqp::command(),
        vhost::command(),
        user::command(),
        permission::command(),
        policy::command(),
    ]
}

/// Runs the command `name`; `None` if it is none of these.
pub(crate) fn run(name: &str, matches: &ArgMatches) -> Option<Result<(), Failure>> {
    Some(match name {
        "status" => leaf(status::command(), &["status"], matches, status::run),
        "amqp" => group(amqp::command(), name, matches, amqp::run),
        "vhost" => group(vhost::command(), name, matches, vhost::run),
        "user" => group(user::command(), name, matches, user::run),
        "permission" => group(permission::command(), name, matches, permission::run),
        "policy" => group(policy::command(), name, matches, policy::run),
        _ => return None,
    })
}

type Job = fn(&str, &ArgMatches, &Api) -> Result<(), Failure>;

fn group(command: Command, name: &str, matches: &ArgMatches, run: Job) -> Result<(), Failure> {
    let Some((verb, matches)) = matches.subcommand() else { return Ok(()) };
    let Some(command) = command.get_subcommands().find(|command| command.get_name() == verb).cloned() else {
        return Ok(());
    };
    leaf(command, &[name, verb], matches, |matches, api| run(verb, matches, api))
}

fn leaf(
    command: Command,
    path: &[&str],
    matches: &ArgMatches,
    run: impl FnOnce(&ArgMatches, &Api) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if connection::wants_help(matches) {
        // As `--help`: nothing can be reported when stdout is gone.
        let _ = command.bin_name(format!("tercet {}", path.join(" "))).print_help();
        return Ok(());
    }
    run(matches, &Api::new(connection::of(matches)?))
}
