//! Random operations beside a model, with every kind of failure and end. What a seed does is determined by it alone.

use std::sync::Arc;
use std::time::Duration;

use tercet_log::engine::{Claim, Resolved, ShardLog};
use tercet_log::error::{AppendError, LogError};
use tercet_log::local::LocalOptions;
use tercet_log::position::Position;
use tercet_log::sim::{Chance, Fault, Operation, SimDisk, for_each_seed};

use crate::expected::{End, Entry, Expected, Saved, batch, write_checkpoint};
use crate::local;

#[test]
fn random_operations_and_failures_leave_what_was_confirmed() {
    for_each_seed(5000, Duration::from_secs(8), |seed| Run::new(seed, true).go());
}

#[test]
fn without_syncing_a_power_cut_takes_only_the_end() {
    for_each_seed(1000, Duration::from_secs(2), |seed| Run::new(seed, false).go());
}

const ALL: [Operation; 11] = [
    Operation::Create,
    Operation::Rename,
    Operation::Remove,
    Operation::SyncDir,
    Operation::Allocate,
    Operation::Open,
    Operation::Read,
    Operation::Write,
    Operation::Sync,
    Operation::Sync,
    Operation::Sync,
];

struct Run {
    chance: Chance,
    disk: SimDisk,
    options: LocalOptions,
    synced: bool,
    log: Option<Arc<dyn ShardLog>>,
    claim: Claim,
    expected: Expected,
    /// A batch that has to be resolved before anything else is appended.
    unresolved: Option<Entry>,
    /// Whether an operation may fail now.
    troubled: bool,
    /// Whether the power goes off soon.
    power_fails: bool,
}

impl Run {
    fn new(seed: u64, synced: bool) -> Self {
        let mut chance = Chance::new(seed);
        let options = local::small(&mut chance);
        let options = if synced { options } else { local::without_sync(options) };
        let claim = Claim { epoch: 0, next: Position::NONE, last_number: 0 };
        Self {
            chance,
            disk: SimDisk::new(),
            options,
            synced,
            log: None,
            claim,
            expected: Expected::default(),
            unresolved: None,
            troubled: false,
            power_fails: false,
        }
    }

    fn go(mut self) {
        self.open(End::Process);
        for _ in 0..10 + self.chance.below(90) {
            self.operate();
        }
        self.restart();
        self.consume();
    }

    fn operate(&mut self) {
        if self.disk.is_off() {
            return self.cut_power();
        }
        match self.chance.below(100) {
            0..40 => self.append(),
            40..50 => self.look(),
            50..60 => self.checkpoint(),
            60..68 => self.trim(),
            68..70 => self.claim_again(),
            70..72 => self.abandon_checkpoint(),
            72..80 => self.make_trouble(),
            80..88 => self.heal(),
            88..90 => self.disk.drop_caches(),
            90..92 => self.power_off_soon(),
            _ => self.restart(),
        }
        assert_eq!(self.disk.violations(), [""; 0]);
    }

    fn log(&self) -> Arc<dyn ShardLog> {
        self.log.clone().expect("the log is open")
    }

    fn append(&mut self) {
        let log = self.log();
        let entry = match self.unresolved.take() {
            Some(entry) => entry,
            None => self.entry(),
        };
        let mut attempt = batch(&entry.payload);
        let mut unknown = self.expected.unsure.is_some();
        // Retried a few times, as the committer would, and then left to later operations.
        for _ in 0..4 {
            let result = if unknown {
                match log.resolve(&mut self.claim, &mut attempt) {
                    Ok(Resolved::Committed(position)) => Ok(position),
                    Ok(Resolved::NotThere) => {
                        (unknown, self.expected.unsure) = (false, None);
                        log.append(&mut self.claim, &mut attempt)
                    }
                    Err(error) => Err(error),
                }
            } else {
                log.append(&mut self.claim, &mut attempt)
            };
            assert_eq!(attempt.payload(), &*entry.payload);
            match result {
                Ok(position) => return self.confirmed(position, entry),
                Err(AppendError::Full(why)) if self.troubled => {
                    assert_eq!(self.claim.next, entry.position, "the claim has not moved: {why}");
                    if unknown || self.chance.one_in(2) {
                        self.unresolved = Some(entry);
                    }
                    return;
                }
                Err(AppendError::Unknown(_)) if self.troubled => {
                    assert_eq!(self.claim.next, entry.position, "the claim has not moved");
                    self.expected.unsure = Some(entry.clone());
                    unknown = true;
                }
                Err(error) => unreachable!("{error}"),
            }
        }
        self.unresolved = Some(entry);
    }

    fn confirmed(&mut self, position: Position, entry: Entry) {
        assert_eq!(position, entry.position);
        let next = self.log().position_after(position, entry.payload.len());
        assert_eq!(self.claim.next, next);
        self.expected.confirm(entry, next, self.synced);
    }

