//! Who may do what, before and after changes and restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::access::definition_table::MemoryTable;
use crate::actor::Right::{Configure, Read, Write};

fn outside(users: &[&str], built_in_guest: bool) -> Outside {
    Outside {
        users: users.iter().map(|name| Box::from(*name)).collect(),
        administrators: [Box::from("admin")].into_iter().collect(),
        built_in_guest,
        restricted: false,
    }
}

fn store(users: &[&str]) -> (Arc<MemoryTable>, AccessStore) {
    let table = Arc::new(MemoryTable::default());
    let store =
        AccessStore::open(Arc::clone(&table) as Arc<dyn DefinitionTable>, outside(users, users.is_empty()));
    (table, store)
}

fn with_user(name: &str) -> AccessStore {
    let (_, store) = store(&[]);
    let created = store.set_user(name, Some(Credential::Hash("h".into())), None).unwrap();
    assert!(created.0);
    store
}

fn permission(configure: &str, write: &str, read: &str) -> Permission {
    Permission::new(configure, write, read).unwrap()
}

#[test]
fn a_permission_is_a_table_of_rights_by_name() {
    let store = with_user("ann");
    assert!(store.rights("ann", "/").is_none(), "a new user has access to nothing");
    store.set_permission("ann", "/", permission("^ann-", "orders|amq\\.default", "")).unwrap();
    let rights = store.rights("ann", "/").unwrap();
    let cases = [
        (Configure, "ann-1", true),
        (Configure, "my-ann-1", false),
        (Write, "my-orders-1", true),
        (Write, "amq.default", true),
        (Write, "amqXdefault", false),
        (Write, "bills", false),
        (Read, "orders", false),
        (Read, "amq.default", false),
    ];
    for (right, name, expected) in cases {
        assert_eq!(rights.allows(right, name), expected, "{right:?} {name}");
    }
    assert!(store.rights("ann", "other").is_none());
    assert!(!rights.may_impersonate());
}

#[test]
fn rights_that_were_handed_out_follow_every_change() {
    let store = with_user("ann");
    store.set_permission("ann", "/", Permission::everything()).unwrap();
    let told = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&told);
    store.on_change(move |generation| seen.store(generation, Ordering::Relaxed));
    let rights = store.rights("ann", "/").unwrap();
    let before = rights.generation();
    assert!(rights.allows(Read, "jobs"));
    store.set_permission("ann", "/", permission(".*", ".*", "^mine")).unwrap();
    assert!(!rights.allows(Read, "jobs") && rights.allows(Write, "jobs"));
    assert!(rights.generation() > before);
    assert_eq!(told.load(Ordering::Relaxed), rights.generation());
    store.set_user("ann", None, Some(Tags::parse("impersonator").unwrap())).unwrap();
    assert!(rights.may_impersonate());
    store.remove_permission("ann", "/").unwrap();
    assert!(!rights.allows(Write, "jobs") && !rights.allows_topic(Write, "amq.topic", "a"));
    store.set_permission("ann", "/", Permission::everything()).unwrap();
    assert!(rights.allows(Read, "jobs"));
    store.remove_user("ann").unwrap();
    assert!(!rights.allows(Read, "jobs") && !rights.may_impersonate());
    assert!(store.rights("ann", "/").is_none(), "a removed user is not one from elsewhere");
    store.set_user("ann", Some(Credential::NoPassword), None).unwrap();
    assert!(!rights.allows(Read, "jobs"), "a new user of the same name starts with nothing");
}

