//! Virtual hosts, the log below them, and the time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tercet_log::engine::ShardLog;
use tercet_log::group_commit::{Committer, GroupCommit, Settings};
use tercet_log::local::{LocalLog, LocalOptions};
use tercet_log::sim::SimDisk;

use crate::actor::{Actor, AllRights, ConnectionId};
use crate::body::Body;
use crate::clock::Now;
use crate::consumer::{ConsumerOutbox, QueueDelivery};
use crate::effects::Effects;
use crate::event::{Event, EventSink};
use crate::hosts::Hosts;
use crate::journal::{Journal, LogJournal};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::named_queue::{Consumption, NamedQueue};
use crate::outbox::Pushed;
use crate::permission::Permissions;
use crate::record::{NamedQueueRecord, OwnedRecord};
use crate::vhost::Vhost;

pub(in crate::hosts) const PATIENCE: Duration = Duration::from_secs(30);

struct Nobody;

impl EventSink for Nobody {
    fn event(&self, _: Event) {}
}

/// Asks for messages, and never minds.
pub(in crate::hosts) struct Waiter;

impl ConsumerOutbox for Waiter {
    fn deliver(&self, _: &QueueDelivery<'_>, _: &mut Effects) -> Pushed {
        Pushed::Full
    }

    fn cancelled(&self, _: &Consumption, _: &mut Effects) {}

    fn get_again(&self, _: &Arc<NamedQueue>, _: &mut Effects) {}
}

/// See the module documentation.
pub(in crate::hosts) struct World {
    pub(in crate::hosts) disk: SimDisk,
    pub(in crate::hosts) log: Arc<LocalLog>,
    pub(in crate::hosts) journal: Arc<LogJournal>,
    pub(in crate::hosts) hosts: Arc<Hosts>,
    pub(in crate::hosts) now: Now,
    began: Now,
    pub(in crate::hosts) effects: Effects,
    committer: Option<Committer>,
}

/// Small segments, so that there are many.
const SMALLEST: u64 = 8 << 10;

impl World {
    /// What the log on this disk says.
    pub(in crate::hosts) fn open(disk: SimDisk, now: Now) -> Self {
        let options = LocalOptions {
            smallest: SMALLEST,
            largest: 4 * SMALLEST,
            background: false,
            ..LocalOptions::default()
        };
        let log = LocalLog::open(Arc::new(disk.clone()), Path::new("shard-0"), 0, options).expect("opens");
        let log = Arc::new(log);
        let claim = log.claim().expect("claims");
        let commit = GroupCommit::new(Arc::clone(&log) as Arc<dyn ShardLog>, claim, Settings::default());
        let journal = LogJournal::new(Arc::clone(&commit));
        let hosts = Hosts::new(
            Limits::default(),
            Permissions::allow_all(),
            Some(Arc::clone(&journal)),
            Arc::new(Nobody),
            Arc::new(Metrics::default()),
        );
        let hosts = Arc::new(hosts);
        let mut effects = Effects::default();
        let recovered = hosts.recover(now, &mut effects).expect("recovers");
        assert_eq!(recovered.missing, 0, "messages are missing");
        let committer = Some(commit.start(Box::new(|_| {})).expect("starts"));
        Self { disk, log, journal, hosts, now, began: now, effects, committer }
    }

    /// What a new process finds when everything was committed: at a time at which nothing has expired, as with what is not
    /// recorded that which kept others from expiring is gone.
    pub(in crate::hosts) fn restarted(&mut self) -> Self {
        self.settle();
        let mut again = Self::open(self.disk.after_kill(), self.began);
        again.now = self.now;
        again
    }

    /// Everything staged becomes durable, and whoever waits for that goes on.
    pub(in crate::hosts) fn settle(&mut self) {
        let staged = self.journal.staged();
        self.journal.flush();
        assert!(self.journal.group_commit().wait_durable(staged, PATIENCE), "the log goes on");
        self.hosts.after_durable(self.now, &mut self.effects);
        while self.hosts.read_back(&*self.journal, self.now, &mut self.effects) {}
        self.effects.wakes.clear();
    }

    pub(in crate::hosts) fn actor(host: &Vhost) -> Actor {
        Actor {
            user: Arc::from("guest"),
            vhost: Arc::clone(host.name()),
            connection: ConnectionId(1),
            rights: Arc::new(AllRights),
        }
    }

    /// The durable state in words, with messages read back.
    pub(in crate::hosts) fn described(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for host in self.hosts.all() {
            lines.push(format!("{:?} {}", host.id(), host.name()));
            for record in host.durable_records() {
                lines.push(self.line(record));
            }
        }
        lines
    }

    fn line(&self, mut record: OwnedRecord) -> String {
        let OwnedRecord::NamedQueue(_, NamedQueueRecord::Enqueued { entry, .. }) = &mut record else {
            return format!("{record:?}");
        };
        let nowhere = crate::body::Stored::new(Default::default(), 0, 0, false);
        let read;
        let message = match std::mem::replace(&mut entry.body, Body::Log(nowhere)) {
            Body::Memory(message) => message,
            Body::Log(stored) => {
                read = self.journal.read(&stored).expect("can be read back");
                Arc::new(read)
            }
        };
        let payload = String::from_utf8_lossy(&message.payload);
        format!("{record:?} {payload:?} {:?} {:?} {:?}", message.topic, message.exchange, message.properties)
    }

    /// The journal counts exactly what there is.
    pub(in crate::hosts) fn assert_counted(&self, context: &str) {
        let mut shared = BTreeMap::new();
        let mut bytes = 0;
        for host in self.hosts.all() {
            host.for_each_holder(|stored| {
                let first = match stored.shared {
                    true => {
                        let count = shared.entry(stored.place()).or_insert(0);
                        *count += 1;
                        *count == 1
                    }
                    false => true,
                };
                bytes += if first { u64::from(stored.len) } else { 0 };
            });
        }
        assert_eq!(self.journal.shared_holders(), shared, "{context}");
        assert_eq!(self.journal.total_live(), bytes, "{context}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(committer) = self.committer.take() {
            committer.stop_without_commit();
        }
    }
}