    fn entry(&mut self) -> Entry {
        let length = match self.chance.below(10) {
            0..5 => 1 + self.chance.below(200),
            5..9 => 1 + self.chance.below(8000),
            _ => 1 + self.chance.below(150_000),
        };
        // Now and then content that recovery could take for batches if it did not look closely.
        let mut payload = self.chance.bytes(length as usize);
        if self.chance.one_in(4) {
            payload.chunks_exact_mut(8).for_each(|word| word[..4].copy_from_slice(b"1CRT"));
        }
        Entry { position: self.claim.next, payload: payload.into() }
    }

    /// Reads something.
    fn look(&mut self) {
        let log = self.log();
        if !self.troubled {
            let extents = log.extents();
            for pair in extents.windows(2) {
                assert!(pair[0].first < pair[1].first && pair[0].end <= pair[1].first, "{pair:?}");
            }
            self.expected.check_bodies(&*log).expect("readable");
        }
        let from = self.expected.latest_from();
        let mut expected = self.expected.batches.iter().filter(|entry| entry.position >= from);
        let Ok(mut reader) = log.read(from) else {
            return assert!(self.troubled, "not readable from {from}");
        };
        loop {
            match reader.next() {
                Ok(Some((position, payload))) => {
                    let entry = expected.next().expect("no more than was confirmed");
                    assert_eq!(position, entry.position);
                    assert!(*payload == *entry.payload, "{position} is unchanged");
                }
                Ok(None) => return assert!(expected.next().is_none(), "all that was confirmed"),
                Err(error) => return assert!(self.troubled, "{error}"),
            }
        }
    }

    fn checkpoint(&mut self) {
        let log = self.log();
        let from = self.expected.latest_from();
        let mut choices: Vec<_> = self
            .expected
            .batches
            .iter()
            .map(|entry| entry.position)
            .filter(|position| *position >= from)
            .collect();
        choices.push(self.claim.next);
        let index = self.chance.below(choices.len() as u64) as usize;
        let parts = (0..self.chance.below(4)).map(|_| {
            let length = self.chance.below(6000) as usize;
            self.chance.bytes(length)
        });
        let saved = Saved { replay_from: choices[index], parts: parts.collect() };
        match write_checkpoint(&*log, &saved) {
            Ok(()) => {
                self.expected.checkpoints = vec![Some(saved)];
                self.expected.durable = self.expected.batches.len();
            }
            Err(error) => {
                assert!(self.troubled, "{error}");
                self.expected.checkpoints.push(Some(saved));
            }
        }
    }

    fn abandon_checkpoint(&mut self) {
        if let Ok(mut writer) = self.log().begin_checkpoint() {
            let _ = writer.write(&mut batch(b"never in force"));
        }
    }

    fn trim(&mut self) {
        let log = self.log();
        let safe_from = self.expected.safe_from();
        let extents = log.extents();
        let mut dead: Vec<_> = extents.iter().filter(|extent| extent.end <= safe_from).collect();
        dead.retain(|extent| Some(*extent) != extents.last());
        if self.chance.one_in(2) {
            dead.retain(|_| self.chance.one_in(2));
        }
        let mut firsts: Vec<_> = dead.iter().map(|extent| extent.first).collect();
        self.expected.trimmed.extend(dead.iter().map(|extent| (extent.first, extent.end)));
        // Neither the open one nor one that is not there.
        firsts.extend(extents.last().map(|extent| extent.first));
        firsts.push(Position::new(self.claim.next.number() + 8));
        match log.trim(&firsts) {
            Ok(()) => {
                let left = log.extents();
                assert_eq!(left.len(), extents.len() - dead.len());
                assert!(left.iter().all(|extent| !dead.iter().any(|dead| dead.first == extent.first)));
            }
            Err(error) => assert!(self.troubled, "{error}"),
        }
    }

    fn claim_again(&mut self) {
        let log = self.log();
        if self.unresolved.is_some() {
            return;
        }
        match log.claim() {
            Ok(claim) => {
                assert!(claim.epoch > self.claim.epoch);
                assert_eq!((claim.next, claim.last_number), (self.claim.next, self.claim.last_number));
                let mut fenced = std::mem::replace(&mut self.claim, claim);
                self.expected.epoch = self.claim.epoch;
                let refused = log.append(&mut fenced, &mut batch(b"too late"));
                assert!(matches!(refused, Err(AppendError::Fenced)), "{refused:?}");
            }
            Err(error) => {
                assert!(self.troubled, "{error}");
                self.restart();
            }
        }
    }

