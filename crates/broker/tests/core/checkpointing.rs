//! Checkpoints that are taken while many threads change everything.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tercet_broker::clock::Now;
use tercet_broker::effects::Effects;
use tercet_broker::journal::Journal;
use tercet_broker::limits::Limits;
use tercet_broker::message::{Properties, Publication, Qos};
use tercet_broker::record::checkpoint_record::CheckpointRecord;
use tercet_broker::record::{Decoded, codec};
use tercet_broker::vhost::connection::Ending;
use tercet_broker::vhost::log_recovery::Recovered;
use tercet_log::disk::Disk;
use tercet_log::engine::ShardLog;
use tercet_log::position::{Place, Position};
use tercet_log::record::Records;
use tercet_log::sim::SimDisk;

use crate::concurrency::Reactor;
use crate::log::assert_counted;
use crate::support::{Client, LogWorld, World, described_state};

const PATIENCE: Duration = Duration::from_secs(30);
const CHECKPOINT: &str = "shard-0/checkpoint";
const CLIENTS: usize = 40;
const FILTERS: [&str; 7] = ["#", "a/+", "b", "r/#", "$share/g/a/#", "$share/g/#", "$share/h/b"];

/// One turn of a thread that does anything.
fn turn(reactor: &mut Reactor, client: &mut Option<Client>, step: usize) {
    let Some(mut held) = client.take() else {
        let name = format!("client-{}", reactor.random.below(CLIENTS));
        let clean_start = reactor.random.one_in(5);
        let expiry = *reactor.random.pick(&[0, 60, 60, 60]);
        let window = *reactor.random.pick(&[1, 20]);
        *client = Some(reactor.connect(&name, clean_start, expiry, window));
        return;
    };
    let (now, vhost) = (reactor.now, Arc::clone(&reactor.vhost));
    let filter = *reactor.random.pick(&FILTERS);
    match reactor.random.below(16) {
        0 => {
            let ending = *reactor.random.pick(&[Ending::Normal, Ending::Abnormal]);
            return vhost.disconnect(&held.attachment, ending, None, now, &mut reactor.effects);
        }
        1 => return,
        2 | 3 => reactor.subscribe(&held, filter, Qos::ExactlyOnce),
        4 => {
            vhost.unsubscribe(&held.attachment, filter, now, &mut reactor.effects);
        }
        5 => {
            let id = 1 + reactor.random.below(3) as u16;
            match reactor.random.one_in(2) {
                true => vhost.receive_once(&held.attachment, id),
                false => vhost.complete(&held.attachment, id),
            };
        }
        6..13 => {
            let topic = *reactor.random.pick(&["a/x", "a/y", "b", "r/1", "r/2", "r/3"]);
            let payload = if reactor.random.one_in(6) { String::new() } else { step.to_string() };
            let publication = Publication {
                topic,
                payload: payload.as_bytes(),
                properties: Properties::NONE,
                qos: Qos::from_number(1 + reactor.random.below(2) as u8).unwrap(),
                retain: topic.starts_with('r'),
                expiry: None,
                publisher: held.attachment.session.id(),
            };
            vhost.publish(&mut held.attachment, &publication, now, &mut reactor.effects);
        }
        _ => {
            reactor.serve(&held);
        }
    }
    vhost.after_durable(now, &mut reactor.effects);
    reactor.effects.wakes.clear();
    *client = Some(held);
}

fn start(world: &World, seed: u64, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let threads = (0..3).map(|number| {
        let mut reactor = Reactor::new(&world.vhost, seed * 10 + number);
        let journal = Arc::clone(world.journal.log());
        let stop = Arc::clone(stop);
        thread::spawn(move || {
            let mut client = None;
            for step in 0..1_000_000 {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                turn(&mut reactor, &mut client, step);
                journal.flush();
            }
        })
    });
    threads.chain([read_back(world, stop)]).collect()
}

/// The thread that reads messages back. However the log is kept short meanwhile, it finds each.
fn read_back(world: &World, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (vhost, journal, stop) =
        (Arc::clone(&world.vhost), Arc::clone(world.journal.log()), Arc::clone(stop));
    thread::spawn(move || {
        let mut effects = Effects::default();
        while !stop.load(Ordering::Relaxed) {
            if vhost.wait_for_fetches(Duration::from_millis(1)) {
                vhost.read_back(&*journal, Now::read(), &mut effects);
                effects.wakes.clear();
            }
            vhost.after_durable(Now::read(), &mut effects);
            assert_eq!(effects.counters.dropped_unreadable, 0);
        }
    })
}

/// Lets the threads go on until the log has so many more bytes.
fn await_growth(world: &World, bytes: u64) {
    let journal = world.journal.log();
    let end = journal.cut().batch.number() + bytes;
    while journal.durable().number() < end {
        journal.flush();
        thread::yield_now();
    }
}

/// What the log rebuilds up to the batch before `until`, with the checkpoint or from its beginning.
fn rebuilt(disk: &SimDisk, checkpoint: bool, until: Position, now: Now) -> (LogWorld, World) {
    let limits = Limits::default();
    LogWorld::open_with(disk.after_kill(), now, limits, true, |world, journal| {
        let log = journal.group_commit().log();
        let mut recovery = world.vhost.recover();
        let mut from = Position::NONE;
        if checkpoint {
            let mut found = log.checkpoint().unwrap().expect("there is a checkpoint");
            while let Some(part) = found.parts.next().unwrap() {
                for raw in Records::new(part) {
                    recovery.load(CheckpointRecord::read(&raw.unwrap()).unwrap().1).unwrap();
                }
            }
            from = found.replay_from;
        }
        let mut batches = log.read(from).unwrap();
        while let Some((batch, payload)) = batches.next().unwrap() {
            if batch >= until {
                break;
            }
            for raw in Records::new(payload) {
                let raw = raw.unwrap();
                match codec::read(&raw, batch).unwrap() {
                    Decoded::Change(_, record) => {
                        recovery.apply_at(record, Place { batch, offset: raw.offset });
                    }
                    Decoded::Message(_, publisher) => recovery.note_publisher(publisher),
                    Decoded::Skipped => {}
                }
            }
        }
        recovery.finish(now);
        Recovered::default()
    })
}

