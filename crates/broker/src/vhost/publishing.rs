//! Publishing, acknowledging, and the receiving side of QoS 2.

use std::sync::Arc;

use crate::acknowledgement::{Acknowledgement, Unknown};
use crate::clock::Now;
use crate::effects::Effects;
use crate::filter::is_own_topic;
use crate::journal::Position;
use crate::message::{Author, Publication, Qos, SHARE_ABOVE};
use crate::outbox::Delivery;
use crate::permission::{Action, Permissions, Subject};
use crate::record::{Entry, SessionRecord};
use crate::retained::Changed;
use crate::route::{CachedRoute, Route, RouteBuilder, RouteCache, Routing, SessionTarget, Subscription};
use crate::session::{Context, SessionId, SessionState};
use crate::vhost::Vhost;
use crate::vhost::connection::Attachment;
use crate::watch::Change;

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It was routed; `matched` tells whether anybody is subscribed.
    Routed {
        /// Whether at least one subscription matched.
        matched: bool,
        /// The answer must wait for this position.
        position: Position,
    },
    /// The publisher may not publish there.
    Denied,
    /// It was routed, but the topic's value could not be retained: the store is full.
    NotRetained {
        /// The answer must wait for this position.
        position: Position,
    },
    /// Nothing has happened: it would have to be recorded, and the log is full or cannot be written.
    NoRoom,
}

/// Where a publication comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client or the broker itself published it to its topic: it crosses to queues that are bound there.
    Topic,
    /// It came through exchanges, by which the queues have got it.
    Exchange,
}

/// What became of a QoS 2 publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedOnce {
    /// It was received before, or the session belongs to another connection by now.
    Repeated {
        /// The answer must wait for this position.
        position: Position,
    },
    /// It is new.
    New {
        /// What became of it.
        published: Published,
        /// Whether its identifier is taken until the client releases it.
        taken: bool,
        /// The answer must wait for this position.
        position: Position,
    },
}

impl Vhost {
    /// Routes a client's publication to everybody subscribed and, if asked, retains it.
    pub fn publish(
        &self,
        attachment: &mut Attachment,
        publication: &Publication<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Published {
        let author = publication.retain.then(|| attachment.author());
        let published = self.with_context(now, effects, |cx| {
            let (subject, routes) = attachment.subject_and_routes();
            let Some(cached) = self.look_up(&subject, routes, publication.topic, cx) else {
                return Published::Denied;
            };
            match self.refuses(cached, publication) {
                true => Published::NoRoom,
                false => self.route(cached, publication, author, cx),
            }
        });
        if effects.has_work() {
            self.work_off(now, effects);
        }
        published
    }

    /// Routes a QoS 2 publication unless it was received before, and notes its identifier, all as one. With
    /// `refusal_ends` a publication that is refused leaves its identifier free: the client is told so by an error, which
    /// ends the exchange (MQTT 5 §4.3.3).
    pub fn publish_once(
        &self,
        attachment: &mut Attachment,
        packet_id: u16,
        refusal_ends: bool,
        publication: &Publication<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> PublishedOnce {
        let author = publication.retain.then(|| attachment.author());
        let published = self.with_context(now, effects, |cx| {
            let (subject, routes) = attachment.subject_and_routes();
            self.look_up(&subject, routes, publication.topic, cx);
            let durable = attachment.session.may_be_durable();
            self.together_if(durable, || {
                self.receive_and_route(attachment, packet_id, refusal_ends, publication, author, cx)
            })
        });
        if effects.has_work() {
            self.work_off(now, effects);
        }
        published
    }

    fn receive_and_route(
        &self,
        attachment: &Attachment,
        packet_id: u16,
        refusal_ends: bool,
        publication: &Publication<'_>,
        author: Option<Arc<Author>>,
        cx: &mut Context<'_>,
    ) -> PublishedOnce {
        let refused = |published| PublishedOnce::New { published, taken: false, position: Position::NONE };
        let Some(cached) = attachment.routes.last() else { return refused(Published::Denied) };
        let no_room = self.refuses(cached, publication);
        if no_room || (refusal_ends && cached.route.is_none()) {
            if let Some(position) = self.repeated(attachment, packet_id) {
                return PublishedOnce::Repeated { position };
            }
            if no_room {
                return refused(Published::NoRoom);
            }
            return refused(self.route(cached, publication, author, cx));
        }
        let (fresh, received) = self.receive_once(attachment, packet_id);
        if !fresh {
            return PublishedOnce::Repeated { position: received };
        }
        let published = self.route(cached, publication, author, cx);
        let position = match published {
            Published::Routed { position, .. } | Published::NotRetained { position } => {
                position.max(received)
            }
            Published::Denied | Published::NoRoom => received,
        };
        let taken = !(refusal_ends && matches!(published, Published::NotRetained { .. }));
        if !taken {
            self.complete(attachment, packet_id);
        }
        PublishedOnce::New { published, taken, position }
    }

    /// If this publication was received before: what the repeated answer waits for.
    fn repeated(&self, attachment: &Attachment, packet_id: u16) -> Option<Position> {
        let state = attachment.session.lock();
        let known = state.epoch != attachment.epoch || state.received.binary_search(&packet_id).is_ok();
        known.then(|| self.staged(&state))
    }

    /// Finds the route of a topic, in the publisher's cache or by a search.
    pub(super) fn look_up<'a, const TOPICS: usize>(
        &self,
        subject: &Subject<'_>,
        routes: &'a mut RouteCache<TOPICS>,
        topic: &str,
        cx: &mut Context<'_>,
    ) -> Option<&'a CachedRoute> {
        let generation = cx.permissions.generation();
        if routes.find(topic, &self.generations, generation).is_none() {
            cx.effects.counters.route_misses += 1;
            let found = self.find_route(subject, topic, cx.permissions);
            routes.insert(Arc::new(found));
        }
        routes.last()
    }

