//! The command lines of `tercet pub`, `sub`, `req` and `reply`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tercet_client::mqtt::{Address, Properties, Property, QoS, TlsVersion, Version, Will, parse_version};

use super::property::PropertySet;
use super::settings::{
    Answer, Connection, Dialect, Form, Job, Output, Payload, PubJob, ReplyJob, ReqJob, Settings, SubJob,
    SubOptions, Talk,
};
use super::template::{Style, Template};

/// A command line that clap could not judge; the text says what is wrong.
pub(super) type Usage = String;

const CONNECTION: &str = "Connection";
const TLS: &str = "TLS";
const MESSAGE: &str = "Message";

pub(super) fn commands() -> Vec<Command> {
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

fn value(
    id: &'static str,
    short: Option<char>,
    name: &'static str,
    what: &'static str,
    help: &'static str,
) -> Arg {
    let arg = Arg::new(id).long(name).value_name(what).help(help);
    match short {
        Some(letter) => arg.short(letter),
        None => arg,
    }
}

fn flag(id: &'static str, short: char, name: &'static str, help: &'static str) -> Arg {
    Arg::new(id).short(short).long(name).action(ArgAction::SetTrue).help(help)
}

fn long(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
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

/// Whether a bare `-h` asks for help.
pub(super) fn wants_help(matches: &ArgMatches) -> bool {
    given(matches, "host") && text(matches, "host").is_none()
}

/// Understands what clap matched for `command`.
pub(super) fn settings(command: &str, matches: &ArgMatches) -> Result<Settings, Usage> {
    let version = matches.get_one::<Version>("version").copied().unwrap_or(Version::V5);
    let (mut properties, words) = properties_and_words(matches)?;
    let mut connection = connection(matches, version, &mut properties)?;
    let job = match command {
        "pub" => Job::Pub(pub_job(matches, words, properties, &connection)?),
        "sub" => Job::Sub(sub_job(matches, words, properties, &connection)?),
        "req" => Job::Req(req_job(matches, words, properties, &connection)?),
        "reply" => Job::Reply(reply_job(matches, words, properties, &connection)?),
        other => return Err(format!("unknown command {other}")),
    };
    // One-shot commands tell a lost connection; those that listen come back.
    connection.reconnect = matches!(job, Job::Sub(_) | Job::Reply(_));
    let talk = Talk { quiet: matches.get_flag("quiet"), debug: matches.get_flag("debug") };
    Ok(Settings { dialect: Dialect::Tercet, connection, talk, job })
}

fn text(matches: &ArgMatches, id: &str) -> Option<String> {
    matches.try_get_one::<String>(id).ok().flatten().cloned()
}

fn on(matches: &ArgMatches, id: &str) -> bool {
    matches.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or(false)
}

fn texts(matches: &ArgMatches, id: &str) -> Vec<String> {
    matches.try_get_many::<String>(id).ok().flatten().map(|all| all.cloned().collect()).unwrap_or_default()
}

fn given(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(clap::parser::ValueSource::CommandLine)
}

/// `-D` takes three words, four for a user property, which clap cannot say: a fourth word that is not part of it
/// belongs to the positional words, at its place among them.
fn properties_and_words(matches: &ArgMatches) -> Result<(PropertySet, Vec<String>), Usage> {
    let mut words: Vec<(usize, String)> =
        match (matches.indices_of("words"), matches.get_many::<String>("words")) {
            (Some(places), Some(words)) => places.zip(words.cloned()).collect(),
            _ => Vec::new(),
        };
    let mut set = PropertySet::default();
    let mut places = matches.indices_of("property").into_iter().flatten();
    for occurrence in matches.get_occurrences::<String>("property").into_iter().flatten() {
        let mut values = occurrence;
        let mut next = || values.next().map(String::as_str).zip(places.next());
        let (Some((command, _)), Some((name, _)), Some((value, _))) = (next(), next(), next()) else {
            return Err("-D wants PACKET NAME VALUE".into());
        };
        let fourth = next();
        let second = match (name, fourth) {
            ("user-property", Some((value, _))) => Some(value),
            ("user-property", None) => return Err("-D ... user-property wants NAME VALUE".into()),
            (_, Some((word, place))) => {
                words.push((place, word.to_owned()));
                None
            }
            (_, None) => None,
        };
        set.add(command, name, value, second).map_err(|error| error.to_string())?;
    }
    words.sort_by_key(|(place, _)| *place);
    Ok((set, words.into_iter().map(|(_, word)| word).collect()))
}

fn connection(
    matches: &ArgMatches,
    version: Version,
    properties: &mut PropertySet,
) -> Result<Connection, Usage> {
    let mut connection = Connection::new(version);
    connection.host = text(matches, "host");
    connection.port = matches.get_one::<u16>("port").copied();
    connection.unix = text(matches, "unix").map(Into::into);
    connection.websocket = matches.get_flag("ws");
    if let Some(url) = text(matches, "url") {
        // A host on the command line means another broker than the environment's.
        let replaced = !given(matches, "url") && (connection.host.is_some() || connection.unix.is_some());
        if !replaced {
            connection.url = Some(url.parse::<Address>().map_err(|error| error.to_string())?);
        }
    }
    if let Some(address) = &connection.url {
        for (name, setting) in &address.query {
            if matches!(name.as_str(), "v" | "version") && !given(matches, "version") {
                connection.version = parse_version(setting)
                    .ok_or_else(|| format!("v={setting} is not one of 3.1, 3.1.1, 5"))?;
            }
        }
    }
    connection.tls.ca_file = text(matches, "cafile").map(Into::into);
    connection.tls.ca_dir = text(matches, "capath").map(Into::into);
    connection.tls.cert = text(matches, "cert").map(Into::into);
    connection.tls.key = text(matches, "key").map(Into::into);
    connection.tls.insecure = matches.get_flag("insecure");
    connection.tls.alpn = text(matches, "alpn").into_iter().collect();
    if text(matches, "tls-version").as_deref() == Some("tlsv1.3") {
        connection.tls.minimum_version = TlsVersion::V13;
    }
    connection.use_tls =
        ["cafile", "capath", "cert", "alpn", "tls-version"].iter().any(|id| given(matches, id))
            || connection.tls.insecure;
    connection.bind = matches.get_one("bind").copied();
    connection.client_id = text(matches, "id");
    connection.id_prefix = text(matches, "id-prefix");
    connection.username = text(matches, "username");
    connection.password = password(matches)?;
    connection.keep_alive = matches.get_one("keepalive").copied().unwrap_or(60);
    connection.clean = !matches.get_flag("no-clean");
    connection.session_expiry = matches.get_one("session-expiry").copied();
    if !connection.clean {
        if connection.client_id.is_none() && connection.id_prefix.is_none() {
            return Err("--no-clean needs a client id (-i ID)".into());
        }
        connection.session_expiry.get_or_insert(u32::MAX);
    }
    connection.inflight = matches.try_get_one::<u16>("inflight").ok().flatten().copied();
    connection.will = will(matches, std::mem::take(&mut properties.will))?;
    connection.connect_properties = std::mem::take(&mut properties.connect);
    connection.disconnect_properties = std::mem::take(&mut properties.disconnect);
    Ok(connection)
}

fn password(matches: &ArgMatches) -> Result<Option<String>, Usage> {
    if let Some(path) = text(matches, "password-file") {
        let content =
            std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        return Ok(Some(content.lines().next().unwrap_or("").to_owned()));
    }
    if given(matches, "password") && text(matches, "password").is_none() {
        let asked = rpassword::prompt_password("Password: ");
        return asked.map(Some).map_err(|error| format!("cannot ask for the password: {error}"));
    }
    Ok(text(matches, "password"))
}

fn will(matches: &ArgMatches, properties: Properties) -> Result<Option<Will>, Usage> {
    let (topic, payload) = match (text(matches, "will"), text(matches, "will-topic")) {
        (Some(short), _) => match short.split_once('=') {
            Some((topic, payload)) => (topic.to_owned(), payload.to_owned()),
            None => return Err(format!("--will {short} is not TOPIC=MESSAGE")),
        },
        (None, Some(topic)) => (topic, text(matches, "will-payload").unwrap_or_default()),
        (None, None) => {
            let lonely =
                given(matches, "will-payload") || given(matches, "will-qos") || on(matches, "will-retain");
            return if lonely { Err("a will needs its topic (--will-topic)".into()) } else { Ok(None) };
        }
    };
    let qos = matches.get_one("will-qos").copied().unwrap_or_default();
    let mut will = Will::new(topic, payload).qos(qos).retain(on(matches, "will-retain"));
    will.properties = properties;
    Ok(Some(will))
}

/// The topic and, if the command has one, the message among the positional words. The path of the URL is a topic
/// where no other is given.
fn topic(matches: &ArgMatches, words: &mut Vec<String>, connection: &Connection) -> Result<String, Usage> {
    let flagged = texts(matches, "topic").pop();
    let url_topic = || connection.url.as_ref().map(|url| url.path.clone()).filter(|path| !path.is_empty());
    match flagged {
        Some(topic) => Ok(topic),
        None if !words.is_empty() => Ok(words.remove(0)),
        None => url_topic().ok_or_else(|| "the topic is missing".to_owned()),
    }
}

fn pub_job(
    matches: &ArgMatches,
    mut words: Vec<String>,
    set: PropertySet,
    c: &Connection,
) -> Result<PubJob, Usage> {
    let topic = topic(matches, &mut words, c)?;
    if topic.is_empty() || topic.contains(['+', '#', '\0']) {
        return Err(format!("\"{topic}\" is no topic to publish to; wildcards (+, #) are for subscribing"));
    }
    let payload = payload(matches, words)?;
    let mut properties = set.publish;
    for header in texts(matches, "header") {
        let (name, content) =
            header.split_once(':').ok_or_else(|| format!("-H {header} is not NAME:VALUE"))?;
        properties.set(Property::UserProperty(name.trim().into(), content.trim().into()));
    }
    if let Some(kind) = text(matches, "content-type") {
        properties.set(Property::ContentType(kind));
    }
    if let Some(expiry) = matches.try_get_one::<u32>("expiry").ok().flatten() {
        properties.set(Property::MessageExpiryInterval(*expiry));
    }
    if let Some(data) = text(matches, "correlation") {
        properties.set(Property::CorrelationData(data.into()));
    }
    if let Some(topic) = text(matches, "answer-to") {
        properties.set(Property::ResponseTopic(topic));
    }
    if !properties.is_empty() && c.version != Version::V5 {
        return Err(format!("properties need MQTT 5, not {}", c.version));
    }
    Ok(PubJob {
        topic,
        payload,
        qos: matches.get_one("qos").copied().unwrap_or_default(),
        retain: matches.get_flag("retain"),
        properties,
        repeat: matches.try_get_one::<u64>("repeat").ok().flatten().copied().unwrap_or(1),
        repeat_delay: matches
            .try_get_one::<Duration>("repeat-delay")
            .ok()
            .flatten()
            .copied()
            .unwrap_or_default(),
    })
}

fn payload(matches: &ArgMatches, mut words: Vec<String>) -> Result<Payload, Usage> {
    let mut sources = Vec::new();
    if !words.is_empty() {
        sources.push(Payload::Text(words.remove(0).into_bytes()));
    }
    if let Some(extra) = words.first() {
        return Err(format!("unexpected \"{extra}\"; put a message with spaces into quotes"));
    }
    sources.extend(text(matches, "message").map(|text| Payload::Text(text.into_bytes())));
    sources.extend(text(matches, "file").map(|path| Payload::File(path.into())));
    for (id, payload) in [("stdin", Payload::Stdin), ("lines", Payload::Lines), ("null", Payload::Null)] {
        if on(matches, id) {
            sources.push(payload);
        }
    }
    match (sources.pop(), sources.is_empty()) {
        (Some(payload), true) => Ok(payload),
        (Some(_), false) => Err("more than one message is given".into()),
        (None, _) => Err("the message is missing; give it as a word, or with -m, -f, -s, -l or -n".into()),
    }
}

fn sub_job(
    matches: &ArgMatches,
    words: Vec<String>,
    set: PropertySet,
    c: &Connection,
) -> Result<SubJob, Usage> {
    let mut filters = texts(matches, "topic");
    filters.extend(words);
    let unsubscribe = texts(matches, "unsubscribe");
    if filters.is_empty() {
        filters.extend(c.url.as_ref().map(|url| url.path.clone()).filter(|path| !path.is_empty()));
    }
    if filters.is_empty() && unsubscribe.is_empty() {
        return Err("the topic is missing; to see everything: tercet sub '#'".into());
    }
    let filter_out = texts(matches, "filter-out");
    if let Some(bad) =
        filters.iter().chain(&unsubscribe).chain(&filter_out).find(|f| !super::filter::is_valid(f))
    {
        return Err(format!(
            "\"{bad}\" is no topic filter; + and # stand for whole levels, # only at the end"
        ));
    }
    Ok(SubJob {
        filters,
        unsubscribe,
        filter_out,
        qos: matches.get_one("qos").copied().unwrap_or_default(),
        options: SubOptions {
            no_local: on(matches, "no-local"),
            retain_as_published: on(matches, "retain-as-published"),
        },
        subscribe_properties: set.subscribe,
        unsubscribe_properties: set.unsubscribe,
        count: matches.get_one("count").copied(),
        timeout: matches.get_one("wait").copied(),
        exit_after_suback: on(matches, "exit-after-suback"),
        no_retained: on(matches, "no-retained"),
        retained_only: on(matches, "retained-only"),
        remove_retained: on(matches, "remove-retained"),
        random: matches.get_one("random-filter").copied(),
        output: output(matches)?,
    })
}

fn output(matches: &ArgMatches) -> Result<Output, Usage> {
    let pretty = on(matches, "pretty");
    let form = match text(matches, "format") {
        Some(format) => Form::Template(
            Template::parse(&format, Style::Tercet, pretty).map_err(|error| format!("-F: {error}"))?,
        ),
        None if on(matches, "json") => Form::Json { pretty },
        None if on(matches, "verbose") => Form::Verbose,
        None => Form::Payload,
    };
    Ok(Output { form, newline: !on(matches, "no-newline") })
}

fn req_job(
    matches: &ArgMatches,
    words: Vec<String>,
    mut set: PropertySet,
    c: &Connection,
) -> Result<ReqJob, Usage> {
    let subscribe_properties = std::mem::take(&mut set.subscribe);
    let response_topic = text(matches, "response-topic");
    if response_topic.is_none() && c.version != Version::V5 {
        return Err("before MQTT 5 a response topic (-e TOPIC) is needed".into());
    }
    Ok(ReqJob {
        publish: pub_job(matches, words, set, c)?,
        response_topic,
        subscribe_properties,
        timeout: matches.get_one("wait").copied(),
        no_retained: on(matches, "no-retained"),
        output: output(matches)?,
    })
}

fn reply_job(
    matches: &ArgMatches,
    mut words: Vec<String>,
    set: PropertySet,
    c: &Connection,
) -> Result<ReplyJob, Usage> {
    if c.version != Version::V5 {
        return Err("answers need MQTT 5: earlier requests do not say where the answer goes".into());
    }
    let filter = topic(matches, &mut words, c)?;
    if !super::filter::is_valid(&filter) {
        return Err(format!("\"{filter}\" is no topic filter"));
    }
    let fixed = text(matches, "message").or_else(|| (!words.is_empty()).then(|| words.remove(0)));
    if let Some(extra) = words.first() {
        return Err(format!("unexpected \"{extra}\"; put a message with spaces into quotes"));
    }
    let answer = match (matches.get_one::<OsString>("exec"), fixed) {
        (Some(_), Some(_)) => return Err("--exec and a fixed message exclude each other".into()),
        (Some(command), None) => Answer::Exec(command.clone()),
        (None, Some(text)) => Answer::Fixed(text.into_bytes()),
        (None, None) => Answer::Echo,
    };
    let mut properties = set.publish;
    if let Some(kind) = text(matches, "content-type") {
        properties.set(Property::ContentType(kind));
    }
    Ok(ReplyJob {
        filter,
        qos: matches.get_one("qos").copied().unwrap_or_default(),
        answer,
        properties,
        count: matches.get_one("count").copied(),
        timeout: matches.get_one("wait").copied(),
        verbose: on(matches, "verbose"),
    })
}
