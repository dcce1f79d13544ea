//! The password file: one user per line.
//!
//! ```text
//! # operators
//! alice:$argon2id$v=19$m=8192,t=2,p=1$<salt>$<hash>
//! bob:$7$101$<salt>$<hash>
//! carol:$argon2id$...:$scram-sha-256$10000$<salt>$<StoredKey>$<ServerKey>
//! ```
//!
//! `name:hash[:scram]`. The hash is one of those in [`password_hash`](super::password_hash). The optional
//! third field lets the user log in by SCRAM ([`ScramCredentials`]); Mosquitto ignores
//! it. Blank lines and lines that begin with `#` are kept as they are. Names are unique, not empty, without colon
//! and control characters, and neither begin with `#` nor begin or end with white space.
//!
//! A file with one wrong line is refused as a whole, with the numbers of all such lines (CVE-2018-12551).

use super::password_hash::{ArgonCost, HashFormatError, NewHashError, PasswordHash};
use hashbrown::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::str::FromStr;
use tercet_scram::{ScramCredentials, ScramCredentialsError, Secret};

/// Longest user name in bytes: the longest MQTT string.
const MAX_USER_BYTES: usize = 65_535;

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: LineProblem,
}

/// What is wrong with a line of a password file. The texts never repeat what stands in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// No colon.
    #[error("expected `name:hash`")]
    MissingHash,
    /// The name is not allowed.
    #[error(transparent)]
    User(#[from] UserNameError),
    /// The name stands in an earlier line already.
    #[error("this user is already defined in line {first}")]
    Duplicate {
        /// The earlier line.
        first: usize,
    },
    /// The hash is wrong.
    #[error(transparent)]
    Hash(#[from] HashFormatError),
    /// The SCRAM credentials are wrong.
    #[error(transparent)]
    Scram(#[from] ScramCredentialsError),
}

/// A user name that cannot stand in a password file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a user name must not be empty, contain `:` or control characters, begin with `#`, or begin or end with white space"
)]
pub struct UserNameError;

/// Why a user could not be added or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetUserError {
    /// The name is not allowed.
    #[error(transparent)]
    User(#[from] UserNameError),
    /// The hash could not be made.
    #[error(transparent)]
    Hash(#[from] NewHashError),
    /// The SCRAM credentials could not be made.
    #[error(transparent)]
    Scram(#[from] ScramCredentialsError),
}

/// Why a password file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be opened or read, or is not UTF-8.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Some lines are wrong.
    #[error("{} wrong line(s), the first is {}", .0.len(), .0.first().map_or_else(String::new, ToString::to_string))]
    Lines(Vec<LineError>),
}

/// What is stored about one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The password hash.
    pub hash: PasswordHash,
    /// What SCRAM needs, if the user may log in that way.
    pub scram: Option<ScramCredentials>,
}

/// How new passwords are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashChoice {
    /// Work for the Argon2id hash.
    pub cost: ArgonCost,
    /// Iterations of SCRAM credentials, if they are to be stored as well.
    pub scram_iterations: Option<u32>,
}

impl Default for HashChoice {
    fn default() -> Self {
        Self { cost: ArgonCost::DEFAULT, scram_iterations: None }
    }
}

impl Credentials {
    /// Hashes a password.
    ///
    /// # Errors
    /// As [`PasswordHash::argon2id`] and [`ScramCredentials::derive`].
    pub fn new(password: &Secret, choice: HashChoice) -> Result<Self, SetUserError> {
        let hash = PasswordHash::argon2id(password.expose(), choice.cost)?;
        let derive = |iterations| ScramCredentials::derive(password.expose(), iterations);
        Ok(Self { hash, scram: choice.scram_iterations.map(derive).transpose()? })
    }
}

/// `hash[:scram]`, as it stands in the file behind the name.
impl FromStr for Credentials {
    type Err = LineProblem;

    fn from_str(text: &str) -> Result<Self, LineProblem> {
        let (hash, scram) = match text.split_once(':') {
            Some((hash, scram)) if hash.starts_with('$') => (hash, Some(scram)),
            _ => (text, None),
        };
        Ok(Self { hash: hash.parse()?, scram: scram.map(str::parse).transpose()? })
    }
}

/// As it stands in the file behind the name.
impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.fmt(f)?;
        match &self.scram {
            Some(scram) => write!(f, ":{scram}"),
            None => Ok(()),
        }
    }
}

/// A password file in memory: users and comments, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct PasswordFile {
    lines: Vec<Line>,
    /// User name to index into `lines`.
    users: HashMap<Box<str>, usize>,
}

#[derive(Debug, Clone)]
enum Line {
    Text(Box<str>),
    User(Box<str>, Box<Credentials>),
}

/// What became of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The user is new.
    Added,
    /// The user existed and has a new password.
    Updated,
}