    /// Whether a publication has to be refused because it would be recorded and the log takes nothing new.
    pub(super) fn refuses(&self, cached: &CachedRoute, publication: &Publication<'_>) -> bool {
        cached.route.as_ref().is_some_and(|route| self.records(route, publication) > 0) && self.log_refuses()
    }

    /// How many records a publication may lead to. Those of QoS 0 are never waited for.
    pub(super) fn records(&self, route: &Route, publication: &Publication<'_>) -> usize {
        if self.journal.is_none() || publication.qos == Qos::AtMostOnce {
            return 0;
        }
        let groups = route.groups.iter().filter(|group| group.is_durable()).count();
        // Behind a retained value the route may be searched once more, and found to have grown.
        route.durable + groups + 2 * usize::from(publication.retain)
    }

    /// Publishes for somebody without a connection: the broker itself, or a will.
    pub fn publish_for(
        &self,
        author: &Arc<Author>,
        publication: &Publication<'_>,
        now: Now,
        effects: &mut Effects,
    ) -> Published {
        let published = self.with_context(now, effects, |cx| {
            let cached = self.find_route(&author.subject(), publication.topic, cx.permissions);
            self.route(&cached, publication, Some(Arc::clone(author)), cx)
        });
        self.work_off(now, effects);
        published
    }

    /// Publishes a message of the broker itself, such as its statistics; rights to publish do not apply.
    pub fn publish_own(&self, publication: &Publication<'_>, now: Now, effects: &mut Effects) {
        self.with_context(now, effects, |cx| {
            let cached = self.route_to(publication.topic, cx.permissions);
            self.route(&cached, publication, None, cx)
        });
        self.work_off(now, effects);
    }

    fn find_route(&self, subject: &Subject<'_>, topic: &str, permissions: &Permissions) -> CachedRoute {
        if !is_own_topic(topic) && permissions.check(subject, Action::Publish, topic).is_allowed() {
            return self.route_to(topic, permissions);
        }
        let stamp = self.generations.stamp(topic, permissions.generation());
        CachedRoute { topic: topic.into(), route: None, stamp }
    }

    fn route_to(&self, topic: &str, permissions: &Permissions) -> CachedRoute {
        let stamp = self.generations.stamp(topic, permissions.generation());
        let mut builder = RouteBuilder::default();
        let crosses = self.topology.mapping().crosses_to_amqp(topic);
        self.tree.read().for_each_match(topic, |subscription| match subscription {
            Subscription::Binding(..) if !crosses => builder.pass_by(),
            _ => builder.add(subscription),
        });
        let route = self.permitted(builder, topic, permissions);
        CachedRoute { topic: topic.into(), route: Some(Arc::new(route)), stamp }
    }

    /// The route of what was found, without the sessions that may not receive it.
    pub(super) fn permitted(&self, builder: RouteBuilder, topic: &str, permissions: &Permissions) -> Route {
        let mut route = builder.finish();
        if !permissions.is_unrestricted() {
            route.sessions.retain(|target| {
                let user = target.session.lock().user.clone();
                let subject = Subject { user: user.as_deref(), client_id: target.session.client_id() };
                permissions.check(&subject, Action::Receive, topic).is_allowed()
            });
        }
        route.count_durable();
        route
    }

