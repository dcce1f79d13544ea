//! Reading, editing and writing password files.

use super::*;
use crate::auth::password_hash::HashScratch;
use proptest::prelude::*;

const CHEAP: HashChoice =
    HashChoice { cost: ArgonCost { memory_kib: 64, passes: 1 }, scram_iterations: None };

/// Written by `mosquitto_passwd -b` (2.0.11), once plain and once with `-H sha512`.
const BY_MOSQUITTO: &str = "alice:$7$101$6Xdq/R07eaDXzDoG$VeNPipd29qCBVRRvwoeSGT5bLUopKCqvboIIr+hznRoWoBwvydQCGynVbV6luWyCSrpCx0Eis4+EbTfyTaKvVA==
bob:$6$aw35uCSm1/7WbZrM$Pn8rx3Yz4jbPf7PqWMcEkxmCYR+ESri5LwDZgef6WlkMadTYb8BZIfsBUPXnkp0mzrsm38JW7wEHjRFKxx5iLA==
";

fn opens(file: &PasswordFile, user: &str, password: &str) -> bool {
    let stored = file.user(user);
    stored.is_some_and(|stored| stored.hash.verify(password.as_bytes(), &mut HashScratch::default()))
}

#[test]
fn a_file_of_mosquitto_is_read_and_written_back_unchanged() {
    let file = PasswordFile::parse(BY_MOSQUITTO).unwrap();
    assert!(opens(&file, "alice", "secret") && opens(&file, "bob", "pass:word"));
    assert!(!opens(&file, "alice", "pass:word") && !opens(&file, "carol", "secret"));
    assert_eq!(file.to_string(), BY_MOSQUITTO);
    let windows = BY_MOSQUITTO.replace('\n', "\r\n");
    assert_eq!(PasswordFile::parse(&windows).unwrap().to_string(), BY_MOSQUITTO);
}

#[test]
fn users_are_added_changed_and_removed_in_place() {
    let text = format!("# operators\n\n{BY_MOSQUITTO}# end\n");
    let mut file = PasswordFile::parse(&text).unwrap();
    assert_eq!(file.set_password("alice", &"new".into(), CHEAP), Ok(Change::Updated));
    assert_eq!(file.set_password("carol", &"c".into(), CHEAP), Ok(Change::Added));
    assert!(opens(&file, "alice", "new") && !opens(&file, "alice", "secret"));
    assert_eq!(file.users().map(|(name, _)| name).collect::<Vec<_>>(), ["alice", "bob", "carol"]);
    assert!(file.remove("alice") && !file.remove("alice"));
    assert!(opens(&file, "bob", "pass:word") && opens(&file, "carol", "c"));
    assert_eq!(file.set_password("carol", &"d".into(), CHEAP), Ok(Change::Updated));
    assert!(opens(&file, "carol", "d"));
    assert_eq!(file.user_count(), 2);
    let written = file.to_string();
    assert!(written.starts_with("# operators\n\nbob:$6$"), "{written}");
    assert_eq!(PasswordFile::parse(&written).unwrap().to_string(), written);
}

#[test]
fn scram_credentials_stand_in_a_third_field() {
    let mut file = PasswordFile::default();
    let choice = HashChoice { scram_iterations: Some(4096), ..CHEAP };
    file.set_password("ann", &"pw".into(), choice).unwrap();
    let text = file.to_string();
    assert_eq!(text.matches(':').count(), 2, "{text}");
    let again = PasswordFile::parse(&text).unwrap();
    assert_eq!(again.user("ann"), file.user("ann"));
    assert_eq!(again.user("ann").unwrap().scram.as_ref().unwrap().iterations(), 4096);
}

