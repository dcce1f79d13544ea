//! What was there comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use tercet_log::engine::ShardLog;
use tercet_log::sim::{SimDisk, for_each_seed};

use super::world::PATIENCE;
use super::{Walk, World};
use crate::clock::Now;
use crate::journal::{Journal, Position};

fn assert_same(was: &[String], is: &[String], context: &str) {
    if was != is {
        let first = was.iter().zip(is).position(|(a, b)| a != b).unwrap_or(was.len().min(is.len()));
        let around = |lines: &[String]| lines.get(first..lines.len().min(first + 3)).map(<[String]>::to_vec);
        panic!("{context}\nwas: {:#?}\nis: {:#?}", around(was), around(is));
    }
}

/// How much was seen of what such a test is about.
#[derive(Default)]
struct Seen(AtomicUsize);

impl Seen {
    fn count(&self, lines: &[String], word: &str) {
        self.0.fetch_add(lines.iter().filter(|line| line.contains(word)).count(), Relaxed);
    }

    fn assert_more_than(&self, least: u64, what: &str) {
        let seen = self.0.load(Relaxed);
        assert!(seen as u64 > least, "{seen} {what}");
    }
}

#[test]
fn a_log_rebuilds_what_made_it_whatever_checkpoint_it_begins_with() {
    let (entries, returns, bindings) = (Seen::default(), Seen::default(), Seen::default());
    let seeds = for_each_seed(60, Duration::from_secs(20), |seed| {
        let mut walk = Walk::new(seed, World::open(SimDisk::new(), Now::read()), seed % 2 == 0);
        for round in 0..6 {
            for _ in 0..40 {
                walk.step();
            }
            walk.keep();
            walk.let_go();
            let context = format!("seed {seed}, round {round}\n{}", walk.done.join("\n"));
            let was = walk.world.described();
            walk.world.assert_counted(&context);
            let again = walk.world.restarted();
            assert_same(&was, &again.described(), &context);
            again.assert_counted(&context);
            entries.count(&was, "Enqueued");
            returns.count(&was, "Returned");
            bindings.count(&was, "Bound");
            if walk.random.one_in(2) {
                walk.goes_on_in(again);
            }
        }
    });
    entries.assert_more_than(5 * seeds, "entries");
    returns.assert_more_than(seeds / 10, "counted returns");
    bindings.assert_more_than(seeds, "bindings");
}

#[test]
fn checkpoints_that_are_taken_while_everything_goes_on_leave_nothing_out() {
    for_each_seed(60, Duration::from_secs(20), |seed| {
        let mut walk = Walk::new(2_000 + seed, World::open(SimDisk::new(), Now::read()), seed % 2 == 0);
        for round in 0..4 {
            let (hosts, journal) = (Arc::clone(&walk.world.hosts), Arc::clone(&walk.world.journal));
            let log = Arc::clone(&walk.world.log);
            let over = Arc::new(AtomicBool::new(false));
            let keeper = {
                let over = Arc::clone(&over);
                thread::spawn(move || {
                    let mut taken = 0;
                    while !over.load(Relaxed) || taken == 0 {
                        let extents = log.extents();
                        let old = &extents[..extents.len() - 1];
                        hosts.relocate(&journal, old, PATIENCE).expect("moves");
                        let done = hosts.checkpoint_in_slices(&journal, 1, PATIENCE).expect("is written");
                        log.trim(&done.dead).expect("trims");
                        taken += 1;
                    }
                })
            };
            for _ in 0..150 {
                walk.step();
            }
            over.store(true, Relaxed);
            keeper.join().expect("goes well");
            walk.let_go();
            let context = format!("seed {seed}, round {round}\n{}", walk.done.join("\n"));
            let was = walk.world.described();
            walk.world.assert_counted(&context);
            let again = walk.world.restarted();
            assert_same(&was, &again.described(), &context);
            again.assert_counted(&context);
        }
    });
}

#[test]
fn a_power_cut_leaves_the_state_after_some_change_that_was_not_durable_before_it() {
    for_each_seed(60, Duration::from_secs(20), |seed| {
        let mut walk = Walk::new(1_000 + seed, World::open(SimDisk::new(), Now::read()), false);
        for round in 0..4 {
            let mut states = vec![(Position::NONE, walk.world.described())];
            for step in 0..30 {
                walk.step();
                if step == 10 {
                    walk.keep();
                }
                states.push((walk.world.journal.staged(), walk.world.described()));
            }
            let durable = walk.world.journal.durable();
            let cut = World::open(walk.world.disk.after_power_cut(seed), walk.world.now);
            let found = cut.described();
            let least = states.iter().rposition(|(position, _)| *position <= durable).unwrap_or(0);
            let context = format!("seed {seed}, round {round}, at least {least}\n{}", walk.done.join("\n"));
            if !states[least..].iter().any(|(_, state)| *state == found) {
                assert_same(&states[least].1, &found, &context);
            }
            cut.assert_counted(&context);
            walk.goes_on_in(cut);
        }
    });
}
