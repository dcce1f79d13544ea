//! How a command ends: the exit codes, and failures with a hint.

use std::fmt;
use std::process::ExitCode;

use tercet_server::config::ConfigErrors;

/// Exit codes; the numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// The operation failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The broker took too long.
    TimedOut = 27,
    /// The broker cannot be reached (EX_UNAVAILABLE of sysexits).
    Unreachable = 69,
    /// The broker does not know the user, or does not allow it that (EX_NOPERM of sysexits).
    Refused = 77,
    /// The configuration is wrong (EX_CONFIG of sysexits).
    BadConfiguration = 78,
    /// A signal ended it before its work was done.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One error.
    Error {
        /// Exit code.
        exit: Exit,
        /// What failed, where and why.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A configuration with mistakes.
    Config(ConfigErrors),
    /// Reported already; only the exit code is left.
    Reported(Exit),
}

impl Failure {
    /// The operation failed.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Error { exit: Exit::Failed, what: what.into(), hint: None }
    }

    /// The same failure with a hint.
    pub(crate) fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Error { exit, what, .. } => Self::Error { exit, what, hint: Some(text.into()) },
            other => other,
        }
    }

    /// The same failure with another exit code.
    pub(crate) fn exit_with(self, code: Exit) -> Self {
        match self {
            Self::Error { what, hint, .. } => Self::Error { exit: code, what, hint },
            other => other,
        }
    }

    /// The exit code.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Error { exit, .. } | Self::Reported(exit) => *exit,
            Self::Config(_) => Exit::BadConfiguration,
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error { what, hint: None, .. } => write!(f, "error: {what}"),
            Self::Error { what, hint: Some(hint), .. } => write!(f, "error: {what}\nhint: {hint}"),
            Self::Config(errors) => errors.fmt(f),
            Self::Reported(_) => Ok(()),
        }
    }
}
