//! The engine on a disk that fails, fills up and loses power.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{append, batch, read, small};
use crate::engine::{Claim, Resolved, ShardLog};
use crate::error::{AppendError, LogError};
use crate::local::{Durability, LocalLog, LocalOptions};
use crate::position::Position;
use crate::sim::{Chance, Fault, Operation, SimDisk};

type Batches = Vec<(Position, Vec<u8>)>;

pub(super) fn open(disk: &SimDisk, options: LocalOptions) -> Result<LocalLog, LogError> {
    LocalLog::open(Arc::new(disk.clone()), Path::new("shard-0"), 0, options)
}

/// Appends as the group commit does: the same batch until it is in.
fn insist(log: &LocalLog, claim: &mut Claim, payload: &[u8]) -> Position {
    let mut batch = batch(payload);
    let mut known = true;
    for _ in 0..100 {
        let outcome = if known {
            log.append(claim, &mut batch)
        } else {
            match log.resolve(claim, &mut batch) {
                Ok(Resolved::Committed(position)) => return position,
                Ok(Resolved::NotThere) => {
                    known = true;
                    continue;
                }
                Err(error) => Err(error),
            }
        };
        match outcome {
            Ok(position) => return position,
            Err(AppendError::Unknown(_)) => known = false,
            Err(AppendError::Full(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the fault should be over");
}

fn checkpoint(log: &LocalLog, from: Position) -> Result<(), LogError> {
    let mut writer = log.begin_checkpoint()?;
    writer.write(&mut batch(&from.number().to_le_bytes()))?;
    writer.commit(from)
}

/// What a log says from its checkpoint on.
fn recover(log: &LocalLog) -> Result<(Position, Batches), LogError> {
    let from = log.checkpoint()?.map_or(Position::NONE, |checkpoint| checkpoint.replay_from);
    Ok((from, read(log, from)?))
}

#[test]
fn every_single_failure_is_survived_and_nothing_confirmed_is_lost() {
    use Operation::{Allocate, Create, Open, Rename, Sync, SyncDir, Write};
    for operation in [Allocate, Create, Open, Rename, Sync, SyncDir, Write] {
        for (after, times) in (0..40).flat_map(|after| [(after, 1), (after, 3)]) {
            let disk = SimDisk::new();
            let log = open(&disk, small()).expect("opened");
            let mut claim = log.claim().expect("claimed");
            let mut model = vec![];
            disk.fail(Fault::eio(operation, "shard-0").after(after).times(times));
            for n in 0..30_u8 {
                let payload = vec![n; 100 + 90 * usize::from(n)];
                model.push((insist(&log, &mut claim, &payload), payload));
            }
            let context = format!("{operation:?} after {after}, {times} times");
            disk.heal();
            assert_eq!(read(&log, Position::NONE).expect("readable"), model, "{context}");
            for seed in 0..3 {
                let log = open(&disk.after_power_cut(seed), small()).expect("opened");
                assert_eq!(read(&log, Position::NONE).expect("readable"), model, "{context}, seed {seed}");
            }
            assert_eq!(disk.violations(), Vec::<String>::new(), "{context}");
        }
    }
}

#[test]
fn a_full_disk_changes_nothing_and_goes_on_when_there_is_space() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).expect("opened");
    let mut claim = log.claim().expect("claimed");
    assert_eq!(log.room(), u64::MAX);
    disk.set_capacity(Some(64 << 10));
    let mut model = vec![];
    let full = loop {
        let payload = vec![model.len() as u8; 1000];
        let expected = claim.next;
        match log.append(&mut claim, &mut batch(&payload)) {
            Ok(position) => model.push((position, payload)),
            Err(AppendError::Full(_)) => {
                assert_eq!(claim.next, expected);
                break payload;
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(model.len() > 30 && log.room() < 1040, "{} batches, room for {}", model.len(), log.room());
    assert!(matches!(log.append(&mut claim, &mut batch(&full)), Err(AppendError::Full(_))), "still");
    assert_eq!(read(&log, Position::NONE).expect("readable"), model);
    checkpoint(&log, claim.next).expect_err("no space for a checkpoint either");
    disk.set_capacity(None);
    model.push((append(&log, &mut claim, &full), full));
    assert_eq!(log.room(), u64::MAX);
    assert_eq!(read(&log, Position::NONE).expect("readable"), model);
    let log = open(&disk.after_power_cut(7), small()).expect("opened");
    assert_eq!(read(&log, Position::NONE).expect("readable"), model);
}

#[test]
fn room_comes_back_by_itself_when_there_is_space() {
    let disk = SimDisk::new();
    let log = open(&disk, LocalOptions { background: true, ..small() }).expect("opened");
    let mut claim = log.claim().expect("claimed");
    disk.set_capacity(Some(disk.used()));
    append(&log, &mut claim, &[0; 3000]);
    while log.room() == u64::MAX {
        std::thread::yield_now();
    }
    assert_eq!(log.room(), 4096 - 3040, "what is left of the segment");
    disk.set_capacity(None);
    while log.room() != u64::MAX {
        std::thread::yield_now();
    }
    assert_eq!(log.metrics().disk_bytes, (8 << 10) + (16 << 10), "with a spare segment");
}

#[test]
fn an_unsynced_log_can_be_synced() {
    let disk = SimDisk::new();
    let options = LocalOptions { durability: Durability::Os, ..small() };
    let log = open(&disk, options.clone()).expect("opened");
    let mut claim = log.claim().expect("claimed");
    let written: Vec<_> = (0..20).map(|n| (append(&log, &mut claim, &[n; 900]), vec![n; 900])).collect();
    let lost = |seed| {
        recover(&open(&disk.after_power_cut(seed), options.clone()).expect("opened"))
            .expect("readable")
            .1
            .len()
            < 20
    };
    assert!((0..50).any(lost), "else the test shows nothing");
    log.sync().expect("synced");
    for seed in 0..50 {
        let log = open(&disk.after_power_cut(seed), options.clone()).expect("opened");
        assert_eq!(recover(&log).expect("readable").1, written);
    }
}

#[test]
fn space_that_could_not_be_given_back_is_listed_still_and_nothing_else_is_lost() {
    for (operation, times) in
        [(Operation::Remove, 1), (Operation::Remove, 9), (Operation::Rename, 1), (Operation::SyncDir, 1)]
    {
        let options = LocalOptions { smallest: 8 << 10, largest: 8 << 10, ..small() };
        let disk = SimDisk::new();
        let log = open(&disk, options.clone()).expect("opened");
        let mut claim = log.claim().expect("claimed");
        let written: Vec<_> = (0..20).map(|n| (append(&log, &mut claim, &[n; 900]), vec![n; 900])).collect();
        let extents = log.extents();
        checkpoint(&log, written[18].0).expect("in force");
        let dead: Vec<_> = extents[..extents.len() - 1].iter().map(|extent| extent.first).collect();
        disk.fail(Fault::eio(operation, "shard-0").times(times));
        log.trim(&dead).expect_err("not all of it");
        disk.heal();
        let left = log.extents();
        assert!(
            left.len() > 1
                && left.iter().all(|extent| extents.iter().any(|before| before.first == extent.first)),
            "{operation:?}: {left:?}"
        );
        for extent in &left {
            let (position, payload) =
                written.iter().find(|(at, _)| *at == extent.first).expect("it begins with a batch");
            let mut into = vec![];
            log.get(*position, 0, 900, &mut into).expect("still there");
            assert_eq!(&into, payload);
        }
        log.trim(&dead).expect("all of it");
        assert_eq!((log.extents().len(), log.metrics().disk_bytes), (1, 16 << 10), "{operation:?}");
        append(&log, &mut claim, b"more");
        for seed in 0..20 {
            let log = open(&disk.after_power_cut(seed), options.clone()).expect("opened");
            assert_eq!(recover(&log).expect("readable").1.len(), 3, "{operation:?}");
        }
    }
}

#[test]
fn at_every_step_of_a_run_a_power_cut_leaves_what_was_confirmed() {
    for durability in [Durability::Fsync, Durability::Os] {
        let options = LocalOptions { smallest: 8 << 10, largest: 8 << 10, durability, ..small() };
        let disk = SimDisk::new();
        disk.record();
        let log = open(&disk, options.clone()).expect("opened");
        let mut claim = log.claim().expect("claimed");
        let (mut model, mut confirmed) = (vec![], vec![]);
        let mut checkpoints = vec![];
        for n in 0..24_u8 {
            let payload = vec![n; 700];
            model.push((append(&log, &mut claim, &payload), payload));
            confirmed.push((disk.steps(), model.len()));
            if n % 8 == 7 {
                let from = claim.next;
                checkpoint(&log, from).expect("in force");
                checkpoints.push((disk.steps(), from));
                let extents = log.extents();
                let dead: Vec<_> = extents.iter().filter(|e| e.end <= from).map(|e| e.first).collect();
                log.trim(&dead).expect("trimmed");
            }
        }
        let history = disk.history().expect("recorded");
        for (step, disk) in (history.first()..).zip(history.disks()) {
            let kept = confirmed.iter().rev().find(|(at, _)| *at <= step).map_or(0, |(_, kept)| *kept);
            let checked = checkpoints
                .iter()
                .rev()
                .find(|(at, _)| *at <= step)
                .map_or(Position::NONE, |(_, from)| *from);
            for seed in 0..4 {
                let context = format!("{durability:?}, step {step}, seed {seed}");
                let after = disk.after_power_cut(seed);
                if !after.files().iter().any(|(path, _)| path.starts_with("shard-0")) {
                    assert_eq!(kept, 0, "{context}");
                    continue;
                }
                let log = open(&after, options.clone()).unwrap_or_else(|error| panic!("{context}: {error}"));
                let (from, read) = recover(&log).unwrap_or_else(|error| panic!("{context}: {error}"));
                let rest: Vec<_> = model.iter().filter(|(at, _)| *at >= from).cloned().collect();
                assert!(rest.starts_with(&read), "{context}: what was written, in order");
                assert!(from >= checked, "{context}: the checkpoint in force");
                let known = model.len() - rest.len() + read.len();
                assert!(known >= kept || durability == Durability::Os, "{context}: {known} of {kept}");
                let mut claim = log.claim().unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(claim.last_number, known as u64, "{context}");
                append(&log, &mut claim, b"more");
                assert_eq!(recover(&log).expect("readable").1.len(), read.len() + 1, "{context}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_run_reads_like_a_list(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let durability = if chance.one_in(3) { Durability::Os } else { Durability::Fsync };
        let options = LocalOptions { durability, ..small() };
        let mut disk = SimDisk::new();
        let mut log = open(&disk, options.clone()).expect("opened");
        let mut claim = log.claim().expect("claimed");
        let mut model: Vec<(Position, Vec<u8>)> = vec![];
        let mut bodies = std::collections::BTreeMap::new();
        for _ in 0..120 {
            match chance.below(12) {
                0 => {
                    let next = claim.next;
                    drop(log);
                    disk = if durability == Durability::Fsync && chance.one_in(2) {
                        disk.after_power_cut(chance.number())
                    } else {
                        disk.after_kill()
                    };
                    log = open(&disk, options.clone()).expect("opened");
                    if chance.one_in(2) {
                        recover(&log).expect("readable");
                    }
                    claim = log.claim().expect("claimed");
                    prop_assert_eq!(claim.next, next);
                }
                1 => {
                    let from = model.get(chance.below(model.len() as u64 + 1) as usize).map_or(claim.next, |batch| batch.0);
                    let extents = log.extents();
                    let old = log.checkpoint().expect("readable").map_or(Position::NONE, |checkpoint| checkpoint.replay_from);
                    if from >= old {
                        checkpoint(&log, from).expect("in force");
                        let dead: Vec<_> = extents.iter()
                            .filter(|extent| extent.end <= from && !chance.one_in(3)).map(|extent| extent.first).collect();
                        log.trim(&dead).expect("trimmed");
                        bodies.retain(|_, (extent, _)| !dead.contains(extent));
                    }
                }
                _ => {
                    let large = if chance.one_in(20) { 60_000 } else { 900 };
                    let length = chance.below(large) as usize;
                    let payload = chance.bytes(length);
                    let position = append(&log, &mut claim, &payload);
                    let extent = log.extents().last().expect("the one appended to").first;
                    bodies.insert(position, (extent, payload.clone()));
                    model.push((position, payload));
                }
            }
            let (from, read) = recover(&log).expect("readable");
            let rest: Vec<_> = model.iter().filter(|(at, _)| *at >= from).cloned().collect();
            prop_assert_eq!(read, rest);
        }
        for (position, (_, payload)) in &bodies {
            let mut into = vec![];
            log.get(*position, 0, payload.len(), &mut into).expect("read back");
            prop_assert_eq!(&into, payload);
        }
        prop_assert_eq!(disk.violations(), Vec::<String>::new());
    }
}
