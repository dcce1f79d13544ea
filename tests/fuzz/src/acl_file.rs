//! An ACL file: every mistake is in a line that exists, and what is read gives the same answers however often it is
//! asked.

use tercet_broker::permission::{Action, Permissions, Subject, acl_file};

/// The body of the target.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match acl_file::parse(&text) {
        Err(errors) => {
            assert!(!errors.is_empty());
            let lines = text.lines().count();
            assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)));
            assert!(errors.is_sorted_by_key(|error| error.line));
        }
        Ok(rules) => {
            let commented = format!("# first\n\n{text}\n# last\n");
            assert_eq!(acl_file::parse(&commented).as_ref(), Ok(&rules), "comments change nothing");
            let permissions = Permissions::new(&rules);
            for user in [None, Some("ann"), Some("a/b"), Some("+"), Some("#")] {
                let subject = Subject { user, client_id: "c/#" };
                for topic in
                    ["a", "a/b", "/", "dev/ann/x", "$SYS/x"].into_iter().chain(text.split_whitespace())
                {
                    for action in [Action::Publish, Action::Receive, Action::Subscribe] {
                        let answer = permissions.check(&subject, action, topic);
                        assert!(
                            !rules.rules.is_empty() || !answer.is_allowed(),
                            "nothing is granted by no rule"
                        );
                        assert_eq!(answer, permissions.check(&subject, action, topic));
                    }
                }
            }
        }
    }
}
