//! Messages that go from exchanges into the topic space, and from the topic space into queues.
//!
//! The exchange `amq.topic` is the topic space. Its bindings lie in the topic tree with the subscriptions, so either side
//! finds both by one search. A binding sees what crosses: not topics that begin with `$`, nor those without a routing
//! key; a subscription sees routing keys that have a topic.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::crossing::address::{TopicMapping, matches_as_written, words};
use crate::crossing::to_mqtt::MqttForm;
use crate::exchange::routable::Routable;
use crate::exchange::route_cache::Reached;
use crate::exchange::search::Search;
use crate::exchange::tables::TOPIC_SPACE;
use crate::exchange::target::Target;
use crate::journal::Position;
use crate::message::Properties;
use crate::named_queue::{Incoming, NamedQueue};
use crate::permission::Permissions;
use crate::route::{CachedRoute, Route, RouteBuilder, Routing, Subscription};
use crate::session::{Context, SessionId};
use crate::vhost::Vhost;
use crate::vhost::publishing::{Origin, Published};

impl Vhost {
    /// Looks for a routing key in the topic space: passes on where bindings lead, and returns what else is there. The route
    /// is `None` if the key has no topic.
    pub(super) fn look_into_space(
        &self,
        key: &str,
        permissions: &Permissions,
        visit: &mut dyn FnMut(&Target),
    ) -> CachedRoute {
        let mapping = self.topology.mapping();
        let levels: SmallVec<[Cow<'_, str>; 16]> = words(key).map(|word| mapping.level(word)).collect();
        let levels: SmallVec<[&str; 16]> = levels.iter().map(|level| &**level).collect();
        let stamp =
            self.generations.stamp(levels.first().copied().unwrap_or_default(), permissions.generation());
        let topic = mapping.to_mqtt(key);
        let mut builder = RouteBuilder::default();
        self.tree.read().for_each_match_of(&levels, false, |found| match found {
            Subscription::Binding(target, pattern) => {
                if is_exact(mapping, pattern, key) {
                    visit(target);
                }
            }
            Subscription::Session(..) | Subscription::Group(_) | Subscription::Watch(_) => {
                if topic.is_some() {
                    builder.add(found);
                }
            }
        });
        let Some(topic) = topic else {
            return CachedRoute { topic: "".into(), route: None, stamp };
        };
        let route = self.permitted(builder, &topic, permissions);
        CachedRoute { topic: topic.into(), route: Some(Arc::new(route)), stamp }
    }

    /// Hands a message that was published to an exchange to the subscribers of its topics. Says whether there are any, and
    /// what has to be waited for.
    pub(super) fn hand_to_subscribers(
        &self,
        reached: &Reached,
        form: &mut MqttForm,
        properties: Properties<'_>,
        payload: &[u8],
        cx: &mut Context<'_>,
    ) -> (bool, Position) {
        if reached.topics.is_empty() {
            return (false, Position::NONE);
        }
        form.translate(properties, payload, self.topology.mapping());
        let (mut matched, mut position) = (false, Position::NONE);
        for cached in &reached.topics {
            let Some(route) = &cached.route else {
                cx.effects.counters.not_crossed += 1;
                continue;
            };
            if route.is_empty() && !form.retain() {
                continue;
            }
            let publication = form.publication(&cached.topic, payload, self.sessionless_publisher());
            let published = self.hand_out(cached, route, &publication, None, Origin::Exchange, cx);
            matched |= !route.is_empty();
            if let Published::Routed { position: at, .. } | Published::NotRetained { position: at } =
                published
            {
                position = position.max(at);
            }
        }
        if matched || form.retain() {
            cx.effects.counters.properties_not_carried += form.not_carried().0;
        }
        (matched, position)
    }

    /// Who publishes to topics what comes from exchanges, or from clients without a session: nobody's session, but not the
    /// broker itself.
    pub(super) fn sessionless_publisher(&self) -> SessionId {
        *self.sessionless_publisher.get_or_init(|| self.next_session_id())
    }

    /// Puts a message that was published to a topic into the queues that bindings of the topic space lead to.
    pub(super) fn hand_to_queues(
        &self,
        route: &Route,
        routing: &Routing<'_>,
        position: &mut Position,
        cx: &mut Context<'_>,
    ) -> bool {
        let further;
        let direct: SmallVec<[&Arc<NamedQueue>; 8]>;
        let queues: &[&Arc<NamedQueue>] = if route.bound.iter().any(|to| matches!(to, Target::Exchange(_))) {
            further = self.follow_from_space(route, routing.topic);
            direct = further.iter().collect();
            &direct
        } else {
            direct = route.bound.iter().filter_map(Target::queue).collect();
            &direct
        };
        let incoming = Incoming::from_topic(routing.publication, routing.topic);
        let several = queues.iter().filter(|queue| queue.is_recorded()).nth(1).is_some();
        let mut incoming = if several || queues.len() > 1 { incoming.for_several(several) } else { incoming };
        for queue in queues {
            *position = queue.enqueue(&mut incoming, cx).position.max(*position);
        }
        !queues.is_empty()
    }

    /// The queues behind exchanges that are bound to the topic space, and those bound directly.
    fn follow_from_space(&self, route: &Route, topic: &str) -> Vec<Arc<NamedQueue>> {
        let key = self.topology.mapping().to_amqp(topic).unwrap_or_default();
        let tables = self.topology.tables.read();
        let search = Search::new(&tables, &self.topology.generations);
        let space = Target::Exchange(TOPIC_SPACE.into());
        let found = search.run([space], &Routable::of_key(&key), |visit| {
            route.bound.iter().for_each(&mut *visit);
            true
        });
        found.queues
    }
}

/// Whether a binding that was found by levels matches the routing key as both were written. Escapes make words equal as
/// levels that are not equal as words, as `%` and `%25`.
fn is_exact(mapping: TopicMapping, pattern: &str, key: &str) -> bool {
    let escaped = mapping == TopicMapping::Exact && (pattern.contains('%') || key.contains('%'));
    !escaped || matches_as_written(pattern, key)
}
