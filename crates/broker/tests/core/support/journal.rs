//! A journal in memory. What is staged is durable at once, unless it is told to hold its watermark until the next sync. It
//! keeps the messages, from where they can be read back, and counts who holds each.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tercet_broker::body::{Body, Stored};
use tercet_broker::journal::{Admission, Journal, LogJournal, Place, Position};
use tercet_broker::message::Message;
use tercet_broker::read_back::{Bodies, Unreadable};
use tercet_broker::record::{GroupRecord, OwnedRecord, QueueRecord, Record, RetainedRecord, SessionRecord};

#[derive(Default)]
pub struct TestJournal {
    /// The journal that does the work, if there is a log.
    log: Option<Above>,
    state: Mutex<State>,
    disk: Arc<Disk>,
    held: AtomicBool,
    durable: AtomicU64,
}

/// Messages by their places. A journal that goes on after a restart has that of the earlier one.
#[derive(Default)]
struct Disk {
    messages: Mutex<HashMap<Place, Arc<Message>>>,
    damaged: Mutex<HashSet<Place>>,
    reads: AtomicU64,
}

struct Above {
    journal: Arc<LogJournal>,
    /// Whether to wait for the log whenever somebody asks how far it is.
    at_once: bool,
}

#[derive(Default)]
struct State {
    records: Vec<OwnedRecord>,
    /// For each record the position of its batch.
    batches: Vec<u64>,
    /// Position of the latest batch.
    batch: u64,
    admission: Option<Admission>,
    /// Holders by message's record, none of them 0.
    holders: HashMap<Place, usize>,
}

thread_local! {
    /// How deep this thread is inside of [`Journal::together`], and whether it has staged anything there.
    static TOGETHER: Cell<(u32, bool)> = const { Cell::new((0, false)) };
}

impl TestJournal {
    /// Hands everything on to a journal above a log. With `at_once` whatever is staged is durable when somebody looks, which is
    /// for tests of one thread.
    pub fn above(journal: Arc<LogJournal>, at_once: bool) -> Self {
        Self { log: Some(Above { journal, at_once }), ..Self::default() }
    }

    /// The journal above a log.
    pub fn log(&self) -> &Arc<LogJournal> {
        &self.log.as_ref().expect("there is a log").journal
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Copies of all records so far.
    pub fn records(&self) -> Vec<OwnedRecord> {
        self.state().records.clone()
    }

    pub fn len(&self) -> usize {
        self.state().records.len()
    }

    /// The position of the record staged last.
    pub fn last(&self) -> Position {
        Position::new(self.state().batch)
    }

    /// From now on the watermark moves only by [`TestJournal::sync`].
    pub fn hold(&self) {
        self.sync();
        self.held.store(true, Ordering::SeqCst);
    }

    /// Says that everything staged so far is durable.
    pub fn sync(&self) {
        self.durable.store(self.state().batch, Ordering::SeqCst);
    }

    /// Says that everything up to `position` is durable.
    pub fn sync_to(&self, position: Position) {
        self.durable.fetch_max(position.number(), Ordering::SeqCst);
    }

    /// How many records each batch has that begins behind the first `from` records. What is staged together is one batch.
    pub fn batches_behind(&self, from: usize) -> Vec<usize> {
        let state = self.state();
        let behind = state.batches.get(from..).unwrap_or_default();
        behind.chunk_by(|a, b| a == b).map(<[u64]>::len).collect()
    }

    /// The records behind the first `from`, with their positions.
    pub fn positions_behind(&self, from: usize) -> Vec<(OwnedRecord, Position)> {
        let state = self.state();
        let positions = state.batches.iter().map(|batch| Position::new(*batch));
        state.records.iter().cloned().zip(positions).skip(from).collect()
    }

    pub fn set_admission(&self, admission: Admission) {
        self.state().admission = Some(admission);
    }

    /// How many hold each message's record.
    pub fn holders(&self) -> HashMap<Place, usize> {
        self.state().holders.clone()
    }
}

impl TestJournal {
    /// A new journal that can read what this one has stored.
    pub fn successor(&self) -> Self {
        Self { disk: Arc::clone(&self.disk), ..Self::default() }
    }

    /// The message with this record.
    pub fn message(&self, stored: Stored) -> Arc<Message> {
        Arc::clone(&self.disk.messages.lock().unwrap()[&stored.place()])
    }

    /// From now on the message with this record cannot be read.
    pub fn damage(&self, stored: Stored) {
        self.disk.damaged.lock().unwrap().insert(stored.place());
    }

    /// How many messages were read back.
    pub fn reads(&self) -> u64 {
        self.disk.reads.load(Ordering::SeqCst)
    }

