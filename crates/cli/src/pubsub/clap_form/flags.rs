//! The commands and their flags, as clap sees them.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};
use tercet_client::mqtt::{QoS, parse_version};

use crate::flag::{long, value};

const CONNECTION: &str = "Connection";
const TLS: &str = "TLS";
const MESSAGE: &str = "Message";

pub(in crate::pubsub) fn commands() -> Vec<Command> {
    vec![publish(), subscribe(), request(), reply()]
}

fn publish() -> Command {
    base("pub", "Publish messages")
        .after_help("Examples:\n  tercet pub demo/hi hello\n  tercet pub -q 1 -r lamp/state on\n  seq 1000000 | tercet pub -l demo/count")
        .args(message_args())
        .args([
            flag("lines", 'l', "stdin-line", "Publish each line of stdin as a message").help_heading(MESSAGE),
            value("repeat", None, "repeat", "N", "Publish it N times")
                .value_parser(value_parser!(u64).range(1..))
                .help_heading(MESSAGE),
            value("repeat-delay", None, "repeat-delay", "SECS", "Wait so long between repetitions")
                .value_parser(seconds)
                .help_heading(MESSAGE),
            value("answer-to", None, "response-topic", "TOPIC", "Where an answer is expected").help_heading(MESSAGE),
            value("inflight", Some('M'), "max-inflight", "N", "Most unacknowledged messages [default: 1024]")
                .value_parser(value_parser!(u16).range(1..))
                .help_heading(MESSAGE),
            words("topic and message", "[TOPIC] [MESSAGE]"),
        ])
}

fn subscribe() -> Command {
    base("sub", "Subscribe and print messages")
        .after_help("Examples:\n  tercet sub 'demo/#' -v\n  tercet sub --json 'sensors/+/temp' | jq .payload\n  tercet sub -F '%I %t %p' demo/hi")
        .args([
            topic_flag("Topic filter, may be repeated"),
            qos_flag(),
            value("count", Some('C'), "count", "N", "Exit after N messages").value_parser(value_parser!(u64).range(1..)),
            wait_flag(),
            flag("exit-after-suback", 'E', "exit-after-suback", "Exit once the subscriptions are granted"),
            flag("no-retained", 'R', "no-retained", "Leave out retained messages").conflicts_with("retained-only"),
            long("retained-only", "Only retained messages; exit at the first other one"),
            long("remove-retained", "Clear every retained message that is received"),
            long("retain-as-published", "Keep the publisher's retain flag"),
            long("no-local", "Leave out messages of this very client"),
            value("random-filter", None, "random-filter", "PERCENT", "Print only a share of the messages")
                .value_parser(percent),
            value("filter-out", Some('T'), "filter-out", "FILTER", "Leave out topics that match, may be repeated")
                .action(ArgAction::Append),
            value("unsubscribe", Some('U'), "unsubscribe", "FILTER", "Unsubscribe, may be repeated")
                .action(ArgAction::Append),
            words("topic filters", "[FILTER]..."),
        ])
        .args(output_args())
}

fn request() -> Command {
    base("req", "Send a request and print the response")
        .after_help(
            "Example:\n  tercet reply math/upper --exec 'tr a-z A-Z' &\n  tercet req math/upper hello",
        )
        .args(message_args())
        .arg(wait_flag())
        .arg(flag("no-retained", 'R', "no-retained", "Leave out retained messages"))
        .arg(
            value(
                "response-topic",
                Some('e'),
                "response-topic",
                "TOPIC",
                "Where the response is expected [default: one of its own]",
            )
            .help_heading(MESSAGE),
        )
        .arg(words("topic and message", "[TOPIC] [MESSAGE]"))
        .args(output_args())
}

