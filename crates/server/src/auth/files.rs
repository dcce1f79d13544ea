//! Loading the password file and the ACL file, both or neither.

use super::authenticator::Authenticator;
use super::directory::OutsideRules;
use super::password_file::{PasswordFile, ReadError};
use super::users::Users;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tercet_broker::permission::{PermissionStore, Permissions, acl_file};

/// Where users and rights are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthFiles {
    /// The password file; `None`: no users are configured.
    pub passwords: Option<PathBuf>,
    /// The ACL file; `None`: everybody who is let in may do everything.
    pub acl: Option<PathBuf>,
    /// Users that administer the server, unless their tags say otherwise.
    pub administrators: Vec<String>,
}

/// What the files say, checked but not yet in force.
pub struct LoadedAuth {
    /// The users.
    pub users: Option<Users>,
    /// The rules.
    pub permissions: Permissions,
}

/// One thing that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, if it is about a line.
    pub line: Option<usize>,
    /// What is wrong. Never repeats a password or hash.
    pub message: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.message)
    }
}

/// Everything that is wrong with the files; nothing of them was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct AuthLoadError {
    /// The problems, password file first, in the order of lines.
    pub problems: Vec<FileProblem>,
}

impl AuthFiles {
    /// Reads and checks both files.
    ///
    /// # Errors
    /// Everything that is wrong with either: a file that cannot be read, and each wrong line.
    pub fn load(&self) -> Result<LoadedAuth, AuthLoadError> {
        let users = self.passwords.as_deref().map(load_users).transpose();
        let permissions = self.acl.as_deref().map_or_else(|| Ok(Permissions::allow_all()), load_permissions);
        match (users, permissions) {
            (Ok(users), Ok(permissions)) => Ok(LoadedAuth { users, permissions }),
            (users, permissions) => {
                let problems = users.err().into_iter().chain(permissions.err()).flatten().collect();
                Err(AuthLoadError { problems })
            }
        }
    }

    /// What holds for the users of the password file.
    pub fn rules(&self) -> OutsideRules<'_> {
        OutsideRules { administrators: &self.administrators, restricted: self.acl.is_some() }
    }

    /// Loads both files again and puts them in force. Returns the new generation of the permissions.
    ///
    /// # Errors
    /// As [`load`](Self::load); what was in force stays in force then.
    pub fn reload(
        &self,
        authenticator: &Authenticator,
        permissions: &PermissionStore,
    ) -> Result<u64, AuthLoadError> {
        let loaded = self.load()?;
        // Rights first: a user who is new must not act under rules that do not know them yet.
        let generation = permissions.replace(loaded.permissions);
        authenticator.set_users(loaded.users, self.rules());
        Ok(generation)
    }
}

fn load_users(path: &Path) -> Result<Users, Vec<FileProblem>> {
    match PasswordFile::read(path) {
        Ok(file) => {
            warn_if_world_readable(path);
            Ok(Users::new(&file))
        }
        Err(ReadError::Io(error)) => Err(vec![unreadable(path, &error)]),
        Err(ReadError::Lines(errors)) => {
            Err(errors.iter().map(|error| wrong_line(path, error.line, &error.problem)).collect())
        }
    }
}

fn warn_if_world_readable(path: &Path) {
    let mode = fs::metadata(path).map(|metadata| metadata.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o004 != 0) {
        tracing::warn!(path = %path.display(), "every user of this machine can read the password file; chmod 640 it");
    }
}

fn load_permissions(path: &Path) -> Result<Permissions, Vec<FileProblem>> {
    let text = fs::read_to_string(path).map_err(|error| vec![unreadable(path, &error)])?;
    match acl_file::parse(&text) {
        Ok(rules) => Ok(Permissions::new(&rules)),
        Err(errors) => Err(errors.iter().map(|error| wrong_line(path, error.line, &error.problem)).collect()),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> FileProblem {
    FileProblem { path: path.to_owned(), line: None, message: format!("cannot be read: {error}") }
}

fn wrong_line(path: &Path, line: usize, problem: &dyn fmt::Display) -> FileProblem {
    FileProblem { path: path.to_owned(), line: Some(line), message: problem.to_string() }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