impl PasswordFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// All wrong lines, in order.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let mut file = Self::default();
        let mut errors = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                file.lines.push(Line::Text(line.into()));
            } else if let Err(problem) = file.parse_line(line, index) {
                errors.push(LineError { line: index + 1, problem });
                // Keeps line numbers and indexes in step.
                file.lines.push(Line::Text("".into()));
            }
        }
        if errors.is_empty() { Ok(file) } else { Err(errors) }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or any line is wrong.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        Self::parse(&fs::read_to_string(path)?).map_err(ReadError::Lines)
    }

    /// The user with this name.
    pub fn user(&self, name: &str) -> Option<&Credentials> {
        match self.lines.get(*self.users.get(name)?)? {
            Line::User(_, credentials) => Some(credentials),
            Line::Text(_) => None,
        }
    }

    /// All users, in the order of the file.
    pub fn users(&self) -> impl Iterator<Item = (&str, &Credentials)> {
        self.lines.iter().filter_map(|line| match line {
            Line::User(name, credentials) => Some((name.as_ref(), credentials.as_ref())),
            Line::Text(_) => None,
        })
    }

    /// Number of users.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// Adds a user at the end, or replaces what is stored about an existing one in place.
    ///
    /// # Errors
    /// When the name is not allowed.
    pub fn set(&mut self, name: &str, credentials: Credentials) -> Result<Change, UserNameError> {
        check_user_name(name)?;
        let known = self.users.get(name).and_then(|index| self.lines.get_mut(*index));
        if let Some(Line::User(_, stored)) = known {
            **stored = credentials;
            return Ok(Change::Updated);
        }
        self.users.insert(name.into(), self.lines.len());
        self.lines.push(Line::User(name.into(), Box::new(credentials)));
        Ok(Change::Added)
    }

    /// Hashes a password and stores it, see [`set`](Self::set).
    ///
    /// # Errors
    /// When the name is not allowed or the password cannot be hashed.
    pub fn set_password(
        &mut self,
        name: &str,
        password: &Secret,
        choice: HashChoice,
    ) -> Result<Change, SetUserError> {
        check_user_name(name)?;
        Ok(self.set(name, Credentials::new(password, choice)?)?)
    }

    /// Removes a user; false if there was none of this name.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(removed) = self.users.remove(name) else { return false };
        self.lines.remove(removed);
        for index in self.users.values_mut().filter(|index| **index > removed) {
            *index -= 1;
        }
        true
    }

    /// Writes the file so that a reader sees the old or the new one, never a part; it is on disk on return.
    ///
    /// A new file is readable by its owner only (0600); an existing one keeps mode, owner and group, so that a
    /// broker that runs as another user can still read it.
    ///
    /// # Errors
    /// When the directory cannot be written. The old file is untouched then.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut suffix = [0_u8; 8];
        getrandom::fill(&mut suffix).map_err(io::Error::other)?;
        let mut temporary_name = name.to_os_string();
        temporary_name.push(format!(".{:016x}.tmp", u64::from_ne_bytes(suffix)));
        let temporary = path.with_file_name(temporary_name);
        let written = self.write_temporary(&temporary, path).and_then(|()| fs::rename(&temporary, path));
        if let Err(error) = written {
            // The error that matters is the first one.
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn write_temporary(&self, temporary: &Path, target: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        file.write_all(self.to_string().as_bytes())?;
        match fs::metadata(target) {
            Ok(old) => {
                let new = file.metadata()?;
                if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                    fchown(&file, Some(old.uid()), Some(old.gid()))?;
                }
                file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        file.sync_all()
    }

    fn parse_line(&mut self, line: &str, index: usize) -> Result<(), LineProblem> {
        let (name, rest) = line.split_once(':').ok_or(LineProblem::MissingHash)?;
        check_user_name(name)?;
        if let Some(first) = self.users.get(name) {
            return Err(LineProblem::Duplicate { first: first + 1 });
        }
        let credentials = rest.parse()?;
        self.users.insert(name.into(), index);
        self.lines.push(Line::User(name.into(), Box::new(credentials)));
        Ok(())
    }
}

/// The text of the file.
impl fmt::Display for PasswordFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match line {
                Line::Text(text) => writeln!(f, "{text}")?,
                Line::User(name, credentials) => writeln!(f, "{name}:{credentials}")?,
            }
        }
        Ok(())
    }
}

/// Reads `name:password` lines in plain text: the input of a batch, or a file to be upgraded. The password is all
/// that follows the first colon up to the end of the line. Blank lines and `#` lines are skipped.
///
/// # Errors
/// All wrong lines, in order.
pub fn parse_plain_text(text: &str) -> Result<Vec<(String, Secret)>, Vec<LineError>> {
    let mut entries: Vec<(String, Secret)> = Vec::new();
    let mut first_lines: HashMap<&str, usize> = HashMap::new();
    let mut errors = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed =
            parse_plain_line(line).and_then(|(name, password)| match first_lines.insert(name, index + 1) {
                Some(first) => Err(LineProblem::Duplicate { first }),
                None => Ok((name.to_owned(), Secret::from(password))),
            });
        match parsed {
            Ok(entry) => entries.push(entry),
            Err(problem) => errors.push(LineError { line: index + 1, problem }),
        }
    }
    if errors.is_empty() { Ok(entries) } else { Err(errors) }
}

fn parse_plain_line(line: &str) -> Result<(&str, &str), LineProblem> {
    let (name, password) = line.split_once(':').ok_or(LineProblem::MissingHash)?;
    check_user_name(name)?;
    Ok((name, password))
}

fn check_user_name(name: &str) -> Result<(), UserNameError> {
    let allowed = !name.is_empty()
        && name.len() <= MAX_USER_BYTES
        && name.trim() == name
        && !name.starts_with('#')
        && !name.contains(|c: char| c == ':' || c.is_control());
    if allowed { Ok(()) } else { Err(UserNameError) }
}

#[cfg(test)]
#[path = "password_file_tests.rs"]
mod tests;
