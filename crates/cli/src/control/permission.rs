//! `tercet permission ...`: what users may do in virtual hosts.

use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::api::{Api, done, print_list, segment};
use super::connection;
use crate::exit::Failure;

/// The command line.
pub(super) fn command() -> Command {
    let positional = |name: &'static str, kind: &'static str, help: &'static str| {
        Arg::new(name).value_name(kind).required(true).allow_hyphen_values(true).help(help)
    };
    let on_user = |name: &'static str, about: &'static str| {
        connection::with_flags(Command::new(name).about(about))
            .arg(
                Arg::new("vhost")
                    .long("vhost")
                    .short('V')
                    .value_name("VHOST")
                    .default_value("/")
                    .help("Virtual host"),
            )
            .arg(Arg::new("user").value_name("USER").required(true).help("Name of the user"))
    };
    Command::new("permission")
        .about("Manage what users of a running broker may do")
        .subcommand_required(true)
        .after_help(
            "Patterns are regular expressions that are searched for in names; '.*' is everything, '' nothing.\n\n\
             Examples:\n  tercet permission set ann '.*' '.*' '.*'\n  tercet permission set --vhost shop bob '' '^orders' ''\n  \
             tercet permission set-topic ann amq.topic '^{username}\\.' '.*'",
        )
        .subcommands([
            connection::with_flags(Command::new("list").about("List permissions")),
            on_user("set", "Set what a user may do")
                .arg(positional("configure", "CONFIGURE", "What it may create and delete"))
                .arg(positional("write", "WRITE", "What it may publish to and bind"))
                .arg(positional("read", "READ", "What it may consume, purge and bind from")),
            on_user("remove", "Take away what a user may do"),
            connection::with_flags(Command::new("list-topic").about("List topic permissions")),
            on_user("set-topic", "Set what routing keys a user may use; {username}, {vhost}, {client_id} stand for their values")
                .arg(positional("exchange", "EXCHANGE", "Name of the exchange"))
                .arg(positional("write", "WRITE", "Keys it may publish with"))
                .arg(positional("read", "READ", "Keys it may bind with")),
            on_user("remove-topic", "Let a user use any routing key again")
                .arg(Arg::new("exchange").value_name("EXCHANGE").help("Only of this exchange")),
        ])
}

/// Runs one of them.
pub(super) fn run(verb: &str, matches: &ArgMatches, api: &Api) -> Result<(), Failure> {
    let permission = [
        ("vhost", "/vhost"),
        ("user", "/user"),
        ("configure", "/configure"),
        ("write", "/write"),
        ("read", "/read"),
    ];
    let topic = [
        ("vhost", "/vhost"),
        ("user", "/user"),
        ("exchange", "/exchange"),
        ("write", "/write"),
        ("read", "/read"),
    ];
    match verb {
        "list" => return print_list(matches, api.list("permissions", &[])?, &permission),
        "list-topic" => return print_list(matches, api.list("topic-permissions", &[])?, &topic),
        _ => {}
    }
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let (vhost, user) = (text("vhost"), text("user"));
    let place = format!("{}/{}", segment(vhost), segment(user));
    let done_words = format!("{} in virtual host {vhost}", user);
    match verb {
        "set" => {
            let body =
                json!({ "configure": text("configure"), "write": text("write"), "read": text("read") });
            let answer = api.put(&format!("permissions/{place}"), &body)?;
            done(matches, answer, &format!("set the permission of {done_words}"))
        }
        "remove" => {
            let answer = api.delete(&format!("permissions/{place}"))?;
            done(matches, answer, &format!("removed the permission of {done_words}"))
        }
        "set-topic" => {
            let body = json!({ "exchange": text("exchange"), "write": text("write"), "read": text("read") });
            let answer = api.put(&format!("topic-permissions/{place}"), &body)?;
            done(matches, answer, &format!("set the topic permission of {done_words}"))
        }
        _ => {
            let exchange = matches.get_one::<String>("exchange");
            let query = exchange.map(|name| format!("?exchange={}", segment(name))).unwrap_or_default();
            let answer = api.delete(&format!("topic-permissions/{place}{query}"))?;
            done(matches, answer, &format!("removed the topic permissions of {done_words}"))
        }
    }
}
