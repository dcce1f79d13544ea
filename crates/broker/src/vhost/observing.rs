//! Publishing, reading and watching for clients that have no session: each request stands for itself.
//!
//! The value of a topic may be only in the log. Then [`Vhost::fetch_values`] lets the reader's thread get it, and it comes
//! back to the reactor that asked ([`Effects::values`]).

use std::sync::Arc;

use crate::body::Body;
use crate::clock::Now;
use crate::effects::Effects;
use crate::filter;
use crate::journal::Position;
use crate::message::{Author, Message, Publication};
use crate::outbox::ConnectionRef;
use crate::permission::{Action, Subject};
use crate::read_back::{Bodies, Fetch, Unreadable};
use crate::retained::{Condition, Replacing};
use crate::route::{RouteCache, Routing, Subscription};
use crate::session::SessionId;
use crate::vhost::Vhost;
use crate::vhost::publishing::{Origin, Published};
use crate::watch::{Change, Watch};

/// Topics looked at for one page.
const SCANNED: usize = 8192;

/// What became of a publication that asks about the value of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedValue {
    /// The value was not what the publisher asked for: nothing has happened.
    Unmet,
    /// It was published, or refused.
    Done {
        /// What became of it. With [`Published::NotRetained`] nobody has got it.
        published: Published,
        /// Whether the topic had a value before that this one replaces or clears. False for what is not retained.
        existed: bool,
    },
}

/// Some retained values, in the order of their topics.
#[derive(Debug, Default)]
pub struct RetainedPage {
    /// Topics with their values. Some may have expired.
    pub values: Vec<(Arc<str>, Body)>,
    /// The last topic looked at: where to go on. `None` when all were seen.
    pub resume_after: Option<Arc<str>>,
}

/// A moment in the history of the retained values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment(u64);

/// Who asks for values, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueTicket {
    /// Index of the reactor that gets them.
    pub reactor: u16,
    /// The reactor's own name for the question.
    pub number: u64,
}

/// A topic with its value, or why that cannot be read.
pub type ReadValue = (Arc<str>, Result<Option<Arc<Message>>, Unreadable>);

/// Values that were asked for.
#[derive(Debug)]
pub struct FetchedValues {
    /// Who asked.
    pub ticket: ValueTicket,
    /// The topics as they were asked for; `None` for one that has no value by now.
    pub values: Vec<ReadValue>,
}

/// A question for the reader's thread.
#[derive(Debug)]
pub(crate) struct ValueRequest {
    ticket: ValueTicket,
    topics: Vec<Arc<str>>,
}

impl ValueRequest {
    /// The answer of a virtual host that is gone.
    pub(crate) fn abandoned(self) -> FetchedValues {
        let values = self.topics.into_iter().map(|topic| (topic, Ok(None))).collect();
        FetchedValues { ticket: self.ticket, values }
    }
}

impl Vhost {
    /// Who publishes in the name of clients without a session ([`Publication::publisher`]).
    #[must_use]
    pub fn publisher(&self) -> SessionId {
        self.sessionless_publisher()
    }

    /// Whether this client may do this with a topic or, for [`Action::Subscribe`], a filter. Nobody may publish to the
    /// broker's own topics.
    #[must_use]
    pub fn may(&self, subject: &Subject<'_>, action: Action, topic: &str) -> bool {
        let own = action == Action::Publish && filter::is_own_topic(topic);
        !own && self.policy.load().permissions.check(subject, action, topic).is_allowed()
    }

    /// Whether this client may be shown a message of its topic: it may receive what is published there, and the author of a
    /// retained value may still publish there.
    #[must_use]
    pub fn may_see(&self, subject: &Subject<'_>, message: &Message) -> bool {
        let policy = self.policy.load();
        let permissions = &policy.permissions;
        permissions.is_unrestricted()
            || permissions.check(subject, Action::Receive, &message.topic).is_allowed()
                && message.author.as_ref().is_none_or(|author| {
                    permissions.check(&author.subject(), Action::Publish, &message.topic).is_allowed()
                })
    }

    /// Publishes for a client without a session. `routes` belongs to this author alone, as it remembers what the author may do.
    ///
    /// With `condition` a retained value is set or cleared only if that holds, and nobody gets the publication otherwise. A
    /// value that is only in the log is shown as such: read it first, and compare where it lies.
    pub fn publish_as<const TOPICS: usize>(
        &self,
        author: &Arc<Author>,
        routes: &mut RouteCache<TOPICS>,
        publication: &Publication<'_>,
        condition: Option<Condition<'_>>,
        now: Now,
        effects: &mut Effects,
    ) -> PublishedValue {
        let published = self.with_context(now, effects, |cx| {
            let Some(cached) = self.look_up(&author.subject(), routes, publication.topic, cx) else {
                return PublishedValue::refused(Published::Denied);
            };
            let Some(route) = &cached.route else {
                cx.effects.counters.denied_publish += 1;
                return PublishedValue::refused(Published::Denied);
            };
            if self.refuses(cached, publication) {
                return PublishedValue::refused(Published::NoRoom);
            }
            let author = publication.retain.then(|| Arc::clone(author));
            let mut routing = Routing::new(publication, &cached.topic, author);
            routing.replacing = publication.retain.then(|| Replacing { condition, ..Replacing::default() });
            let durable = self.records(route, publication) > 1;
            let published = self.together_if(durable, || {
                self.hand_out_routing(cached, route, &mut routing, Origin::Topic, cx)
            });
            let replaced = routing.replacing.unwrap_or_default();
            match replaced.unmet {
                true => PublishedValue::Unmet,
                false => PublishedValue::Done { published, existed: replaced.existed },
            }
        });
        if effects.has_work() {
            self.work_off(now, effects);
        }
        published
    }

