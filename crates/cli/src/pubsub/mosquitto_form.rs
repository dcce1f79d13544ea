//! The command lines of `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr` 2.0, with their words for mistakes.
//!
//! They are taken apart by hand: single-dash words are never bundled, every word after a flag is its value even if
//! it begins with a dash, and `-D` takes three or four words. Flags that need what this program does not have
//! (TLS pre-shared keys, engines, SOCKS proxies, SRV look-ups) are refused, not ignored.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use tercet_client::mqtt::{Address, QoS, TlsVersion, Version, Will, parse_version};

use super::property::{self, PropertySet};
use super::settings::{
    Connection, Dialect, Form, Job, Output, Payload, Program, PubJob, ReqJob, Settings, SubJob, SubOptions,
    Talk,
};
use super::template::{Style, Template};

/// Why there is nothing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The command line is wrong; the text says how.
    Wrong(String),
    Help,
    Version,
}

fn wrong(text: impl Into<String>) -> Stop {
    Stop::Wrong(format!("Error: {}", text.into()))
}

/// Understands the words after the program's name. `defaults` come first: those of the user's configuration file.
pub(super) fn parse(program: Program, defaults: Vec<String>, words: Vec<String>) -> Result<Settings, Stop> {
    let mut line = Line::new(program);
    line.words = defaults.into_iter().chain(words).collect();
    while let Some(word) = line.words.pop_front() {
        line.flag(&word)?;
    }
    line.finish()
}

/// The words of the configuration file: one `-option value` on each line.
pub(super) fn configuration(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once([' ', '\t']) {
            Some((option @ ("-D" | "--property"), rest)) => {
                words.push(option.to_owned());
                words.extend(rest.split_whitespace().map(str::to_owned));
            }
            Some((option, value)) => words.extend([option.to_owned(), value.trim().to_owned()]),
            None => words.push(line.to_owned()),
        }
    }
    words
}

/// What was understood so far.
struct Line {
    program: Program,
    words: VecDeque<String>,
    connection: Connection,
    talk: Talk,
    topics: Vec<String>,
    unsubscribe: Vec<String>,
    filter_out: Vec<String>,
    payload: Option<Payload>,
    qos: QoS,
    retain: bool,
    repeat: u64,
    repeat_delay: Duration,
    response_topic: Option<String>,
    count: Option<u64>,
    timeout: Option<Duration>,
    exit_after_suback: bool,
    newline: bool,
    no_retained: bool,
    retained_only: bool,
    remove_retained: bool,
    retain_as_published: bool,
    random: Option<u32>,
    verbose: bool,
    pretty: bool,
    format: Option<String>,
    properties: PropertySet,
    will: WillParts,
}

#[derive(Default)]
struct WillParts {
    topic: Option<String>,
    payload: Option<String>,
    qos: Option<QoS>,
    retain: bool,
}

impl Line {
    fn new(program: Program) -> Self {
        let version = if program == Program::Rr { Version::V5 } else { Version::V311 };
        Self {
            program,
            words: VecDeque::new(),
            connection: Connection {
                nodelay: false,
                reconnect: program == Program::Sub,
                ..Connection::new(version)
            },
            talk: Talk::default(),
            topics: Vec::new(),
            unsubscribe: Vec::new(),
            filter_out: Vec::new(),
            payload: None,
            qos: QoS::AtMostOnce,
            retain: false,
            repeat: 1,
            repeat_delay: Duration::ZERO,
            response_topic: None,
            count: None,
            timeout: None,
            exit_after_suback: false,
            newline: true,
            no_retained: false,
            retained_only: false,
            remove_retained: false,
            retain_as_published: false,
            random: None,
            verbose: false,
            pretty: false,
            format: None,
            properties: PropertySet::default(),
            will: WillParts::default(),
        }
    }

    fn value(&mut self, flag: &str, what: &str) -> Result<String, Stop> {
        self.words
            .pop_front()
            .ok_or_else(|| wrong(format!("{flag} argument given but no {what} specified.\n")))
    }

    fn flag(&mut self, flag: &str) -> Result<(), Stop> {
        let known = self.connection_flag(flag)?
            || self.tls_flag(flag)?
            || self.shared_flag(flag)?
            || match self.program {
                Program::Pub => self.pub_flag(flag)? || self.payload_flag(flag)?,
                Program::Sub => self.output_flag(flag)? || self.sub_flag(flag)?,
                Program::Rr => self.output_flag(flag)? || self.payload_flag(flag)? || self.rr_flag(flag)?,
            };
        if known { Ok(()) } else { Err(wrong(format!("Unknown option '{flag}'."))) }
    }

