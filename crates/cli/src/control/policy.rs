//! `tercet policy ...`: what queues and exchanges are to do by their names.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::api::{Api, done, print_list, segment};
use super::connection;
use crate::exit::{Exit, Failure};

/// The command line.
pub(super) fn command() -> Command {
    let base = |name: &'static str, about: &'static str| {
        connection::with_flags(Command::new(name).about(about)).arg(
            Arg::new("operator")
                .long("operator")
                .action(ArgAction::SetTrue)
                .help("Policies of operators: limits that users cannot lift"),
        )
    };
    let on_one = |name: &'static str, about: &'static str| {
        base(name, about)
            .arg(
                Arg::new("vhost")
                    .long("vhost")
                    .short('V')
                    .value_name("VHOST")
                    .default_value("/")
                    .help("Virtual host"),
            )
            .arg(Arg::new("name").value_name("NAME").required(true).help("Name of the policy"))
    };
    Command::new("policy")
        .about("Manage the policies of a running broker")
        .subcommand_required(true)
        .after_help(
            "Examples:\n  tercet policy set short '^tmp\\.' '{\"max-length\": 1000, \"expires\": 60000}'\n  \
             tercet policy set --operator cap '' '{\"max-length-bytes\": 1000000000}'\n  tercet policy list",
        )
        .subcommands([
            base("list", "List policies"),
            on_one("set", "Set a policy")
                .arg(
                    Arg::new("pattern")
                        .value_name("PATTERN")
                        .required(true)
                        .allow_hyphen_values(true)
                        .help("Regular expression that is searched for in names"),
                )
                .arg(
                    Arg::new("definition")
                        .value_name("JSON")
                        .required(true)
                        .help("Keys and values, such as {\"max-length\": 1000}"),
                )
                .arg(
                    Arg::new("priority")
                        .long("priority")
                        .value_name("N")
                        .value_parser(value_parser!(i64))
                        .allow_negative_numbers(true)
                        .default_value("0")
                        .help("The highest one counts"),
                )
                .arg(
                    Arg::new("apply-to")
                        .long("apply-to")
                        .value_name("KIND")
                        .value_parser([
                            "all",
                            "queues",
                            "classic_queues",
                            "quorum_queues",
                            "streams",
                            "exchanges",
                        ])
                        .default_value("all")
                        .help("What it is about"),
                ),
            on_one("remove", "Remove a policy"),
        ])
}

/// Runs one of them.
pub(super) fn run(verb: &str, matches: &ArgMatches, api: &Api) -> Result<(), Failure> {
    let kind = if matches.get_flag("operator") { "operator-policies" } else { "policies" };
    if verb == "list" {
        let columns = [
            ("vhost", "/vhost"),
            ("name", "/name"),
            ("pattern", "/pattern"),
            ("apply-to", "/apply-to"),
            ("priority", "/priority"),
            ("definition", "/definition"),
        ];
        return print_list(matches, api.list(kind, &[])?, &columns);
    }
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let name = text("name");
    let path = format!("{kind}/{}/{}", segment(text("vhost")), segment(name));
    if verb == "remove" {
        return done(matches, api.delete(&path)?, &format!("removed policy {name}"));
    }
    let definition: Value = serde_json::from_str(text("definition")).map_err(|error| {
        Failure::failed(format!("the definition is not JSON: {error}"))
            .hint("'{\"max-length\": 1000}', in single quotes")
            .exit_with(Exit::Usage)
    })?;
    let body = json!({
        "pattern": text("pattern"),
        "definition": definition,
        "priority": matches.get_one::<i64>("priority"),
        "apply-to": text("apply-to"),
    });
    done(matches, api.put(&path, &body)?, &format!("set policy {name}"))
}