#[test]
fn topic_permissions_restrict_keys_where_they_are_set() {
    let store = with_user("a.b");
    store.set_permission("a.b", "/", Permission::everything()).unwrap();
    let own = TopicPermission::new("^{username}\\.", "^({username}|all)\\.|^{vhost}$").unwrap();
    store.set_topic_permission("a.b", "/", "amq.topic", own).unwrap();
    let by_client = TopicPermission::new("^{client_id}$", "").unwrap();
    store.set_topic_permission("a.b", "/", "devices", by_client).unwrap();
    let rights = store.rights("a.b", "/").unwrap();
    let cases = [
        (Write, "amq.topic", "a.b.x", true),
        (Write, "amq.topic", "axb.x", false),
        (Read, "amq.topic", "all.x", true),
        (Read, "amq.topic", "/", true),
        (Read, "amq.topic", "other.x", false),
        (Write, "elsewhere", "anything", true),
        // Without a client identifier nothing can match.
        (Write, "devices", "", false),
        (Write, "devices", "{client_id}", false),
        (Read, "devices", "x", false),
    ];
    for (right, exchange, key, expected) in cases {
        assert_eq!(rights.allows_topic(right, exchange, key), expected, "{right:?} {exchange} {key}");
    }
    let client = store.rights_of_client("a.b", "/", Some("x+")).unwrap();
    assert!(client.allows_topic(Write, "devices", "x+") && !client.allows_topic(Write, "devices", "xx"));
    store.remove_topic_permission("a.b", "/", Some("devices")).unwrap();
    assert!(rights.allows_topic(Write, "devices", "x") && !rights.allows_topic(Write, "amq.topic", "x"));
    store.remove_topic_permission("a.b", "/", None).unwrap();
    assert!(rights.allows_topic(Write, "amq.topic", "x"));
    assert!(store.remove_topic_permission("a.b", "/", None).is_err());
}

#[test]
fn users_of_the_password_file_have_all_rights_until_some_are_set() {
    let (table, store) = store(&["dev", "admin"]);
    assert!(store.account("guest").is_none());
    let dev = store.rights("dev", "/").unwrap();
    assert!(dev.allows(Configure, "anything"));
    assert!(store.rights("dev", "other").is_none());
    assert!(store.tags("admin").may_administer() && store.tags("dev").is_empty());
    // Tags and limits alone take nothing away.
    store.set_user("dev", None, Some(Tags::parse("monitoring").unwrap())).unwrap();
    store.set_user_limits("dev", UserLimits { max_channels: Some(3), ..UserLimits::default() }).unwrap();
    assert!(dev.allows(Configure, "anything"));
    store.set_permission("dev", "other", Permission::everything()).unwrap();
    assert!(!dev.allows(Read, "x") && store.rights("dev", "/").is_none());
    assert!(store.rights("dev", "other").is_some());
    store.remove_permission("dev", "other").unwrap();
    assert!(store.rights("dev", "/").is_none(), "what was taken away does not come back");
    assert_eq!(
        store.set_user("dev", Some(Credential::Hash("h".into())), None),
        Err(AccessError::InPasswordFile("dev".into()))
    );
    store.set_user("admin", None, Some(Tags::none())).unwrap();
    assert!(!store.tags("admin").may_administer());
    // The rights of a user without an account can be taken away, too.
    store.remove_permission("admin", "/").unwrap();
    assert!(store.rights("admin", "/").is_none());
    let again = AccessStore::open(table, outside(&["dev", "admin"], false));
    assert!(again.rights("dev", "/").is_none() && again.tags("dev").may_monitor());
    assert_eq!(again.user_limits("dev").max_channels, Some(3));
    again.remove_user("dev").unwrap();
    assert!(again.rights("dev", "/").is_some(), "without an account it is as at first");
}

#[test]
fn other_rules_leave_users_of_the_password_file_without_rights_of_their_own() {
    let (_, store) = store(&["dev"]);
    let dev = store.rights("dev", "/").unwrap();
    store.set_user_limits("dev", UserLimits { max_channels: Some(1), ..UserLimits::default() }).unwrap();
    store.set_outside(Outside { restricted: true, ..outside(&["dev", "ann"], false) });
    assert!(
        !dev.allows(Read, "x") && store.rights("dev", "/").is_none() && store.rights("ann", "/").is_none()
    );
    assert!(store.may_enter("dev", "/") && store.may_enter("ann", "/") && !store.may_enter("ann", "v"));
    store.set_permission("dev", "v", Permission::everything()).unwrap();
    assert!(!store.may_enter("dev", "/") && store.may_enter("dev", "v"), "from then on only what is set");
    store.set_permission("dev", "/", permission("", "", "^x")).unwrap();
    assert!(dev.allows(Read, "x") && !dev.allows(Write, "x"));
}

