//! The routes that a channel has used.
//!
//! A route holds as long as nothing has changed that it depends on: the exchanges it leads through, the queue of that name
//! for the default exchange, the subscriptions in the topic space, the rights of whoever publishes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};

use crate::crossing::to_mqtt::MqttForm;
use crate::exchange::generations::{ExchangeGenerations, ExchangeStamp};
use crate::exchange::tables::Exchange;
use crate::named_queue::NamedQueue;
use crate::route::{CachedRoute, Generations};

/// Where messages go that are published to an exchange with a routing key.
#[derive(Debug)]
pub(crate) struct ExchangeRoute {
    /// The exchange.
    pub exchange: Arc<Exchange>,
    /// The routing key.
    pub key: Arc<str>,
    /// Whether the rest has to be found anew for every message.
    pub varies: bool,
    pub reached: Reached,
    pub stamp: ExchangeStamp,
    /// Generation of the rights of whoever publishes.
    pub rights: u64,
}

/// What a message reaches.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// The queues, each once.
    pub queues: Vec<Arc<NamedQueue>>,
    /// How many of them survive a restart.
    pub recorded: usize,
    /// Exchanges on the way that keep a history.
    pub histories: Vec<Arc<Exchange>>,
    /// What it reaches in the topic space besides queues, by topic: one for each routing key that has one.
    pub topics: Vec<Arc<CachedRoute>>,
}

/// What tells routes from each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    exchange: Arc<str>,
    key: Arc<str>,
}

struct KeyRef<'a> {
    exchange: &'a str,
    key: &'a str,
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As the owned key does.
        self.exchange.hash(state);
        self.key.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.exchange == *key.exchange && *self.key == *key.key
    }
}

/// The routes that a channel has used: from exchange and routing key to queues. Empty, and without allocation, until it
/// publishes.
#[derive(Default)]
pub struct ExchangeRoutes {
    last: Option<Arc<ExchangeRoute>>,
    others: Option<Box<HashMap<Key, Arc<ExchangeRoute>>>>,
    /// Scratch for properties that are changed on the way.
    pub(crate) scratch: Vec<u8>,
    /// Scratch for messages that cross to MQTT.
    form: MqttForm,
}

impl fmt::Debug for ExchangeRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.others.as_ref().map_or(0, |others| others.len());
        f.debug_struct("ExchangeRoutes").field("last", &self.last).field("others", &others).finish()
    }
}

/// What the routes of a virtual host depend on.
#[derive(Clone, Copy)]
pub(crate) struct InForce<'a> {
    pub exchanges: &'a ExchangeGenerations,
    pub topics: &'a Generations,
    /// Generation of the rights in the topic space.
    pub permissions: u64,
    /// Generation of the rights of whoever publishes.
    pub rights: u64,
}

impl InForce<'_> {
    #[inline]
    fn holds(&self, route: &ExchangeRoute) -> bool {
        let topic = |topic: &Arc<CachedRoute>| self.topics.is_current(&topic.stamp, self.permissions);
        route.rights == self.rights
            && self.exchanges.is_current(&route.stamp)
            && route.reached.topics.iter().all(topic)
    }
}

impl ExchangeRoutes {
    /// Routes kept per channel; when there are more, some are forgotten.
    const KEPT: usize = 1024;

    /// The route of a routing key, if it is known and holds.
    #[inline]
    pub(crate) fn find(
        &mut self,
        exchange: &str,
        key: &str,
        in_force: InForce<'_>,
    ) -> Option<&Arc<ExchangeRoute>> {
        let is = |route: &Arc<ExchangeRoute>| *route.key == *key && **route.exchange.name() == *exchange;
        if !self.last.as_ref().is_some_and(is) {
            let found = self.others.as_ref()?.get(&KeyRef { exchange, key })?;
            self.last = Some(Arc::clone(found));
        }
        self.last.as_ref().filter(|route| in_force.holds(route))
    }

    /// Keeps a route.
    pub(crate) fn insert(&mut self, route: Arc<ExchangeRoute>) -> &Arc<ExchangeRoute> {
        let key = |route: &ExchangeRoute| Key {
            exchange: Arc::clone(route.exchange.name()),
            key: Arc::clone(&route.key),
        };
        // One that is published to all the time needs no table.
        if let Some(previous) = self.last.take().filter(|previous| key(previous) != key(&route)) {
            let others = self.others.get_or_insert_default();
            if others.len() >= Self::KEPT {
                // Any quarter: whoever goes through more keys than fit, in turn, still finds most of those that do.
                let mut countdown = Self::KEPT / 4;
                others.retain(|_, _| {
                    let goes = countdown > 0;
                    countdown = countdown.saturating_sub(1);
                    !goes
                });
            }
            others.insert(key(&previous), previous);
        }
        if let Some(others) = &mut self.others {
            others.insert(key(&route), Arc::clone(&route));
        }
        self.last.insert(route)
    }

    /// What was found or kept last, with the scratch for messages that cross.
    pub(crate) fn last_with_form(&mut self) -> (Option<&Arc<ExchangeRoute>>, &mut MqttForm) {
        (self.last.as_ref(), &mut self.form)
    }

    /// Scratch for messages that cross to MQTT.
    pub(crate) fn form(&mut self) -> &mut MqttForm {
        &mut self.form
    }

    /// Forgets everything, for somebody else to publish.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::generations::Dependency;
    use crate::exchange::tables::Tables;

    fn route(key: &str, generations: &ExchangeGenerations) -> Arc<ExchangeRoute> {
        let tables = Tables::default();
        let entry = tables.exchanges.get("amq.direct").expect("always there");
        let mut stamp = ExchangeStamp::default();
        generations.note(&mut stamp, Dependency::Exchange("amq.direct"));
        Arc::new(ExchangeRoute {
            exchange: Arc::clone(&entry.exchange),
            key: key.into(),
            varies: false,
            reached: Reached::default(),
            stamp,
            rights: 7,
        })
    }

    #[test]
    fn routes_are_found_until_something_changes_and_their_number_is_bounded() {
        let (exchanges, topics) = (ExchangeGenerations::default(), Generations::default());
        let now = |rights| InForce { exchanges: &exchanges, topics: &topics, permissions: 0, rights };
        let mut routes = ExchangeRoutes::default();
        for name in ["a", "b", "c"] {
            routes.insert(route(name, &exchanges));
        }
        assert!(["a", "b", "c"].iter().all(|name| routes.find("amq.direct", name, now(7)).is_some()));
        for n in 0..2_000 {
            routes.insert(route(&format!("k{n}"), &exchanges));
            assert!(routes.find("amq.direct", &format!("k{n}"), now(7)).is_some());
        }
        assert!(routes.others.as_ref().is_some_and(|others| others.len() <= ExchangeRoutes::KEPT + 2));
        assert!(routes.find("amq.direct", "k1999", now(8)).is_none(), "other rights");
        assert!(routes.find("amq.fanout", "k1999", now(7)).is_none(), "another exchange");
        exchanges.changed(Dependency::Exchange("amq.direct"));
        assert!(routes.find("amq.direct", "k1999", now(7)).is_none(), "another binding");
    }
}
