//! What is known of each peer, found by its name, the peer longest unused last.
//!
//! A peer is known while it has a message under way or was heard of within an EXCHANGE_LIFETIME. When there are too many
//! peers, or too many Message IDs are remembered, those go first that were not heard of for the longest time: they are the
//! least likely to repeat themselves.

use alloc::{collections::VecDeque, vec::Vec};
use core::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::{Bounds, Tag};
use crate::reliability::{
    message_ids::MessageIds,
    seen::{Answer, Seen},
};

const NONE: u32 = u32::MAX;

/// What is known of one peer.
#[derive(Debug)]
pub(super) struct Peer<P> {
    pub(super) name: P,
    /// The Message IDs that it used.
    seen: Seen,
    /// The Message IDs that it is sent.
    pub(super) ids: MessageIds,
    /// Confirmable messages that it has not acknowledged, oldest first.
    pub(super) in_flight: VecDeque<(u16, u32)>,
    /// Confirmable messages that wait for their turn, oldest first.
    pub(super) waiting: VecDeque<u32>,
    /// Other messages that a Reset may name, oldest first.
    pub(super) resettable: VecDeque<(u16, Tag)>,
    /// Answers to it that are put off.
    pub(super) delayed: u16,
    /// What it was sent in Non-confirmable messages since it was heard of, and the second of the first of them.
    silence: Option<(u32, u32)>,
    /// The second it was heard of or sent to last.
    used: u32,
    more_recent: u32,
    less_recent: u32,
}

/// The peers of an endpoint.
#[derive(Debug)]
pub(super) struct Peers<P> {
    hasher: DefaultHashBuilder,
    by_name: HashTable<u32>,
    slots: Vec<Option<Peer<P>>>,
    free: Vec<u32>,
    most_recent: u32,
    least_recent: u32,
    /// Message IDs remembered, of all peers.
    seen: usize,
    /// Bytes of their answers.
    kept: usize,
    /// The slot that was looked at last for Message IDs to forget.
    hand: usize,
    /// Peers that were forgotten before their time.
    pub(super) evicted: u64,
}

