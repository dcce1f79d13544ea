//! Both files or neither.

use super::*;
use crate::auth::{AuthSettings, PoolLimits};
use tercet_broker::permission::{Action, Subject};

const USERS: &str = "ann:$6$aw35uCSm1/7WbZrM$Pn8rx3Yz4jbPf7PqWMcEkxmCYR+ESri5LwDZgef6WlkMadTYb8BZIfsBUPXnkp0mzrsm38JW7wEHjRFKxx5iLA==\n";

struct Fixture {
    _directory: tempfile::TempDir,
    files: AuthFiles,
}

fn fixture(passwords: &str, acl: &str) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture {
        files: AuthFiles {
            passwords: Some(directory.path().join("passwords")),
            acl: Some(directory.path().join("acl")),
            administrators: Vec::new(),
        },
        _directory: directory,
    };
    fixture.write(passwords, acl);
    fixture
}

impl Fixture {
    fn write(&self, passwords: &str, acl: &str) {
        fs::write(self.files.passwords.as_ref().unwrap(), passwords).unwrap();
        fs::write(self.files.acl.as_ref().unwrap(), acl).unwrap();
    }
}

#[test]
fn files_that_are_not_named_mean_no_users_and_no_rules() {
    let loaded = AuthFiles::default().load().unwrap();
    assert!(loaded.users.is_none() && loaded.permissions.is_unrestricted());
}

#[test]
fn all_problems_of_both_files_are_reported_with_their_place() {
    let fixture = fixture("ann\nbob:plain\n", "topic read a\nread a\n");
    let error = fixture.files.load().err().unwrap();
    let places: Vec<_> =
        error.problems.iter().map(|p| (p.path.file_name().unwrap().to_str().unwrap(), p.line)).collect();
    assert_eq!(places, [("passwords", Some(1)), ("passwords", Some(2)), ("acl", Some(2))]);
    let first_line = error.to_string().lines().next().unwrap().to_owned();
    assert!(first_line.ends_with("passwords:1: expected `name:hash`"), "{first_line}");
}

#[test]
fn a_missing_file_is_a_problem() {
    let fixture = fixture(USERS, "");
    fs::remove_file(fixture.files.acl.as_ref().unwrap()).unwrap();
    let error = fixture.files.load().err().unwrap();
    assert_eq!(error.problems.len(), 1);
    assert!(error.to_string().contains("acl: cannot be read: "), "{error}");
}

#[test]
fn a_reload_takes_both_files_or_keeps_both() {
    let fixture = fixture(USERS, "user ann\ntopic read a\n");
    let loaded = fixture.files.load().unwrap();
    let pool = PoolLimits { threads: 1, ..PoolLimits::default() };
    let authenticator =
        Authenticator::new(loaded.users, AuthSettings { pool, ..AuthSettings::default() }).unwrap();
    let store = PermissionStore::new(loaded.permissions);
    let may_read = |topic| {
        store
            .load()
            .check(&Subject { user: Some("ann"), client_id: "c" }, Action::Receive, topic)
            .is_allowed()
    };
    assert!(may_read("a") && !may_read("b"));
    let generation = store.load().generation();

    fixture.write("broken\n", "user ann\ntopic read b\n");
    assert!(fixture.files.reload(&authenticator, &store).is_err());
    assert!(may_read("a") && !may_read("b"));
    assert_eq!(store.load().generation(), generation);
    assert!(authenticator.has_users());

    fixture.write(USERS, "user ann\ntopic read b\n");
    assert!(fixture.files.reload(&authenticator, &store).unwrap() > generation);
    assert!(may_read("b") && !may_read("a"));
}
