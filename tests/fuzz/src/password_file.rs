//! A password file: what is read is written as it was, and no message repeats what stands in a line.

use tercet_server::auth::PasswordFile;
use tercet_server::auth::password_file::parse_plain_text;

/// The body of the target.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.lines().count();
    match PasswordFile::parse(&text) {
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)));
        }
        Ok(file) => {
            assert_eq!(file.users().count(), file.user_count());
            for (name, _) in file.users() {
                assert!(!name.is_empty() && file.user(name).is_some());
            }
            let written = file.to_string();
            let again =
                PasswordFile::parse(&written).unwrap_or_else(|errors| panic!("{errors:?}\n{written}"));
            assert_eq!(again.to_string(), written);
            let names = |file: &PasswordFile| -> Vec<String> {
                file.users().map(|(name, _)| name.to_owned()).collect()
            };
            assert_eq!(names(&again), names(&file));
        }
    }
    match parse_plain_text(&text) {
        Ok(users) => assert!(users.iter().all(|(name, _)| !name.is_empty())),
        Err(errors) => assert!(!errors.is_empty()),
    }
}
