//! From a topic to its targets, and the cache that spares most publications the search.
//!
//! A publisher keeps the routes of the topics it uses. A route is valid as long as the generation of its
//! topic's first level, that of filters beginning with a wildcard, and that of the permissions stand; so a
//! reconnect storm in one part of the topic space does not invalidate the rest.
//!
//! Bindings of the exchange `amq.topic` lie in the same tree, so that a publication to a topic reaches queues by the
//! same search. They do not see topics that begin with `$`, nor others that have no routing key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;

use crate::clock::Now;
use crate::exchange::search::Seen;
use crate::exchange::target::{Target, TargetKey};
use crate::filter::{SubscriptionIds, SubscriptionOptions};
use crate::message::{Author, Message, Publication, Qos};
use crate::outbox::Delivery;
use crate::retained::Replacing;
use crate::session::{Session, SessionId};
use crate::shared_group::SharedGroup;
use crate::watch::Watch;

/// Where routing ends.
#[derive(Clone, Debug)]
pub(crate) enum Subscription {
    /// A session's own subscription.
    Session(Arc<Session>, SubscriptionOptions),
    /// A shared subscription.
    Group(Arc<SharedGroup>),
    /// A binding of the exchange that is the topic space, with its key as it was written.
    Binding(Target, Arc<str>),
    /// Somebody wants to know the latest value.
    Watch(Arc<Watch>),
}

impl Subscription {
    /// Whether it is this binding.
    pub(crate) fn is_binding(&self, target: &Target, key: &str) -> bool {
        matches!(self, Self::Binding(bound, with) if bound.is(target) && &**with == key)
    }
}

/// All matching subscriptions of one session, merged: delivered once with the highest QoS and every
/// subscription identifier [MQTT-3.3.4-2], [MQTT-3.3.4-4].
#[derive(Clone, Debug)]
pub(crate) struct SessionTarget {
    pub session: Arc<Session>,
    /// What others' publications get; `None` if nothing matches for them.
    pub merged: Merged,
    /// What the session's own publications get: without No Local subscriptions [MQTT-3.8.3-3].
    pub own: Option<Merged>,
}

#[derive(Clone, Debug)]
pub(crate) struct Merged {
    pub qos: Qos,
    pub retain_as_published: bool,
    pub ids: SubscriptionIds,
}

impl Merged {
    fn of(options: &SubscriptionOptions) -> Self {
        Self {
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            ids: SubscriptionIds::None.with(options.id),
        }
    }

    fn add(&mut self, options: &SubscriptionOptions) {
        self.qos = self.qos.max(options.qos);
        self.retain_as_published |= options.retain_as_published;
        self.ids = std::mem::take(&mut self.ids).with(options.id);
    }
}

/// The targets of a topic.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub sessions: Vec<SessionTarget>,
    pub groups: Vec<Arc<SharedGroup>>,
    /// Where bindings lead, each target once.
    pub bound: Vec<Target>,
    pub watches: Vec<Arc<Watch>>,
    /// Whether bindings match that do not see the topic, as it has no routing key.
    pub uncrossed: bool,
    /// How many of the sessions and queues may record what they get.
    pub durable: usize,
}

impl Route {
    /// Counts the sessions and queues that may record what they get. What lies behind an exchange is not known: it
    /// counts as several.
    pub(crate) fn count_durable(&mut self) {
        let durable =
            |target: &&SessionTarget| target.merged.qos > Qos::AtMostOnce && target.session.may_be_durable();
        let bound = self.bound.iter().map(|target| match target {
            Target::Queue(queue) => usize::from(queue.is_recorded()),
            Target::Exchange(_) => 2,
        });
        self.durable = self.sessions.iter().filter(durable).count() + bound.sum::<usize>();
    }

    /// Whether nobody gets anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.groups.is_empty() && self.bound.is_empty() && self.watches.is_empty()
    }
}

/// Collects matching subscriptions into a route.
#[derive(Default)]
pub(crate) struct RouteBuilder {
    route: Route,
    index: HashMap<SessionId, usize>,
    bound: Seen<TargetKey>,
}

impl RouteBuilder {
    /// Sessions up to which a linear search for overlapping subscriptions is cheaper than a table.
    const LINEAR: usize = 8;

    pub(crate) fn add(&mut self, subscription: &Subscription) {
        match subscription {
            Subscription::Group(group) => self.route.groups.push(Arc::clone(group)),
            Subscription::Session(session, options) => self.add_session(session, options),
            Subscription::Watch(watch) => self.route.watches.push(Arc::clone(watch)),
            Subscription::Binding(target, _) => {
                if self.bound.insert(target.key()) {
                    self.route.bound.push(target.clone());
                }
            }
        }
    }

