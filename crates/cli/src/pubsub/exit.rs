//! How a run ends: exit codes and the words on stderr, in our way or as the Mosquitto clients do.

use std::io::Write as _;
use std::process::ExitCode;

use tercet_client::Error;
use tercet_client::mqtt::Version;

use super::settings::{Dialect, Program, Settings};

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    /// Told already, or to be told by its code alone.
    Failed(String),
    Client(Error),
    TimedOut,
    Interrupted,
    /// Whoever read our output is gone.
    OutputClosed,
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const TIMED_OUT: u8 = 27;
const UNREACHABLE: u8 = 69;
const REFUSED: u8 = 77;
const INTERRUPTED: u8 = 130;

/// Says what there is to say and gives the exit code.
pub(super) fn finish(outcome: Outcome, settings: &Settings) -> ExitCode {
    let quiet = settings.talk.quiet;
    let version = settings.connection.version;
    match settings.dialect {
        Dialect::Tercet => tercet(outcome, quiet),
        Dialect::Mosquitto(program) => mosquitto(outcome, program, version, quiet),
    }
}

/// A command line that cannot be understood.
pub(super) fn usage(command: &str, text: &str) -> ExitCode {
    say(&format!("error: {text}\nhint: tercet {command} --help\n"));
    ExitCode::from(USAGE)
}

/// Writes to stderr; when that is closed there is nobody to tell.
pub(super) fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn tercet(outcome: Outcome, quiet: bool) -> ExitCode {
    let (code, text) = match outcome {
        Outcome::Done | Outcome::OutputClosed => (0, None),
        Outcome::Failed(text) => (FAILED, Some(format!("error: {text}\n"))),
        Outcome::TimedOut => (TIMED_OUT, Some("error: timed out\n".to_owned())),
        Outcome::Interrupted => (INTERRUPTED, None),
        Outcome::Client(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            (client_code(&error), Some(format!("error: {error}\n{hint}")))
        }
    };
    if let Some(text) = text.filter(|_| !quiet) {
        say(&text);
    }
    ExitCode::from(code)
}

fn client_code(error: &Error) -> u8 {
    match error {
        Error::Url { .. } | Error::Invalid(_) => USAGE,
        Error::Connect { .. } | Error::Tls { .. } | Error::WebSocket { .. } => UNREACHABLE,
        Error::Timeout { what, .. } if what.contains("connection") => UNREACHABLE,
        Error::Timeout { .. } => TIMED_OUT,
        Error::Refused { .. }
        | Error::PublishRefused { code: 0x87, .. }
        | Error::SubscribeRefused { code: 0x87, .. } => REFUSED,
        _ => FAILED,
    }
}

fn mosquitto(outcome: Outcome, program: Program, version: Version, quiet: bool) -> ExitCode {
    let (code, text) = match outcome {
        Outcome::Done | Outcome::OutputClosed | Outcome::Interrupted => (0, None),
        Outcome::Failed(text) => (FAILED, Some(text)),
        Outcome::TimedOut => (TIMED_OUT, Some("Timed out".to_owned())),
        Outcome::Client(error) => mosquitto_error(&error, program, version),
    };
    if let Some(text) = text.filter(|_| !quiet) {
        say(&format!("{text}\n"));
    }
    ExitCode::from(code)
}

fn mosquitto_error(error: &Error, program: Program, version: Version) -> (u8, Option<String>) {
    match error {
        Error::Connect { source, .. } => {
            let text = source.to_string();
            let reason = text.split(" (os error").next().unwrap_or(&text);
            if source.raw_os_error().is_none() {
                return (FAILED, Some("Unable to connect (Lookup error.).".to_owned()));
            }
            (FAILED, Some(format!("Error: {reason}")))
        }
        Error::Refused { code, reason, .. } if version == Version::V5 => {
            let advice = match (code, program) {
                (0x84, Program::Rr) => ". mosquitto_rr only supports connecting to an MQTT v5 broker",
                (0x84, _) => ". Try connecting to an MQTT v5 broker, or use MQTT v3.x mode.",
                _ => "",
            };
            (*code, Some(format!("Connection error: {reason}{advice}")))
        }
        Error::Refused { code, .. } => {
            let (code, text) = return_code(*code);
            (code, Some(format!("Connection error: Connection Refused: {text}.")))
        }
        Error::Tls { reason, .. } => (FAILED, Some(format!("Error: A TLS error occurred: {reason}"))),
        other => (FAILED, Some(format!("Error: {other}"))),
    }
}

/// The return code of CONNACK before MQTT 5 and what the Mosquitto clients call it.
fn return_code(reason: u8) -> (u8, &'static str) {
    match reason {
        0x84 => (1, "unacceptable protocol version"),
        0x85 => (2, "identifier rejected"),
        0x88 => (3, "broker unavailable"),
        0x86 => (4, "bad user name or password"),
        0x87 => (5, "not authorised"),
        other => (other, "unknown reason"),
    }
}
