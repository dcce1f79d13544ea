//! `tercet amqp ...`: queues and what is in them.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Map, Value, json};

use super::api::{Api, done, print, print_list, segment, shown};
use super::connection;
use super::table::printable;
use crate::exit::{Exit, Failure};

/// The command line.
pub(super) fn command() -> Command {
    Command::new("amqp")
        .about("See and manage the queues of a running broker")
        .subcommand_required(true)
        .after_help(
            "Examples:\n  tercet amqp queues\n  tercet amqp peek jobs --limit 3\n  tercet amqp move jobs.dead jobs\n  \
             tercet amqp purge jobs",
        )
        .subcommands([
            list("queues", "List queues with their depth and rates"),
            list("exchanges", "List exchanges"),
            list("bindings", "List bindings"),
            connection::with_flags(Command::new("connections").about("List open connections")),
            connection::with_flags(Command::new("close").about("Close a connection")).arg(
                Arg::new("id").value_name("ID").required(true).help("As `tercet amqp connections` shows it"),
            ),
            peek(),
            on_queue("show", "Show everything about a queue"),
            on_queue("purge", "Drop all messages that are ready"),
            on_queue("pause", "Stop handing out messages"),
            on_queue("resume", "Hand out messages again"),
            on_queue("delete", "Delete a queue with everything in it"),
            on_queue("declare", "Create a queue")
                .arg(switch("transient", "It does not survive a restart"))
                .arg(switch("auto-delete", "It goes with its last consumer"))
                .arg(arguments()),
            binding("bind", "Bind a queue to an exchange"),
            binding("unbind", "Remove a binding"),
            on_queue("move", "Move messages that are ready to the end of another queue")
                .arg(Arg::new("to").value_name("TO").required(true).help("The other queue"))
                .arg(
                    Arg::new("limit")
                        .long("limit")
                        .short('n')
                        .value_name("N")
                        .value_parser(value_parser!(u64))
                        .help("Move no more than that"),
                ),
        ])
}

fn vhost_flag() -> Arg {
    Arg::new("vhost").long("vhost").short('V').value_name("VHOST").default_value("/").help("Virtual host")
}

fn list(name: &'static str, about: &'static str) -> Command {
    connection::with_flags(Command::new(name).about(about))
        .arg(
            Arg::new("vhost")
                .long("vhost")
                .short('V')
                .value_name("VHOST")
                .help("Only those of a virtual host"),
        )
        .arg(Arg::new("name").long("name").value_name("TEXT").help("Only those whose name contains this"))
}

fn on_queue(name: &'static str, about: &'static str) -> Command {
    connection::with_flags(Command::new(name).about(about))
        .arg(Arg::new("queue").value_name("QUEUE").required(true).help("Name of the queue"))
        .arg(vhost_flag())
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn arguments() -> Arg {
    Arg::new("argument")
        .long("argument")
        .short('a')
        .value_name("NAME=VALUE")
        .action(ArgAction::Append)
        .help("Further argument, such as x-max-length=1000; may be repeated")
}

fn binding(name: &'static str, about: &'static str) -> Command {
    on_queue(name, about)
        .arg(Arg::new("exchange").value_name("EXCHANGE").required(true).help("Name of the exchange"))
        .arg(Arg::new("key").value_name("KEY").default_value("").hide_default_value(true).help("Binding key"))
        .arg(arguments())
}

fn peek() -> Command {
    let number = |name: &'static str, kind: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(kind).value_parser(value_parser!(u64)).help(help)
    };
    on_queue("peek", "Look at messages without taking them")
        .arg(number("limit", "N", "Show so many [default: 10]").short('n'))
        .arg(number("from", "SEQUENCE", "Begin at this sequence: where the last look ended"))
        .arg(number("truncate", "BYTES", "Show so much of each payload [default: 4096]"))
}

/// Runs one of them.
pub(super) fn run(verb: &str, matches: &ArgMatches, api: &Api) -> Result<(), Failure> {
    match verb {
        "queues" => listing(matches, api, verb, QUEUES),
        "exchanges" => listing(matches, api, verb, EXCHANGES),
        "bindings" => listing(matches, api, verb, BINDINGS),
        "connections" => print_list(matches, api.list("connections", &[])?, CONNECTIONS),
        "close" => {
            let id = text(matches, "id");
            let answer = api.delete(&format!("connections/{}", segment(id)))?;
            done(matches, answer, &format!("closing connection {id}"))
        }
        "peek" => look(matches, api),
        _ => queue(verb, matches, api),
    }
}

const QUEUES: &[(&str, &str)] = &[
    ("vhost", "/vhost"),
    ("name", "/name"),
    ("type", "/type"),
    ("state", "/state"),
    ("ready", "/ready"),
    ("unacked", "/unacked"),
    ("consumers", "/consumers"),
    ("in/s", "/rates/published"),
    ("out/s", "/rates/delivered"),
    ("policy", "/policy"),
];

const EXCHANGES: &[(&str, &str)] = &[
    ("vhost", "/vhost"),
    ("name", "/name"),
    ("type", "/type"),
    ("durable", "/durable"),
    ("internal", "/internal"),
    ("policy", "/policy"),
    ("arguments", "/arguments"),
];

const BINDINGS: &[(&str, &str)] = &[
    ("vhost", "/vhost"),
    ("source", "/source"),
    ("to", "/destination_type"),
    ("destination", "/destination"),
    ("key", "/routing_key"),
    ("arguments", "/arguments"),
];

