//! What durability costs: how often the disk is written to and synced.

use tercet_log::local::LocalOptions;
use tercet_log::sim::{Counts, SimDisk};

use crate::expected::batch;
use crate::local;

const BATCHES: u64 = 50;

#[test]
fn a_batch_costs_one_write_and_one_sync() {
    let disk = SimDisk::new();
    let cost = cost_of_batches(&disk, &options());
    assert_eq!((cost.writes, cost.syncs), (BATCHES, BATCHES));
    assert_eq!(cost.bytes, BATCHES * 140, "nothing but the batches and their headers");
}

#[test]
fn without_syncing_a_batch_costs_one_write() {
    let disk = SimDisk::new();
    let cost = cost_of_batches(&disk, &local::without_sync(options()));
    assert_eq!((cost.writes, cost.syncs), (BATCHES, 0));
}

#[test]
fn a_segment_is_as_long_as_it_gets_from_the_beginning() {
    let disk = SimDisk::new();
    let log = local::open(&disk, &options()).expect("the log opens");
    let mut claim = log.claim().expect("claimed");
    let before = disk.files();
    for _ in 0..BATCHES {
        log.append(&mut claim, &mut batch(&[1; 100])).expect("taken");
    }
    // No length to be synced with every batch.
    assert_eq!(disk.files(), before);
}

fn options() -> LocalOptions {
    LocalOptions { background: false, ..LocalOptions::default() }
}

/// What batches of 100 bytes cost that fit into the segment in use.
fn cost_of_batches(disk: &SimDisk, options: &LocalOptions) -> Counts {
    let log = local::open(disk, options).expect("the log opens");
    let mut claim = log.claim().expect("claimed");
    let before = disk.total();
    for _ in 0..BATCHES {
        log.append(&mut claim, &mut batch(&[1; 100])).expect("taken");
    }
    let after = disk.total();
    Counts {
        writes: after.writes - before.writes,
        bytes: after.bytes - before.bytes,
        syncs: after.syncs - before.syncs,
        reads: after.reads - before.reads,
    }
}