fn reply() -> Command {
    base("reply", "Answer requests")
        .after_help("Examples:\n  tercet reply math/upper --exec 'tr a-z A-Z'\n  tercet reply ping pong")
        .args([
            topic_flag("Topic filter of the requests"),
            qos_flag(),
            value("message", Some('m'), "message", "TEXT", "Answer with this"),
            value(
                "exec",
                None,
                "exec",
                "CMD",
                "Answer with what a shell command prints; it gets the request on stdin",
            )
            .value_parser(value_parser!(OsString))
            .conflicts_with_all(["message", "echo"]),
            long("echo", "Answer with the request itself (the default)").conflicts_with("message"),
            value("count", Some('C'), "count", "N", "Exit after N requests")
                .value_parser(value_parser!(u64).range(1..)),
            wait_flag(),
            flag("verbose", 'v', "verbose", "Show the requests on stderr"),
            value("content-type", None, "content-type", "TYPE", "Content type of the answers"),
            words("topic filter and message", "[FILTER] [MESSAGE]"),
        ])
}

/// The flags of the connection, which all commands have.
fn base(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .disable_help_flag(true)
        .arg(
            value(
                "host",
                Some('h'),
                "host",
                "HOST",
                "Broker [default: localhost]; without a value: this help",
            )
            .num_args(0..=1)
            .help_heading(CONNECTION),
        )
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Print this help"))
        .args(
            [
                value("port", Some('p'), "port", "PORT", "Port [default: 1883, with TLS 8883]")
                    .value_parser(value_parser!(u16).range(1..)),
                value(
                    "url",
                    Some('L'),
                    "url",
                    "URL",
                    "mqtt://, mqtts://, ws://, wss://[user:password@]host[:port], unix://path",
                )
                .env("TERCET_URL"),
                value("unix", None, "unix", "PATH", "Connect through a Unix socket"),
                long("ws", "Connect through a WebSocket"),
                value("id", Some('i'), "id", "ID", "Client id [default: the broker's choice]"),
                value(
                    "id-prefix",
                    Some('I'),
                    "id-prefix",
                    "PREFIX",
                    "Client id made of this and the process id",
                )
                .conflicts_with("id"),
                value("username", Some('u'), "username", "NAME", "User name"),
                value("password", Some('P'), "password", "PASSWORD", "Password; without a value: asked for")
                    .num_args(0..=1),
                value("password-file", None, "password-file", "FILE", "Password from a file's first line")
                    .conflicts_with("password"),
                value(
                    "auth-method",
                    None,
                    "auth-method",
                    "METHOD",
                    "Prove the password instead of sending it",
                )
                .value_parser(["SCRAM-SHA-256"])
                .ignore_case(true),
                value("keepalive", Some('k'), "keepalive", "SECS", "Longest silence [default: 60]")
                    .value_parser(value_parser!(u16)),
                value("version", Some('V'), "mqtt-version", "VERSION", "3.1, 3.1.1 or 5 [default: 5]")
                    .value_parser(|text: &str| parse_version(text).ok_or("not one of 3.1, 3.1.1, 5")),
                long("no-clean", "Continue the session of this client id; keep it afterwards"),
                value(
                    "session-expiry",
                    Some('x'),
                    "session-expiry",
                    "SECS",
                    "How long the session outlives the connection; -1 for ever",
                )
                .allow_hyphen_values(true)
                .value_parser(expiry),
                value("bind", Some('A'), "bind", "IP", "Local address to connect from")
                    .value_parser(value_parser!(std::net::IpAddr)),
                long("nodelay", "Send small packets at once (always done)").hide(true),
                value("will", None, "will", "TOPIC=MESSAGE", "Will in short").conflicts_with("will-topic"),
                value("will-topic", None, "will-topic", "TOPIC", "Topic of the will"),
                value("will-payload", None, "will-payload", "TEXT", "Payload of the will"),
                value("will-qos", None, "will-qos", "QOS", "QoS of the will").value_parser(qos),
                long("will-retain", "Make the will retained"),
                property_flag(),
            ]
            .map(|arg| arg.help_heading(CONNECTION)),
        )
        .args(
            [
                value("cafile", None, "cafile", "FILE", "Authorities to trust (PEM)").visible_alias("ca"),
                value("capath", None, "capath", "DIR", "Directory of authorities to trust"),
                value("cert", None, "cert", "FILE", "Client certificate (PEM)").requires("key"),
                value("key", None, "key", "FILE", "Its private key (PEM)").requires("cert"),
                long("insecure", "Do not check the broker's name"),
                value("alpn", None, "tls-alpn", "PROTOCOL", "Application protocol to offer")
                    .visible_alias("alpn"),
                value("tls-version", None, "tls-version", "VERSION", "Oldest version: tlsv1.2 or tlsv1.3")
                    .value_parser(["tlsv1.2", "tlsv1.3"]),
            ]
            .map(|arg| arg.help_heading(TLS)),
        )
        .args([flag("debug", 'd', "debug", "Say what happens"), long("quiet", "Say nothing on stderr")])
}

