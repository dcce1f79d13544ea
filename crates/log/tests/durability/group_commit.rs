//! Group commit on the local engine on the simulated disk: several stagers, failures, ends of every kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tercet_log::engine::ShardLog;
use tercet_log::error::LogError;
use tercet_log::group_commit::{Admission, Committer, GroupCommit, ReadError, Settings, Urgency};
use tercet_log::local::LocalOptions;
use tercet_log::position::{Place, Position};
use tercet_log::record::{RECORD_HEADER, RecordHeader, Records, write_record};
use tercet_log::sim::{Chance, Fault, Operation, SimDisk, for_each_seed};

use crate::expected::batch;
use crate::local;

const HEADER: RecordHeader = RecordHeader { kind: 1, version: 1, must_understand: true };
/// Longer than any test takes.
const AGES: Duration = Duration::from_secs(60);

#[test]
fn the_watermark_waits_for_the_sync_that_covers_it() {
    let disk = SimDisk::new();
    let (commit, committer) = start(&disk, &LocalOptions { background: false, ..LocalOptions::default() });
    for round in 0..3 {
        disk.hold_syncs();
        let unit = Unit { stager: (0, 0), number: round };
        let place = unit.stage(&commit, &[100], Urgency::Urgent)[0];
        commit.flush();
        disk.await_held_syncs(1);
        let next = Unit { stager: (0, 1), number: round }.stage(&commit, &[100], Urgency::Urgent)[0];
        commit.flush();
        assert!(next.batch > place.batch, "the batch in flight is closed");
        assert!(commit.durable() < place.batch && !commit.wait_durable(place.batch, Duration::ZERO));
        let mut bytes = Vec::new();
        assert!(matches!(commit.read(place, 1, &mut bytes), Err(ReadError::NotDurable(_))));
        disk.release_syncs();
        assert!(commit.wait_durable(place.batch, AGES));
        for seed in 0..10 {
            let held = Held::of(&disk.after_power_cut(seed));
            assert!(held.units(unit.stager) > round, "round {round}, seed {seed}");
        }
        assert!(commit.wait_durable(next.batch, AGES));
    }
    committer.finish().expect("everything is durable");
}

#[test]
fn one_sync_serves_all_who_wait() {
    let disk = SimDisk::new();
    let (commit, committer) = start(&disk, &LocalOptions { background: false, ..LocalOptions::default() });
    let before = disk.total().syncs;
    disk.hold_syncs();
    Unit { stager: (0, 0), number: 0 }.stage(&commit, &[10], Urgency::Urgent);
    commit.flush();
    disk.await_held_syncs(1);
    for stager in 1..100 {
        Unit { stager: (0, stager), number: 0 }.stage(&commit, &[10, 10], Urgency::Urgent);
        commit.flush();
    }
    let all = commit.staged();
    disk.release_syncs();
    assert!(commit.wait_durable(all, AGES));
    assert_eq!(disk.total().syncs - before, 2, "the one that was held, and one for the rest");
    committer.finish().expect("everything is durable");
    assert_eq!(Held::of(&disk.after_power_cut(1)).0.len(), 100);
}

#[test]
fn a_full_disk_is_told_and_heals_without_losing_or_repeating_anything() {
    let disk = SimDisk::new();
    let (commit, committer) = start(&disk, &small());
    let mut chance = Chance::new(1);
    let mut number = 0;
    for _ in 0..3 {
        disk.set_capacity(Some(disk.used() + 5000));
        while commit.admission() != Admission::Full {
            stage_next(&commit, &mut number, &mut chance);
        }
        assert!(commit.failure().is_some_and(|failure| failure.contains("space")), "{:?}", commit.failure());
        stage_next(&commit, &mut number, &mut chance);
        disk.set_capacity(None);
        heals(&commit);
    }
    committer.finish().expect("everything is durable");
    assert_eq!(Held::of(&disk.after_power_cut(1)).units((0, 0)), number);
    assert_eq!(disk.violations(), [""; 0]);
}

