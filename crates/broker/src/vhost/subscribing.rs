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
use crate::session::{Session, SessionState};
use crate::shared_group::SharedGroup;
use crate::vhost::Vhost;
use crate::vhost::connection::Attachment;

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
        let filter: Arc<str> = request.filter.into();
        let (position, existed) = self.record_subscription(attachment, &filter, request)?;
        match request.share {
            Some(share) => self.join_group(session, share, request, effects),
            None => self.insert_subscription(session, request),
        }
        let wanted = match request.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => !existed,
            RetainHandling::DoNotSend => false,
        };
        // Shared subscriptions get no retained messages (MQTT 5 §4.8.2).
        if wanted && request.share.is_none() && !self.retained.is_empty() {
            let mut state = session.lock();
            let version = self.retained.version();
            state.replay.get_or_insert_default().add(filter, request.options, version);
            if let Some(outbox) = &mut state.outbox {
                outbox.wake(effects);
            }
        }
        Ok((request.options.qos, position))
    }

    fn record_subscription(
        &self,
        attachment: &Attachment,
        filter: &Arc<str>,
        request: &Subscribe<'_>,
    ) -> Result<(Position, bool), Refused> {
        let mut state = attachment.session.lock();
        if state.epoch != attachment.epoch || state.ended {
            return Err(Refused::Gone);
        }
        let existed = state.subscriptions.as_ref().is_some_and(|all| all.contains_key(filter));
        let count = state.subscriptions.as_ref().map_or(0, |all| all.len());
        if !existed && count >= self.policy.load().limits.max_subscriptions {
            return Err(Refused::Quota);
        }
        let record = SessionRecord::Subscribed { filter: Arc::clone(filter), options: request.options };
        let (position, _) = state.commit(attachment.session.id(), record, self.journal.as_deref());
        Ok((position, existed))
    }

    fn insert_subscription(&self, session: &Arc<Session>, request: &Subscribe<'_>) {
        let subscription = Subscription::Session(Arc::clone(session), request.options);
        let mut tree = self.tree.write();
        tree.insert(filter::levels(request.path), subscription, |other| other.belongs_to(session.id()));
        self.generations.changed(request.path);
    }

    fn join_group(
        &self,
        session: &Arc<Session>,
        share: &str,
        request: &Subscribe<'_>,
        effects: &mut Effects,
    ) {
        let group = {
            let mut groups = self.groups.lock();
            let key = (Box::from(share), Arc::from(request.path));
            let group = Arc::clone(groups.entry(key).or_insert_with_key(|(share, path)| {
                let group = Arc::new(SharedGroup::new(self.next_group_id(), share, Arc::clone(path)));
                let subscription = Subscription::Group(Arc::clone(&group));
                self.tree.write().insert(filter::levels(path), subscription, |_| false);
                self.generations.changed(path);
                group
            }));
            group.join(session, request.options);
            group
        };
        let mut state = session.lock();
        if !state.groups.iter().any(|joined| Arc::ptr_eq(joined, &group)) {
            state.groups.push(group);
        }
        if let Some(outbox) = &mut state.outbox {
            outbox.wake(effects);
        }
    }

    /// Removes a subscription. False if there was none.
    pub fn unsubscribe(
        &self,
        attachment: &Attachment,
        filter: &str,
        now: Now,
        effects: &mut Effects,
    ) -> (bool, Position) {
        let session = &attachment.session;
        let removed = self.with_context(now, effects, |cx| {
            let mut state = session.lock();
            if state.epoch != attachment.epoch {
                return None;
            }
            let (filter, _) = state.subscriptions.as_ref()?.get_key_value(filter)?;
            let filter = Arc::clone(filter);
            let record = SessionRecord::Unsubscribed { filter: Arc::clone(&filter) };
            let (position, _) = state.commit(session.id(), record, cx.journal);
            if let Some(replay) = &mut state.replay {
                replay.remove(&filter);
            }
            if filter.starts_with('$') {
                // Entries on loan from the group go back before the member leaves it.
                state.return_loans(session, cx);
            }
            Some((filter, position))
        });
        let Some((filter, position)) = removed else { return (false, Position::NONE) };
        self.forget_subscription(session, &filter);
        self.work_off(now, effects);
        (true, position)
    }

    /// Takes a subscription out of the topic tree, and the session out of the group if it was shared.
    pub(super) fn forget_subscription(&self, session: &Arc<Session>, filter: &str) {
        let Some((share, path)) = split_share(filter) else {
            let mut tree = self.tree.write();
            tree.remove(filter::levels(filter), |found| found.belongs_to(session.id()));
            self.generations.changed(filter);
            return;
        };
        let mut groups = self.groups.lock();
        let key = (Box::<str>::from(share), Arc::<str>::from(path));
        let Some(group) = groups.get(&key).cloned() else { return };
        session.lock().leave(&group);
        if group.leave(session.id()) {
            groups.remove(&key);
            let mut tree = self.tree.write();
            tree.remove(
                filter::levels(path),
                |found| matches!(found, Subscription::Group(other) if Arc::ptr_eq(other, &group)),
            );
            self.generations.changed(path);
        }
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
