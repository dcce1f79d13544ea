//! What the accounts may do in the topic space: the permissions on `amq.topic`, asked by a protocol that has topics.
//!
//! A user who may not write to `amq.topic` over AMQP may not publish over MQTT either; the rights would be worth nothing
//! otherwise. Users who may do everything there are not listed, so that asking about them costs one look.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::DEFAULT_VHOST;
use super::account::Account;
use super::pattern::Placeholders;
use super::permission::{CompiledTopics, Permission, TopicPermission};
use super::state::{Found, State};
use crate::actor::Right;
use crate::crossing::address::TopicMapping;
use crate::permission::{Action, Subject};

/// The exchange that is the topic space.
const TOPIC_SPACE: &str = "amq.topic";
/// Users and clients whose patterns are kept compiled; beyond them all are compiled anew.
const KEPT: usize = 16_384;

type UserAndClient = (Box<str>, Box<str>);

/// The restricted users, at one moment.
pub struct TopicRights {
    users: HashMap<Box<str>, UserTopics>,
    mapping: TopicMapping,
    compiled: Mutex<HashMap<UserAndClient, Arc<CompiledTopics>>>,
}

struct UserTopics {
    write: bool,
    read: bool,
    topics: Option<TopicPermission>,
}

impl TopicRights {
    /// The rights of those who do not have all of them; `None` if there is nobody like that.
    pub(super) fn of(state: &State, mapping: TopicMapping) -> Option<Arc<Self>> {
        let mut users: HashMap<_, _> = HashMap::new();
        for name in state.names() {
            if let Found::Account(account) = state.find(name)
                && let Some(restricted) = UserTopics::of(&account)
            {
                users.insert(Box::from(name), restricted);
            }
        }
        for name in state.gone() {
            users.insert(Box::from(name), UserTopics { write: false, read: false, topics: None });
        }
        (!users.is_empty()).then(|| Arc::new(Self { users, mapping, compiled: Mutex::default() }))
    }

    /// Whether the accounts let the subject do this with a topic, or a topic filter if it subscribes.
    #[must_use]
    pub fn allows(&self, subject: &Subject<'_>, action: Action, topic: &str) -> bool {
        let Some(name) = subject.user else { return true };
        let Some(user) = self.users.get(name) else { return true };
        let (right, given) = match action {
            Action::Publish => (Right::Write, user.write),
            Action::Receive | Action::Subscribe => (Right::Read, user.read),
        };
        let Some(topics) = user.topics.as_ref().filter(|_| given) else { return given };
        let key = match action {
            Action::Subscribe => Some(self.binding_key(topic)),
            Action::Publish | Action::Receive => self.mapping.to_amqp(topic),
        };
        // What has no key is not among the keys that are allowed.
        key.is_some_and(|key| self.compiled(name, subject.client_id, topics).allows(right, &key))
    }

    /// The key that a binding would have in the place of a topic filter.
    fn binding_key(&self, filter: &str) -> String {
        let mut key = String::with_capacity(filter.len());
        for (index, level) in filter.split('/').enumerate() {
            if index > 0 {
                key.push('.');
            }
            match level {
                "+" => key.push('*'),
                "#" => key.push('#'),
                level => key.push_str(&self.mapping.word(level)),
            }
        }
        key
    }

    fn compiled(&self, user: &str, client_id: &str, topics: &TopicPermission) -> Arc<CompiledTopics> {
        let id = (Box::from(user), Box::from(client_id));
        if let Some(known) = self.compiled.lock().get(&id) {
            return Arc::clone(known);
        }
        let values = Placeholders { username: user, vhost: DEFAULT_VHOST, client_id: Some(client_id) };
        let fresh = Arc::new(topics.compile(&values));
        let mut compiled = self.compiled.lock();
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        compiled.insert(id, Arc::clone(&fresh));
        fresh
    }
}

impl UserTopics {
    /// `None` for a user who may do everything in the topic space.
    fn of(account: &Account) -> Option<Self> {
        let all = Permission::everything();
        let permission = match account.has_default_rights() {
            true => Some(&all),
            false => account.permissions.get(DEFAULT_VHOST),
        };
        let allows = |right| permission.is_some_and(|permission| permission.allows(right, TOPIC_SPACE));
        let (write, read) = (allows(Right::Write), allows(Right::Read));
        let topics = account.topics.get(&(Box::from(DEFAULT_VHOST), Box::from(TOPIC_SPACE))).cloned();
        (!write || !read || topics.is_some()).then_some(Self { write, read, topics })
    }
}

impl fmt::Debug for TopicRights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicRights").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AccessStore, Credential, MemoryTable, Outside};

    fn store() -> AccessStore {
        let store = AccessStore::open(Arc::new(MemoryTable::default()), Outside::default());
        store.set_user("ann", Some(Credential::Hash("h".into())), None).unwrap();
        store
    }

    fn asks(rights: &Option<Arc<TopicRights>>, user: &str, action: Action, topic: &str) -> bool {
        let subject = Subject { user: Some(user), client_id: "c+1" };
        rights.as_ref().is_none_or(|rights| rights.allows(&subject, action, topic))
    }

    #[test]
    fn permissions_on_the_topic_exchange_hold_for_topics() {
        use Action::{Publish, Receive, Subscribe};
        let store = store();
        let rights = store.topic_rights(TopicMapping::Exact);
        for action in [Publish, Receive, Subscribe] {
            assert!(!asks(&rights, "ann", action, "a"), "without a permission there is no right");
            assert!(asks(&rights, "file-user", action, "a"));
        }
        let anonymous = Subject { user: None, client_id: "" };
        assert!(rights.unwrap().allows(&anonymous, Publish, "a"));

        store.set_permission("ann", "/", Permission::new("", "^amq\\.topic$", "queues").unwrap()).unwrap();
        let rights = store.topic_rights(TopicMapping::Exact);
        assert!(asks(&rights, "ann", Publish, "a") && !asks(&rights, "ann", Subscribe, "a"));
        store.set_permission("ann", "/", Permission::everything()).unwrap();
        assert!(store.topic_rights(TopicMapping::Exact).is_none(), "nobody is restricted any more");
        store.remove_user("ann").unwrap();
        assert!(
            !asks(&store.topic_rights(TopicMapping::Exact), "ann", Receive, "a"),
            "a removed user has no right"
        );
    }

    #[test]
    fn topic_permissions_are_asked_with_the_key_of_the_topic() {
        use Action::{Publish, Receive, Subscribe};
        let store = store();
        store.set_permission("ann", "/", Permission::everything()).unwrap();
        let topics = TopicPermission::new("^{username}\\.v1%2E0\\.", "^(all|{client_id})\\.").unwrap();
        store.set_topic_permission("ann", "/", "amq.topic", topics).unwrap();
        let rights = store.topic_rights(TopicMapping::Exact);
        let cases = [
            (Publish, "ann/v1.0/x", true),
            (Publish, "ann/v1x0/x", false),
            (Publish, "bob/v1.0/x", false),
            (Publish, "$SYS/x", false),
            (Receive, "all/x", true),
            (Receive, "c+1/x", false),
            (Subscribe, "all/+/x", true),
            (Subscribe, "all/#", true),
            (Subscribe, "#", false),
            (Subscribe, "+/x", false),
        ];
        for (action, topic, expected) in cases {
            assert_eq!(asks(&rights, "ann", action, topic), expected, "{action:?} {topic}");
        }
    }
}
