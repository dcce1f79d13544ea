//! Message IDs for one peer: none twice within EXCHANGE_LIFETIME (RFC 7252 §4.4).
//!
//! IDs are handed out in order from a random start. The 65,536 of them are sixteen groups; of each group is known when its
//! last ID was used, and a group is entered again only when that is an EXCHANGE_LIFETIME ago. A peer that never needed a
//! second group (most do not) costs four bytes.

use alloc::boxed::Box;

const GROUPS: usize = 16;
const GROUP_SIZE: u16 = (65_536 / GROUPS as u32) as u16;

/// Hands out the Message IDs of what one peer is sent.
#[derive(Debug)]
pub(crate) struct MessageIds {
    next: u16,
    first: u16,
    /// How many of the next group were used although it was not free.
    reused: u16,
    /// By group, the second from which it may be used again; made when the first group is left.
    free_from: Option<Box<[u32; GROUPS]>>,
}

impl MessageIds {
    /// IDs from `start` on.
    pub(crate) fn new(start: u16) -> Self {
        Self { next: start, first: start, reused: 0, free_from: None }
    }

    /// An ID that the peer was not sent for `lifetime` seconds; `None` when all were.
    #[inline]
    pub(crate) fn next(&mut self, now: u32, lifetime: u32) -> Option<u16> {
        let id = self.next;
        if self.free_from.is_some() || id.is_multiple_of(GROUP_SIZE) && id != self.first {
            self.enter(id, now, lifetime)?;
        }
        self.next = id.wrapping_add(1);
        Some(id)
    }

    /// An ID of the group that was used the longest time ago, for when [`Self::next`] has none.
    pub(crate) fn reuse(&mut self, now: u32, lifetime: u32) -> u16 {
        self.reused = (self.reused + 1) % GROUP_SIZE;
        let id = self.next.wrapping_add(self.reused);
        if let Some(group) = self.free_from.as_mut().and_then(|free_from| free_from.get_mut(group(id))) {
            *group = now.saturating_add(lifetime);
        }
        id
    }

    /// Notes the use of `id`'s group, unless it is just entered and still in use.
    fn enter(&mut self, id: u16, now: u32, lifetime: u32) -> Option<()> {
        let free_from = self.free_from.get_or_insert_with(|| {
            // The group that is left was in use until now.
            let mut free_from = Box::new([0; GROUPS]);
            if let Some(left) = free_from.get_mut(group(id.wrapping_sub(1))) {
                *left = now.saturating_add(lifetime);
            }
            free_from
        });
        let group = free_from.get_mut(group(id))?;
        if id.is_multiple_of(GROUP_SIZE) && *group > now {
            return None;
        }
        *group = now.saturating_add(lifetime);
        Some(())
    }
}

fn group(id: u16) -> usize {
    usize::from(id / GROUP_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: u32 = 247;

    #[test]
    fn rule14_no_id_twice_within_exchange_lifetime() {
        for start in [0, 1, 4_095, 4_096, 40_000, 65_535] {
            let mut ids = MessageIds::new(start);
            let mut used = alloc::vec![false; 65_536];
            while let Some(id) = ids.next(10, LIFETIME) {
                assert!(!core::mem::replace(&mut used[usize::from(id)], true), "{id} twice, from {start}");
            }
            let count = used.iter().filter(|&&used| used).count();
            assert!(count > 65_536 - usize::from(GROUP_SIZE), "only {count} from {start}");
            assert_eq!(ids.next(10 + LIFETIME - 1, LIFETIME), None, "from {start}");
            assert!(ids.next(10 + LIFETIME, LIFETIME).is_some(), "from {start}");
        }
    }

    #[test]
    fn rule14_a_steady_rate_below_the_limit_never_stops() {
        let mut ids = MessageIds::new(7);
        let mut last_use = alloc::vec![None::<u32>; 65_536];
        for second in 0..2_000 {
            for _ in 0..230 {
                let id = usize::from(ids.next(second, LIFETIME).expect("230 a second are allowed"));
                assert!(last_use[id].is_none_or(|used| second - used >= LIFETIME), "{id} at {second}");
                last_use[id] = Some(second);
            }
        }
    }
}