    /// Notes that a binding matches to which the topic does not cross.
    pub(crate) fn pass_by(&mut self) {
        self.route.uncrossed = true;
    }

    fn add_session(&mut self, session: &Arc<Session>, options: &SubscriptionOptions) {
        match self.position(session.id()).and_then(|index| self.route.sessions.get_mut(index)) {
            Some(target) => {
                target.merged.add(options);
                match (&mut target.own, options.no_local) {
                    (_, true) => {}
                    (Some(own), false) => own.add(options),
                    (own @ None, false) => *own = Some(Merged::of(options)),
                }
            }
            None => {
                if self.route.sessions.len() >= Self::LINEAR {
                    self.index.insert(session.id(), self.route.sessions.len());
                }
                self.route.sessions.push(SessionTarget {
                    session: Arc::clone(session),
                    merged: Merged::of(options),
                    own: (!options.no_local).then(|| Merged::of(options)),
                });
            }
        }
    }

    fn position(&self, id: SessionId) -> Option<usize> {
        let linear = self.route.sessions.iter().take(Self::LINEAR);
        linear.enumerate().find(|(_, target)| target.session.id() == id).map(|(index, _)| index).or_else(
            || {
                if self.route.sessions.len() > Self::LINEAR { self.index.get(&id).copied() } else { None }
            },
        )
    }

    pub(crate) fn finish(self) -> Route {
        self.route
    }
}

/// Counts changes of subscriptions per first level.
pub(crate) struct Generations {
    by_first_level: [AtomicU64; 256],
    wildcard_first: AtomicU64,
}

impl Default for Generations {
    fn default() -> Self {
        Self { by_first_level: std::array::from_fn(|_| AtomicU64::new(0)), wildcard_first: AtomicU64::new(0) }
    }
}

/// The generations a route was made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    slot: u8,
    first: u64,
    wildcard: u64,
    permissions: u64,
}

impl Generations {
    /// The stamp for a topic. Read it before searching the tree.
    pub(crate) fn stamp(&self, topic: &str, permissions: u64) -> Stamp {
        let slot = first_level_slot(topic);
        Stamp {
            slot,
            first: self.by_first_level[usize::from(slot)].load(Ordering::Acquire),
            wildcard: self.wildcard_first.load(Ordering::Acquire),
            permissions,
        }
    }

    pub(crate) fn is_current(&self, stamp: &Stamp, permissions: u64) -> bool {
        stamp.first == self.by_first_level[usize::from(stamp.slot)].load(Ordering::Acquire)
            && stamp.wildcard == self.wildcard_first.load(Ordering::Acquire)
            && stamp.permissions == permissions
    }

    /// Notes that a subscription to `filter` came or went. Call it while the tree is locked for the change, or
    /// after it.
    pub(crate) fn changed(&self, filter: &str) {
        match filter.starts_with(['+', '#']) {
            true => self.changed_below(None),
            false => self.changed_below(Some(filter)),
        }
    }

    /// The same for a subscription of which the first level is known, or is a wildcard.
    pub(crate) fn changed_below(&self, first_level: Option<&str>) {
        let count = match first_level {
            Some(level) => &self.by_first_level[usize::from(first_level_slot(level))],
            None => &self.wildcard_first,
        };
        count.fetch_add(1, Ordering::Release);
    }
}

/// FNV-1a over the first level, folded to eight bits.
fn first_level_slot(address: &str) -> u8 {
    let first = address.bytes().take_while(|byte| *byte != b'/');
    let hash = first.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 8) ^ (hash >> 16) ^ (hash >> 24)) as u8
}

/// A topic with its route, as a publisher keeps it.
#[derive(Debug)]
pub(crate) struct CachedRoute {
    pub topic: Arc<str>,
    /// `None` if the publisher may not publish there.
    pub route: Option<Arc<Route>>,
    pub stamp: Stamp,
}

/// The routes a publisher has used. Empty, and without allocation, until it publishes.
///
/// Holds up to `TOPICS` topics; when there are more, it starts over.
#[derive(Default)]
pub struct RouteCache<const TOPICS: usize = 256> {
    last: Option<Arc<CachedRoute>>,
    others: Option<Box<HashMap<Arc<str>, Arc<CachedRoute>>>>,
}

