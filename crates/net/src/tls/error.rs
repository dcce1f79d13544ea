//! What is wrong with a TLS configuration, in which file, and what helps.

use std::fmt;
use std::path::{Path, PathBuf};

/// A TLS configuration could not be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfigError {
    /// What was being read or built, such as `certificate chain` or `private key`.
    pub what: &'static str,
    /// The file concerned.
    pub path: Option<PathBuf>,
    /// Why it failed.
    pub reason: String,
    /// What to try, when the cause is a common one.
    pub hint: Option<&'static str>,
}

impl TlsConfigError {
    pub(crate) fn new(what: &'static str, path: Option<&Path>, reason: impl fmt::Display) -> Self {
        Self { what, path: path.map(Path::to_owned), reason: reason.to_string(), hint: None }
    }

    pub(crate) fn hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if let Some(path) = &self.path {
            write!(f, " {}", path.display())?;
        }
        write!(f, ": {}", self.reason)?;
        self.hint.map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for TlsConfigError {}
