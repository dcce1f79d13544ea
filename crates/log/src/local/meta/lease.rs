//! Keys that are held for a time. Nobody else could hold them on one machine but this process, so they live in memory;
//! one that has run out is noticed, and reported to watchers, at the next use of the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, State};
use crate::engine::{Lease, Versioned};

/// A key that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) value: Versioned,
    until: Instant,
}

#[derive(Debug)]
pub(super) struct LocalLease {
    shared: Arc<Shared>,
    key: String,
    revision: u64,
    time: Duration,
}

impl LocalLease {
    pub(super) fn new(shared: &Arc<Shared>, key: &str, revision: u64, time: Duration) -> Self {
        Self { shared: Arc::clone(shared), key: key.to_owned(), revision, time }
    }
}

impl Lease for LocalLease {
    fn renew(&mut self) -> bool {
        let mut state = self.shared.lock();
        match state.leases.get_mut(&self.key).filter(|held| held.value.revision == self.revision) {
            Some(held) => {
                held.until = Instant::now() + self.time;
                true
            }
            None => false,
        }
    }
}

impl Drop for LocalLease {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.leases.get(&self.key).is_some_and(|held| held.value.revision == self.revision) {
            state.let_go(&self.key);
        }
    }
}

impl State {
    /// Returns the revision.
    pub(super) fn hold(&mut self, key: &str, value: &[u8], until: Instant) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        let held = Held { value: Versioned { revision, value: value.to_vec() }, until };
        self.leases.insert(key.to_owned(), held);
        self.notify(key, revision, Some(value));
        revision
    }

    fn let_go(&mut self, key: &str) {
        if self.leases.remove(key).is_some() {
            self.revision += 1;
            self.notify(key, self.revision, None);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        if self.leases.values().all(|held| held.until > now) {
            return;
        }
        let over: Vec<_> =
            self.leases.iter().filter(|(_, held)| held.until <= now).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.let_go(&key);
        }
    }
}
