//! Packet identifiers and their allocation.

use core::fmt;
use core::num::NonZeroU16;

/// The identifier of a packet that awaits an answer. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// Identifier 1.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// Identifier 65,535.
    pub const MAX: Self = Self(NonZeroU16::MAX);

    /// The identifier with this number, or `None` for zero.
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The identifier as a number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; after 65,535 comes 1.
    pub const fn next(self) -> Self {
        match NonZeroU16::new(self.get().wrapping_add(1)) {
            Some(value) => Self(value),
            None => Self::MIN,
        }
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<NonZeroU16> for PacketId {
    fn from(value: NonZeroU16) -> Self {
        Self(value)
    }
}

impl From<PacketId> for u16 {
    fn from(id: PacketId) -> Self {
        id.get()
    }
}

/// Hands out packet identifiers that are not in use.
///
/// Identifiers rotate within a window that is at least twice the number in use and grows as needed up to all 65,535, so
/// that an identifier is not given again right after it came back, and the bitmap stays as small as the traffic.
/// Allocation and release are O(1) amortised. An allocator with nothing in use that never allocated owns no memory.
///
/// ```
/// use tercet_mqtt::Allocator;
///
/// let mut ids = Allocator::new();
/// let (a, b) = (ids.allocate().unwrap(), ids.allocate().unwrap());
/// assert_ne!(a, b);
/// assert!(ids.release(a));
/// assert!(!ids.release(a), "already free");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    /// Bit `n` of the whole is set while identifier `n + 1` is in use.
    words: Vec<u64>,
    /// Where the search for a free bit begins.
    cursor: u32,
    used: u32,
}

/// All identifiers there are.
const ALL: u32 = 65_535;
/// Words of the bitmap that covers them; bit 65,535 of it stands for no identifier and is always set.
const ALL_WORDS: usize = 1024;
/// A bitmap larger than this is given back when the last identifier is.
const KEPT_WORDS: usize = 8;

impl Allocator {
    /// An allocator with all identifiers free.
    pub const fn new() -> Self {
        Self { words: Vec::new(), cursor: 0, used: 0 }
    }

    /// A free identifier, now in use; `None` when all 65,535 are.
    pub fn allocate(&mut self) -> Option<PacketId> {
        if self.used >= ALL {
            return None;
        }
        if (self.used + 1) as usize * 2 > self.words.len() * 64 && self.words.len() < ALL_WORDS {
            self.grow((self.words.len() * 2).max(1));
        }
        let bit = self.free_bit()?;
        let id = PacketId::new(u16::try_from(bit + 1).ok()?)?;
        self.set(bit);
        self.cursor = bit + 1;
        Some(id)
    }

    /// Marks an identifier that was chosen elsewhere, such as one of a restored session, as in use. Answers whether it
    /// was free.
    pub fn reserve(&mut self, id: PacketId) -> bool {
        let bit = u32::from(id.get()) - 1;
        let word = (bit / 64) as usize;
        if word >= self.words.len() {
            self.grow((word + 1).next_power_of_two());
        }
        !self.is_used(id) && self.set(bit)
    }

    /// Gives an identifier back. Answers whether it was in use.
    pub fn release(&mut self, id: PacketId) -> bool {
        if !self.is_used(id) {
            return false;
        }
        let bit = u32::from(id.get()) - 1;
        if let Some(word) = self.words.get_mut((bit / 64) as usize) {
            *word &= !(1 << (bit % 64));
        }
        self.used -= 1;
        if self.used == 0 && self.words.len() > KEPT_WORDS {
            *self = Self { cursor: self.cursor % 64, ..Self::new() };
        }
        true
    }

    /// Whether the identifier is in use.
    pub fn is_used(&self, id: PacketId) -> bool {
        let bit = u32::from(id.get()) - 1;
        self.words.get((bit / 64) as usize).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    /// How many identifiers are in use.
    pub const fn len(&self) -> usize {
        self.used as usize
    }

    /// Whether no identifier is in use.
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn grow(&mut self, words: usize) {
        self.words.resize(words, 0);
        if words >= ALL_WORDS
            && let Some(last) = self.words.get_mut(ALL_WORDS - 1)
        {
            *last |= 1 << 63;
        }
    }

    fn set(&mut self, bit: u32) -> bool {
        if let Some(word) = self.words.get_mut((bit / 64) as usize) {
            *word |= 1 << (bit % 64);
            self.used += 1;
            return true;
        }
        false
    }

    /// The first free bit from the cursor on, around the end.
    fn free_bit(&self) -> Option<u32> {
        let words = self.words.len();
        let start = (self.cursor / 64) as usize % words.max(1);
        let below = (1u64 << (self.cursor % 64)) - 1;
        // The first word is looked at twice: from the cursor on first, and from its beginning last.
        for step in 0..=words {
            let index = (start + step) % words.max(1);
            let used = self.words.get(index)? | if step == 0 { below } else { 0 };
            if used != u64::MAX {
                return u32::try_from(index * 64).ok().map(|base| base + used.trailing_ones());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_identifier_is_given_once_and_zero_never() {
        let mut ids = Allocator::new();
        let given: HashSet<u16> = (0..ALL).map(|_| ids.allocate().unwrap().get()).collect();
        assert_eq!(given.len(), 65_535);
        assert!(!given.contains(&0));
        assert_eq!(ids.allocate(), None);
        let id = PacketId::new(40_000).unwrap();
        assert!(ids.release(id));
        assert_eq!(ids.allocate(), Some(id));
        assert_eq!(ids.allocate(), None);
    }

    #[test]
    fn a_freed_identifier_is_not_reused_at_once() {
        let mut ids = Allocator::new();
        let mut last = None;
        for _ in 0..200 {
            let id = ids.allocate().unwrap();
            assert_ne!(Some(id), last);
            ids.release(id);
            last = Some(id);
        }
        assert!(ids.words.len() <= 1, "one in use needs one word");
    }

    #[test]
    fn reserved_identifiers_are_skipped() {
        let mut ids = Allocator::new();
        for n in [1, 2, 64, 65_535] {
            assert!(ids.reserve(PacketId::new(n).unwrap()));
            assert!(!ids.reserve(PacketId::new(n).unwrap()));
        }
        for _ in 0..65_531 {
            assert!(!matches!(ids.allocate().unwrap().get(), 1 | 2 | 64 | 65_535));
        }
        assert_eq!(ids.allocate(), None);
        for n in 1..=65_535 {
            assert!(ids.release(PacketId::new(n).unwrap()));
        }
        assert!(ids.is_empty());
        assert!(ids.words.is_empty(), "a large bitmap is given back");
        assert!(ids.allocate().is_some());
    }

    #[test]
    fn an_empty_allocator_is_small_and_owns_nothing() {
        assert!(size_of::<Allocator>() <= 32);
        assert_eq!(Allocator::new().words.capacity(), 0);
    }

    #[test]
    fn next_wraps_past_zero() {
        assert_eq!(PacketId::MAX.next(), PacketId::MIN);
        assert_eq!(PacketId::MIN.next().get(), 2);
    }
}
