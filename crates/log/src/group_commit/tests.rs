//! Group commit above a log that does what the test says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::batch::BATCH_HEADER;
use crate::engine::{Batches, Checkpoint, CheckpointWriter, Extent, Resolved};
use crate::error::AppendError;

const FIRST: Position = Position::new(64);
/// Longer than any test takes: whoever waits that long has been forgotten.
const AGES: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// What the log does with an attempt to append or to resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Takes the batch.
    Take,
    /// Takes the batch, but says that it does not know.
    TakeUnknown,
    /// Leaves it, and says that it does not know.
    LeaveUnknown,
    Full,
    Fenced,
    /// Says truly whether the batch is there.
    Resolve,
}

#[derive(Default)]
struct Scripted {
    state: Mutex<Script>,
    changed: Condvar,
}

#[derive(Default)]
struct Script {
    /// What comes next; [`Act::Take`] and [`Act::Resolve`] when it is empty.
    acts: VecDeque<Act>,
    /// Attempts wait for permits if there are any.
    permits: Option<usize>,
    attempts: usize,
    batches: Vec<(Position, Vec<u8>)>,
    room: Option<u64>,
}

impl Scripted {
    fn new(acts: &[Act]) -> Arc<Self> {
        let log = Self::default();
        log.state.lock().acts = acts.iter().copied().collect();
        Arc::new(log)
    }

    /// From now on every attempt waits for a permit.
    fn hold(self: &Arc<Self>) -> Arc<Self> {
        self.state.lock().permits = Some(0);
        Arc::clone(self)
    }

    fn permit(&self, attempts: usize) {
        let mut state = self.state.lock();
        state.permits = state.permits.map(|permits| permits + attempts);
        self.changed.notify_all();
    }

    fn release(&self) {
        self.state.lock().permits = None;
        self.changed.notify_all();
    }

    /// Waits until the log has been asked that often.
    fn attempted(&self, attempts: usize) {
        let mut state = self.state.lock();
        while state.attempts < attempts {
            assert!(!self.changed.wait_for(&mut state, AGES).timed_out(), "{} attempts", state.attempts);
        }
    }

    fn batches(&self) -> Vec<(Position, Vec<u8>)> {
        self.state.lock().batches.clone()
    }

    fn next_act(&self, otherwise: Act) -> (Act, parking_lot::MutexGuard<'_, Script>) {
        let mut state = self.state.lock();
        state.attempts += 1;
        self.changed.notify_all();
        while state.permits == Some(0) {
            self.changed.wait(&mut state);
        }
        state.permits = state.permits.map(|permits| permits - 1);
        let act = state.acts.pop_front().unwrap_or(otherwise);
        (act, state)
    }

    fn take(&self, state: &mut Script, claim: &mut Claim, batch: &Batch) -> Position {
        let at = claim.next;
        if state.batches.last().is_none_or(|(last, _)| *last < at) {
            state.batches.push((at, batch.payload().to_vec()));
        }
        at
    }

    fn advance(&self, claim: &mut Claim, batch: &Batch) {
        claim.next = self.position_after(claim.next, batch.len());
        claim.last_number += 1;
    }
}

impl ShardLog for Scripted {
    fn claim(&self) -> Result<Claim, LogError> {
        Ok(Claim { epoch: 1, next: FIRST, last_number: 0 })
    }

    fn position_after(&self, at: Position, payload: usize) -> Position {
        Position::new((at.number() + (BATCH_HEADER + payload) as u64).next_multiple_of(8))
    }

    fn append(&self, claim: &mut Claim, batch: &mut Batch) -> Result<Position, AppendError> {
        let (act, mut state) = self.next_act(Act::Take);
        match act {
            Act::Take => {
                let at = self.take(&mut state, claim, batch);
                self.advance(claim, batch);
                Ok(at)
            }
            Act::TakeUnknown => {
                self.take(&mut state, claim, batch);
                Err(AppendError::Unknown("lost".to_owned()))
            }
            Act::LeaveUnknown => Err(AppendError::Unknown("lost".to_owned())),
            Act::Full => Err(AppendError::Full("full".to_owned())),
            Act::Fenced => Err(AppendError::Fenced),
            Act::Resolve => panic!("appended instead of resolved"),
        }
    }