fn message_args() -> Vec<Arg> {
    vec![
        value("topic", Some('t'), "topic", "TOPIC", "Topic"),
        value("message", Some('m'), "message", "TEXT", "Message").allow_hyphen_values(true),
        value("file", Some('f'), "file", "FILE", "A file is the message"),
        flag("stdin", 's', "stdin-file", "All of stdin is the message"),
        flag("null", 'n', "null-message", "An empty message"),
        qos_flag(),
        flag("retain", 'r', "retain", "Retain it"),
        value("header", Some('H'), "header", "NAME:VALUE", "User property, may be repeated")
            .action(ArgAction::Append),
        value("content-type", None, "content-type", "TYPE", "Content type, such as application/json"),
        value("expiry", None, "expiry", "SECS", "Seconds after which it is worthless")
            .value_parser(value_parser!(u32)),
        value("correlation", None, "correlation", "DATA", "Correlation data"),
    ]
    .into_iter()
    .map(|arg| arg.help_heading(MESSAGE))
    .collect()
}

fn output_args() -> Vec<Arg> {
    [
        flag("verbose", 'v', "verbose", "Print topic and payload"),
        value(
            "format",
            Some('F'),
            "format",
            "FORMAT",
            "Print as told: %t topic, %p payload, %q, %r, %l, %I time, %j JSON, ...",
        )
        .conflicts_with("json"),
        long("json", "Print one JSON object a message"),
        long("pretty", "Print JSON on several lines"),
        flag("no-newline", 'N', "no-newline", "No line feed after each message"),
    ]
    .map(|arg| arg.help_heading("Output"))
    .into()
}

fn flag(id: &'static str, short: char, name: &'static str, help: &'static str) -> Arg {
    Arg::new(id).short(short).long(name).action(ArgAction::SetTrue).help(help)
}

fn words(help: &'static str, shown: &'static str) -> Arg {
    Arg::new("words").value_name(shown).num_args(0..).action(ArgAction::Append).help(format!("The {help}"))
}

fn topic_flag(help: &'static str) -> Arg {
    value("topic", Some('t'), "topic", "FILTER", help).action(ArgAction::Append)
}

fn qos_flag() -> Arg {
    value("qos", Some('q'), "qos", "QOS", "Quality of service: 0, 1 or 2 [default: 0]").value_parser(qos)
}

fn wait_flag() -> Arg {
    value("wait", Some('W'), "wait", "SECS", "Give up after so many seconds (exit code 27)")
        .value_parser(seconds)
}

fn property_flag() -> Arg {
    Arg::new("property")
        .short('D')
        .long("property")
        .value_names(["PACKET", "NAME", "VALUE"])
        .num_args(3..=4)
        .action(ArgAction::Append)
        .help("MQTT 5 property, may be repeated; PACKET is connect, publish, subscribe, unsubscribe, disconnect or will")
}

fn qos(text: &str) -> Result<QoS, &'static str> {
    text.parse().ok().and_then(QoS::new).ok_or("not one of 0, 1, 2")
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let wait = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    wait.ok_or("not a number of seconds")
}

fn percent(text: &str) -> Result<u32, &'static str> {
    let percent = text.parse::<f64>().ok().filter(|percent| (0.1..=100.0).contains(percent));
    percent.map(|percent| (percent * 100.0) as u32).ok_or("not between 0.1 and 100")
}

fn expiry(text: &str) -> Result<u32, &'static str> {
    if text == "-1" { Ok(u32::MAX) } else { text.parse().map_err(|_| "not a number of seconds, nor -1") }
}
