//! Random changes of metadata beside a model, with failures and ends of every kind.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tercet_log::engine::{CasError, Meta, Versioned};
use tercet_log::error::LogError;
use tercet_log::local::{LocalMeta, LocalOptions, META_DIR};
use tercet_log::sim::{Chance, Fault, Operation, SimDisk, for_each_seed};

#[test]
fn confirmed_changes_of_metadata_survive() {
    for_each_seed(1000, Duration::from_secs(2), |seed| Run::new(seed).go());
}

type Values = BTreeMap<String, Versioned>;

struct Run {
    chance: Chance,
    disk: SimDisk,
    values: Values,
    /// The changes that failed since the last one that did not: one of them may be there after all.
    unsure: Vec<(String, Option<Vec<u8>>)>,
    revision: u64,
    troubled: bool,
    power_fails: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            disk: SimDisk::new(),
            values: Values::new(),
            unsure: Vec::new(),
            revision: 0,
            troubled: false,
            power_fails: false,
        }
    }

    fn go(mut self) {
        for _ in 0..2 + self.chance.below(5) {
            let meta = self.open();
            for _ in 0..self.chance.below(80) {
                if self.disk.is_off() {
                    break;
                }
                match self.chance.below(12) {
                    0 => self.make_trouble(),
                    1 => self.heal(),
                    _ => self.change(&meta),
                }
                assert_eq!(list(&meta), self.values, "what failed is not seen");
            }
            assert_eq!(self.disk.violations(), [""; 0]);
            self.disk = match self.chance.below(3) {
                0 if !self.disk.is_off() => self.disk.after_kill(),
                _ => self.disk.after_power_cut(self.chance.number()),
            };
        }
        self.open();
    }

    fn open(&mut self) -> LocalMeta {
        (self.troubled, self.power_fails, self.disk) = (false, false, self.disk.after_kill());
        self.disk.set_capacity(None);
        if self.chance.one_in(4) {
            self.disk.power_off_after(self.chance.below(6));
            // Whether it opens or not: nothing is lost by trying.
            let _ = open(&self.disk);
            self.disk = self.disk.after_power_cut(self.chance.number());
        }
        let meta = open(&self.disk).expect("the metadata opens");
        let found = list(&meta);
        for (key, value) in std::mem::take(&mut self.unsure) {
            let mut instead = self.values.clone();
            // Its revision is not known if a removal before it was unsure.
            let revision = found.get(&key).map_or(0, |there| there.revision);
            set(&mut instead, key, revision, value);
            if instead == found && found != self.values {
                self.values = instead;
            }
        }
        assert!(found == self.values, "{:?}, not {:?}", revisions(&found), revisions(&self.values));
        self.revision = found.values().map(|value| value.revision).fold(self.revision, u64::max);
        meta
    }

    fn change(&mut self, meta: &LocalMeta) {
        let key = format!("key-{}", self.chance.below(6));
        let expected = self.values.get(&key).map_or(0, |value| value.revision);
        if self.chance.one_in(8) {
            let conflict = meta.compare_and_set(&key, expected + 1, Some(b"never"));
            return assert!(matches!(conflict, Err(CasError::Conflict(actual)) if actual == expected));
        }
        let length = if self.chance.one_in(5) { 20_000 } else { 200 };
        let length = self.chance.below(length) as usize;
        let value = (!self.chance.one_in(5)).then(|| self.chance.bytes(length));
        match meta.compare_and_set(&key, expected, value.as_deref()) {
            Ok(revision) => {
                assert!(revision > self.revision, "{revision} after {}", self.revision);
                self.revision = revision;
                self.unsure.clear();
                set(&mut self.values, key, revision, value);
            }
            Err(CasError::Log(error)) => {
                assert!(self.troubled, "{error}");
                self.unsure.push((key, value));
            }
            Err(error) => unreachable!("{error}"),
        }
    }

    fn make_trouble(&mut self) {
        self.troubled = true;
        match self.chance.below(5) {
            0 => self.disk.set_capacity(Some(self.disk.used() + self.chance.below(30_000))),
            1 => {
                self.power_fails = true;
                self.disk.power_off_after(1 + self.chance.below(9));
            }
            2 => self.disk.fail(Fault::short("", self.chance.below(9000) as usize)),
            _ => {
                let operations = [Operation::Sync, Operation::SyncDir, Operation::Rename, Operation::Create];
                let operation = operations[self.chance.below(4) as usize];
                let fault = Fault::eio(operation, "").after(self.chance.below(4));
                self.disk.fail(fault.times(1 + self.chance.below(6)));
            }
        }
    }

    fn heal(&mut self) {
        self.disk.heal();
        self.disk.set_capacity(None);
        self.troubled = self.power_fails;
    }
}

fn open(disk: &SimDisk) -> Result<LocalMeta, LogError> {
    LocalMeta::open(Arc::new(disk.clone()), Path::new(META_DIR), LocalOptions::default())
}

fn list(meta: &LocalMeta) -> Values {
    meta.list("").expect("readable").into_iter().collect()
}

fn set(values: &mut Values, key: String, revision: u64, value: Option<Vec<u8>>) {
    match value {
        Some(value) => values.insert(key, Versioned { revision, value }),
        None => values.remove(&key),
    };
}

fn revisions(values: &Values) -> Vec<(&String, u64)> {
    values.iter().map(|(key, value)| (key, value.revision)).collect()
}