    fn resolve(&self, claim: &mut Claim, batch: &mut Batch) -> Result<Resolved, AppendError> {
        let (act, state) = self.next_act(Act::Resolve);
        match act {
            Act::Resolve if state.batches.last().is_some_and(|(at, _)| *at == claim.next) => {
                assert_eq!(
                    state.batches.last().expect("there").1,
                    batch.payload(),
                    "other bytes at the same position"
                );
                let at = claim.next;
                self.advance(claim, batch);
                Ok(Resolved::Committed(at))
            }
            Act::Resolve => Ok(Resolved::NotThere),
            Act::LeaveUnknown => Err(AppendError::Unknown("still lost".to_owned())),
            other => panic!("resolved instead of {other:?}"),
        }
    }

    fn room(&self) -> u64 {
        self.state.lock().room.unwrap_or(u64::MAX)
    }

    fn get(&self, batch: Position, offset: u32, length: usize, into: &mut Vec<u8>) -> Result<(), LogError> {
        let state = self.state.lock();
        let (_, payload) = state.batches.iter().find(|(at, _)| *at == batch).expect("a batch that is there");
        into.extend_from_slice(&payload[offset as usize..][..length]);
        Ok(())
    }

    fn read(&self, _: Position) -> Result<Batches<'_>, LogError> {
        unreachable!("group commit reads no log")
    }

    fn extents(&self) -> Vec<Extent> {
        Vec::new()
    }

    fn trim(&self, _: &[Position]) -> Result<(), LogError> {
        Ok(())
    }

    fn begin_checkpoint(&self) -> Result<Box<dyn CheckpointWriter + '_>, LogError> {
        unreachable!("group commit writes no checkpoint")
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint<'_>>, LogError> {
        Ok(None)
    }
}

/// Settings under which nothing happens just because time passes.
fn patient() -> Settings {
    Settings { linger_lazy: HOUR, retry: Duration::from_millis(1), ..Settings::default() }
}

fn group_commit(log: &Arc<Scripted>, settings: Settings) -> Arc<GroupCommit> {
    let claim = log.claim().expect("claimed");
    GroupCommit::new(Arc::clone(log) as Arc<dyn ShardLog>, claim, settings)
}

fn start(commit: &Arc<GroupCommit>) -> Committer {
    commit.start(Box::new(|_| {})).expect("started")
}

fn stage(commit: &GroupCommit, urgency: Urgency, bytes: &[u8]) -> Place {
    commit.stage(urgency, |out, _| out.extend_from_slice(bytes)).0
}

/// Stages and flushes.
fn put(commit: &GroupCommit, urgency: Urgency, bytes: &[u8]) -> Position {
    let place = stage(commit, urgency, bytes);
    commit.flush();
    place.batch
}

#[test]
fn the_watermark_moves_only_when_the_log_has_confirmed() {
    let log = Scripted::new(&[]).hold();
    let commit = group_commit(&log, patient());
    assert_eq!(commit.staged(), Position::NONE);
    assert!(commit.durable() < FIRST);
    let committer = start(&commit);
    let first = put(&commit, Urgency::Urgent, b"first");
    log.attempted(1);
    let second = put(&commit, Urgency::Urgent, b"second");
    assert!(FIRST == first && first < second);
    assert_eq!((commit.staged(), commit.durable() < first), (second, true));
    log.permit(1);
    assert!(commit.wait_durable(first, AGES));
    assert!(commit.durable() < second);
    log.attempted(2);
    assert!(!commit.wait_durable(second, Duration::ZERO));
    log.permit(1);
    assert!(commit.wait_durable(second, AGES));
    assert_eq!((commit.durable(), commit.staged()), (second, Position::NONE));
    committer.finish().expect("all is durable");
}

#[test]
fn the_listener_hears_of_every_batch_in_order() {
    let log = Scripted::new(&[Act::LeaveUnknown, Act::Resolve, Act::Take, Act::Full, Act::Take]);
    let commit = group_commit(&log, patient());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (hearing, watched) = (Arc::clone(&heard), Arc::clone(&commit));
    let committer = commit
        .start(Box::new(move |position| {
            assert_eq!(watched.durable(), position);
            hearing.lock().push(position);
        }))
        .expect("started");
    for _ in 0..10 {
        let position = put(&commit, Urgency::Urgent, b"x");
        assert!(commit.wait_durable(position, AGES));
    }
    committer.finish().expect("all is durable");
    let batches: Vec<_> = log.batches().iter().map(|(position, _)| *position).collect();
    assert_eq!(*heard.lock(), batches);
    assert_eq!(batches.len(), 10);
}

