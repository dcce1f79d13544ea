//! What all threads of the server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tercet_broker::hosts::Hosts;
use tercet_broker::vhost::Vhost;

use crate::amqp::AmqpShared;
use crate::auth::Authenticator;
use crate::coap::settings::CoapShared;
use crate::http::health::Health;
use crate::memory::Memory;
use crate::metrics::snapshot::CensusTaker;
use crate::reactor::inbox::Inbox;
use crate::storage::StorageView;

/// Shared by reactors, the HTTP listener and housekeeping.
pub struct Shared {
    /// The message core: its virtual hosts.
    pub hosts: Arc<Hosts>,
    /// Of these the one that is MQTT's.
    pub vhost: Arc<Vhost>,
    /// What AMQP connections share.
    pub amqp: AmqpShared,
    /// What the CoAP sides of the reactors share.
    pub coap: CoapShared,
    /// Who may connect.
    pub authenticator: Authenticator,
    /// The reactors' mailboxes, by index.
    pub reactors: Vec<Arc<Inbox>>,
    /// The memory budget.
    pub memory: Memory,
    /// Each listener's name and how many of its connections are open.
    pub listeners: Vec<(String, Arc<AtomicUsize>)>,
    /// Counts of what sessions hold.
    pub census: CensusTaker,
    /// Interval between updates of the `$SYS` topics; `None` when there are none.
    pub sys_interval: ArcSwap<Option<Duration>>,
    /// Whether the server works and wants clients.
    pub health: Health,
    /// Where durable state lives; `None` when everything is in memory.
    pub storage: Option<StorageView>,
}

impl Shared {
    /// Why the server should get no new clients now; empty when it should.
    #[must_use]
    pub fn reasons_not_ready(&self) -> Vec<String> {
        let phase = self.health.reason_not_ready().map(str::to_owned);
        let storage = self.storage.as_ref().and_then(StorageView::failure);
        phase.into_iter().chain(storage).collect()
    }

    /// Connections that all reactors own or are about to.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.reactors.iter().map(|inbox| inbox.connections.load(Relaxed)).sum()
    }
}
