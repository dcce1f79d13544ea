//! A journal in memory, whose durable watermark moves when told. It stores no message, but counts who holds each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tercet_broker::body::{Body, Stored};
use tercet_broker::journal::{Journal, Place, Position};
use tercet_broker::message::Message;
use tercet_broker::record::{GroupRecord, OwnedRecord, QueueRecord, Record, RetainedRecord, SessionRecord};

#[derive(Default)]
pub struct TestJournal {
    inner: Mutex<Inner>,
    durable: AtomicU64,
}

#[derive(Default)]
struct Inner {
    records: Vec<OwnedRecord>,
    /// Holders by message's record, none of them 0.
    holders: HashMap<Place, usize>,
}

impl TestJournal {
    /// Copies of all records so far.
    pub fn records(&self) -> Vec<OwnedRecord> {
        self.inner.lock().unwrap().records.clone()
    }

    pub fn len(&self) -> usize {
        self.inner.lock().unwrap().records.len()
    }

    /// The position of the record staged last.
    pub fn last(&self) -> Position {
        Position::new(self.len() as u64)
    }

    /// Says that everything staged so far is durable.
    pub fn sync(&self) {
        self.durable.store(self.len() as u64, Ordering::SeqCst);
    }

    /// How many hold each message's record.
    pub fn holders(&self) -> HashMap<Place, usize> {
        self.inner.lock().unwrap().holders.clone()
    }
}

impl TestJournal {
    /// Learns of a holder that comes from an earlier log.
    pub fn adopt(&self, stored: Stored) {
        *self.inner.lock().unwrap().holders.entry(stored.place()).or_default() += 1;
    }
}

impl Inner {
    fn hold(&mut self, message: &Arc<Message>) {
        let mut stored = message.stored.lock();
        let held = stored.and_then(|stored| self.holders.get_mut(&stored.place()));
        match held {
            Some(count) => {
                assert!(message.shared, "several hold a message that is not shared: {message:?}");
                *count += 1;
            }
            None => {
                // Unlike any in another journal, from which messages may come.
                static PLACES: AtomicU64 = AtomicU64::new(1);
                let batch = Position::new(PLACES.fetch_add(1, Ordering::Relaxed));
                let place = Place { batch, offset: 0 };
                *stored = Some(Stored::new(place, 1, message.size() as u32, message.shared));
                self.holders.insert(place, 1);
            }
        }
    }
}

impl Journal for TestJournal {
    fn stage(&self, record: &Record<'_>) -> Position {
        let mut inner = self.inner.lock().unwrap();
        let body = match record {
            Record::Session(_, SessionRecord::Queue(QueueRecord::Enqueued { entry, .. }))
            | Record::Group(_, GroupRecord::Queue(QueueRecord::Enqueued { entry, .. })) => Some(&entry.body),
            Record::Retained(RetainedRecord::Set { body, .. }) => Some(body),
            _ => None,
        };
        if let Some(Body::Memory(message)) = body {
            inner.hold(message);
        }
        inner.records.push(record.to_owned());
        Position::new(inner.records.len() as u64)
    }

    fn release(&self, stored: &Stored) {
        let mut inner = self.inner.lock().unwrap();
        let count = inner.holders.get_mut(&stored.place()).expect("nobody holds it");
        *count -= 1;
        if *count == 0 {
            inner.holders.remove(&stored.place());
        }
    }

    fn staged(&self) -> Position {
        self.last()
    }

    fn durable(&self) -> Position {
        Position::new(self.durable.load(Ordering::SeqCst))
    }
}
