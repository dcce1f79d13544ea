//! Small metadata.

use std::time::{Duration, Instant};

use super::Subject;
use crate::engine::{CasError, Change, Meta, Versioned};

/// Longer than any scenario takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn set(meta: &dyn Meta, key: &str, expected: u64, value: Option<&[u8]>) -> u64 {
    let revision = meta.compare_and_set(key, expected, value).expect("as expected");
    assert!(revision > 0, "no change has revision 0");
    revision
}

fn conflict(meta: &dyn Meta, key: &str, expected: u64, actual: u64) {
    match meta.compare_and_set(key, expected, Some(b"never")) {
        Err(CasError::Conflict(revision)) => assert_eq!(revision, actual, "the answer tells the revision"),
        other => unreachable!("{other:?}"),
    }
}

fn value(revision: u64, value: &[u8]) -> Option<Versioned> {
    Some(Versioned { revision, value: value.to_vec() })
}

/// Created, changed, removed, created again.
pub fn a_key_changes_only_if_it_is_as_expected(subject: &dyn Subject) {
    let node = subject.open();
    let meta = &*node.meta;
    assert_eq!(meta.get("a").expect("readable"), None);
    conflict(meta, "a", 1, 0);
    let first = set(meta, "a", 0, Some(b"one"));
    conflict(meta, "a", 0, first);
    conflict(meta, "a", first + 1, first);
    let second = set(meta, "a", first, Some(b""));
    assert_eq!(meta.get("a").expect("readable"), value(second, b""));
    let third = set(meta, "a", second, None);
    assert_eq!(meta.get("a").expect("readable"), None);
    conflict(meta, "a", second, 0);
    let fourth = set(meta, "a", 0, Some(b"two"));
    assert!(first < second && second < third && third < fourth, "{first} {second} {third} {fourth}");
    assert_eq!(meta.get("a").expect("readable"), value(fourth, b"two"));
}

/// One row of revisions for all keys, which goes on after every kind of end, also behind a removal.
pub fn revisions_grow_and_survive(subject: &dyn Subject) {
    let mut last = 0;
    let mut removed = 0;
    for round in 0..6 {
        let node = subject.open();
        let key = format!("key-{round}");
        for other in 0..round {
            let found = node.meta.get(&format!("key-{other}")).expect("readable").expect("still there");
            assert_eq!(found.value, [other as u8; 5000]);
        }
        assert_eq!(node.meta.get("removed").expect("readable"), None);
        let revision = set(&*node.meta, &key, 0, Some(&[round as u8; 5000]));
        assert!(revision > last.max(removed), "{revision} after {last} and {removed}");
        let created = set(&*node.meta, "removed", 0, Some(b"x"));
        removed = set(&*node.meta, "removed", created, None);
        assert!(revision < created && created < removed);
        last = revision;
        match round % 3 {
            0 => subject.kill(node),
            1 => subject.cut_power(node, round),
            _ => drop(node),
        }
    }
}

