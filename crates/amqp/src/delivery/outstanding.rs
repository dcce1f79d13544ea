//! Numbers that wait, each with what belongs to it.

use std::collections::VecDeque;
use std::collections::vec_deque::Drain;

/// Entries by ascending number. Taking one from the middle leaves a hole; holes go when they reach an end or are more
/// than the entries, so that memory stays proportional to what is outstanding, whatever the oldest entry is.
#[derive(Clone, Debug)]
pub(crate) struct Outstanding<T> {
    entries: VecDeque<(u64, Option<T>)>,
    live: usize,
}

/// Fewer holes are not worth a pass.
const TOLERATED: usize = 32;

impl<T> Outstanding<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: VecDeque::new(), live: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Adds an entry; numbers come in ascending order.
    #[inline]
    pub(crate) fn push(&mut self, number: u64, value: T) {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| *last < number));
        self.entries.push_back((number, Some(value)));
        self.live += 1;
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&number, |(number, _)| *number).ok()
    }

    #[inline]
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.find(number).and_then(|at| self.entries.get(at)).is_some_and(|(_, value)| value.is_some())
    }

    /// Takes one entry.
    #[inline]
    pub(crate) fn take(&mut self, number: u64) -> Option<T> {
        let first = matches!(self.entries.front(), Some((front, Some(_))) if *front == number);
        if first {
            let (_, value) = self.entries.pop_front()?;
            self.live -= 1;
            self.trim();
            return value;
        }
        let at = self.find(number)?;
        let value = self.entries.get_mut(at)?.1.take()?;
        self.live -= 1;
        self.trim();
        Some(value)
    }

    /// Takes all entries up to `number`, in order.
    pub(crate) fn take_up_to(&mut self, number: u64) -> UpTo<'_, T> {
        let end = self.entries.partition_point(|(at, _)| *at <= number);
        let taken = self.entries.iter().take(end).filter(|(_, value)| value.is_some()).count();
        self.live -= taken;
        UpTo { entries: self.entries.drain(..end), left: taken }
    }

    /// Takes entries back; their numbers were given out before.
    pub(crate) fn restore(&mut self, entries: impl IntoIterator<Item = (u64, T)>) {
        let mut all: Vec<_> = entries.into_iter().map(|(number, value)| (number, Some(value))).collect();
        self.live += all.len();
        all.extend(self.entries.drain(..).filter(|(_, value)| value.is_some()));
        all.sort_by_key(|(number, _)| *number);
        self.entries = all.into();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.entries.iter().filter_map(|(number, value)| Some((*number, value.as_ref()?)))
    }

    fn trim(&mut self) {
        while matches!(self.entries.front(), Some((_, None))) {
            self.entries.pop_front();
        }
        while matches!(self.entries.back(), Some((_, None))) {
            self.entries.pop_back();
        }
        if self.entries.len() > 2 * self.live + TOLERATED {
            self.entries.retain(|(_, value)| value.is_some());
        }
    }
}

/// Entries that are being taken.
pub(crate) struct UpTo<'a, T> {
    entries: Drain<'a, (u64, Option<T>)>,
    left: usize,
}

impl<T> Iterator for UpTo<'_, T> {
    type Item = (u64, T);

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.find_map(|(number, value)| Some((number, value?))).inspect(|_| self.left -= 1)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_what_is_outstanding_and_not_the_oldest() {
        let mut outstanding = Outstanding::new();
        outstanding.push(1, ());
        for number in 2..100_000 {
            outstanding.push(number, ());
            if number > 10 {
                assert_eq!(outstanding.take(number - 5), Some(()));
            }
        }
        assert!(outstanding.entries.len() < 100, "{}", outstanding.entries.len());
        assert!(outstanding.contains(1));
        assert_eq!(outstanding.iter().count(), outstanding.len());
    }
}
