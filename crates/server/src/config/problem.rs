//! Where values come from, and what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// In the file, at this line and column (both from 1; columns count characters).
    File {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// In this environment variable.
    Env(String),
    /// By this command line flag.
    Flag(&'static str),
}

impl Origin {
    /// The origin as one word for people: `tercet.toml:3:1`, `$TERCET_LOG__LEVEL`, `--mqtt`, `default`.
    pub fn describe(&self, file: Option<&Path>) -> String {
        match self {
            Self::Default => "default".into(),
            Self::File { line, column } => match file {
                Some(file) => format!("{}:{line}:{column}", file.display()),
                None => format!("{line}:{column}"),
            },
            Self::Env(name) => format!("${name}"),
            Self::Flag(name) => (*name).to_owned(),
        }
    }
}

/// The origin of every key that is set, by its full name (`limits.max-packet-size`, `listener.0.bind`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Where `key` was set.
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Whether `key` was set anywhere, rightly or wrongly.
    pub fn is_set(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn set(&mut self, key: String, origin: Origin) {
        self.0.insert(key, origin);
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub origin: Origin,
    /// What is wrong.
    pub what: String,
    /// How to repair it.
    pub hint: Option<String>,
}

/// Every mistake of a configuration, in the order of their places: file from top to bottom, then
/// environment, then flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// The mistakes; never empty.
    pub problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(file: Option<PathBuf>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| match problem.origin {
            Origin::File { line, column } => (0, line, column),
            Origin::Default => (1, 0, 0),
            Origin::Env(_) => (2, 0, 0),
            Origin::Flag(_) => (3, 0, 0),
        });
        Self { file, problems }
    }

    /// Where and what, in one line; the hint is not part of it.
    pub fn line(&self, problem: &Problem) -> String {
        match (&problem.origin, &self.file) {
            (Origin::Default, None) => problem.what.clone(),
            (Origin::Default, Some(file)) => format!("{}: {}", file.display(), problem.what),
            (origin, file) => format!("{}: {}", origin.describe(file.as_deref()), problem.what),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "error: {}", self.line(problem))?;
            if let Some(hint) = &problem.hint {
                write!(f, "\nhint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
