use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Item, Report, backup, check, repair};
use crate::batch::Batch;
use crate::disk::Disk;
use crate::engine::{Claim, Meta, ShardLog};
use crate::error::LogError;
use crate::local::{DataDirectory, Durability, LocalLog, LocalOptions};
use crate::position::Position;
use crate::sim::{Chance, SimDisk};

const DIR: &str = "shard-0";

fn options() -> LocalOptions {
    LocalOptions { smallest: 8 << 10, largest: 8 << 10, background: false, ..LocalOptions::default() }
}

fn open(disk: &SimDisk) -> LocalLog {
    LocalLog::open(Arc::new(disk.clone()), Path::new(DIR), 0, options()).expect("opened")
}

fn batch(payload: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.out().extend_from_slice(payload);
    batch
}

fn fill(log: &LocalLog, claim: &mut Claim, count: u8) -> Vec<(Position, Vec<u8>)> {
    let append = |n| {
        let payload = vec![n; 900];
        (log.append(claim, &mut batch(&payload)).expect("appended"), payload)
    };
    (0..count).map(append).collect()
}

fn checkpoint(log: &LocalLog, from: Position) {
    let mut writer = log.begin_checkpoint().expect("begun");
    writer.write(&mut batch(b"state")).expect("written");
    writer.commit(from).expect("in force");
}

fn read(log: &LocalLog) -> Result<Vec<(Position, Vec<u8>)>, LogError> {
    let mut from = Position::NONE;
    if let Some(mut checkpoint) = log.checkpoint()? {
        from = checkpoint.replay_from;
        while checkpoint.parts.next()?.is_some() {}
    }
    let mut batches = log.read(from)?;
    let mut read = Vec::new();
    while let Some((position, payload)) = batches.next()? {
        read.push((position, payload.to_vec()));
    }
    Ok(read)
}

fn look(disk: &SimDisk) -> Report {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    check(&disk, Path::new(DIR), 0, &mut |_| {}).expect("readable")
}

/// Turns a bit over in the batch at `position`.
fn damage(disk: &SimDisk, log: &LocalLog, position: Position) {
    let extents = log.extents();
    let extent = extents.iter().rev().find(|extent| extent.first <= position).expect("it is somewhere");
    let path = format!("{DIR}/{:016x}.seg", extent.first.number());
    let offset = 4096 + position.number() - extent.first.number() + 100;
    assert!(disk.flip(Path::new(&path), offset * 8));
}

#[test]
fn a_check_shows_everything_in_order() {
    let disk = SimDisk::new();
    let log = open(&disk);
    let mut claim = log.claim().expect("claimed");
    let written = fill(&log, &mut claim, 12);
    checkpoint(&log, written[6].0);
    drop(log);
    let (mut parts, mut batches) = (vec![], vec![]);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = check(&shared, Path::new(DIR), 0, &mut |item| match item {
        Item::Part { number, payload } => parts.push((number, payload.to_vec())),
        Item::Batch { position, number, epoch, replayed, payload } => {
            assert_eq!((epoch, replayed), (1, number > 6));
            batches.push((position, payload.to_vec()));
        }
    });
    let report = report.expect("readable");
    assert_eq!(parts, [(1, b"state".to_vec())]);
    assert_eq!(batches, written);
    assert!(report.damage.is_empty() && report.fatal.is_none() && report.torn.is_none());
    assert_eq!(report.end, Some(claim.next));
    let numbers: Vec<_> =
        report.segments.iter().map(|segment| (segment.batches, segment.last_number)).collect();
    assert_eq!(numbers, [(4, 4), (4, 8), (4, 12)]);
    assert_eq!(
        report.checkpoint.map(|checkpoint| (checkpoint.parts, checkpoint.replay_from)),
        Some((1, written[6].0))
    );
}

#[test]
fn damage_is_listed_whole_and_only_what_keeps_the_log_from_opening_is_fatal() {
    let disk = SimDisk::new();
    let log = open(&disk);
    let mut claim = log.claim().expect("claimed");
    let written = fill(&log, &mut claim, 16);
    checkpoint(&log, written[6].0);
    for n in [1, 5] {
        damage(&disk, &log, written[n].0);
    }
    let report = look(&disk);
    let positions: Vec<_> = report.damage.iter().map(|damage| damage.position).collect();
    assert_eq!(positions, [written[1].0, written[5].0]);
    assert_eq!(report.fatal, None, "it is only messages that are stored there");
    assert_eq!(read(&log).expect("readable"), written[6..]);
    for n in [8, 10] {
        damage(&disk, &log, written[n].0);
    }
    let report = look(&disk);
    assert_eq!(report.damage.len(), 4);
    assert_eq!(report.fatal.map(|damage| damage.position), Some(written[8].0));
    damage(&disk, &log, written[15].0);
    let report = look(&disk);
    assert_eq!(report.damage.len(), 4);
    let torn = report.torn.expect("the last batch may be torn");
    assert_eq!(torn.reason, "its checksum is wrong");
}