    /// Learns of a holder that comes from an earlier log.
    pub fn adopt(&self, stored: Stored) {
        *self.state().holders.entry(stored.place()).or_default() += 1;
    }
}

impl State {
    fn hold(&mut self, message: &Arc<Message>, batch: u64, disk: &Disk) {
        let mut stored = message.stored.lock();
        let held = stored.and_then(|stored| self.holders.get_mut(&stored.place()));
        match held {
            Some(count) => {
                assert!(message.shared, "several hold a message that is not shared: {message:?}");
                *count += 1;
            }
            None => {
                // Unlike any in another journal, from which messages may come.
                static PLACES: AtomicU32 = AtomicU32::new(1);
                let offset = PLACES.fetch_add(1, Ordering::Relaxed);
                let place = Place { batch: Position::new(batch), offset };
                *stored = Some(Stored::new(place, 1, message.size() as u32, message.shared));
                disk.messages.lock().unwrap().insert(place, Arc::clone(message));
                self.holders.insert(place, 1);
            }
        }
    }
}

impl Journal for TestJournal {
    fn stage(&self, record: &Record<'_>) -> Position {
        if let Some(log) = &self.log {
            return log.journal.stage(record);
        }
        let (depth, begun) = TOGETHER.get();
        TOGETHER.set((depth, depth > 0));
        let mut state = self.state();
        let body = match record {
            Record::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { entry, .. }))
            | Record::Group(_, GroupRecord::Queue(QueueRecord::Enqueued { entry, .. })) => Some(&entry.body),
            Record::Retained(RetainedRecord::Set { body, .. }) => Some(body),
            _ => None,
        };
        state.batch += u64::from(!begun);
        let batch = state.batch;
        match body {
            Some(Body::Memory(message)) => state.hold(message, batch, &self.disk),
            Some(Body::Log(stored)) => *state.holders.entry(stored.place()).or_default() += 1,
            None => {}
        }
        state.batches.push(batch);
        state.records.push(record.to_owned());
        Position::new(batch)
    }

    fn together(&self, operation: &mut dyn FnMut()) {
        let (depth, begun) = TOGETHER.get();
        TOGETHER.set((depth + 1, begun));
        match &self.log {
            Some(log) => log.journal.together(operation),
            None => operation(),
        }
        let (_, begun) = TOGETHER.get();
        TOGETHER.set((depth, begun && depth > 0));
    }

    fn release(&self, stored: &Stored) {
        if let Some(log) = &self.log {
            return log.journal.release(stored);
        }
        let mut state = self.state();
        let count = state.holders.get_mut(&stored.place()).expect("nobody holds it");
        *count -= 1;
        if *count == 0 {
            state.holders.remove(&stored.place());
        }
    }

    fn staged(&self) -> Position {
        if let Some(log) = &self.log {
            return log.journal.staged();
        }
        self.last()
    }

    fn cut(&self) -> Place {
        if let Some(log) = &self.log {
            return log.journal.cut();
        }
        Place { batch: self.last(), offset: u32::MAX }
    }

    fn durable(&self) -> Position {
        if let Some(log) = &self.log {
            if log.at_once && TOGETHER.get().0 == 0 {
                log.journal.flush();
                let staged = log.journal.staged();
                assert!(log.journal.group_commit().wait_durable(staged, Duration::from_secs(30)));
            }
            return log.journal.durable();
        }
        match self.held.load(Ordering::SeqCst) {
            true => Position::new(self.durable.load(Ordering::SeqCst)),
            false => self.last(),
        }
    }

    fn flush(&self) {
        if let Some(log) = &self.log {
            log.journal.flush();
        }
    }

    fn admission(&self) -> Admission {
        self.state().admission.unwrap_or(Admission::Open)
    }
}

impl Bodies for TestJournal {
    fn read(&self, records: &[Stored]) -> Vec<Result<Arc<Message>, Unreadable>> {
        if let Some(Above { journal, at_once }) = &self.log {
            let read = Bodies::read(&**journal, records);
            // With other threads about a message may have moved, and its old place given up.
            assert!(!at_once || read.iter().all(Result::is_ok), "{read:?}");
            return read;
        }
        let state = self.state();
        let messages = self.disk.messages.lock().unwrap();
        let damaged = self.disk.damaged.lock().unwrap();
        self.disk.reads.fetch_add(records.len() as u64, Ordering::SeqCst);
        let read = records.iter().map(|stored| {
            if damaged.contains(&stored.place()) {
                return Err(Unreadable("damaged".into()));
            }
            let message = messages.get(&stored.place()).ok_or(Unreadable("never written".into()))?;
            assert!(
                state.holders.contains_key(&stored.place()),
                "read although nobody holds it: {message:?}"
            );
            Ok(Arc::new(Message {
                topic: Arc::clone(&message.topic),
                exchange: message.exchange.clone(),
                payload: message.payload.clone(),
                properties: message.properties.clone(),
                encoding: message.encoding,
                qos: message.qos,
                retain: message.retain,
                publisher: message.publisher,
                author: message.author.clone(),
                ingress_ms: message.ingress_ms,
                expires_at_ms: message.expires_at_ms,
                dead_lettered: message.dead_lettered,
                blind_copies: message.blind_copies.clone(),
                shared: stored.shared,
                stored: parking_lot::Mutex::new(Some(*stored)),
            }))
        });
        read.collect()
    }
}