#[test]
fn the_built_in_guest_is_an_administrator_and_stays_removed() {
    let (table, store) = store(&[]);
    let reopen = || AccessStore::open(Arc::clone(&table) as Arc<dyn DefinitionTable>, outside(&[], true));
    assert_eq!(store.account("guest").unwrap().credential, Credential::BuiltIn);
    assert!(store.tags("guest").may_administer() && !store.tags("guest").may_impersonate());
    assert!(store.rights("guest", "/").unwrap().allows(Configure, "x"));
    assert!(table.all(ACCOUNTS).is_empty(), "a server without users keeps nothing");
    store.set_permission("guest", "v", Permission::everything()).unwrap();
    assert!(reopen().rights("guest", "/").is_some() && reopen().rights("guest", "v").is_some());
    store.set_outside(outside(&["ann"], false));
    assert!(store.rights("guest", "/").is_none(), "with a password file there is no guest");
    store.set_outside(outside(&[], true));
    store.remove_user("guest").unwrap();
    for store in [&store, &reopen()] {
        assert!(store.account("guest").is_none() && store.rights("guest", "/").is_none());
        assert!(store.tags("guest").is_empty() && store.accounts().is_empty());
    }
    let store = reopen();
    store.set_user("guest", Some(Credential::Hash("own".into())), None).unwrap();
    assert!(store.rights("guest", "/").is_none());
}

#[test]
fn users_survive_a_restart_and_forget_virtual_hosts_that_are_gone() {
    let (table, store) = store(&[]);
    store.set_user("ann", Some(Credential::Hash("h".into())), Some(Tags::parse("blue").unwrap())).unwrap();
    for vhost in ["/", "v"] {
        store.set_permission("ann", vhost, Permission::everything()).unwrap();
        let topic = TopicPermission::new("a", "b").unwrap();
        store.set_topic_permission("ann", vhost, "amq.topic", topic).unwrap();
    }
    let limits = VhostLimits { max_connections: Some(1), max_queues: Some(2) };
    store.set_vhost_limits("v", limits).unwrap();
    let store = AccessStore::open(Arc::clone(&table) as Arc<dyn DefinitionTable>, outside(&[], true));
    assert_eq!(store.account("ann").unwrap().credential, Credential::Hash("h".into()));
    assert_eq!(store.tags("ann").to_string(), "blue");
    assert!(store.rights("ann", "v").is_some());
    assert_eq!(store.all_vhost_limits(), [("v".into(), limits)]);
    store.forget_vhost("v").unwrap();
    assert!(store.rights("ann", "v").is_none() && store.rights("ann", "/").is_some());
    assert_eq!((store.account("ann").unwrap().topics.len(), store.all_vhost_limits().len()), (1, 0));
}

#[test]
fn what_cannot_be_is_refused() {
    let (_, store) = store(&[]);
    for name in ["", "a:b", "#a", " a", "a ", "a\n", &"x".repeat(256)] {
        let refused = store.set_user(name, None, None);
        assert_eq!(refused, Err(AccessError::BadUserName), "{name:?}");
    }
    let nobody = Err(AccessError::NoSuchUser("bob".into()));
    assert_eq!(store.set_permission("bob", "/", Permission::everything()), nobody);
    assert_eq!(store.set_user_limits("bob", UserLimits::default()), nobody);
    assert_eq!(store.remove_user("bob"), nobody);
    assert!(store.set_user("bob", None, None).unwrap().0);
    assert!(matches!(store.remove_permission("bob", "/"), Err(AccessError::NoSuchPermission { .. })));
}

#[test]
fn an_account_that_cannot_be_read_gives_no_right() {
    let table = Arc::new(MemoryTable::default());
    table.put(ACCOUNTS, "ann", b"\xff");
    table.put(VHOST_LIMITS, "v", b"\xff");
    let store = AccessStore::open(table, outside(&[], true));
    assert!(store.rights("ann", "/").is_none());
    assert_eq!(store.vhost_limits("v").max_connections, Some(0));
}
