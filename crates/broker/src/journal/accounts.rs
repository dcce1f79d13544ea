//! Who holds which message's record, and how many bytes of each part of the log are held by anybody.
//!
//! A message that is not shared has one holder, and nothing is kept for it. For a shared one its holders are counted.
//! Holders of a shared message name it by the place where it was written first, or where recovery found it; that stays its name
//! when it is moved, so that moving it is one change here instead of one with each holder.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::hash::RandomState;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tercet_log::engine::Extent;
use tercet_log::position::{Place, Position};

use crate::body::Stored;

/// A shared message.
#[derive(Clone, Copy, Debug)]
struct Shared {
    holders: u32,
    len: u32,
}

#[derive(Default)]
struct Shard {
    shared: HashMap<Place, Shared>,
    /// Where those are by now that were moved.
    moved: HashMap<Place, Place>,
}

/// See the module documentation.
pub(super) struct Accounts {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Bytes held, by the first batch of a part of the log: an extent, or a batch of an extent that is not known yet. A
    /// batch never lies in two extents, so neither does a part.
    live: Mutex<BTreeMap<Position, u64>>,
}

const SHARDS: usize = 64;

/// A shared message's record: its name, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedRecord {
    pub name: Place,
    pub at: Place,
    pub len: u32,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            live: Mutex::default(),
        }
    }
}

impl Accounts {
    fn shard(&self, name: Place) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }

    /// The first holder of a record that was not held by anybody.
    pub(super) fn hold_first(&self, stored: &Stored) {
        if stored.shared {
            self.adopt_shared(stored, 1);
        }
        self.add_live(stored.place().batch, u64::from(stored.len));
    }

    /// Holders of a shared record that come from the log. Its bytes are added by [`Accounts::add_live`].
    pub(super) fn adopt_shared(&self, stored: &Stored, holders: u32) {
        let shared = Shared { holders, len: stored.len };
        self.shard(stored.place()).lock().shared.insert(stored.place(), shared);
    }

    /// So many more bytes of a part of the log are held.
    pub(super) fn add_live(&self, batch: Position, bytes: u64) {
        *self.live.lock().entry(batch).or_default() += bytes;
    }

    /// One more holder of a shared record. Returns where that is; `None` if nobody holds it any more, so that it may be gone.
    pub(super) fn hold_again(&self, stored: &Stored) -> Option<Stored> {
        let mut shard = self.shard(stored.place()).lock();
        let shared = shard.shared.get_mut(&stored.place())?;
        shared.holders = shared.holders.saturating_add(1);
        Some(shard.current(stored))
    }

    /// A record that was taken for one with a single holder gets another one.
    pub(super) fn share(&self, stored: &Stored) {
        let shared = Shared { holders: 2, len: stored.len };
        self.shard(stored.place()).lock().shared.insert(stored.place(), shared);
    }

    /// A holder is gone.
    pub(super) fn release(&self, stored: &Stored) {
        let mut at = stored.place();
        if stored.shared {
            let mut shard = self.shard(at).lock();
            let Some(shared) = shard.shared.get_mut(&at) else { return };
            shared.holders -= 1;
            if shared.holders > 0 {
                return;
            }
            let name = at;
            at = shard.current(stored).place();
            shard.shared.remove(&name);
            shard.moved.remove(&name);
        }
        self.remove_live(at.batch, stored.len);
    }

    fn remove_live(&self, batch: Position, bytes: u32) {
        if let Some((_, live)) = self.live.lock().range_mut(..=batch).next_back() {
            *live = live.saturating_sub(u64::from(bytes));
        }
    }

    /// Where a record is now.
    pub(super) fn current(&self, stored: &Stored) -> Stored {
        if stored.shared { self.shard(stored.place()).lock().current(stored) } else { *stored }
    }

    /// A record that is not shared is held at another place from now on.
    pub(super) fn moved(&self, from: &Stored, to: Place) {
        self.add_live(to.batch, u64::from(from.len));
        self.remove_live(from.place().batch, from.len);
    }

    /// A shared record is held at another place from now on. False if nobody holds it any more.
    pub(super) fn shared_moved(&self, record: &SharedRecord, to: Place) -> bool {
        let mut shard = self.shard(record.name).lock();
        if !shard.shared.contains_key(&record.name) {
            return false;
        }
        shard.moved.insert(record.name, to);
        self.add_live(to.batch, u64::from(record.len));
        self.remove_live(record.at.batch, record.len);
        true
    }

    /// The shared records that lie where `wanted` says.
    pub(super) fn shared_within(&self, wanted: impl Fn(Position) -> bool) -> Vec<SharedRecord> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            found.extend(shard.shared.iter().filter_map(|(name, shared)| {
                let at = shard.moved.get(name).copied().unwrap_or(*name);
                wanted(at.batch).then_some(SharedRecord { name: *name, at, len: shared.len })
            }));
        }
        found
    }

    /// Bytes held within each of the extents, which are in the order of their positions; they need not be all there are.
    pub(super) fn live(&self, extents: &[Extent]) -> Vec<u64> {
        let live = &mut *self.live.lock();
        let mut sums: Vec<u64> = vec![0; extents.len()];
        for (position, bytes) in std::mem::take(live) {
            let index = extents.partition_point(|extent| extent.end <= position);
            let within = extents.get(index).filter(|extent| extent.first <= position);
            match sums.get_mut(index).filter(|_| within.is_some()) {
                Some(sum) => *sum += bytes,
                // An extent that is gone, or not asked for, with nothing in it.
                None if bytes == 0 => {}
                // Another extent, or a batch that is in none yet.
                None => *live.entry(position).or_default() += bytes,
            }
        }
        for (extent, sum) in extents.iter().zip(&sums) {
            // A batch that is still being filled may begin where the last extent does.
            *live.entry(extent.first).or_default() += sum;
        }
        sums
    }

    /// Everything held, by name: for tests that compare it with a fresh count.
    pub(super) fn shared(&self) -> BTreeMap<Place, u32> {
        let shards = self.shards.iter().flat_map(|shard| {
            shard.lock().shared.iter().map(|(name, shared)| (*name, shared.holders)).collect::<Vec<_>>()
        });
        shards.collect()
    }

    /// Bytes held in the whole log.
    pub(super) fn total_live(&self) -> u64 {
        self.live.lock().values().sum()
    }
}

