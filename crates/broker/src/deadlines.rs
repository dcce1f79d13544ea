//! Things that happen later to sessions without a connection: delayed wills and the session's end.
//!
//! A session has at most one entry, so a client that reconnects in a loop cannot grow the table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::session::{Session, SessionId};

/// Sessions by the moment at which they need attention.
#[derive(Default)]
pub struct Deadlines {
    table: Mutex<BTreeMap<(Instant, SessionId), Arc<Session>>>,
}

impl Deadlines {
    /// Arms the session's deadline. The caller has disarmed an earlier one.
    pub fn arm(&self, at: Instant, session: Arc<Session>) {
        self.table.lock().insert((at, session.id()), session);
    }

    /// Removes the session's deadline.
    pub fn disarm(&self, at: Instant, session: SessionId) {
        self.table.lock().remove(&(at, session));
    }

    /// Takes every session whose deadline has come, at most `most`.
    pub fn take_due(&self, now: Instant, most: usize) -> Vec<Arc<Session>> {
        let mut table = self.table.lock();
        let mut due = Vec::new();
        while due.len() < most {
            match table.first_entry() {
                Some(entry) if entry.key().0 <= now => due.push(entry.remove()),
                _ => break,
            }
        }
        due
    }

    /// The earliest deadline.
    pub fn earliest(&self) -> Option<Instant> {
        self.table.lock().first_key_value().map(|((at, _), _)| *at)
    }
}
