//! Subscribing and unsubscribing, shared subscriptions included.

use std::sync::Arc;

use crate::clock::Now;
use crate::effects::Effects;
use crate::filter::{self, RetainHandling, SubscriptionOptions};
use crate::journal::Position;
use crate::message::Qos;
use crate::permission::{Action, Subject};
use crate::record::SessionRecord;
use crate::route::Subscription;
use crate::session::{Context, Session, SessionState};
use crate::shared_group::SharedGroup;
use crate::topic_tree::TopicTree;
use crate::vhost::connection::Attachment;
use crate::vhost::{Groups, Vhost};

/// A subscription request, already validated by the face.
#[derive(Clone, Copy, Debug)]
pub struct Subscribe<'a> {
    /// The whole filter as the client wrote it; the subscription's name.
    pub filter: &'a str,
    /// Share name, for a shared subscription.
    pub share: Option<&'a str>,
    /// The part of the filter that topics are matched against.
    pub path: &'a str,
    /// Options.
    pub options: SubscriptionOptions,
    /// Whether retained messages are wanted.
    pub retain_handling: RetainHandling,
}

/// Why a subscription was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The client may not subscribe to this filter.
    Denied,
    /// The session has as many subscriptions as it may.
    Quota,
    /// The session belongs to another connection by now.
    Gone,
    /// It would have to be recorded, and the log is full or cannot be written.
    NoRoom,
}

impl Vhost {
    /// Makes or replaces a subscription. Retained messages follow through [`Vhost::resume`].
    pub fn subscribe(
        &self,
        attachment: &Attachment,
        request: &Subscribe<'_>,
        effects: &mut Effects,
    ) -> Result<(Qos, Position), Refused> {
        let session = &attachment.session;
        let subject = Subject { user: attachment.user.as_deref(), client_id: session.client_id() };
        if !self.policy.load().permissions.check(&subject, Action::Subscribe, request.path).is_allowed() {
            effects.counters.denied_subscribe += 1;
            return Err(Refused::Denied);
        }
        let durable = session.may_be_durable();
        let filter: Arc<str> = request.filter.into();
        let made = match request.share {
            Some(share) => self.together_if(durable, || self.join_group(attachment, &filter, share, request)),
            None => self.insert_subscription(attachment, &filter, request),
        };
        effects.counters.refused_by_log += u64::from(made == Err(Refused::NoRoom));
        let position = made?;
        // There may be retained messages to send, or messages that waited for a member.
        let mut state = session.lock();
        if (state.replay.is_some() || request.share.is_some())
            && let Some(outbox) = &mut state.outbox
        {
            outbox.wake(effects);
        }
        Ok((request.options.qos, position))
    }

