//! What all threads of the server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use tercet_broker::vhost::Vhost;

use crate::auth::Authenticator;
use crate::http::health::Health;
use crate::memory::Memory;
use crate::metrics::snapshot::CensusTaker;
use crate::reactor::inbox::Inbox;

/// Shared by reactors, the HTTP listener and housekeeping.
pub struct Shared {
    /// The message core.
    pub vhost: Arc<Vhost>,
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
}

impl Shared {
    /// Connections that all reactors own or are about to.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.reactors.iter().map(|inbox| inbox.connections.load(Relaxed)).sum()
    }
}