#[test]
fn a_repaired_log_opens_and_keeps_all_before_the_damage() {
    for (damaged, from) in [(0, 0), (1, 0), (4, 0), (5, 0), (11, 0), (7, 6), (8, 6), (6, 6), (9, 8)] {
        let disk = SimDisk::new();
        let log = open(&disk);
        let mut claim = log.claim().expect("claimed");
        let written = fill(&log, &mut claim, 14);
        if from > 0 {
            checkpoint(&log, written[from].0);
        }
        damage(&disk, &log, written[damaged].0);
        drop(log);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let done = repair(&shared, Path::new(DIR), 0).expect("repaired");
        assert_eq!(done.cut_at, Some(written[damaged].0));
        assert!(done.report.fatal.is_none() && !done.set_aside.is_empty(), "{done:?}");
        assert_eq!(done.report.set_aside.len(), done.set_aside.len());
        let disk = disk.after_power_cut(damaged as u64);
        let log = open(&disk);
        assert_eq!(read(&log).expect("it opens"), written[from..damaged], "{damaged}, {from}");
        let mut claim = log.claim().expect("claimed");
        assert_eq!(claim.next, written[damaged].0);
        assert!(claim.epoch > 1);
        let more = fill(&log, &mut claim, 9);
        drop(log);
        let expected: Vec<_> = written[from..damaged].iter().cloned().chain(more).collect();
        assert_eq!(read(&open(&disk)).expect("it opens"), expected);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let again = repair(&shared, Path::new(DIR), 0).expect("nothing to do");
        assert!(again.cut_at.is_none() && again.set_aside.is_empty());
    }
}

#[test]
fn headers_checkpoints_and_missing_segments_can_be_repaired_as_well() {
    let cases: [(&str, Option<u64>, usize); 5] = [
        // File, bit (none: removed), batches that remain.
        ("checkpoint", Some(8 * 4140), 10),
        ("checkpoint", Some(8 * 4), 10),
        ("first", Some(8 * 20), 0),
        ("second", Some(8 * 20), 2),
        ("second", None, 2),
    ];
    for (file, bit, kept) in cases {
        let disk = SimDisk::new();
        let log = open(&disk);
        let mut claim = log.claim().expect("claimed");
        let written = fill(&log, &mut claim, 14);
        checkpoint(&log, written[6].0);
        let extents = log.extents();
        log.trim(&[extents[0].first]).expect("trimmed");
        let path = match file {
            "first" => format!("{DIR}/{:016x}.seg", extents[1].first.number()),
            "second" => format!("{DIR}/{:016x}.seg", extents[2].first.number()),
            other => format!("{DIR}/{other}"),
        };
        drop(log);
        match bit {
            Some(bit) => assert!(disk.flip(Path::new(&path), bit)),
            None => disk.remove(Path::new(&path)).expect("removed"),
        }
        assert!(look(&disk).fatal.is_some(), "{file} {bit:?}");
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let done = repair(&shared, Path::new(DIR), 0).expect("repaired");
        assert!(done.report.fatal.is_none(), "{file} {bit:?}: {done:?}");
        assert_eq!(done.lost_checkpoint, file == "checkpoint");
        let log = open(&disk.after_power_cut(1));
        assert_eq!(read(&log).expect("it opens").len(), kept, "{file} {bit:?}");
        let mut claim = log.claim().expect("claimed");
        fill(&log, &mut claim, 3);
        assert_eq!(read(&log).expect("it opens").len(), kept + 3, "{file} {bit:?}");
    }
}