#[test]
fn what_is_staged_together_lands_in_one_batch() {
    const THREADS: u8 = 4;
    const GROUPS: u16 = 1500;
    let log = Scripted::new(&[]);
    let commit = group_commit(&log, patient());
    let committer = start(&commit);
    // A record: thread, group, its number in the group, records of the group.
    let record = |commit: &GroupCommit, thread: u8, group: u16, number: u8, of: u8| {
        let [high, low] = group.to_be_bytes();
        stage(commit, Urgency::Urgent, &[thread, high, low, number, of]);
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let commit = &commit;
            scope.spawn(move || {
                for group in 0..GROUPS {
                    let of = (group % 5 + 1) as u8;
                    commit.together(|| {
                        record(commit, thread, group, 0, of);
                        commit.flush();
                        commit.together(|| {
                            (1..of).for_each(|number| record(commit, thread, group, number, of))
                        });
                    });
                    commit.flush();
                }
            });
        }
    });
    committer.finish().expect("all is durable");
    let mut next_group = [0_u16; THREADS as usize];
    for (_, payload) in log.batches() {
        let mut missing = [0_u8; THREADS as usize];
        for record in payload.chunks(5) {
            let (thread, group) = (record[0] as usize, u16::from_be_bytes([record[1], record[2]]));
            if record[3] == 0 {
                assert_eq!((missing[thread], group), (0, next_group[thread]));
                missing[thread] = record[4];
                next_group[thread] += 1;
            }
            assert_eq!((group + 1, record[3]), (next_group[thread], record[4] - missing[thread]));
            missing[thread] -= 1;
        }
        assert_eq!(missing, [0; THREADS as usize], "a group goes on in the next batch");
    }
    assert_eq!(next_group, [GROUPS; THREADS as usize]);
}

#[test]
fn a_lazy_record_rides_along_with_an_urgent_one() {
    let log = Scripted::new(&[]);
    let commit = group_commit(&log, patient());
    let committer = start(&commit);
    let lazy = put(&commit, Urgency::Lazy, b"lazy ");
    let urgent = put(&commit, Urgency::Urgent, b"urgent");
    assert_eq!(lazy, urgent);
    assert!(commit.wait_durable(urgent, AGES));
    committer.finish().expect("all is durable");
    assert_eq!(log.batches(), [(FIRST, b"lazy urgent".to_vec())]);
}

#[test]
fn a_lazy_record_goes_alone_when_its_time_has_come() {
    let log = Scripted::new(&[]);
    let commit = group_commit(&log, Settings { linger_lazy: Duration::from_millis(2), ..patient() });
    let _committer = start(&commit);
    for _ in 0..5 {
        let position = put(&commit, Urgency::Lazy, b"lazy");
        assert!(commit.wait_durable(position, AGES));
    }
    assert_eq!(log.batches().len(), 5);
}

#[test]
fn the_same_bytes_go_to_the_same_position_until_it_is_known_that_they_are_there() {
    // What happens to the first batch.
    let cases: &[&[Act]] = &[
        &[Act::LeaveUnknown, Act::Resolve, Act::Take],
        &[Act::TakeUnknown, Act::Resolve],
        &[Act::LeaveUnknown, Act::LeaveUnknown, Act::LeaveUnknown, Act::Resolve, Act::Take],
        &[Act::TakeUnknown, Act::LeaveUnknown, Act::Resolve],
        &[Act::LeaveUnknown, Act::Resolve, Act::LeaveUnknown, Act::Resolve, Act::Take],
        &[Act::LeaveUnknown, Act::Resolve, Act::Full, Act::TakeUnknown, Act::Resolve],
        &[Act::Full, Act::Full, Act::Full, Act::Take],
        &[Act::Full, Act::TakeUnknown, Act::LeaveUnknown, Act::Resolve],
    ];
    for acts in cases {
        let log = Scripted::new(acts).hold();
        let commit = group_commit(&log, patient());
        let committer = start(&commit);
        let first = put(&commit, Urgency::Urgent, b"first");
        log.attempted(1);
        let second = put(&commit, Urgency::Urgent, b"second");
        for attempt in 1..acts.len() {
            log.permit(1);
            log.attempted(attempt + 1);
            let refusal = if acts[attempt - 1] == Act::Full { Admission::Full } else { Admission::Failed };
            if acts[attempt - 1] != Act::Resolve {
                assert_eq!(commit.admission(), refusal, "{acts:?} {attempt}");
            }
            assert!(commit.failure().is_some());
            assert!(commit.durable() < first, "{acts:?}");
        }
        log.release();
        assert!(commit.wait_durable(second, AGES), "{acts:?}");
        assert_eq!((commit.admission(), commit.failure()), (Admission::Open, None), "{acts:?}");
        committer.finish().expect("all is durable");
        assert_eq!(log.batches(), [(first, b"first".to_vec()), (second, b"second".to_vec())], "{acts:?}");
        assert!(log.state.lock().acts.is_empty());
    }
}

