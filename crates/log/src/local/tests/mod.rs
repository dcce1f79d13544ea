//! The engine on real files: kept against a model, cut short, damaged, trimmed.

mod corpus;
mod damage;
mod directory;
mod faults;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::batch::{BATCH_HEADER, Batch};
use crate::engine::{Claim, ShardLog};
use crate::error::LogError;
use crate::position::Position;
use crate::std_disk::StdDisk;

pub(crate) fn small() -> LocalOptions {
    LocalOptions { smallest: 8 << 10, largest: 32 << 10, background: false, ..LocalOptions::default() }
}

pub(crate) fn open(dir: &Path, options: LocalOptions) -> LocalLog {
    LocalLog::open(Arc::new(StdDisk::new(dir)), Path::new("shard-0"), 0, options).expect("opened")
}

pub(crate) fn batch(payload: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.out().extend_from_slice(payload);
    batch
}

pub(crate) fn append(log: &LocalLog, claim: &mut Claim, payload: &[u8]) -> Position {
    log.append(claim, &mut batch(payload)).expect("appended")
}

pub(crate) fn read(log: &LocalLog, from: Position) -> Result<Vec<(Position, Vec<u8>)>, LogError> {
    let mut batches = log.read(from)?;
    let mut read = Vec::new();
    while let Some((position, payload)) = batches.next()? {
        read.push((position, payload.to_vec()));
    }
    Ok(read)
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir.join("shard-0")).expect("listed").map(|entry| entry.expect("entry").path());
    let mut names: Vec<_> = names
        .filter(|path| segment::first_of(&path.file_name().expect("name").to_string_lossy()).is_some())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_appended_is_read_back_after_every_reopening_and_numbers_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut written = Vec::new();
    for round in 0..5_u64 {
        let log = open(dir.path(), small());
        assert_eq!(read(&log, Position::NONE).expect("readable"), written);
        let mut claim = log.claim().expect("claimed");
        assert_eq!((claim.epoch, claim.last_number), (round + 1, 40 * round));
        for n in 0..40_usize {
            let payload = vec![n as u8; n * 37];
            let expected = claim.next;
            let position = append(&log, &mut claim, &payload);
            assert_eq!(position, expected);
            assert_eq!(claim.next, log.position_after(position, payload.len()));
            written.push((position, payload));
        }
        assert_eq!(read(&log, Position::NONE).expect("readable"), written);
        for (position, payload) in &written {
            let mut into = b"before".to_vec();
            log.get(*position, 0, payload.len(), &mut into).expect("read back");
            assert_eq!(&into[6..], payload);
        }
    }
    assert!(segments(dir.path()).len() > 3, "it took several segments");
}

#[test]
fn an_earlier_claim_is_fenced() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path(), small());
    let mut first = log.claim().expect("claimed");
    append(&log, &mut first, b"one");
    let mut second = log.claim().expect("claimed");
    assert!(second.epoch > first.epoch);
    assert!(matches!(log.append(&mut first, &mut batch(b"two")), Err(crate::error::AppendError::Fenced)));
    append(&log, &mut second, b"three");
    let payloads: Vec<_> =
        read(&log, Position::NONE).expect("readable").into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(payloads, [b"one".to_vec(), b"three".to_vec()]);
}

#[test]
fn a_batch_larger_than_any_segment_gets_one_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path(), small());
    let mut claim = log.claim().expect("claimed");
    let sizes = [10, 200_000, 10, 32 << 10, (32 << 10) - 4096 - BATCH_HEADER, 20_000, 20_000];
    let written: Vec<_> = sizes
        .iter()
        .map(|size| {
            let payload = vec![7; *size];
            (append(&log, &mut claim, &payload), payload)
        })
        .collect();
    assert_eq!(read(&log, Position::NONE).expect("readable"), written);
    drop(log);
    let log = open(dir.path(), small());
    assert_eq!(read(&log, written[2].0).expect("readable"), written[2..]);
    let lens: Vec<u64> =
        segments(dir.path()).iter().map(|path| fs::metadata(path).expect("there").len()).collect();
    assert_eq!(lens[..2], [8 << 10, 204_800], "a large batch does not make later segments large");
    assert!(lens[2..].iter().all(|len| *len <= 40 << 10), "{lens:?}");
}

