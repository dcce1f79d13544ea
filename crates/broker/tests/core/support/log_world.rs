//! A virtual host above a log on a simulated disk.

use std::path::Path;
use std::sync::Arc;

use tercet_broker::body::Body;
use tercet_broker::clock::Now;
use tercet_broker::journal::LogJournal;
use tercet_broker::limits::Limits;
use tercet_broker::record::{GroupRecord, OwnedRecord, QueueRecord, RetainedRecord, SessionRecord};
use tercet_broker::session::SessionId;
use tercet_broker::vhost::log_recovery::Recovered;
use tercet_log::engine::ShardLog;
use tercet_log::group_commit::{Committer, GroupCommit, Settings};
use tercet_log::local::{LocalLog, LocalOptions};
use tercet_log::sim::SimDisk;

use super::{TestJournal, World};

/// The log below a [`World`], to be asked and to be killed.
pub struct LogWorld {
    pub disk: SimDisk,
    pub log: Arc<LocalLog>,
    pub recovered: Recovered,
    committer: Option<Committer>,
}

/// Small segments, so that there are many.
const SMALLEST: u64 = 8 << 10;

impl LogWorld {
    /// The log on this disk, and the world that it makes.
    pub fn open(disk: SimDisk, now: Now, limits: Limits, at_once: bool) -> (Self, World) {
        Self::open_with(disk, now, limits, at_once, |world, journal| {
            world.vhost.recover_from(journal, now).expect("recovers")
        })
    }

    /// The same, recovered by `recover`.
    pub fn open_with(
        disk: SimDisk,
        now: Now,
        limits: Limits,
        at_once: bool,
        recover: impl FnOnce(&World, &LogJournal) -> Recovered,
    ) -> (Self, World) {
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
        let world = World::at(now, limits, Arc::new(TestJournal::above(Arc::clone(&journal), at_once)));
        let recovered = recover(&world, &journal);
        let committer = commit.start(Box::new(|_| {})).expect("starts");
        (Self { disk, log, recovered, committer: Some(committer) }, world)
    }

    /// The same log as a new process finds it, after everything staged was committed.
    pub fn restarted(&self, world: &World) -> (Self, World) {
        settle_log(world);
        Self::open(self.disk.after_kill(), world.now, world.vhost.limits(), true)
    }
}

impl Drop for LogWorld {
    fn drop(&mut self) {
        if let Some(committer) = self.committer.take() {
            committer.stop_without_commit();
        }
    }
}

/// Everything staged becomes durable.
fn settle_log(world: &World) {
    let commit = world.journal.log().group_commit();
    let staged = commit.staged();
    commit.flush();
    assert!(commit.wait_durable(staged, std::time::Duration::from_secs(30)));
}

/// The durable state in words, as if all connections ended now; messages that are only in the log are read back.
pub fn described_state(world: &World) -> Vec<String> {
    settle_log(world);
    let mut lines = Vec::new();
    let mut online: Option<(SessionId, u32)> = None;
    let now = world.now.utc_ms;
    let end = |online: &mut Option<(SessionId, u32)>, lines: &mut Vec<String>| {
        if let Some((id, expiry)) = online.take() {
            lines.push(format!("{id:?} offline at {now} for {expiry}"));
        }
    };
    for record in world.vhost.durable_records() {
        let online_now = match &record {
            OwnedRecord::Session(_, SessionRecord::Offline { .. }) => {
                online = None;
                None
            }
            OwnedRecord::Session(id, SessionRecord::Opened { expiry, .. }) => Some((*id, *expiry)),
            OwnedRecord::Session(..) => online,
            _ => None,
        };
        if online_now.is_none() || matches!(&record, OwnedRecord::Session(_, SessionRecord::Opened { .. })) {
            end(&mut online, &mut lines);
            online = online_now;
        }
        lines.push(describe(world, &record));
    }
    end(&mut online, &mut lines);
    lines
}

fn describe(world: &World, record: &OwnedRecord) -> String {
    match record {
        OwnedRecord::Session(id, SessionRecord::Queue(QueueRecord::Enqueued { sequence, entry, .. })) => {
            format!(
                "{id:?} has {sequence}: {} {:?} {:?} {}",
                message(world, &entry.body),
                entry.qos,
                entry.ids,
                entry.retain
            )
        }
        OwnedRecord::Group(id, GroupRecord::Queue(QueueRecord::Enqueued { sequence, entry, .. })) => {
            format!("{id:?} has {sequence}: {}", message(world, &entry.body))
        }
        OwnedRecord::Retained(RetainedRecord::Set { topic, body, expires_at_ms }) => {
            format!("retained {topic} until {expires_at_ms:?}: {}", message(world, body))
        }
        OwnedRecord::Session(id, SessionRecord::Offline { at_ms, expiry }) => {
            format!("{id:?} offline at {at_ms} for {expiry}")
        }
        other => format!("{other:?}"),
    }
}

fn message(world: &World, body: &Body) -> String {
    let read;
    let message = match body {
        Body::Memory(message) => message,
        Body::Log(stored) => {
            read = Arc::new(world.journal.log().read(stored).expect("can be read back"));
            &read
        }
    };
    format!(
        "{:?} to {} by {:?} {:?} {:?} {:?} {:?}",
        String::from_utf8_lossy(&message.payload),
        message.topic,
        message.publisher,
        message.author,
        message.qos,
        message.retain,
        message.expires_at_ms
    )
}
