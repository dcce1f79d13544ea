//! A run is recorded, and the power fails at every step of it.

use std::time::Duration;

use tercet_log::engine::{Claim, Resolved, ShardLog};
use tercet_log::error::AppendError;
use tercet_log::local::LocalOptions;
use tercet_log::position::Position;
use tercet_log::sim::{Chance, Fault, Operation, SimDisk, for_each_seed};

use crate::expected::{End, Entry, Expected, Saved, batch, write_checkpoint};
use crate::local;

#[test]
fn whenever_the_power_fails_what_was_confirmed_is_there() {
    let points = std::cell::Cell::new(0);
    for_each_seed(20, Duration::from_secs(5), |seed| {
        let run = Recorded::new(seed);
        points.set(points.get() + run.fail_at_every_step(seed));
    });
    eprintln!("{} crash points", points.get());
}

/// Something that takes from one step to another.
#[derive(Clone, Debug)]
struct Event {
    begun: u64,
    done: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Claimed(u64),
    Appended(Entry, Position),
    CheckpointInForce(Saved),
    Trimmed(Vec<(Position, Position)>),
}

/// A run: what was done, and when.
struct Recorded {
    disk: SimDisk,
    options: LocalOptions,
    events: Vec<Event>,
}

impl Recorded {
    /// Appending, rolling over, checkpoints, trimming, failures and restarts, as a broker does these things.
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let disk = SimDisk::new();
        disk.record();
        let options = LocalOptions { background: chance.one_in(2), ..local::small(&mut chance) };
        let mut run = Self { disk, options, events: Vec::new() };
        for _ in 0..3 {
            let log = local::open(&run.disk, &run.options).expect("the log opens");
            run.session(&*log, &mut chance);
            drop(log);
            run.disk.forget_errors();
        }
        assert_eq!(run.disk.violations(), [""; 0]);
        run
    }

    fn session(&mut self, log: &dyn ShardLog, chance: &mut Chance) {
        let mut claim =
            self.during(|| log.claim().expect("claimed"), |claim| Some(What::Claimed(claim.epoch)));
        for round in 0..30 {
            if chance.one_in(8) {
                let operation = if chance.one_in(3) { Operation::Write } else { Operation::Sync };
                self.disk.fail(Fault::eio(operation, ".seg").after(chance.below(2)));
            }
            self.append(log, &mut claim, chance);
            self.disk.heal();
            if round % 9 == 8 {
                self.checkpoint(log, &claim, chance);
            }
        }
    }

    fn append(&mut self, log: &dyn ShardLog, claim: &mut Claim, chance: &mut Chance) {
        let length = if chance.one_in(12) { chance.below(60_000) } else { chance.below(3000) };
        let payload = chance.bytes(1 + length as usize);
        let entry = Entry { position: claim.next, payload: payload.clone().into() };
        let mut attempt = batch(&payload);
        let append = || {
            let mut result = log.append(claim, &mut attempt);
            while matches!(result, Err(AppendError::Unknown(_))) {
                result = match log.resolve(claim, &mut attempt) {
                    Ok(Resolved::Committed(position)) => Ok(position),
                    Ok(Resolved::NotThere) => log.append(claim, &mut attempt),
                    Err(error) => Err(error),
                };
            }
            assert_eq!(result.expect("taken"), entry.position);
            claim.next
        };
        self.during(append, |next| Some(What::Appended(entry.clone(), *next)));
    }

    fn checkpoint(&mut self, log: &dyn ShardLog, claim: &Claim, chance: &mut Chance) {
        let extents = log.extents();
        let from = extents.get(extents.len() / 2).map_or(claim.next, |extent| extent.first);
        let replay_from = if chance.one_in(3) { claim.next } else { from };
        let saved = Saved { replay_from, parts: vec![chance.bytes(2000), chance.bytes(9000)] };
        self.during(
            || write_checkpoint(log, &saved).expect("in force"),
            |()| Some(What::CheckpointInForce(saved.clone())),
        );
        let dead: Vec<_> = extents.iter().filter(|extent| extent.end <= replay_from).collect();
        let firsts: Vec<_> = dead.iter().map(|extent| extent.first).collect();
        let ranges = dead.iter().map(|extent| (extent.first, extent.end)).collect();
        self.during(|| log.trim(&firsts).expect("trimmed"), |()| Some(What::Trimmed(ranges)));
    }

    fn during<R>(&mut self, act: impl FnOnce() -> R, what: impl FnOnce(&R) -> Option<What>) -> R {
        let begun = self.disk.steps();
        let result = act();
        let done = self.disk.steps();
        self.events.extend(what(&result).map(|what| Event { begun, done, what }));
        result
    }

    /// What there has to be after so many steps.
    fn expected(&self, steps: u64) -> Expected {
        let mut expected = Expected::default();
        for event in self.events.iter().filter(|event| event.begun < steps) {
            let is_done = event.done <= steps;
            match &event.what {
                What::Claimed(epoch) if is_done => expected.epoch = *epoch,
                What::Claimed(_) => {}
                What::Appended(entry, next) if is_done => expected.confirm(entry.clone(), *next, true),
                What::Appended(entry, _) => expected.unsure = Some(entry.clone()),
                What::CheckpointInForce(saved) if is_done => expected.checkpoints = vec![Some(saved.clone())],
                What::CheckpointInForce(saved) => expected.checkpoints.push(Some(saved.clone())),
                What::Trimmed(ranges) => expected.trimmed.extend(ranges),
            }
        }
        expected
    }

    /// Returns how many power cuts it were.
    fn fail_at_every_step(&self, seed: u64) -> u64 {
        let history = self.disk.history().expect("recorded");
        let mut points = 0;
        for (index, disk) in history.disks().enumerate() {
            let expected = self.expected(history.first() + index as u64);
            let name =
                |cut: &str| format!("seed {seed}, {cut} before step {index}: {}", history.describe(index));
            let _named = Named(name("killed"));
            self.go_on(
                disk.after_kill(),
                expected.clone(),
                End::Process,
                &mut Chance::new(seed << 32 | index as u64),
            );
            for cut in 0..4 {
                let cut = seed << 32 | (index as u64) << 8 | cut;
                let _named = Named(name("power cut"));
                self.go_on(disk.after_power_cut(cut), expected.clone(), End::Power, &mut Chance::new(cut));
                points += 1;
            }
        }
        points
    }

    /// What a killed process has left may fail to be made durable, and then has to be kept in another way.
    fn recover(
        &self,
        disk: &SimDisk,
        log: &dyn ShardLog,
        expected: &mut Expected,
        end: End,
        chance: &mut Chance,
    ) -> Claim {
        if end == End::Process && chance.one_in(2) {
            disk.fail(Fault::eio(Operation::Sync, ".seg"));
            let mut attempt = expected.clone();
            let recovered = attempt.recover(log, end);
            disk.heal();
            if let Ok(claim) = recovered {
                *expected = attempt;
                return claim;
            }
        }
        expected.recover(log, end).expect("the log is whole")
    }

    /// The log opens, holds what it has to, goes on, and gives its space back.
    fn go_on(&self, disk: SimDisk, mut expected: Expected, end: End, chance: &mut Chance) {
        let options = LocalOptions { background: false, ..self.options.clone() };
        let log = local::open(&disk, &options).expect("the log opens");
        let mut claim = self.recover(&disk, &*log, &mut expected, end, chance);
        for _ in 0..2 {
            let entry = Entry { position: claim.next, payload: chance.bytes(3000).into() };
            log.append(&mut claim, &mut batch(&entry.payload)).expect("taken");
            expected.confirm(entry, claim.next, true);
        }
        let disk = disk.after_power_cut(chance.number());
        let log = local::open(&disk, &options).expect("the log opens");
        let claim = expected.recover(&*log, End::Power).expect("the log is whole");
        let saved = Saved { replay_from: claim.next, parts: Vec::new() };
        write_checkpoint(&*log, &saved).expect("in force");
        let firsts: Vec<_> = log.extents().iter().map(|extent| extent.first).collect();
        log.trim(&firsts).expect("trimmed");
        assert_eq!(log.extents().len(), 1);
        assert!(disk.files().len() <= 3, "live, spare, checkpoint: {:?}", disk.files());
        assert_eq!(disk.violations(), [""; 0]);
    }
}

/// Tells where a check has panicked.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}