#[test]
fn nobody_is_forgotten_in_thousands_of_tiny_commits() {
    let log = Scripted::new(&[]);
    let settings = Settings { linger_lazy: Duration::from_micros(200), ..patient() };
    let commit = group_commit(&log, settings);
    let committer = start(&commit);
    thread::scope(|scope| {
        for thread in 0..6_u32 {
            let commit = &commit;
            scope.spawn(move || {
                for number in 0..2000_u32 {
                    let lazy = (thread + number) % 7 == 0;
                    let urgency = if lazy { Urgency::Lazy } else { Urgency::Urgent };
                    let position = put(commit, urgency, b"tiny");
                    assert!(commit.wait_durable(position, AGES), "thread {thread} waits for {position}");
                }
            });
        }
    });
    committer.finish().expect("all is durable");
    let statistics = commit.statistics();
    assert_eq!((statistics.records, statistics.bytes, statistics.unconfirmed), (12_000, 48_000, 0));
    assert_eq!(statistics.commits as usize, log.batches().len());
    assert_eq!(
        statistics.largest_batch as usize,
        log.batches().iter().map(|(_, b)| b.len()).max().expect("some")
    );
}

#[test]
fn dropping_the_committer_commits_what_is_staged() {
    let log = Scripted::new(&[Act::Full]);
    let commit = group_commit(&log, Settings { retry: HOUR, ..patient() });
    let committer = start(&commit);
    put(&commit, Urgency::Urgent, b"refused ");
    log.attempted(1);
    stage(&commit, Urgency::Urgent, b"not flushed ");
    put(&commit, Urgency::Lazy, b"lazy");
    drop(committer);
    let all: Vec<u8> = log.batches().into_iter().flat_map(|(_, payload)| payload).collect();
    assert_eq!(String::from_utf8_lossy(&all), "refused not flushed lazy");
    assert_eq!(commit.staged(), Position::NONE);
}

#[test]
fn a_stop_without_commit_leaves_what_is_staged() {
    let log = Scripted::new(&[]);
    let commit = group_commit(&log, patient());
    let committer = start(&commit);
    let position = put(&commit, Urgency::Lazy, b"lazy");
    committer.stop_without_commit();
    assert_eq!((log.batches().len(), commit.staged()), (0, position));
}

#[test]
fn a_log_that_is_full_to_the_end_is_reported() {
    let log = Scripted::new(&[Act::Full; 2]);
    let commit = group_commit(&log, Settings { retry: HOUR, ..patient() });
    let committer = start(&commit);
    put(&commit, Urgency::Urgent, b"refused");
    log.attempted(1);
    let unfinished = committer.finish().expect_err("not durable");
    assert!(unfinished.to_string().contains("full"), "{unfinished}");
}

#[test]
fn a_log_that_another_node_owns_is_never_written_again() {
    let log = Scripted::new(&[Act::Fenced]);
    let commit = group_commit(&log, patient());
    let committer = start(&commit);
    let position = put(&commit, Urgency::Urgent, b"too late");
    log.attempted(1);
    put(&commit, Urgency::Urgent, b"much too late");
    committer.finish().expect_err("not durable");
    assert!(log.batches().is_empty());
    assert_eq!((commit.admission(), commit.staged() > position), (Admission::Failed, true));
}

#[test]
fn admission_is_busy_while_much_is_staged() {
    let log = Scripted::new(&[]).hold();
    let commit = group_commit(&log, Settings { busy_bytes: 100, ..patient() });
    let committer = start(&commit);
    put(&commit, Urgency::Urgent, &[0; 60]);
    log.attempted(1);
    assert_eq!(commit.admission(), Admission::Open);
    let last = put(&commit, Urgency::Urgent, &[0; 60]);
    assert_eq!(commit.admission(), Admission::Busy);
    log.release();
    assert!(commit.wait_durable(last, AGES));
    assert_eq!(commit.admission(), Admission::Open);
    drop(committer);
}

