//! The commands and their flags, as clap sees them. Letters are those of libcoap's `coap-client` where it has the flag.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};

use super::format::{parse_block, parse_format, parse_option, parse_token};
use crate::flag::{long, value};

const REQUEST: &str = "Request";
const CONNECTION: &str = "Connection";
const SECURITY: &str = "Security";
const OUTPUT: &str = "Output";

/// `tercet coap`.
pub(super) fn command() -> Command {
    let methods = [
        ("get", "Read a resource"),
        ("put", "Create or replace a resource"),
        ("post", "Let a resource process a body"),
        ("delete", "Remove a resource"),
        ("fetch", "Read what a body asks for (RFC 8132)"),
        ("patch", "Change part of a resource (RFC 8132)"),
        ("ipatch", "Change part of a resource, idempotently (RFC 8132)"),
    ];
    Command::new("coap")
        .about("A CoAP client: get, put, post, delete, observe, discover, and a small server")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(
            "Examples:\n  tercet coap put coap://localhost/ps/lamp on\n  tercet coap get coap://localhost/ps/lamp\n  \
             tercet coap observe coap://localhost/ps/lamp\n  tercet coap discover localhost",
        )
        .subcommands(methods.map(|(name, about)| method(name, about)))
        .subcommands([observe(), discover(), ping(), serve()])
}

fn method(name: &'static str, about: &'static str) -> Command {
    let command = base(name, about).args(request_args()).args(output_args());
    if matches!(name, "get" | "delete") {
        return command;
    }
    let example = format!(
        "Examples:\n  tercet coap {name} coap://localhost/ps/lamp on\n  tercet coap {name} -t json -f lamp.json coap://localhost/ps/lamp"
    );
    command.args(body_args()).after_help(example)
}

fn observe() -> Command {
    base("observe", "Follow a resource: its state now and whenever it changes (RFC 7641)")
        .after_help("Example:\n  tercet coap observe -s 60 coap://localhost/ps/sensors/+/temp")
        .args(request_args())
        .args(body_args())
        .args(output_args())
        .args([
            value("duration", Some('s'), "duration", "SECS", "Stop after so many seconds")
                .value_parser(seconds),
            value("count", None, "count", "N", "Stop after N states")
                .value_parser(value_parser!(u64).range(1..)),
            Arg::new("fetch")
                .long("fetch")
                .action(ArgAction::SetTrue)
                .help("Observe with FETCH instead of GET"),
        ])
}

fn discover() -> Command {
    base("discover", "List the resources of a server, or the servers of a group")
        .after_help(
            "Examples:\n  tercet coap discover localhost\n  tercet coap discover 'coap://localhost?rt=core.ps'\n  \
             tercet coap discover coap://224.0.1.187",
        )
        .args([
            value("duration", Some('s'), "duration", "SECS", "How long to wait for the servers of a group [default: 6]")
                .value_parser(seconds),
            long("json", "Print one JSON object for each resource").help_heading(OUTPUT),
        ])
}

fn ping() -> Command {
    base("ping", "Ask a server for signs of life").args([value(
        "count",
        Some('G'),
        "count",
        "N",
        "Ask N times [default: 1]",
    )
    .value_parser(value_parser!(u64).range(1..))])
}

fn serve() -> Command {
    Command::new("serve")
        .about("Serve a directory of files, or resources that clients create, for trials")
        .after_help(
            "Examples:\n  tercet coap serve ./firmware\n  tercet coap serve --writable --bind coap://127.0.0.1:5700",
        )
        .args([
            Arg::new("directory")
                .value_name("DIRECTORY")
                .value_parser(value_parser!(PathBuf))
                .help("Directory of files to serve for reading; without it, resources in memory"),
            value("bind", Some('a'), "bind", "URL", "Where to listen, may be repeated [default: coap://127.0.0.1:5683]")
                .action(ArgAction::Append),
            long("writable", "Let clients create, change and delete resources (in memory only)")
                .conflicts_with("directory"),
            value("certificate", Some('c'), "cert", "FILE", "Certificate for secured addresses (PEM)").requires("key-file"),
            value("key-file", Some('j'), "key-file", "FILE", "Its private key (PEM)").requires("certificate"),
            value("psk-file", None, "psk-file", "FILE", "Pre-shared keys of clients, a line NAME:HEX for each")
                .value_parser(value_parser!(PathBuf)),
            value("oscore", Some('E'), "oscore", "FILE", "Take requests protected with this context too")
                .value_parser(value_parser!(PathBuf)),
        ])
}

