//! A watch: the latest value of each topic that a filter matches, until somebody takes it.
//!
//! It is the target of a route that coalesces: observers want the state, not each step that led to it (RFC 7641 §1.3). One
//! watch serves all observers of a filter in one reactor. A publication leaves its message there and wakes the reactor once;
//! the reactor takes what has changed since ([`Watch::take`]).
//!
//! # Invariants
//! - Its owner is in [`Effects::wakes`] at most once until it takes the changes.
//! - A retained value never follows a newer one of the same topic, whatever the threads of two publishers do.
//! - No more than [`TOPICS`] topics wait; the changes of others are lost, and [`Taken::overflowed`] tells so.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::effects::Effects;
use crate::message::Message;
use crate::outbox::ConnectionRef;

/// Changed topics that one watch keeps.
pub const TOPICS: usize = 1024;
/// Topics whose last version is remembered after their change was taken.
const REMEMBERED: usize = 64;

/// What has become of a topic.
#[derive(Clone, Debug)]
pub enum Change {
    /// Its latest publication, retained or not.
    Value(Arc<Message>),
    /// Its retained value was cleared.
    Cleared,
}

/// What was told besides the changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Topics whose change was handed over.
    pub topics: usize,
    /// More topics had changed than a watch keeps: some changes are not known.
    pub overflowed: bool,
    /// Number of changes since the watch began, those included that were replaced by others. Grows by each.
    pub version: u64,
}

/// A filter that is watched for one reactor. See the module documentation.
#[derive(Debug)]
pub struct Watch {
    filter: Arc<str>,
    owner: ConnectionRef,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The owner was woken and has not been here since.
    woken: bool,
    overflowed: bool,
    version: u64,
    /// The topic that changed last, without a table: a filter without wildcards has no other.
    only: Option<(Arc<str>, Latest)>,
    others: Option<Box<Others>>,
}

/// The changes of a filter that matches many topics.
#[derive(Debug, Default)]
struct Others {
    topics: HashMap<Arc<str>, Latest>,
    /// Topics that have changed, in the order in which they did first.
    changed: Vec<Arc<str>>,
}

/// What is known of a topic.
#[derive(Debug, Default)]
struct Latest {
    change: Option<Change>,
    /// Version of the retained value that was seen last.
    version: u64,
}

impl Latest {
    /// Puts a change in, unless a newer value is there already. Says whether it did.
    fn replace(&mut self, change: Change, version: Option<u64>) -> bool {
        match version {
            Some(version) if version < self.version => return false,
            Some(version) => self.version = version,
            None => {}
        }
        self.change = Some(change);
        true
    }
}

impl Watch {
    pub(crate) fn new(filter: Arc<str>, owner: ConnectionRef) -> Self {
        let others = filter.contains(['+', '#']).then(Box::default);
        Self { filter, owner, state: Mutex::new(State { others, ..State::default() }) }
    }

    /// The filter.
    #[must_use]
    pub fn filter(&self) -> &Arc<str> {
        &self.filter
    }

    /// Whom it wakes.
    #[must_use]
    pub fn owner(&self) -> ConnectionRef {
        self.owner
    }

    /// Number of changes since it began.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.state.lock().version
    }

    /// A topic has changed. `version` is that of its retained value, if that is what has changed.
    pub(crate) fn publish(
        &self,
        topic: &Arc<str>,
        change: Change,
        version: Option<u64>,
        effects: &mut Effects,
    ) {
        let mut state = self.state.lock();
        if state.put(topic, change, version) && !std::mem::replace(&mut state.woken, true) {
            effects.wakes.push(self.owner);
        }
    }

    /// Wakes the owner, unless that is woken already.
    pub(crate) fn wake(&self, effects: &mut Effects) {
        if !std::mem::replace(&mut self.state.lock().woken, true) {
            effects.wakes.push(self.owner);
        }
    }

    /// Hands over what has changed since the last call: of each topic the latest. To be called by the owner whenever it is
    /// woken. The changes are out of the watch's lock by then.
    pub fn take(&self, mut each: impl FnMut(&Arc<str>, Change)) -> Taken {
        let mut taken = Taken::default();
        let (only, others) = {
            let mut state = self.state.lock();
            state.woken = false;
            taken.overflowed = std::mem::take(&mut state.overflowed);
            taken.version = state.version;
            let only = state
                .only
                .as_mut()
                .and_then(|(topic, latest)| latest.change.take().map(|change| (Arc::clone(topic), change)));
            (only, state.others.as_mut().map(|others| others.take()).unwrap_or_default())
        };
        for (topic, change) in only.into_iter().chain(others) {
            taken.topics += 1;
            each(&topic, change);
        }
        taken
    }
}

impl State {
    fn put(&mut self, topic: &Arc<str>, change: Change, version: Option<u64>) -> bool {
        let put = match &mut self.others {
            Some(others) => match others.put(topic, change, version) {
                Some(put) => put,
                None => {
                    self.overflowed = true;
                    true
                }
            },
            None => {
                let (_, latest) = self.only.get_or_insert_with(|| (Arc::clone(topic), Latest::default()));
                latest.replace(change, version)
            }
        };
        self.version += u64::from(put);
        put
    }
}

