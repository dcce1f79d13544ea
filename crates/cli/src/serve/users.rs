//! Which users there are at the start, and the first administrator when an open port would have none.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tercet_server::auth::{FirstAdminError, first_admin};
use tercet_server::config::{Anonymous, CertificateUser, ClientAuth, Config, Listener};

use crate::exit::Failure;

/// Name of the password file in the data directory.
const PASSWORD_FILE: &str = "passwords";

/// Who may log in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Users {
    /// Nobody has a password; anonymous clients are let in where the configuration says so.
    None,
    /// The users of this file.
    File(PathBuf),
    /// The administrator that was just created.
    Created {
        /// Where the hash is.
        file: PathBuf,
        /// Name.
        user: &'static str,
        /// Password: shown once.
        password: String,
    },
}

impl Users {
    /// Takes the administrator back when the broker did not start: its password was never shown to anybody, and a
    /// file left behind would lock everybody out.
    pub(super) fn take_back(&self) {
        if let Self::Created { file, .. } = self {
            // What cannot be removed is used at the next start, and `tercet passwd` can mend it.
            let _ = fs::remove_file(file);
        }
    }
}

/// Uses the password file of the data directory when none is configured, and creates it when a listener
/// lets other machines in that have no way to log in.
///
/// # Errors
/// The administrator cannot be created.
pub(super) fn prepare(config: &mut Config) -> Result<Users, Failure> {
    let data = config.server.data.clone();
    keep(config, &data);
    if let Some(file) = &config.auth.password_file {
        return Ok(Users::File(file.clone()));
    }
    if !config.listeners.iter().any(|listener| needs_password(config, listener)) {
        return Ok(Users::None);
    }
    let file = data.join(PASSWORD_FILE);
    let admin = create(&data, &file).map_err(|error| {
        Failure::failed(format!("cannot create the first user in {}: {error}", file.display()))
            .hint("name a directory that can be written with --data DIR, or users with auth.password-file")
    })?;
    config.auth.password_file = Some(file.clone());
    Ok(Users::Created { file, user: admin.0, password: admin.1 })
}

/// Uses the password file of the data directory `data` when none is configured.
pub(super) fn keep(config: &mut Config, data: &Path) {
    let file = data.join(PASSWORD_FILE);
    if config.auth.password_file.is_none() && file.is_file() {
        config.auth.password_file = Some(file);
    }
}

fn create(data: &Path, file: &Path) -> Result<(&'static str, String), FirstAdminError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let admin = first_admin(file)?;
    Ok((admin.user, String::from_utf8_lossy(admin.password.expose()).into_owned()))
}

/// Whether clients of `listener` have to log in, and with a password.
fn needs_password(config: &Config, listener: &Listener) -> bool {
    let by_certificate = listener.tls.as_ref().is_some_and(|tls| {
        tls.client_auth == ClientAuth::Required && tls.use_identity_as_username != CertificateUser::Off
    });
    !listener.bind.is_local() && config.anonymous(listener) != Anonymous::Allow && !by_certificate
}

#[cfg(test)]
mod tests {
    use tercet_server::config::Bind;

    use super::*;

    fn config(data: &Path, bind: &str) -> Config {
        let mut config = Config::on_free_ports();
        config.server.data = data.join("data");
        config.listeners[0].bind = Bind::Tcp(bind.parse().unwrap());
        config
    }

    #[test]
    fn loopback_needs_no_users_and_leaves_the_disk_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), "127.0.0.1:0");
        assert_eq!(prepare(&mut config).unwrap(), Users::None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_open_port_gets_an_administrator_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = config(dir.path(), "0.0.0.0:0");
        let Users::Created { file, user, password } = prepare(&mut first).unwrap() else {
            panic!("not created")
        };
        assert_eq!((user, file.as_path()), ("admin", dir.path().join("data/passwords").as_path()));
        assert!(password.len() >= 20);
        assert_eq!(first.auth.password_file.as_ref(), Some(&file));
        let mut second = config(dir.path(), "0.0.0.0:0");
        assert_eq!(prepare(&mut second).unwrap(), Users::File(file));
    }

    #[test]
    fn an_open_port_that_is_meant_to_be_open_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), "0.0.0.0:0");
        config.auth.anonymous = Anonymous::Allow;
        assert_eq!(prepare(&mut config).unwrap(), Users::None);
    }
}