    fn connection_flag(&mut self, flag: &str) -> Result<bool, Stop> {
        match flag {
            "-h" | "--host" => self.connection.host = Some(self.value(flag, "host")?),
            "-p" | "--port" => {
                let text = self.value(flag, "port")?;
                let port = text.parse().ok().filter(|port| *port > 0);
                self.connection.port =
                    Some(port.ok_or_else(|| wrong(format!("Invalid port given: {text}")))?);
            }
            "-L" | "--url" => {
                let text = self.value(flag, "URL")?;
                let address: Address =
                    text.parse().map_err(|_| wrong(format!("Unsupported URL '{text}'.")))?;
                if !address.path.is_empty() {
                    self.topics.push(address.path.clone());
                }
                self.connection.url = Some(address);
            }
            "--unix" => self.connection.unix = Some(self.value(flag, "socket path")?.into()),
            "-A" => {
                let text = self.value(flag, "address")?;
                let address = text.parse().map_err(|_| wrong(format!("Invalid bind address '{text}'.")))?;
                self.connection.bind = Some(address);
            }
            "-i" | "--id" => self.connection.client_id = Some(self.value(flag, "id")?),
            "-I" | "--id-prefix" => self.connection.id_prefix = Some(self.value(flag, "id prefix")?),
            "-u" | "--username" => self.connection.username = Some(self.value(flag, "username")?),
            "-P" | "--pw" => self.connection.password = Some(self.value(flag, "password")?),
            "-k" | "--keepalive" => {
                let text = self.value(flag, "keepalive")?;
                let seconds = text.parse().ok().filter(|seconds| *seconds == 0 || *seconds >= 5);
                self.connection.keep_alive =
                    seconds.ok_or_else(|| wrong(format!("Invalid keepalive given: {text}")))?;
            }
            "-V" | "--protocol-version" => {
                let text = self.value(flag, "version")?;
                self.connection.version = parse_version(&text)
                    .ok_or_else(|| wrong("Invalid protocol version argument given.\n"))?;
            }
            "-c" | "--disable-clean-session" => self.connection.clean = false,
            "-x" => {
                let text = self.value(flag, "session expiry interval")?;
                self.connection.session_expiry = Some(
                    session_expiry(&text)
                        .ok_or_else(|| wrong(format!("session-expiry-interval out of range: {text}")))?,
                );
            }
            "--nodelay" => self.connection.nodelay = true,
            "--ws" => self.connection.websocket = true,
            "-M" => {
                let text = self.value(flag, "max_inflight")?;
                self.connection.inflight =
                    Some(text.parse().map_err(|_| wrong(format!("Invalid max_inflight given: {text}")))?);
            }
            "-S" | "--proxy" | "--psk" | "--psk-identity" | "--tls-engine" | "--tls-engine-kpass-sha1" => {
                return Err(wrong(format!("{flag} is not supported.")));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn tls_flag(&mut self, flag: &str) -> Result<bool, Stop> {
        match flag {
            "--cafile" => {
                self.connection.tls.ca_file = Some(self.value(flag, "file")?.into());
                self.connection.use_tls = true;
            }
            "--capath" => {
                self.connection.tls.ca_dir = Some(self.value(flag, "directory")?.into());
                self.connection.use_tls = true;
            }
            "--tls-use-os-certs" => self.connection.use_tls = true,
            "--cert" => self.connection.tls.cert = Some(self.value(flag, "file")?.into()),
            "--key" => self.connection.tls.key = Some(self.value(flag, "file")?.into()),
            "--insecure" => self.connection.tls.insecure = true,
            "--tls-alpn" => {
                let protocol = self.value(flag, "protocol")?;
                self.connection.tls.alpn = vec![protocol];
            }
            "--tls-version" => {
                let text = self.value(flag, "version")?;
                self.connection.tls.minimum_version = match text.as_str() {
                    "tlsv1.2" => TlsVersion::V12,
                    "tlsv1.3" => TlsVersion::V13,
                    _ => return Err(wrong(format!("--tls-version {text} is not supported."))),
                };
            }
            "--keyform" => {
                let form = self.value(flag, "keyform")?;
                if form != "pem" {
                    return Err(wrong(format!("--keyform {form} is not supported.")));
                }
            }
            "--ciphers" => return Err(wrong("--ciphers is not supported; only strong ones are offered.")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn shared_flag(&mut self, flag: &str) -> Result<bool, Stop> {
        match flag {
            "--help" => return Err(Stop::Help),
            "--version" => return Err(Stop::Version),
            "-d" | "--debug" => self.talk.debug = true,
            "--quiet" => self.talk.quiet = true,
            "-q" | "--qos" => self.qos = self.qos_value(flag, "QoS")?,
            "-t" | "--topic" => {
                let topic = self.value(flag, "topic")?;
                match self.program {
                    Program::Sub => self.topics.push(check_filter(topic, "Invalid subscription topic")?),
                    Program::Pub | Program::Rr => self.topics = vec![check_name(topic)?],
                }
            }
            "-D" | "--property" => self.property(flag)?,
            "--will-topic" => self.will.topic = Some(self.value(flag, "will topic")?),
            "--will-payload" => self.will.payload = Some(self.value(flag, "will payload")?),
            "--will-qos" => self.will.qos = Some(self.qos_value(flag, "will QoS")?),
            "--will-retain" => self.will.retain = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn qos_value(&mut self, flag: &str, what: &str) -> Result<QoS, Stop> {
        let text = self.value(flag, what)?;
        let invalid = || wrong(format!("Invalid {what} given: {text}"));
        text.parse().ok().and_then(QoS::new).ok_or_else(invalid)
    }

    fn property(&mut self, flag: &str) -> Result<(), Stop> {
        let missing = || wrong("Not enough values in --property argument.\n");
        let command = self.words.pop_front().ok_or_else(missing)?;
        let identifier = self.words.pop_front().ok_or_else(missing)?;
        let value = self.value(flag, "property value")?;
        let second = match property::values(&identifier) {
            2 => Some(self.words.pop_front().ok_or_else(missing)?),
            _ => None,
        };
        let added = self.properties.add(&command, &identifier, &value, second.as_deref());
        added.map_err(|error| wrong(format!("{error}\n")))
    }

    fn payload_flag(&mut self, flag: &str) -> Result<bool, Stop> {
        let payload = match flag {
            "-m" | "--message" => Payload::Text(self.value(flag, "message")?.into_bytes()),
            "-f" | "--file" => Payload::File(self.value(flag, "file")?.into()),
            "-s" | "--stdin-file" => Payload::Stdin,
            "-n" | "--null-message" => Payload::Null,
            "-l" | "--stdin-line" if self.program == Program::Pub => Payload::Lines,
            "-r" | "--retain" => {
                self.retain = true;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        if self.payload.is_some() {
            return Err(wrong("Only one type of message can be sent at once.\n"));
        }
        self.payload = Some(payload);
        Ok(true)
    }

    fn pub_flag(&mut self, flag: &str) -> Result<bool, Stop> {
        match flag {
            "--repeat" => {
                let text = self.value(flag, "count")?;
                self.repeat = text
                    .parse()
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or_else(|| wrong("--repeat argument must be >0.\n"))?;
            }
            "--repeat-delay" => {
                let text = self.value(flag, "time")?;
                let delay = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                self.repeat_delay = delay.ok_or_else(|| wrong("--repeat-delay argument must be >=0.0.\n"))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn output_flag(&mut self, flag: &str) -> Result<bool, Stop> {
        match flag {
            "-F" => {
                let format = self.value(flag, "format")?;
                Template::parse(&format, Style::Mosquitto, false)
                    .map_err(|error| wrong(error.to_string()))?;
                self.format = Some(format);
            }
            "-N" => self.newline = false,
            "-R" => self.no_retained = true,
            "-v" | "--verbose" => self.verbose = true,
            "--pretty" => self.pretty = true,
            "-W" => {
                let text = self.value(flag, "timeout")?;
                let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
                let seconds = seconds.ok_or_else(|| wrong(format!("Invalid timeout \"{text}\".")))?;
                self.timeout = Some(Duration::from_secs(seconds));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn sub_flag(&mut self, flag: &str) -> Result<bool, Stop> {
        match flag {
            "-C" => {
                let text = self.value(flag, "count")?;
                let count = text.parse().ok().filter(|count| *count > 0);
                self.count =
                    Some(count.ok_or_else(|| wrong(format!("Invalid message count \"{text}\".\n")))?);
            }
            "-E" => self.exit_after_suback = true,
            "-T" | "--filter-out" => {
                let filter = self.value(flag, "topic filter")?;
                self.filter_out.push(check_filter(filter, "Invalid filter topic")?);
            }
            "-U" | "--unsubscribe" => {
                let filter = self.value(flag, "unsubscribe topic")?;
                self.unsubscribe.push(check_filter(filter, "Invalid unsubscribe topic")?);
            }
            "--retained-only" => self.retained_only = true,
            "--remove-retained" => self.remove_retained = true,
            "--retain-as-published" => self.retain_as_published = true,
            "--random-filter" => {
                let text = self.value(flag, "percentage")?;
                let percent = text.parse::<f64>().ok().filter(|percent| (0.1..=100.0).contains(percent));
                let percent =
                    percent.ok_or_else(|| wrong("--random-filter must be between 0.1 and 100.0"))?;
                self.random = Some((percent * 100.0) as u32);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn rr_flag(&mut self, flag: &str) -> Result<bool, Stop> {
        if !matches!(flag, "-e" | "--response-topic") {
            return Ok(false);
        }
        self.response_topic = Some(check_name(self.value(flag, "response topic")?)?);
        Ok(true)
    }

    fn finish(mut self) -> Result<Settings, Stop> {
        self.check_connection()?;
        self.connection.will = self.will()?;
        let v5 = self.connection.version == Version::V5;
        if !v5 {
            self.properties = PropertySet::default();
        }
        self.connection.connect_properties = std::mem::take(&mut self.properties.connect);
        self.connection.disconnect_properties = std::mem::take(&mut self.properties.disconnect);
        let (connection, talk) = (self.connection.clone(), self.talk);
        let dialect = Dialect::Mosquitto(self.program);
        let job = match self.program {
            Program::Pub => Job::Pub(self.publish("Both topic and message must be supplied.")?),
            Program::Sub => Job::Sub(self.subscribe()?),
            Program::Rr => Job::Req(self.request()?),
        };
        Ok(Settings { dialect, connection, talk, job })
    }

    fn check_connection(&mut self) -> Result<(), Stop> {
        let connection = &mut self.connection;
        if connection.client_id.is_some() && connection.id_prefix.is_some() {
            return Err(wrong("-i and -I argument cannot be used together.\n"));
        }
        if connection.tls.cert.is_some() != connection.tls.key.is_some() {
            return Err(wrong("Both certfile and keyfile must be provided if one of them is set."));
        }
        let anonymous = connection.client_id.is_none() && connection.id_prefix.is_none();
        if !connection.clean && anonymous {
            return Err(wrong("You must provide a client id if you are using the -c option."));
        }
        if connection.version == Version::V5 && !connection.clean {
            connection.session_expiry.get_or_insert(u32::MAX);
        }
        if connection.session_expiry == Some(u32::MAX) && anonymous {
            return Err(wrong(
                "You must provide a client id if you are using an infinite session expiry interval.",
            ));
        }
        if connection.password.is_some() && connection.username.is_none() && connection.url.is_none() {
            connection.password = None;
            if !self.talk.quiet {
                eprintln!("Warning: Not using password since username not set.");
            }
        }
        Ok(())
    }

    fn will(&mut self) -> Result<Option<Will>, Stop> {
        let parts = std::mem::take(&mut self.will);
        let Some(topic) = parts.topic else {
            for (given, name) in
                [(parts.payload.is_some(), "payload"), (parts.qos.is_some(), "qos"), (parts.retain, "retain")]
            {
                if given {
                    return Err(wrong(format!("Will {name} given, but no will topic given.")));
                }
            }
            return Ok(None);
        };
        let mut will = Will::new(check_name(topic)?, parts.payload.unwrap_or_default())
            .qos(parts.qos.unwrap_or(QoS::AtMostOnce))
            .retain(parts.retain);
        if self.connection.version == Version::V5 {
            will.properties = std::mem::take(&mut self.properties.will);
        }
        Ok(Some(will))
    }

    fn publish(&mut self, missing: &str) -> Result<PubJob, Stop> {
        let (Some(topic), Some(payload)) = (self.topics.pop(), self.payload.take()) else {
            return Err(wrong(missing));
        };
        Ok(PubJob {
            topic: check_name(topic)?,
            payload,
            qos: self.qos,
            retain: self.retain,
            properties: std::mem::take(&mut self.properties.publish),
            repeat: self.repeat,
            repeat_delay: self.repeat_delay,
        })
    }

    fn subscribe(self) -> Result<SubJob, Stop> {
        if self.topics.is_empty() && self.unsubscribe.is_empty() {
            return Err(wrong("You must specify a topic to subscribe to."));
        }
        if self.no_retained && self.retained_only {
            return Err(wrong("Combining '-R' and '--retained-only' makes no sense."));
        }
        let output = self.output()?;
        Ok(SubJob {
            filters: self.topics,
            unsubscribe: self.unsubscribe,
            filter_out: self.filter_out,
            qos: self.qos,
            options: SubOptions { no_local: false, retain_as_published: self.retain_as_published },
            subscribe_properties: self.properties.subscribe,
            unsubscribe_properties: self.properties.unsubscribe,
            count: self.count,
            timeout: self.timeout,
            exit_after_suback: self.exit_after_suback,
            no_retained: self.no_retained,
            retained_only: self.retained_only,
            remove_retained: self.remove_retained,
            random: self.random,
            output,
        })
    }

    fn request(mut self) -> Result<ReqJob, Stop> {
        const MISSING: &str = "All of topic, message, and response topic must be supplied.";
        let response_topic = self.response_topic.take().ok_or_else(|| wrong(MISSING))?;
        let output = self.output()?;
        let publish = self.publish(MISSING)?;
        Ok(ReqJob {
            publish,
            response_topic: Some(response_topic),
            subscribe_properties: self.properties.subscribe,
            timeout: self.timeout,
            no_retained: self.no_retained,
            output,
        })
    }

    fn output(&self) -> Result<Output, Stop> {
        let form = match &self.format {
            Some(format) => Form::Template(
                Template::parse(format, Style::Mosquitto, self.pretty)
                    .map_err(|error| wrong(error.to_string()))?,
            ),
            None if self.verbose => Form::Verbose,
            None => Form::Payload,
        };
        Ok(Output { form, newline: self.newline })
    }
}

fn session_expiry(text: &str) -> Option<u32> {
    if matches!(text, "-1" | "∞") { Some(u32::MAX) } else { text.parse().ok() }
}

fn check_name(topic: String) -> Result<String, Stop> {
    if topic.is_empty() || topic.len() > 65_535 || topic.contains(['+', '#', '\0']) {
        return Err(wrong(format!("Invalid publish topic '{topic}', does it contain '+' or '#'?")));
    }
    Ok(topic)
}

fn check_filter(filter: String, what: &str) -> Result<String, Stop> {
    if super::filter::is_valid(&filter) {
        return Ok(filter);
    }
    Err(wrong(format!("{what} '{filter}', are all '+' and '#' wildcards correct?")))
}

/// Where the configuration file of a program is.
pub(super) fn configuration_path(program: Program) -> Option<std::path::PathBuf> {
    let directory = match std::env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty()) {
        Some(directory) => directory.into(),
        None => Path::new(&std::env::var_os("HOME")?).join(".config"),
    };
    Some(directory.join(program.name()))
}

/// The usage text for `--help`.
pub(super) fn usage(program: Program) -> String {
    let (what, own) = match program {
        Program::Pub => (
            "publishes messages on one topic and exits",
            "-t topic {-m message | -f file | -s | -l | -n}\n    [-q qos] [-r] [--repeat N] [--repeat-delay seconds] [-M max_inflight]",
        ),
        Program::Sub => (
            "subscribes to topics and prints the messages",
            "-t topic ... [-T filter_out ...] [-U unsubscribe ...]\n    [-q qos] [-C count] [-W seconds] [-E] [-v] [-N] [-F format] [--pretty] [-R] [--retained-only]\n    [--remove-retained] [--retain-as-published] [--random-filter percent]",
        ),
        Program::Rr => (
            "publishes a request and prints the response",
            "-t topic -e response-topic {-m message | -f file | -s | -n}\n    [-q qos] [-r] [-W seconds] [-v] [-N] [-F format] [--pretty] [-R]",
        ),
    };
    format!(
        "{name} {what}.\n{version}\n\nUsage: {name} {own}\n    [-h host] [-p port] [-u username] [-P password] [-L URL] [--unix path] [--ws]\n    [-i id | -I id_prefix] [-c] [-x session-expiry] [-k keepalive] [-V mqttv31|mqttv311|mqttv5]\n    [-A bind_address] [--nodelay] [-d] [--quiet] [-D command identifier value]\n    [--will-topic topic [--will-payload payload] [--will-qos qos] [--will-retain]]\n    [{{--cafile file | --capath dir | --tls-use-os-certs}} [--cert file --key file] [--insecure]\n     [--tls-alpn protocol] [--tls-version tlsv1.2|tlsv1.3]]\n\nThe flags are those of the Mosquitto clients; their manual applies.\n",
        name = program.name(),
        version = version(program),
    )
}

/// The answer to `--version`.
pub(super) fn version(program: Program) -> String {
    format!("{} of tercet {}", program.name(), env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
