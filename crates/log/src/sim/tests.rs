use std::collections::BTreeSet;
use std::sync::Arc;

use std::io;
use std::path::{Path, PathBuf};

use super::*;
use crate::disk::{Disk, File};

fn path(name: &str) -> &Path {
    Path::new(name)
}

/// A disk with a durable file `f` of four sectors of ones.
fn disk_with_file() -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new();
    let file = disk.create(path("f")).expect("create");
    file.write_at(&[1; 2048], 0).expect("write");
    file.sync().expect("sync");
    disk.sync_dir(path("")).expect("sync the directory");
    (disk, file)
}

fn read(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(path(name)).expect("open");
    let mut bytes = vec![0; file.len().expect("length") as usize];
    assert_eq!(file.read_at(&mut bytes, 0).expect("read"), bytes.len());
    bytes
}

#[test]
fn what_is_written_is_read_and_survives_the_process() {
    let (disk, file) = disk_with_file();
    file.write_at(b"abc", 5000).expect("write");
    let mut expected = vec![1; 2048];
    expected.resize(5000, 0);
    expected.extend_from_slice(b"abc");
    assert_eq!(read(&disk, "f"), expected);
    assert_eq!(read(&disk.after_kill(), "f"), expected);
    let mut few = [9; 4];
    assert_eq!(file.read_at(&mut few, 5001).expect("read"), 2);
    assert_eq!(&few, b"bc\x09\x09");
    assert_eq!(file.read_at(&mut few, 6000).expect("read"), 0);
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_any_sectors_of_the_rest() {
    let (disk, file) = disk_with_file();
    file.write_at(&[2; 2048], 0).expect("write");
    file.write_at(&[3; 600], 1000).expect("write");
    let mut seen = BTreeSet::new();
    for seed in 0..500 {
        let bytes = read(&disk.after_power_cut(seed), "f");
        assert_eq!(bytes.len(), 2048);
        let sectors: Vec<_> = bytes.chunks(512).collect();
        for (index, sector) in sectors.iter().enumerate() {
            let mut third = vec![2; 512];
            for (at, byte) in third.iter_mut().enumerate() {
                if (1000..1600).contains(&(index * 512 + at)) {
                    *byte = 3;
                }
            }
            assert!(sector == &[1; 512] || sector == &[2; 512] || *sector == &third[..], "sector {index}");
        }
        seen.insert(bytes);
    }
    assert!(seen.len() > 20, "only {} outcomes", seen.len());
    file.sync().expect("sync");
    let expected = read(&disk, "f");
    assert!((0..50).all(|seed| read(&disk.after_power_cut(seed), "f") == expected));
}

#[test]
fn the_length_of_a_file_that_was_not_synced_is_open() {
    let (disk, file) = disk_with_file();
    file.allocate(8192).expect("allocate");
    file.write_at(&[2; 1024], 4096).expect("write");
    file.truncate(1024).expect("truncate");
    let lengths: BTreeSet<_> = (0..200).map(|seed| read(&disk.after_power_cut(seed), "f").len()).collect();
    assert_eq!(lengths, BTreeSet::from([1024, 2048, 8192]));
    file.sync().expect("sync");
    assert_eq!(read(&disk.after_power_cut(0), "f"), vec![1; 1024]);
}

#[test]
fn names_are_durable_when_their_directory_is_synced() {
    let (disk, _file) = disk_with_file();
    disk.create_dir(path("d/e")).expect("create the directories");
    let new = disk.create(path("d/e/new")).expect("create");
    new.write_at(b"new", 0).expect("write");
    new.sync().expect("sync");
    disk.rename(path("d/e/new"), path("d/e/g")).expect("rename");
    disk.remove(path("f")).expect("remove");
    let names = |disk: &SimDisk| disk.files().into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    let outcomes: BTreeSet<_> = (0..300).map(|seed| names(&disk.after_power_cut(seed))).collect();
    let outcome = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    for expected in [&["f"][..], &["d/e/g"], &["d/e/new", "f"], &["d/e/g", "f"], &[]] {
        assert!(outcomes.contains(&outcome(expected)), "{expected:?} is not among {outcomes:?}");
    }
    disk.rename(path("d/e/g"), path("d/e/h")).expect("rename");
    for seed in 0..300 {
        let names = names(&disk.after_power_cut(seed));
        assert!(
            names.iter().filter(|name| name.starts_with("d")).count() <= 1,
            "one file, two names: {names:?}"
        );
    }
    disk.rename(path("d/e/h"), path("d/e/g")).expect("rename");
    for directory in ["", "d", "d/e"] {
        disk.sync_dir(path(directory)).expect("sync the directory");
    }
    assert!((0..50).all(|seed| names(&disk.after_power_cut(seed)) == outcome(&["d/e/g"])));
    assert_eq!(disk.list(path("")).expect("list"), ["d"]);
    assert_eq!(disk.list(path("d/e")).expect("list"), ["g"]);
    assert!(disk.list(path("x")).is_err());
    assert_eq!(disk.open(path("f")).expect_err("removed").kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.create(path("d/e/g")).expect_err("there").kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(disk.create(path("y/z")).expect_err("no directory").kind(), io::ErrorKind::NotFound);
}

#[test]
fn after_a_failed_sync_the_next_one_lies() {
    let (disk, file) = disk_with_file();
    file.write_at(&[2; 2048], 0).expect("write");
    disk.fail(Fault::eio(Operation::Sync, "f"));
    assert_eq!(file.sync().expect_err("fails").raw_os_error(), Some(5));
    assert!(disk.violations().is_empty());
    file.sync().expect("says that all is well");
    assert_eq!(disk.violations(), ["f was synced again after an error"]);
    assert_eq!(read(&disk, "f"), [2; 2048], "memory still has it");
    let left = read(&disk.after_power_cut(1), "f");
    assert!((2..50).all(|seed| read(&disk.after_power_cut(seed), "f") == left), "the disk has decided");
    disk.drop_caches();
    assert_eq!(read(&disk, "f"), left);
    assert_eq!(disk.after_power_cut(1).violations().len(), 1);
}

#[test]
fn faults_strike_when_they_were_told_to() {
    let (disk, file) = disk_with_file();
    disk.fail(Fault::eio(Operation::Write, "f").after(1).times(2));
    disk.fail(Fault::eio(Operation::Write, "other"));
    let results: Vec<_> = (0..4).map(|_| file.write_at(&[2], 0).is_ok()).collect();
    assert_eq!(results, [true, false, false, true]);
    disk.fail(Fault::short("f", 10));
    assert!(file.write_at(&[3; 100], 0).is_err());
    assert_eq!(read(&disk, "f")[..12], [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 1]);
    for operation in [Operation::Read, Operation::Allocate, Operation::Truncate, Operation::Rename] {
        disk.fail(Fault::eio(operation, "f").times(9));
    }
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(file.allocate(9999).is_err() && file.truncate(1).is_err());
    assert!(disk.rename(path("f"), path("g")).is_err());
    disk.heal();
    disk.rename(path("f"), path("g")).expect("healed");
    assert_eq!(file.len().expect("length"), 2048);
}

#[test]
fn a_full_disk_takes_what_fits_and_heals_when_files_are_closed() {
    let (disk, file) = disk_with_file();
    disk.set_capacity(Some(3 * 4096));
    let other = disk.create(path("other")).expect("create");
    let error = other.write_at(&[1; 10_000], 0).expect_err("too much");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(other.len().expect("length"), 8192);
    assert_eq!(disk.used(), 3 * 4096);
    file.write_at(&[2; 2048], 2048).expect("inside a page that is taken");
    assert_eq!(file.allocate(4097).expect_err("full").kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.create(path("third")).expect_err("full").kind(), io::ErrorKind::StorageFull);
    disk.remove(path("other")).expect("remove");
    assert_eq!(disk.used(), 3 * 4096);
    drop(other);
    assert_eq!(disk.used(), 4096);
    file.write_at(&[2; 8192], 4096).expect("there is space again");
}

#[test]
fn a_bit_that_turns_over_is_turned_in_memory_and_on_the_disk() {
    let (disk, _file) = disk_with_file();
    assert!(disk.flip(path("f"), 8 * 700 + 3));
    assert!(!disk.flip(path("f"), 8 * 2048) && !disk.flip(path("g"), 0));
    for disk in [disk.after_kill(), disk.after_power_cut(1)] {
        assert_eq!(read(&disk, "f")[699..702], [1, 1 ^ 8, 1]);
    }
}

#[test]
fn nothing_happens_when_the_power_is_off() {
    let (disk, file) = disk_with_file();
    disk.power_off_after(1);
    file.write_at(&[2; 512], 0).expect("the last step");
    assert!(disk.is_off());
    assert!(file.write_at(&[3; 512], 512).is_err() && file.sync().is_err() && file.len().is_err());
    assert!(disk.remove(path("f")).is_err() && disk.open(path("f")).is_err());
    let left: BTreeSet<_> = (0..50).map(|seed| read(&disk.after_power_cut(seed), "f")[0]).collect();
    assert_eq!(left, BTreeSet::from([1, 2]));
    assert!(disk.violations().is_empty());
}

#[test]
fn a_recorded_run_can_be_stopped_at_every_step() {
    let disk = SimDisk::new();
    let file = disk.create(path("f")).expect("create");
    disk.record();
    let before = disk.steps();
    for byte in 1..4 {
        file.write_at(&[byte; 512], 0).expect("write");
    }
    file.sync().expect("sync");
    let history = disk.history().expect("recorded");
    assert_eq!((history.first(), history.len()), (before, 4));
    let seen: Vec<_> = history.disks().map(|disk| read(&disk, "f").first().copied()).collect();
    assert_eq!(seen, [None, Some(1), Some(2), Some(3), Some(3)]);
    assert!(history.describe(0).contains("Write"));
}

#[test]
fn a_sync_that_is_held_covers_what_was_written_before_it() {
    let (disk, file) = disk_with_file();
    disk.hold_syncs();
    file.write_at(&[2; 512], 0).expect("write");
    let syncing = std::thread::spawn({
        let file = file.clone();
        move || file.sync()
    });
    disk.await_held_syncs(1);
    file.write_at(&[3; 512], 512).expect("write");
    assert!((0..50).any(|seed| read(&disk.after_power_cut(seed), "f")[0] == 1));
    disk.release_syncs();
    syncing.join().expect("no panic").expect("sync");
    let after: BTreeSet<_> = (0..50)
        .map(|seed| read(&disk.after_power_cut(seed), "f"))
        .map(|bytes| (bytes[0], bytes[512]))
        .collect();
    assert_eq!(after, BTreeSet::from([(2, 1), (2, 3)]));
    assert_eq!(disk.counts(path("f")), Counts { writes: 3, bytes: 3072, syncs: 2, reads: 0 });
    assert_eq!(disk.total(), disk.counts(path("f")));
}
