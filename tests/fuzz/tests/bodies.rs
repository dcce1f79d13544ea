//! Every fuzz target over its seeds, over damaged seeds and over random bytes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test may panic anywhere")]

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tercet_fuzz_bodies::{TARGETS, Target};

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn every_target_has_its_file_and_its_seeds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, check) in TARGETS {
        let path = format!("fuzz_targets/{name}.rs");
        let source = std::fs::read_to_string(fuzz.join(&path)).unwrap();
        assert!(source.contains(&format!("tercet_fuzz_bodies::{name}::check")), "{path}");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path} is not in fuzz/Cargo.toml");
        let seeds = seeds(name);
        assert!(seeds.len() > 1, "{name} has {} seeds", seeds.len());
        seeds.iter().for_each(|seed| check(seed));
    }
    let names: BTreeSet<_> = TARGETS.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), TARGETS.len());
}

/// A seed with some bytes changed, put in, taken out or doubled.
fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    (prop::sample::select(seeds), prop::collection::vec(change, 1..6)).prop_map(|(mut bytes, changes)| {
        for (index, byte, kind) in changes {
            if bytes.is_empty() {
                bytes.push(byte);
            }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.extend_from_within(at..),
            }
            bytes.truncate(4096);
        }
        bytes
    })
}

fn try_out((name, check): Target, input: &impl Strategy<Value = Vec<u8>>, cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(config).run(input, |data| {
        check(&data);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn damaged_seeds_pass() {
    for &target in TARGETS {
        // Hashing is slow.
        let cases = if target.0 == "scram" { 60 } else { 400 };
        try_out(target, &damaged(seeds(target.0)), cases);
    }
}

#[test]
fn random_bytes_pass() {
    for &target in TARGETS {
        try_out(target, &prop::collection::vec(any::<u8>(), 0..200), 200);
    }
}