impl<P: Copy + Eq + Hash> Peers<P> {
    pub(super) fn new() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            by_name: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            most_recent: NONE,
            least_recent: NONE,
            seen: 0,
            kept: 0,
            hand: 0,
            evicted: 0,
        }
    }

    /// How many peers are known.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// How many Message IDs are remembered, of all peers.
    pub(super) fn seen_len(&self) -> usize {
        self.seen
    }

    /// How many bytes their answers take that are not short.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept
    }

    /// The slot of the peer `name`, if it is known.
    #[inline]
    pub(super) fn find(&self, name: P) -> Option<u32> {
        self.by_name.find(self.hasher.hash_one(name), |&slot| self.is_named(slot, name)).copied()
    }

    /// The slot of the peer `name`, which becomes known with `first_id` and is the most recently used one now. With `limit`
    /// peers known, the least recently used one without a message under way is forgotten for it.
    pub(super) fn find_or_add(
        &mut self,
        name: P,
        now: u32,
        limit: usize,
        first_id: impl FnOnce() -> u16,
    ) -> Option<u32> {
        if let Some(slot) = self.find(name) {
            self.touch(slot, now);
            return Some(slot);
        }
        if self.len() >= limit {
            self.evict()?;
        }
        let peer = Peer {
            name,
            seen: Seen::default(),
            ids: MessageIds::new(first_id()),
            in_flight: VecDeque::new(),
            waiting: VecDeque::new(),
            resettable: VecDeque::new(),
            delayed: 0,
            silence: None,
            used: now,
            more_recent: NONE,
            less_recent: NONE,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        *self.slots.get_mut(slot as usize)? = Some(peer);
        let Self { hasher, slots, by_name, .. } = self;
        by_name.insert_unique(hasher.hash_one(name), slot, |&slot| match slots.get(slot as usize) {
            Some(Some(peer)) => hasher.hash_one(peer.name),
            _ => 0,
        });
        self.link(slot);
        Some(slot)
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Peer<P>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Peer<P>> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// What the Message ID `id` of the peer was answered, if it came before.
    pub(super) fn seen_answer(&self, slot: u32, id: u16, now: u32) -> Option<&Answer> {
        self.get(slot)?.seen.find(id, now)
    }

    /// Remembers the Message ID `id` of the peer until the second `expires`, within `bounds`.
    pub(super) fn remember(
        &mut self,
        slot: u32,
        id: u16,
        (now, expires): (u32, u32),
        bounds: &Bounds,
        answer: Answer,
    ) {
        if self.seen >= bounds.seen || self.kept >= bounds.kept {
            self.make_room_for_seen();
        }
        // With all that is known spread too thinly to find some of it at once: better a duplicate effect than no bound.
        if self.seen > bounds.seen || self.kept > bounds.kept {
            return;
        }
        self.with_seen(slot, |seen| {
            seen.expire(now);
            seen.insert(id, expires, bounds.seen_per_peer, answer);
        });
    }

    /// Sets what further arrivals of `id` are answered.
    pub(super) fn set_answer(&mut self, slot: u32, id: u16, answer: Answer) {
        self.with_seen(slot, |seen| seen.set_answer(id, answer));
    }

    fn with_seen(&mut self, slot: u32, change: impl FnOnce(&mut Seen)) {
        let Some(Some(peer)) = self.slots.get_mut(slot as usize) else { return };
        let before = (peer.seen.len(), peer.seen.bytes());
        change(&mut peer.seen);
        self.seen = self.seen + peer.seen.len() - before.0;
        self.kept = self.kept + peer.seen.bytes() - before.1;
    }

    /// Forgets `slot` altogether and returns what was known.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Peer<P>> {
        self.unlink(slot);
        let peer = self.slots.get_mut(slot as usize)?.take()?;
        let hash = self.hasher.hash_one(peer.name);
        if let Ok(entry) = self.by_name.find_entry(hash, |&found| found == slot) {
            entry.remove();
        }
        self.seen -= peer.seen.len();
        self.kept -= peer.seen.bytes();
        self.free.push(slot);
        Some(peer)
    }

    /// The least recently used peer that is unused since the second `before`, when that may be asked.
    pub(super) fn forget_unused(&mut self, before: u32, now: u32) {
        while let Some(peer) = self.get(self.least_recent)
            && peer.used < before
        {
            let slot = self.least_recent;
            if peer.is_busy() {
                self.touch(slot, now);
            } else {
                self.remove(slot);
            }
        }
    }

    /// The second in which the least recently used peer was used.
    pub(super) fn oldest_use(&self) -> Option<u32> {
        self.get(self.least_recent).map(|peer| peer.used)
    }

    /// Makes the peer the most recently used one.
    #[inline]
    pub(super) fn touch(&mut self, slot: u32, now: u32) {
        if let Some(peer) = self.get_mut(slot) {
            peer.used = now;
        }
        if self.most_recent != slot {
            self.unlink(slot);
            self.link(slot);
        }
    }

    /// Forgets the least recently used peer that has nothing under way; looks at a few only.
    fn evict(&mut self) -> Option<()> {
        const LOOKED_AT: usize = 32;
        for _ in 0..LOOKED_AT {
            let slot = self.least_recent;
            let peer = self.get(slot)?;
            if !peer.is_busy() {
                self.remove(slot);
                self.evicted += 1;
                return Some(());
            }
            let used = peer.used;
            self.touch(slot, used);
        }
        None
    }

    /// Forgets the older half of what the next peer with remembered Message IDs used; looks at a few peers only.
    fn make_room_for_seen(&mut self) {
        const LOOKED_AT: usize = 64;
        for _ in 0..LOOKED_AT.min(self.slots.len()) {
            self.hand = (self.hand + 1) % self.slots.len();
            let mut forgotten = 0;
            self.with_seen(self.hand as u32, |seen| {
                forgotten = seen.len().div_ceil(2);
                for _ in 0..forgotten {
                    seen.forget_oldest();
                }
            });
            if forgotten > 0 {
                return;
            }
        }
    }

    fn is_named(&self, slot: u32, name: P) -> bool {
        self.get(slot).is_some_and(|peer| peer.name == name)
    }

    fn link(&mut self, slot: u32) {
        let second = core::mem::replace(&mut self.most_recent, slot);
        if let Some(peer) = self.get_mut(slot) {
            peer.more_recent = NONE;
            peer.less_recent = second;
        }
        match self.get_mut(second) {
            Some(peer) => peer.more_recent = slot,
            None => self.least_recent = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(peer) = self.get(slot) else { return };
        let (more, less) = (peer.more_recent, peer.less_recent);
        match self.get_mut(more) {
            Some(peer) => peer.less_recent = less,
            None => self.most_recent = less,
        }
        match self.get_mut(less) {
            Some(peer) => peer.more_recent = more,
            None => self.least_recent = more,
        }
    }
}

impl<P> Peer<P> {
    /// A message to it is under way: it cannot be forgotten.
    fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || !self.waiting.is_empty() || self.delayed > 0
    }

    /// Notes that it was heard of.
    pub(super) fn heard(&mut self) {
        self.silence = None;
    }

    /// §4.7: it may be sent a Non-confirmable message, as what it was sent before without a sign of life is not more than
    /// `rate` bytes per second.
    pub(super) fn may_be_probed(&self, rate: u32, now: u32) -> bool {
        self.silence.is_none_or(|(since, bytes)| now.saturating_sub(since).saturating_mul(rate) >= bytes)
    }

    /// Notes that it was sent a Non-confirmable message of this length.
    pub(super) fn probed(&mut self, length: usize, now: u32) {
        let (_, bytes) = self.silence.get_or_insert((now, 0));
        *bytes = bytes.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// Notes that a Reset of `id` is about what the caller calls `tag`, and no longer that of an earlier message of this
    /// name: who rejects that one will reject this one too. Beyond `limit` the oldest is forgotten.
    pub(super) fn resettable_as(&mut self, id: u16, tag: Tag, limit: usize) {
        if let Some(earlier) = self.resettable.iter().position(|&(_, of)| of == tag) {
            self.resettable.remove(earlier);
        } else if self.resettable.len() >= limit.max(1) {
            self.resettable.pop_front();
        }
        self.resettable.push_back((id, tag));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An observer that is not notified costs this much, beside its name.
    #[test]
    fn idle_peers_stay_small() {
        assert!(size_of::<Peer<()>>() <= 200, "{}", size_of::<Peer<()>>());
    }
}
