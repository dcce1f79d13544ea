//! A journal in memory, whose durable watermark moves when told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tercet_broker::journal::{Journal, Position};
use tercet_broker::record::{OwnedRecord, Record};

#[derive(Default)]
pub struct TestJournal {
    records: Mutex<Vec<OwnedRecord>>,
    durable: AtomicU64,
}

impl TestJournal {
    /// Copies of all records so far.
    pub fn records(&self) -> Vec<OwnedRecord> {
        self.records.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    /// The position of the record staged last.
    pub fn last(&self) -> Position {
        Position::new(self.len() as u64)
    }

    /// Says that everything staged so far is durable.
    pub fn sync(&self) {
        self.durable.store(self.len() as u64, Ordering::SeqCst);
    }
}

impl Journal for TestJournal {
    fn stage(&self, record: &Record<'_>) -> Position {
        let mut records = self.records.lock().unwrap();
        records.push(record.to_owned());
        Position::new(records.len() as u64)
    }

    fn staged(&self) -> Position {
        self.last()
    }

    fn durable(&self) -> Position {
        Position::new(self.durable.load(Ordering::SeqCst))
    }
}
