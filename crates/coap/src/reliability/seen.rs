//! The Message IDs that a peer used of late, and what each was answered (RFC 7252 §4.5).
//!
//! A duplicate is answered as the first arrival was, without any further effect. The ring holds a bounded number of entries
//! per peer, the oldest leaves first. A peer that counts its IDs upwards, as nearly all do, is recognised: then a new ID is
//! known to be new without a search.

use alloc::{boxed::Box, collections::VecDeque};

/// Answers up to this length need no memory of their own.
const SHORT: usize = 22;

/// What a duplicate of a message is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Nothing: there is no answer yet, and the first arrival will get it, or none is due at all.
    Silence,
    /// An Empty acknowledgement.
    Acknowledge,
    /// A Reset.
    Reset,
    /// The same datagram again.
    Short(u8, [u8; SHORT]),
    /// The same, a longer one.
    Long(Box<[u8]>),
}

impl Answer {
    /// The answer that is `datagram`.
    pub(crate) fn datagram(datagram: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match short.get_mut(..datagram.len()) {
            Some(place) => {
                place.copy_from_slice(datagram);
                Self::Short(datagram.len() as u8, short)
            }
            None => Self::Long(datagram.into()),
        }
    }

    /// The datagram to send again, if the answer is one.
    pub(crate) fn as_datagram(&self) -> Option<&[u8]> {
        match self {
            Self::Short(length, bytes) => bytes.get(..usize::from(*length)),
            Self::Long(bytes) => Some(bytes),
            Self::Silence | Self::Acknowledge | Self::Reset => None,
        }
    }

    /// Bytes of memory of its own.
    fn bytes(&self) -> usize {
        match self {
            Self::Long(bytes) => bytes.len(),
            Self::Silence | Self::Acknowledge | Self::Reset | Self::Short(..) => 0,
        }
    }
}

/// One Message ID of the peer's.
#[derive(Debug)]
struct Entry {
    id: u16,
    /// The second in which the peer may use the ID for something else.
    expires: u32,
    answer: Answer,
}

/// The Message IDs that one peer used.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    entries: VecDeque<Entry>,
    /// The entries are out of order: to find one takes a search.
    unordered: bool,
    /// Bytes of the answers that need memory of their own.
    bytes: usize,
}

impl Seen {
    /// How many IDs are remembered.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes the answers take that need memory of their own.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What `id` was answered, if it came before and the peer may not have used it anew by the second `now`.
    #[inline]
    pub(crate) fn find(&self, id: u16, now: u32) -> Option<&Answer> {
        if self.is_beyond(id) {
            return None;
        }
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.id == id && entry.expires > now)
            .map(|entry| &entry.answer)
    }

    /// Remembers that `id` came, until the second `expires`. Beyond `limit` the oldest is forgotten.
    pub(crate) fn insert(&mut self, id: u16, expires: u32, limit: usize, answer: Answer) {
        if self.entries.len() >= limit.max(1) {
            self.forget_oldest();
        }
        self.unordered = !self.entries.is_empty() && (self.unordered || !self.is_beyond(id));
        self.bytes += answer.bytes();
        self.entries.push_back(Entry { id, expires, answer });
    }

    /// Sets what further arrivals of `id` are answered.
    pub(crate) fn set_answer(&mut self, id: u16, answer: Answer) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.id == id) {
            self.bytes = self.bytes + answer.bytes() - entry.answer.bytes();
            entry.answer = answer;
        }
    }

    /// Forgets the oldest, if there is one.
    pub(crate) fn forget_oldest(&mut self) -> bool {
        let Some(forgotten) = self.entries.pop_front() else { return false };
        self.bytes -= forgotten.answer.bytes();
        if self.entries.is_empty() {
            *self = Self::default();
        }
        true
    }

    /// Forgets the oldest as far as they have expired by the second `now`.
    pub(crate) fn expire(&mut self, now: u32) {
        while self.entries.front().is_some_and(|entry| entry.expires <= now) {
            self.forget_oldest();
        }
    }

    /// `id` comes after all that are remembered, as long as they were counted upwards over less than half of all IDs.
    fn is_beyond(&self, id: u16) -> bool {
        match (self.entries.front(), self.entries.back()) {
            (Some(oldest), Some(newest)) => {
                let span = newest.id.wrapping_sub(oldest.id);
                !self.unordered && span < id.wrapping_sub(oldest.id) && id.wrapping_sub(oldest.id) < 0x8000
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rule16_an_id_is_new_again_after_its_lifetime() {
        let mut seen = Seen::default();
        seen.insert(7, 247, 64, Answer::Acknowledge);
        assert!(matches!(seen.find(7, 246), Some(Answer::Acknowledge)));
        assert!(seen.find(7, 247).is_none());
        assert!(seen.find(8, 246).is_none());
        seen.insert(7, 500, 64, Answer::Reset);
        assert!(matches!(seen.find(7, 300), Some(Answer::Reset)));
    }

    #[test]
    fn rule15_the_answer_is_repeated_byte_for_byte() {
        for length in [0, 4, SHORT, SHORT + 1, 1152] {
            let datagram: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut seen = Seen::default();
            seen.insert(1, 9, 64, Answer::Silence);
            seen.set_answer(1, Answer::datagram(&datagram));
            assert_eq!(seen.find(1, 0).and_then(Answer::as_datagram), Some(datagram.as_slice()), "{length}");
            assert_eq!(seen.bytes(), if length > SHORT { length } else { 0 });
            seen.forget_oldest();
            assert_eq!((seen.len(), seen.bytes()), (0, 0));
        }
    }

    #[test]
    fn entries_stay_small() {
        assert!(size_of::<Entry>() <= 40, "{}", size_of::<Entry>());
    }

    proptest! {
        /// Whatever order the IDs come in, the ring knows exactly the last ones.
        #[test]
        fn ring_knows_the_last_ids(
            ids in proptest::collection::vec(prop_oneof![0..20_u16, 65_520..=65_535_u16, any::<u16>()], 0..200),
            limit in 1..20_usize,
        ) {
            let mut seen = Seen::default();
            let mut model: Vec<u16> = Vec::new();
            for id in ids {
                prop_assert_eq!(seen.find(id, 0).is_some(), model.contains(&id), "{}", id);
                if !model.contains(&id) {
                    seen.insert(id, 1, limit, Answer::Silence);
                    model.push(id);
                    if model.len() > limit {
                        model.remove(0);
                    }
                }
                prop_assert_eq!(seen.len(), model.len());
            }
        }

        /// The same of a peer that counts upwards, from anywhere, with gaps.
        #[test]
        fn ring_knows_the_last_ids_of_a_counting_peer(start: u16, steps in proptest::collection::vec(1..3_000_u16, 0..200)) {
            let mut seen = Seen::default();
            let mut model: Vec<u16> = Vec::new();
            let mut id = start;
            for step in steps {
                id = id.wrapping_add(step);
                prop_assert_eq!(seen.find(id, 0).is_some(), model.contains(&id), "{}", id);
                if !model.contains(&id) {
                    seen.insert(id, 1, 16, Answer::Silence);
                    model.push(id);
                    if model.len() > 16 {
                        model.remove(0);
                    }
                }
            }
        }
    }
}