/// In order, none of the others.
pub fn keys_are_listed_by_prefix(subject: &dyn Subject) {
    let node = subject.open();
    for key in ["b/2", "a", "b/10", "b", "c/1", "b/1", "b0"] {
        set(&*node.meta, key, 0, Some(key.as_bytes()));
    }
    let revision = node.meta.get("b/10").expect("readable").expect("there").revision;
    set(&*node.meta, "b/10", revision, None);
    let list = |prefix: &str| {
        let listed = node.meta.list(prefix).expect("readable");
        assert!(listed.iter().all(|(key, versioned)| versioned.value == key.as_bytes()));
        listed.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(list("b/"), ["b/1", "b/2"]);
    assert_eq!(list("b"), ["b", "b/1", "b/2", "b0"]);
    assert_eq!(list(""), ["a", "b", "b/1", "b/2", "b0", "c/1"]);
    assert_eq!(list("d"), [""; 0]);
}

/// From the beginning of watching on, in order.
pub fn changes_are_watched_by_prefix(subject: &dyn Subject) {
    let node = subject.open();
    let before = set(&*node.meta, "b/1", 0, Some(b"before"));
    let watch = node.meta.watch("b/");
    drop(node.meta.watch("b/"));
    set(&*node.meta, "a", 0, Some(b"not watched"));
    let changed = set(&*node.meta, "b/1", before, Some(b"changed"));
    let created = set(&*node.meta, "b/2", 0, Some(b"created"));
    conflict(&*node.meta, "b/2", 0, created);
    let removed = set(&*node.meta, "b/1", changed, None);
    let change = |key: &str, revision, value: Option<&[u8]>| Change {
        key: key.to_owned(),
        revision,
        value: value.map(<[u8]>::to_vec),
    };
    for expected in [
        change("b/1", changed, Some(b"changed")),
        change("b/2", created, Some(b"created")),
        change("b/1", removed, None),
    ] {
        assert_eq!(watch.recv_timeout(PATIENCE).expect("reported"), expected);
    }
    assert!(watch.try_recv().is_err(), "nothing else");
}

/// Until it is dropped.
pub fn a_lease_has_one_holder_at_a_time(subject: &dyn Subject) {
    let node = subject.open();
    let lease = |key: &str| node.meta.lease(key, b"me", Duration::from_secs(3600)).expect("reachable");
    let mut held = lease("shard-0").expect("free");
    assert!(lease("shard-0").is_none(), "somebody holds it");
    assert!(lease("shard-1").is_some(), "another one is free");
    assert!(held.renew());
    assert!(lease("shard-0").is_none());
    drop(held);
    assert!(lease("shard-0").is_some(), "free again");
    let kept = lease("shard-0").expect("free");
    std::mem::forget(kept);
    subject.kill(node);
    let node = subject.open();
    // The holder has died; whether that is noticed at once or when the time has come is the engine's affair.
    let _ = node.meta.lease("shard-0", b"me", Duration::from_secs(1)).expect("reachable");
}

/// And whoever held it learns of it.
pub fn a_lease_that_is_not_renewed_ends(subject: &dyn Subject) {
    let node = subject.open();
    let short = Duration::from_millis(20);
    let mut first = node.meta.lease("key", b"first", short).expect("reachable").expect("free");
    let began = Instant::now();
    let second = loop {
        if let Some(lease) = node.meta.lease("key", b"second", PATIENCE).expect("reachable") {
            break lease;
        }
        assert!(began.elapsed() < PATIENCE, "it has not been renewed");
        std::thread::yield_now();
    };
    assert!(began.elapsed() >= short / 2, "not before its time");
    assert!(!first.renew(), "it is lost");
    drop(first);
    assert!(node.meta.lease("key", b"third", short).expect("reachable").is_none(), "the second one holds it");
    drop(second);
}

/// Each of them tries again until its change is in.
pub fn nothing_is_lost_among_competing_writers(subject: &dyn Subject) {
    const EACH: u64 = 25;
    const WRITERS: u64 = 4;
    let node = subject.open();
    let meta = &*node.meta;
    let count =
        |versioned: &Versioned| versioned.value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut done = 0;
                while done < EACH {
                    let now = meta.get("count").expect("readable");
                    let (revision, number) = now.as_ref().map_or((0, 0), |now| (now.revision, count(now)));
                    match meta.compare_and_set("count", revision, Some(&(number + 1).to_le_bytes())) {
                        Ok(_) => done += 1,
                        Err(CasError::Conflict(other)) => assert_ne!(other, revision),
                        Err(error) => unreachable!("{error}"),
                    }
                }
            });
        }
    });
    let total = meta.get("count").expect("readable").expect("there");
    assert_eq!(count(&total), EACH * WRITERS);
    subject.cut_power(node, 9);
    let node = subject.open();
    assert_eq!(node.meta.get("count").expect("readable"), Some(total));
}

/// However often it was changed, with large values, too.
pub fn much_changed_metadata_stays_small_enough_to_open(subject: &dyn Subject) {
    let mut node = subject.open();
    let mut revisions = [0; 3];
    for round in 0..300_u64 {
        for (key, revision) in ["a", "b", "c"].iter().zip(&mut revisions) {
            let value = vec![round as u8; 1000 * (1 + round as usize % 30)];
            *revision = set(&*node.meta, key, *revision, Some(&value));
        }
        if round % 100 == 50 {
            subject.cut_power(node, round);
            node = subject.open();
        }
    }
    subject.kill(node);
    let node = subject.open();
    for (key, revision) in ["a", "b", "c"].iter().zip(revisions) {
        assert_eq!(node.meta.get(key).expect("readable"), value(revision, &vec![43; 30_000]));
    }
}
