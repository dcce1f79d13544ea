use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{LocalMeta, META_DIR};
use crate::engine::{CasError, Change, Meta};
use crate::local::LocalOptions;
use crate::sim::{Fault, Operation, SimDisk};

fn open(disk: &SimDisk) -> LocalMeta {
    LocalMeta::open(Arc::new(disk.clone()), Path::new(META_DIR), LocalOptions::default()).expect("opened")
}

fn value(meta: &LocalMeta, key: &str) -> Option<(u64, Vec<u8>)> {
    meta.get(key).expect("readable").map(|found| (found.revision, found.value))
}

#[test]
fn a_value_changes_only_from_the_revision_one_knows_and_survives_a_power_cut() {
    let disk = SimDisk::new();
    let meta = open(&disk);
    assert_eq!(meta.compare_and_set("a", 0, Some(b"1")).expect("new"), 1);
    assert!(matches!(meta.compare_and_set("a", 0, Some(b"2")), Err(CasError::Conflict(1))));
    assert_eq!(meta.compare_and_set("a", 1, Some(b"2")).expect("known"), 2);
    assert_eq!(meta.compare_and_set("b", 0, Some(b"")).expect("new"), 3);
    assert_eq!(meta.compare_and_set("a", 2, None).expect("known"), 4);
    assert!(matches!(meta.compare_and_set("a", 2, Some(b"3")), Err(CasError::Conflict(0))));
    let meta = open(&disk.after_power_cut(1));
    assert_eq!((value(&meta, "a"), value(&meta, "b")), (None, Some((3, vec![]))));
    assert_eq!(meta.compare_and_set("a", 0, Some(b"3")).expect("new"), 5, "revisions are never used again");
}

#[test]
fn keys_are_listed_by_prefix_and_watchers_hear_of_theirs() {
    let meta = open(&SimDisk::new());
    let users = meta.watch("users/");
    drop(meta.watch("users/"));
    for key in ["users/b", "user", "users/a", "users0"] {
        meta.compare_and_set(key, 0, Some(key.as_bytes())).expect("new");
    }
    let keys: Vec<_> = meta.list("users/").expect("listed").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["users/a", "users/b"]);
    assert_eq!(meta.list("").expect("listed").len(), 4);
    meta.compare_and_set("users/a", 3, None).expect("removed");
    let changes: Vec<_> =
        users.try_iter().map(|Change { key, revision, value }| (key, revision, value.is_some())).collect();
    assert_eq!(
        changes,
        [("users/b".into(), 1, true), ("users/a".into(), 3, true), ("users/a".into(), 5, false)]
    );
}

#[test]
fn a_lease_is_held_until_it_is_dropped_or_runs_out() {
    let meta = open(&SimDisk::new());
    let changes = meta.watch("");
    let long = Duration::from_secs(3600);
    let mut lease = meta.lease("owner", b"me", long).expect("reachable").expect("free");
    assert!(meta.lease("owner", b"you", long).expect("reachable").is_none());
    assert!(lease.renew());
    assert_eq!(value(&meta, "owner"), Some((1, b"me".to_vec())));
    assert_eq!(meta.list("own").expect("listed").len(), 1);
    assert!(matches!(meta.compare_and_set("owner", 1, Some(b"x")), Err(CasError::Conflict(1))));
    drop(lease);
    assert_eq!(value(&meta, "owner"), None);
    let mut short = meta.lease("owner", b"me", Duration::ZERO).expect("reachable").expect("free");
    assert!(!short.renew(), "it has run out");
    let mut next = meta.lease("owner", b"you", long).expect("reachable").expect("free");
    drop(short);
    assert!(next.renew(), "who has lost a key cannot give it back for another");
    assert_eq!(
        changes.try_iter().map(|change| change.value.is_some()).collect::<Vec<_>>(),
        [true, false, true, false, true]
    );
    meta.compare_and_set("kept", 0, Some(b"")).expect("new");
    assert!(meta.lease("kept", b"", long).expect("reachable").is_none());
}

#[test]
fn the_log_stays_short_however_often_values_change() {
    let disk = SimDisk::new();
    let meta = open(&disk);
    let mut revision = 0;
    for n in 0..3000_u32 {
        revision = meta.compare_and_set("key", revision, Some(&n.to_le_bytes().repeat(100))).expect("set");
    }
    meta.compare_and_set("other", 0, Some(b"x")).expect("set");
    assert!(disk.used() < 2 << 20, "{} bytes", disk.used());
    let meta = open(&disk.after_power_cut(3));
    assert_eq!(value(&meta, "key"), Some((3000, 2999_u32.to_le_bytes().repeat(100))));
    assert_eq!(value(&meta, "other"), Some((3001, b"x".to_vec())));
}

#[test]
fn a_change_that_failed_is_gone_and_the_next_one_works() {
    for (operation, times) in
        [(Operation::Sync, 1), (Operation::Write, 1), (Operation::Sync, 3), (Operation::Write, 6)]
    {
        let disk = SimDisk::new();
        let meta = open(&disk);
        meta.compare_and_set("a", 0, Some(b"1")).expect("set");
        disk.fail(Fault::eio(operation, META_DIR).times(times));
        let changed = meta.compare_and_set("a", 1, Some(b"2"));
        assert_eq!(changed.is_ok(), times == 1, "one failure is got over at once");
        let before = if changed.is_ok() { (2, b"2".to_vec()) } else { (1, b"1".to_vec()) };
        assert_eq!(value(&meta, "a"), Some(before.clone()));
        disk.heal();
        let last = meta.compare_and_set("a", before.0, Some(b"3")).expect("set");
        for seed in 0..10 {
            assert_eq!(value(&open(&disk.after_power_cut(seed)), "a"), Some((last, b"3".to_vec())));
        }
    }
}
