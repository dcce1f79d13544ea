//! The sessions of a virtual host by client identifier.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hashbrown::HashMap;
use parking_lot::{Mutex, MutexGuard};

use crate::session::Session;

/// Sessions by client identifier, in shards so that a reconnect storm does not queue up on one lock.
pub struct Registry {
    shards: Vec<Mutex<HashMap<Arc<str>, Arc<Session>>>>,
    hasher: RandomState,
    len: AtomicUsize,
}

const SHARDS: usize = 64;

impl Default for Registry {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
        }
    }
}

/// A locked part of the registry.
pub(crate) struct Shard<'a> {
    sessions: MutexGuard<'a, HashMap<Arc<str>, Arc<Session>>>,
    len: &'a AtomicUsize,
}

impl Registry {
    /// Sessions, connected or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session of a client.
    #[must_use]
    pub fn get(&self, client_id: &str) -> Option<Arc<Session>> {
        self.shard(client_id).get(client_id)
    }

    /// A copy of all sessions; for tables and tests, not for the message path.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Shows every session to `look`, part by part, with no part locked meanwhile.
    pub(crate) fn for_each(&self, mut look: impl FnMut(&Arc<Session>)) {
        for shard in &self.shards {
            let sessions: Vec<_> = shard.lock().values().cloned().collect();
            sessions.iter().for_each(&mut look);
        }
    }

    /// Into how many parts the sessions are divided.
    pub(crate) const PARTS: usize = SHARDS;

    /// The sessions of one part, numbered from 0.
    pub(crate) fn part(&self, number: usize) -> Vec<Arc<Session>> {
        let shard = self.shards.get(number);
        shard.map(|shard| shard.lock().values().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn shard(&self, client_id: &str) -> Shard<'_> {
        let index = self.hasher.hash_one(client_id) as usize % SHARDS;
        Shard { sessions: self.shards[index].lock(), len: &self.len }
    }
}

impl Shard<'_> {
    pub(crate) fn get(&self, client_id: &str) -> Option<Arc<Session>> {
        self.sessions.get(client_id).cloned()
    }

    /// Puts a session in, in the place of an earlier one of the same client.
    pub(crate) fn insert(&mut self, session: Arc<Session>) {
        if self.sessions.insert(Arc::clone(session.client_id()), session).is_none() {
            self.len.fetch_add(1, Relaxed);
        }
    }

    /// Removes exactly this session.
    pub(crate) fn remove(&mut self, session: &Arc<Session>) {
        if self.sessions.get(session.client_id()).is_some_and(|found| Arc::ptr_eq(found, session)) {
            self.sessions.remove(session.client_id());
            self.len.fetch_sub(1, Relaxed);
        }
    }
}
