//! The command lines of `tercet pub`, `sub`, `req` and `reply`.

mod flags;

use std::ffi::OsString;
use std::time::Duration;

use clap::ArgMatches;
use tercet_client::mqtt::{Address, Properties, Property, TlsVersion, Version, Will, parse_version};

use super::property::PropertySet;
use super::settings::{
    Answer, Connection, Dialect, Form, Job, Output, Payload, PubJob, ReplyJob, ReqJob, Settings, SubJob,
    SubOptions, Talk,
};
use super::template::{Style, Template};

pub(super) use flags::commands;

/// A command line that clap could not judge; the text says what is wrong.
pub(super) type Usage = String;

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
    connection.scram = given(matches, "auth-method");
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