impl<const TOPICS: usize> RouteCache<TOPICS> {
    /// The current route of a topic, if it is known.
    pub(crate) fn find(
        &mut self,
        topic: &str,
        generations: &Generations,
        permissions: u64,
    ) -> Option<&Arc<CachedRoute>> {
        let hit = self.last.as_ref().is_some_and(|last| &*last.topic == topic);
        if !hit {
            let found = self.others.as_ref()?.get(topic)?;
            self.last = Some(Arc::clone(found));
        }
        self.last.as_ref().filter(|cached| generations.is_current(&cached.stamp, permissions))
    }

    /// The route that was found or kept last.
    pub(crate) fn last(&self) -> Option<&CachedRoute> {
        self.last.as_deref()
    }

    /// Keeps a route.
    pub(crate) fn insert(&mut self, cached: Arc<CachedRoute>) {
        let previous = self.last.replace(Arc::clone(&cached));
        if let Some(previous) = previous.filter(|previous| previous.topic != cached.topic) {
            let others = self.others.get_or_insert_default();
            if others.len() >= TOPICS {
                others.clear();
            }
            others.insert(Arc::clone(&previous.topic), previous);
            others.insert(Arc::clone(&cached.topic), cached);
        } else if let Some(others) = &mut self.others {
            others.insert(Arc::clone(&cached.topic), cached);
        }
    }
}

/// A publication on its way through its targets; becomes an owned message once, and only if one is needed.
pub(crate) struct Routing<'a> {
    pub publication: &'a Publication<'a>,
    pub topic: &'a Arc<str>,
    pub fan_out: bool,
    /// Whether several queues or retained values may come to hold the message.
    pub shared: bool,
    /// What the publisher asks about the retained value that it replaces.
    pub replacing: Option<Replacing<'a>>,
    author: Option<Arc<Author>>,
    message: Option<Arc<Message>>,
}

impl<'a> Routing<'a> {
    pub(crate) fn new(
        publication: &'a Publication<'a>,
        topic: &'a Arc<str>,
        author: Option<Arc<Author>>,
    ) -> Self {
        let shared = publication.retain;
        Self { publication, topic, fan_out: false, shared, replacing: None, author, message: None }
    }

    /// The message, copied out of the read buffer the first time.
    pub(crate) fn message(&mut self, now: Now) -> &Arc<Message> {
        let message = match self.message.take() {
            Some(message) => message,
            None => self.build(now),
        };
        self.message.insert(message)
    }

    /// The message for the last one who gets it: handed over instead of shared.
    pub(crate) fn take_message(&mut self, now: Now) -> Arc<Message> {
        match self.message.take() {
            Some(message) => message,
            None => self.build(now),
        }
    }

    fn build(&mut self, now: Now) -> Arc<Message> {
        let message = Message::from_publication(self.publication, Arc::clone(self.topic), now);
        Arc::new(Message { author: self.author.take(), shared: self.shared, ..message })
    }

    /// The publication as an at-most-once delivery.
    pub(crate) fn delivery(&self) -> Delivery<'_> {
        Delivery {
            topic: self.publication.topic,
            payload: self.publication.payload,
            message: self.message.as_ref(),
            properties: self.publication.properties,
            qos: Qos::AtMostOnce,
            retain: false,
            dup: false,
            packet_id: 0,
            subscription_ids: &[],
            expiry: self.publication.expiry,
            fan_out: self.fan_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_elsewhere_does_not_invalidate_a_route() {
        let generations = Generations::default();
        let stamp = generations.stamp("plant/line/1", 1);
        generations.changed("office/#");
        assert!(generations.is_current(&stamp, 1));
        assert!(!generations.is_current(&stamp, 2));
        generations.changed("plant/+/1");
        assert!(!generations.is_current(&stamp, 1));
        let stamp = generations.stamp("plant/line/1", 1);
        generations.changed("+/line/1");
        assert!(!generations.is_current(&stamp, 1));
    }

    #[test]
    fn the_cache_holds_a_bounded_number_of_topics() {
        let generations = Generations::default();
        let mut cache: RouteCache<256> = RouteCache::default();
        for number in 0..2_000 {
            let topic: Arc<str> = format!("t/{number}").into();
            let stamp = generations.stamp(&topic, 0);
            cache.insert(Arc::new(CachedRoute { topic, route: None, stamp }));
            assert!(cache.find(&format!("t/{number}"), &generations, 0).is_some());
        }
        assert!(cache.others.is_some_and(|others| others.len() <= 256 + 2));
    }
}
