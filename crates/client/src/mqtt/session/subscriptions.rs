//! Subscribing and unsubscribing: asking, taking the answers, and asking again on a new connection.

use std::collections::HashMap;
use std::sync::Arc;

use tercet_mqtt::{PacketId, SubAck, UnsubAck};

use super::{Done, Session, Subscribing, Unsubscribing};
use crate::mqtt::ReasonCode;
use crate::mqtt::command::{Subscribed, SubscriptionKey};
use crate::mqtt::inbox::Sender;
use crate::mqtt::property::Properties;
use crate::mqtt::routing::{Entry, Routing};
use crate::mqtt::subscribe::{Filter, Grant};
use crate::mqtt::wire;
use crate::{Error, Result};

impl Session {
    pub(super) fn subscribe(
        &mut self,
        filters: Vec<Filter>,
        properties: Properties,
        sink: Option<Sender>,
        done: Done<(Subscribed, Vec<Grant>)>,
    ) {
        let key = SubscriptionKey(self.next_key);
        self.next_key = self.next_key % 268_435_455 + 1;
        let own = properties.subscription_identifiers().next();
        let marked = sink.is_some() && self.subscription_ids && self.server.subscription_ids;
        let wire_id = own.or(marked.then_some(key.0));
        let names = filters.iter().map(|filter| filter.filter.clone()).collect();
        let entry = Entry { key, filters, properties, wire_id, sink: sink.map(Arc::new) };
        match self.write_subscribe(&entry) {
            Ok(id) => {
                // Retained messages may come before the SUBACK.
                self.routing.add(entry);
                self.subscribing.insert(id, Subscribing { key, filters: names, done: Some(done) });
            }
            Err(error) => drop(done.send(Err(error))),
        }
    }

    fn write_subscribe(&mut self, entry: &Entry) -> Result<PacketId> {
        let id =
            self.ids.allocate().ok_or_else(|| Error::Invalid("all packet identifiers are in use".into()))?;
        let written = wire::subscribe(
            id,
            &entry.filters,
            &entry.properties,
            entry.wire_id,
            self.version,
            &mut self.out,
        );
        if let Err(error) = written {
            self.ids.release(id);
            return Err(error);
        }
        Ok(id)
    }

    pub(super) fn subscribed(&mut self, suback: &SubAck<'_>) {
        let Some(subscribing) = self.subscribing.remove(&suback.packet_id) else { return };
        self.ids.release(suback.packet_id);
        let grants: Vec<Grant> = subscribing
            .filters
            .into_iter()
            .zip(suback.reason_codes.iter())
            .map(|(filter, reason)| Grant { filter, reason })
            .collect();
        let refused: Vec<String> =
            grants.iter().filter(|grant| grant.reason.is_error()).map(|grant| grant.filter.clone()).collect();
        if !refused.is_empty() {
            tracing::warn!(?refused, "subscription not granted");
            self.routing.forget(Some(subscribing.key), &refused);
        }
        if let Some(done) = subscribing.done {
            let key = (refused.len() < grants.len()).then_some(subscribing.key);
            if done.send(Ok((Subscribed(key), grants))).is_err() {
                self.routing.remove(subscribing.key);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, unsubscribing: Unsubscribing) {
        let Some(id) = self.ids.allocate() else {
            return drop(
                unsubscribing.done.send(Err(Error::Invalid("all packet identifiers are in use".into()))),
            );
        };
        // Another subscription of ours may have the same filter, which the broker knows only once.
        let still_used = |filter: &String| {
            self.routing
                .entries()
                .iter()
                .any(|entry| entry.sink.is_some() && entry.filters.iter().any(|f| f.filter == *filter))
        };
        let gone: Vec<String> = unsubscribing.filters.iter().filter(|f| !still_used(f)).cloned().collect();
        if gone.is_empty() {
            self.ids.release(id);
            return drop(unsubscribing.done.send(Ok(vec![ReasonCode::Success; unsubscribing.filters.len()])));
        }
        match wire::unsubscribe(id, &gone, &unsubscribing.properties, self.version, &mut self.out) {
            Ok(()) => {
                self.unsubscribing.insert(id, Unsubscribing { filters: gone, ..unsubscribing });
            }
            Err(error) => {
                self.ids.release(id);
                drop(unsubscribing.done.send(Err(error)));
            }
        }
    }

    pub(super) fn unsubscribed(&mut self, unsuback: &UnsubAck<'_>) {
        let Some(unsubscribing) = self.unsubscribing.remove(&unsuback.packet_id) else { return };
        self.ids.release(unsuback.packet_id);
        self.routing.forget(None, &unsubscribing.filters);
        let reasons = if unsuback.reason_codes.is_empty() {
            vec![ReasonCode::Success; unsubscribing.filters.len()]
        } else {
            unsuback.reason_codes.iter().collect()
        };
        drop(unsubscribing.done.send(Ok(reasons)));
    }

    /// The session goes on, but answers of the old connection will not come: ask again.
    pub(super) fn repeat_unanswered_subscriptions(&mut self) {
        for (id, subscribing) in std::mem::take(&mut self.subscribing) {
            let entry = self.routing.entries().iter().find(|entry| entry.key == subscribing.key);
            let written = entry.map(|entry| {
                wire::subscribe(
                    id,
                    &entry.filters,
                    &entry.properties,
                    entry.wire_id,
                    self.version,
                    &mut self.out,
                )
            });
            if let Some(Ok(())) = written {
                self.subscribing.insert(id, subscribing);
            } else {
                self.ids.release(id);
            }
        }
        for (id, unsubscribing) in std::mem::take(&mut self.unsubscribing) {
            match wire::unsubscribe(
                id,
                &unsubscribing.filters,
                &unsubscribing.properties,
                self.version,
                &mut self.out,
            ) {
                Ok(()) => drop(self.unsubscribing.insert(id, unsubscribing)),
                Err(error) => drop(unsubscribing.done.send(Err(error))),
            }
        }
    }

    /// The broker forgot the session: all filters anew, answered to those who still wait for an answer.
    pub(super) fn subscribe_again(&mut self) -> usize {
        let mut waiting: HashMap<SubscriptionKey, Subscribing> = HashMap::new();
        for (id, subscribing) in std::mem::take(&mut self.subscribing) {
            self.ids.release(id);
            waiting.insert(subscribing.key, subscribing);
        }
        // There is nothing left to unsubscribe from.
        for (id, unsubscribing) in std::mem::take(&mut self.unsubscribing) {
            self.ids.release(id);
            self.routing.forget(None, &unsubscribing.filters);
            drop(unsubscribing.done.send(Ok(vec![ReasonCode::Success; unsubscribing.filters.len()])));
        }
        let mut again = 0;
        let routing = std::mem::replace(&mut self.routing, Routing::new(None));
        for entry in routing.entries() {
            let done = waiting.remove(&entry.key).and_then(|subscribing| subscribing.done);
            let filters: Vec<String> = entry.filters.iter().map(|filter| filter.filter.clone()).collect();
            again += filters.len();
            match self.write_subscribe(entry) {
                Ok(id) => drop(self.subscribing.insert(id, Subscribing { key: entry.key, filters, done })),
                Err(error) => drop(done.map(|done| done.send(Err(error)))),
            }
        }
        self.routing = routing;
        again
    }
}