fn base(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(Arg::new("uri").value_name("URI").required(true).help(
            "coap://, coaps://, coap+tcp://, coaps+tcp://, coap+ws://, coaps+ws://host[:port][/path][?query]",
        ))
        .args(
            [
                value(
                    "wait",
                    Some('B'),
                    "wait",
                    "SECS",
                    "Give up after so many seconds [default: 90] (exit code 27)",
                )
                .value_parser(seconds),
                value(
                    "max-message",
                    Some('X'),
                    "max-message",
                    "BYTES",
                    "Largest message taken over TCP [default: 8388864]",
                )
                .value_parser(value_parser!(u32).range(1152..)),
                Arg::new("no-uri-host")
                    .short('U')
                    .long("no-uri-host")
                    .action(ArgAction::SetTrue)
                    .help("Do not name the host in the request"),
                value("proxy", Some('P'), "proxy", "URI", "Ask this proxy for the resource"),
            ]
            .map(|arg| arg.help_heading(CONNECTION)),
        )
        .args(
            [
                value("user", Some('u'), "user", "NAME", "Name of the pre-shared key"),
                value("key", Some('k'), "key", "KEY", "Pre-shared key; 0x... for bytes"),
                value("certificate", Some('c'), "cert", "FILE", "Client certificate (PEM)")
                    .requires("key-file"),
                value("key-file", Some('j'), "key-file", "FILE", "Its private key (PEM)")
                    .requires("certificate"),
                value(
                    "oscore",
                    Some('E'),
                    "oscore",
                    "FILE",
                    "Protect end to end with this context (a file as libcoap has it)",
                )
                .value_parser(value_parser!(PathBuf)),
                value("cafile", None, "cafile", "FILE", "Authorities to trust (PEM)")
                    .short('R')
                    .visible_short_alias('C'),
                Arg::new("insecure")
                    .short('n')
                    .long("insecure")
                    .action(ArgAction::SetTrue)
                    .help("Do not check the server's certificate; with --cafile, not its name"),
            ]
            .map(|arg| arg.help_heading(SECURITY)),
        )
}

fn request_args() -> Vec<Arg> {
    vec![
        value(
            "accept",
            Some('A'),
            "accept",
            "FORMAT",
            "Format wanted: a number, a media type, or text, json, cbor, ...",
        )
        .value_parser(parse_format),
        value("option", Some('O'), "option", "NUM,TEXT", "Add an option, may be repeated; text or 0x...")
            .action(ArgAction::Append)
            .value_parser(parse_option),
        value("token", Some('T'), "token", "TOKEN", "Token of the first message; text or 0x...")
            .value_parser(parse_token),
        value(
            "block",
            Some('b'),
            "block",
            "[NUM,]SIZE",
            "Block size (16 to 1024), and the block to begin with",
        )
        .value_parser(parse_block),
        value("hop-limit", Some('H'), "hop-limit", "N", "How many proxies it may pass (RFC 8768)")
            .value_parser(value_parser!(u8).range(1..)),
        Arg::new("non").short('N').long("non").action(ArgAction::SetTrue).help("Send it Non-confirmable"),
        value("etag", None, "etag", "HEX", "Entity tag of what is at hand, may be repeated")
            .action(ArgAction::Append),
        value(
            "if-match",
            None,
            "if-match",
            "HEX",
            "Only if this is the entity tag; empty: only if it exists",
        )
        .num_args(0..=1)
        .default_missing_value("")
        .action(ArgAction::Append),
        long("if-none-match", "Only if it does not exist"),
    ]
    .into_iter()
    .map(|arg| arg.help_heading(REQUEST))
    .collect()
}

fn body_args() -> Vec<Arg> {
    vec![
        Arg::new("body").value_name("BODY").conflicts_with_all(["text", "file"]).help("The body"),
        value("text", Some('e'), "text", "TEXT", "The body, percent-encoded").conflicts_with("file"),
        value("file", Some('f'), "file", "FILE", "A file is the body; - for stdin")
            .value_parser(value_parser!(PathBuf)),
        value("content-format", Some('t'), "type", "FORMAT", "Format of the body, as for --accept")
            .value_parser(parse_format),
        long("no-response", "Want no answer (RFC 7967)"),
    ]
    .into_iter()
    .map(|arg| arg.help_heading(REQUEST))
    .collect()
}

fn output_args() -> Vec<Arg> {
    [
        value("output", Some('o'), "output", "FILE", "Write the body to a file; - for stdout")
            .value_parser(value_parser!(PathBuf)),
        Arg::new("newline")
            .short('w')
            .long("newline")
            .action(ArgAction::SetTrue)
            .help("Add a line feed to the body"),
        Arg::new("verbose")
            .short('v')
            .long("verbose")
            .action(ArgAction::SetTrue)
            .help("Show code and options on stderr"),
        long("json", "Print code, options and body as one JSON object"),
    ]
    .map(|arg| arg.help_heading(OUTPUT))
    .into()
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let wait = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    wait.ok_or("not a number of seconds")
}