#[test]
fn a_failing_disk_is_told_and_heals_without_losing_or_repeating_anything() {
    for (operation, path) in [(Operation::Sync, ".seg"), (Operation::Sync, ""), (Operation::Write, "")] {
        let disk = SimDisk::new();
        let (commit, committer) = start(&disk, &small());
        let mut chance = Chance::new(1);
        let mut number = 0;
        for round in 0..3 {
            stage_next(&commit, &mut number, &mut chance);
            disk.fail(Fault::eio(operation, path).after(round).times(u64::MAX));
            // Of a segment that has failed another one takes over at once.
            let lasting = path.is_empty();
            let began = Instant::now();
            while commit.admission() != Admission::Failed && (lasting || number < 100) {
                assert!(began.elapsed() < AGES, "it fails");
                stage_next(&commit, &mut number, &mut chance);
                thread::yield_now();
            }
            disk.heal();
            heals(&commit);
        }
        committer.finish().expect("everything is durable");
        assert_eq!(Held::of(&disk.after_power_cut(1)).units((0, 0)), number);
        assert_eq!(disk.violations(), [""; 0]);
    }
}

#[test]
fn what_is_staged_together_and_confirmed_survives_whole() {
    let checkpoints = std::cell::Cell::new(0);
    for_each_seed(300, Duration::from_secs(3), |seed| {
        let mut chance = Chance::new(seed);
        let mut lives = Lives {
            disk: SimDisk::new(),
            options: LocalOptions { background: seed % 2 == 0, ..local::small(&mut chance) },
            chance,
            confirmed: BTreeMap::new(),
        };
        for life in 0..3 {
            lives.live(life);
        }
        lives.check(&lives.disk, &lives.confirmed);
        let log = local::open(&lives.disk, &lives.options).expect("the log opens");
        checkpoints.set(checkpoints.get() + u64::from(Held::checkpoint(&*log).0 > Position::NONE));
    });
    assert!(checkpoints.get() > 0, "checkpoints are put in force meanwhile");
}

fn small() -> LocalOptions {
    LocalOptions { smallest: 16 << 10, largest: 64 << 10, background: false, ..LocalOptions::default() }
}

fn start(disk: &SimDisk, options: &LocalOptions) -> (Arc<GroupCommit>, Committer) {
    let log = local::open(disk, options).expect("the log opens");
    let claim = log.claim().expect("claimed");
    let settings = Settings {
        linger_lazy: Duration::from_millis(1),
        busy_bytes: 64 << 10,
        reserve: 0,
        retry: Duration::from_millis(1),
    };
    let commit = GroupCommit::new(log, claim, settings);
    let heard = AtomicU64::new(0);
    let listener = move |durable: Position| {
        assert!(
            heard.swap(durable.number(), Ordering::Relaxed) <= durable.number(),
            "the watermark only grows"
        );
    };
    let committer = commit.start(Box::new(listener)).expect("started");
    (commit, committer)
}

fn stage_next(commit: &GroupCommit, number: &mut u64, chance: &mut Chance) {
    let lengths = [chance.below(500) as usize, 20];
    Unit { stager: (0, 0), number: *number }.stage(commit, &lengths, Urgency::Urgent);
    commit.flush();
    *number += 1;
}

fn heals(commit: &GroupCommit) {
    let staged = commit.staged();
    assert!(commit.wait_durable(staged, AGES), "{:?}", commit.failure());
    let began = Instant::now();
    while commit.admission() != Admission::Open {
        assert!(began.elapsed() < AGES, "still {:?}", commit.admission());
        thread::yield_now();
    }
    assert_eq!(commit.failure(), None);
}

/// Who stages: the life of the broker and the thread in it.
type Stager = (u32, u32);

/// Records that belong together.
#[derive(Clone, Copy, Debug)]
struct Unit {
    stager: Stager,
    number: u64,
}

impl Unit {
    /// Stages a record of each length. Returns where they are.
    fn stage(self, commit: &GroupCommit, lengths: &[usize], urgency: Urgency) -> Vec<Place> {
        self.stage_counted(commit, lengths, urgency, None)
    }

