//! What the `[auth]` section of the configuration means here.

use super::authenticator::{AnonymousPolicy, AuthSettings};
use super::files::AuthFiles;
use super::hash_pool::PoolLimits;
use crate::config::{Anonymous, Auth, Auto};

impl From<&Auth> for AuthFiles {
    fn from(section: &Auth) -> Self {
        Self {
            passwords: section.password_file.clone(),
            acl: section.acl_file.clone(),
            administrators: section.administrators.clone(),
        }
    }
}

impl From<&Auth> for AuthSettings {
    fn from(section: &Auth) -> Self {
        let defaults = PoolLimits::default();
        let threads = match section.hashing_threads {
            Auto::Auto => defaults.threads,
            Auto::Set(threads) => threads.get(),
        };
        let pool = PoolLimits { threads, ..defaults };
        Self { pool, scram: section.scram, ..Self::default() }
    }
}

impl From<Anonymous> for AnonymousPolicy {
    fn from(choice: Anonymous) -> Self {
        match choice {
            Anonymous::Loopback => Self::LoopbackOnly,
            Anonymous::Allow => Self::Allow,
            Anonymous::Deny => Self::Deny,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    #[test]
    fn the_section_is_taken_over_and_its_defaults_are_ours() {
        let defaults = Auth::default();
        assert_eq!(AuthSettings::from(&defaults), AuthSettings::default());
        let files = AuthFiles { administrators: vec!["admin".into()], ..AuthFiles::default() };
        assert_eq!(AuthFiles::from(&defaults), files);
        assert_eq!(AnonymousPolicy::from(defaults.anonymous), AnonymousPolicy::default());
        let section = Auth {
            password_file: Some("p".into()),
            acl_file: Some("a".into()),
            scram: false,
            hashing_threads: Auto::Set(NonZeroUsize::MIN),
            ..defaults
        };
        let settings = AuthSettings::from(&section);
        assert_eq!((settings.pool.threads, settings.scram), (1, false));
        let files = AuthFiles { passwords: Some("p".into()), acl: Some("a".into()), ..files };
        assert_eq!(AuthFiles::from(&section), files);
    }
}
