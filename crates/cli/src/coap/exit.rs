//! How a run ends: exit code, and what is said on stderr.

use std::process::ExitCode;

use tercet_client::coap::Error;

use crate::exit::Exit;
use crate::output::talk;

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Failed(String),
    Client(Error),
    TimedOut,
    Interrupted,
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<crate::exit::Failure> for Outcome {
    fn from(failure: crate::exit::Failure) -> Self {
        let text = failure.to_string();
        Self::Failed(text.strip_prefix("error: ").unwrap_or(&text).to_owned())
    }
}

/// Says what there is to say and gives the exit code.
pub(super) fn finish(outcome: Outcome) -> ExitCode {
    let exit = match outcome {
        Outcome::Done => Exit::Ok,
        Outcome::Failed(text) => {
            talk(&format!("error: {text}"));
            Exit::Failed
        }
        Outcome::TimedOut => {
            talk("error: timed out");
            Exit::TimedOut
        }
        Outcome::Interrupted => Exit::Interrupted,
        Outcome::Client(error) => {
            talk(&format!("error: {error}"));
            if let Some(seconds) = error.retry_after().map(|wait| wait.as_secs()) {
                talk(&format!("hint: the server asks to wait {seconds} s"));
            } else if let Some(hint) = error.hint() {
                talk(&format!("hint: {hint}"));
            }
            code(&error)
        }
    };
    exit.into()
}

/// A command line that cannot be understood.
pub(super) fn usage(command: &str, text: &str) -> ExitCode {
    talk(&format!("error: {text}\nhint: tercet coap {command} --help"));
    Exit::Usage.into()
}

fn code(error: &Error) -> Exit {
    match error {
        Error::Url { .. } | Error::Invalid(_) => Exit::Usage,
        Error::Connect { .. } | Error::Secure { .. } | Error::WebSocket { .. } => Exit::Unreachable,
        Error::Timeout { what, .. } if what.contains("connection") => Exit::Unreachable,
        Error::Timeout { .. } => Exit::TimedOut,
        // The server does not know the context, or the key is another one.
        Error::Oscore(_) => Exit::Refused,
        // Answers that are errors too, whatever their code.
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn failures_have_their_exit_codes() {
        let after = Duration::from_secs(1);
        let refused = || Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused));
        for (error, want) in [
            (Error::Timeout { what: "the request".into(), after }, Exit::TimedOut),
            (Error::Timeout { what: "the connection to x".into(), after }, Exit::Unreachable),
            (Error::Connect { url: "u".into(), source: refused() }, Exit::Unreachable),
            (Error::Lost { url: "u".into(), source: refused() }, Exit::Failed),
            (Error::Invalid("x".into()), Exit::Usage),
            (Error::Reset("x".into()), Exit::Failed),
            (Error::Oscore("x".into()), Exit::Refused),
        ] {
            assert_eq!(code(&error), want, "{error}");
        }
    }
}