    /// The retained value of a topic, unless it has expired. One that is only in the log has to be fetched
    /// ([`Vhost::fetch_values`]). Asks nobody whether the caller may receive it.
    #[must_use]
    pub fn retained_value(&self, topic: &str, now: Now) -> Option<Body> {
        self.retained.unexpired(topic, now)
    }

    /// Up to `most` retained values that match the filter, those of topics behind `after`; looks at a bounded number of topics.
    #[must_use]
    pub fn retained_page(&self, filter: &str, after: Option<&Arc<str>>, most: usize) -> RetainedPage {
        let slice = self.retained.slice(filter, after, u64::MAX, most, SCANNED);
        RetainedPage { values: slice.values, resume_after: slice.resume_after }
    }

    /// Lets the reader's thread get the values of topics. They come as one of [`Effects::values`], there.
    pub fn fetch_values(&self, topics: Vec<Arc<str>>, ticket: ValueTicket) {
        self.fetches.ask(self.id(), std::iter::once(Fetch::Values(ValueRequest { ticket, topics })));
    }

    /// Reads what somebody asked for. Reads the log: not for a thread that serves clients.
    pub(crate) fn read_values(&self, request: ValueRequest, bodies: &dyn Bodies, now: Now) -> FetchedValues {
        let values = request.topics.into_iter().map(|topic| {
            let read = self.read_retained(&topic, bodies);
            if let Err(why) = &read {
                tracing::error!(%topic, %why, "a retained value cannot be read back");
            }
            (topic, read.map(|value| value.filter(|message| !message.is_expired(now))))
        });
        FetchedValues { ticket: request.ticket, values: values.collect() }
    }

    /// Watches a filter: from now on `owner` is woken when topics that match it change. The caller reads the retained values
    /// after this call, and so misses none. Rights are the caller's to ask, at the beginning and for each change.
    #[must_use]
    pub fn watch(&self, filter: &str, owner: ConnectionRef) -> Arc<Watch> {
        let watch = Arc::new(Watch::new(filter.into(), owner));
        let mut tree = self.tree.write();
        tree.insert(filter::levels(filter), Subscription::Watch(Arc::clone(&watch)), |_| false);
        self.generations.changed(filter);
        watch
    }

    /// The moment before which a reader of this topic's value, or of a filter's values, begins to read: what changes later is
    /// told by [`Vhost::catch_up`].
    #[must_use]
    pub fn reading_from(&self) -> Moment {
        Moment(self.retained.version())
    }

    /// Leaves with a fresh watch what has changed between the moment at which its observer began to read and now. `had_value`:
    /// the observer was shown a value. Only the value of a topic can be seen to be cleared, not those of a filter.
    pub fn catch_up(&self, watch: &Watch, since: Moment, had_value: bool, effects: &mut Effects) {
        let version = self.retained.version();
        if version == since.0 {
            return;
        }
        let filter = watch.filter();
        let exact = !filter.contains(['+', '#']);
        // The first topic behind its own name is the topic itself.
        let scan = if exact { 1 } else { SCANNED };
        let changed = self.retained.changed_since(filter, since.0, scan);
        if exact && had_value && self.retained.body(filter).is_none() {
            watch.publish(filter, Change::Cleared, Some(version), effects);
        }
        for (message, version) in changed {
            watch.publish(&message.topic, Change::Value(Arc::clone(&message)), Some(version), effects);
        }
    }

    /// Wakes whoever watches a topic although nothing has changed there.
    pub fn wake_watches(&self, topic: &str, effects: &mut Effects) {
        self.tree.read().for_each_match(topic, |subscription| {
            if let Subscription::Watch(watch) = subscription {
                watch.wake(effects);
            }
        });
    }

    /// What was recorded so far is durable when the log is durable up to here.
    #[must_use]
    pub fn recorded(&self) -> Position {
        self.journal.as_ref().map_or(Position::NONE, |journal| journal.staged())
    }

    /// Ends a watch. A publication that is under way may still reach it.
    pub fn unwatch(&self, watch: &Arc<Watch>) {
        let mut tree = self.tree.write();
        let is_it =
            |found: &Subscription| matches!(found, Subscription::Watch(other) if Arc::ptr_eq(other, watch));
        tree.remove(filter::levels(watch.filter()), is_it);
        self.generations.changed(watch.filter());
    }
}

impl PublishedValue {
    const fn refused(published: Published) -> Self {
        Self::Done { published, existed: false }
    }

    /// The position that the answer has to wait for.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Done {
                published: Published::Routed { position, .. } | Published::NotRetained { position },
                ..
            } => *position,
            _ => Position::NONE,
        }
    }
}
