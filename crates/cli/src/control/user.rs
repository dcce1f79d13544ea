//! `tercet user ...`: the users that the broker itself keeps. `tercet passwd` edits password files.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::api::{Api, done, print_list, segment};
use super::connection;
use super::vhost::{limit, limit_flags};
use crate::exit::{Exit, Failure};
use crate::passwd;

/// The command line.
pub(super) fn command() -> Command {
    let on_one = |name: &'static str, about: &'static str| {
        connection::with_flags(Command::new(name).about(about))
            .arg(Arg::new("name").value_name("NAME").required(true).help("Name of the user"))
    };
    let new_password = || {
        Arg::new("new")
            .value_name("PASSWORD")
            .help("The user's password; without it: asked for, or the first line of stdin")
    };
    Command::new("user")
        .about("Manage the users of a running broker")
        .subcommand_required(true)
        .after_help(
            "Examples:\n  tercet user add ann --tags management\n  tercet permission set ann '.*' '.*' '.*'\n  \
             tercet user list",
        )
        .subcommands([
            connection::with_flags(Command::new("list").about("List users")),
            on_one("add", "Create a user, or give it another password")
                .arg(new_password())
                .arg(
                    Arg::new("tags")
                        .long("tags")
                        .value_name("TAGS")
                        .help("administrator, monitoring, policymaker, management, impersonator; with commas"),
                )
                .arg(
                    Arg::new("no-password")
                        .long("no-password")
                        .action(ArgAction::SetTrue)
                        .conflicts_with("new")
                        .help("The user logs in by certificate only"),
                ),
            on_one("password", "Change the password of a user").arg(new_password()),
            on_one("tags", "Set what a user may manage; none: nothing")
                .arg(Arg::new("tags").value_name("TAG").num_args(0..).help("administrator, monitoring, policymaker, management, impersonator")),
            on_one("limit", "Limit what a user may have open; without flags: no limits")
                .args(limit_flags([("max-connections", "Connections"), ("max-channels", "Channels")])),
            on_one("remove", "Delete a user with its permissions"),
        ])
}

/// Runs one of them.
pub(super) fn run(verb: &str, matches: &ArgMatches, api: &Api) -> Result<(), Failure> {
    if verb == "list" {
        let columns = [
            ("name", "/name"),
            ("tags", "/tags"),
            ("password", "/credential"),
            ("max-connections", "/limits/max-connections"),
            ("max-channels", "/limits/max-channels"),
        ];
        return print_list(matches, api.list("users", &[])?, &columns);
    }
    let name = matches.get_one::<String>("name").map(String::as_str).unwrap_or_default();
    let path = format!("users/{}", segment(name));
    match verb {
        "add" => {
            let mut body = json!({});
            if !matches.get_flag("no-password") {
                body["password"] = json!(password(matches, name)?);
            }
            if let Some(tags) = matches.get_one::<String>("tags") {
                body["tags"] = json!(tags);
            }
            done(matches, api.put(&path, &body)?, &format!("user {name} is there"))
        }
        "password" => {
            // Not a new user by a slip of the finger.
            api.get(&path)?;
            let body = json!({ "password": password(matches, name)? });
            done(matches, api.put(&path, &body)?, &format!("changed the password of {name}"))
        }
        "tags" => {
            api.get(&path)?;
            let tags: Vec<&String> = matches.get_many("tags").into_iter().flatten().collect();
            let body = json!({ "tags": tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>().join(",") });
            done(matches, api.put(&path, &body)?, &format!("set the tags of {name}"))
        }
        "remove" => done(matches, api.delete(&path)?, &format!("removed user {name}")),
        _ => {
            let path = format!("user-limits/{}", segment(name));
            limit(matches, api, &path, &["max-connections", "max-channels"], &format!("user {name}"))
        }
    }
}

/// The new password: from the command line, the terminal, or stdin.
fn password(matches: &ArgMatches, user: &str) -> Result<Value, Failure> {
    if let Some(password) = matches.get_one::<String>("new") {
        return Ok(json!(password));
    }
    let asked = passwd::ask(user)?;
    match std::str::from_utf8(asked.expose()) {
        Ok("") => Err(Failure::failed("a password has at least one byte").exit_with(Exit::Usage)),
        Ok(text) => Ok(json!(text)),
        Err(_) => Err(Failure::failed("the password is not UTF-8").exit_with(Exit::Usage)),
    }
}
