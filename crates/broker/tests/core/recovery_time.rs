//! How long a long queue takes to come back. Ignored, as it is about time: run it with
//! `cargo test --release -p tercet-broker --test core recovery_time -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tercet_broker::clock::Now;
use tercet_broker::journal::{Journal, LogJournal};
use tercet_broker::limits::Limits;
use tercet_broker::vhost::connection::Ending;
use tercet_log::engine::ShardLog;
use tercet_log::group_commit::{GroupCommit, Settings};
use tercet_log::local::{DataDirectory, Durability, LocalOptions};

use crate::support::{ConnectOptions, TestJournal, World};

const MESSAGES: usize = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn open(directory: &DataDirectory) -> (World, Arc<LogJournal>, Arc<GroupCommit>) {
    let options = LocalOptions { durability: Durability::Os, ..LocalOptions::default() };
    let log = Arc::new(directory.open_shard(0, options).expect("opens")) as Arc<dyn ShardLog>;
    let claim = log.claim().expect("claims");
    let commit = GroupCommit::new(log, claim, Settings::default());
    let journal = LogJournal::new(Arc::clone(&commit));
    let limits =
        Limits { max_queued_messages: usize::MAX, max_queued_bytes: usize::MAX, ..Limits::default() };
    let world = World::at(Now::read(), limits, Arc::new(TestJournal::above(Arc::clone(&journal), false)));
    (world, journal, commit)
}

#[test]
#[ignore = "it is about time and takes a while"]
fn a_million_queued_messages() {
    let bytes: usize = std::env::var("PAYLOAD").map_or(100, |text| text.parse().expect("a number of bytes"));
    let path = std::env::temp_dir().join(format!("tercet-recovery-{}", std::process::id()));
    let directory = DataDirectory::open(&path).expect("opens");
    {
        let (mut world, journal, commit) = open(&directory);
        let committer = commit.start(Box::new(|_| {})).expect("starts");
        let reader = world.connect(ConnectOptions::durable("reader"));
        world.subscribe(&reader, "t", 1);
        world.disconnect(reader, Ending::Normal);
        let mut writer = world.connect(ConnectOptions::clean("writer"));
        let payload = "x".repeat(bytes);
        let start = Instant::now();
        for number in 0..MESSAGES {
            world.publish(&mut writer, "t", &payload, 1);
            if number % 100 == 0 {
                journal.flush();
            }
            while number % 1000 == 0 && commit.statistics().unconfirmed > 8 << 20 {
                std::thread::yield_now();
            }
        }
        println!("{MESSAGES} of {bytes} B queued in {:?}", start.elapsed());
        committer.finish().expect("commits");
    }
    let recover = |what: &str| {
        let (world, journal, commit) = open(&directory);
        let start = Instant::now();
        let recovered = world.vhost.recover_from(&journal, world.now).expect("recovers");
        println!("{what}: {:?}, {recovered:?}", start.elapsed());
        assert_eq!((recovered.holders, recovered.missing), (MESSAGES as u64, 0));
        (world, journal, commit)
    };
    {
        let (world, journal, commit) = recover("without a checkpoint");
        let committer = commit.start(Box::new(|_| {})).expect("starts");
        let start = Instant::now();
        let done = world.vhost.checkpoint(&journal, PATIENCE).expect("is written");
        println!("checkpoint of {} bytes written in {:?}", done.bytes, start.elapsed());
        committer.finish().expect("commits");
    }
    drop(recover("with a checkpoint"));
    drop(directory);
    std::fs::remove_dir_all(&path).expect("is removed");
}