    fn route(
        &self,
        cached: &CachedRoute,
        publication: &Publication<'_>,
        author: Option<Arc<Author>>,
        cx: &mut Context<'_>,
    ) -> Published {
        let Some(route) = &cached.route else {
            cx.effects.counters.denied_publish += 1;
            return Published::Denied;
        };
        let durable = self.records(route, publication) > 1;
        self.together_if(durable, || self.hand_out(cached, route, publication, author, Origin::Topic, cx))
    }

    pub(super) fn hand_out(
        &self,
        cached: &CachedRoute,
        route: &Arc<Route>,
        publication: &Publication<'_>,
        author: Option<Arc<Author>>,
        origin: Origin,
        cx: &mut Context<'_>,
    ) -> Published {
        let mut routing = Routing::new(publication, &cached.topic, author);
        self.hand_out_routing(cached, route, &mut routing, origin, cx)
    }

    /// The same for a publication that may ask about the value it replaces: unless that can be replaced, nothing happens.
    pub(super) fn hand_out_routing(
        &self,
        cached: &CachedRoute,
        route: &Arc<Route>,
        routing: &mut Routing<'_>,
        origin: Origin,
        cx: &mut Context<'_>,
    ) -> Published {
        let publication = routing.publication;
        let mut position = Position::NONE;
        let (mut retained, mut version) = (true, None);
        let mut later = None;
        if publication.retain {
            match self.retain(routing, cx) {
                Some(changed) => {
                    version = Some(changed.version);
                    if publication.qos > Qos::AtMostOnce {
                        position = changed.position;
                    }
                }
                None if routing.replacing.is_some() => return Published::NotRetained { position },
                None => retained = false,
            }
            // Who subscribed after the search, but before the value was set, is shown neither the value nor the
            // publication unless the search is repeated.
            let permissions = cx.permissions.generation();
            if !self.generations.is_current(&cached.stamp, permissions) {
                later = self.route_to(publication.topic, cx.permissions).route;
            }
        }
        let route = later.as_ref().unwrap_or(route);
        routing.fan_out = route.sessions.len() > 1;
        routing.shared |= route.durable > 1 || !route.groups.is_empty();
        if routing.fan_out && publication.payload.len() > SHARE_ABOVE {
            routing.message(cx.now);
        }
        let mut matched = !route.watches.is_empty() && notify(route, routing, version, cx);
        matched |= deliver(route, routing, &mut position, cx);
        if origin == Origin::Topic && !route.bound.is_empty() {
            matched |= self.hand_to_queues(route, routing, &mut position, cx);
        }
        if origin == Origin::Topic && route.uncrossed {
            cx.effects.counters.not_crossed += 1;
        }
        if !matched && origin == Origin::Topic {
            cx.effects.counters.unrouted += 1;
        }
        match retained {
            true => Published::Routed { matched, position },
            false => Published::NotRetained { position },
        }
    }

    /// Sets or clears the topic's retained value; `None` if the store is full, or the publisher's condition does not hold.
    fn retain(&self, routing: &mut Routing<'_>, cx: &mut Context<'_>) -> Option<Changed> {
        // What the broker says of itself does not outlive it.
        let journal = cx.journal.filter(|_| routing.publication.publisher != SessionId::BROKER);
        if routing.publication.payload.is_empty() {
            let (topic, qos) = (routing.topic, routing.publication.qos);
            return self.retained.clear(topic, qos, routing.replacing.as_mut(), cx.now, journal);
        }
        let message = Arc::clone(routing.message(cx.now));
        let set = self.retained.set(message, routing.replacing.as_mut(), cx.now, cx.limits, journal);
        if set.is_err() {
            cx.effects.counters.dropped_retained_full += 1;
        }
        set.ok().flatten()
    }

    /// Applies a client's acknowledgements in the order they came.
    pub fn acknowledge(
        &self,
        attachment: &Attachment,
        acknowledgements: &[Acknowledgement],
        now: Now,
        effects: &mut Effects,
        unknown: impl FnMut(Unknown),
    ) {
        let session = &attachment.session;
        self.with_context(now, effects, |cx| {
            let mut state = session.lock();
            if state.epoch == attachment.epoch {
                state.acknowledge(session, acknowledgements, cx, unknown);
                if state.replay.is_some()
                    && let Some(outbox) = &mut state.outbox
                {
                    outbox.wake(cx.effects);
                }
            }
        });
        self.work_off(now, effects);
    }

    /// Notes a QoS 2 publication of the client. False if it was received before, or if the session belongs to
    /// another connection by now; it must not be routed then.
    pub fn receive_once(&self, attachment: &Attachment, packet_id: u16) -> (bool, Position) {
        let mut state = attachment.session.lock();
        if state.epoch != attachment.epoch || state.received.binary_search(&packet_id).is_ok() {
            return (false, self.staged(&state));
        }
        let record = SessionRecord::Received(packet_id);
        let (position, _) = state.commit(attachment.session.id(), record, self.journal.as_deref());
        (true, position)
    }

