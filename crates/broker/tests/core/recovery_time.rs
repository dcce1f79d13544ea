//! How long a long queue takes to come back. Ignored, as it is about time: run it with
//! `cargo test --release -p tercet-broker --test core recovery_time -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tercet_amqp::content::BasicProperties;
use tercet_broker::actor::{Actor, AllRights, ConnectionId};
use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::exchange::request::DeclareQueue;
use tercet_broker::exchange::route_cache::ExchangeRoutes;
use tercet_broker::exchange_publication::ExchangePublication;
use tercet_broker::hosts::Hosts;
use tercet_broker::journal::{Journal, LogJournal};
use tercet_broker::limits::Limits;
use tercet_broker::message::{Properties, PropertyEncoding};
use tercet_broker::metrics::Metrics;
use tercet_broker::permission::Permissions;
use tercet_broker::vhost::connection::Ending;
use tercet_log::engine::ShardLog;
use tercet_log::group_commit::{GroupCommit, Settings};
use tercet_log::local::{DataDirectory, Durability, LocalOptions};

use crate::support::{ConnectOptions, TestJournal, World};

const MESSAGES: usize = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

fn open_log(directory: &DataDirectory) -> (Arc<LogJournal>, Arc<GroupCommit>) {
    let options = LocalOptions { durability: Durability::Os, ..LocalOptions::default() };
    let log = Arc::new(directory.open_shard(0, options).expect("opens")) as Arc<dyn ShardLog>;
    let claim = log.claim().expect("claims");
    let commit = GroupCommit::new(log, claim, Settings::default());
    (LogJournal::new(Arc::clone(&commit)), commit)
}

fn open(directory: &DataDirectory) -> (World, Arc<LogJournal>, Arc<GroupCommit>) {
    let (journal, commit) = open_log(directory);
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

struct Nobody;

impl tercet_broker::event::EventSink for Nobody {
    fn event(&self, _: tercet_broker::event::Event) {}
}

fn open_hosts(directory: &DataDirectory) -> (Hosts, Arc<LogJournal>, Arc<GroupCommit>) {
    let (journal, commit) = open_log(directory);
    let limits = Limits { message_memory: 64 << 20, ..Limits::default() };
    let recorder = Some(Arc::clone(&journal));
    let (events, metrics) = (Arc::new(Nobody), Arc::new(Metrics::default()));
    (Hosts::new(limits, Permissions::allow_all(), recorder, events, metrics), journal, commit)
}

/// Bytes of the process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

#[test]
#[ignore = "it is about time and takes a while"]
fn a_million_messages_in_a_queue_with_a_name() {
    let bytes: usize = std::env::var("PAYLOAD").map_or(1024, |text| text.parse().expect("a number of bytes"));
    let path = std::env::temp_dir().join(format!("tercet-named-recovery-{}", std::process::id()));
    let directory = DataDirectory::open(&path).expect("opens");
    let now = Now::read();
    {
        let (hosts, journal, commit) = open_hosts(&directory);
        let committer = commit.start(Box::new(|_| {})).expect("starts");
        let (host, mut effects) = (hosts.default_host(), Effects::default());
        let actor = Actor {
            user: "guest".into(),
            vhost: "/".into(),
            connection: ConnectionId(1),
            rights: Arc::new(AllRights),
        };
        let queue = DeclareQueue { name: "q", durable: true, ..DeclareQueue::default() };
        host.declare_queue(&actor, &queue, now, &mut effects).expect("declared");
        let (mut list, mut encoded) = (Vec::new(), Vec::new());
        let properties = BasicProperties { delivery_mode: Some(2), ..Default::default() };
        properties.encode(&mut list).expect("small").write(&mut encoded);
        let payload = vec![b'x'; bytes];
        let publication = ExchangePublication {
            exchange: "",
            routing_key: "q",
            properties: Properties { encoding: PropertyEncoding::Amqp, bytes: &encoded },
            payload: &payload,
            mandatory: false,
        };
        let mut routes = ExchangeRoutes::default();
        let start = Instant::now();
        for number in 0..MESSAGES {
            host.publish_to_exchange(&actor, &mut routes, &publication, now, &mut effects)
                .expect("published");
            if number % 100 == 0 {
                journal.flush();
                hosts.after_durable(now, &mut effects);
            }
            while number % 1000 == 0 && commit.statistics().unconfirmed > 8 << 20 {
                std::thread::yield_now();
            }
        }
        println!("{MESSAGES} of {bytes} B queued in {:?}, {} MiB", start.elapsed(), resident() >> 20);
        committer.finish().expect("commits");
    }
    let recover = |what: &str| {
        let (hosts, journal, commit) = open_hosts(&directory);
        let before = resident();
        let start = Instant::now();
        let recovered = hosts.recover(now, &mut Effects::default()).expect("recovers");
        let grown = resident().saturating_sub(before) >> 20;
        println!("{what}: {:?}, {grown} MiB more, {recovered:?}", start.elapsed());
        assert_eq!((recovered.holders, recovered.missing), (MESSAGES as u64, 0));
        let queue = hosts.default_host().find_queue("q").expect("is there");
        assert_eq!(queue.ready_and_consumers().0 as usize, MESSAGES);
        (hosts, journal, commit)
    };
    {
        let (hosts, journal, commit) = recover("without a checkpoint");
        let committer = commit.start(Box::new(|_| {})).expect("starts");
        let start = Instant::now();
        let done = hosts.checkpoint(&journal, PATIENCE).expect("is written");
        println!("checkpoint of {} bytes written in {:?}", done.bytes, start.elapsed());
        committer.finish().expect("commits");
    }
    drop(recover("with a checkpoint"));
    drop(directory);
    std::fs::remove_dir_all(&path).expect("is removed");
}
