//! A log that an earlier version wrote, which knew one virtual host and no queues with names: its checkpoint, and what came
//! after that until the process was killed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::event::{Event, EventSink};
use tercet_broker::hosts::Hosts;
use tercet_broker::journal::LogJournal;
use tercet_broker::limits::Limits;
use tercet_broker::metrics::Metrics;
use tercet_broker::permission::Permissions;
use tercet_broker::record::{GroupRecord, OwnedRecord, QueueRecord, RetainedRecord, SessionRecord};
use tercet_log::engine::ShardLog;
use tercet_log::group_commit::{GroupCommit, Settings};
use tercet_log::local::{LocalLog, LocalOptions};
use tercet_log::std_disk::StdDisk;

struct Nobody;

impl EventSink for Nobody {
    fn event(&self, _: Event) {}
}

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/one-virtual-host");

fn open(directory: &Path) -> (Hosts, Arc<LogJournal>) {
    let options = LocalOptions { background: false, ..LocalOptions::default() };
    let log = LocalLog::open(Arc::new(StdDisk::new(directory)), Path::new("shard-0"), 0, options);
    let log = Arc::new(log.expect("opens"));
    let claim = log.claim().expect("claims");
    let journal = LogJournal::new(GroupCommit::new(log, claim, Settings::default()));
    let hosts = Hosts::new(
        Limits::default(),
        Permissions::allow_all(),
        Some(Arc::clone(&journal)),
        Arc::new(Nobody),
        Arc::new(Metrics::default()),
    );
    (hosts, journal)
}

/// What is there, in words, with messages read back.
fn described(hosts: &Hosts, journal: &LogJournal) -> Vec<String> {
    let read = |body: &tercet_broker::body::Body| {
        let message = journal.read(&body.stored().expect("is in the log")).expect("can be read back");
        String::from_utf8_lossy(&message.payload).into_owned()
    };
    let lines = hosts.default_host().durable_records().into_iter().filter_map(|record| match record {
        OwnedRecord::Session(_, SessionRecord::Opened { client_id, .. }) => Some(format!("{client_id}")),
        OwnedRecord::Session(_, SessionRecord::Subscribed { filter, options, .. }) => {
            Some(format!("  {filter} at {}", options.qos as u8))
        }
        OwnedRecord::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { entry, .. }))
        | OwnedRecord::Group(_, GroupRecord::Queue(QueueRecord::Enqueued { entry, .. })) => {
            Some(format!("  {} at {}", read(&entry.body), entry.qos as u8))
        }
        OwnedRecord::Group(_, GroupRecord::Opened { name, filter }) => Some(format!("{name} of {filter}")),
        OwnedRecord::Retained(RetainedRecord::Set { topic, body, .. }) => {
            Some(format!("{topic}: {}", read(&body)))
        }
        OwnedRecord::Session(..) => None,
        other => Some(format!("{other:?}")),
    });
    lines.collect()
}

const STATE: [&str; 19] = [
    "workers of jobs/#",
    "  job 1 at 1",
    "  job 2 at 1",
    "  job 3 at 1",
    "one",
    "  a/# at 2",
    "  first 1 at 1",
    "  first 2 at 1",
    "  first 3 at 1",
    "  kept value at 1",
    "  second 4 at 2",
    "  second 5 at 2",
    "  newer value at 1",
    "two",
    "  $share/workers/jobs/# at 1",
    "three",
    "  c/# at 1",
    "  for three at 1",
    "a/kept: newer value",
];

#[test]
fn the_log_of_an_earlier_version_is_taken_over() {
    let directory = std::env::temp_dir().join(format!("tercet-earlier-{}", std::process::id()));
    let shard = directory.join("shard-0");
    fs::create_dir_all(&shard).expect("is made");
    for name in ["0000000000000040.seg", "checkpoint"] {
        fs::copy(Path::new(DIRECTORY).join(name), shard.join(name)).expect("is copied");
    }
    let expected: Vec<_> = STATE.iter().copied().chain(["b/kept: another"]).map(str::to_owned).collect();
    // The second one finds the checkpoint that the first one wrote.
    for round in 0..2 {
        let (hosts, journal) = open(&directory);
        let found = hosts.recover(Now::read(), &mut Effects::default()).expect("recovers");
        assert_eq!(found.missing, 0);
        assert_eq!(described(&hosts, &journal), expected, "round {round}");
        assert_eq!(hosts.all().len(), 1);
        let committer = journal.group_commit().start(Box::new(|_| {})).expect("starts");
        hosts.create("other").expect("is made").0.definitions().put(1, "key", b"value");
        hosts.checkpoint(&journal, Duration::from_secs(30)).expect("is written");
        hosts.delete("other", Now::read(), &mut Effects::default()).expect("ends");
        hosts.definitions().remove(1, "key");
        committer.finish().expect("commits");
    }
    fs::remove_dir_all(&directory).expect("is removed");
}