    /// The same, and counts it where a checkpoint looks.
    fn stage_counted(
        self,
        commit: &GroupCommit,
        lengths: &[usize],
        urgency: Urgency,
        counted: Option<&Mutex<u64>>,
    ) -> Vec<Place> {
        let count = lengths.len() as u32;
        let places: Vec<_> = commit.together(|| {
            let mut counted = counted.map(Mutex::lock);
            let stage = |(index, length): (usize, &usize)| {
                let body = self.body(index as u32, count, *length);
                if index > 0 {
                    // The committer gets its chance to seal between two records of a unit.
                    thread::yield_now();
                }
                // Nested, as when one operation is made of others.
                commit.together(|| {
                    let write = |out: &mut Vec<u8>, place| {
                        write_record(out, HEADER, |out| out.extend_from_slice(&body));
                        place
                    };
                    let (place, told) = commit.stage(urgency, write);
                    assert_eq!(place, told);
                    place
                })
            };
            let places = lengths.iter().enumerate().map(stage).collect();
            if let Some(count) = &mut counted {
                **count += 1;
            }
            places
        });
        assert!(
            places.windows(2).all(|pair| pair[0] < pair[1] && pair[0].batch == pair[1].batch),
            "{places:?}"
        );
        places
    }

    fn body(self, index: u32, count: u32, length: usize) -> Vec<u8> {
        let mut body = Vec::with_capacity(28 + length);
        for field in [self.stager.0, self.stager.1, index, count] {
            body.extend_from_slice(&field.to_le_bytes());
        }
        body.extend_from_slice(&self.number.to_le_bytes());
        body.extend(Chance::new(self.number ^ u64::from(index) << 32).bytes(length));
        body
    }

    /// The unit, the record's index in it, and how many there are.
    fn parse(body: &[u8]) -> (Self, u32, u32) {
        let field = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().expect("four bytes"));
        let number = u64::from(field(16)) | u64::from(field(20)) << 32;
        let (unit, index, count) = (Self { stager: (field(0), field(4)), number }, field(8), field(12));
        assert!(unit.body(index, count, body.len() - 24) == body, "{unit:?} is unchanged");
        (unit, index, count)
    }
}

/// What a log says: how many units of each stager there are.
#[derive(Debug)]
struct Held(BTreeMap<Stager, u64>);

impl Held {
    fn of(disk: &SimDisk) -> Self {
        Self::in_log(&*local::open(disk, &small()).expect("the log opens"))
    }

    /// Recovers as a broker does: the checkpoint, and what was recorded behind the cut of each object in it. Each stager's
    /// units are there in order, without a gap, each of them whole and in one batch.
    fn in_log(log: &dyn ShardLog) -> Self {
        let (replay_from, mut units) = Self::checkpoint(log);
        let mut reader = log.read(replay_from).expect("readable");
        while let Some((position, payload)) = reader.next().expect("the log is whole") {
            let mut open = BTreeMap::new();
            for record in Records::new(payload) {
                let record = record.expect("records only");
                let (unit, index, count) = Unit::parse(record.body);
                let (next, cut) = units.entry(unit.stager).or_default();
                if (Place { batch: position, offset: record.offset }) < *cut {
                    continue;
                }
                assert_eq!(unit.number, *next, "units of {:?} at {position}", unit.stager);
                assert_eq!(open.remove(&unit.stager).unwrap_or(0), index, "{unit:?} at {position}");
                if index + 1 == count {
                    *next += 1;
                } else {
                    open.insert(unit.stager, index + 1);
                }
            }
            assert!(open.is_empty(), "{position} holds parts of {open:?}");
        }
        drop(reader);
        Self(units.into_iter().map(|(stager, (units, _))| (stager, units)).collect())
    }

    fn checkpoint(log: &dyn ShardLog) -> (Position, BTreeMap<Stager, (u64, Place)>) {
        let mut units = BTreeMap::new();
        let Some(mut checkpoint) = log.checkpoint().expect("readable") else {
            return (Position::NONE, units);
        };
        while let Some(part) = checkpoint.parts.next().expect("readable") {
            for object in part.chunks_exact(28) {
                let field =
                    |at: usize| u32::from_le_bytes(object[at..at + 4].try_into().expect("four bytes"));
                let long = |at: usize| u64::from(field(at)) | u64::from(field(at + 4)) << 32;
                let cut = Place { batch: Position::new(long(16)), offset: field(24) };
                units.insert((field(0), field(4)), (long(8), cut));
            }
        }
        (checkpoint.replay_from, units)
    }

    fn units(&self, stager: Stager) -> u64 {
        self.0.get(&stager).copied().unwrap_or(0)
    }
}