const CONNECTIONS: &[(&str, &str)] = &[
    ("id", "/id"),
    ("user", "/user"),
    ("vhost", "/vhost"),
    ("peer", "/peer"),
    ("channels", "/channels"),
    ("client", "/client/product"),
];

fn listing(
    matches: &ArgMatches,
    api: &Api,
    what: &str,
    columns: &[(&'static str, &'static str)],
) -> Result<(), Failure> {
    let path = match matches.get_one::<String>("vhost") {
        Some(vhost) => format!("{what}/{}", segment(vhost)),
        None => what.to_owned(),
    };
    let name = matches.get_one::<String>("name").map(|name| ("name", name.as_str()));
    print_list(matches, api.list(&path, name.as_slice())?, columns)
}

fn text<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches.get_one::<String>(name).map(String::as_str).unwrap_or_default()
}

fn queue(verb: &str, matches: &ArgMatches, api: &Api) -> Result<(), Failure> {
    let name = text(matches, "queue");
    let path = format!("queues/{}/{}", segment(text(matches, "vhost")), segment(name));
    let count = |value: &Value| shown(value.get("messages").unwrap_or(&Value::Null));
    match verb {
        "show" => print(matches, &api.get(&path)?, people),
        "delete" => {
            let answer = api.delete(&path)?;
            let words = format!("deleted queue {name} with {} messages", count(&answer));
            done(matches, answer, &words)
        }
        "purge" => {
            let answer = api.post(&format!("{path}/purge"), &json!({}))?;
            let words = format!("dropped {} messages of queue {name}", count(&answer));
            done(matches, answer, &words)
        }
        "declare" => {
            let body = json!({
                "durable": !matches.get_flag("transient"),
                "auto_delete": matches.get_flag("auto-delete"),
                "arguments": given_arguments(matches)?,
            });
            done(matches, api.put(&path, &body)?, &format!("queue {name} is there"))
        }
        "bind" | "unbind" => {
            let exchange = text(matches, "exchange");
            let body = json!({
                "source": exchange,
                "destination": name,
                "routing_key": text(matches, "key"),
                "arguments": given_arguments(matches)?,
            });
            let path = format!("bindings/{}", segment(text(matches, "vhost")));
            let (answer, words) = if verb == "bind" {
                (api.post(&path, &body)?, format!("queue {name} is bound to exchange {exchange}"))
            } else {
                (
                    api.delete_with(&path, &body)?,
                    format!("queue {name} is not bound to exchange {exchange} by that key"),
                )
            };
            done(matches, answer, &words)
        }
        "move" => {
            let to = text(matches, "to");
            let body = json!({ "to": to, "limit": matches.get_one::<u64>("limit") });
            let answer = api.post(&format!("{path}/move"), &body)?;
            let words = format!("moved {} messages from queue {name} to queue {to}", count(&answer));
            done(matches, answer, &words)
        }
        _ => {
            let answer = api.post(&format!("{path}/{verb}"), &json!({}))?;
            done(matches, answer, &format!("{verb}d queue {name}"))
        }
    }
}

/// Arguments as JSON; a value that is not JSON is a text.
fn given_arguments(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let given = matches.get_many::<String>("argument").into_iter().flatten();
    let parse = |argument: &String| {
        let (name, value) = argument.split_once('=').ok_or_else(|| {
            Failure::failed(format!("argument '{argument}' has no value"))
                .hint("-a x-max-length=1000")
                .exit_with(Exit::Usage)
        })?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok((name.to_owned(), value))
    };
    given.map(parse).collect()
}

/// A value on many lines, one for each member.
fn people(value: &Value) -> String {
    let Value::Object(members) = value else { return String::new() };
    let line = |(name, value): (&String, &Value)| format!("{name:<18} {}\n", printable(&shown(value)));
    members.iter().map(line).collect()
}

fn look(matches: &ArgMatches, api: &Api) -> Result<(), Failure> {
    let mut path =
        format!("queues/{}/{}/messages?", segment(text(matches, "vhost")), segment(text(matches, "queue")));
    for name in ["limit", "from", "truncate"] {
        if let Some(number) = matches.get_one::<u64>(name) {
            path.push_str(&format!("{name}={number}&"));
        }
    }
    print(matches, &api.get(path.trim_end_matches(['&', '?']))?, messages)
}

fn messages(answer: &Value) -> String {
    let mut text = String::new();
    for message in answer.get("items").and_then(Value::as_array).into_iter().flatten() {
        let value = |name: &str| printable(&shown(message.get(name).unwrap_or(&Value::Null)));
        let redelivered =
            if message.get("redelivered") == Some(&Value::Bool(true)) { "  redelivered" } else { "" };
        text.push_str(&format!(
            "#{}  {}  exchange {}  key {}  {} bytes{redelivered}\n",
            value("sequence"),
            value("state"),
            value("exchange"),
            value("routing_key"),
            value("payload_bytes"),
        ));
        if let Some(Value::Object(properties)) = message.get("properties") {
            for (name, value) in properties {
                text.push_str(&format!("  {name}: {}\n", printable(&shown(value))));
            }
        }
        let payload = message.get("payload").map(shown).unwrap_or_default();
        for line in payload.lines() {
            text.push_str(&format!("  | {}\n", printable(line)));
        }
    }
    match answer.get("next").and_then(Value::as_u64) {
        Some(next) => text.push_str(&format!("next: --from {next}\n")),
        None if text.is_empty() => text.push_str("the queue is empty\n"),
        None => {}
    }
    text
}
