//! The configured topics of the server, shared by its reactors.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;
use tercet_broker::definitions::{Definitions, key_in, split_key};
use tercet_broker::hosts::DEFAULT_NAME;
use tercet_broker::journal::Position;

use super::properties::{OBSERVER_CHECK, Properties};
use crate::coap::answer::Places;
use crate::coap::resources::topic_path;

/// Class of the definitions of topics. Keys name virtual host and id; values are maps of properties.
const TOPICS: u8 = 19;
/// Topics that can be configured.
pub(in crate::coap::resources) const MOST: usize = 100_000;
/// Nothing expires.
const NEVER: u64 = u64::MAX;

/// A configured topic.
#[derive(Debug)]
pub(in crate::coap::resources) struct Topic {
    /// The last segment of the path of its configuration.
    pub id: Arc<str>,
    /// The topic of the topic space that its data is published to.
    pub data: Arc<str>,
    /// Its properties; those that must be there are.
    pub properties: Properties,
    /// Its observers' places.
    pub places: Arc<Places>,
}

impl Topic {
    /// How often its observers are asked whether they exist, in seconds.
    pub(in crate::coap::resources) fn observer_check(&self) -> u32 {
        self.properties.observer_check.unwrap_or(OBSERVER_CHECK)
    }
}

/// The configured topics.
#[derive(Debug)]
pub(in crate::coap::resources) struct Topics {
    definitions: Arc<Definitions>,
    tables: RwLock<Tables>,
    /// How many there are: where there are none, nobody takes the lock.
    count: AtomicUsize,
    /// When the next one expires, UTC milliseconds.
    next_expiry: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    by_id: BTreeMap<Arc<str>, Arc<Topic>>,
    by_data: HashMap<Arc<str>, Arc<Topic>>,
    by_name: HashMap<Box<str>, Arc<str>>,
    /// When topics expire, UTC milliseconds, with their ids.
    expiring: BTreeSet<(u64, Arc<str>)>,
}

/// Why a topic cannot be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::coap::resources) enum Conflict {
    /// Another one has its name.
    Name,
    /// Another one has its data.
    Data,
    /// There are as many as can be.
    Full,
    /// The topic is gone.
    Gone,
}

impl Topics {
    /// The topics that are defined.
    pub(in crate::coap::resources) fn open(definitions: Arc<Definitions>) -> Self {
        let mut tables = Tables::default();
        for (key, value) in definitions.of_class(TOPICS) {
            let Some((_, id)) = split_key(&key) else { continue };
            match read(id, &value) {
                Some(topic) => tables.insert(Arc::new(topic)),
                None => tracing::error!(id, "the definition of a CoAP topic cannot be read; it is left out"),
            }
        }
        let topics = Self {
            definitions,
            count: AtomicUsize::new(0),
            next_expiry: AtomicU64::new(NEVER),
            tables: RwLock::new(tables),
        };
        topics.note(&topics.tables.read());
        topics
    }

    fn note(&self, tables: &Tables) {
        self.count.store(tables.by_id.len(), Ordering::Release);
        let next = tables.expiring.first().map_or(NEVER, |(at, _)| *at);
        self.next_expiry.store(next, Ordering::Release);
    }

    /// The configuration with this id.
    pub(in crate::coap::resources) fn get(&self, id: &str) -> Option<Arc<Topic>> {
        self.tables.read().by_id.get(id).cloned()
    }