impl Others {
    /// `None` if there is no room for the topic.
    fn put(&mut self, topic: &Arc<str>, change: Change, version: Option<u64>) -> Option<bool> {
        if !self.topics.contains_key(topic) {
            if self.changed.len() >= TOPICS {
                return None;
            }
            self.topics.insert(Arc::clone(topic), Latest::default());
        }
        let latest = self.topics.get_mut(topic)?;
        let fresh = latest.change.is_none();
        let put = latest.replace(change, version);
        if put && fresh {
            self.changed.push(Arc::clone(topic));
        }
        Some(put)
    }

    fn take(&mut self) -> Vec<(Arc<str>, Change)> {
        let changed = std::mem::take(&mut self.changed);
        let topics = &mut self.topics;
        let taken = changed.into_iter().filter_map(|topic| {
            let change = topics.get_mut(&topic)?.change.take()?;
            Some((topic, change))
        });
        let taken = taken.collect();
        if self.topics.len() > REMEMBERED {
            self.topics = HashMap::new();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::message::{Properties, Publication, Qos};
    use crate::session::SessionId;

    const OWNER: ConnectionRef = ConnectionRef::watch(3, 7);

    fn message(topic: &Arc<str>, payload: &str) -> Change {
        let publication = Publication {
            topic,
            payload: payload.as_bytes(),
            properties: Properties::NONE,
            qos: Qos::AtMostOnce,
            retain: false,
            expiry: None,
            publisher: SessionId(1),
        };
        Change::Value(Arc::new(Message::from_publication(&publication, Arc::clone(topic), Now::read())))
    }

    fn taken(watch: &Watch) -> (Vec<(String, Option<String>)>, Taken) {
        let mut all = Vec::new();
        let told = watch.take(|topic, change| {
            let text = match change {
                Change::Value(message) => Some(String::from_utf8_lossy(&message.payload).into_owned()),
                Change::Cleared => None,
            };
            all.push((topic.to_string(), text));
        });
        (all, told)
    }

    #[test]
    fn an_owner_is_woken_once_and_takes_the_latest_value() {
        let (watch, mut effects) = (Watch::new("a/b".into(), OWNER), Effects::default());
        let topic: Arc<str> = "a/b".into();
        for payload in ["1", "2", "3"] {
            watch.publish(&topic, message(&topic, payload), None, &mut effects);
        }
        assert_eq!(effects.wakes, [OWNER]);
        assert_eq!(OWNER.as_watch(), Some(7));
        let (changes, told) = taken(&watch);
        assert_eq!(changes, [("a/b".to_owned(), Some("3".to_owned()))]);
        assert_eq!(told, Taken { topics: 1, overflowed: false, version: 3 });
        assert_eq!(taken(&watch).0, []);
        watch.publish(&topic, Change::Cleared, Some(9), &mut effects);
        assert_eq!(effects.wakes, [OWNER, OWNER]);
        assert_eq!(taken(&watch).0, [("a/b".to_owned(), None)]);
    }

    #[test]
    fn an_older_retained_value_does_not_follow_a_newer_one() {
        let topic: Arc<str> = "a".into();
        for filter in ["a", "#"] {
            let (watch, mut effects) = (Watch::new(filter.into(), OWNER), Effects::default());
            watch.publish(&topic, message(&topic, "new"), Some(5), &mut effects);
            watch.publish(&topic, message(&topic, "old"), Some(4), &mut effects);
            assert_eq!(taken(&watch).0, [("a".to_owned(), Some("new".to_owned()))], "{filter}");
            watch.publish(&topic, Change::Cleared, Some(4), &mut effects);
            assert_eq!((taken(&watch).0, effects.wakes.len()), (vec![], 1), "{filter}");
            // What is not retained has no version.
            watch.publish(&topic, message(&topic, "event"), None, &mut effects);
            assert_eq!(taken(&watch).0, [("a".to_owned(), Some("event".to_owned()))], "{filter}");
        }
    }

    #[test]
    fn a_wildcard_keeps_a_bounded_number_of_topics_in_their_order() {
        let (watch, mut effects) = (Watch::new("+".into(), OWNER), Effects::default());
        for number in 0..TOPICS + 10 {
            let topic: Arc<str> = number.to_string().into();
            watch.publish(&topic, message(&topic, "x"), Some(number as u64), &mut effects);
        }
        let first: Arc<str> = "0".into();
        watch.publish(&first, message(&first, "y"), Some(5000), &mut effects);
        assert_eq!(effects.wakes.len(), 1);
        let (changes, told) = taken(&watch);
        assert_eq!((told.topics, told.overflowed), (TOPICS, true));
        assert_eq!(changes.first(), Some(&("0".to_owned(), Some("y".to_owned()))));
        assert_eq!(changes.last().map(|(topic, _)| topic.as_str()), Some("1023"));
        assert!(watch.state.lock().others.as_ref().is_some_and(|others| others.topics.is_empty()));
        assert!(!taken(&watch).1.overflowed);
    }
}
