//! The virtual host above a log: recovered with and without a checkpoint, moved about, trimmed, and the same all the time.

use std::collections::BTreeMap;
use std::time::Duration;

use tercet_broker::clock::Now;
use tercet_log::engine::ShardLog;
use tercet_log::sim::SimDisk;

use crate::support::{LogWorld, Traffic, World, described_state};

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