/// Checkpoints and trims while others stage.
struct Keeper<'a> {
    commit: &'a GroupCommit,
    /// Units of the stagers of this life.
    counts: &'a [Mutex<u64>],
    life: u32,
    /// Those of earlier lives.
    earlier: &'a BTreeMap<Stager, u64>,
    trimmed_to: &'a AtomicU64,
}

impl Keeper<'_> {
    /// Puts a checkpoint in force and gives the space before it back, or fails at that: nothing may be lost by it.
    fn keep(&self, chance: &mut Chance) -> Result<(), LogError> {
        let log = self.commit.log();
        let from = self.commit.cut();
        let mut parts = batch(&[]);
        for (stager, units) in self.earlier {
            write_object(parts.out(), *stager, *units, from);
        }
        for (thread, count) in self.counts.iter().enumerate() {
            let count = count.lock();
            write_object(parts.out(), (self.life, thread as u32), *count, self.commit.cut());
        }
        self.commit.flush();
        if !self.commit.wait_durable(self.commit.staged(), Duration::from_millis(20)) {
            return Ok(());
        }
        let mut writer = log.begin_checkpoint()?;
        writer.write(&mut parts)?;
        writer.commit(from.batch)?;
        let extents = log.extents();
        let dead = extents.iter().filter(|extent| extent.end <= from.batch && !chance.one_in(5));
        self.trimmed_to.store(from.batch.number(), Ordering::SeqCst);
        log.trim(&dead.map(|extent| extent.first).collect::<Vec<_>>())
    }
}

fn write_object(out: &mut Vec<u8>, stager: Stager, units: u64, cut: Place) {
    for field in [stager.0, stager.1] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&units.to_le_bytes());
    out.extend_from_slice(&cut.batch.number().to_le_bytes());
    out.extend_from_slice(&cut.offset.to_le_bytes());
}

/// A broker that lives several times.
struct Lives {
    disk: SimDisk,
    options: LocalOptions,
    chance: Chance,
    /// Units that are durable, by stager.
    confirmed: BTreeMap<Stager, u64>,
}

impl Lives {
    fn live(&mut self, life: u32) {
        const STAGERS: u32 = 3;
        let (commit, committer) = start(&self.disk, &self.options);
        // What was recovered has become durable with the claim.
        self.confirmed = Held::in_log(&**commit.log()).0;
        let confirmed = Mutex::new(self.confirmed.clone());
        let stop = AtomicBool::new(false);
        let trimmed_to = AtomicU64::new(0);
        let counts: Vec<_> = (0..STAGERS).map(|_| Mutex::new(0)).collect();
        let earlier = self.confirmed.clone();
        let mut keeping = Chance::new(self.chance.number());
        let seeds: Vec<_> = (0..STAGERS).map(|_| self.chance.number()).collect();
        let orderly = self.chance.one_in(3);
        let mut committer = Some(committer);
        thread::scope(|scope| {
            let stagers = seeds.iter().enumerate().map(|(thread, seed)| {
                let stager = Staging {
                    commit: &commit,
                    stager: (life, thread as u32),
                    count: &counts[thread],
                    trimmed_to: &trimmed_to,
                    stop: &stop,
                };
                let confirmed = &confirmed;
                scope.spawn(move || stager.run(Chance::new(*seed), confirmed))
            });
            let stagers: Vec<_> = stagers.collect();
            let keeper =
                Keeper { commit: &commit, counts: &counts, life, earlier: &earlier, trimmed_to: &trimmed_to };
            let (request, requests) = mpsc::channel();
            let keeper = scope.spawn(move || {
                for () in requests {
                    // It may fail as long as the disk does.
                    let _ = keeper.keep(&mut keeping);
                }
            });
            for _ in 0..self.chance.below(12) {
                request.send(()).expect("the keeper listens");
                self.disturb(&confirmed);
            }
            if !orderly {
                self.end(&confirmed);
                stop.store(true, Ordering::Relaxed);
                committer.take().into_iter().for_each(Committer::stop_without_commit);
            }
            let staged: u64 = stagers.into_iter().map(|stager| stager.join().expect("no panic")).sum();
            drop(request);
            keeper.join().expect("no panic");
            if let Some(committer) = committer.take() {
                self.disk.heal();
                self.disk.set_capacity(None);
                heals(&commit);
                committer.finish().expect("everything is durable");
                self.disk = self.disk.after_power_cut(self.chance.number());
                let log = local::open(&self.disk, &self.options).expect("the log opens");
                let held = Held::in_log(&*log).0;
                let lived = held.iter().filter(|(stager, _)| stager.0 == life);
                assert_eq!(lived.map(|(_, units)| units).sum::<u64>(), staged, "all that was staged");
                self.confirmed = held;
            }
        });
    }

