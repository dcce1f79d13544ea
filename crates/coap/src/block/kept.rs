//! Answers that cannot be computed twice, kept until the client has all their blocks (RFC 7959 §2.7).
//!
//! The answer to a POST may be larger than a message, and its further blocks are asked for with a POST that must not be
//! carried out again: they are served from here. Bounded in number, per peer and in all, and by lifetime.

use alloc::{collections::VecDeque, vec::Vec};
use core::hash::Hash;

use hashbrown::HashMap;

use crate::Time;

/// Answers of type `T`, one per peer and [fingerprint](super::Fingerprints).
#[derive(Debug)]
pub struct KeptBodies<P, T> {
    most: usize,
    per_peer: usize,
    lifetime: Time,
    by_peer: HashMap<P, Vec<Kept<T>>>,
    /// In the order of their age; entries of answers that were replaced are passed over.
    ages: VecDeque<(Time, P, u64)>,
    kept: usize,
}

#[derive(Debug)]
struct Kept<T> {
    fingerprint: u64,
    since: Time,
    value: T,
}

impl<P: Copy + Eq + Hash, T> KeptBodies<P, T> {
    /// Keeps at most `most` answers, `per_peer` of them for one peer, each for `lifetime`.
    pub fn new(most: usize, per_peer: usize, lifetime: Time) -> Self {
        Self {
            most: most.max(1),
            per_peer: per_peer.max(1),
            lifetime,
            by_peer: HashMap::new(),
            ages: VecDeque::new(),
            kept: 0,
        }
    }

    /// How many answers are kept.
    pub fn len(&self) -> usize {
        self.kept
    }

    /// No answer is kept.
    pub fn is_empty(&self) -> bool {
        self.kept == 0
    }

    /// Keeps `value`, instead of an earlier answer to the same request. The oldest makes room.
    pub fn insert(&mut self, peer: P, fingerprint: u64, value: T, now: Time) {
        self.remove(peer, fingerprint);
        self.expire(now);
        while self.ages.len() >= self.most {
            self.drop_oldest();
        }
        let of_peer = self.by_peer.entry(peer).or_default();
        if of_peer.len() >= self.per_peer {
            of_peer.remove(0);
            self.kept -= 1;
        }
        of_peer.push(Kept { fingerprint, since: now, value });
        self.kept += 1;
        self.ages.push_back((now, peer, fingerprint));
    }

    /// The answer, if it is kept.
    pub fn get(&self, peer: P, fingerprint: u64) -> Option<&T> {
        self.by_peer.get(&peer)?.iter().find(|kept| kept.fingerprint == fingerprint).map(|kept| &kept.value)
    }

    /// Takes the answer out: the client has all of it.
    pub fn remove(&mut self, peer: P, fingerprint: u64) -> Option<T> {
        let of_peer = self.by_peer.get_mut(&peer)?;
        let position = of_peer.iter().position(|kept| kept.fingerprint == fingerprint)?;
        let kept = of_peer.remove(position);
        if of_peer.is_empty() {
            self.by_peer.remove(&peer);
        }
        self.kept -= 1;
        Some(kept.value)
    }

    /// Drops what is older than the lifetime.
    pub fn expire(&mut self, now: Time) {
        while self.ages.front().is_some_and(|&(since, ..)| since.saturating_add(self.lifetime) <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((since, peer, fingerprint)) = self.ages.pop_front()
            && let Some(of_peer) = self.by_peer.get(&peer)
            && of_peer.iter().any(|kept| kept.fingerprint == fingerprint && kept.since == since)
        {
            self.remove(peer, fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Time = Time::from_secs(1);

    #[test]
    fn rule41_answers_are_kept_for_their_blocks() {
        let mut kept = KeptBodies::new(100, 10, 5 * SECOND);
        kept.insert('a', 1, "answer", SECOND);
        kept.insert('b', 1, "other", SECOND);
        assert_eq!((kept.get('a', 1), kept.get('a', 2), kept.get('c', 1)), (Some(&"answer"), None, None));
        kept.insert('a', 1, "newer", 3 * SECOND);
        kept.expire(6 * SECOND);
        assert_eq!((kept.get('a', 1), kept.get('b', 1)), (Some(&"newer"), None));
        assert_eq!(kept.remove('a', 1), Some("newer"));
        assert!(kept.is_empty());
    }

    #[test]
    fn bounds_hold() {
        let mut kept = KeptBodies::new(8, 2, 5 * SECOND);
        for n in 0..100_u64 {
            kept.insert(n % 7, n, n, SECOND);
            kept.insert(0, 1000 + n, n, SECOND);
            assert!(kept.len() <= 8 && kept.ages.len() <= 8, "{} at {n}", kept.len());
            assert!(kept.by_peer.values().all(|of_peer| (1..=2).contains(&of_peer.len())));
            assert_eq!(kept.get(0, 1000 + n), Some(&n));
        }
    }
}
