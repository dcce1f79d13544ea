//! Whose directory it is.

use std::fs;

use crate::error::LogError;
use crate::local::{DataDirectory, LocalOptions};

#[test]
fn a_directory_is_made_locked_and_recognised() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("new/data");
    let first = DataDirectory::open(&path).expect("made");
    assert!(matches!(DataDirectory::open(&path), Err(LogError::Locked { .. })));
    assert_eq!(fs::read_to_string(path.join("FORMAT")).expect("there"), "tercet 1\n");
    drop(first.open_shard(0, LocalOptions::default()).expect("opened"));
    assert!(path.join("shard-0").is_dir());
    drop(first);
    DataDirectory::open_existing(&path).expect("it is free again");
}

#[test]
fn foreign_and_newer_directories_are_left_alone() {
    type Files<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Files<'_>, Option<&str>); 7] = [
        (
            &[("notes.txt", "mine")],
            Some("is no data directory of Tercet: it holds notes.txt, but no file FORMAT"),
        ),
        (&[("FORMAT", "parquet 1\n")], Some("its file FORMAT is not one of Tercet's")),
        (&[("FORMAT", "")], Some("its file FORMAT is not one of Tercet's")),
        (&[("FORMAT", "tercet 2\n")], Some("has format 2, this version reads up to 1")),
        (&[("passwords", "a:b"), ("passwords.00ff.tmp", "")], None),
        (&[("FORMAT", "tercet 1\n"), ("notes.txt", "mine")], None),
        (&[("FORMAT.tmp", "terc"), ("LOCK", "")], None),
    ];
    for (files, expected) in cases {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, content) in files {
            fs::write(dir.path().join(name), content).expect("written");
        }
        match (DataDirectory::open(dir.path()), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                assert!(error.to_string().contains(expected), "{error}");
                let left = fs::read_dir(dir.path()).expect("listed").count();
                assert_eq!(left, files.len(), "nothing is left behind in it");
            }
            (outcome, _) => panic!("{files:?}: {outcome:?}"),
        }
    }
}

#[test]
fn tools_do_not_make_directories() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(DataDirectory::open_existing(&dir.path().join("missing")).is_err());
    assert!(matches!(DataDirectory::open_existing(dir.path()), Err(LogError::NotADataDirectory { .. })));
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
}