#[test]
fn a_missing_segment_is_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path(), small());
    let mut claim = log.claim().expect("claimed");
    let first = append(&log, &mut claim, &[0; 3000]);
    for _ in 0..30 {
        append(&log, &mut claim, &[0; 3000]);
    }
    drop(log);
    let paths = segments(dir.path());
    fs::remove_file(&paths[1]).expect("removed");
    let log = open(dir.path(), small());
    assert!(matches!(read(&log, first), Err(LogError::Damaged(_))));
    assert!(matches!(log.claim(), Err(LogError::Damaged(_))));
}

#[test]
fn dead_segments_become_the_spare_one_and_nothing_of_their_life_comes_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LocalOptions { smallest: 16 << 10, largest: 16 << 10, ..small() };
    let log = open(dir.path(), options.clone());
    let mut claim = log.claim().expect("claimed");
    let mut model = BTreeMap::new();
    for n in 0..200_u32 {
        let payload = n.to_le_bytes().repeat(200);
        model.insert(append(&log, &mut claim, &payload), payload);
        if n % 20 == 19 {
            let extents = log.extents();
            let dead: Vec<_> = extents[..extents.len() - 1].iter().map(|extent| extent.first).collect();
            log.trim(&dead).expect("trimmed");
            model.retain(|position, _| *position >= extents[extents.len() - 1].first);
            assert_eq!(log.extents().len(), 1);
            assert_eq!(log.metrics().disk_bytes, 32 << 10, "one in use, one spare");
        }
    }
    assert!(log.metrics().prepared >= 9, "{:?}", log.metrics());
    drop(log);
    let log = open(dir.path(), options);
    let read: BTreeMap<_, _> = read(&log, Position::NONE).expect("readable").into_iter().collect();
    assert_eq!(read, model);
}

#[test]
fn a_checkpoint_is_whole_or_the_earlier_one_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let parts = |log: &LocalLog| {
        let mut checkpoint = log.checkpoint().expect("readable")?;
        let mut parts = Vec::new();
        while let Some(part) = checkpoint.parts.next().expect("whole") {
            parts.push(part.to_vec());
        }
        Some((checkpoint.replay_from, parts))
    };
    let log = open(dir.path(), small());
    assert!(parts(&log).is_none());
    let mut claim = log.claim().expect("claimed");
    append(&log, &mut claim, b"one");
    for payload in [b"abc".to_vec(), vec![5; 9 << 20]] {
        let mut writer = log.begin_checkpoint().expect("begun");
        assert!(log.begin_checkpoint().is_err(), "one at a time");
        writer.write(&mut batch(&payload)).expect("written");
        writer.write(&mut batch(b"")).expect("written");
        writer.commit(claim.next).expect("in force");
        assert_eq!(parts(&log), Some((claim.next, vec![payload, vec![]])));
    }
    let mut writer = log.begin_checkpoint().expect("begun");
    writer.write(&mut batch(b"never finished")).expect("written");
    drop(writer);
    let next = claim.next;
    drop(log);
    let log = open(dir.path(), small());
    assert_eq!(parts(&log), Some((next, vec![vec![5; 9 << 20], vec![]])));
    assert_eq!(log.claim().expect("claimed").last_number, 1, "the number is known without a batch behind it");
    drop(log);
    let path = dir.path().join("shard-0/checkpoint");
    let whole = fs::read(&path).expect("read");
    for at in [0, 20, 4096 + 20, 4096 + 5000, whole.len() - 3, whole.len() - 50] {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        fs::write(&path, &flipped).expect("written");
        let log = open(dir.path(), small());
        let outcome = log.checkpoint().and_then(|checkpoint| {
            let mut parts = checkpoint.expect("there").parts;
            while parts.next()?.is_some() {}
            Ok(())
        });
        assert!(matches!(outcome, Err(LogError::Damaged(_))), "byte {at}");
    }
}