    /// The client released a QoS 2 publication (PUBREL). False if the identifier is unknown.
    pub fn complete(&self, attachment: &Attachment, packet_id: u16) -> (bool, Position) {
        let mut state = attachment.session.lock();
        if state.epoch != attachment.epoch || state.received.binary_search(&packet_id).is_err() {
            return (false, self.staged(&state));
        }
        let record = SessionRecord::Completed(packet_id);
        let (position, _) = state.commit(attachment.session.id(), record, self.journal.as_deref());
        (true, position)
    }

    /// What an answer has to wait for that repeats an earlier one: the record of the earlier one may not be
    /// durable yet.
    pub(super) fn staged(&self, state: &SessionState) -> Position {
        let journal = self.journal.as_ref().filter(|_| state.is_durable());
        journal.map_or(Position::NONE, |journal| journal.staged())
    }

    /// Whether a QoS 2 publication with this identifier is not released yet.
    #[must_use]
    pub fn is_unreleased(&self, attachment: &Attachment, packet_id: u16) -> bool {
        attachment.session.lock().received.binary_search(&packet_id).is_ok()
    }

    /// QoS 2 publications of the session that are not released yet, counted against our Receive Maximum when
    /// it resumes.
    #[must_use]
    pub fn unreleased(&self, attachment: &Attachment) -> usize {
        attachment.session.lock().received.len()
    }
}

impl Attachment {
    /// The client as the subject of permission checks, and the routes it has used.
    fn subject_and_routes(&mut self) -> (Subject<'_>, &mut RouteCache) {
        let subject = Subject { user: self.user.as_deref(), client_id: self.session.client_id() };
        (subject, &mut self.routes)
    }

    /// The client as author of what it publishes.
    fn author(&mut self) -> Arc<Author> {
        let author = self.author.get_or_insert_with(|| {
            let client_id = Arc::clone(self.session.client_id());
            Arc::new(Author { user: self.user.clone(), client_id })
        });
        Arc::clone(author)
    }
}

/// Leaves the publication with those who watch: before anybody else gets it, so that it is copied once for all of them.
fn notify(route: &Route, routing: &mut Routing<'_>, version: Option<u64>, cx: &mut Context<'_>) -> bool {
    let cleared = routing.publication.retain && routing.publication.payload.is_empty();
    for watch in &route.watches {
        let change = match cleared {
            true => Change::Cleared,
            false => Change::Value(Arc::clone(routing.message(cx.now))),
        };
        watch.publish(routing.topic, change, version, cx.effects);
    }
    true
}

fn deliver(route: &Route, routing: &mut Routing<'_>, position: &mut Position, cx: &mut Context<'_>) -> bool {
    if routing.fan_out {
        cx.effects.forms.clear();
    }
    let mut matched = false;
    let alone = !routing.fan_out && route.groups.is_empty();
    for target in &route.sessions {
        matched |= deliver_to(target, routing, alone, position, cx);
    }
    for group in &route.groups {
        let (taken, at) = group.publish(routing, cx);
        matched |= taken;
        *position = at.max(*position);
    }
    matched
}

fn deliver_to(
    target: &SessionTarget,
    routing: &mut Routing<'_>,
    alone: bool,
    position: &mut Position,
    cx: &mut Context<'_>,
) -> bool {
    let publication = routing.publication;
    let session = &target.session;
    let merged = if session.id() == publication.publisher {
        match &target.own {
            Some(own) => own,
            None => return false,
        }
    } else {
        &target.merged
    };
    let qos = publication.qos.min(merged.qos);
    let retain = merged.retain_as_published && publication.retain;
    if qos == Qos::AtMostOnce && !cx.limits.queue_qos0 {
        let delivery = Delivery { retain, subscription_ids: merged.ids.as_slice(), ..routing.delivery() };
        session.lock().deliver_now(&delivery, cx.effects);
        return true;
    }
    let message = if alone { routing.take_message(cx.now) } else { Arc::clone(routing.message(cx.now)) };
    let entry = Entry { body: message.into(), ids: merged.ids.clone(), loan: None, qos, retain };
    let mut state = session.lock();
    let queue_is_empty = state.outbox.is_some() && state.queue.ready() == 0 && !state.resuming;
    if qos == Qos::AtMostOnce && (queue_is_empty || !state.is_durable()) {
        let delivery = Delivery { retain, subscription_ids: merged.ids.as_slice(), ..routing.delivery() };
        state.deliver_now(&delivery, cx.effects);
        return true;
    }
    *position = state.enqueue(session, entry, cx).max(*position);
    true
}