    fn make_trouble(&mut self) {
        self.troubled = true;
        if self.chance.one_in(3) {
            self.disk.set_capacity(Some(self.disk.used() + self.chance.below(40_000)));
            return;
        }
        // Without syncing, what a failed segment holds is promised to survive the process only.
        let operations: &[_] = if self.synced { &ALL } else { &[Operation::Read] };
        let operation = operations[self.chance.below(operations.len() as u64) as usize];
        let paths = [".seg", ".tmp", "", "checkpoint"];
        let path = paths[self.chance.below(4) as usize];
        let fault = match (operation, self.chance.below(3)) {
            (Operation::Write, 0) => Fault::short(path, self.chance.below(9000) as usize),
            (Operation::Write | Operation::Allocate | Operation::Create, 1) => {
                Fault::no_space(operation, path)
            }
            _ => Fault::eio(operation, path),
        };
        self.disk.fail(fault.after(self.chance.below(5)).times(1 + self.chance.below(4)));
    }

    fn heal(&mut self) {
        self.calm();
        if !self.troubled && self.unresolved.is_some() {
            self.append();
        }
    }

    fn power_off_soon(&mut self) {
        (self.troubled, self.power_fails) = (true, true);
        self.disk.power_off_after(1 + self.chance.below(12));
    }

    /// Ends the log one way or the other, and opens it again.
    fn restart(&mut self) {
        match self.chance.below(4) {
            0 if !self.disk.is_off() => {
                self.log = None;
                self.disk = self.disk.after_kill();
                self.open(End::Process);
            }
            1 if !self.disk.is_off() => {
                self.disk = self.disk.after_kill();
                self.open(End::Process);
            }
            _ => self.cut_power(),
        }
    }

    fn cut_power(&mut self) {
        self.disk = self.disk.after_power_cut(self.chance.number());
        self.open(End::Power);
    }

    fn open(&mut self, mut end: End) {
        // A process that is killed drops nothing; what it does afterwards happens on a disk that nobody looks at.
        (self.log, self.unresolved) = (None, None);
        assert_eq!(self.disk.violations(), [""; 0]);
        self.disk.set_capacity(None);
        (self.troubled, self.power_fails) = (false, false);
        // Recovery may be cut off as well.
        while self.chance.one_in(6) {
            self.disk.power_off_after(self.chance.below(12));
            let mut aside = self.expected.clone();
            let opened = local::open(&self.disk, &self.options);
            let recovered = opened.and_then(|log| aside.recover(&*log, end));
            if recovered.is_ok() {
                self.expected = aside;
            }
            self.disk = self.disk.after_power_cut(self.chance.number());
            end = End::Power;
        }
        if self.chance.one_in(4) {
            self.make_trouble();
        }
        self.recover(end);
        if self.chance.one_in(4) {
            self.calm();
            // What recovery has shown is there to stay.
            self.disk = self.disk.after_power_cut(self.chance.number());
            let log = local::open(&self.disk, &self.options).expect("the log opens");
            self.claim = self.expected.recover(&*log, End::Power).expect("the log is whole");
            self.log = Some(log);
        }
    }

    /// Opens and claims the log, in several attempts if the disk is in trouble.
    fn recover(&mut self, end: End) {
        loop {
            let log = match local::open(&self.disk, &self.options) {
                Ok(log) => log,
                Err(error) => {
                    self.excuse(&error);
                    self.disk = self.disk.after_kill();
                    continue;
                }
            };
            for _ in 0..2 {
                let mut expected = self.expected.clone();
                match expected.recover(&*log, end) {
                    Ok(claim) => {
                        (self.expected, self.claim, self.log) = (expected, claim, Some(log));
                        return;
                    }
                    Err(error) => self.excuse(&error),
                }
            }
        }
    }

    /// What failed had a reason, which is gone now.
    fn excuse(&mut self, error: &LogError) {
        assert!(self.troubled && !matches!(error, LogError::Damaged(_)), "{error}");
        self.calm();
    }

    fn calm(&mut self) {
        self.disk.heal();
        self.disk.set_capacity(None);
        self.troubled = self.power_fails;
    }

    /// After all is consumed there is one segment, at most one spare, and a checkpoint.
    fn consume(&mut self) {
        self.calm();
        let log = self.log();
        let saved = Saved { replay_from: self.claim.next, parts: Vec::new() };
        write_checkpoint(&*log, &saved).expect("written");
        let extents: Vec<_> = log.extents().iter().map(|extent| extent.first).collect();
        log.trim(&extents).expect("trimmed");
        let files = self.disk.files();
        let is = |end: &str| files.iter().filter(|(path, _)| path.to_string_lossy().ends_with(end)).count();
        assert!(is(".seg") <= 2 && is("spare.seg") <= 1 && files.len() <= 3, "{files:?}");
    }
}