    /// The configuration of a topic of the topic space, if it has one.
    pub(in crate::coap::resources) fn of_data(&self, topic: &str) -> Option<Arc<Topic>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.tables.read().by_data.get(topic).cloned()
    }

    /// Up to `most` configurations behind `after`, by their ids.
    pub(in crate::coap::resources) fn page(&self, after: Option<&str>, most: usize) -> Vec<Arc<Topic>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.tables.read();
        tables
            .by_id
            .range::<str, _>((start, Bound::Unbounded))
            .take(most)
            .map(|(_, topic)| Arc::clone(topic))
            .collect()
    }

    /// Configures a topic. An answer waits for the position.
    ///
    /// # Errors
    /// Its name or data is taken, or there are too many.
    pub(in crate::coap::resources) fn create(
        &self,
        data: Arc<str>,
        properties: Properties,
        id: impl Fn() -> String,
    ) -> Result<(Arc<Topic>, Position), Conflict> {
        let mut tables = self.tables.write();
        if tables.by_id.len() >= MOST {
            return Err(Conflict::Full);
        }
        if tables.by_name.contains_key(properties.name.as_deref().unwrap_or_default()) {
            return Err(Conflict::Name);
        }
        if tables.by_data.contains_key(&data) {
            return Err(Conflict::Data);
        }
        let id: Arc<str> = loop {
            let id = id();
            if !tables.by_id.contains_key(id.as_str()) {
                break id.into();
            }
        };
        let places = Arc::new(Places::new(properties.max_subscribers));
        let topic = Arc::new(Topic { id, data, properties, places });
        let position = self.store(&topic);
        tables.insert(Arc::clone(&topic));
        self.note(&tables);
        Ok((topic, position))
    }

    /// Replaces the properties of a topic by what `change` makes of them; name and data stay as they are. An answer waits for
    /// the position.
    ///
    /// # Errors
    /// The topic is gone meanwhile.
    pub(in crate::coap::resources) fn change(
        &self,
        id: &str,
        change: impl FnOnce(&Properties) -> Properties,
    ) -> Result<(Arc<Topic>, Position), Conflict> {
        let mut tables = self.tables.write();
        let old = tables.by_id.get(id).cloned().ok_or(Conflict::Gone)?;
        let properties = change(&old.properties);
        old.places.set_most(properties.max_subscribers);
        let topic = Arc::new(Topic {
            id: Arc::clone(&old.id),
            data: Arc::clone(&old.data),
            properties,
            places: Arc::clone(&old.places),
        });
        let position = self.store(&topic);
        tables.remove(&old);
        tables.insert(Arc::clone(&topic));
        self.note(&tables);
        Ok((topic, position))
    }

    /// Takes a configuration away. An answer waits for the position. `None` if there is none any more.
    pub(in crate::coap::resources) fn remove(&self, id: &str) -> Option<Position> {
        let mut tables = self.tables.write();
        let topic = tables.by_id.get(id).cloned()?;
        tables.remove(&topic);
        self.note(&tables);
        Some(self.definitions.remove(TOPICS, &key_in(DEFAULT_NAME, id)))
    }

    /// The topics that have expired.
    pub(in crate::coap::resources) fn expired(&self, utc_ms: u64) -> Vec<Arc<Topic>> {
        if self.next_expiry.load(Ordering::Acquire) > utc_ms {
            return Vec::new();
        }
        let tables = self.tables.read();
        let over = tables.expiring.iter().take_while(|(at, _)| *at <= utc_ms);
        over.filter_map(|(_, id)| tables.by_id.get(id).cloned()).collect()
    }

    fn store(&self, topic: &Topic) -> Position {
        self.definitions.put(TOPICS, &key_in(DEFAULT_NAME, &topic.id), &topic.properties.encode())
    }
}

impl Tables {
    fn insert(&mut self, topic: Arc<Topic>) {
        let name = topic.properties.name.as_deref().unwrap_or_default();
        self.by_name.insert(name.into(), Arc::clone(&topic.id));
        self.by_data.insert(Arc::clone(&topic.data), Arc::clone(&topic));
        if let Some(at) = topic.properties.expires_ms {
            self.expiring.insert((at, Arc::clone(&topic.id)));
        }
        self.by_id.insert(Arc::clone(&topic.id), topic);
    }