#[test]
fn one_wrong_line_refuses_the_file_and_all_are_named() {
    // CVE-2018-12551: a line that cannot be read must never become a user without password.
    let good = BY_MOSQUITTO.lines().next().unwrap();
    let text = format!(
        "{good}\nnobody\n:$6$a$b\ncarol:\ndave:plain:text\n{good}\nerin:$9$x$y\n{good}:$scram-sha-256$1$x\n\
        x y :$6$\nfrank:$7$101$6Xdq\ngina{}\n",
        good.strip_prefix("alice").unwrap().to_owned() + ":nonsense"
    );
    let found: Vec<_> = PasswordFile::parse(&text)
        .unwrap_err()
        .into_iter()
        .map(|error| (error.line, error.problem))
        .collect();
    use LineProblem::{Duplicate, Hash, MissingHash, Scram, User};
    let expected = [
        (2, MissingHash),
        (3, User(UserNameError)),
        (4, Hash(HashFormatError::PlainText)),
        (5, Hash(HashFormatError::PlainText)),
        (6, Duplicate { first: 1 }),
        (7, Hash(HashFormatError::UnknownKind)),
        (8, Duplicate { first: 1 }),
        (9, User(UserNameError)),
        (10, Hash(HashFormatError::Malformed)),
        (11, Scram(ScramCredentialsError::Malformed)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn error_texts_never_repeat_the_line() {
    let errors = PasswordFile::parse("ann:hunter2\nhunter2\n").unwrap_err();
    let shown = format!("{errors:?} {} {}", errors[0], errors[1]);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(errors[0].to_string().starts_with("line 1: "));
}

#[test]
fn names_that_would_break_the_file_are_refused() {
    let mut file = PasswordFile::default();
    for name in ["", "a:b", "#a", " a", "a ", "a\nb", "a\0", "\u{7f}", &"x".repeat(65_536)] {
        let refused = file.set_password(name, &"pw".into(), CHEAP);
        assert_eq!(refused, Err(SetUserError::User(UserNameError)), "{name:?}");
    }
    for name in ["a b", "$x", "ü", "a#b", "a/b"] {
        assert_eq!(file.set_password(name, &"pw".into(), CHEAP), Ok(Change::Added));
    }
    assert_eq!(PasswordFile::parse(&file.to_string()).unwrap().user_count(), 5);
}

#[test]
fn plain_text_input_is_read_line_by_line() {
    let entries = parse_plain_text("# batch\nann: p:w \n\nbob:\r\n").unwrap();
    let shown: Vec<_> = entries.iter().map(|(name, password)| (name.as_str(), password.expose())).collect();
    assert_eq!(shown, [("ann", &b" p:w "[..]), ("bob", &b""[..])]);
    let errors = parse_plain_text("ann:x\nnobody\n:x\nann:y\n").unwrap_err();
    let found: Vec<_> = errors.iter().map(|error| (error.line, error.problem)).collect();
    let expected = [
        (2, LineProblem::MissingHash),
        (3, LineProblem::User(UserNameError)),
        (4, LineProblem::Duplicate { first: 1 }),
    ];
    assert_eq!(found, expected);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_new_file_is_private_and_an_old_one_keeps_its_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passwords");
    let file = PasswordFile::parse(BY_MOSQUITTO).unwrap();
    file.write(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    PasswordFile::default().write(&path).unwrap();
    assert_eq!(mode(&path), 0o640);
    assert_eq!(PasswordFile::read(&path).unwrap().user_count(), 0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_failed_write_leaves_everything_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("is-a-directory");
    fs::create_dir(&target).unwrap();
    assert!(PasswordFile::default().write(&target).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(PasswordFile::default().write(&directory.path().join("missing/passwords")).is_err());
}

#[test]
fn unreadable_files_are_errors_and_not_empty_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("passwords");
    assert!(matches!(PasswordFile::read(&path), Err(ReadError::Io(_))));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(PasswordFile::read(&path), Err(ReadError::Io(_))));
    fs::write(&path, "nobody\n").unwrap();
    let error = PasswordFile::read(&path).unwrap_err();
    assert_eq!(error.to_string(), "1 wrong line(s), the first is line 1: expected `name:hash`");
}

proptest! {
    #[test]
    fn what_is_read_is_written_back_the_same(
        text in "((#[a-z]{0,3}|a|b|c|\\$6\\$|\\$7\\$|:|AAAA| |\r)?\n|alice:|b){0,12}",
    ) {
        if let Ok(file) = PasswordFile::parse(&text) {
            let written = file.to_string();
            prop_assert_eq!(PasswordFile::parse(&written).unwrap().to_string(), written);
        }
    }
}
