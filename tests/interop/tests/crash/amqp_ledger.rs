//! What clients of AMQP know about messages and bindings in a storm, and what follows from it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// One copy of a message: a message that was not confirmed before the broker died is sent again, as another copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Sent {
    pub publisher: u64,
    pub number: u64,
    pub attempt: u64,
}

impl Sent {
    pub(crate) fn parse(payload: &[u8]) -> Self {
        let text = std::str::from_utf8(payload).expect("a payload is text");
        let mut numbers = text.split_whitespace().take(3).map(|number| number.parse().expect("a number"));
        let mut next = || numbers.next().expect("three numbers");
        Self { publisher: next(), number: next(), attempt: next() }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.publisher, self.number, self.attempt)
    }
}

/// Which of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Work,
    Dead,
}

/// What is known. Lives count from 0; what happened in one is older than what happens in the next.
#[derive(Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    confirmed: HashSet<Sent>,
    /// Copies that have come at least once.
    seen: HashSet<Sent>,
    /// Copies whose end was confirmed, and in which life.
    settled: HashMap<Sent, usize>,
    /// Copies that were seen among the dead letters, and in which life first.
    dead: HashMap<Sent, usize>,
    redelivered: usize,
    bound: HashSet<u64>,
    unbound: HashSet<u64>,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// The broker has confirmed a copy.
    pub(crate) fn confirm(&self, sent: Sent) {
        self.lock().confirmed.insert(sent);
    }

    /// A copy has come in `life`.
    pub(crate) fn deliver(&self, place: Place, sent: Sent, redelivered: bool, life: usize) {
        let mut state = self.lock();
        state.redelivered += usize::from(redelivered);
        state.seen.insert(sent);
        if let Some(&settled) = state.settled.get(&sent) {
            assert!(settled >= life, "{sent} was settled in life {settled} and comes again in life {life}");
        }
        match place {
            Place::Work => {
                if let Some(&moved) = state.dead.get(&sent) {
                    assert!(moved >= life, "{sent} was moved in life {moved} and is back in life {life}");
                }
            }
            Place::Dead => {
                state.dead.entry(sent).or_insert(life);
            }
        }
    }

    /// The broker has confirmed that a copy was acknowledged.
    pub(crate) fn settle(&self, sent: Sent, life: usize) {
        self.lock().settled.insert(sent, life);
    }

    /// Confirmed copies.
    pub(crate) fn confirmed(&self) -> HashSet<Sent> {
        self.lock().confirmed.clone()
    }

    /// Confirmed copies that have not come yet. Whether one that has come was settled is not always known: the broker may die
    /// between the disk and the answer.
    pub(crate) fn missing(&self) -> Vec<Sent> {
        let state = self.lock();
        state.confirmed.difference(&state.seen).copied().collect()
    }

    /// What is to be said at the end.
    pub(crate) fn summary(&self) -> String {
        let state = self.lock();
        format!(
            "{} confirmed, {} settled, {} dead, {} redelivered, {} bound, {} unbound",
            state.confirmed.len(),
            state.settled.len(),
            state.dead.len(),
            state.redelivered,
            state.bound.len(),
            state.unbound.len()
        )
    }

    /// A binding is about to change: nobody knows what is until that is confirmed.
    pub(crate) fn rebind(&self, key: u64) {
        let mut state = self.lock();
        state.bound.remove(&key);
        state.unbound.remove(&key);
    }

    /// The broker has confirmed that a key is bound, or is not.
    pub(crate) fn is_bound(&self, key: u64, bound: bool) {
        let mut state = self.lock();
        if bound {
            state.bound.insert(key)
        } else {
            state.unbound.insert(key)
        };
    }

    /// Keys that are bound, and keys that are not.
    pub(crate) fn bindings(&self) -> (Vec<u64>, Vec<u64>) {
        let state = self.lock();
        (state.bound.iter().copied().collect(), state.unbound.iter().copied().collect())
    }
}