    fn remove(&mut self, topic: &Topic) {
        self.by_id.remove(&topic.id);
        self.by_data.remove(&topic.data);
        self.by_name.remove(topic.properties.name.as_deref().unwrap_or_default());
        if let Some(at) = topic.properties.expires_ms {
            self.expiring.remove(&(at, Arc::clone(&topic.id)));
        }
    }
}

/// A topic from its definition.
fn read(id: &str, value: &[u8]) -> Option<Topic> {
    let properties = Properties::decode(value).ok()?;
    let data = topic_path::of_reference(properties.data.as_deref()?).ok()?.into();
    let places = Arc::new(Places::new(properties.max_subscribers));
    Some(Topic { id: id.into(), data, properties, places })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(name: &str, expires_ms: Option<u64>) -> Properties {
        let data = Some(format!("/ps/{name}"));
        Properties { name: Some(name.into()), data, expires_ms, ..Properties::default() }
    }

    fn create(topics: &Topics, name: &str, data: &str) -> Result<Arc<Topic>, Conflict> {
        let id = || format!("id-of-{name}");
        topics.create(data.into(), properties(name, None), id).map(|(topic, _)| topic)
    }

    #[test]
    fn topics_are_found_by_id_and_data_and_outlive_the_table() {
        let definitions = Arc::new(Definitions::new(None));
        let topics = Topics::open(Arc::clone(&definitions));
        assert!(topics.of_data("a").is_none());
        let topic = create(&topics, "a", "a").unwrap();
        assert_eq!(create(&topics, "a", "b").unwrap_err(), Conflict::Name);
        assert_eq!(create(&topics, "b", "a").unwrap_err(), Conflict::Data);
        create(&topics, "b", "b").unwrap();
        let again = Topics::open(Arc::clone(&definitions));
        for topics in [&topics, &again] {
            assert_eq!(topics.of_data("a").unwrap().id, topic.id);
            assert_eq!(topics.get(&topic.id).unwrap().properties, topic.properties);
            assert_eq!(topics.page(None, 10).len(), 2);
            assert_eq!(topics.page(Some(&topic.id), 10).len(), 1);
        }
        assert!(topics.remove(&topic.id).is_some());
        assert!(topics.remove(&topic.id).is_none());
        assert!(topics.of_data("a").is_none() && topics.of_data("b").is_some());
        create(&topics, "a", "a").unwrap();
        assert_eq!(Topics::open(definitions).page(None, 10).len(), 2);
    }

    #[test]
    fn a_change_keeps_the_places_of_observers() {
        let topics = Topics::open(Arc::new(Definitions::new(None)));
        let topic = create(&topics, "a", "a").unwrap();
        let change = |old: &Properties| Properties { max_subscribers: Some(3), ..old.clone() };
        let (changed, _) = topics.change(&topic.id, change).unwrap();
        assert!(Arc::ptr_eq(&changed.places, &topic.places));
        assert_eq!(topics.of_data("a").unwrap().properties.max_subscribers, Some(3));
        topics.remove(&topic.id);
        assert_eq!(topics.change(&topic.id, Properties::clone).unwrap_err(), Conflict::Gone);
    }

    #[test]
    fn what_expires_is_named_when_its_time_has_come() {
        let topics = Topics::open(Arc::new(Definitions::new(None)));
        for (name, at) in [("early", 10), ("late", 20)] {
            topics.create(name.into(), properties(name, Some(at)), || name.to_owned()).unwrap();
        }
        assert!(topics.expired(9).is_empty());
        assert_eq!(topics.expired(10).len(), 1);
        assert_eq!(topics.expired(20).len(), 2);
        topics.remove("early");
        assert!(topics.expired(19).is_empty());
        let later = |old: &Properties| Properties { expires_ms: Some(30), ..old.clone() };
        topics.change("late", later).unwrap();
        assert!(topics.expired(29).is_empty());
        assert_eq!(topics.expired(30).len(), 1);
    }
}
