//! Counters: plain numbers while a batch runs, added to shared atomics once per batch.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Counts of one batch.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)+ }

        /// Totals since start, shared by all reactors.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[$doc])* pub $name: AtomicU64,)+ }

        impl Metrics {
            /// Adds a batch's counts and resets them.
            pub fn add(&self, counters: &mut Counters) {
                $(if counters.$name != 0 { self.$name.fetch_add(counters.$name, Relaxed); })+
                *counters = Counters::default();
            }

            /// A copy of all totals.
            #[must_use]
            pub fn totals(&self) -> Counters {
                Counters { $($name: self.$name.load(Relaxed),)+ }
            }
        }

        impl Counters {
            /// Every counter with its name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// Bytes read from clients.
    bytes_received,
    /// Bytes written to clients.
    bytes_sent,
    /// Control packets received.
    packets_received,
    /// PUBLISH packets received.
    publish_received,
    /// Payload bytes of PUBLISH packets received.
    publish_bytes_received,
    /// Messages handed to clients.
    publish_sent,
    /// Payload bytes handed to clients.
    publish_bytes_sent,
    /// Control packets sent, PUBLISH aside.
    answers_sent,
    /// Publications that matched no subscription.
    unrouted,
    /// QoS 0 deliveries dropped because the client did not read.
    dropped_outbox_full,
    /// Deliveries dropped because a queue was full.
    dropped_queue_full,
    /// Deliveries dropped because the client cannot take a packet of that size.
    dropped_too_large,
    /// Messages that expired before delivery.
    dropped_expired,
    /// Deliveries withheld because the right to receive was revoked.
    dropped_denied,
    /// Messages dropped because they could not be read back from the log.
    dropped_unreadable,
    /// Retained values refused because the store is full.
    dropped_retained_full,
    /// Subscriptions refused because the client has as many as it may.
    refused_subscriptions,
    /// Clients refused because there are as many sessions as there may be.
    refused_sessions,
    /// Publications, subscriptions and new sessions refused because the log is full or cannot be written.
    refused_by_log,
    /// Batches after which a client had to wait because it exceeded its rate.
    throttled,
    /// Publications refused for lack of permission.
    denied_publish,
    /// Subscriptions refused for lack of permission.
    denied_subscribe,
    /// Connections accepted at socket level.
    sockets_accepted,
    /// Sockets refused because a limit was reached.
    sockets_refused,
    /// Sessions connected.
    connects,
    /// Connections that ended.
    disconnects,
    /// CONNECTs refused.
    connects_refused,
    /// Sessions taken over by another connection.
    takeovers,
    /// Wills published.
    wills,
    /// Sessions that expired.
    sessions_expired,
    /// Connections closed for a malformed packet or protocol error.
    protocol_errors,
    /// Connections closed by the keep-alive timer.
    keep_alive_timeouts,
    /// Messages that have no form in another protocol, for nobody is known there by such an address.
    not_crossed,
    /// Messages that an exchange dropped because it had let the same one through before.
    duplicates,
    /// Properties that could not be carried to another protocol.
    properties_not_carried,
    /// Route cache misses.
    route_misses,
}
