//! The first user of a broker that is reachable from other machines and has no users yet.

use super::password_file::{HashChoice, PasswordFile, SetUserError};
use std::io;
use std::path::Path;
use tercet_scram::{DEFAULT_ITERATIONS, Secret};

/// Name of the user.
const ADMIN: &str = "admin";

/// Letters and digits that are not mistaken for each other; 32 of them, 5 bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Characters of a password: 120 bits.
const PASSWORD_CHARACTERS: usize = 24;

/// A user that was just created. The password exists nowhere else: show it once.
#[derive(Debug)]
pub struct FirstAdmin {
    /// The user name.
    pub user: &'static str,
    /// The password, ASCII letters and digits.
    pub password: Secret,
}

/// Why the first user could not be created.
#[derive(Debug, thiserror::Error)]
pub enum FirstAdminError {
    /// The file is there already; it was not touched.
    #[error("the password file exists already")]
    Exists,
    /// The file could not be written.
    #[error("the password file cannot be written: {0}")]
    Io(#[from] io::Error),
    /// The password could not be made or hashed.
    #[error(transparent)]
    Hash(#[from] SetUserError),
}

/// Creates the password file `path` (mode 0600) with the user `admin` and a random password.
///
/// # Errors
/// When the file exists already or cannot be written.
pub fn first_admin(path: &Path) -> Result<FirstAdmin, FirstAdminError> {
    if path.try_exists()? {
        return Err(FirstAdminError::Exists);
    }
    let password = random_password().map_err(io::Error::other)?;
    // A password that cannot be guessed loses nothing by the cheaper hash of SCRAM.
    let choice = HashChoice { scram_iterations: Some(DEFAULT_ITERATIONS), ..HashChoice::default() };
    let mut file = PasswordFile::default();
    file.set_password(ADMIN, &password, choice)?;
    file.write(path)?;
    Ok(FirstAdmin { user: ADMIN, password })
}

fn random_password() -> Result<Secret, getrandom::Error> {
    let mut bytes = vec![0_u8; PASSWORD_CHARACTERS];
    getrandom::fill(&mut bytes)?;
    for byte in &mut bytes {
        // 256 is a multiple of 32: no character is likelier than another.
        *byte = ALPHABET.get(usize::from(*byte % 32)).copied().unwrap_or(b'x');
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password_hash::HashScratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_admin_can_log_in_and_is_created_only_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        let admin = first_admin(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let file = PasswordFile::read(&path).unwrap();
        let stored = file.user(admin.user).unwrap();
        assert!(stored.hash.verify(admin.password.expose(), &mut HashScratch::default()));
        assert!(stored.scram.is_some());
        assert!(matches!(first_admin(&path), Err(FirstAdminError::Exists)));
        assert_eq!(PasswordFile::read(&path).unwrap().to_string(), file.to_string());
    }

    #[test]
    fn passwords_are_long_and_never_the_same() {
        let (first, second) = (random_password().unwrap(), random_password().unwrap());
        assert_eq!(first.expose().len(), PASSWORD_CHARACTERS);
        assert!(first.expose().iter().all(|byte| ALPHABET.contains(byte)));
        assert_ne!(first.expose(), second.expose());
    }
}
