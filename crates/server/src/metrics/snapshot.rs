//! All values at about one moment.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tercet_broker::census::Census;
use tercet_broker::metrics::Counters;
use tercet_broker::vhost::Vhost;

use super::process::Process;
use crate::coap::counters::Counted;
use crate::shared::Shared;
use crate::storage::{LogState, StorageView};

/// All values at about one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Totals of the core since the start.
    pub totals: Counters,
    /// What sessions and shared subscriptions hold.
    pub census: Census,
    /// Subscriptions; a shared one counts once, however many members it has.
    pub subscriptions: usize,
    /// Retained messages, those of the broker included.
    pub retained: usize,
    /// Bytes of the retained messages, topics included.
    pub retained_bytes: usize,
    /// Bytes of memory that retained messages take up that could also be read back from the log.
    pub retained_memory: usize,
    /// Each reactor, in order.
    pub reactors: Vec<Reactor>,
    /// Open connections of each listener, by its name.
    pub listeners: Vec<(String, usize)>,
    /// Open AMQP connections, and the channels open on them.
    pub amqp: (usize, usize),
    /// What CoAP clients have done.
    pub coap: Counted,
    /// Bytes that the process may fill before publishers are slowed down.
    pub memory_budget: u64,
    /// Whether they are.
    pub memory_short: bool,
    /// The log; `None` when everything is in memory.
    pub log: Option<LogState>,
    /// Time since the start.
    pub uptime: Duration,
    /// What the operating system says.
    pub process: Process,
}

/// One reactor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reactor {
    /// Connections that it owns.
    pub connections: usize,
    /// Share of time spent working, from 0 to 1.
    pub load: f64,
}

impl Snapshot {
    /// Looks everything up.
    #[must_use]
    pub fn take(shared: &Shared) -> Self {
        let vhost = &shared.vhost;
        let reactors = shared.reactors.iter().map(|inbox| Reactor {
            connections: inbox.connections.load(Relaxed),
            load: f64::from(inbox.load.load(Relaxed)) / 1000.0,
        });
        let listeners = shared.listeners.iter().map(|(name, open)| (name.clone(), open.load(Relaxed)));
        Self {
            totals: vhost.metrics().totals(),
            census: shared.census.take(vhost),
            subscriptions: vhost.subscriptions(),
            retained: vhost.retained().len(),
            retained_bytes: vhost.retained().bytes(),
            retained_memory: vhost.retained().memory(),
            reactors: reactors.collect(),
            listeners: listeners.collect(),
            amqp: shared.amqp.connections.totals(),
            coap: shared.coap.counts.look(),
            memory_budget: shared.memory.budget(),
            memory_short: shared.memory.is_short(),
            log: shared.storage.as_ref().map(StorageView::state),
            uptime: shared.health.uptime(),
            process: Process::read(),
        }
    }
}

/// Takes censuses, but never spends more than a twentieth of the time on them: with very many sessions an answer
/// may be some seconds old.
#[derive(Debug, Default)]
pub struct CensusTaker {
    last: Mutex<Option<(Instant, Census)>>,
}

/// For how many times its cost a census is good.
const REST: u32 = 20;

impl CensusTaker {
    /// The census, a new one if the last one has had its time.
    pub fn take(&self, vhost: &Vhost) -> Census {
        let mut last = self.last.lock();
        let begin = Instant::now();
        if let Some((until, census)) = *last
            && begin < until
        {
            return census;
        }
        let census = vhost.census();
        let end = Instant::now();
        *last = Some((end + (end - begin) * REST, census));
        census
    }
}