#[test]
fn the_last_room_is_kept_for_what_frees_space() {
    let log = Scripted::new(&[]);
    log.state.lock().room = Some(1000);
    let commit = group_commit(&log, Settings { reserve: 900, ..patient() });
    let heard = Arc::new((Mutex::new(0_u32), Condvar::new()));
    let hearing = Arc::clone(&heard);
    let listener = move |_| {
        *hearing.0.lock() += 1;
        hearing.1.notify_all();
    };
    let committer = commit.start(Box::new(listener)).expect("started");
    stage(&commit, Urgency::Urgent, &[0; 60]);
    assert_eq!((commit.admission(), commit.failure()), (Admission::Open, None));
    let position = stage(&commit, Urgency::Urgent, &[0; 60]).batch;
    assert_eq!(commit.admission(), Admission::Full);
    log.state.lock().room = Some(880);
    commit.flush();
    assert!(commit.wait_durable(position, AGES));
    assert_eq!(commit.admission(), Admission::Full);
    assert!(commit.failure().expect("a reason").contains("no space"));
    log.state.lock().room = None;
    let mut times = heard.0.lock();
    while *times < 2 {
        assert!(!heard.1.wait_for(&mut times, AGES).timed_out(), "nobody hears that there is space again");
    }
    assert_eq!((commit.admission(), commit.failure()), (Admission::Open, None));
    drop(times);
    drop(committer);
}

#[test]
fn a_place_is_where_the_record_can_be_read_back() {
    let log = Scripted::new(&[]).hold();
    let commit = group_commit(&log, patient());
    let committer = start(&commit);
    let mut places = Vec::new();
    for number in 0..6_u8 {
        let cut = commit.cut();
        let place = stage(&commit, Urgency::Urgent, &[number; 9]);
        assert_eq!(cut, place);
        assert!(commit.cut() > place);
        places.push(place);
        if number % 2 == 1 {
            commit.flush();
            log.attempted(usize::from(number / 2 + 1));
            assert!(matches!(commit.read(place, 9, &mut Vec::new()), Err(ReadError::NotDurable(_))));
            log.permit(1);
            assert!(commit.wait_durable(place.batch, AGES));
        }
    }
    for (number, place) in places.into_iter().enumerate() {
        let mut bytes = Vec::new();
        commit.read(place, 9, &mut bytes).expect("there");
        assert_eq!(bytes, [number as u8; 9]);
    }
    log.release();
    drop(committer);
}

#[test]
fn much_that_waits_behind_a_refused_batch_is_sealed_by_itself() {
    let log = Scripted::new(&[Act::Full, Act::Full]).hold();
    let commit = group_commit(&log, patient());
    let committer = start(&commit);
    put(&commit, Urgency::Urgent, b"refused");
    log.attempted(1);
    let large = put(&commit, Urgency::Lazy, &vec![7; 33 << 20]);
    log.permit(1);
    log.attempted(2);
    let behind = put(&commit, Urgency::Urgent, b"behind");
    assert!(behind > large);
    log.release();
    assert!(commit.wait_durable(behind, AGES));
    committer.finish().expect("all is durable");
    let sizes: Vec<_> = log.batches().iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(sizes, [7, 33 << 20, 6]);
}

#[test]
fn memory_of_large_batches_is_given_back_when_there_is_nothing_to_do() {
    let log = Scripted::new(&[]);
    let commit = group_commit(&log, patient());
    let _committer = start(&commit);
    let capacity = || commit.staging.0.lock().batch.out().capacity();
    for size in [3 << 20, 2 << 20, 3 << 20] {
        let position = put(&commit, Urgency::Urgent, &vec![1; size]);
        assert!(commit.wait_durable(position, AGES));
    }
    let end = Instant::now() + AGES;
    while capacity() > KEEP {
        assert!(Instant::now() < end, "{} bytes are kept", capacity());
        thread::yield_now();
    }
}

#[test]
fn it_is_started_once() {
    let commit = group_commit(&Scripted::new(&[]), patient());
    let _committer = start(&commit);
    assert!(commit.start(Box::new(|_| {})).is_err());
}
