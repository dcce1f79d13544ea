//! Behaviour of the rule list as a whole.

use super::*;

fn acl(text: &str) -> Permissions {
    Permissions::new(&acl_file::parse(text).unwrap())
}

#[test]
fn smoke() {
    let rules = acl("topic read a/#\nuser bob\ntopic b/#\n");
    let bob = Subject { user: Some("bob"), client_id: "x" };
    assert_eq!(rules.check(&bob, Action::Publish, "b/c"), Effect::Allow);
}