/// Does something bad to one of the files.
fn spoil(disk: &SimDisk, chance: &mut Chance) {
    let files = disk.files();
    let Some((path, len)) = files.get(chance.below(files.len() as u64) as usize) else { return };
    let at = chance.below(*len.max(&1));
    match chance.below(6) {
        0 => disk.remove(path).expect("removed"),
        1 => disk.open(path).and_then(|file| file.truncate(at)).expect("cut"),
        2 => {
            let (other, _) = &files[chance.below(files.len() as u64) as usize];
            if other != path {
                disk.rename(path, other).expect("renamed");
            }
        }
        3 => {
            let length = chance.below(3000) as usize;
            let junk = chance.bytes(length);
            disk.open(path).and_then(|file| file.write_at(&junk, at & !7)).expect("written");
        }
        _ => {
            // Mostly where it matters: in headers.
            let at = if chance.one_in(2) { 4096 + chance.below(40) } else { at };
            let _ = disk.flip(path, at * 8 + chance.below(8));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_to_the_files_a_repair_makes_them_a_log_again(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let disk = SimDisk::new();
        let log = open(&disk);
        let mut claim = log.claim().expect("claimed");
        let written = fill(&log, &mut claim, 6 + chance.below(12) as u8);
        if chance.one_in(2) {
            let from = chance.below(written.len() as u64) as usize;
            checkpoint(&log, written[from].0);
            let dead: Vec<_> = log.extents().iter()
                .filter(|extent| extent.end <= written[from].0 && chance.one_in(2)).map(|extent| extent.first).collect();
            log.trim(&dead).expect("trimmed");
        }
        drop(log);
        for _ in 0..1 + chance.below(3) {
            spoil(&disk, &mut chance);
        }
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let before = look(&disk);
        let opens = LocalLog::open(Arc::clone(&shared), Path::new(DIR), 0, options()).and_then(|log| read(&log).map(|_| ()));
        prop_assert_eq!(before.fatal.is_none(), opens.is_ok(), "a check says what an opening will say: {:?}", opens);
        let done = repair(&shared, Path::new(DIR), 0).expect("repaired");
        prop_assert!(done.report.fatal.is_none(), "{:?}", done);
        let log = open(&disk);
        let kept = read(&log).expect("it opens");
        prop_assert!(kept.iter().all(|batch| written.contains(batch)));
        let mut claim = log.claim().expect("claimed");
        let more = fill(&log, &mut claim, 5);
        drop(log);
        let expected: Vec<_> = kept.into_iter().chain(more).collect();
        prop_assert_eq!(read(&open(&disk.after_power_cut(seed))).expect("it opens"), expected);
    }
}

#[test]
fn a_backup_of_a_directory_in_use_holds_what_was_confirmed_and_lets_nothing_go_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (dir.path().join("data"), dir.path().join("copy"));
    let data = DataDirectory::open(&from).expect("opened");
    std::fs::write(from.join("passwords"), "ada:hash\n").expect("written");
    let meta = data.open_meta(Durability::Fsync).expect("opened");
    meta.compare_and_set("key", 0, Some(b"value")).expect("set");
    let log = data.open_shard(0, options()).expect("opened");
    let mut claim = log.claim().expect("claimed");
    let mut written = fill(&log, &mut claim, 20);
    checkpoint(&log, written[5].0);
    let made = std::thread::scope(|scope| {
        let copying = scope.spawn(|| backup(&from, &to));
        while !copying.is_finished() {
            written.extend(fill(&log, &mut claim, 1));
        }
        copying.join().expect("no panic").expect("made")
    });
    assert_eq!(made.logs.len(), 2);
    assert!(made.logs.iter().all(|(_, report)| report.damage.is_empty() && report.fatal.is_none()));
    let copy = DataDirectory::open_existing(&to).expect("a data directory");
    let read_back = read(&copy.open_shard(0, options()).expect("opened")).expect("readable");
    assert!(read_back.len() >= 15 && written[5..].starts_with(&read_back));
    let value = copy.open_meta(Durability::Fsync).expect("opened").get("key").expect("readable");
    assert_eq!(value.expect("there").value, b"value");
    assert_eq!(std::fs::read_to_string(to.join("passwords")).expect("there"), "ada:hash\n");
    assert!(matches!(backup(&from, &to), Err(LogError::Io { .. })), "it is not empty");

    let lock = crate::local::data_directory::open_lock(&from.join("backup.lock")).expect("opened");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared).expect("locked");
    let extents = log.extents();
    assert!(matches!(log.trim(&[extents[0].first]), Err(LogError::BackupRunning { .. })));
    let writer = log.begin_checkpoint().expect("begun");
    assert!(matches!(writer.commit(claim.next), Err(LogError::BackupRunning { .. })));
    assert_eq!(log.extents(), extents);
    drop(lock);
    log.trim(&[extents[0].first]).expect("trimmed");
    checkpoint(&log, claim.next);
}

#[test]
fn a_backup_shows_the_damage_of_its_original() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (dir.path().join("data"), dir.path().join("copy"));
    let data = DataDirectory::open(&from).expect("opened");
    let log = data.open_shard(0, options()).expect("opened");
    let mut claim = log.claim().expect("claimed");
    let written = fill(&log, &mut claim, 3);
    let extent = log.extents().pop().expect("the last one");
    let path = from.join(format!("{DIR}/{:016x}.seg", extent.first.number()));
    let mut bytes = std::fs::read(&path).expect("readable");
    bytes[(4096 + written[1].0.number() - extent.first.number() + 100) as usize] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let made = backup(&from, &to).expect("made");
    let fatal = made.logs[0].1.fatal.as_ref().expect("it does not open, either");
    assert_eq!(fatal.position, written[1].0);
}
