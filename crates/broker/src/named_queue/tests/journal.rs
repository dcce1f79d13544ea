//! A journal in memory: every record is a batch of its own, durable when the test says so.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use parking_lot::Mutex;

use crate::body::{Body, Stored};
use crate::journal::{Journal, Place, Position};
use crate::message::Message;
use crate::read_back::{Bodies, Unreadable};
use crate::record::{OwnedRecord, Record};

#[derive(Default)]
pub(super) struct MemoryJournal {
    records: Mutex<Vec<OwnedRecord>>,
    messages: Mutex<HashMap<Place, (Arc<Message>, usize)>>,
    /// For each record the operation it was staged in, if it was staged in one.
    operations: Mutex<Vec<Option<u64>>>,
    operation: Mutex<(u64, u32)>,
    durable: AtomicU64,
    held: AtomicBool,
}

impl MemoryJournal {
    pub(super) fn records(&self) -> Vec<OwnedRecord> {
        self.records.lock().clone()
    }

    /// From now on nothing is durable before [`MemoryJournal::sync`].
    pub(super) fn hold(&self) {
        self.sync();
        self.held.store(true, SeqCst);
    }

    pub(super) fn sync(&self) {
        self.durable.store(self.records.lock().len() as u64, SeqCst);
    }

    /// How many operations the records behind the first `from` belong to, all of which must belong to one.
    pub(super) fn together_since(&self, from: usize) -> usize {
        let operations = self.operations.lock();
        let mut all: Vec<_> = operations[from..].iter().map(|operation| operation.expect("alone")).collect();
        all.dedup();
        all.len()
    }

    /// Messages that somebody holds.
    pub(super) fn held_messages(&self) -> usize {
        self.messages.lock().values().filter(|(_, holders)| *holders > 0).count()
    }
}

impl Journal for MemoryJournal {
    fn stage(&self, record: &Record<'_>) -> Position {
        let mut records = self.records.lock();
        let batch = Position::new(records.len() as u64 + 1);
        if let Some(body) = record.body() {
            let mut messages = self.messages.lock();
            match body {
                Body::Memory(message) => {
                    let mut stored = message.stored.lock();
                    let place = stored.map_or(Place { batch, offset: 0 }, |stored| stored.place());
                    let size = u32::try_from(message.size()).unwrap();
                    *stored = Some(Stored::new(place, 1, size, message.shared));
                    let (_, holders) = messages.entry(place).or_insert((Arc::clone(message), 0));
                    assert!(*holders == 0 || message.shared, "several hold what is not shared");
                    *holders += 1;
                }
                Body::Log(stored) => messages.get_mut(&stored.place()).unwrap().1 += 1,
            }
        }
        records.push(record.to_owned());
        let (number, depth) = *self.operation.lock();
        self.operations.lock().push((depth > 0).then_some(number));
        batch
    }

    fn together(&self, operation: &mut dyn FnMut()) {
        {
            let mut current = self.operation.lock();
            current.0 += u64::from(current.1 == 0);
            current.1 += 1;
        }
        operation();
        self.operation.lock().1 -= 1;
    }

    fn release(&self, stored: &Stored) {
        let mut messages = self.messages.lock();
        let (_, holders) = messages.get_mut(&stored.place()).unwrap();
        *holders = holders.checked_sub(1).expect("somebody holds it");
    }

    fn staged(&self) -> Position {
        Position::new(self.records.lock().len() as u64)
    }

    fn durable(&self) -> Position {
        if !self.held.load(SeqCst) {
            self.sync();
        }
        Position::new(self.durable.load(SeqCst))
    }
}

impl Bodies for MemoryJournal {
    fn read(&self, records: &[Stored]) -> Vec<Result<Arc<Message>, Unreadable>> {
        let messages = self.messages.lock();
        let read = records.iter().map(|stored| {
            let (message, holders) = messages.get(&stored.place()).ok_or_else(Unreadable::default)?;
            assert!(*holders > 0, "read although nobody holds it");
            let read = message.copied();
            *read.stored.lock() = Some(*stored);
            Ok(Arc::new(read))
        });
        read.collect()
    }
}