    /// Makes something fail, or heals it, or looks at what a power cut would leave now.
    fn disturb(&mut self, confirmed: &Mutex<BTreeMap<Stager, u64>>) {
        match self.chance.below(6) {
            0 => self.disk.fail(Fault::eio(Operation::Sync, "").after(self.chance.below(4)).times(2)),
            1 => self.disk.fail(Fault::short(".seg", self.chance.below(2000) as usize)),
            2 => self.disk.set_capacity(Some(self.disk.used() + self.chance.below(20_000))),
            3 => {
                self.disk.heal();
                self.disk.set_capacity(None);
            }
            _ => {
                let before = confirmed.lock().clone();
                let disk = self.disk.after_power_cut(self.chance.number());
                self.check(&disk, &before);
            }
        }
        for _ in 0..self.chance.below(8) {
            thread::yield_now();
        }
    }

    fn end(&mut self, confirmed: &Mutex<BTreeMap<Stager, u64>>) {
        // First what is confirmed, then the disk: it may only have more.
        self.confirmed = confirmed.lock().clone();
        assert_eq!(self.disk.violations(), [""; 0]);
        self.disk = if self.chance.one_in(3) {
            self.disk.after_kill()
        } else {
            self.disk.after_power_cut(self.chance.number())
        };
        self.disk.set_capacity(None);
        self.check(&self.disk.after_kill(), &self.confirmed);
    }

    fn check(&self, disk: &SimDisk, confirmed: &BTreeMap<Stager, u64>) {
        disk.set_capacity(None);
        let options = LocalOptions { background: false, ..self.options.clone() };
        let held = Held::in_log(&*local::open(disk, &options).expect("the log opens"));
        for (stager, units) in confirmed {
            assert!(held.units(*stager) >= *units, "{} of {units} units of {stager:?}", held.units(*stager));
        }
    }
}

/// A thread that stages.
struct Staging<'a> {
    commit: &'a GroupCommit,
    stager: Stager,
    count: &'a Mutex<u64>,
    /// Nobody reads before that.
    trimmed_to: &'a AtomicU64,
    stop: &'a AtomicBool,
}

impl Staging<'_> {
    /// Returns how many units it has staged.
    fn run(&self, mut chance: Chance, confirmed: &Mutex<BTreeMap<Stager, u64>>) -> u64 {
        let most = 5 + chance.below(60);
        let mut waiting: Vec<(Place, usize)> = Vec::new();
        let mut number = 0;
        let mut durable = 0;
        while number < most && !self.stop.load(Ordering::Relaxed) {
            let lengths: Vec<_> = (0..1 + chance.below(4)).map(|_| chance.below(900) as usize).collect();
            let urgency = if chance.one_in(3) { Urgency::Lazy } else { Urgency::Urgent };
            let unit = Unit { stager: self.stager, number };
            let places = unit.stage_counted(self.commit, &lengths, urgency, Some(self.count));
            self.commit.flush();
            number += 1;
            waiting.push((places[0], lengths[0]));
            if chance.one_in(4) {
                self.commit.wait_durable(places[0].batch, Duration::from_millis(2));
            }
            let watermark = self.commit.durable();
            let count = waiting.iter().take_while(|(place, _)| place.batch <= watermark).count();
            if count > 0 {
                durable += count as u64;
                confirmed.lock().insert(self.stager, durable);
            }
            for (place, length) in waiting.drain(..count) {
                self.read_back(place, length);
            }
        }
        number
    }

    fn read_back(&self, place: Place, length: usize) {
        let mut bytes = Vec::new();
        let length = RECORD_HEADER + 24 + length;
        let read = self.commit.read(place, length, &mut bytes);
        if place.batch.number() < self.trimmed_to.load(Ordering::SeqCst) {
            return;
        }
        // The disk may refuse that for other reasons, but it must not give anything else.
        if read.is_ok() {
            let (unit, index, _) = Unit::parse(&bytes[RECORD_HEADER..]);
            assert_eq!((unit.stager, index), (self.stager, 0));
        }
    }
}
