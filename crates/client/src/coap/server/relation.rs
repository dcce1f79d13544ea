//! One observer of one resource (RFC 7641 §4): a task that sends the newest state, and waits until it arrived.
//!
//! At most one confirmable notification is under way; while it is, newer states take its place, so that nothing queues
//! up for a slow observer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tercet_coap::oscore::Exchange;
use tercet_coap::{Number, Token};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::super::message::Message;
use super::super::oscore::Oscore;
use super::service::{Resource, Service};

/// Of so many notifications one is confirmable, the first among them.
const CONFIRM_EVERY: u32 = 10;
/// And at least one in this time (RFC 7641 §4.5).
const CONFIRM_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// A relation that has not begun yet.
pub(super) struct Relation {
    service: Arc<Service>,
    resource: Resource,
    changes: watch::Receiver<u64>,
    token: Token,
    /// Given back with the relation.
    _place: Place,
    /// Notifications are protected with these (RFC 8613).
    security: Option<(Oscore, Exchange)>,
}

/// One of the observers that a server takes; given back when dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way to the observer.
pub(super) trait Notifier: Send + 'static {
    /// Whether one that is under way can be replaced. Otherwise a newer state waits.
    const REPLACES: bool;

    /// Sends a notification, or puts it in the place of the confirmable one that is under way. What is returned resolves
    /// when it arrived, where that is told, and to `false` when the observer is gone.
    fn notify(&mut self, message: Message, confirmable: bool) -> oneshot::Receiver<bool>;

    /// Puts a newer notification in the place of the one under way.
    fn replace(&mut self, message: Message);
}

impl Relation {
    pub(super) fn new(
        service: Arc<Service>,
        resource: Resource,
        changes: watch::Receiver<u64>,
        token: Token,
        place: Place,
    ) -> Self {
        Self { service, resource, changes, token, _place: place, security: None }
    }

    /// The same, with protected notifications.
    pub(super) fn protected(self, oscore: Oscore, exchange: Exchange) -> Self {
        Self { security: Some((oscore, exchange)), ..self }
    }

    /// A place for one more observer, if there are fewer than `limit`.
    pub(super) fn place(observers: &Arc<AtomicUsize>, limit: usize) -> Option<Place> {
        let take = |count: usize| (count < limit).then_some(count + 1);
        observers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Place(observers.clone()))
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Notifies until the observer is gone, the resource is, or the task is aborted.
    pub(super) async fn run<N: Notifier>(mut self, mut notifier: N) {
        let mut count = 0;
        let mut confirmed = Instant::now();
        while self.changes.changed().await.is_ok() {
            let Some((message, last)) = self.represent().await else { return };
            let confirmable = last || count % CONFIRM_EVERY == 0 || confirmed.elapsed() > CONFIRM_WITHIN;
            count += 1;
            let mut arrived = notifier.notify(message, confirmable);
            let mut ended = last;
            let there = loop {
                tokio::select! {
                    there = &mut arrived => break there.unwrap_or(false),
                    changed = self.changes.changed(), if N::REPLACES && !ended => {
                        if changed.is_err() {
                            ended = true;
                            continue;
                        }
                        let Some((message, last)) = self.represent().await else { return };
                        ended = last;
                        notifier.replace(message);
                    }
                }
            };
            if ended || !there {
                return;
            }
            if confirmable {
                confirmed = Instant::now();
            }
        }
    }

    /// The state of the resource as a notification, and whether it is the last: one that is an error ends the relation and
    /// has no Observe (RFC 7641 §4.2). `None` when it cannot be protected.
    async fn represent(&mut self) -> Option<(Message, bool)> {
        let mut message = self.resource.represent(&self.service).await;
        let last = !message.code.is_success();
        if !last {
            message.options.set_uint(Number::OBSERVE, self.service.next_number());
        }
        if let Some((oscore, exchange)) = &mut self.security {
            message = oscore.protect_response(exchange, &message).ok()?;
        }
        Some((message, last))
    }
}