#[test]
fn what_the_system_lost_of_an_unsynced_log_ends_it_and_never_comes_to_light_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LocalOptions { durability: Durability::Os, ..small() };
    let log = open(dir.path(), options.clone());
    let mut claim = log.claim().expect("claimed");
    let positions: Vec<_> = (0..4_u8).map(|n| append(&log, &mut claim, &[n; 64])).collect();
    drop(log);
    let path = segments(dir.path()).remove(0);
    let mut content = fs::read(&path).expect("read");
    content[4096 + (positions[1].number() - 64) as usize + 50] ^= 1;
    fs::write(&path, content).expect("written");
    let log = open(dir.path(), options.clone());
    let mut claim = log.claim().expect("claimed");
    assert_eq!((claim.next, claim.last_number), (positions[1], 1));
    append(&log, &mut claim, &[9; 64]);
    drop(log);
    let log = open(dir.path(), LocalOptions { durability: Durability::Fsync, ..options });
    let read = read(&log, Position::NONE).expect("readable");
    assert_eq!(read, [(positions[0], vec![0; 64]), (positions[1], vec![9; 64])]);
    let mut claim = log.claim().expect("claimed");
    append(&log, &mut claim, b"synced");
    assert_eq!(log.extents().len(), 3, "synced batches do not share a segment with others");
}

#[test]
fn the_next_segment_is_prepared_before_it_is_needed() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = open(dir.path(), LocalOptions { background: true, ..small() });
    let mut claim = log.claim().expect("claimed");
    append(&log, &mut claim, &[0; 3000]);
    while log.metrics().disk_bytes < (8 << 10) + (16 << 10) {
        std::thread::yield_now();
    }
    append(&log, &mut claim, &[0; 3000]);
    let metrics = log.metrics();
    assert_eq!((metrics.prepared, metrics.unprepared, metrics.segments), (1, 1, 2));
}

#[test]
fn zeros_are_not_written_ahead_of_large_batches() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LocalOptions { background: true, smallest: 1 << 20, largest: 1 << 20, ..small() };
    for (size, zeros) in [(300 << 10, 0), (100 << 10, 1 << 20)] {
        let log = open(&dir.path().join(zeros.to_string()), options.clone());
        let mut claim = log.claim().expect("claimed");
        for _ in 0..(700 << 10) / size {
            append(&log, &mut claim, &vec![0; size]);
        }
        while log.metrics().disk_bytes < 2 << 20 {
            std::thread::yield_now();
        }
        assert_eq!(log.metrics().other_bytes, 4096 + zeros);
    }
}

#[test]
fn an_unsynced_log_that_lost_nothing_goes_on_in_its_segment() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LocalOptions { durability: Durability::Os, ..small() };
    for n in 0..5 {
        let log = open(dir.path(), options.clone());
        let mut claim = log.claim().expect("claimed");
        assert_eq!((claim.last_number, log.extents().len()), (n, 1));
        append(&log, &mut claim, b"more");
    }
}

#[test]
fn segments_grow_with_the_log_and_shrink_back_when_it_is_empty() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LocalOptions { smallest: 8 << 10, largest: 64 << 10, ..small() };
    let log = open(dir.path(), options.clone());
    let mut claim = log.claim().expect("claimed");
    let sizes = |log: &LocalLog| log.extents().iter().map(|extent| extent.bytes >> 10).collect::<Vec<_>>();
    let trim = |log: &LocalLog| {
        let extents = log.extents();
        let dead: Vec<_> = extents[..extents.len() - 1].iter().map(|extent| extent.first).collect();
        log.trim(&dead).expect("trimmed");
    };
    while log.extents().len() < 6 {
        append(&log, &mut claim, &[0; 900]);
    }
    assert_eq!(sizes(&log), [8, 16, 32, 64, 64, 64]);
    drop(log);
    let log = open(dir.path(), options);
    let mut claim = log.claim().expect("claimed");
    while log.extents().len() < 7 {
        append(&log, &mut claim, &[0; 900]);
    }
    assert_eq!(sizes(&log).last(), Some(&64), "a restart goes on with the size reached");
    trim(&log);
    assert_eq!(log.metrics().disk_bytes, 80 << 10, "the spare one is no larger than is needed now");
    let mut seen = vec![];
    for _ in 0..4 {
        while log.extents().len() < 2 {
            append(&log, &mut claim, &[0; 900]);
        }
        trim(&log);
        seen.push(log.metrics().disk_bytes >> 10);
    }
    assert!(seen.iter().all(|kibibytes| *kibibytes <= 32), "{seen:?}");
}