impl Shard {
    fn current(&self, stored: &Stored) -> Stored {
        match self.moved.get(&stored.place()) {
            Some(place) => Stored::new(*place, stored.len, stored.size, stored.shared),
            None => *stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(batch: u64, len: u32, shared: bool) -> Stored {
        Stored::new(Place { batch: Position::new(batch), offset: 0 }, len, len, shared)
    }

    fn extent(first: u64, end: u64) -> Extent {
        Extent { first: Position::new(first), end: Position::new(end), bytes: end - first }
    }

    #[test]
    fn live_bytes_follow_the_extents_as_they_become_known() {
        let accounts = Accounts::default();
        for batch in [64, 200, 300, 1_000, 1_500, 2_500] {
            accounts.hold_first(&stored(batch, 10, false));
        }
        let extents = [extent(64, 1_000), extent(1_000, 2_000)];
        assert_eq!(accounts.live(&extents), [30, 20]);
        assert_eq!(accounts.live(&extents), [30, 20]);
        accounts.release(&stored(300, 10, false));
        accounts.release(&stored(2_500, 10, false));
        accounts.hold_first(&stored(1_700, 7, false));
        assert_eq!(accounts.live(&extents), [20, 27]);
        assert_eq!(accounts.live(&[extent(1_000, 2_000), extent(2_000, 3_000)]), [27, 0]);
        assert_eq!(accounts.total_live(), 47, "what is held of an extent that is gone is not forgotten");
    }

    #[test]
    fn extents_that_are_not_asked_for_keep_what_they_have() {
        let accounts = Accounts::default();
        for batch in [64, 200, 1_000, 1_500, 2_500] {
            accounts.hold_first(&stored(batch, 10, false));
        }
        let all = [extent(64, 1_000), extent(1_000, 2_000), extent(2_000, 3_000)];
        for some in [&all[..1], &all[1..2], &all[2..], &[all[0], all[2]], &all] {
            let expected: Vec<_> =
                some.iter().map(|one| if one.first.number() < 2_000 { 20 } else { 10 }).collect();
            assert_eq!(accounts.live(some), expected);
        }
        accounts.release(&stored(1_500, 10, false));
        assert_eq!(accounts.live(&[all[0], all[2]]), [20, 10]);
        assert_eq!(accounts.live(&all), [20, 10, 10]);
    }

    #[test]
    fn a_shared_record_is_live_until_its_last_holder_lets_go_wherever_it_was_moved() {
        let accounts = Accounts::default();
        let record = stored(100, 10, true);
        accounts.hold_first(&record);
        assert_eq!(accounts.hold_again(&record), Some(record));
        let found = accounts.shared_within(|position| position == Position::new(100));
        let to = Place { batch: Position::new(900), offset: 4 };
        assert!(accounts.shared_moved(&found[0], to));
        let extents = [extent(64, 500), extent(500, 1_000)];
        assert_eq!(accounts.live(&extents), [0, 10]);
        assert_eq!(accounts.current(&record).place(), to);
        assert_eq!(accounts.hold_again(&record).map(|stored| stored.place()), Some(to));
        for left in [10, 10, 0] {
            accounts.release(&record);
            assert_eq!(accounts.live(&extents), [0, left]);
        }
        assert_eq!(accounts.hold_again(&record), None);
        assert!(!accounts.shared_moved(&found[0], to));
        assert!(accounts.shared().is_empty());
    }
}
