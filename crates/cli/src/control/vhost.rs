//! `tercet vhost ...`

use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::api::{Api, done, print_list, segment};
use super::connection;
use crate::exit::Failure;

/// The command line.
pub(super) fn command() -> Command {
    let on_one = |name: &'static str, about: &'static str| {
        connection::with_flags(Command::new(name).about(about))
            .arg(Arg::new("name").value_name("NAME").required(true).help("Name of the virtual host"))
    };
    Command::new("vhost")
        .about("Manage the virtual hosts of a running broker")
        .subcommand_required(true)
        .after_help("Examples:\n  tercet vhost add shop\n  tercet vhost limit shop --max-queues 100")
        .subcommands([
            connection::with_flags(Command::new("list").about("List virtual hosts")),
            on_one("add", "Create a virtual host; who creates it may do everything in it"),
            on_one("remove", "Delete a virtual host with everything in it"),
            on_one("limit", "Limit what may be open in a virtual host; without flags: no limits")
                .args(limit_flags([("max-connections", "Connections"), ("max-queues", "Queues")])),
        ])
}

/// Flags for limits.
pub(super) fn limit_flags<const N: usize>(flags: [(&'static str, &'static str); N]) -> [Arg; N] {
    flags.map(|(name, help)| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))
            .allow_negative_numbers(true)
            .help(format!("{help} at a time; -1 for any number"))
    })
}

/// Sets the limits that flags name; none named: takes all away.
pub(super) fn limit(
    matches: &ArgMatches,
    api: &Api,
    path: &str,
    flags: &[&str],
    whose: &str,
) -> Result<(), Failure> {
    let named: Map<String, Value> = flags
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), json!(matches.get_one::<i64>(name)?))))
        .collect();
    if named.is_empty() {
        return done(matches, api.delete(path)?, &format!("took all limits of {whose} away"));
    }
    done(matches, api.put(path, &Value::Object(named))?, &format!("set the limits of {whose}"))
}

/// Runs one of them.
pub(super) fn run(verb: &str, matches: &ArgMatches, api: &Api) -> Result<(), Failure> {
    if verb == "list" {
        let columns = [
            ("name", "/name"),
            ("connections", "/connections"),
            ("queues", "/queues"),
            ("max-connections", "/limits/max-connections"),
            ("max-queues", "/limits/max-queues"),
        ];
        return print_list(matches, api.list("vhosts", &[])?, &columns);
    }
    let name = matches.get_one::<String>("name").map(String::as_str).unwrap_or_default();
    let path = format!("vhosts/{}", segment(name));
    match verb {
        "add" => done(matches, api.put(&path, &json!({}))?, &format!("virtual host {name} is there")),
        "remove" => done(matches, api.delete(&path)?, &format!("removed virtual host {name}")),
        _ => {
            let path = format!("vhost-limits/{}", segment(name));
            limit(matches, api, &path, &["max-connections", "max-queues"], &format!("virtual host {name}"))
        }
    }
}
