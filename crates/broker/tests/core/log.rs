//! The virtual host above a log: recovered with and without a checkpoint, moved about, trimmed, and the same all the time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tercet_broker::clock::Now;
use tercet_broker::journal::{Journal, Position, ReadBackError};
use tercet_broker::limits::Limits;
use tercet_broker::read_back::Bodies;
use tercet_broker::record::RecordKind;
use tercet_broker::vhost::connection::Ending;
use tercet_log::engine::ShardLog;
use tercet_log::local::FIRST_POSITION;
use tercet_log::record::Records;
use tercet_log::sim::{Fault, Operation, SimDisk};

use crate::support::{ConnectOptions, LogWorld, Traffic, World, described_state};

const PATIENCE: Duration = Duration::from_secs(30);

fn traffic(seed: u64) -> (LogWorld, Traffic) {
    let mut below = None;
    let traffic = Traffic::in_world(seed, |limits| {
        let (log, world) = LogWorld::open(SimDisk::new(), Now::read(), limits, true);
        below = Some(log);
        world
    });
    (below.expect("opened"), traffic)
}

/// The journal counts exactly what there is.
pub fn assert_counted(world: &World, log: &LogWorld, context: &str) {
    let journal = world.journal.log();
    let mut shared = BTreeMap::new();
    let mut bytes = 0;
    world.vhost.for_each_holder(|stored| {
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
    assert_eq!(journal.shared_holders(), shared, "{context}");
    let extents = log.log.extents();
    assert_eq!(journal.live(&extents).len(), extents.len());
    assert_eq!(journal.total_live(), bytes, "{context}");
}

fn assert_restarts(world: &World, log: &LogWorld, context: &str) {
    let (again, rebuilt) = log.restarted(world);
    let (was, is) = (described_state(world), described_state(&rebuilt));
    if was != is {
        let first = was.iter().zip(&is).position(|(a, b)| a != b).unwrap_or(was.len().min(is.len()));
        panic!("{context}\nwas: {:#?}\nis: {:#?}", was.get(first..first + 2), is.get(first..first + 2));
    }
    assert_eq!(again.recovered.missing, 0, "{context}");
    assert_counted(&rebuilt, &again, context);
}

#[test]
fn a_log_rebuilds_what_made_it() {
    for seed in 0..20 {
        let (log, mut traffic) = traffic(seed);
        for _ in 0..6 {
            for _ in 0..15 {
                traffic.step();
            }
            assert_counted(&traffic.world, &log, &format!("seed {seed}"));
            assert_restarts(&traffic.world, &log, &format!("seed {seed}\n{}", traffic.done.join("\n")));
        }
    }
}

#[test]
fn checkpoints_relocation_and_trimming_change_nothing() {
    let (mut trimmed, mut moved) = (0, 0);
    for seed in 0..20 {
        let (log, mut traffic) = traffic(1_000 + seed);
        for round in 0..6 {
            for _ in 0..25 {
                traffic.step();
            }
            let context = format!("seed {seed}, round {round}\n{}", traffic.done.join("\n"));
            let before = described_state(&traffic.world);
            let (vhost, journal) = (&traffic.world.vhost, traffic.world.journal.log());
            if traffic.random.one_in(2) {
                let extents = log.log.extents();
                let old = &extents[..extents.len() - 1];
                let relocated = vhost.relocate(journal, old, PATIENCE).expect("moves");
                assert_eq!(relocated.unreadable, 0, "{context}");
                moved += relocated.messages;
                let live = journal.live(&extents);
                assert!(live[..old.len()].iter().all(|live| *live == 0), "{context}");
                assert_counted(&traffic.world, &log, &context);
            }
            if traffic.random.one_in(2) {
                let done = vhost.checkpoint(journal, PATIENCE).expect("is written");
                log.log.trim(&done.dead).expect("trims");
                trimmed += done.dead.len();
            }
            assert_eq!(described_state(&traffic.world), before, "{context}");
            assert_restarts(&traffic.world, &log, &context);
        }
    }
    assert!(trimmed > 5 && moved > 20, "trimmed {trimmed}, moved {moved}");
}

#[test]
fn a_broker_that_restarts_again_and_again_loses_nothing() {
    for seed in 0..8 {
        let (mut log, mut traffic) = traffic(2_000 + seed);
        for round in 0..6 {
            for _ in 0..20 {
                traffic.step();
            }
            if round % 2 == 1 {
                traffic.world.vhost.checkpoint(traffic.world.journal.log(), PATIENCE).expect("is written");
            }
            let before = described_state(&traffic.world);
            let (again, world) = log.restarted(&traffic.world);
            traffic.forget_connections();
            traffic.world = world;
            log = again;
            assert_eq!(described_state(&traffic.world), before, "seed {seed}, round {round}");
            assert_counted(&traffic.world, &log, "after a restart");
        }
    }
}

/// How many records of this kind the log has.
fn count_records(log: &LogWorld, kind: RecordKind) -> usize {
    let mut count = 0;
    let mut batches = log.log.read(Position::NONE).unwrap();
    while let Some((_, payload)) = batches.next().unwrap() {
        count += Records::new(payload).filter(|raw| raw.as_ref().unwrap().header.kind == kind as u8).count();
    }
    count
}

#[test]
fn a_message_to_many_queues_is_written_once_and_dead_when_the_last_has_it() {
    let (log, mut world) = LogWorld::open(SimDisk::new(), Now::read(), Limits::default(), true);
    let readers: Vec<_> = (0..5)
        .map(|number| {
            let reader = world.connect(ConnectOptions::durable(&format!("reader{number}")));
            world.subscribe(&reader, "t", 1);
            reader
        })
        .collect();
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    world.publish(&mut writer, "t", &"x".repeat(1000), 1);
    let journal = Arc::clone(world.journal.log());
    assert_eq!(journal.shared_holders().into_values().collect::<Vec<_>>(), [5]);
    for (acknowledged, reader) in readers.iter().enumerate() {
        assert_eq!(journal.total_live() > 1000, acknowledged < 5);
        assert_eq!(world.consume(reader).len(), 1);
    }
    assert_eq!(journal.total_live(), 0);
    let (again, _rebuilt) = log.restarted(&world);
    assert_eq!(count_records(&again, RecordKind::Message), 1);
    assert_eq!(count_records(&again, RecordKind::Enqueued), 5);
    assert_eq!(again.recovered.live_bytes, 0);
}

#[test]
fn what_need_not_survive_never_touches_the_log() {
    let (_log, mut world) = LogWorld::open(SimDisk::new(), Now::read(), Limits::default(), true);
    let durable = world.connect(ConnectOptions::durable("durable"));
    world.subscribe(&durable, "d", 1);
    let clean = world.connect(ConnectOptions::clean("clean"));
    world.subscribe(&clean, "#", 2);
    world.subscribe(&clean, "$share/g/#", 2);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    let journal = Arc::clone(world.journal.log());
    assert!(world.vhost.durable() > Position::NONE);
    let before = (journal.cut(), journal.group_commit().statistics());
    for number in 0..100 {
        world.publish(&mut writer, "t", "x", number % 3);
        world.publish(&mut writer, "d", "x", 0);
    }
    world.consume(&clean);
    assert_eq!((journal.cut(), journal.group_commit().statistics()), before);
}

#[test]
fn a_damaged_message_is_found_out_alone_and_stays_where_it_is() {
    let (log, mut world) = LogWorld::open(SimDisk::new(), Now::read(), Limits::default(), true);
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "t", 1);
    world.disconnect(reader, Ending::Normal);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    let journal = Arc::clone(world.journal.log());
    let one_batch = Arc::clone(&world.journal);
    one_batch.together(&mut || {
        for number in 0..10 {
            world.publish(&mut writer, "t", &format!("message {number}"), 1);
        }
    });
    assert!(world.vhost.durable() > Position::NONE);
    let mut held = Vec::new();
    world.vhost.for_each_holder(|stored| held.push(stored));
    let bad = held[4].place();
    let offset = 4096 + (bad.batch.number() - FIRST_POSITION.number()) + 40 + u64::from(bad.offset) + 20;
    assert!(log.disk.flip(Path::new("shard-0/0000000000000040.seg"), offset * 8));
    held.swap(0, 7);
    let mut read = vec![String::new(); held.len()];
    journal.read_run(&held, &mut |index, message| {
        read[index] = match message {
            Ok(message) => String::from_utf8_lossy(&message.payload).into_owned(),
            Err(ReadBackError::Damaged { place, .. }) if place == bad => "damaged".to_owned(),
            Err(other) => panic!("{other}"),
        };
    });
    let expected = ["7", "1", "2", "3", "damaged", "5", "6", "0", "8", "9"];
    assert!(read.iter().zip(expected).all(|(read, end)| read.ends_with(end)), "{read:?}");
    let moved = world.vhost.relocate(&journal, &log.log.extents(), PATIENCE).expect("moves");
    assert_eq!((moved.messages, moved.unreadable), (9, 1));
    let mut places = Vec::new();
    world.vhost.for_each_holder(|stored| places.push(stored.place()));
    assert!(places.iter().all(|place| *place == bad || place.batch > bad.batch), "{places:?}");
}

#[test]
fn a_disk_that_stumbles_loses_no_message() {
    let (log, mut world) = LogWorld::open(SimDisk::new(), Now::read(), Limits::default(), true);
    let reader = world.connect(ConnectOptions::durable("reader"));
    world.subscribe(&reader, "t", 1);
    world.disconnect(reader, Ending::Normal);
    let mut writer = world.connect(ConnectOptions::clean("writer"));
    for number in 0..10 {
        world.publish(&mut writer, "t", &format!("message {number}"), 1);
    }
    let journal = Arc::clone(world.journal.log());
    let mut held = Vec::new();
    world.vhost.for_each_holder(|stored| held.push(stored));
    log.disk.fail(Fault::eio(Operation::Read, ".seg").times(3));
    let read = Bodies::read(&*journal, &held);
    for (number, message) in read.iter().enumerate() {
        let message = message.as_ref().expect("read at last");
        assert_eq!(*message.payload, *format!("message {number}").as_bytes());
    }
    log.disk.fail(Fault::eio(Operation::Read, ".seg").times(1_000));
    let read = Bodies::read(&*journal, &held);
    assert!(read.len() == 10 && read.iter().all(Result::is_err));
}