    fn record_subscription(
        &self,
        attachment: &Attachment,
        filter: &Arc<str>,
        request: &Subscribe<'_>,
    ) -> Result<Position, Refused> {
        let mut state = attachment.session.lock();
        if state.epoch != attachment.epoch || state.ended {
            return Err(Refused::Gone);
        }
        let earlier = state.subscriptions.as_ref().and_then(|all| all.get(filter));
        let existed = earlier.is_some();
        let unchanged = earlier == Some(&request.options);
        let refuses = attachment.session.may_be_durable() && self.log_refuses();
        // Clients repeat their subscriptions when they come back; who does so to empty a queue frees space.
        if refuses && !unchanged {
            return Err(Refused::NoRoom);
        }
        let count = state.subscriptions.as_ref().map_or(0, |all| all.len());
        if !existed && count >= self.policy.load().limits.max_subscriptions {
            return Err(Refused::Quota);
        }
        let wanted = match request.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => !existed,
            RetainHandling::DoNotSend => false,
        };
        let version = self.retained.version();
        // Shared subscriptions get no retained messages (MQTT 5 §4.8.2).
        let replay = wanted && request.share.is_none() && !self.retained.is_empty();
        let options = request.options;
        let position = if unchanged && (refuses || !replay) {
            self.staged(&state)
        } else {
            let record = SessionRecord::Subscribed { filter: Arc::clone(filter), options, replay };
            state.commit(attachment.session.id(), record, self.journal.as_deref()).0
        };
        if replay {
            // What is set from now on comes as it is published.
            state.replay.get_or_insert_default().add(Arc::clone(filter), options, version);
        }
        Ok(position)
    }

    /// Records a subscription and puts it into the topic tree. Both happen under the tree's lock, so that they
    /// agree whatever other connections of the client do meanwhile.
    fn insert_subscription(
        &self,
        attachment: &Attachment,
        filter: &Arc<str>,
        request: &Subscribe<'_>,
    ) -> Result<Position, Refused> {
        let session = &attachment.session;
        let mut tree = self.tree.write();
        // Before the retained messages are looked at: who sets one after that searches again, and finds this.
        self.generations.changed(request.path);
        let position = self.record_subscription(attachment, filter, request)?;
        let subscription = Subscription::Session(Arc::clone(session), request.options);
        tree.insert(filter::levels(request.path), subscription, |other| other.belongs_to(session.id()));
        Ok(position)
    }

    /// Records a shared subscription and makes the session a member, both under the lock of the table of groups.
    fn join_group(
        &self,
        attachment: &Attachment,
        filter: &Arc<str>,
        share: &str,
        request: &Subscribe<'_>,
    ) -> Result<Position, Refused> {
        let session = &attachment.session;
        let mut groups = self.groups.lock();
        let position = self.record_subscription(attachment, filter, request)?;
        let group = self.group(&mut groups, share, request.path);
        let durable = session.lock().is_durable();
        let opened = group.join(session, request.options, durable, self.journal.as_deref());
        let mut state = session.lock();
        if !state.groups.iter().any(|joined| Arc::ptr_eq(joined, &group)) {
            state.groups.push(group);
        }
        Ok(position.max(opened))
    }

    /// The group of a share name and path, made if there is none.
    pub(super) fn group(&self, groups: &mut Groups, share: &str, path: &str) -> Arc<SharedGroup> {
        let key = (Box::from(share), Arc::from(path));
        if let Some(group) = groups.get(&key) {
            return Arc::clone(group);
        }
        let group = Arc::new(SharedGroup::new(self.next_group_id(), share, Arc::clone(&key.1)));
        self.add_group(groups, &group);
        group
    }

    pub(super) fn add_group(&self, groups: &mut Groups, group: &Arc<SharedGroup>) {
        groups.insert((Box::from(group.name()), Arc::clone(group.filter())), Arc::clone(group));
        let subscription = Subscription::Group(Arc::clone(group));
        self.tree.write().insert(filter::levels(group.filter()), subscription, |_| false);
        self.generations.changed(group.filter());
    }

    /// Removes a subscription. False if there was none.
    pub fn unsubscribe(
        &self,
        attachment: &Attachment,
        filter: &str,
        now: Now,
        effects: &mut Effects,
    ) -> (bool, Position) {
        let durable = attachment.session.may_be_durable() && split_share(filter).is_some();
        self.together_if(durable, || self.remove(attachment, filter, now, effects))
    }

    fn remove(
        &self,
        attachment: &Attachment,
        filter: &str,
        now: Now,
        effects: &mut Effects,
    ) -> (bool, Position) {
        let session = &attachment.session;
        let removed = self.with_context(now, effects, |cx| {
            let mut groups = split_share(filter).map(|_| self.groups.lock());
            let mut tree = groups.is_none().then(|| self.tree.write());
            let position = self.record_removal(attachment, filter, cx)?;
            match (&mut groups, &mut tree) {
                (Some(groups), _) => self.leave_group(groups, session, filter),
                (None, Some(tree)) => self.remove_subscription(tree, session, filter),
                (None, None) => {}
            }
            Some(position)
        });
        self.work_off(now, effects);
        removed.map_or((false, Position::NONE), |position| (true, position))
    }

    fn record_removal(
        &self,
        attachment: &Attachment,
        filter: &str,
        cx: &mut Context<'_>,
    ) -> Option<Position> {
        let session = &attachment.session;
        let mut state = session.lock();
        if state.epoch != attachment.epoch {
            return None;
        }
        let (filter, _) = state.subscriptions.as_ref()?.get_key_value(filter)?;
        let filter = Arc::clone(filter);
        let record = SessionRecord::Unsubscribed { filter };
        let (position, _) = state.commit(session.id(), record, cx.journal);
        Some(position)
    }

    /// Takes a subscription of an ended session out of the topic tree, or the session out of the group.
    pub(super) fn forget_subscription(&self, session: &Arc<Session>, filter: &str) {
        match split_share(filter) {
            Some(_) => self.leave_group(&mut self.groups.lock(), session, filter),
            None => self.remove_subscription(&mut self.tree.write(), session, filter),
        }
    }

    fn remove_subscription(&self, tree: &mut TopicTree<Subscription>, session: &Arc<Session>, filter: &str) {
        tree.remove(filter::levels(filter), |found| found.belongs_to(session.id()));
        self.generations.changed(filter);
    }

    /// Takes the session out of a group. What it has been sent is completed, as the subscription's end does not
    /// concern deliveries under way [MQTT-3.10.4-3]; it goes back to the group when the connection ends.
    fn leave_group(&self, groups: &mut Groups, session: &Arc<Session>, filter: &str) {
        let Some((share, path)) = split_share(filter) else { return };
        let key = (Box::<str>::from(share), Arc::<str>::from(path));
        let Some(group) = groups.get(&key).cloned() else { return };
        session.lock().leave(&group);
        if group.leave(session.id(), self.journal.as_deref()) {
            self.drop_group(groups, &group);
        }
    }

    /// Forgets a group that has no member.
    pub(super) fn drop_group(&self, groups: &mut Groups, group: &Arc<SharedGroup>) {
        groups.remove(&(Box::from(group.name()), Arc::clone(group.filter())));
        let mut tree = self.tree.write();
        tree.remove(
            filter::levels(group.filter()),
            |found| matches!(found, Subscription::Group(other) if Arc::ptr_eq(other, group)),
        );
        self.generations.changed(group.filter());
        drop(tree);
        group.discard(self.journal.as_deref());
    }
}

impl SessionState {
    fn leave(&mut self, group: &Arc<SharedGroup>) {
        self.groups.retain(|joined| !Arc::ptr_eq(joined, group));
    }
}

/// Name of the group that legacy `$queue/` subscriptions share.
pub const LEGACY_QUEUE: &str = "$queue";

/// Splits a shared subscription's filter into share name and path.
#[must_use]
pub fn split_share(filter: &str) -> Option<(&str, &str)> {
    if let Some(rest) = filter.strip_prefix("$share/") {
        return rest.split_once('/');
    }
    filter.strip_prefix("$queue/").map(|path| (LEGACY_QUEUE, path))
}