fn assert_same(one: &[String], other: &[String], context: &str) {
    if one != other {
        let first = one.iter().zip(other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
        panic!("{context}: {first}\n{:#?}\n{:#?}", one.get(first..first + 2), other.get(first..first + 2));
    }
}

#[test]
fn a_checkpoint_with_any_tail_behind_it_is_the_same_as_the_whole_log() {
    for seed in 0..3 {
        let limits = Limits { max_queued_messages: 200, message_memory: 0, ..Limits::default() };
        let (log, world) = LogWorld::open(SimDisk::new(), Now::read(), limits, false);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = start(&world, seed, &stop);
        let journal = world.journal.log();
        let mut taken = Vec::new();
        for _ in 0..4 {
            await_growth(&world, 10_000);
            let done =
                world.vhost.checkpoint_in_slices(journal, 1 + seed as usize, PATIENCE).expect("is written");
            taken.push((log.disk.after_kill(), journal.durable(), done));
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));

        for (disk, durable, done) in &taken {
            assert!(done.images > 50, "{}", done.images);
            let end = end_of(disk, world.now);
            assert!(end > *durable);
            let (_whole, one) = rebuilt(disk, false, end, world.now);
            let (_tail, other) = rebuilt(disk, true, end, world.now);
            assert_same(&described_state(&one), &described_state(&other), &format!("seed {seed}"));
        }
        // Now with everything that came behind the last checkpoint, or any part of it.
        let (_, durable, _) = taken.last().unwrap();
        let (again, at_the_end) = log.restarted(&world);
        assert_same(&described_state(&world), &described_state(&at_the_end), "at the end");
        drop(again);
        let batches = batches_behind(&log.disk, *durable, world.now);
        let step = (batches.len() / 6).max(1);
        for until in batches.iter().step_by(step) {
            let (_whole, one) = rebuilt(&log.disk, false, *until, world.now);
            let (_tail, other) = rebuilt(&log.disk, true, *until, world.now);
            let context = format!("seed {seed}, until {until} of {:?}", batches.last());
            assert_same(&described_state(&one), &described_state(&other), &context);
        }
    }
}

/// The positions of the batches behind `from`.
fn batches_behind(disk: &SimDisk, from: Position, now: Now) -> Vec<Position> {
    let mut found = Vec::new();
    LogWorld::open_with(disk.after_kill(), now, Limits::default(), true, |_, journal| {
        let mut batches = journal.group_commit().log().read(Position::NONE).unwrap();
        while let Some((position, _)) = batches.next().unwrap() {
            found.push(position);
        }
        Recovered::default()
    });
    found.retain(|position| *position > from);
    found
}

fn end_of(disk: &SimDisk, now: Now) -> Position {
    let last = batches_behind(disk, Position::NONE, now).last().copied().unwrap_or_default();
    Position::new(last.number() + 1)
}

#[test]
fn keeping_the_log_short_while_everything_changes_loses_nothing() {
    let mut trimmed = 0;
    for seed in 0..3 {
        let limits = Limits { max_queued_messages: 50, message_memory: 0, ..Limits::default() };
        let (log, world) = LogWorld::open(SimDisk::new(), Now::read(), limits, false);
        let stop = Arc::new(AtomicBool::new(false));
        let threads = start(&world, 100 + seed, &stop);
        let journal = world.journal.log();
        // The power fails at any moment, also while a checkpoint is put in force or something is trimmed.
        let (disk, stopped) = (log.disk.clone(), Arc::clone(&stop));
        let cuts = thread::spawn(move || {
            let mut cuts = Vec::new();
            while !stopped.load(Ordering::Relaxed) && cuts.len() < 40 {
                cuts.push(disk.after_power_cut(seed * 100 + cuts.len() as u64));
                let next = disk.steps() + 30;
                while disk.steps() < next && !stopped.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            }
            cuts
        });
        for round in 0..12 {
            await_growth(&world, 6_000);
            let extents = log.log.extents();
            let live = journal.live(&extents);
            let old = extents.iter().zip(live).filter(|(extent, live)| *live < extent.bytes / 2);
            let old: Vec<_> = old.map(|(extent, _)| *extent).collect();
            if round % 3 == 0 {
                world.vhost.relocate(journal, &old, PATIENCE).expect("moves");
            }
            let done =
                world.vhost.checkpoint_in_slices(journal, 1 + seed as usize, PATIENCE).expect("is written");
            log.log.trim(&done.dead).expect("trims");
            trimmed += done.dead.len();
        }
        stop.store(true, Ordering::Relaxed);
        for disk in cuts.join().expect("no thread panics") {
            let (again, cut_off) = LogWorld::open(disk, world.now, Limits::default(), true);
            assert_eq!(again.recovered.missing, 0, "seed {seed}");
            // Every message can be read.
            described_state(&cut_off);
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        assert_counted(&world, &log, &format!("seed {seed}"));
        let (_again, rebuilt) = log.restarted(&world);
        assert_same(&described_state(&world), &described_state(&rebuilt), &format!("seed {seed}"));
        assert!(log.disk.open(Path::new(CHECKPOINT)).is_ok());
    }
    assert!(trimmed > 10, "{trimmed}");
}
