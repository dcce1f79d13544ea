//! What is cut, and what is reported.

use std::path::{Path, PathBuf};

use super::faults::open;
use super::{append, read, small};
use crate::batch::BATCH_HEADER;
use crate::disk::Disk;
use crate::engine::ShardLog;
use crate::error::LogError;
use crate::local::LocalOptions;
use crate::local::segment::first_of;
use crate::position::Position;
use crate::sim::SimDisk;

fn segments(disk: &SimDisk) -> Vec<(PathBuf, u64)> {
    let is_segment = |(path, _): &(PathBuf, u64)| {
        path.file_name().is_some_and(|name| first_of(&name.to_string_lossy()).is_some())
    };
    disk.files().into_iter().filter(is_segment).collect()
}

#[test]
fn a_torn_last_batch_is_cut_whatever_byte_it_ends_at() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).expect("opened");
    let mut claim = log.claim().expect("claimed");
    append(&log, &mut claim, b"one");
    append(&log, &mut claim, b"two");
    let last = append(&log, &mut claim, &[0xaa; 100]);
    let kept = read(&log, Position::NONE).expect("readable")[..2].to_vec();
    let start = 4096 + last.number() - 64;
    let end = start + BATCH_HEADER as u64 + 100;
    for cut in start..end {
        let disk = disk.after_kill();
        let file = disk.open(&segments(&disk)[0].0).expect("opened");
        file.write_at(&vec![0; (end - cut) as usize], cut).expect("written");
        let log = open(&disk, small()).expect("opened");
        assert_eq!(read(&log, Position::NONE).expect("a torn end is no damage"), kept, "cut at {cut}");
        let mut claim = log.claim().expect("claimed");
        assert_eq!(claim.next, last);
        append(&log, &mut claim, b"again");
        drop(log);
        let log = open(&disk.after_power_cut(cut), small()).expect("opened");
        assert_eq!(read(&log, last).expect("readable"), [(last, b"again".to_vec())]);
    }
}

#[test]
fn a_file_that_ends_early_is_a_torn_end_only_within_the_last_batch() {
    let disk = SimDisk::new();
    let log = open(&disk, small()).expect("opened");
    let mut claim = log.claim().expect("claimed");
    for n in 0..3 {
        append(&log, &mut claim, &[n; 100]);
    }
    let written = read(&log, Position::NONE).expect("readable");
    for (cut, kept) in [(100, 2), (39, 2), (1, 2), (0, 2), (139, 2), (140, 3)] {
        let disk = disk.after_kill();
        let path = &segments(&disk)[0].0;
        let last = 4096 + written[2].0.number() - 64;
        disk.open(path).and_then(|file| file.truncate(last + cut)).expect("cut");
        let log = open(&disk, small()).expect("opened");
        assert_eq!(read(&log, Position::NONE).expect("readable"), written[..kept], "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_is_reported_or_takes_the_last_batch_alone_or_changes_nothing() {
    let disk = SimDisk::new();
    let log = open(&disk, LocalOptions { smallest: 8192, largest: 8192, ..small() }).expect("opened");
    let mut claim = log.claim().expect("claimed");
    for n in 0..12_u8 {
        append(&log, &mut claim, &[n; 700]);
    }
    let written = read(&log, Position::NONE).expect("readable");
    let paths = segments(&disk);
    assert!(paths.len() >= 3);
    let mut reported = 0;
    for (n, (path, len)) in paths.iter().enumerate() {
        for bit in (0..len * 8).step_by(37) {
            let disk = disk.after_kill();
            assert!(disk.flip(path, bit));
            let log = open(&disk, small()).expect("opened");
            match read(&log, Position::NONE) {
                Ok(read) if read == written => {}
                Ok(read) => {
                    assert_eq!(n, paths.len() - 1, "only in the last segment");
                    assert_eq!(read, written[..written.len() - 1], "only the last batch");
                }
                Err(LogError::Damaged(damage)) => {
                    reported += 1;
                    assert_eq!(Path::new(path), damage.path, "{damage}");
                    assert!(damage.offset <= bit / 8);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(reported > 1000, "{reported}");
}
